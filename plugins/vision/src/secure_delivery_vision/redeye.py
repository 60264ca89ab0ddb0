"""Red pupils made dark again.

Knows: what a pupil in the light of a flash looks like. Must not know: how faces were found, options, files.

Only where an eye is, or, in a picture without faces, where two round red spots side by side can hardly be anything else.
Light is left as it is: the red of a pupil is replaced by what its green and blue say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from secure_delivery.plugin import WorkLimits
from secure_delivery_images.edits import Resize
from secure_delivery_images.headers import Size

from .pixels import array

_SEARCHED_AT = 1280  # pixels of the longer side, for pictures without faces
_RED = 2.0  # red by green of a pupil in the light of a flash; brown eyes reach 1.9
_PINK, _PURE = 1.6, 2.0  # red by blue: of a pupil in an eye, some look pink; of one without a face around it
_BROWN = 1.3  # green by blue: of wood and leather
_BRIGHT = 80  # of 255: red of a pupil
_SMALLEST, _SMALLEST_SPOT = 4, 12  # pixels of a pupil in an eye, of one without a face around it
_WIDEST = 0.55  # of an eye's radius: a pupil's
_SPOT = 0.04  # of the longer side: a pupil in a picture without faces is not wider
_ROUND = 0.6  # of the circle around a spot: how much of it the spot fills
_OVERALL = 0.02  # of a picture: where more is red, red spots are nothing special
_CLEAN = 0.1  # of the ring around a spot: how much of it may be red too


class Eye(NamedTuple):
    """A place where a pupil is looked for, in pixels of the full picture."""

    x: float
    y: float
    radius: float


class _Spot(NamedTuple):
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calmed:
    """Red pupils of these eyes neutralised. `search`: also those of pairs of red spots anywhere."""

    eyes: tuple[Eye, ...]
    search: bool

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if image.mode not in ("RGB", "RGBA"):
            return image
        result = image.copy()
        across, down = image.width / size.width, image.height / size.height
        eyes = [Eye(eye.x * across, eye.y * down, eye.radius * (across + down) / 2) for eye in self.eyes]
        for eye in [*eyes, *(_pairs(image, limits) if self.search else ())]:
            _calm(result, eye)
        return result


def _redness(pixels: Any, by_blue: float) -> Any:
    blue, green, red = (pixels[:, :, at].astype(np.float32) for at in range(3))
    return ((red >= _BRIGHT) & (red >= green * _RED) & (red >= blue * by_blue)).astype(np.uint8)


def _calm(image: Image.Image, eye: Eye) -> None:
    """Neutralise the pupil of one eye, in place, when there is a red one."""
    reach = math.ceil(eye.radius)
    left, top = max(0, math.floor(eye.x) - reach), max(0, math.floor(eye.y) - reach)
    box = (left, top, min(image.width, math.ceil(eye.x) + reach), min(image.height, math.ceil(eye.y) + reach))
    if box[0] >= box[2] or box[1] >= box[3]:
        return
    part = image.crop(box)
    pixels = array(part.convert("RGB"))
    pupil = _pupil(_redness(pixels, _PINK), eye._replace(x=eye.x - left, y=eye.y - top))
    if pupil is None:
        return
    grown = cv2.dilate(pupil, np.ones((3, 3), np.uint8)).astype(np.float32)
    soft = cv2.GaussianBlur(grown, (0, 0), max(0.6, eye.radius * 0.04))[:, :, None]
    dark = pixels.astype(np.float32)
    excess = np.maximum(0, dark[:, :, 2] - (dark[:, :, 0] + dark[:, :, 1]) / 2)
    dark[:, :, 2] -= excess
    mixed = np.rint(pixels * (1 - soft) + dark * soft).astype(np.uint8)
    calm = Image.fromarray(np.ascontiguousarray(mixed[:, :, ::-1]))
    if image.mode == "RGBA":
        calm.putalpha(part.getchannel("A"))
    image.paste(calm, box[:2])


def _pupil(red: Any, eye: Eye) -> Any | None:
    """The mask of the one red spot that is a pupil: near the middle, compact, neither a dot nor half the face."""
    best, nearest = None, eye.radius * 0.6
    count, labels, facts, middles = cv2.connectedComponentsWithStats(red, connectivity=8)
    for label in range(1, count):
        _, _, width, height, area = (int(value) for value in facts[label])
        away = math.dist(middles[label], (eye.x, eye.y))
        compact = area >= 0.4 * width * height and max(width, height) <= 2.2 * min(width, height)
        if area >= _SMALLEST and compact and max(width, height) <= 2 * _WIDEST * eye.radius and away < nearest:
            best, nearest = (labels == label).astype(np.uint8), away
    return best


def _pairs(image: Image.Image, limits: WorkLimits) -> Iterator[Eye]:
    """Eyes of a picture in which nobody found a face."""
    small = Resize(width=_SEARCHED_AT, height=_SEARCHED_AT, fit="max").run(image, Size(*image.size), limits)
    factor = image.width / small.width
    spots = list(_spots(array(small)))
    for one, other in combinations(spots[:200], 2):
        width = (one.width + other.width) / 2
        alike = max(one.width, other.width) <= 1.5 * min(one.width, other.width)
        level = abs(one.y - other.y) <= 0.35 * abs(one.x - other.x)
        if alike and level and 3 * width <= math.dist(one[:2], other[:2]) <= 12 * width:
            for spot in (one, other):
                yield Eye(spot.x * factor, spot.y * factor, spot.width * factor)


def _spots(pixels: Any) -> Iterator[_Spot]:
    """Round red spots with nothing red around them."""
    brown = pixels[:, :, 1] > pixels[:, :, 0] * _BROWN
    red = _redness(pixels, _PURE) * ~brown
    if red.mean() > _OVERALL:
        return
    widest = _SPOT * max(pixels.shape[:2])
    count, _, facts, middles = cv2.connectedComponentsWithStats(red, connectivity=8)
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in facts[label])
        across = max(width, height)
        if area < _SMALLEST_SPOT or across > widest or area < _ROUND * math.pi * across * across / 4:
            continue
        ring = red[max(0, top - across) : top + height + across, max(0, left - across) : left + width + across]
        if int(ring.sum()) - area <= _CLEAN * ring.size:
            yield _Spot(float(middles[label][0]), float(middles[label][1]), float(across))
