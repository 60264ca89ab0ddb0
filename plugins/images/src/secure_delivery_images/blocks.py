"""Where files keep what they say about themselves: EXIF, XMP and IPTC, as they stand.

Knows: containers. Must not know: what tags mean, who may see them.

Camera raw is mostly TIFF under another first word, which is put right in front of its reader. Of a Photoshop file and of a Fuji
raw only the few bytes that lead to a block are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, cast

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from secure_delivery.plugin import Media, WorkLimits

from .decode import MAX_BLOCK, faults, open_image
from .headers import HEAD, announced, format_of, png_exif
from .metadata_words import IPTC_TAG, XMP_TAG

_TIFF_LIKE = {
    b"IIRO": b"II*\0",
    b"IIRS": b"II*\0",
    b"IIU\0": b"II*\0",
    b"MMOR": b"MM\0*",
    b"II*\0": b"II*\0",
    b"MM\0*": b"MM\0*",
}
_FIRST = 8 << 20  # bytes of a raw file in which its directories are looked for
_MOST_DATASETS = 1_000
_PHOTOSHOP = {1028: "iptc", 1058: "exif", 1060: "xmp"}


@dataclass(slots=True, kw_only=True)
class Blocks:
    """What was found, empty where there is none. `iptc` are datasets: record and number, and the value."""

    exif: Image.Exif = field(default_factory=Image.Exif)
    xmp: bytes = b""
    iptc: list[tuple[int, bytes]] = field(default_factory=list)


def blocks_of(media: Media, limits: WorkLimits) -> Blocks | None:
    """The blocks of a file; None for a file that is not of a kind that has any. Raises `Corrupt`, `TooLarge`."""
    with faults(), media.open() as stream:
        head = stream.read(HEAD)
        form = format_of(head)
        stream.seek(0)
        if head.startswith(b"8BPS"):
            return _of_photoshop(stream)
        if head.startswith(b"FUJIFILMCCD-RAW"):
            return _of_fuji(stream, limits)
        if head[:4] in _TIFF_LIKE:
            return _of_tiff(stream)
        return None if form is None else _of_picture(stream, form, limits)


def _of_picture(stream: BinaryIO, form: str, limits: WorkLimits) -> Blocks:
    if announced(stream, form) == (0, 0):
        return Blocks()
    image = open_image(stream, form, limits)
    found = Blocks(xmp=_bytes(image.info.get("xmp")))
    try:
        if form == "PNG":  # whose own way would decode the whole picture
            found.exif.load(png_exif(stream))
        else:
            found.exif = image.getexif()
    except MemoryError:
        raise
    except Exception:  # damaged EXIF says nothing; the rest may
        found.exif = Image.Exif()
    if isinstance(image, JpegImageFile) and isinstance(image.info.get("photoshop"), dict):
        found.iptc = list(_datasets(_bytes(image.info["photoshop"].get(0x0404))))
    return found


def _of_tiff(stream: BinaryIO) -> Blocks:
    data = stream.read(_FIRST)
    found = Blocks()
    try:
        found.exif.load_from_fp(BytesIO(_TIFF_LIKE[data[:4]] + data[4:]))
    except MemoryError:
        raise
    except Exception:
        return Blocks()
    found.xmp = _bytes(found.exif.get(XMP_TAG))
    found.iptc = list(_datasets(_bytes(found.exif.get(IPTC_TAG))))
    return found


def _of_fuji(stream: BinaryIO, limits: WorkLimits) -> Blocks:
    """By the picture inside, whose place the header tells."""
    head = stream.read(92)
    if len(head) < 92:
        return Blocks()
    offset, length = struct.unpack_from(">II", head, 84)
    stream.seek(offset)
    data = stream.read(min(length, _FIRST))
    return _of_picture(BytesIO(data), "JPEG", limits) if format_of(data[:HEAD]) == "JPEG" else Blocks()


def _of_photoshop(stream: BinaryIO) -> Blocks:
    """By the image resources (Photoshop file format, "Image Resources Section")."""
    found = Blocks()
    stream.seek(26)
    for _ in range(2):  # past colour data, to the length of the resources
        word = stream.read(4)
        if len(word) < 4:
            return found
        length = struct.unpack(">I", word)[0]
        start = stream.tell()
        stream.seek(start + length)
    stream.seek(start)
    for number, data in _resources(stream.read(min(length, _FIRST))):
        kind = _PHOTOSHOP.get(number)
        if kind == "xmp":
            found.xmp = data
        elif kind == "iptc":
            found.iptc = list(_datasets(data))
        elif kind == "exif" and len(data) <= MAX_BLOCK:
            try:
                found.exif.load(data)
            except MemoryError:
                raise
            except Exception:
                found.exif = Image.Exif()
    return found


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        number = struct.unpack_from(">H", data, at + 4)[0]
        at += 6 + (data[at + 6] + 2) // 2 * 2  # the name, with its length, fills an even number of bytes
        if at + 4 > len(data):
            return
        length = struct.unpack_from(">I", data, at)[0]
        yield number, data[at + 4 : at + 4 + length]
        at += 4 + length + length % 2


def _datasets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Datasets of the application record (IPTC-IIM 4.2, section 1.6): number and value."""
    at = 0
    for _ in range(_MOST_DATASETS):
        if at + 5 > len(data) or data[at] != 0x1C:
            return
        record, number, length = cast("tuple[int, int, int]", struct.unpack_from(">BBH", data, at + 1))
        if length & 0x8000:  # an extended length: none of the texts has one
            return
        if record == 2:
            yield number, data[at + 5 : at + 5 + length]
        at += 5 + length


def _bytes(value: object) -> bytes:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) and len(value) <= MAX_BLOCK else b""
