"""Effects that mix a pixel with its neighbours: blur, sharpen, pixelate, the two for parts only, oil paint.

Knows: filters and how far they reach. Must not know: options, files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from secure_delivery.plugin import WorkLimits

from .headers import Size
from .planes import level, on_all, on_colours

Box = tuple[int, int, int, int]

_REACH = 3  # standard deviations after which Pillow's blur (three boxes) sees nothing more
_EXTRA = 2
_ROUND_EDGE = 0.6  # pixels: so that ovals are not jagged
_SHADES = 8  # groups of brightness that oil paint chooses from
_SMOOTH = 20  # how fast one stroke gives way to the next, so that their outlines are not jagged
_CANVAS = 12_000_000  # pixels; larger pictures are painted smaller
_STAIRS = 3  # times larger: from here on pixels of the canvas would be seen
_SMALL_BRUSH = 2  # pixels each way: up to here a square brush looks like a round one
_FINE_BRUSH = 8  # pixels each way; wider strokes are painted on a smaller canvas too, where they are this wide


def reach(amount: float) -> int:
    """How many pixels away a blur of that standard deviation looks."""
    return math.ceil(amount * _REACH) + _EXTRA if amount else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """Gaussian, `amount` pixels of standard deviation."""

    amount: float

    @property
    def margin(self) -> int:
        return reach(self.amount)

    @property
    def grid(self) -> int:
        return 1

    def act(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(self.amount))

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return on_all(image, self.act, margin=self.margin) if self.amount else image


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpen:
    """Unsharp masking: the more, the wider and the stronger; the grain of flat parts is left alone."""

    amount: float

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if not self.amount:
            return image
        radius = 0.8 + self.amount / 10
        mask = ImageFilter.UnsharpMask(radius, round(45 * self.amount), 2)
        return on_colours(image, lambda colours: colours.filter(mask), margin=reach(radius))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixelate:
    """Squares of `amount` pixels, each with the mean of its colours; they begin at the top left corner."""

    amount: int

    @property
    def margin(self) -> int:
        return 0

    @property
    def grid(self) -> int:
        return self.amount

    def act(self, image: Image.Image) -> Image.Image:
        small = image.reduce(self.amount)
        large = small.resize((small.width * self.amount, small.height * self.amount), Image.Resampling.NEAREST)
        return large.crop((0, 0, *image.size))

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return on_all(image, self.act, grid=self.grid)


class Local(Protocol):
    """An effect that can be done to a part of a picture, given `margin` pixels around it that begin on its `grid`."""

    @property
    def margin(self) -> int: ...

    @property
    def grid(self) -> int: ...

    def act(self, image: Image.Image) -> Image.Image: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """An effect inside rectangles (left, top, width, height) or the ovals in them; `blur` softens the edge, outwards.

    What was named is covered in full: the soft edge lies around it. However the parts overlap, each pixel is worked on once.
    """

    effect: Local
    objects: tuple[Box, ...]
    oval: bool
    blur: float

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        mask = self._mask(image.size)
        box = mask.getbbox()
        if box is None:
            return image
        margin, grid = self.effect.margin, self.effect.grid
        left, top = (max(0, start - margin) // grid * grid for start in box[:2])
        right = min(image.width, -(-(box[2] + margin) // grid) * grid)
        bottom = min(image.height, -(-(box[3] + margin) // grid) * grid)
        part = (left, top, right, bottom)
        changed = on_all(image.crop(part), self.effect.act, margin=margin, grid=grid)
        result = image.convert(changed.mode) if image.mode != changed.mode else image.copy()
        result.paste(changed, part, mask.crop(part))
        return result

    def _mask(self, size: tuple[int, int]) -> Image.Image:
        hard = self._drawn(size, 0.0)
        soft = max(self.blur, _ROUND_EDGE) if self.oval else self.blur
        if not soft:
            return hard
        return ImageChops.lighter(hard, self._drawn(size, soft).filter(ImageFilter.GaussianBlur(soft)))

    def _drawn(self, size: tuple[int, int], grown: float) -> Image.Image:
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        shape = draw.ellipse if self.oval else draw.rectangle
        for left, top, width, height in dict.fromkeys(self.objects):
            if left < size[0] + self.blur and top < size[1] + self.blur:
                shape((left - grown, top - grown, left + width - 1 + grown, top + height - 1 + grown), fill=255)
        return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class OilPaint:
    """Strokes of `amount` pixels: every pixel takes the mean colour of the commonest shade of brightness around it."""

    amount: int

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        canvas = max(1, self.amount // _FINE_BRUSH, math.ceil(math.sqrt(image.width * image.height / _CANVAS)))
        canvas = max(1, min(canvas, min(image.size) // 2))
        brush = max(1, round(self.amount / canvas))
        if canvas == 1:
            return on_colours(image, lambda colours: _painted(colours, brush), margin=2 * brush + 1)
        small = on_colours(image.reduce(canvas), lambda colours: _painted(colours, brush), margin=2 * brush + 1)
        large = small.resize(image.size, Image.Resampling.BICUBIC)
        return large.filter(ImageFilter.GaussianBlur(canvas / 3)) if canvas > _STAIRS else large


def _painted(colours: Image.Image, brush: int) -> Image.Image:
    """For each shade: how common it is around a pixel, and its mean colour there (premultiplied, so one blur gives both)."""
    grey = colours.convert("L")
    step = 255 / (_SHADES - 1)
    best, result = Image.new("L", colours.size), colours.convert("RGB")
    box = ImageFilter.BoxBlur(brush * 0.8 if brush <= _SMALL_BRUSH else brush / 2)
    for shade in range(_SHADES):
        table = [level(255 * max(0.0, 1 - abs(value - shade * step) / step)) for value in range(256)]
        members = grey.point(table)
        if members.getbbox() is None:
            continue
        layer = colours.convert("RGBA")
        layer.putalpha(members)
        layer = layer.convert("RGBa").filter(box)
        layer = (layer if brush <= _SMALL_BRUSH else layer.filter(box)).convert("RGBA")
        common = layer.getchannel("A")
        more = ImageChops.subtract(common, best).point([min(255, value * _SMOOTH) for value in range(256)])
        result.paste(layer.convert("RGB"), (0, 0), more)
        best = ImageChops.lighter(best, common)
    return result.convert(colours.mode)
