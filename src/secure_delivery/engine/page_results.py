"""What a confined child wrote about its pages and sections, read as what it is: the word of a stranger.

Knows: the layout that `page_work` writes. Must not know: previewers, jobs, where results go.

Offsets are checked against the file, numbers against what was asked, names against what was sent. What does not fit is
`Corrupt`, as if the decoder had crashed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..gate.errors import Corrupt
from .page_work import MOST_ATTACHED, MOST_PICTURES

_LONGEST = 24 << 20  # bytes of a document
_MOST_MARKS = 2_000_000  # commas and brackets: what a document may become in memory
_DEEPEST = 64  # levels; the deepest section has 40
_MOST_EXTRA = 64 * 1024  # bytes of what is told of a conversion and recorded
_SIDE = 100_000
_MOST_TOTAL = 10_000_000
_MIMETYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,126}")
_CODE = re.compile(r"[a-z_]{1,40}")
_TOKEN = re.compile(r"attached:[0-9a-f]{16}:[0-9]{1,4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One picture in the file that a child wrote: `size` is the name of the size that was asked for."""

    page: int
    size: str
    offset: int
    length: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Pages as they were drawn: the own size of each by its number, their pictures, and what readers read."""

    total: int
    pages: Mapping[int, tuple[int, int]]
    pieces: tuple[Piece, ...]
    sections: Mapping[str, Any] = field(repr=False)
    faults: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A picture that an extractor wants uploaded; `token` stands in its section where the address is to be."""

    token: str
    name: str
    offset: int
    length: int


def read_drawn(
    output: BinaryIO,
    extra: Mapping[str, Any],
    *,
    names: Collection[str],
    readers: Collection[str],
    wanted: Callable[[int], Sequence[int]],
) -> Drawn:
    """The document of a `preview:` task. `wanted` gives the pages that were asked for of a file with so many. Raises
    `Corrupt`."""
    document, end = _document(output, extra)
    total = _number(document.get("total"), 0, _MOST_TOTAL)
    pages: dict[int, tuple[int, int]] = {}
    pieces: list[Piece] = []
    last = begin = 0
    for page in _list(document.get("pages")):
        number = _number(page.get("page"), last + 1, max(total, last + 1))
        last = number
        pages[number] = (_number(page.get("width"), 1, _SIDE), _number(page.get("height"), 1, _SIDE))
        pictures = _list(page.get("pictures"))
        if [one.get("size") for one in pictures] != list(names):
            raise Corrupt("the decoder made other sizes than were asked for")
        for one in pictures:
            pieces.append(_piece(number, one, begin, end))
            begin = pieces[-1].offset + pieces[-1].length
    if len(pieces) > MOST_PICTURES or not pages.keys() <= {*wanted(max(total, last))}:
        raise Corrupt("the decoder made other pages than were asked for")
    sections = document.get("sections")
    faults = document.get("faults")
    if not isinstance(sections, dict) or not isinstance(faults, dict) or not {*sections, *faults} <= {*readers}:
        raise Corrupt("the decoder filled other sections than were asked for")
    told = {name: _fault(fault) for name, fault in faults.items()}
    return Drawn(total=total, pages=pages, pieces=tuple(pieces), sections=sections, faults=told)


def read_section(output: BinaryIO, extra: Mapping[str, Any]) -> tuple[Any, tuple[Attachment, ...]]:
    """The document of an `extract:` task: the section, and the pictures that go with it. Raises `Corrupt`."""
    document, end = _document(output, extra)
    if "value" not in document:
        raise Corrupt("the decoder's section is missing")
    found: list[Attachment] = []
    begin = 0
    for one in _list(document.get("attached")):
        token, name = one.get("token"), one.get("name")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(name, str):
            raise Corrupt("the decoder attached something without a name")
        offset, length = _span(one, begin, end)
        begin = offset + length
        found.append(Attachment(token=token, name=name[:200], offset=offset, length=length))
    if len(found) > MOST_ATTACHED or len({one.token for one in found}) != len(found):
        raise Corrupt("the decoder attached too much")
    return document["value"], tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """One file among those that a child wrote one after the other."""

    name: str
    mimetype: str
    offset: int
    length: int


