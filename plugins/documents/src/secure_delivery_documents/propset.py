"""Property sets of compound files: title, people, dates, counts of the older office documents. [MS-OLEPS].

Knows: two streams and the few kinds of values in them. Must not know: what a result may say of them.

A set says itself how many values it has and how long they are; here nothing is believed beyond the bytes that are there.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import olefile

_SUMMARY = {
    2: "title",
    3: "subject",
    4: "author",
    5: "keywords",
    8: "last_author",
    12: "created",
    13: "modified",
    14: "pages",
    15: "words",
    16: "characters",
    18: "producer",
}
_DOCUMENT = {7: "slides", 9: "hidden", 15: "company"}
_STREAMS = {"\x05SummaryInformation": _SUMMARY, "\x05DocumentSummaryInformation": _DOCUMENT}
_MOST_BYTES = 1_000_000  # of a stream
_MOST_VALUES = 200  # of a set
_LONGEST = 8_000  # bytes of a text
_CODEPAGE = 1
_I2, _I4, _TEXT, _WIDE, _TIME = 2, 3, 30, 31, 64
_BEGINNING = datetime(1601, 1, 1)  # noqa: DTZ001 - of FILETIME, which is UTC


def read(data: bytes) -> dict[str, Any]:
    """What both sets say: texts, numbers, dates as ISO 8601 has them. Raises whatever damaged files make the reader raise."""
    found: dict[str, Any] = {}
    with olefile.OleFileIO(BytesIO(data)) as file:
        for name, wanted in _STREAMS.items():
            if file.exists(name):
                found |= values(file.openstream(name).read(_MOST_BYTES), wanted)
    slides = found.pop("slides", 0)
    hidden = found.pop("hidden", 0)
    if slides:
        found["pages"] = max(0, slides - hidden)
    return {name: value for name, value in found.items() if value}


def values(stream: bytes, wanted: dict[int, str]) -> dict[str, Any]:
    """The wanted values of the first set of a stream. What is not whole is left out."""
    if len(stream) < 48:
        return {}
    (start,) = struct.unpack_from("<I", stream, 44)
    (count,) = struct.unpack_from("<I", stream, start + 4) if start + 8 <= len(stream) else (0,)
    places: dict[int, int] = {}
    for number in range(min(count, _MOST_VALUES)):
        at = start + 8 + 8 * number
        if at + 8 > len(stream):
            break
        identity, offset = struct.unpack_from("<II", stream, at)
        places.setdefault(identity, start + offset)
    codepage = _value(stream, places[_CODEPAGE], "utf-8") if _CODEPAGE in places else 0
    encoding = _encoding(codepage if isinstance(codepage, int) else 0)
    read = {name: _value(stream, places[identity], encoding) for identity, name in wanted.items() if identity in places}
    return {name: value for name, value in read.items() if value is not None}


def _encoding(codepage: int) -> str:
    codepage &= 0xFFFF
    name = {65001: "utf-8", 1200: "utf-16-le", 10000: "mac-roman"}.get(codepage, f"cp{codepage}")
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name


def _value(stream: bytes, at: int, encoding: str) -> Any:
    if at + 8 > len(stream):
        return None
    kind, first = struct.unpack_from("<II", stream, at)
    if kind == _I2:
        return int(struct.unpack_from("<h", stream, at + 4)[0])
    if kind == _I4:
        return int(struct.unpack_from("<i", stream, at + 4)[0])
    if kind == _TEXT:
        return stream[at + 8 : at + 8 + min(first, _LONGEST)].decode(encoding, "replace").partition("\0")[0]
    if kind == _WIDE:
        return stream[at + 8 : at + 8 + min(2 * first, _LONGEST)].decode("utf-16-le", "replace").partition("\0")[0]
    if kind == _TIME and at + 12 <= len(stream):
        return _moment(struct.unpack_from("<Q", stream, at + 4)[0])
    return None


def _moment(ticks: int) -> str | None:
    if not ticks:
        return None
    try:
        return (_BEGINNING + timedelta(microseconds=ticks // 10)).isoformat(timespec="seconds") + "Z"
    except OverflowError:
        return None
