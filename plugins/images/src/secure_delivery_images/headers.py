"""What a picture announces about itself, before any library sees it.

Knows: the signatures of the formats that are read, and where two of them keep their dimensions.
Must not know: Pillow, pixels, limits.

The list is closed and content decides (security promise 44). Dimensions are read here for the two formats whose decoder
does real work on opening: libwebp reserves the canvas twice, libavif refuses above a limit of its own; for both the honest
answer (too large) must come first. HEIC is built of the same boxes as AVIF. The other formats announce their size through
Pillow, which decodes nothing on opening.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

HEAD = 64  # bytes that suffice for every signature

MIMETYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
}
FORMS = {mimetype: form for form, mimetype in MIMETYPES.items()}

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths of the header behind the two letters, which alone are no signature
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis")
_MAX_CHUNKS = 1 << 16
_MAX_EXIF = 1 << 20
_MAX_BOXES = 4096  # a picture has a few dozen; a hostile file must not keep us counting


class Size(NamedTuple):
    width: int
    height: int


def format_of(head: bytes) -> str | None:
    """The format of a file from its first `HEAD` bytes, in Pillow's word for it, or None for all that is not read."""
    for magic, name in _SIGNATURES:
        if head.startswith(magic):
            return name
    if head.startswith(b"BM") and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return "BMP"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        length = int.from_bytes(head[:4], "big")
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(length, HEAD), 4))]
        if any(brand in _AVIF_BRANDS for brand in brands):
            return "AVIF"
        return "HEIC" if any(brand in _HEIC_BRANDS for brand in brands) else None
    return None


def announced(stream: BinaryIO, form: str) -> Size | None:
    """The canvas a WebP, AVIF or HEIC file announces, or None where the format or the file does not say it up front.

    `stream` is at the start of the file; where it is afterwards is not said. Never raises for what the file contains.
    """
    if form == "WEBP":
        return webp_canvas(stream.read(30))
    if form in ("AVIF", "HEIC"):
        return _largest(stream)
    return None


def webp_canvas(head: bytes) -> Size | None:
    """The canvas of a WebP file by its first 30 bytes."""
    chunk, body = head[12:16], head[20:]
    if chunk == b"VP8X" and len(body) >= 10:
        return Size(1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little"))
    if chunk == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return Size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if chunk == b"VP8 " and len(body) >= 10:
        width, height = struct.unpack_from("<HH", body, 6)
        return Size(width & 0x3FFF, height & 0x3FFF)
    return None


def _largest(stream: BinaryIO) -> Size | None:
    """The largest `ispe` property: of a picture put together from tiles, that is the whole."""
    found = Size(0, 0)
    spans = [(0, stream.seek(0, 2))]
    for _ in range(_MAX_BOXES):
        if not spans:
            break
        at, end = spans.pop()
        stream.seek(at)
        head = stream.read(20)
        if at + 8 > end or len(head) < 8:
            continue
        length, kind = struct.unpack(">I4s", head[:8])
        start = at + 8
        if length == 1 and len(head) >= 16:
            length, start = struct.unpack_from(">Q", head, 8)[0], at + 16
        after = end if length == 0 else at + length
        if after <= at + 7 or after > end:
            continue
        spans.append((after, end))
        if kind in (b"iprp", b"ipco"):
            spans.append((start, after))
        elif kind == b"meta":
            spans.append((start + 4, after))
        elif kind == b"ispe" and len(head) == 20:
            width, height = struct.unpack_from(">II", head, 12)
            found = max(found, Size(width, height), key=lambda size: size.width * size.height)
    return found if found.width else None


def png_exif(stream: BinaryIO) -> bytes:
    """The EXIF block of a PNG file, wherever in the file it stands; empty when there is none.

    Chunks are stepped over, not read: it may come behind the pixels, and Pillow would decode all of them to get there.
    """
    stream.seek(8)
    for _ in range(_MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf" and length <= _MAX_EXIF:
            return stream.read(length)
        if kind == b"IEND":
            break
        stream.seek(length + 4, 1)
    return b""