def read_files(output: BinaryIO, extra: Mapping[str, Any]) -> tuple[tuple[MadeFile, ...], Mapping[str, Any]]:
    """The document of a `files:` task: the files, the main one first, and what it said besides. Raises `Corrupt`."""
    document, end = _document(output, extra)
    found: list[MadeFile] = []
    begin = 0
    for one in _list(document.get("files")):
        name, mimetype = one.get("name"), one.get("mimetype")
        if not isinstance(name, str) or not isinstance(mimetype, str) or not _MIMETYPE.fullmatch(mimetype):
            raise Corrupt("the decoder gave a file an impossible name or type")
        if not 0 < len(name) <= 300 or not name.isprintable() or "/" in name:
            raise Corrupt("the decoder gave a file an impossible name")
        offset, length = _span(one, begin, end)
        begin = offset + length
        found.append(MadeFile(name=name, mimetype=mimetype, offset=offset, length=length))
    if not 0 < len(found) <= MOST_ATTACHED + 1 or len({one.name for one in found}) != len(found):
        raise Corrupt("the decoder made no file, or two of one name")
    more = document.get("extra")
    return tuple(found), more if isinstance(more, dict) and len(json.dumps(more)) < _MOST_EXTRA else {}


def replaced(value: Any, addresses: Mapping[str, str]) -> Any:
    """A section with every token replaced by the address that its picture got."""
    if isinstance(value, str):
        return addresses.get(value, value)
    if isinstance(value, list):
        return [replaced(item, addresses) for item in value]
    if isinstance(value, dict):
        return {name: replaced(item, addresses) for name, item in value.items()}
    return value


def _document(output: BinaryIO, extra: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The document, and where the pictures end: it comes after them."""
    place = extra.get("document")
    output.seek(0, 2)
    size = output.tell()
    if not isinstance(place, list) or len(place) != 2:
        raise Corrupt("the decoder did not say where its document is")
    offset = _number(place[0], 0, size)
    length = _number(place[1], 1, min(_LONGEST, size - offset))
    output.seek(offset)
    document = _loaded(output.read(length))
    if not isinstance(document, dict):
        raise Corrupt("the decoder's document is no object")
    return document, offset


def _loaded(data: bytes) -> Any:
    """JSON that can be written down and sent as it is: no infinite numbers, no halves of characters, no abyss."""
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MOST_MARKS:
        raise Corrupt("the decoder's document has too many values")
    try:
        document = json.loads(data.decode("ascii"), parse_constant=_number_of, parse_float=_number_of)
        if re.search(rb"\\u[dD][89a-fA-F]", data):  # characters outside the first plane, as a rule
            text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
            document = json.loads(text)
    except (ValueError, RecursionError):
        raise Corrupt("the decoder's document is not JSON") from None
    if not _shallow(document):
        raise Corrupt("the decoder's document is nested too deeply")
    return document


def _number_of(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not JSON")
    return number


def _shallow(document: Any) -> bool:
    """Whether a value has few enough levels for whoever walks through it. Goes level by level, not into itself."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, dict) else value
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return True
    return False


def _piece(page: int, one: Mapping[str, Any], begin: int, end: int) -> Piece:
    offset, length = _span(one, begin, end)
    width, height = (_number(one.get(side), 1, _SIDE) for side in ("width", "height"))
    return Piece(page=page, size=str(one["size"]), offset=offset, length=length, width=width, height=height)


def _span(one: Mapping[str, Any], begin: int, end: int) -> tuple[int, int]:
    """Where a part is. Parts come one after the other: bytes that count twice would make a small file a large bill."""
    offset = _number(one.get("offset"), begin, end)
    return offset, _number(one.get("length"), 1, end - offset)


def _number(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Corrupt("the decoder gave a number that cannot be")
    return value


def _list(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Corrupt("the decoder's document has another form")
    return value


def _fault(value: Any) -> dict[str, str]:
    code, message = (value.get("code"), value.get("message")) if isinstance(value, dict) else (None, None)
    if not isinstance(code, str) or not _CODE.fullmatch(code) or not isinstance(message, str):
        raise Corrupt("the decoder's fault has another form")
    return {"code": code, "message": "".join(letter if letter.isprintable() else "?" for letter in message[:300])}
