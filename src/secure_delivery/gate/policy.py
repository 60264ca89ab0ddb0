"""Signed policies: what one grants, how it is signed, how it is verified and read.

Knows: the wire form (Base64URL JSON, HMAC-SHA256 as lower-case hex) and nothing else.
Must not know: applications, requests, clocks other than the number it is handed.

Two rules hold in this module. First, `verify` works on the text as received and never decodes it; `Policy.decode` is only
for text whose signature was found good. Second, decoding is strict: a policy that is not understood to the last character
grants nothing, because a restriction that is skipped is a grant that nobody gave.

Sources: the Filestack "Security" document (keys, calls, the `mysecret` example), RFC 2104 (HMAC), RFC 4648 (Base64URL),
RFC 8259 (JSON).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote

from .errors import ConfigurationError, PolicyError, Reason

MAX_ENCODED = 4096  # characters; a policy with every key and three 512-byte patterns fits
MAX_PATTERN = 512  # bytes; RE2 is linear in the text but not for free in the pattern
MAX_VALUE = 2048  # characters that a pattern is tried on; no source URL and no storage key that can be used is longer
MAX_NESTING = 4
_INT64 = 2**63 - 1


class Call(StrEnum):
    """What a request does, by the names that policies use."""

    PICK = "pick"
    READ = "read"
    REMOVE = "remove"
    STORE = "store"
    WRITE = "write"
    CONVERT = "convert"
    EXIF = "exif"
    STAT = "stat"
    RUN_WORKFLOW = "runWorkflow"


#: Every spelling a policy may use. The last two are older names that official clients still emit.
CALL_NAMES: dict[str, Call] = {call.value: call for call in Call} | {"writeUrl": Call.WRITE, "revoke": Call.REMOVE}


_call_named = CALL_NAMES.__getitem__


class _Matcher(Protocol):
    def fullmatch(self, text: str) -> object | None: ...
    def search(self, text: str) -> object | None: ...


def _re2_compile() -> Callable[[str], _Matcher] | None:
    """The RE2 compiler with its memory bounded and its own logging off, or None where there is no wheel for it."""
    try:
        import re2
    except ImportError:  # pragma: no cover - a platform without the wheel; regex keys are then refused, never backtracked
        return None
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    compile_: Callable[[str], _Matcher] = lambda pattern: re2.compile(pattern, options=options)
    return compile_


_compile_re2 = _re2_compile()


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> _Matcher:
    """The linear-time matcher for one regex key.

    Raises `PolicyError` (`bad_regex`) for a pattern over 512 bytes, one that RE2 does not compile (look-around and
    back-references included), or when RE2 is not installed: a backtracking engine is never used instead (pitfall c9).
    """
    if len(pattern.encode()) > MAX_PATTERN:
        raise PolicyError(Reason.BAD_REGEX, f"pattern longer than {MAX_PATTERN} bytes")
    if _compile_re2 is None:  # pragma: no cover
        raise PolicyError(Reason.BAD_REGEX, "google-re2 is not installed, so regex keys cannot be honoured")
    try:
        return _compile_re2(pattern)
    except Exception as error:  # re2.error is not importable where the wheel is missing
        raise PolicyError(Reason.BAD_REGEX, f"pattern does not compile: {error}") from None


# ---------------------------------------------------------------------------------------------------------------- sign


def sign(encoded: str, secret: bytes) -> str:
    """The signature of an encoded policy: 64 lower-case hex digits of HMAC-SHA256 over its very characters."""
    if not secret:
        raise ConfigurationError("an empty secret signs nothing")
    return hmac.digest(secret, encoded.encode("utf-8", "surrogatepass"), "sha256").hex()


@lru_cache(maxsize=256)
def _halves(key: bytes) -> tuple[Any, Any]:
    """SHA-256 after the inner and after the outer padded key, as RFC 2104, section 4, suggests to keep them."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))


