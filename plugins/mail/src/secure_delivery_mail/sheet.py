"""A message as pages: who wrote what to whom, what goes with it, and its text.

Knows: letters, a message. Must not know: formats of mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from PIL import Image, ImageDraw

from secure_delivery_images.lettering import BLACK, GREY, PALE, WHITE, Ink, Pen, harmless, scale_for

from .model import Attachment, Mail, Person

WIDTH, HEIGHT = 800, 1130  # of a sheet of paper, about
_MARGIN, _LABEL = 48, 80
_INNER = WIDTH - 2 * _MARGIN
_TITLE, _TEXT, _SMALL = 22, 14, 12
_LINE = 20  # from line to line of the text
_FOOT = 40
_MOST_SUBJECT_LINES, _MOST_ADDRESS_LINES, _MOST_SHOWN = 3, 2, 8
_UNITS = ("B", "kB", "MB", "GB")


class Letter:
    """A message that is laid out. `pages` counts its pages, however large they are drawn."""

    def __init__(self, mail: Mail) -> None:
        plain, title = Pen(_TEXT), Pen(_TITLE, bold=True)
        self._subject = _some(title, mail.subject or "(no subject)", _INNER, _MOST_SUBJECT_LINES)
        self._rows: list[tuple[str, list[str]]] = []
        said = {"From": _named(mail.sender), "To": _named(mail.to), "Cc": _named(mail.cc), "Date": _when(mail.date)}
        for label, words in said.items():
            if words:
                self._rows.append((label, _some(plain, words, _INNER - _LABEL, _MOST_ADDRESS_LINES)))
        self._files = [plain.cut(words, _INNER - 30) for words in _files(mail.attachments)]
        self._head = 44 + 30 * len(self._subject) + 10
        self._head += sum(_LINE * len(lines) + 4 for _, lines in self._rows) + 14
        self._head += (22 * len(self._files) + 12) if self._files else 0
        lines = plain.wrapped(mail.text, _INNER) if mail.text else []
        first = max(1, (HEIGHT - self._head - _FOOT) // _LINE)
        rest = (HEIGHT - _MARGIN - _FOOT) // _LINE
        self._texts = [lines[:first], *(lines[at : at + rest] for at in range(first, len(lines), rest))]

    @property
    def pages(self) -> int:
        return len(self._texts)

    def draw(self, number: int, size: tuple[int, int] | None) -> Image.Image:
        """One page, counted from 1, about as large as this size hint says."""
        paper = _Paper(scale_for(size, (WIDTH, HEIGHT)))
        down: float = _MARGIN
        if number == 1:
            self._draw_head(paper)
            down = self._head
        for line in self._texts[number - 1]:
            paper.write(_MARGIN, down, line, ink=GREY if line.startswith(">") else BLACK)
            down += _LINE
        if self.pages > 1:
            paper.write(_MARGIN, HEIGHT - 30, f"page {number} of {self.pages}", _SMALL, GREY)
        return paper.image

    def _draw_head(self, paper: _Paper) -> None:
        down: float = 36
        for line in self._subject:
            paper.write(_MARGIN, down, line, _TITLE)
            down += 30
        down += 10
        for label, lines in self._rows:
            paper.write(_MARGIN, down, label, ink=GREY)
            for line in lines:
                paper.write(_MARGIN + _LABEL, down, line)
                down += _LINE
            down += 4
        for line in self._files:
            paper.box(_MARGIN + 2, down + 3, 11, 14)
            paper.write(_MARGIN + 24, down, line)
            down += 22
        paper.rule(down + 6)


class _Paper:
    """A picture that is drawn on in units of the natural size."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self.image = Image.new("RGB", (round(WIDTH * scale), round(HEIGHT * scale)), WHITE)
        self._draw = ImageDraw.Draw(self.image)
        self._pens = {size: Pen(size * scale, bold=size == _TITLE) for size in (_TITLE, _TEXT, _SMALL)}
        self._thin = max(1, round(scale))

    def write(self, across: float, down: float, text: str, size: int = _TEXT, ink: Ink = BLACK) -> None:
        self._pens[size].write(self._draw, (across * self._scale, down * self._scale), text, ink)

    def box(self, left: float, top: float, wide: float, high: float) -> None:
        """The sign of a file."""
        corners = [value * self._scale for value in (left, top, left + wide, top + high)]
        self._draw.rectangle(corners, outline=GREY, width=self._thin)

    def rule(self, down: float) -> None:
        ends = [value * self._scale for value in (_MARGIN, down, WIDTH - _MARGIN, down)]
        self._draw.line(ends, PALE, self._thin)


def _some(pen: Pen, text: str, width: float, most: int) -> list[str]:
    """The first lines of a text, the last with an ellipsis when there are more."""
    lines = pen.wrapped(text, width, most + 1)
    return lines if len(lines) <= most else [*lines[: most - 1], pen.cut(lines[most - 1] + " " + lines[most], width)]


def _named(people: Sequence[Person]) -> str:
    return ", ".join(harmless(str(person), 200) for person in people[:50])


def _when(date: datetime | None) -> str:
    return date.strftime("%Y-%m-%d %H:%M %Z").strip() if date else ""


def _files(attachments: Sequence[Attachment]) -> list[str]:
    words = [f"{harmless(one.name) or one.type} ({amount(one.size)})" for one in attachments[:_MOST_SHOWN]]
    left = len(attachments) - len(words)
    return [*words, f"and {left} more"] if left else words


def amount(size: int) -> str:
    """A size as people say it, in powers of a thousand."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"
