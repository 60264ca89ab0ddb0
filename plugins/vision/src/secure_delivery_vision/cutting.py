"""Edits of pictures that cut: a picture around its faces, a sheet of paper out of its photograph.

Knows: rectangles, corners. Must not know: how faces and sheets were found, options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from secure_delivery.plugin import WorkLimits
from secure_delivery_images.edits import Crop, Edit, Resize
from secure_delivery_images.headers import Size

from .pixels import array
from .sheet import evened, flat

Box = tuple[float, float, float, float]  # left, top, right, bottom

_ENOUGH = 4_000  # pixels a side of what a sheet is cut out of: twice the largest result


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box with all of them in it."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def thumb(box: Box, picture: Size, width: int | None, height: int | None) -> list[Edit]:
    """The box, widened to the proportions of the result where both sides are given, brought to that size."""
    across, down = box[2] - box[0], box[3] - box[1]
    if width and height:
        across, down = max(across, down * width / height), max(down, across * height / width)
        shrink = min(1.0, picture.width / across, picture.height / down)
        across, down = across * shrink, down * shrink
    cut = _centred(box, across, down, picture)
    if not width and not height:
        return [cut]
    return [cut, Resize(width=width or 0, height=height or 0, fit="crop")]


def crop(box: Box, picture: Size, width: int | None, height: int | None) -> list[Edit]:
    """As many pixels as were asked for with the faces in the middle, unscaled; a side not given is as long as the box."""
    return [_centred(box, width or box[2] - box[0], height or box[3] - box[1], picture)]


def fill(box: Box, picture: Size, width: int | None, height: int | None) -> list[Edit]:
    """As much of the picture as fits the proportions of the result, around the faces, brought to that size."""
    if not width and not height:
        return []
    if not width or not height:
        return [Resize(width=width or 0, height=height or 0)]
    factor = min(picture.width / width, picture.height / height)
    return [_centred(box, width * factor, height * factor, picture), Resize(width=width, height=height, fit="crop")]


def _centred(box: Box, width: float, height: float, picture: Size) -> Crop:
    """So much of the picture around the middle of a box; at a border it moves inwards."""
    whole = min(picture.width, max(1, round(width))), min(picture.height, max(1, round(height)))
    left = min(max(0, round((box[0] + box[2] - whole[0]) / 2)), picture.width - whole[0])
    top = min(max(0, round((box[1] + box[3] - whole[1]) / 2)), picture.height - whole[1])
    return Crop(left=left, top=top, width=whole[0], height=whole[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Flattened:
    """The sheet with these corners (of the full picture), seen from above; without corners the whole picture.

    `clean`: made ready for reading.
    """

    corners: tuple[tuple[float, float], ...]
    clean: bool

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if not self.corners:
            part, quad = image, None
        else:
            scale = np.array([image.width / size.width, image.height / size.height])
            quad = np.array(self.corners, np.float64) * scale
            left, top = (max(0, math.floor(float(value))) for value in quad.min(axis=0))
            right, bottom = (math.ceil(float(value)) for value in quad.max(axis=0))
            part = image.crop((left, top, max(left + 1, min(image.width, right)), max(top + 1, min(image.height, bottom))))
            quad = quad - [left, top]
        fitting = Resize(width=_ENOUGH, height=_ENOUGH, fit="max").run(part, Size(*part.size), limits)
        pixels = array(fitting)
        if quad is not None:
            pixels = flat(pixels, quad * [fitting.width / part.width, fitting.height / part.height])
        result = evened(pixels) if self.clean else pixels
        return Image.fromarray(np.ascontiguousarray(result[:, :, ::-1]))
