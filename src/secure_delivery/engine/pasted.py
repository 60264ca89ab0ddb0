"""What somebody pasted to have it explained: an address, a path, a whole curl line, a policy with its signature.

Knows: the spellings in which requests and credentials are handed around. Must not know: whether any of it is good.

What was put right on the way is said in `remarks`: a program would have sent it as it stands. Sources: curl(1), RFC 3986.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ..gate.credentials import secret_from_authorization, signed_from_path, signed_from_query
from ..gate.errors import BadRequest
from ..gate.policy import SignedPolicy

MOST = 20_000  # characters

_SIGNATURE = re.compile(r"[0-9A-Fa-f]{64}")
_ENCODED = re.compile(r"https?%3A", re.IGNORECASE)
_HANDLE = re.compile(r"[A-Za-z0-9_-]{20,64}")
_WITHOUT_SCHEME = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?/")
_SECURITY = re.compile(r'/?security=(?:"[^"]*"|[^/])*/?')
_METHOD = re.compile(r"[A-Z]{1,20}")
#: Options of curl that take a value, which must not be taken for the address.
_WITH_VALUE = frozenset(
    [
        "-o",
        "--output",
        "-b",
        "--cookie",
        "-A",
        "--user-agent",
        "-m",
        "--max-time",
        "--connect-timeout",
        "-x",
        "--proxy",
        "--retry",
        "-w",
        "--write-out",
        "-c",
        "--cookie-jar",
        "--cacert",
        "--cert",
        "--key",
        "-K",
        "--config",
        "-r",
        "--range",
        "--limit-rate",
        "--resolve",
        "-z",
        "--time-cond",
    ]
)
_DATA = frozenset(
    [
        "-d",
        "--data",
        "--data-raw",
        "--data-ascii",
        "--data-binary",
        "--data-urlencode",
        "--json",
        "-F",
        "--form",
        "--form-string",
    ]
)
_READ = frozenset(["-X", "--request", "-H", "--header", "-u", "--user", "-e", "--referer", "-T", "--upload-file", "--url"])
_TAKING = _WITH_VALUE | _DATA | _READ


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """What was read. `path` is empty where only a credential was pasted; `host` is the authority of a whole address.

    `signed` is a credential that stood outside of the address; `method` is empty where none was named.
    """

    path: str = ""
    query: str = ""
    host: str = ""
    method: str = ""
    origin: str | None = None
    referer: str | None = None
    size: int | None = None
    secret: str | None = field(default=None, repr=False)
    signed: SignedPolicy | None = None
    remarks: tuple[str, ...] = ()


def read(text: str) -> Pasted:
    """Read what was pasted. Raises `BadRequest` with a sentence for what is none of it."""
    text = text.strip()
    if not text:
        raise _unread("Paste an address, a curl line, or a policy with its signature.")
    if len(text) > MOST:
        raise _unread(f"This is longer than {MOST} characters.")
    if re.match(r"\$?\s*curl\s", text):
        return _curl(text)
    signed = _credential(text)
    return Pasted(signed=signed) if signed is not None else _address(text)


def _unread(sentence: str) -> BadRequest:
    return BadRequest("pasted", public=sentence)


def _credential(text: str) -> SignedPolicy | None:
    """A policy and its signature without an address, in any of the forms in which they travel."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise _unread("This begins like JSON, and is none.") from None
        policy, signature = (found.get(name) for name in ("policy", "signature"))
        if not isinstance(policy, str) or not isinstance(signature, str):
            raise _unread("The JSON has no 'policy' and 'signature', both texts.")
        return SignedPolicy(policy, signature)
    bare = text.lstrip("?&")
    if bare.startswith(("policy=", "signature=")):
        return signed_from_query("".join(bare.split()).replace("&amp;", "&"))
    if _SECURITY.fullmatch(bare):
        return signed_from_path("/" + bare.strip("/"))
    words = [word.strip("\"',;") for word in text.split()]
    words = [word.partition(":")[2] if word.lower().startswith(("policy:", "signature:")) else word for word in words]
    words = [word for word in words if word and word.lower() not in ("policy", "signature", "policy:", "signature:")]
    if len(words) == 2 and _SIGNATURE.fullmatch(words[1]) and not words[0].startswith(("http:", "https:", "/")):
        return SignedPolicy(words[0], words[1])
    return None


