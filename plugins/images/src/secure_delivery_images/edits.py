"""What is done to pixels: each edit is a small value that makes one picture of another.

Knows: geometry and resampling. Must not know: files, formats, how options are spelled.

An edit is planned on the full size of the picture and run on the pixels at hand, which may already be a reduced decoding of
it (JPEG): so results do not depend on how much was decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PIL import Image

from secure_delivery.plugin import TooLarge, Unsupported, WorkLimits

from .colours import Colour
from .decode import check_area
from .headers import Size
from .modes import ready_for

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
_GAP = 2.0  # reduce by whole numbers down to twice the result first: as good to the eye, several times faster
_PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}


class Edit(Protocol):
    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        """The edited picture. `image` has this size in full; for a `Proportional` edit it may only stand for it.

        Raises `TooLarge` or `Unsupported`.
        """
        ...


@runtime_checkable
class Proportional(Protocol):
    """An edit that can work on pixels that are a smaller copy of what they stand for."""

    def after(self, size: Size) -> Size:
        """What the result stands for."""
        ...

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image: ...


@runtime_checkable
class Mixing(Protocol):
    """An edit that brings colours of another picture in, and so has to know what the numbers of this one mean."""

    def mix(self, image: Image.Image, profile: bytes, limits: WorkLimits) -> tuple[Image.Image, bytes]:
        """The edited picture and the colour profile of its pixels. Raises like `Edit.run`, and what reading the other one
        raises."""
        ...


def check_output(size: Size | tuple[int, int], limits: WorkLimits) -> None:
    """Raise `TooLarge` for a result over the limits of area or side (security promise 40)."""
    if max(size) > limits.output_side:
        raise TooLarge(f"result of {size[0]} x {size[1]}", public=f"A result may have {limits.output_side} pixels a side.")
    check_area(size, limits)


def _whole(value: float) -> int:
    return max(1, math.floor(value + 0.5))


def resampled(
    image: Image.Image,
    size: Size,
    box: tuple[float, float, float, float] | None = None,
    method: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """The picture, or the part of it in the box, at another size."""
    own_mode = image.mode
    if own_mode in _PREMULTIPLIED:  # so that colours of invisible pixels do not bleed in; Pillow's own way skips the gap
        image = image.convert(_PREMULTIPLIED[own_mode])
    result = image.resize(size, method, box=box, reducing_gap=_GAP)
    return result.convert(own_mode) if result.mode != own_mode else result


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Width and height in pixels, 0 for "follows from the other"; `fit` as documented; `align` as fractions of the surplus.

    `centre`, as fractions of the picture, is what a crop has in its middle as far as there is picture; it goes before `align`.
    """

    width: int
    height: int
    fit: str = "clip"
    align: tuple[float, float] = (0.5, 0.5)
    filter: str = "lanczos"
    centre: tuple[float, float] | None = None

    def factors(self, size: Size) -> tuple[float, float]:
        """How much wider and higher the whole picture becomes, before anything is cut off."""
        wide = self.width / size.width if self.width else None
        high = self.height / size.height if self.height else None
        if wide is None or high is None:
            one = wide or high or 1.0
            wide = high = one
        elif self.fit == "crop":
            wide = high = max(wide, high)
        elif self.fit != "scale":
            wide = high = min(wide, high)
        if self.fit == "max":
            wide = high = min(1.0, wide)
        return wide, high

    def target(self, size: Size) -> Size:
        """The size of the result in pixels."""
        wide, high = self.factors(size)
        if self.fit == "crop" and self.width and self.height:
            return Size(self.width, self.height)
        return Size(_whole(size.width * wide), _whole(size.height * high))

    def box(self, size: Size, target: Size) -> tuple[float, float, float, float]:
        """The part of the source that is shown."""
        if self.fit != "crop" or not (self.width and self.height):
            return 0.0, 0.0, float(size.width), float(size.height)
        factor = self.factors(size)[0]
        width, height = min(size.width, target.width / factor), min(size.height, target.height / factor)
        left, top = (size.width - width) * self.align[0], (size.height - height) * self.align[1]
        if self.centre is not None:
            left = min(max(0.0, self.centre[0] * size.width - width / 2), size.width - width)
            top = min(max(0.0, self.centre[1] * size.height - height / 2), size.height - height)
        return left, top, left + width, top + height

    def after(self, size: Size) -> Size:
        return self.target(size)

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        target = self.target(size)
        check_output(target, limits)
        if target == size == image.size:
            return image
        across, down = image.width / size.width, image.height / size.height
        left, top, right, bottom = self.box(size, target)
        box = left * across, top * down, min(image.width, right * across), min(image.height, bottom * down)
        return resampled(image, target, box, FILTERS[self.filter])


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A rectangle in pixels from the top left corner. What lies outside the picture is left out."""

    left: int
    top: int
    width: int
    height: int

    def inside(self, size: Size) -> Size:
        """How much of the rectangle lies inside a picture. Raises `Unsupported` for nothing."""
        width, height = min(self.width, size.width - self.left), min(self.height, size.height - self.top)
        if width <= 0 or height <= 0:
            raise Unsupported(
                f"crop at {self.left},{self.top} of {size.width} x {size.height}",
                public=f"crop: the rectangle lies outside the picture, which is {size.width} x {size.height} pixels.",
            )
        return Size(width, height)

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        inside = self.inside(size)
        return image.crop((self.left, self.top, self.left + inside.width, self.top + inside.height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A crop and the resize after it in one: on a smaller copy, a crop alone would be off by parts of a pixel."""

    crop: Crop
    resize: Resize

    def factors(self, size: Size) -> tuple[float, float]:
        """How much wider and higher the whole picture becomes, before anything is cut off."""
        return self.resize.factors(self.crop.inside(size))

    def after(self, size: Size) -> Size:
        return self.resize.after(self.crop.inside(size))

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        inside = self.crop.inside(size)
        target = self.resize.target(inside)
        check_output(target, limits)
        across, down = image.width / size.width, image.height / size.height
        left, top, right, bottom = self.resize.box(inside, target)
        box = [(left + self.crop.left) * across, (top + self.crop.top) * down]
        box += [min(image.width, (right + self.crop.left) * across), min(image.height, (bottom + self.crop.top) * down)]
        x, y = math.floor(box[0]), math.floor(box[1])
        image = image.crop((x, y, math.ceil(box[2]), math.ceil(box[3])))  # so that nothing from beside it has a say
        return resampled(image, target, (box[0] - x, box[1] - y, box[2] - x, box[3] - y), FILTERS[self.resize.filter])


_QUARTERS = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Clockwise by quarters of a turn, without touching a pixel's colour."""

    quarters: int

    def after(self, size: Size) -> Size:
        return Size(*size[::-1]) if self.quarters % 2 else size

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        turn = _QUARTERS.get(self.quarters % 4)
        return image if turn is None else image.transpose(turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """Clockwise by whole degrees; the canvas grows, its new corners take the background."""

    degrees: int
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if self.degrees % 90 == 0:
            return Turn(quarters=self.degrees // 90).run(image, size, limits)
        angle = math.radians(self.degrees)
        sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
        grown = (size.width * cosine + size.height * sine + 2, size.width * sine + size.height * cosine + 2)
        check_output((math.ceil(grown[0]), math.ceil(grown[1])), limits)
        image, fill = ready_for(image, self.background)
        return image.rotate(-self.degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill[0] if len(fill) == 1 else fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Top to bottom (`flip`), or left to right (`flop`)."""

    sideways: bool

    def after(self, size: Size) -> Size:
        return size

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT if self.sideways else Image.Transpose.FLIP_TOP_BOTTOM)
