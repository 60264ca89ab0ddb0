"""Fonts as tables: TrueType, OpenType and collections of them; packed ones unpacked within bounds.

Knows: the directory of tables (OpenType 1.9, "Font file"), WOFF (W3C), fontTools for what WOFF 2 does to outlines. Must not
know: what tables say.

Readers of fonts believe what tables claim; here a table is bytes that lie within the file, and how much comes out of a packed
font is counted before fontTools sees it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from secure_delivery.plugin import Corrupt, Media, SecureDeliveryError, TooLarge, Unsupported

MOST_BYTES = 64 << 20  # of a font, packed or not; the largest in use are half as large
MOST_FACES = 100
_MOST_TABLES = 256
_PIECE = 1 << 16
_MAGICS = {b"\0\1\0\0": "truetype", b"true": "truetype", b"typ1": "truetype", b"OTTO": "opentype", b"ttcf": "collection"}
_PACKED = {b"wOFF": "woff", b"wOF2": "woff2"}
_TRANSFORMED = (10, 11)  # `glyf` and `loca` among the known tags of WOFF 2


@dataclass(frozen=True, slots=True)
class Face:
    """One font of a file: its tables by name, as places and lengths in `data`."""

    data: bytes
    tables: dict[bytes, tuple[int, int]]

    def table(self, name: bytes) -> bytes:
        """The bytes of a table, empty when it is not there."""
        start, length = self.tables.get(name, (0, 0))
        return self.data[start : start + length]


@dataclass(frozen=True, slots=True)
class Fonts:
    """A font file: the format it came in, its unpacked bytes, the fonts in it."""

    format: str
    data: bytes
    faces: list[Face]


def read(media: Media) -> Fonts:
    """The fonts of a file. Raises `Unsupported` for what is none, `TooLarge`, `Corrupt`."""
    with media.open() as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise TooLarge(f"a font of more than {MOST_BYTES} bytes")
    kind = _PACKED.get(data[:4])
    if kind is not None:
        _check_woff(data) if kind == "woff" else _check_woff2(data)
        data = _unpacked(data)
    plain = _MAGICS.get(data[:4])
    if plain is None:
        raise Unsupported("no font that is known here")
    places = _places(data) if plain == "collection" else [0]
    return Fonts(kind or plain, data, [_face(data, place) for place in places])


def _places(data: bytes) -> list[int]:
    if len(data) < 12:
        raise Corrupt("font: the collection ends too early")
    (count,) = struct.unpack_from(">L", data, 8)
    if not 0 < count <= (len(data) - 12) // 4:
        raise Corrupt("font: a collection of nothing")
    return list(struct.unpack_from(f">{min(count, MOST_FACES)}L", data, 12))


def _face(data: bytes, place: int) -> Face:
    if place + 12 > len(data):
        raise Corrupt("font: no directory of tables")
    (count,) = struct.unpack_from(">H", data, place + 4)
    if not 0 < count <= _MOST_TABLES or place + 12 + 16 * count > len(data):
        raise Corrupt("font: the directory of tables ends too early")
    tables = {}
    for at in range(place + 12, place + 12 + 16 * count, 16):
        name, _, start, length = struct.unpack_from(">4s3L", data, at)
        if start + length <= len(data):
            tables[name] = (start, length)
    return Face(data, tables)


# -------------------------------------------------------------------------------------------------------- packed fonts


def _check_woff(data: bytes) -> None:
    """See that each table unpacks to the length it is said to have, and all to no more than a font may."""
    if len(data) < 44:
        raise Corrupt("woff: it ends too early")
    (count,) = struct.unpack_from(">H", data, 12)
    if count > _MOST_TABLES or 44 + 20 * count > len(data):
        raise Corrupt("woff: the directory of tables ends too early")
    total = 0
    for at in range(44, 44 + 20 * count, 20):
        start, packed, length = struct.unpack_from(">3L", data, at + 4)
        total += length
        if total > MOST_BYTES:
            raise TooLarge("woff: it unpacks to too much")
        if packed < length:
            unpacking = zlib.decompressobj()
            try:
                out = unpacking.decompress(data[start : start + packed], length + 1)
            except zlib.error as error:
                raise Corrupt(f"woff: {error}") from None
            if len(out) != length:
                raise Corrupt("woff: a table has not the length it is said to have")


def _check_woff2(data: bytes) -> None:
    """See that what is packed unpacks to no more than the directory announces, and that to no more than a font may."""
    import brotli  # type: ignore[import-untyped]

    if len(data) < 48 or data[4:8] == b"ttcf":
        raise Unsupported("woff2: a collection, or too short")
    (count,), (packed,) = struct.unpack_from(">H", data, 12), struct.unpack_from(">L", data, 20)
    if count > _MOST_TABLES:
        raise Corrupt("woff2: too many tables")
    at, total, whole = 48, 0, 0
    for _ in range(count):
        flags, at = data[at] if at < len(data) else 0, at + 1
        tag, version = flags & 63, flags >> 6
        at += 4 * (tag == 63)
        length, at = _base128(data, at)
        whole += length
        transformed = version != 3 if tag in _TRANSFORMED else version != 0
        if transformed:
            length, at = _base128(data, at)
        total += length
    if max(total, whole) > MOST_BYTES:
        raise TooLarge("woff2: it unpacks to too much")
    unpacking, out = brotli.Decompressor(), 0
    try:
        for start in range(at, min(at + packed, len(data)), _PIECE):
            piece = data[start : min(start + _PIECE, at + packed)]
            out += len(unpacking.process(piece, output_buffer_limit=_PIECE))
            while out <= total and not unpacking.can_accept_more_data() and not unpacking.is_finished():
                out += len(unpacking.process(b"", output_buffer_limit=_PIECE))
            if out > total:
                raise Corrupt("woff2: more is packed than the directory says")
    except brotli.error as error:
        raise Corrupt(f"woff2: {error}") from None


def _base128(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to five bytes (WOFF 2, section 4.1), and where it ends."""
    value = 0
    for index in range(5):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + index + 1
    raise Corrupt("woff2: the directory of tables is damaged")


def _unpacked(data: bytes) -> bytes:
    """The font as it was before it was packed."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    out = BytesIO()
    try:
        with TTFont(BytesIO(data), lazy=True, recalcBBoxes=False, recalcTimestamp=False) as font:
            font.flavor = None
            font.save(out, reorderTables=None)
    except (SecureDeliveryError, MemoryError):
        raise
    except Exception as error:  # fontTools raises whatever comes up when a table is not what it should be
        raise Corrupt(f"font: {type(error).__name__}: {error}") from None
    return out.getvalue()


def warm() -> None:
    """Have fontTools load what it loads late, by unpacking a small font."""
    import brotli
    from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]

    brotli.Decompressor()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef"])
    builder.setupCharacterMap({})
    builder.setupGlyf({".notdef": _no_outline()})
    builder.setupHorizontalMetrics({".notdef": (500, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupPost()
    for flavor in ("woff", "woff2"):
        builder.font.flavor = flavor
        out = BytesIO()
        builder.save(out)
        _unpacked(out.getvalue())


def _no_outline() -> Any:
    from fontTools.ttLib.tables._g_l_y_f import Glyph  # type: ignore[import-untyped]

    return Glyph()
