"""A sheet of paper laid flat, and its picture made ready for reading.

Knows: perspective, light on paper. Must not know: how the sheet was found, tasks, options.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .page import LOOKED_AT


def flat(pixels: Any, quad: Any) -> Any:
    """The document as if seen from straight above; its sides as long as the longer of each pair, at most `LOOKED_AT`."""
    top, right, bottom, left = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    width, height = max(top, bottom), max(left, right)
    factor = min(1.0, LOOKED_AT / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    way = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return cv2.warpPerspective(pixels, way, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def evened(pixels: Any) -> Any:
    """Made ready for reading: shadows lifted, paper white, noise smoothed, print as dark as it was."""
    spread = max(3, round(max(pixels.shape[:2]) / 30)) | 1
    paper = np.dstack([_paper(channel, spread) for channel in cv2.split(pixels)])
    even = cv2.divide(pixels, paper, scale=255.0)
    smooth = cv2.bilateralFilter(even, 5, 18, 3)
    levels = np.clip((np.arange(256) - 30) * 255.0 / (245 - 30), 0, 255).astype(np.uint8)
    return cv2.LUT(smooth, levels)


def _paper(channel: Any, spread: int) -> Any:
    """The light that falls on the paper: what is brightest around every pixel, smoothed, found in a smaller copy."""
    height, width = channel.shape
    factor = min(1.0, 500 / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    spread = max(3, round(spread * factor)) | 1
    small = cv2.dilate(cv2.resize(channel, size, interpolation=cv2.INTER_AREA), np.ones((spread, spread), np.uint8))
    return np.maximum(cv2.resize(cv2.GaussianBlur(small, (0, 0), spread), (width, height)), 1)
