"""Effects that look at one pixel at a time: grey, black and white, sepia, negative, brightness and colour.

Knows: arithmetic on levels. Must not know: options, files.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from secure_delivery.plugin import WorkLimits

from .headers import Size
from .planes import level, mapped, on_colours

Matrix = tuple[float, ...]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's own conversion to grey
#: What share of red, green and blue of the source goes into red, green and blue of a brown print.
_BROWN = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))
_WITHOUT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Monochrome:
    """Shades of grey."""

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return on_colours(image, lambda colours: colours.convert("L"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackWhite:
    """White is what is lighter than `threshold` per cent, black the rest."""

    threshold: int

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        table = [255 if grey * 100 > self.threshold * 255 else 0 for grey in range(256)]
        return on_colours(image, lambda colours: colours.convert("L").point(table))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sepia:
    """The brown of old prints, by `tone` per cent: 0 leaves the picture alone, 100 leaves nothing else."""

    tone: int

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        share = self.tone / 100
        matrix = _rows(
            tuple(
                tuple(own * (1 - share) + brown * share for own, brown in zip(*row, strict=True))
                for row in zip(_WITHOUT, _BROWN, strict=True)
            )
        )
        return on_colours(image, lambda colours: colours.convert("RGB").convert("RGB", matrix))


@dataclass(frozen=True, slots=True)
class Negative:
    """Every level by what it lacks of white."""

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return on_colours(image, lambda colours: mapped(colours, list(range(255, -1, -1))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Modulate:
    """`brightness` and `saturation` in per cent of what they are, `hue` in degrees around the circle of colours."""

    brightness: int
    hue: int
    saturation: int

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if (self.brightness, self.hue, self.saturation) == (100, 0, 100):
            return image
        return on_colours(image, self._changed)

    def _changed(self, colours: Image.Image) -> Image.Image:
        if colours.mode == "L":
            return colours.point([level(grey * self.brightness / 100) for grey in range(256)])
        if self.hue:
            hue, saturation, value = colours.convert("HSV").split()
            turn = round(self.hue * 256 / 360)
            hue = hue.point([(old + turn) % 256 for old in range(256)])
            colours = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
        return colours.convert("RGB", saturating(self.saturation / 100, self.brightness / 100))


def _rows(matrix: tuple[tuple[float, ...], ...]) -> Matrix:
    """Three rows of three as Pillow takes them: each with nothing to be added."""
    return tuple(value for row in matrix for value in (*row, 0.0))


def saturating(saturation: float, brightness: float = 1.0) -> Matrix:
    """The matrix that moves colours away from their grey, or towards it, and makes them lighter."""
    return _rows(
        tuple(
            tuple(brightness * (own * saturation + grey * (1 - saturation)) for own, grey in zip(row, _LUMA, strict=True))
            for row in _WITHOUT
        )
    )
