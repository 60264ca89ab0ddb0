"""Edges of a picture, with their direction: how well a straight side is supported by them.

Knows: gradients. Must not know: what the sides belong to.

An edge of paper is brighter (or more colourful) on the same side all along, and runs as its side runs. Texture is not: what
it has of edges in one direction it has in the opposite one too, so that the mean of both is small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

_SAMPLES = 120  # points on a side
_MARGIN = 3  # pixels: along the border of the picture there is no edge to be seen
_FAINT = 24.0  # gradient (of three by three pixels) that counts as a full edge even in a picture that has none stronger
_CLEAR = 0.3  # of a full edge: from here on a point is used to fit a line
_TURN = math.cos(math.radians(8))  # a line fitted to a side may differ from it by so much


def channels(pixels: Any) -> Iterator[Any]:
    """What tells paper from table: how bright, how colourful, which tint. `pixels` are blue, green, red."""
    light, green_red, blue_yellow = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB))
    yield light
    yield cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))[1]
    yield blue_yellow
    yield green_red


@dataclass(frozen=True, slots=True)
class Edges:
    """For each channel the gradient across and down, as parts of what is a strong edge in the picture."""

    gradients: Sequence[tuple[Any, Any]]

    @classmethod
    def of(cls, planes: Iterator[Any]) -> Edges:
        gradients = []
        for plane in planes:
            smooth = cv2.GaussianBlur(plane, (5, 5), 0)
            across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=3) for way in ((1, 0), (0, 1)))
            usual = max(_FAINT, float(np.percentile(cv2.magnitude(across, down), 95)))
            gradients.append((across / usual, down / usual))
        return cls(gradients)

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.gradients[0][0].shape
        return height, width

    def along(self, start: Any, end: Any, reach: float) -> Side:
        """The edge that runs nearest to a side, in the channel where it shows best, looked for `reach` pixels both ways."""
        height, width = self.shape
        step = (end - start) / (np.linalg.norm(end - start) or 1.0)
        normal = np.array([-step[1], step[0]])
        offsets = np.arange(-reach, reach + 1)
        points = start + np.linspace(0.05, 0.95, _SAMPLES)[:, None] * (end - start)
        grid = points[:, None, :] + offsets[None, :, None] * normal
        x, y = np.rint(grid).astype(int).transpose(2, 0, 1)
        inside = (x >= _MARGIN) & (y >= _MARGIN) & (x < width - _MARGIN) & (y < height - _MARGIN)
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        best = Side(start=start, step=step, grid=grid, values=np.zeros(x.shape), support=0.0)
        for across, down in self.gradients:
            signed = np.clip(across[y, x] * normal[0] + down[y, x] * normal[1], -1, 1) * inside
            for values in (signed, -signed):
                support = min(1.0, float(values.max(axis=1).mean() + values.min(axis=1).mean()))
                if support > best.support:
                    best = Side(start=start, step=step, grid=grid, values=values, support=support)
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A straight side and the edge beside it: `values` is its strength at the points of `grid` (along, across)."""

    start: Any
    step: Any
    grid: Any
    values: Any
    support: float

    def line(self) -> tuple[Any, Any]:
        """Point and direction of the line along the edge; of the side itself where there is no clear edge."""
        clear = self.values.max(axis=1) > _CLEAR
        if clear.sum() < _SAMPLES // 4:
            return self.start, self.step
        seen = self.grid[np.arange(_SAMPLES), self.values.argmax(axis=1)][clear].astype(np.float32)
        dx, dy, at_x, at_y = (float(value) for value in cv2.fitLine(seen, cv2.DIST_HUBER, 0, 0.01, 0.01).flatten())
        if abs(dx * self.step[0] + dy * self.step[1]) < _TURN:
            return self.start, self.step
        return np.array([at_x, at_y]), np.array([dx, dy])
