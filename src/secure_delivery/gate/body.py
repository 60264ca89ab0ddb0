"""What the gate reads of a request body: a credential at its beginning, and how many bytes are uploaded.

Knows: JSON, form and multipart bodies, piece by piece. Must not know: where the pieces come from.
It never keeps more than `PEEK` bytes, and never needs the whole of a file.

The wrapped app reads the same body again with a parser of its own. What two parsers could read differently (delimiters in
the middle of a line, bare line feeds, blanks after a boundary, folded headers) is refused here: a file that only one of
them sees would be a file that nobody counted. Sources: RFC 2046 section 5.1.1, RFC 7578.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from werkzeug.http import parse_options_header

from .errors import BadRequest, CredentialConflict, Reason, TooLarge
from .model import Decision
from .policy import SignedPolicy

PEEK = 65_536  # bytes looked at for a policy: sixteen times the longest one
_MAX_HEAD = 16_384  # bytes of headers of one part; security promise 41, as is the next
_MAX_PARTS = 100

Fields = dict[str, str]


_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_BOUNDARY_NAMED = re.compile(r"boundary[\s*0-9]*=", re.IGNORECASE)


def _malformed(why: str) -> BadRequest:
    return BadRequest(f"malformed multipart body: {why}", public="The multipart body is malformed.")


def _media_type(content_type: str | None) -> tuple[str, bytes | None]:
    """The media type in lower case, and the boundary when it is a form in parts.

    Raises `BadRequest` for a boundary outside RFC 2046, or for two of them.
    """
    kind, options = parse_options_header(content_type)
    kind, boundary = kind.lower(), options.get("boundary")
    if kind != "multipart/form-data" or not boundary:
        return kind, None
    if _BOUNDARY.fullmatch(boundary) is None or len(_BOUNDARY_NAMED.findall(content_type or "")) != 1:
        raise _malformed("the boundary")
    return kind, boundary.encode("ascii")


def signed_from_fields(fields: Fields) -> SignedPolicy | None:
    """The credential among members called `policy` and `signature`; half of one counts as a bad one, not as none."""
    if "policy" not in fields and "signature" not in fields:
        return None
    return SignedPolicy(fields.get("policy", ""), fields.get("signature", ""))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members and name in ("policy", "signature", "security"):
            raise CredentialConflict(f"{name} is given twice in the body")
        members[name] = value
    return members


def _shown(group: dict[str, Any]) -> Fields:
    """The two members as texts. Null is what clients without a policy send; any other value is a bad one, not none."""
    shown = {name: group[name] for name in ("policy", "signature") if group.get(name) is not None}
    return {name: value if isinstance(value, str) else "" for name, value in shown.items()}


def _from_json(body: bytes) -> SignedPolicy | None:
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):  # not JSON after all: the wrapped app will say so, and nothing was shown
        return None
    if not isinstance(document, dict):
        return None
    nested = document.get("security")
    found = [signed_from_fields(_shown(group)) for group in (document, nested) if isinstance(group, dict)]
    shown = [signed for signed in found if signed is not None]
    if len(shown) > 1:
        raise CredentialConflict("a policy beside security and one inside it")
    return shown[0] if shown else None


def _from_form(body: bytes) -> SignedPolicy | None:
    fields: Fields = {}
    for pair in body.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name in ("policy", "signature"):
            if name in fields:
                raise CredentialConflict(f"{name} is given twice in the body")
            # A blank is a `+` that was not escaped: form decoding turns it into one, and no policy holds blanks.
            fields[name] = unquote_plus(value).replace(" ", "+")
    return signed_from_fields(fields)


class _Part(NamedTuple):
    """A part begins. What any parser could take for a file is one; `size` is that of its headers, in bytes."""

    name: str | None
    is_file: bool
    size: int


class _Content(NamedTuple):
    """Bytes of the part that began last; before the first and after the last part, of none. `complete`: its last ones."""

    data: bytes
    complete: bool


_DOUBTFUL = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")


def _read_head(block: bytes) -> _Part:
    """The part that headers announce; `block` begins with the line break that ends the delimiter's line."""
    if _DOUBTFUL.search(block):
        raise _malformed("line breaks within a header")
    dispositions = []
    for line in block.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            raise _malformed("a line that is no header")
        if name.lower() == b"content-disposition":
            dispositions.append(value.decode("latin-1"))
    if len(dispositions) != 1:
        raise _malformed("a part has exactly one Content-Disposition")
    _, options = parse_options_header(dispositions[0].strip())
    return _Part(options.get("name"), b"filename" in block.lower(), len(block))


