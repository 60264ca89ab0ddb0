"""Formats that are read for previews and for nothing else.

Knows: their signatures, the reader of Pillow for each, icons that hold several pictures. Must not know: pages, sizes that
somebody wants, how results are written.

The list in `headers` is what transformations read, and stays as short as it is; who asks for a preview has any file. The list
here is closed too, each reader is made from its class, and content decides. The exception is TGA, which has no signature:
there the name and a header that makes sense count together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

from PIL import Image

from secure_delivery.plugin import Corrupt, Media, WorkLimits

from .decode import check_area, faults, set_up
from .deep import eight_bits
from .headers import Size
from .readers import Sketch

HEAD = 32  # bytes that suffice for every signature
_MOST_HALVINGS = 5  # what encoders prepare unless they are told otherwise
MOST_PICTURES = 256  # of one icon; real ones hold a dozen

_SIGNATURES = (
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x01\xda", "SGI"),
)
_READERS = {
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "ICO": ("IcoImagePlugin", "IcoFile"),
    "ICNS": ("IcnsImagePlugin", "IcnsFile"),
    "DDS": ("DdsImagePlugin", "DdsImageFile"),
    "QOI": ("QoiImagePlugin", "QoiImageFile"),
    "SGI": ("SgiImagePlugin", "SgiImageFile"),
    "PCX": ("PcxImagePlugin", "PcxImageFile"),
    "PNM": ("PpmImagePlugin", "PpmImageFile"),
    "TGA": ("TgaImagePlugin", "TgaImageFile"),
}
_TGA_NAMES = (".tga", ".icb", ".vda", ".vst")
_TGA_KINDS = (1, 2, 3, 9, 10, 11)
_TGA_DEPTHS = (1, 8, 15, 16, 24, 32)


def form_of(head: bytes, filename: str) -> str | None:
    """The format of a file from its first `HEAD` bytes; None for what is not read here."""
    for magic, name in _SIGNATURES:
        if head.startswith(magic):
            return name
    if len(head) >= 22 and head[:2] == b"\0\0" and head[2:4] in (b"\1\0", b"\2\0") and head[4:6] != b"\0\0":
        return "ICO"
    if head[:1] == b"P" and head[1:2] in b"123456Ff" and head[2:3] in (b" ", b"\t", b"\n", b"\r", b"#"):
        return "PNM"
    if len(head) >= 16 and head[0] == 10 and head[1] in (0, 2, 3, 5) and head[2] < 2 and head[3] in (1, 2, 4, 8):
        return "PCX"
    if filename.lower().endswith(_TGA_NAMES) and _tga(head):
        return "TGA"
    return None


def _tga(head: bytes) -> bool:
    if len(head) < 18:
        return False
    mapped, kind, depth = head[1], head[2], head[16]
    width, height = struct.unpack_from("<HH", head, 12)
    return mapped < 2 and kind in _TGA_KINDS and depth in _TGA_DEPTHS and width > 0 and height > 0


def warm() -> None:
    """Import every reader, so that a confined worker opens no files."""
    for form in _READERS:
        _reader(form)


def _reader(form: str) -> Any:
    module, name = _READERS[form]
    return getattr(import_module(f"PIL.{module}"), name)


def wavelets(media: Media, limits: WorkLimits) -> Sketch:
    """A JPEG 2000 file, decoded when it is known how large it is wanted. Raises `TooLarge`, `Corrupt`."""
    with faults(), media.open() as stream:
        size = Size(*Rare(stream, "JPEG2000", limits).size)

    def draw(wanted: Size) -> Image.Image:
        for smaller in (wanted, size):  # one that cannot be halved so often is decoded whole
            with media.open() as stream:
                try:
                    return Rare(stream, "JPEG2000", limits).reduced(smaller)
                except (OSError, ValueError):
                    if smaller == size:
                        raise
        raise Corrupt("no pixels")

    return Sketch(filename=media.filename, size=size, draw=draw)


class Rare:
    """A file of one of these formats, opened. Its pictures are counted from 1, of icons the largest first.

    Make and use it inside `decode.faults`. The stream stays open as long as it is used.
    """

    def __init__(self, stream: BinaryIO, form: str, limits: WorkLimits) -> None:
        set_up(limits)
        stream.seek(0)
        self.form = form
        self._limits = limits
        self._file = _reader(form)(stream)
        self._sizes = list(self._listed()) if form == "ICNS" else []
        if form == "ICO":
            self.total = min(len(self._file.entry), MOST_PICTURES)
        else:
            self.total = min(len(self._sizes), MOST_PICTURES) if form == "ICNS" else 1
        if self.total < 1:
            raise Corrupt("an icon without a picture")
        if form not in ("ICO", "ICNS"):
            check_area(self._file.size, limits)

    @property
    def size(self) -> tuple[int, int]:
        """Of a file with one picture: its size, before it is decoded."""
        width, height = self._file.size
        return int(width), int(height)

    def picture(self, number: int = 1) -> Image.Image:
        """One of them, decoded, in a mode of eight bits."""
        if self.form == "ICO":
            image = self._file.frame(number - 1)
        elif self.form == "ICNS":
            image = self._file.getimage(self._sizes[number - 1])
        else:
            image = self._file
        check_area(image.size, self._limits)
        image.load()
        return eight_bits(image)

    def reduced(self, size: tuple[int, int]) -> Image.Image:
        """The picture at least twice as large as wanted: JPEG 2000 is decoded as far as that takes, each halving a quarter of
        the work."""
        factor = min(self._file.width // (2 * max(1, size[0])), self._file.height // (2 * max(1, size[1])))
        halvings = min(max(0, factor.bit_length() - 1), _MOST_HALVINGS)
        if halvings and self.form == "JPEG2000":
            self._file.reduce = halvings
        return self.picture()

    def _listed(self) -> Iterator[tuple[int, int, int]]:
        yield from sorted(self._file.itersizes(), key=lambda size: size[0] * size[2], reverse=True)
