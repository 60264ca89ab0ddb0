"""A waveform: bars as high as it is loud, the loudest moment and the mean of each stretch of time.

Knows: samples, Pillow. Must not know: where samples come from.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence

from PIL import Image, ImageDraw

_PAPER = (246, 248, 252)
_FROM, _TO = (37, 99, 235), (147, 51, 234)  # from left to right
_LIGHTER = 0.55  # how far the colour of a peak is on its way to the paper
_NATURAL = (1_200, 400)
_SHAPE = 3.0  # width by height where one of them is free
_SMALLEST, _LARGEST = 48, 2_400  # pixels on either side
_FINER = 3  # times the size in which it is drawn first: round ends stay round
_MARGIN = 0.06  # of the height, above and below
_BENT = 0.75  # exponent of loudness: what is soft is seen, too


def drawn(data: bytes, size: tuple[int, int] | None) -> Image.Image:
    """The picture of samples (16 bits, little-endian, one channel), to fit a size as in `Work.size`."""
    width, height = sized(size)
    step = max(3, round(width / 160))  # a bar and the gap after it
    count = max(8, width // step)
    bars = levels(data, count)
    whole = Image.new("RGB", (width * _FINER, height * _FINER), _PAPER)
    draw = ImageDraw.Draw(whole)
    room = height * _FINER * (0.5 - _MARGIN)
    middle = height * _FINER / 2
    pitch = width * _FINER / count
    wide = pitch * 0.62
    for number, (peak, mean) in enumerate(bars):
        left = number * pitch + (pitch - wide) / 2
        colour = _mixed(_FROM, _TO, number / max(1, count - 1))
        for level, fill in ((peak, _mixed(colour, _PAPER, _LIGHTER)), (mean, colour)):
            high = max(level * room, wide / 2)
            box = (left, middle - high, left + wide, middle + high)
            draw.rounded_rectangle(box, radius=wide / 2, fill=fill)
    return whole.resize((width, height), Image.Resampling.BOX)


def sized(size: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height to draw: three to one within the box that is wanted, never flatter than the box is."""
    width, height = size or _NATURAL
    if not width and not height:
        width, height = _NATURAL
    if not width:
        width = round(height * _SHAPE)
    if not height:
        height = round(width / _SHAPE)
    height = min(height, max(round(width / _SHAPE), _SMALLEST))
    return min(max(width, _SMALLEST), _LARGEST), min(max(height, _SMALLEST), _LARGEST)


def levels(data: bytes, count: int) -> list[tuple[float, float]]:
    """For each of so many stretches its peak and its mean, 0 to 1, where 1 is the loudest of all; silence is 0."""
    samples = array("h")
    samples.frombytes(data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    found = [_level(samples[start:end]) for start, end in _stretches(len(samples), count)]
    most = max(peak for peak, _ in found)
    if most < 32:  # of 32,768: what a silent recording has
        return [(0.0, 0.0)] * count
    return [((peak / most) ** _BENT, (mean / most) ** _BENT) for peak, mean in found]


def _stretches(total: int, count: int) -> list[tuple[int, int]]:
    return [
        (total * number // count, max(total * (number + 1) // count, total * number // count + 1)) for number in range(count)
    ]


def _level(samples: Sequence[int]) -> tuple[float, float]:
    if not samples:
        return 0.0, 0.0
    peak = max(max(samples), -min(samples))
    few = samples[:: max(1, len(samples) // 2_000)]
    return peak, math.sqrt(sum(sample * sample for sample in few) / len(few))


def _mixed(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