class _Multipart:
    """Reads `multipart/form-data` strictly, in pieces of any size, keeping no more than a delimiter or one part's headers."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter stands on a line of its own like every other
        self._in_head = False
        self._closed = False
        self._parts = 0

    @property
    def held(self) -> int:
        """How many bytes wait for what follows them."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[_Part | _Content]:
        """What the next piece brings. Raises `BadRequest`, and `TooLarge` for too many parts or too long headers."""
        self._buffer += data
        while (event := self._head() if self._in_head else self._content()) is not None:
            yield event

    def _head(self) -> _Part | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end > _MAX_HEAD or (end < 0 and len(self._buffer) > _MAX_HEAD):
            raise TooLarge("too long headers of a form part")
        if end < 0:
            return None
        block = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise TooLarge("too many form parts")
        if self._delimiter in block:
            raise _malformed("a delimiter among headers")
        self._in_head = False
        return _read_head(block)

    def _content(self) -> _Content | None:
        buffer, length = self._buffer, len(self._delimiter)
        at = buffer.find(self._delimiter)
        if at < 0:
            # What may be the beginning of a delimiter waits for its end: a line break and all but one of its characters.
            ready = len(buffer) - length - 1
            return self._take(ready, 0, complete=False) if ready > 0 else None
        after = bytes(buffer[at + length : at + length + 2])
        if len(after) < 2:
            return None
        if buffer[max(at - 2, 0) : at] != b"\r\n" or after not in (b"\r\n", b"--") or self._closed:
            raise _malformed("a delimiter that is not a line of its own")
        self._closed = after == b"--"
        self._in_head = not self._closed
        return self._take(at - 2, length + 2, complete=True)

    def _take(self, end: int, behind: int, *, complete: bool) -> _Content:
        data = bytes(self._buffer[:end])
        del self._buffer[: end + behind]
        return _Content(data, complete)


class Peek:
    """Looks for a credential at the start of a body that the caller hands over piece by piece.

    JSON and form bodies must fit into `PEEK` bytes; of a multipart body only the fields before the first file count, so a
    form puts `policy` and `signature` first. `feed` says whether it wants more.
    """

    def __init__(self, content_type: str | None) -> None:
        self._kind, boundary = _media_type(content_type)
        self._seen = bytearray()
        self._looked_at = 0
        self._fields: Fields = {}
        self._field: str | None = None
        self._done = False
        self._parts = None if boundary is None else _Multipart(boundary)
        if self._parts is None and self._kind not in ("application/json", "application/x-www-form-urlencoded"):
            self._done = True

    def feed(self, data: bytes, *, more: bool) -> bool:
        """Take the next piece; `more` says whether others follow. Returns whether another piece is wanted.

        Raises `TooLarge` for a JSON or form body over `PEEK` bytes, `BadRequest` for malformed multipart,
        `CredentialConflict` for a member given twice.
        """
        if self._done:
            return False
        if self._parts is not None:
            self._feed_multipart(self._parts, data, more=more)
        else:
            self._seen += data
            if len(self._seen) > PEEK:
                raise TooLarge("a body that carries a policy is at most 64 KiB")
            self._done = not more
        return not self._done

    def _feed_multipart(self, parts: _Multipart, data: bytes, *, more: bool) -> None:
        for event in parts.feed(data):
            if isinstance(event, _Content):
                if self._field is not None:
                    self._fields[self._field] += event.data.decode("latin-1")
                    self._field = None if event.complete else self._field
            elif event.is_file:
                self._done = True
                return
            elif event.name in ("policy", "signature"):
                if event.name in self._fields:
                    raise CredentialConflict(f"{event.name} is given twice in the body")
                self._field = event.name
                self._fields[event.name] = ""
        self._looked_at += len(data)
        if not more or self._looked_at > PEEK:
            self._done = True

    def signed(self) -> SignedPolicy | None:
        """The credential that was found."""
        if self._kind == "application/json":
            return _from_json(bytes(self._seen))
        if self._kind == "application/x-www-form-urlencoded":
            return _from_form(bytes(self._seen))
        return signed_from_fields(self._fields)


class SizeMeter:
    """Counts what is really uploaded against the bounds of a decision (security promise 17).

    A raw body is counted whole; of a multipart body each file part is counted by itself, exactly, and everything that is no
    file may take `PEEK` bytes together: an app that keeps the body as it came must not keep much that nobody counted.
    `feed` and `end` return the reason to refuse, or `None`.
    """

    def __init__(self, decision: Decision, content_type: str | None) -> None:
        self._decision = decision
        self._size = 0
        self._others = 0
        self._refused: Reason | None = None
        self._in_file = False
        self._parts: _Multipart | None = None
        self._fault: BadRequest | None = None
        try:
            _, boundary = _media_type(content_type)
            self._parts = None if boundary is None else _Multipart(boundary)
        except BadRequest as fault:  # raised with the first bytes: a body that is never read does no harm
            self._fault = fault

    def feed(self, data: bytes) -> Reason | None:
        """Count the next piece. Raises `BadRequest` for malformed multipart, `TooLarge` for too much that is no file."""
        if self._fault is not None:
            raise self._fault
        if self._refused is not None:
            return self._refused
        if self._parts is None:
            self._size += len(data)
            self._judge(complete=False)
        else:
            for event in self._parts.feed(data):
                self._count(event)
        return self._refused

    def _count(self, event: _Part | _Content) -> None:
        if isinstance(event, _Part):
            self._in_file, self._size = event.is_file, 0
            self._others += event.size
        elif self._in_file:
            self._size += len(event.data)
            self._judge(complete=event.complete)
            self._in_file = not event.complete
        else:
            self._others += len(event.data)
        if self._others > PEEK:
            raise TooLarge("more than 64 KiB of a form that are no file")

    def _judge(self, *, complete: bool) -> None:
        reason = self._decision.admits_size(self._size)
        if reason is Reason.TOO_BIG or (complete and reason is not None):
            self._refused = self._refused or reason

    def end(self) -> Reason | None:
        """The body is over: judge what only then is known."""
        if self._parts is None and self._refused is None:
            self._judge(complete=True)
        elif self._parts is not None and self._in_file:  # cut off, and some parsers take that for a whole file
            self._size += self._parts.held
            self._judge(complete=True)
        return self._refused
