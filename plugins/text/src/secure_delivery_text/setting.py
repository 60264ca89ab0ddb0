"""Words set in lines: spans of text that look alike, words that do not break, what is drawn of a line.

Knows: inline tokens of markdown-it, widths of runs. Must not know: blocks, pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ImageDraw

from . import lettering
from .encodings import columns

BODY = 20  # of the units of a page that is 1,080 wide: 11 points on A4
CODE = 17
INK, PALE, LINK = "#1f2328", "#6e7781", "#0969da"
_SHADE = "#eceff2"
_SPACE = 0.32  # of a letter's size
_PARTS = re.compile(r"\s+|\S+")
_MOST_WORDS = 100_000  # of one block


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How a run of text looks."""

    size: int = BODY
    bold: bool = False
    slanted: bool = False
    code: bool = False
    struck: bool = False
    under: bool = False
    colour: str = INK

    @property
    def font(self) -> str:
        if self.code:
            return lettering.MONO_BOLD if self.bold else lettering.MONO
        return lettering.SANS_BOLD if self.bold else lettering.SANS

    @property
    def letters(self) -> int:
        return max(1, round(self.size * 0.88)) if self.code else self.size


@dataclass(slots=True)
class Word:
    """Pieces that stay together; `space`: one stands before it."""

    pieces: list[tuple[Span, str]]
    space: bool

    @property
    def width(self) -> float:
        return sum(lettering.width(span.font, span.letters, text) for span, text in self.pieces)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to draw: `text` with its baseline at `y`, or a `box`. In units of the page, `y` from the line's top."""

    kind: str
    x: float
    y: float
    width: float = 0.0
    height: float = 0.0
    text: str = ""
    size: int = BODY
    colour: str = INK
    font: str = lettering.SANS
    slanted: bool = False

    def put(self, draw: ImageDraw.ImageDraw, top: float, scale: float) -> None:
        x, y = self.x * scale, (top + self.y) * scale
        if self.kind == "box":
            left, upper = round(x), round(y)
            right, lower = round(x + self.width * scale) - 1, round(y + self.height * scale) - 1
            draw.rectangle((left, upper, max(left, right), max(upper, lower)), fill=self.colour)
            return
        size = max(1, round(self.size * scale))
        lettering.put(draw, (x, y), self.font, size, self.text, self.colour, slanted=self.slanted)


@dataclass(frozen=True, slots=True)
class Line:
    """`keep`: the next line stays with it on its page."""

    height: float
    marks: Sequence[Mark] = field(default_factory=tuple)
    keep: bool = False


def words_of(tokens: Sequence[Any], base: Span) -> list[Word | None]:
    """The words of a block; None where a line ends."""
    words: list[Word | None] = []
    looks = [base]
    space = False
    for token in tokens:
        kind, look = token.type, looks[-1]
        if kind == "softbreak":
            space = True
        elif kind == "hardbreak":
            words.append(None)
            space = False
        elif kind.endswith("_open"):
            looks.append(_opened(look, kind))
        elif kind.endswith("_close"):
            if len(looks) > 1:
                looks.pop()
        else:
            if kind == "image":
                text, look = f"[{token.content.strip() or 'picture'}]", replace(look, colour=PALE, slanted=True)
            else:
                text, look = token.content, replace(look, code=True) if kind == "code_inline" else look
            space = _append(words, text, look, space)
        if len(words) > _MOST_WORDS:
            break
    return words


def _opened(look: Span, kind: str) -> Span:
    changes: dict[str, dict[str, Any]] = {
        "strong_open": {"bold": True},
        "em_open": {"slanted": True},
        "s_open": {"struck": True},
        "link_open": {"under": True, "colour": LINK},
    }
    return replace(look, **changes.get(kind, {}))


def _append(words: list[Word | None], text: str, look: Span, space: bool) -> bool:
    """Add a text to the words; whether a space stands behind it."""
    for part in _PARTS.findall(text):
        if part.isspace():
            space = True
            continue
        for unit in _units(part):
            last = words[-1] if words else None
            wide = not unit.isascii() and columns(unit[0]) == 2
            if space or wide or last is None or (not last.pieces[-1][1].isascii() and columns(last.pieces[-1][1][-1]) == 2):
                words.append(Word([(look, unit)], space))
            else:
                last.pieces.append((look, unit))
            space = False
    return space


def _units(part: str) -> Iterator[str]:
    """A word in what may stand on different lines: between wide characters there may always be a break."""
    if part.isascii():
        yield part
        return
    start = 0
    for at, sign in enumerate(part):
        if columns(sign) == 2:
            if at > start:
                yield part[start:at]
            yield sign
            start = at + 1
    if start < len(part):
        yield part[start:]


def broken(words: Sequence[Word | None], left: float, right: float, baseline: float) -> Iterator[list[Mark]]:
    """Words in lines between two edges, as marks. A word that is wider than the line is cut."""
    marks: list[Mark] = []
    x = left
    for word in words:
        if word is None:
            yield marks
            marks, x = [], left
            continue
        gap = _SPACE * word.pieces[0][0].size if word.space and marks else 0.0
        if marks and x + gap + word.width > right:
            yield marks
            marks, x, gap = [], left, 0.0
        x += gap
        for span, text in word.pieces:
            for piece in _cut(span, text, right - left):
                wide = lettering.width(span.font, span.letters, piece)
                if marks and x + wide > right + 1 and x > left:
                    yield marks
                    marks, x = [], left
                marks += _marks(span, piece, x, wide, baseline)
                x += wide
    if marks:
        yield marks


def _cut(span: Span, text: str, room: float) -> Iterator[str]:
    while lettering.width(span.font, span.letters, text[:2_000]) > room and len(text) > 1:
        each = max(1.0, lettering.width(span.font, span.letters, text[:50]) / min(50, len(text)))
        count = min(len(text) - 1, max(1, int(room / each)))
        while count > 1 and lettering.width(span.font, span.letters, text[:count]) > room:
            count = count * 9 // 10
        yield text[:count]
        text = text[count:]
    yield text


def _marks(span: Span, text: str, x: float, wide: float, baseline: float) -> list[Mark]:
    marks = []
    if span.code:
        marks.append(Mark("box", x, baseline - span.letters, width=wide, height=span.letters * 1.3, colour=_SHADE))
    marks.append(Mark("text", x, baseline, 0, 0, text, span.letters, span.colour, span.font, span.slanted))
    if span.under:
        marks.append(Mark("box", x, baseline + 3, width=wide, height=1.5, colour=span.colour))
    if span.struck:
        marks.append(Mark("box", x, baseline - span.size * 0.3, width=wide, height=1.5, colour=span.colour))
    return marks
