"""Where the pictures of a collage go: in rows, in their order, all of a row equally high.

Knows: sizes. Must not know: Pillow, files, what is done with the places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .headers import Size

_LARGEST_RATIO = 100.0  # a ribbon longer than this is laid out as if it were as long as this


class Place(NamedTuple):
    left: int
    top: int
    width: int
    height: int


def arranged(sizes: Sequence[Size], canvas: Size, margin: int, *, crop: bool) -> list[Place] | None:
    """A place for each picture, with margins between them and around all; None when there is no room for them.

    Without `crop` each place has the proportions of its picture, and the rows are as large as fits, in the middle of the
    canvas. With it the places fill the canvas, each as near to its picture's proportions as that allows.
    """
    ratios = [min(_LARGEST_RATIO, max(1 / _LARGEST_RATIO, size.width / size.height)) for size in sizes]
    best: tuple[float, list[Place]] | None = None
    for count in range(1, len(ratios) + 1):
        found = _placed(_rows(ratios, count), canvas, margin, crop=crop)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return best[1] if best else None


def _rows(ratios: Sequence[float], count: int) -> list[list[float]]:
    """The pictures in so many rows (or fewer) of about the same length."""
    wanted = sum(ratios) / count
    rows: list[list[float]] = []
    row: list[float] = []
    for ratio in ratios:
        over = sum(row) + ratio - wanted
        if row and len(rows) < count - 1 and over > wanted - sum(row):
            rows.append(row)
            row = []
        row.append(ratio)
    return [*rows, row]


def _placed(rows: Sequence[Sequence[float]], canvas: Size, margin: int, *, crop: bool) -> tuple[float, list[Place]] | None:
    """How good that is, and the places."""
    wide = [canvas.width - margin * (len(row) + 1) for row in rows]
    high = canvas.height - margin * (len(rows) + 1)
    if min(wide) <= 0 or high <= 0:
        return None
    heights = [width / sum(row) for row, width in zip(rows, wide, strict=True)]
    down = high / sum(heights)  # what the rows have to be multiplied with to fill the height
    across = 1.0 if crop else min(1.0, down)
    down = down if crop else across
    places: list[Place] = []
    top = margin + (high - sum(heights) * down) / 2
    for row, height in zip(rows, heights, strict=True):
        left = margin + (canvas.width - margin * (len(row) + 1) - sum(row) * height * across) / 2
        for ratio in row:
            places.append(_whole(left, top, ratio * height * across, height * down))
            left += ratio * height * across + margin
        top += height * down + margin
    if min(min(place.width, place.height) for place in places) < 1:
        return None
    covered = sum(place.width * place.height for place in places) / (canvas.width * canvas.height)
    return (-abs(math.log(down)) if crop else covered), places


def _whole(left: float, top: float, width: float, height: float) -> Place:
    """On whole pixels, so that equal distances stay equal."""
    x, y = math.floor(left + 0.5), math.floor(top + 0.5)
    return Place(x, y, math.floor(left + width + 0.5) - x, math.floor(top + height + 0.5) - y)
