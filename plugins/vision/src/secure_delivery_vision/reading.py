"""Text: where it stands in a picture and what it says, line by line and word by word.

Knows: the PP-OCR models, what they are shown and how their answers are read. Must not know: tasks, options, the JSON answer.

Three models in a row, as their authors describe: one marks where text is, one says whether a line stands on its head, one
reads a line as a row of columns, each with the likeliest character or none (connectionist temporal classification).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from .characters import alphabet
from .library import TEXT_LETTERS, TEXT_PLACES, TEXT_TURNED, Model
from .library import read as bytes_of

LOOKED_AT = 1600  # pixels of the longer side; the model that marks text takes 350 bytes of memory for each pixel

_SHORTER = 736  # small pictures are enlarged to this shorter side, as the model was trained
_STEP = 32  # the sides it is shown are multiples of this
_MARKED = 0.3  # of 1: a pixel belongs to text
_IS_TEXT = 0.5  # of 1: mean over a place that is text
_GROWN = 1.6  # marks are narrower than text: how far they are grown, by area and outline
_SMALLEST = 3  # pixels of the shorter side of a mark
_MOST = 300  # lines of one picture: the first of it
_WORK = 90_000  # pixels of all lines as they are read, after which the rest is left unread: some 12 seconds
_TIGHTEST = 0.75  # of their width, to which lines are pressed so that more of them can be read
_TURNED = 0.9  # of 1: a line stands on its head
_READ = 0.6  # of 1: mean over the characters of a line that is text
_HEIGHT = 48  # pixels of a line as it is read
_TURN_WIDTH = 192
_NARROWEST = 320
_WIDEST = 2400  # pixels of a line as it is read: 50 times its height, some 120 characters
_STANDING = 1.5  # height by width from which a line is taken to run from top to bottom

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    text: str
    quad: Quad


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as it is read: corners from the top left of its first character, clockwise. `turned`: it is upside down."""

    text: str
    quad: Quad
    words: tuple[Word, ...]
    turned: bool = False

    @property
    def height(self) -> float:
        return math.dist(self.quad[0], self.quad[3])

    def scaled(self, across: float, down: float) -> Line:
        """The same line in a picture that is so many times as wide and as high."""
        words = tuple(Word(text=word.text, quad=_scaled(word.quad, across, down)) for word in self.words)
        return replace(self, quad=_scaled(self.quad, across, down), words=words)


def _scaled(quad: Quad, across: float, down: float) -> Quad:
    one, two, three, four = ((x * across, y * down) for x, y in quad)
    return one, two, three, four


@lru_cache(maxsize=3)
def _net(model: Model) -> Any:
    return cv2.dnn.readNetFromONNX(np.frombuffer(bytes_of(model), np.uint8))


def read(pixels: Any) -> list[Line]:
    """The lines of text in a picture (blue, green, red), in pixels of it, from top to bottom."""
    lines, left = [], _WORK
    places = _places(pixels)
    asked = sum(_width(corners) for corners in places)
    pressed = min(1.0, max(_TIGHTEST, _WORK / max(1, asked)))
    for corners in places:
        strip = _strip(pixels, corners, pressed)
        left -= max(_NARROWEST, strip.shape[1])
        if left < 0:
            break
        turned = _upside_down(strip)
        if turned:
            strip = cv2.rotate(strip, cv2.ROTATE_180)
            corners = np.roll(corners, 2, axis=0)
        line = _line(strip, corners, turned)
        if line is not None:
            lines.append(line)
    return lines


# ---------------------------------------------------------------------------------------------------------- where it is


