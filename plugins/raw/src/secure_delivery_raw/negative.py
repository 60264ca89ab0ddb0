"""A raw file, and the ways to a picture of it.

Knows: rawpy, limits. Must not know: pages, sections.

LibRaw reads from memory and is asked anew for each thing: it lets go of the file once pixels are unpacked, and must not be
asked for the picture inside after that. Sizes are known, and judged, before anything is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any

import rawpy
from PIL import Image

from secure_delivery.plugin import (
    Corrupt,
    Media,
    MemoryFile,
    ProcessingLimit,
    SecureDeliveryError,
    TooLarge,
    Unsupported,
    WorkLimits,
)
from secure_delivery_images.decode import check_area, faults
from secure_delivery_images.edits import Resize
from secure_delivery_images.headers import Size
from secure_delivery_images.picture import Picture

from .kinds import is_raw

_NEARLY = 0.95  # of a size: cameras leave a few rows out of the picture that they put inside
_ENOUGH = 2  # times the wanted size: what is left is done by Lanczos
_SHAPE = 0.04  # how far proportions may differ: more, and the picture inside does not show the whole
_LARGEST_WHOLE = 60_000_000  # pixels developed at full size: 28 bytes each while that goes on
_HEAD = 4_096
_TURNS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}
_LYING = (5, 6)  # turned by a quarter


@dataclass(slots=True, kw_only=True)
class Negative:
    """A file with the size of its upright picture; `turn` is LibRaw's word for how the camera was held."""

    data: bytes = field(repr=False)
    size: tuple[int, int]
    turn: int
    limits: WorkLimits
    _inside: list[Picture | None] = field(default_factory=list)
    _developed: dict[bool, Image.Image] = field(default_factory=dict)

    @classmethod
    def of(cls, media: Media, limits: WorkLimits) -> Negative:
        """Read a file's header. Raises `Unsupported`, `Corrupt`, `TooLarge`."""
        with media.open() as stream:
            data = stream.read(limits.bytes + 1)
        if len(data) > limits.bytes:
            raise TooLarge(f"more than {limits.bytes} bytes")
        if not is_raw(data[:_HEAD], media.filename):
            raise Unsupported("no camera raw", public="This is not a raw file of a camera.")
        with _opened(data) as raw:
            sizes = raw.sizes
        check_area((max(sizes.raw_width, sizes.width), max(sizes.raw_height, sizes.height)), limits)
        if not sizes.width or not sizes.height:
            raise Corrupt("a sensor without pixels")
        upright = (sizes.height, sizes.width) if sizes.flip in _LYING else (sizes.width, sizes.height)
        return cls(data=data, size=upright, turn=int(sizes.flip), limits=limits)

    def drawn(self, size: Size) -> Image.Image:
        """The whole picture, at least nearly as large as wanted (see `Sketch`). Raises what decoding raises."""
        inside = self.inside()
        if inside is not None and self._shows_all(inside) and inside.width >= size.width * _NEARLY:
            return inside.at(size)
        half = size.width <= self.size[0] / 2 / _NEARLY or self.size[0] * self.size[1] > _LARGEST_WHOLE
        try:
            image = self.developed(half=half)
            return image.reduce(max(1, image.width // (size.width * _ENOUGH)))
        except (Corrupt, Unsupported):
            if inside is None:
                raise
            return inside.at(size)

    def facts(self) -> RawFacts:
        """What the camera noted down."""
        with _opened(self.data) as raw:
            other, lens = raw.other, raw.lens
            return RawFacts(
                sensor=(max(1, int(raw.sizes.raw_width)), max(1, int(raw.sizes.raw_height))),
                colors=int(raw.num_colors),
                pattern=raw.color_desc.decode("ascii", "ignore"),
                iso=float(other.iso_speed),
                seconds=float(other.shutter_speed),
                aperture=float(other.aperture),
                focal_length=float(other.focal_length),
                taken=other.timestamp if isinstance(other.timestamp, datetime) else None,
                lens=_text(lens.model),
                author=_text(other.artist),
            )

    def _shows_all(self, inside: Inside) -> bool:
        return abs(inside.width * self.size[1] / (inside.height * self.size[0]) - 1) <= _SHAPE

    def inside(self) -> Inside | None:
        """The largest picture that the camera put inside; None when there is none that can be read."""
        if not self._inside:
            self._inside.append(self._found())
        picture = self._inside[0]
        if picture is None:
            return None
        width, height = picture.facts.displayed
        lies = width == height or (width > height) != (
            self.size[0] > self.size[1]
        )  # as the sensor does; else it was turned before
        follow = picture.facts.orientation == 1 and (lies if self.turn in _LYING else self.turn == 3)
        turn = self.turn if follow else 0
        return Inside(picture=picture, turn=turn)

    def _found(self) -> Picture | None:
        try:
            with _opened(self.data) as raw:
                found = raw.extract_thumb()
                if found.format == rawpy.ThumbFormat.JPEG:
                    return Picture.of(MemoryFile(bytes(found.data), "image/jpeg", "inside.jpg"), self.limits)
                return Picture.drawn(Image.fromarray(found.data), filename="inside.png", limits=self.limits)
        except ProcessingLimit:
            raise
        except SecureDeliveryError:
            return None

    def developed(self, *, half: bool) -> Image.Image:
        """The sensor's pixels as colours, upright; at half the size about ten times as fast. Kept for the next size."""
        image = self._developed.get(False) or self._developed.get(half)
        if image is None:
            with _opened(self.data) as raw:
                plain = {"use_camera_wb": True, "output_bps": 8, "half_size": half}
                pixels = raw.postprocess(demosaic_algorithm=rawpy.DemosaicAlgorithm.PPG, **plain)
            image = Image.fromarray(pixels)
            self._developed.clear()
            self._developed[half] = image
        return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The picture inside, and how it still has to be turned."""

    picture: Picture
    turn: int

    @property
    def width(self) -> int:
        return self.picture.facts.displayed[1 if self.turn in _LYING else 0]

    @property
    def height(self) -> int:
        return self.picture.facts.displayed[0 if self.turn in _LYING else 1]

    def at(self, size: Size) -> Image.Image:
        """Upright, at this size. A JPEG is decoded no larger than that takes."""
        width, height = size[::-1] if self.turn in _LYING else size
        image = self.picture.edited(Resize(width=width, height=height, fit="scale")).decoded()
        return image.transpose(_TURNS[self.turn]) if self.turn in _TURNS else image


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFacts:
    """Sensor in pixels, exposure in seconds, focal length in millimetres; 0 and empty where the camera said nothing."""

    sensor: tuple[int, int]
    colors: int
    pattern: str
    iso: float
    seconds: float
    aperture: float
    focal_length: float
    taken: datetime | None
    lens: str
    author: str


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """LibRaw with a file. What it raises becomes a fault of the tree."""
    with faults():
        try:
            with rawpy.RawPy() as raw:
                raw.open_buffer(BytesIO(data))
                yield raw
        except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawMemPoolOverflowError) as error:
            raise ProcessingLimit(f"LibRaw: {error}") from None
        except rawpy.LibRawTooBigError as error:
            raise TooLarge(f"LibRaw: {error}", public="The picture has too many pixels.") from None
        except (rawpy.LibRawFileUnsupportedError, rawpy.LibRawNotImplementedError, rawpy.NotSupportedError) as error:
            raise Unsupported(f"LibRaw: {error}") from None


def warm() -> None:
    """Nothing is loaded late but the ways of numpy into Pillow."""
    import numpy

    Image.fromarray(numpy.zeros((2, 2, 3), numpy.uint8)).load()
    try:
        with _opened(b"II*\0" + bytes(100)):
            pass
    except SecureDeliveryError:
        pass  # no file, but every library has been used
