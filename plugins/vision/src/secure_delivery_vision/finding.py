"""Faces: where they are in a picture.

Knows: the YuNet model and how it is asked. Must not know: tasks, options, media.

YuNet sees faces of about 10 to 300 pixels, so a picture is shown to it in up to three sizes. It is never enlarged: in
enlarged pictures it sees faces in gravel and stars.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from .library import FACES, read
from .pixels import View

LOOKED_AT = 1280  # pixels of the longer side: a face of ten pixels there is the smallest that is found

_SIDES = (320, 640, LOOKED_AT)
_SURE = 0.78  # of 1: above the things that are no faces in the pictures of the tests, below nearly all faces
_OVERLAP = 0.3  # of two findings, as intersection by union, from which they are the same face
_MOST = 1000  # faces of one picture: what the documented selector can name


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One face, in pixels of the picture: its rectangle, how sure, and the eyes (the person's right one first)."""

    box: tuple[float, float, float, float]
    score: float
    eyes: tuple[tuple[float, float], tuple[float, float]]


@lru_cache(maxsize=1)
def _detector() -> Any:
    weights = np.frombuffer(read(FACES), np.uint8)
    return cv2.FaceDetectorYN.create("onnx", weights, np.empty(0, np.uint8), (320, 320), _SURE, _OVERLAP, _MOST)


def faces(view: View) -> list[Finding]:
    """The faces of a picture, the largest first."""
    rows: list[Any] = []
    longer = max(view.pixels.shape[:2])
    for side in sorted({min(side, longer) for side in _SIDES}):
        rows += _seen(view.pixels, side / longer)
    found = [_finding(row, view) for row in _apart(rows)]
    found = [finding for finding in found if finding.box[2] >= 1 and finding.box[3] >= 1]
    return sorted(found, key=lambda finding: (-finding.box[2] * finding.box[3], finding.box))


def _seen(pixels: Any, factor: float) -> list[Any]:
    """What the model sees at one size, in pixels of `pixels`: x, y, width, height, five points, score."""
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    shown = pixels if factor == 1 else cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    detector = _detector()
    detector.setInputSize((width, height))
    rows = detector.detect(shown)[1]
    if rows is None:
        return []
    scale = np.array([pixels.shape[1] / width, pixels.shape[0] / height] * 7 + [1.0])
    return list(rows * scale)


def _apart(rows: list[Any]) -> list[Any]:
    """Without what is the same face as a surer finding."""
    if not rows:
        return []
    boxes = [[float(value) for value in row[:4]] for row in rows]
    kept = cv2.dnn.NMSBoxes(boxes, [float(row[14]) for row in rows], _SURE, _OVERLAP)
    return [rows[int(index)] for index in np.array(kept).flatten()[:_MOST]]


def _finding(row: Any, view: View) -> Finding:
    x, y, width, height = (float(value) for value in row[:4])
    left, right = (min(max(0.0, side * view.across), view.width) for side in (x, x + width))
    top, bottom = (min(max(0.0, side * view.down), view.height) for side in (y, y + height))
    one, other = ((float(row[at]) * view.across, float(row[at + 1]) * view.down) for at in (4, 6))
    return Finding(box=(left, top, right - left, bottom - top), score=float(row[14]), eyes=(one, other))
