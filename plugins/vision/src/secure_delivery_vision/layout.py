"""Lines of text put together to areas, in reading order, and said as the documented answer of `ocr`.

Knows: geometry of lines, the JSON of https://www.filestack.com/docs/transformations/intelligence/#ocr.
Must not know: pixels, models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .reading import Line, Point, Quad

_GAP = 1.1  # of a line's height: two lines nearer than this, one below the other, belong together
_ALIKE = 1.7  # heights of lines of one area, the larger by the smaller


def document(lines: Sequence[Line], width: int, height: int) -> dict[str, Any]:
    """The answer for lines that were read in a picture of that size."""
    areas = _areas(_in_order(lines))
    covered = sum(_area(line.quad) for line in lines)
    return {
        "document": {"text_areas": [_said(area) for area in areas]},
        "text": "\n".join(line.text for area in areas for line in area),
        "text_area_percentage": round(min(100.0, 100 * covered / (width * height)), 2),
    }


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """From top to bottom; for a picture that is upside down, from its reader's top to bottom."""
    turned = sum(line.turned for line in lines) * 2 > len(lines)
    way = -1 if turned else 1
    return sorted(lines, key=lambda line: (way * _middle(line)[1], way * _middle(line)[0]))


def _areas(lines: Sequence[Line]) -> list[list[Line]]:
    """Each line joins the area whose last line stands right above it, or begins one."""
    areas: list[list[Line]] = []
    for line in lines:
        above = [area for area in areas if _continues(area[-1], line)]
        if above:
            min(above, key=lambda area: _distance(area[-1], line)).append(line)
        else:
            areas.append([line])
    return areas


def _continues(above: Line, below: Line) -> bool:
    tall, short = max(above.height, below.height), min(above.height, below.height)
    if short <= 0 or tall > short * _ALIKE or above.turned != below.turned:
        return False
    over = min(_right(above), _right(below)) - max(_left(above), _left(below))
    return over > 0 and tall * 0.4 < _distance(above, below) < tall * (1 + _GAP)


def _distance(one: Line, other: Line) -> float:
    return abs(_middle(one)[1] - _middle(other)[1])


def _middle(line: Line) -> Point:
    return sum(x for x, _ in line.quad) / 4, sum(y for _, y in line.quad) / 4


def _left(line: Line) -> float:
    return min(x for x, _ in line.quad)


def _right(line: Line) -> float:
    return max(x for x, _ in line.quad)


def _area(quad: Quad) -> float:
    pairs = zip(quad, (*quad[1:], quad[0]), strict=True)
    return abs(sum(x * below - right * y for (x, y), (right, below) in pairs)) / 2


def _said(area: Sequence[Line]) -> dict[str, Any]:
    xs, ys = ([point[way] for line in area for point in line.quad] for way in (0, 1))
    around = ((min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys)))
    return {
        "bounding_box": _box(around),
        "lines": [
            {
                "bounding_box": _box(line.quad),
                "text": line.text,
                "words": [{"bounding_box": _box(word.quad), "text": word.text} for word in line.words],
            }
            for line in area
        ],
    }


def _box(quad: Quad) -> list[dict[str, int]]:
    return [{"x": round(x), "y": round(y)} for x, y in quad]
