"""Bodies that are a description, not a file: JSON objects and forms, read whole and strictly.

Knows: JSON, form encodings, limits. Must not know: what the members mean.

Official clients send the same calls as JSON (JavaScript, Python, Ruby, Go) or as a form (Java, PHP); a form has texts only, and
its answer is the same object with texts for values.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from ..gate.errors import BadRequest, CredentialConflict, TooLarge, Unsupported
from ..gate.policy import SignedPolicy
from .http import body_pieces

MAX_BODY = 2 << 20  # bytes: the parts of the largest upload, 10,000 of them with their ETags, and more
_MAX_FIELDS = 100  # security promise 41
_DEEPEST = 16


async def members(request: Request) -> dict[str, Any]:
    """The members of a JSON or form body. Raises `BadRequest`, `TooLarge`, `Unsupported` for any other kind of body."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    body = await _whole(request)
    if kind == b"multipart/form-data":
        return _multipart(body, options.get(b"boundary") or b"")
    if kind == b"application/x-www-form-urlencoded":
        return _form(body)
    if kind in (b"application/json", b"text/plain", b""):  # a page may send JSON without a preflight as text
        return read_object(body)
    raise Unsupported(f"a body of type {kind!r}", public="The body is JSON or a form.")


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `BadRequest` for anything else, a member given twice, NaN, and too much nesting."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("not JSON", public="The body is not JSON.") from None
    if not isinstance(document, dict) or _depth(document) > _DEEPEST:
        raise BadRequest("no JSON object", public="The body is not a JSON object.")
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character, which no answer, header or database takes
        raise BadRequest("half a character", public="A text in the body holds half a character.") from None
    return document


async def _whole(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length[:18] or 0) > MAX_BODY:
        raise TooLarge("too long a description", public="The body is too long.")
    body = bytearray()
    async for piece in body_pieces(request):
        body += piece
        if len(body) > MAX_BODY:
            raise TooLarge("too long a description", public="The body is too long.")
    return bytes(body)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("a member is given twice", public="A member of the body is given twice.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(item, (dict, list)):
            waiting += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeError):
        raise BadRequest("malformed form", public="The form is malformed.") from None
    # A blank in a policy is a `+` that was not escaped: form decoding turns it into one, and no policy holds blanks.
    return _once([(name, value.replace(" ", "+") if name == "policy" else value) for name, value in pairs])


def _multipart(body: bytes, boundary: bytes) -> dict[str, Any]:
    if not boundary or len(boundary) > 70:
        raise BadRequest("no boundary", public="The multipart body names no boundary.")
    fields = _Fields()
    try:
        parser = python_multipart.MultipartParser(boundary, fields.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest(f"malformed multipart body: {error}", public="The multipart body is malformed.") from None
    if not fields.complete:
        raise BadRequest("multipart body ends early", public="The multipart body ends too early.")
    try:
        return _once([(name.decode("utf-8"), value.decode("utf-8")) for name, value in fields.found])
    except UnicodeDecodeError:
        raise BadRequest("not UTF-8", public="The form is not UTF-8.") from None


class _Fields:
    """Collects the fields of a form in parts."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._name, self._value, self._headers, self._data = b"", b"", {}, bytearray()  # type: ignore[var-annotated]

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) >= _MAX_FIELDS:
            raise TooLarge("too many parts", public=f"A form has at most {_MAX_FIELDS} parts.")
        self._headers, self._data = {}, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" in options:
            self.found.append((options[b"name"], bytes(self._data)))

    def _end(self) -> None:
        self.complete = True


# ------------------------------------------------------------------------------------------------------------- members


def text(values: dict[str, Any], name: str, *, longest: int = 1024) -> str | None:
    """A text member; None when it is absent, null or empty. Raises `BadRequest` for another type or a longer text."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise BadRequest(f"{name} is no text", public=f"{name} is a text of at most {longest} characters.")
    return value


def whole(values: dict[str, Any], name: str, *, least: int = 0, most: int = 2**50) -> int | None:
    """A whole number member, in JSON or as digits; None when it is absent or null. Raises `BadRequest`."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{name} is no number", public=f"{name} is a whole number from {least} to {most}.")
    return value


def switched(values: dict[str, Any], name: str) -> bool:
    """A member that is true or false, in JSON or as a text."""
    value = values.get(name)
    return value is True or (isinstance(value, str) and value.lower() in ("true", "1"))


def shown_policy(values: dict[str, Any]) -> SignedPolicy | None:
    """The credential among the members, beside the others or in `security`; half of one counts as a bad one, not as none.

    Raises `CredentialConflict` for two.
    """
    nested = values.get("security")
    found = []
    for group in (values, nested if isinstance(nested, dict) else {}):
        halves = {name: group[name] for name in ("policy", "signature") if group.get(name) is not None}
        if halves:
            halves = {name: value if isinstance(value, str) else "" for name, value in halves.items()}
            found.append(SignedPolicy(halves.get("policy", ""), halves.get("signature", "")))
    if len(found) > 1:
        raise CredentialConflict("a policy beside security and one inside it")
    return found[0] if found else None