def _address(text: str) -> Pasted:
    remarks = []
    joined = "".join(text.split())
    if joined != text:
        remarks.append("Blanks and line breaks in the address were left out.")
    if _ENCODED.match(joined):
        joined = unquote(joined)
        remarks.append("The whole address was percent-encoded; it was decoded once.")
    if "&amp;" in joined:
        joined = joined.replace("&amp;", "&")
        remarks.append("'&amp;' was read as '&': the address was copied out of HTML.")
    if _HANDLE.fullmatch(joined):
        joined = f"/{joined}"
    elif _WITHOUT_SCHEME.match(joined):
        joined = f"https://{joined}"
    if not joined.startswith(("/", "http://", "https://")):
        raise _unread("This is neither an address, nor a curl line, nor a policy with its signature.")
    try:
        parts = urlsplit(joined)
    except ValueError:
        raise _unread("This is no address that can be read.") from None
    if parts.fragment:
        remarks.append("What follows '#' stays in the browser and is not part of the request.")
    return Pasted(path=parts.path or "/", query=parts.query, host=parts.netloc.rpartition("@")[2], remarks=tuple(remarks))


@dataclass(slots=True)
class _Line:
    """A curl line while it is read."""

    url: str = ""
    method: str = ""
    as_query: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    user: str = field(default="", repr=False)


def _curl(text: str) -> Pasted:
    try:
        words = shlex.split(re.sub(r"\\\r?\n", " ", text.lstrip("$ ")))[1:]
    except ValueError:
        raise _unread("The quotes of the curl line do not match.") from None
    line = _Line()
    waiting = _options(words)
    for option, value in waiting:
        _take(line, option, value)
    if not line.url:
        raise _unread("The curl line has no address.")
    found = _address(line.url)
    fields = dict(parse_qsl("&".join(line.data), keep_blank_values=True)) if line.data else {}
    signed = SignedPolicy(fields["policy"], fields["signature"]) if {"policy", "signature"} <= fields.keys() else None
    length = line.headers.get("content-length", "")
    method = line.method or ("POST" if line.data and not line.as_query else "")
    return Pasted(
        path=found.path,
        query="&".join(filter(None, [found.query, *(line.data if line.as_query else ())])),
        host=found.host,
        method=method if _METHOD.fullmatch(method) else "",
        origin=line.headers.get("origin"),
        referer=line.headers.get("referer"),
        size=int(length) if re.fullmatch(r"[0-9]{1,15}", length) else None,
        secret=line.user or secret_from_authorization(line.headers.get("authorization")),
        signed=None if line.as_query else signed,
        remarks=found.remarks,
    )


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """The options of a curl line with their values; addresses under the empty name."""
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in _TAKING:
            yield name, value
        elif word in _TAKING:
            yield word, next(left, "")
        elif word.startswith("-") and word[:2] in _TAKING and len(word) > 2 and word[1] != "-":
            yield word[:2], word[2:]
        elif word.startswith("-") and len(word) > 1:
            yield word, ""
        else:
            yield "", word


def _take(line: _Line, option: str, value: str) -> None:
    match option:
        case "" | "--url":
            line.url = line.url or value
        case "-X" | "--request":
            line.method = value.upper()
        case "-I" | "--head":
            line.method = line.method or "HEAD"
        case "-G" | "--get":
            line.as_query = True
        case "-T" | "--upload-file":
            line.method = line.method or "PUT"
        case "-H" | "--header":
            name, _, text = value.partition(":")
            line.headers[name.strip().lower()] = text.strip()
        case "-e" | "--referer":
            line.headers["referer"] = value
        case "-u" | "--user":
            user, _, secret = value.partition(":")
            line.user = secret if user == "app" else ""
        case _ if option in _DATA:
            line.data.append(value)


__all__ = ["MOST", "Pasted", "read"]
