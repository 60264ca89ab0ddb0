"""Edits of pictures whose faces are known: hide them, frame them.

Knows: the effects of the images plugin. Must not know: how faces were found, options.

The strength of an effect is a share of the face, so that a face is as unrecognisable in a large picture as in a small one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from secure_delivery.plugin import WorkLimits
from secure_delivery_images.colours import Colour
from secure_delivery_images.effects_blur import Blur, Local, Partial, Pixelate
from secure_delivery_images.headers import Size
from secure_delivery_images.modes import ready_for

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the full picture

_SOFT_REACH = 3  # of the softness of an edge: how far it is seen
_LINE = 0.004  # of the middle dimension: how thick a frame is


def scaled(box: Box, image: Image.Image, full: Size) -> tuple[int, int, int, int]:
    """The box in whole pixels of an image that stands for the full picture, and inside it."""
    across, down = image.width / full.width, image.height / full.height
    left, top = max(0, math.floor(box[0] * across)), max(0, math.floor(box[1] * down))
    return left, top, min(image.width, math.ceil(box[2] * across)), min(image.height, math.ceil(box[3] * down))


def pixelated(percent: float) -> Callable[[int], Local | None]:
    """Squares of so many per cent of a face's longer side, at least two pixels."""
    return lambda side: Pixelate(amount=max(2, round(side * percent / 100)))


def blurred(percent: float) -> Callable[[int], Local | None]:
    """Gaussian of so many per cent of a face's longer side (standard deviation); 0 does nothing."""
    return lambda side: Blur(amount=side * percent / 100) if percent else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Faces made unrecognisable. `effect` gives what is done to a face of that many pixels; `soft` are pixels of edge."""

    boxes: tuple[Box, ...]
    effect: Callable[[int], Local | None]
    oval: bool
    soft: float

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        result = image.copy()
        for box in self.boxes:
            self._hide(result, scaled(box, image, size))
        return result

    def _hide(self, image: Image.Image, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        if left >= right or top >= bottom:
            return
        effect = self.effect(max(right - left, bottom - top))
        if effect is None:
            return
        around = effect.margin + math.ceil(self.soft * _SOFT_REACH) + 2
        area = max(0, left - around), max(0, top - around), min(image.width, right + around), min(image.height, bottom + around)
        inside = (left - area[0], top - area[1], right - left, bottom - top)
        part = image.crop(area)
        changed = Partial(effect=effect, objects=(inside,), oval=self.oval, blur=self.soft)
        done = changed.run(part, Size(*part.size), WorkLimits())
        image.paste(done.convert(image.mode) if done.mode != image.mode else done, area)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """A rectangle drawn around each face."""

    boxes: tuple[Box, ...]
    colour: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        image, ink = ready_for(image, self.colour)
        result = image.copy()
        draw = ImageDraw.Draw(result)
        line = max(1, round((image.width + image.height) / 2 * _LINE))
        for box in self.boxes:
            left, top, right, bottom = scaled(box, image, size)
            if left < right and top < bottom:
                draw.rectangle((left, top, right - 1, bottom - 1), outline=ink[0] if len(ink) == 1 else ink, width=line)
        return result