def _mac(key: bytes, text: bytes) -> bytes:
    """What `hmac.digest` gives, at 0.4 of its cost: OpenSSL looks its HMAC up anew for every call."""
    inner, outer = _halves(key)
    first, second = inner.copy(), outer.copy()
    first.update(text)
    second.update(first.digest())
    return bytes(second.digest())


_well_formed_signature = re.compile(r"[0-9a-f]{64}").fullmatch


def verify(encoded: str, signature: str, keys: Sequence[bytes]) -> int:
    """The index of the key that signed `encoded`, or -1.

    Sizes and format are checked before any hashing, every key is tried whatever the first ones say, and comparison is
    constant-time on bytes (CVE-2020-15237; `compare_digest` raises on non-ASCII text, which the format check excludes).
    """
    if len(encoded) > MAX_ENCODED or _well_formed_signature(signature) is None:
        return -1
    shown = bytes.fromhex(signature)
    text = encoded.encode("utf-8", "surrogatepass")
    found = -1
    for index, key in enumerate(keys):
        same = hmac.compare_digest(_mac(key, text), shown)
        if same and key and found < 0:
            found = index
    return found


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """A policy text and its signature, both exactly as they travel."""

    encoded: str
    signature: str

    def __repr__(self) -> str:
        return f"SignedPolicy({self.encoded[:8]}…, {self.signature[:8]}…)"

    def as_query(self) -> str:
        """`policy=…&signature=…`, percent-encoded, for the query string of a delivery or File API URL."""
        return f"policy={quote(self.encoded, safe='')}&signature={quote(self.signature, safe='')}"

    def as_task(self) -> str:
        """`security=policy:…,signature:…`, for the path of a transformation URL.

        Base64URL stands there as it is; a text of the standard alphabet with a `/` is quoted, or it would split the path.
        """
        mark = "%22" if "/" in self.encoded else ""
        encoded = mark + quote(self.encoded, safe="=") + mark
        return f"security=policy:{encoded},signature:{quote(self.signature, safe='')}"

    def as_fields(self) -> dict[str, str]:
        """The two members that JSON and form bodies of the upload and File APIs carry."""
        return {"policy": self.encoded, "signature": self.signature}


# -------------------------------------------------------------------------------------------------------------- decode

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def _decode_base64(encoded: str, *, standard_alphabet: bool) -> bytes:
    """The bytes of a canonical Base64URL text; with `standard_alphabet` also of one in the alphabet of RFC 4648 section 4.

    Re-encoding must give the text back: that refuses junk, missing or surplus padding and spare bits in one comparison,
    all of which Python's decoder lets through.
    """
    if not encoded.isascii():
        raise PolicyError(Reason.BAD_ENCODING, "characters outside Base64")
    text = encoded.encode("ascii")
    if b"-" in text or b"_" in text:
        if b"+" in text or b"/" in text:
            raise PolicyError(Reason.BAD_ENCODING, "two Base64 alphabets in one text")
        text = text.translate(_TO_STANDARD)
    elif not standard_alphabet and (b"+" in text or b"/" in text):
        raise PolicyError(Reason.BAD_ENCODING, "the standard Base64 alphabet is switched off for this application")
    try:
        raw = binascii.a2b_base64(text)
    except binascii.Error as error:
        raise PolicyError(Reason.BAD_ENCODING, f"not Base64: {error}") from None
    if binascii.b2a_base64(raw, newline=False) != text:
        raise PolicyError(Reason.BAD_ENCODING, "not canonical Base64 (padding is part of the policy)")
    return raw


class _Fraction:
    """Stands for a number with a fraction or an exponent, which no key of a policy may hold."""


_FRACTION = _Fraction()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise PolicyError(Reason.BAD_JSON, "a key is given twice")
    return members


def _no_constant(name: str) -> Any:
    raise PolicyError(Reason.BAD_JSON, f"{name} is not JSON")


