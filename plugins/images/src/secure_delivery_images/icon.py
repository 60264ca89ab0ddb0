"""Icons of files: a sheet with a folded corner, the sign of its family, the extension on a ribbon.

Knows: how a family is drawn. Must not know: files, who asks.

All is drawn by numbers on a square of 100 by 100, larger than wanted, and made smaller: the same input gives the same pixels.
Letters are those of the face that comes inside Pillow, so no file is opened and no font needs to be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from .families import extension_of, family_of

_OVER = 4  # times as large while drawing
_FINE = 512  # from this many pixels on, twice is enough for the eye
_PAPER, _EDGE, _FOLD, _SHADE = (255, 255, 255), (203, 211, 222), (228, 233, 240), (30, 41, 59, 26)
_LONGEST = 6  # letters of a label
_COLOURS = {
    "document": (43, 108, 196),
    "sheet": (36, 138, 82),
    "slides": (209, 96, 30),
    "picture": (124, 77, 202),
    "audio": (200, 57, 130),
    "video": (200, 50, 56),
    "archive": (156, 106, 30),
    "code": (20, 128, 138),
    "mail": (49, 79, 148),
    "font": (88, 70, 160),
    "book": (140, 76, 44),
    "web": (28, 126, 196),
    "unknown": (100, 116, 139),
}

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]


def draw(mimetype: str, filename: str, side: int) -> Image.Image:
    """The icon of a file, `side` pixels wide and high, with transparency around the sheet."""
    family = family_of(mimetype, filename)
    over = _OVER if side < _FINE else 2
    pen = _Pen(side * over, _COLOURS[family])
    _sheet(pen)
    _SIGNS[family](pen)
    _ribbon(pen, extension_of(filename).upper()[:_LONGEST])
    return pen.image.reduce(over)


class _Pen:
    """Draws on a square of 100 by 100, in the colour of the family unless another is named."""

    def __init__(self, side: int, ink: Colour) -> None:
        self.image = Image.new("RGBA", (side, side), (255, 255, 255, 0))
        self.ink = ink
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / 100

    def _at(self, *numbers: float) -> list[float]:
        return [number * self._unit for number in numbers]

    def shape(self, points: Sequence[Point], fill: Colour | tuple[int, int, int, int] | None = None) -> None:
        self._draw.polygon([(x * self._unit, y * self._unit) for x, y in points], fill=fill or self.ink)

    def line(self, *points: Point, width: float = 3, fill: Colour | None = None) -> None:
        """A line with round ends and corners."""
        self._draw.line(
            [(x * self._unit, y * self._unit) for x, y in points],
            fill=fill or self.ink,
            width=max(1, round(width * self._unit)),
            joint="curve",
        )
        for x, y in points:
            self.disc((x, y), width / 2, fill)

    def disc(self, centre: Point, radius: float, fill: Colour | None = None) -> None:
        x, y = centre
        self._draw.ellipse(self._at(x - radius, y - radius, x + radius, y + radius), fill=fill or self.ink)

    def ring(self, box: tuple[float, float, float, float], width: float = 3) -> None:
        self._draw.ellipse(self._at(*box), outline=self.ink, width=max(1, round(width * self._unit)))

    def box(self, box: tuple[float, float, float, float], radius: float = 1.5, fill: Colour | None = None) -> None:
        self._draw.rounded_rectangle(self._at(*box), radius * self._unit, fill=fill or self.ink)

    def frame(self, box: tuple[float, float, float, float], radius: float = 2, width: float = 3) -> None:
        self._draw.rounded_rectangle(
            self._at(*box), radius * self._unit, outline=self.ink, width=max(1, round(width * self._unit))
        )

    def text(self, centre: Point, words: str, height: float, widest: float, fill: Colour | None = None) -> None:
        """Words around a point, as high as wanted or as small as they have to be; heavier than the face itself is."""
        size = height * self._unit
        length = ImageFont.load_default(size).getlength(words)
        size *= min(1.0, widest * self._unit / length)
        font, stroke = ImageFont.load_default(size), size / 26
        x, y = self._at(*centre)
        self._draw.text((x, y), words, font=font, fill=fill or self.ink, anchor="mm", stroke_width=stroke)


def _sheet(pen: _Pen) -> None:
    outline = [(18, 5), (64, 5), (82, 23), (82, 95), (18, 95)]
    pen.shape([(x, y + 1.6) for x, y in outline], fill=_SHADE)
    pen.shape(outline, fill=_PAPER)
    pen.line(*outline, outline[0], width=1.4, fill=_EDGE)
    pen.shape([(64, 5), (64, 23), (82, 23)], fill=_FOLD)
    pen.line((64, 5), (64, 23), (82, 23), width=1.4, fill=_EDGE)


def _ribbon(pen: _Pen, label: str) -> None:
    if not label:
        pen.box((28, 76, 72, 79), radius=1.5)
        return
    pen.box((9, 68, 76, 88), radius=3)
    pen.text((42.5, 78), label, height=15, widest=58, fill=_PAPER)


# --------------------------------------------------------------------------------------------------------------- signs


def _document(pen: _Pen) -> None:
    for number, right in enumerate((56, 70, 70, 62)):
        pen.line((30, 27 + number * 9), (right, 27 + number * 9), width=3.4)


def _table(pen: _Pen) -> None:
    pen.frame((29, 26, 71, 60))
    pen.box((29, 26, 71, 35))
    for x in (43, 57):
        pen.line((x, 34), (x, 58.5), width=2.2)
    for y in (43.3, 51.6):
        pen.line((30.5, y), (69.5, y), width=2.2)


def _slides(pen: _Pen) -> None:
    pen.frame((28, 27, 72, 54))
    for x, top in ((36, 44), (46, 39), (56, 34)):
        pen.box((x, top, x + 6, 50), radius=1)
    pen.line((50, 54), (50, 60))
    pen.line((41, 61), (59, 61))


def _mountains(pen: _Pen) -> None:
    pen.frame((28, 27, 72, 61), radius=3)
    pen.disc((39, 37), 4)
    pen.shape([(31, 58.5), (44, 45), (50, 51), (59, 40), (69, 52), (69, 58.5)])


def _note(pen: _Pen) -> None:
    pen.disc((40, 57), 6)
    pen.disc((60, 53), 6)
    pen.line((44.5, 57), (44.5, 33), (64.5, 29), (64.5, 53))
    pen.shape([(43.2, 32), (66, 27.4), (66, 34), (43.2, 38.6)])


def _film(pen: _Pen) -> None:
    pen.box((27, 28, 73, 60), radius=4)
    pen.shape([(45, 36.5), (45, 51.5), (58, 44)], fill=_PAPER)
    for y in (32, 40, 48, 55.5):
        for x in (31.5, 68.5):
            pen.disc((x, y), 1.5, fill=_PAPER)


def _zipper(pen: _Pen) -> None:
    for number in range(6):
        left = 45 if number % 2 else 50
        pen.box((left, 14 + number * 5.6, left + 5, 18 + number * 5.6), radius=1)
    pen.box((44, 48, 56, 63), radius=3)
    pen.box((48, 54, 52, 60), radius=1.5, fill=_PAPER)


def _brackets(pen: _Pen) -> None:
    pen.line((39, 33), (29, 44), (39, 55), width=4)
    pen.line((61, 33), (71, 44), (61, 55), width=4)
    pen.line((54, 29), (46, 59), width=4)


def _envelope(pen: _Pen) -> None:
    pen.frame((27, 29, 73, 59), radius=3)
    pen.line((29, 31.5), (50, 47), (71, 31.5))


def _letter(pen: _Pen) -> None:
    pen.text((50, 43), "Aa", height=33, widest=44)
    pen.line((30, 61), (70, 61), width=2)


def _book(pen: _Pen) -> None:
    pen.line((50, 33), (42, 29), (28, 29), (28, 56), (42, 56), (50, 60), (58, 56), (72, 56), (72, 29), (58, 29), (50, 33))
    pen.line((50, 33), (50, 59))
    for y in (38, 45):
        pen.line((34, y), (43, y + 1), width=2)
        pen.line((57, y + 1), (66, y), width=2)


def _globe(pen: _Pen) -> None:
    pen.ring((31, 25, 69, 63))
    pen.ring((41, 25, 59, 63), width=2.4)
    pen.line((33, 44), (67, 44), width=2.4)
    pen.line((36, 34.5), (64, 34.5), width=2.4)
    pen.line((36, 53.5), (64, 53.5), width=2.4)


def _dots(pen: _Pen) -> None:
    for x in (36, 50, 64):
        pen.disc((x, 45), 4.2)


_SIGNS: dict[str, Callable[[_Pen], None]] = {
    "document": _document,
    "sheet": _table,
    "slides": _slides,
    "picture": _mountains,
    "audio": _note,
    "video": _film,
    "archive": _zipper,
    "code": _brackets,
    "mail": _envelope,
    "font": _letter,
    "book": _book,
    "web": _globe,
    "unknown": _dots,
}
