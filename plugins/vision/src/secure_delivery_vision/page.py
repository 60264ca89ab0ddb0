"""A document in a photograph: the four corners of a sheet of paper, and the sheet laid flat.

Knows: edges, outlines, perspective. Must not know: tasks, options, media.

Every way of telling paper from table offers outlines: brightness, colourfulness, and edges of different strength. The
quadrilateral wins that is large, has fair angles, and whose sides lie on edges of the picture; its sides are then fitted to
those edges in the larger copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from .edges import Edges, channels

LOOKED_AT = 2000  # pixels a side: the documented limit

_SEARCHED_AT = 640  # pixels of the longer side in which outlines are looked for
_LEAST = 0.08  # of the picture: what is smaller is not what the photograph is of
_WHOLE = 0.985  # of the picture: an outline as large as this is the picture's own
_FAIR = 0.5  # cosine of the angle at a corner: between 60 and 120 degrees
_ENOUGH = 0.35  # score from which a quadrilateral is a document
_VISIBLE = 0.3  # support of the second weakest side of a document
_SHORTEST = 0.08  # of the longer side of the picture: any side of a document
_REACH = 0.012  # of the longer side: how far from its side the edge of a sheet is looked for


def corners(pixels: Any) -> Any | None:
    """Top left, top right, bottom right, bottom left of the document (4 x 2, in pixels), or None when there is none."""
    height, width = pixels.shape[:2]
    factor = min(1.0, _SEARCHED_AT / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if factor < 1 else pixels
    edges = Edges.of(channels(small))
    best, score = None, _ENOUGH
    for quad in _quads(small):
        reached = _score(quad, edges)
        if reached > score:
            best, score = quad, reached
    if best is None:
        return None
    rough = best * [width / size[0], height / size[1]]
    fitted = _fitted(rough, Edges.of(channels(pixels)), max(2.0, _REACH * max(height, width)))
    return np.clip(_clockwise(fitted), 0, [width, height])


# ------------------------------------------------------------------------------------------------------------ outlines


def _masks(pixels: Any) -> Iterator[Any]:
    closing = np.ones((9, 9), np.uint8)
    for channel in channels(pixels):
        for spread in (7, 15):  # texture of a table is smoothed away, text on paper filled
            smooth = cv2.medianBlur(channel, spread)
            for way in (cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV):
                mask = cv2.threshold(smooth, 0, 255, way + cv2.THRESH_OTSU)[1]
                yield cv2.morphologyEx(mask, cv2.MORPH_CLOSE, closing)
                yield cv2.morphologyEx(mask, cv2.MORPH_OPEN, closing)
        smooth = cv2.medianBlur(channel, 7)
        for low in (20, 50):
            yield cv2.dilate(cv2.Canny(smooth, low, low * 3), np.ones((3, 3), np.uint8))


def _quads(pixels: Any) -> Iterator[Any]:
    """Quadrilaterals that outlines come near to."""
    area = pixels.shape[0] * pixels.shape[1]
    for mask in _masks(pixels):
        for outline in cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]:
            if cv2.contourArea(outline) < area * _LEAST and cv2.arcLength(outline, True) ** 2 < area * _LEAST * 8:
                continue
            hull = cv2.convexHull(outline)
            if not area * _LEAST <= cv2.contourArea(hull) <= area * _WHOLE:
                continue
            quad = _four(hull)
            if quad is not None:
                yield quad


def _four(hull: Any) -> Any | None:
    """A convex outline simplified to four corners."""
    around = cv2.arcLength(hull, True)
    for share in (0.01, 0.02, 0.03, 0.05, 0.08):
        simple = cv2.approxPolyDP(hull, share * around, True)
        if len(simple) == 4:
            return _clockwise(simple[:, 0, :].astype(np.float64))
        if len(simple) < 4:
            return None
    return None


def _clockwise(quad: Any) -> Any:
    """From the corner nearest to the top left of the picture, clockwise."""
    middle = quad.mean(axis=0)
    order = np.argsort(np.arctan2(quad[:, 1] - middle[1], quad[:, 0] - middle[0]))
    quad = quad[order]
    return np.roll(quad, -int(np.argmin(quad.sum(axis=1))), axis=0)


# ----------------------------------------------------------------------------------------------------------- judgement


def _score(quad: Any, edges: Edges) -> float:
    """0 to 1: how much of the sides lies on edges, weighed with size and with how right the angles are."""
    height, width = edges.shape
    after, before = np.roll(quad, -1, axis=0) - quad, np.roll(quad, 1, axis=0) - quad
    lengths = np.linalg.norm(after, axis=1)
    if lengths.min() < _SHORTEST * max(height, width):
        return 0.0
    cosines = np.abs((after * before).sum(axis=1) / (lengths * np.linalg.norm(before, axis=1)))
    share = cv2.contourArea(quad.astype(np.float32)) / (height * width)
    if cosines.max() > _FAIR or share > _WHOLE:
        return 0.0
    sides = sorted(edges.along(quad[at], quad[(at + 1) % 4], 2.0).support for at in range(4))
    if sides[1] < _VISIBLE:  # one side may be out of the picture or in shadow, two may not
        return 0.0
    return float(np.mean(sides)) * (1 - 0.5 * float(cosines.mean())) * min(1.0, 0.6 + share)


# ----------------------------------------------------------------------------------------------------------------- fit


def _fitted(quad: Any, edges: Edges, reach: float) -> Any:
    """The corners where the edges meet that run nearest to the sides; a side without a clear edge stays."""
    lines = [edges.along(quad[at], quad[(at + 1) % 4], reach).line() for at in range(4)]
    result = np.array([_crossing(lines[at - 1], lines[at], quad[at]) for at in range(4)])
    return np.where(np.linalg.norm(result - quad, axis=1, keepdims=True) <= 4 * reach, result, quad)


def _crossing(one: Any, other: Any, instead: Any) -> Any:
    """Where two lines meet; for lines that hardly do, the point given."""
    (start, way), (begin, direction) = one, other
    turn = way[0] * direction[1] - way[1] * direction[0]
    if abs(turn) < 0.1:
        return instead
    gap = begin - start
    return start + way * (gap[0] * direction[1] - gap[1] * direction[0]) / turn