def _places(pixels: Any) -> list[Any]:
    """Corners of the places where text is, each 4 x 2: from the top left of the first character on, clockwise."""
    height, width = pixels.shape[:2]
    factor = min(max(1.0, _SHORTER / min(height, width)), LOOKED_AT / max(height, width))
    shown = tuple(max(_STEP, round(side * factor / _STEP) * _STEP) for side in (width, height))
    blob = cv2.dnn.blobFromImage(pixels, 1 / 127.5, shown, (127.5, 127.5, 127.5))
    net = _net(TEXT_PLACES)
    net.setInput(blob)
    likely = net.forward()[0, 0]
    marked = cv2.dilate((likely > _MARKED).astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    scale = np.array([width / shown[0], height / shown[1]])
    found = [_grown(outline) * scale for outline in outlines if _worth_reading(outline, likely)]
    found = [np.clip(corners, 0, [width - 1, height - 1]) for corners in found]
    found = [corners for corners in found if min(_sides(corners)) >= _SMALLEST]
    found.sort(key=lambda corners: (float(corners[:, 1].min()), float(corners[:, 0].min())))
    return found[:_MOST]


def _worth_reading(outline: Any, likely: Any) -> bool:
    if min(cv2.minAreaRect(outline)[1]) < _SMALLEST:
        return False
    left, top, width, height = cv2.boundingRect(outline)
    mask = np.zeros((height, width), np.uint8)
    cv2.drawContours(mask, [outline], 0, 1, cv2.FILLED, offset=(-left, -top))
    return float(cv2.mean(likely[top : top + height, left : left + width], mask)[0]) >= _IS_TEXT


def _grown(outline: Any) -> Any:
    """The rectangle around an outline, grown on all sides, its corners in the order in which its line is read."""
    centre, (width, height), angle = cv2.minAreaRect(outline)
    more = width * height * _GROWN / (width + height)  # both sides: area by half the circumference
    return _ordered(cv2.boxPoints((centre, (width + more, height + more), angle)))


def _ordered(corners: Any) -> Any:
    """Top left first, clockwise; by the side that is nearer to level. A rectangle much higher than wide is read downwards."""
    by_x = sorted(corners.tolist())
    left, right = sorted(by_x[:2], key=lambda p: p[1]), sorted(by_x[2:], key=lambda p: p[1])
    ordered = np.array([left[0], right[0], right[1], left[1]], np.float64)
    width, height = _sides(ordered)
    return np.roll(ordered, -1, axis=0) if height >= width * _STANDING else ordered


def _sides(corners: Any) -> tuple[float, float]:
    return float(np.linalg.norm(corners[0] - corners[1])), float(np.linalg.norm(corners[0] - corners[3]))


# --------------------------------------------------------------------------------------------------------- what it says


def _width(corners: Any) -> int:
    """Of a line as it is read, at its own proportions."""
    width, height = _sides(corners)
    return min(_WIDEST, max(8, round(width * _HEIGHT / max(1.0, height))))


def _strip(pixels: Any, corners: Any, pressed: float) -> Any:
    """The line cut out and straightened, as high as lines are read."""
    width = max(8, round(_width(corners) * pressed))
    target = np.array([[0, 0], [width, 0], [width, _HEIGHT], [0, _HEIGHT]], np.float32)
    way = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    return cv2.warpPerspective(pixels, way, (width, _HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _blob(strip: Any, width: int) -> Any:
    """A strip as the models take it: -1 to 1, what it lacks in width filled with the middle."""
    blob = cv2.dnn.blobFromImage(strip, 1 / 127.5, strip.shape[1::-1], (127.5, 127.5, 127.5))[:, :, :, :width]
    return np.ascontiguousarray(np.pad(blob, ((0, 0), (0, 0), (0, 0), (0, width - blob.shape[3]))))


def _upside_down(strip: Any) -> bool:
    net = _net(TEXT_TURNED)
    net.setInput(_blob(strip, _TURN_WIDTH))
    return float(net.forward()[0, 1]) > _TURNED


def _line(strip: Any, corners: Any, turned: bool) -> Line | None:
    """What a strip says, or None when it says nothing with any certainty."""
    width = max(_NARROWEST, math.ceil(strip.shape[1] / _STEP) * _STEP)
    net = _net(TEXT_LETTERS)
    net.setInput(_blob(strip, width))
    columns = net.forward()[0]
    best = columns.argmax(axis=1)
    signs = alphabet()
    seen = [(at, int(sign)) for at, sign in enumerate(best) if sign and (at == 0 or sign != best[at - 1])]
    text = "".join(signs[sign] for _, sign in seen)
    if not text.strip() or float(np.mean([columns[at, sign] for at, sign in seen])) < _READ:
        return None
    share = width / strip.shape[1] / len(best)  # of the line, for one column
    words = tuple(_words([(signs[sign], (at + 0.5) * share) for at, sign in seen], corners))
    return Line(text=" ".join(word.text for word in words), quad=_quad(corners), words=words, turned=turned)


def _words(signs: list[tuple[str, float]], corners: Any) -> list[Word]:
    """Cut at spaces; a word reaches halfway to the characters beyond its ends."""
    words: list[Word] = []
    text, start = "", 0.0
    for at, (sign, middle) in enumerate(signs):
        before = signs[at - 1][1] if at else 0.0
        if sign.isspace():
            if text:
                words.append(_word(text, start, (before + middle) / 2, corners))
            text = ""
            continue
        if not text:
            start = (before + middle) / 2 if at else 0.0
        text += sign
    if text:
        words.append(_word(text, start, 1.0, corners))
    return words


def _word(text: str, start: float, end: float, corners: Any) -> Word:
    top_left, top_right, bottom_right, bottom_left = corners
    start, end = min(start, 1.0), min(max(start, end), 1.0)
    above, below = top_right - top_left, bottom_right - bottom_left
    quad = (top_left + above * start, top_left + above * end, bottom_left + below * end, bottom_left + below * start)
    return Word(text=text, quad=_quad(quad))


def _quad(corners: Any) -> Quad:
    one, two, three, four = ((float(x), float(y)) for x, y in corners)
    return one, two, three, four
