"""Effects that take parts of a picture away: rounded corners, circle, vignette, torn edges.

Knows: masks. Must not know: options, files. What is taken away is transparent, or shows the background.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from secure_delivery.plugin import WorkLimits

from .colours import Colour
from .headers import Size
from .modes import flattened
from .planes import SAMPLES, cut_out, drawn, joined, level, parted

_CLEAR = 0.35  # how far from the middle a vignette begins, as a share of the way to the corners
_MOST_POINTS = 3_000  # along one torn edge
_MOST_TORN = 0.35  # of a side: something has to be left
_FIBRES = 0.22  # of the depth: how far the white of the paper shows at most


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedCorners:
    """Quarter circles of `radius` pixels, `None` for the largest that fit; `blur` softens the round part of the edge."""

    radius: int | None
    blur: float
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        largest = min(image.size) / 2
        radius = largest if self.radius is None else min(largest, self.radius)
        mask = Image.new("L", image.size, 255)
        reach = min(math.ceil(radius + self.blur * 3), math.ceil(image.width / 2), math.ceil(image.height / 2))
        corner = self._corner(radius, reach)
        right, bottom = image.width - reach, image.height - reach
        mask.paste(corner, (0, 0))
        mask.paste(corner.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (right, 0))
        corner = corner.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        mask.paste(corner, (0, bottom))
        mask.paste(corner.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (right, bottom))
        return cut_out(image, mask, self.background)

    def _corner(self, radius: float, reach: int) -> Image.Image:
        """The top left corner of the mask."""
        side = radius * 2 * SAMPLES

        def quarter(draw: ImageDraw.ImageDraw, top: int) -> None:
            far = (reach + radius) * SAMPLES + 1
            draw.ellipse((0, -top, side - 1, side - 1 - top), fill=255)
            draw.rectangle((round(side / 2), -top, far, far - top), fill=255)
            draw.rectangle((0, round(side / 2) - top, far, far - top), fill=255)

        corner = drawn((reach, reach), quarter)
        return corner.filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else corner


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The circle that fits into the picture, an ellipse where its sides differ."""

    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        right, bottom = image.width * SAMPLES - 1, image.height * SAMPLES - 1
        mask = drawn(image.size, lambda draw, top: draw.ellipse((0, -top, right, bottom - top), fill=255))
        return cut_out(image, mask, self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vignette:
    """The picture fades towards its corners, where `amount` per cent of it are gone."""

    amount: int
    linear: bool
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        fall = Image.radial_gradient("L").point([self._left(distance / 255) for distance in range(256)])
        return cut_out(image, fall.resize(image.size, Image.Resampling.BICUBIC), self.background)

    def _left(self, distance: float) -> int:
        """How much is left at that share of the way to the corners."""
        way = max(0.0, distance - _CLEAR) / (1 - _CLEAR)
        gone = way if self.linear else (1 - math.exp(-((2 * way) ** 2))) / (1 - math.exp(-4))
        return level(255 * (1 - gone * self.amount / 100))


@dataclass(frozen=True, slots=True, kw_only=True)
class TornEdges:
    """As torn out of a sheet of paper, `least` to `most` pixels deep. The same size is always torn the same way."""

    least: int
    most: int
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        chance = random.Random(image.width * 1_000_003 + image.height)  # noqa: S311 - a drawing, and the same every time
        paper, print_ = Image.new("L", image.size, 255), Image.new("L", image.size, 255)
        for side in range(4):
            self._tear(paper, print_, side, chance)
        colours, alpha = parted(image)
        torn = colours.copy() if alpha is None else colours
        torn.paste("white", (0, 0, *image.size), ImageChops.invert(print_))
        return flattened(joined(torn, paper if alpha is None else ImageChops.multiply(alpha, paper)), self.background)

    def _tear(self, paper: Image.Image, print_: Image.Image, side: int, chance: random.Random) -> None:
        """Take one side away from both masks; the paper reaches a little further than what is printed on it."""
        width, height = paper.size
        length, across = (width, height) if side % 2 == 0 else (height, width)
        most = min(float(self.most), across * _MOST_TORN)
        least = min(float(self.least), most)
        depths = _ragged(length, least, most, chance)
        fibres = [depth + rough * _FIBRES for depth, rough in zip(depths, _ragged(length, 0.3, most, chance), strict=True)]
        for mask, edge in ((paper, depths), (print_, fibres)):
            strip = _strip(length, math.ceil(max(edge)) + 1, edge)
            strip = strip if side % 2 == 0 else strip.transpose(Image.Transpose.TRANSPOSE)
            place = (0, 0)
            if side >= 2:
                strip = strip.transpose(Image.Transpose.ROTATE_180)
                place = (width - strip.width, height - strip.height)
            box = (*place, place[0] + strip.width, place[1] + strip.height)
            mask.paste(ImageChops.darker(mask.crop(box), strip), place)


def _ragged(length: int, least: float, most: float, chance: random.Random) -> list[float]:
    """Depths along an edge: waves of several lengths, the shorter the smaller, and a grain."""
    points = max(4, min(_MOST_POINTS, length // 2))
    total = [0.0] * points
    waves, weight = 3, 1.0
    while waves < points:
        knots = [chance.random() for _ in range(waves + 2)]
        for place in range(points):
            at = place / points * waves
            first = int(at)
            total[place] += weight * (knots[first] + (knots[first + 1] - knots[first]) * (at - first))
        waves, weight = waves * 3, weight * 0.6
    low, high = min(total), max(total)
    spread = (high - low) or 1.0
    return [least + (most - least) * (value - low) / spread for value in total]


def _strip(length: int, depth: int, edge: list[float]) -> Image.Image:
    """The mask along an edge that lies on top: black down to the depths."""
    step = length * SAMPLES / (len(edge) - 1)
    line = [(place * step, deep * SAMPLES) for place, deep in enumerate(edge)]

    def below(draw: ImageDraw.ImageDraw, top: int) -> None:
        moved = [(x, y - top) for x, y in line]
        draw.polygon([*moved, (length * SAMPLES, depth * SAMPLES - top), (0, depth * SAMPLES - top)], fill=255)

    return drawn((length, depth), below)