_decoder: Any = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_float=lambda _: _FRACTION, parse_constant=_no_constant)
#: The C scanner itself: `JSONDecoder.decode` spends more on finding white space than on a policy of a hundred bytes.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def _check_nesting(text: str) -> None:
    """Refuse more than `MAX_NESTING` open brackets, looking past strings: Python's parser recurses on them."""
    depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise PolicyError(Reason.BAD_JSON, f"nested deeper than {MAX_NESTING}")
        elif character in "]}":
            depth -= 1


def _decode_json(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError:
        raise PolicyError(Reason.BAD_JSON, "not UTF-8") from None
    if text.count("[") + text.count("{") > MAX_NESTING:
        _check_nesting(text)
    try:
        value, end = _scan(text, 0)
    except (ValueError, StopIteration) as error:  # ValueError covers JSONDecodeError and numbers of thousands of digits
        raise PolicyError(Reason.BAD_JSON, f"not JSON: {error}") from None
    if end != len(text):
        raise PolicyError(Reason.BAD_JSON, "something follows the JSON object")
    if type(value) is not dict:
        raise PolicyError(Reason.NOT_AN_OBJECT, "the policy is not a JSON object")
    return value


def _expiry(value: object) -> int:
    if type(value) is not int:  # a boolean is an int in Python; a fraction, text or exponent arrives as something else
        raise PolicyError(Reason.BAD_EXPIRY, "expiry must be an integer number of seconds")
    if not -_INT64 <= value <= _INT64:
        raise PolicyError(Reason.BAD_EXPIRY, "expiry is outside 64 bits")
    return value


def _calls(value: object) -> frozenset[Call]:
    names = [value] if type(value) is str else value
    if type(names) is not list:
        raise PolicyError(Reason.MALFORMED, "call must be a list of names or one name")
    try:
        return frozenset(map(_call_named, names))
    except (KeyError, TypeError):
        raise PolicyError(Reason.MALFORMED, "call names an unknown call") from None


def _text(value: object) -> str:
    if type(value) is not str:
        raise PolicyError(Reason.MALFORMED, "a text key holds something else")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise PolicyError(Reason.MALFORMED, "a text key holds half a character") from None
    return value


def _pattern(value: object) -> str:
    text = _text(value)
    compile_pattern(text)
    return text


def _bytes(value: object) -> int:
    if type(value) is not int or value < 0:
        raise PolicyError(Reason.MALFORMED, "a size must be a whole number of bytes, zero or more")
    return value


#: The keys of a policy on the wire: the attribute each becomes, and what reads its value.
_KEYS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "expiry": ("expiry", _expiry),
    "call": ("call", _calls),
    "handle": ("handle", _text),
    "container": ("container", _pattern),
    "path": ("path", _pattern),
    "url": ("url", _pattern),
    "minSize": ("min_size", _bytes),
    "maxSize": ("max_size", _bytes),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a signature grants. Absent (`None`) means no limit; every other value, empty ones included, limits.

    * `expiry`: unix seconds; the policy is good strictly before it.
    * `call`: the calls granted; `None` grants all but `exif`, an empty set grants nothing.
    * `handle`: the one file it covers, an exact text.
    * `container`, `path`: RE2 patterns for where an upload really goes. `url`: for the source URL that is really fetched.
    * `min_size`, `max_size`: bytes, inclusive.
    """

    expiry: int
    call: frozenset[Call] | None = None
    handle: str | None = None
    container: str | None = None
    path: str | None = None
    url: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    #: Names this server does not know, present only where the application chose to ignore them.
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def decode(cls, encoded: str, *, ignore_unknown: bool = False, standard_alphabet: bool = True) -> Policy:
        """Read an encoded policy whose signature was verified before.

        Raises `PolicyError` with the `Reason` for anything that is not exactly a policy: foreign characters, wrong padding,
        spare bits, other encodings than UTF-8, duplicate or unknown keys, values of the wrong type (security promises
        10 to 13, 18). `ignore_unknown` and `standard_alphabet` are the application's switches for migration.
        """
        if len(encoded) > MAX_ENCODED:
            raise PolicyError(Reason.BAD_ENCODING, f"longer than {MAX_ENCODED} characters")
        members = _decode_json(_decode_base64(encoded, standard_alphabet=standard_alphabet))
        values: dict[str, Any] = {}
        ignored: list[str] = []
        for key, value in members.items():
            known = _KEYS.get(key)
            if known is not None:
                values[known[0]] = known[1](value)
            elif ignore_unknown:
                ignored.append(key)
            else:
                raise PolicyError(Reason.UNKNOWN_KEY, "the policy has a key that is not known")
        if "expiry" not in values:
            raise PolicyError(Reason.BAD_EXPIRY, "the policy has no expiry")
        if ignored:
            values["ignored"] = tuple(ignored)
        # As `cls(**values)`, at a third of the cost: this runs for every cold verification.
        policy = object.__new__(cls)
        get = values.get
        for set_slot, name, default in _SLOTS:
            set_slot(policy, get(name, default))
        return policy

    @classmethod
    def lasting(
        cls,
        expires_in: int,
        *,
        now: float,
        round_to: int = 1,
        call: Iterable[Call | str] | str | None = None,
        **limits: Any,
    ) -> Policy:
        """A policy good for at least `expires_in` seconds from `now`.

        `round_to` rounds the expiry up to a multiple of so many seconds, so that every page view within that time gets the
        same URL and browsers can cache what it names. `call` takes names or `Call`s; the other limits are as in `Policy`.
        Raises `ConfigurationError` for a life or a limit that the verifier would refuse.
        """
        if expires_in <= 0 or round_to < 1:
            raise ConfigurationError("expires_in and round_to are positive numbers of seconds")
        expiry = -(-math.ceil(now + expires_in) // round_to) * round_to
        try:
            calls = None if call is None else _calls([call] if isinstance(call, str) else list(call))
            policy = cls(expiry=_expiry(expiry), call=calls, **limits)
            for name, read in _KEYS.values():
                if name not in ("expiry", "call") and getattr(policy, name) is not None:
                    read(getattr(policy, name))
        except PolicyError as error:
            raise ConfigurationError(f"this policy would be refused: {error}") from None
        if len(policy.encode()) > MAX_ENCODED:
            raise ConfigurationError(f"this policy would be refused: it is longer than {MAX_ENCODED} characters")
        return policy

    def encode(self) -> str:
        """The policy as Base64URL of compact JSON, padding kept."""
        members: dict[str, Any] = {}
        for key, (name, _) in _KEYS.items():
            value = getattr(self, name)
            if value is not None:
                members[key] = sorted(value) if key == "call" else value
        text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
        return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii")

    def sign(self, secret: bytes) -> SignedPolicy:
        """Encode and sign with one secret."""
        encoded = self.encode()
        return SignedPolicy(encoded, sign(encoded, secret))

    def grants(self, call: Call) -> bool:
        """Whether `call` is among what this policy names. Without names everything but `exif` is."""
        return call is not Call.EXIF if self.call is None else call in self.call

    def matches(self, key: str, value: str, *, search: bool = False) -> bool:
        """Whether a value satisfies the regex key `container`, `path` or `url`.

        The pattern spans the whole value unless `search` (security.md, decision 1). `$` is the end of the text. A value of
        more than `MAX_VALUE` characters satisfies no pattern: RE2's time is pattern times value, and both are bounded.
        """
        pattern = getattr(self, key)
        if pattern is None:
            return True
        if len(value) > MAX_VALUE:
            return False
        matcher = compile_pattern(pattern)
        try:
            return (matcher.search(value) if search else matcher.fullmatch(value)) is not None
        except UnicodeEncodeError:  # half a character cannot equal anything a signer wrote
            return False


#: The setters that decode() fills a policy through, with the default of each field.
_SLOTS: tuple[tuple[Callable[[Policy, Any], None], str, Any], ...] = tuple(
    (getattr(Policy, item.name).__set__, item.name, () if item.name == "ignored" else None) for item in fields(Policy)
)
