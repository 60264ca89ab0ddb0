"""Markdown as pages: blocks become lines with things to draw on them, lines become pages.

Knows: the tokens of markdown-it. Must not know: files, how a run of text is put onto a picture (see `lettering`).

All is laid out once, in units of a page that is 1,080 wide, and scaled while it is drawn, so a file has the same pages however
large they are. Nothing is fetched: a picture is its alternative text in brackets. Raw HTML is text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from PIL import Image, ImageDraw

from secure_delivery.plugin import WorkLimits

from . import lettering, rows
from .setting import BODY, CODE, INK, Line, Mark, Span, Word, broken, words_of
from .sheet import MOST_PAGES, OWN_WIDTH, PAPER, RATIO, Run, width_wanted, wrapped

MOST_LETTERS = 300_000  # of a file that are set
_HEIGHT = round(OWN_WIDTH * RATIO)
_MARGIN = 90
_EM = BODY
_HEADINGS = {"h1": 2.0, "h2": 1.5, "h3": 1.25, "h4": 1.1, "h5": 1.0, "h6": 0.95}
_LEADING = 1.5
_INDENT = 36
_QUOTE = "#d0d7de"
_SHADE = "#f0f2f4"
_RULE = "#d0d7de"
_FRONT = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.{0,20000}?\n)?\1[ \t]*(?:\n|\Z)", re.DOTALL)
_MOST_COLOURED = 20_000
_MOST_CELLS = 30
_DEEPEST = 8  # levels that are indented


def parser() -> MarkdownIt:
    """CommonMark with tables and words struck out, raw HTML off."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def without_front(text: str) -> tuple[str, str]:
    """What stands between the marks at the very beginning (front matter), and the rest."""
    match = _FRONT.match(text)
    return (match[2] or "", text[match.end() :]) if match else ("", text)


def pages(text: str) -> list[list[tuple[float, Line]]]:
    """The lines of every page, each with its place from the top."""
    lines = _Layout().lines(parser().parse(without_front(text[:MOST_LETTERS])[1]))
    made: list[list[tuple[float, Line]]] = [[]]
    y = float(_MARGIN)
    for number, line in enumerate(lines):
        follower = lines[number + 1].height if line.keep and number + 1 < len(lines) else 0
        if made[-1] and y + line.height + follower > _HEIGHT - _MARGIN:
            if len(made) == MOST_PAGES:
                break
            made.append([])
            y = float(_MARGIN)
        if line.marks or made[-1]:  # no space at the top of a page
            made[-1].append((y, line))
            y += line.height
    return made


def drawn(page: Sequence[tuple[float, Line]], box: tuple[int, int] | None, limits: WorkLimits) -> Image.Image:
    """A page about as large as the box."""
    most = min(limits.output_side / RATIO, 0.99 * (limits.pixels / RATIO) ** 0.5)
    width = max(32, min(width_wanted(box), 2_600, int(most)))
    scale = width / OWN_WIDTH
    image = Image.new("RGB", (width, round(width * RATIO)), PAPER)
    draw = ImageDraw.Draw(image)
    for y, line in page:
        for mark in line.marks:
            mark.put(draw, y, scale)
    return image


class _Layout:
    """Walks over tokens; knows how deep it is in lists and quotes."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._lists: list[int | None] = []  # the number of the next item, None for points
        self._quotes = 0
        self._marker = ""
        self._heading = ""

    def lines(self, tokens: Sequence[Any]) -> list[Line]:
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.type == "table_open":
                end = next((place for place in range(at, len(tokens)) if tokens[place].type == "table_close"), len(tokens))
                self._table(tokens[at:end])
                at = end
            else:
                self._token(token)
            at += 1
        return self._lines

    # -- where things stand

    @property
    def _left(self) -> float:
        return _MARGIN + _INDENT * min(_DEEPEST, len(self._lists) + self._quotes)

    @property
    def _right(self) -> float:
        return OWN_WIDTH - _MARGIN

    def _add(self, height: float, marks: Sequence[Mark], *, keep: bool = False) -> None:
        bars = [
            Mark("box", _MARGIN + _INDENT * number + 8, 0, width=5, height=height + 1, colour=_QUOTE)
            for number in range(min(_DEEPEST, self._quotes))
        ]
        self._lines.append(Line(height, [*bars, *marks], keep))

    def _space(self, ems: float = 0.7) -> None:
        if self._lines and (self._lines[-1].marks or self._lines[-1].height < ems * _EM):
            self._add(ems * _EM, ())

    # -- what there is

    def _token(self, token: Any) -> None:
        kind = token.type
        if kind == "inline":
            self._text(token)
        elif kind == "heading_open":
            self._space(1.1)
            self._heading = token.tag
        elif kind == "heading_close":
            self._heading = ""
            if token.tag in ("h1", "h2"):
                self._add(6, [Mark("box", self._left, 2, width=self._right - self._left, height=2, colour=_RULE)])
            self._space()
        elif kind in ("fence", "code_block"):
            self._code(token)
        elif kind == "hr":
            self._add(_EM, [Mark("box", self._left, _EM / 2, width=self._right - self._left, height=3, colour=_RULE)])
            self._space()
        elif kind in ("bullet_list_open", "ordered_list_open"):
            start = token.attrGet("start") if kind == "ordered_list_open" else None
            self._lists.append(int(start or 1) if kind == "ordered_list_open" and str(start or 1).isdigit() else None)
            if kind == "ordered_list_open" and start == 0:
                self._lists[-1] = 0
        elif kind in ("bullet_list_close", "ordered_list_close"):
            self._lists.pop()
            self._space()
        elif kind == "list_item_open":
            self._item()
        elif kind in ("blockquote_open", "blockquote_close"):
            self._quotes += 1 if kind == "blockquote_open" else -1
            if kind == "blockquote_close":
                self._space()
        elif kind == "paragraph_close":
            self._space(0.2 if token.hidden else 0.7)

    def _item(self) -> None:
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._marker = "\u2022\u25e6\u25aa"[min(2, max(0, len(self._lists) - 1))]
        else:
            self._marker = f"{number}."
            self._lists[-1] = number + 1

    def _taken_marker(self) -> list[Mark]:
        marker, self._marker = self._marker, ""
        if not marker:
            return []
        wide = lettering.width(lettering.SANS, _EM, marker)
        return [Mark("text", self._left - wide - 9, _EM * 1.1, text=marker, size=_EM)]

    def _text(self, token: Any) -> None:
        factor = _HEADINGS.get(self._heading, 1.0)
        size = round(_EM * factor)
        base = Span(size=size, bold=bool(self._heading), colour="#59636e" if self._quotes else INK)
        marker = self._taken_marker()
        for marks in broken(words_of(token.children or (), base), self._left, self._right, size * 1.1):
            self._add(size * _LEADING, [*marker, *marks], keep=bool(self._heading))
            marker = []

    def _code(self, token: Any) -> None:
        text = token.content.removesuffix("\n").expandtabs(4)
        lexer = rows.lexer_named((token.info or "").split(" ")[0].strip()) if len(text) <= _MOST_COLOURED else None
        lines = rows.colours(text, lexer) if lexer is not None else [[Run(line)] for line in text.split("\n")]
        cell = lettering.width(lettering.MONO, CODE, "M")
        room = max(8, int((self._right - self._left - 24) / cell))
        high = CODE * 1.4
        marker = self._taken_marker()
        shade = Mark("box", self._left, 0, width=self._right - self._left, height=high + 1, colour=_SHADE)
        self._add(8, [Mark("box", self._left, 0, width=self._right - self._left, height=9, colour=_SHADE)])
        for line in lines:
            for row in wrapped(line, room, at_words=False):
                marks, x = [], self._left + 12
                for run in row:
                    name = lettering.MONO_BOLD if run.bold else lettering.MONO
                    marks.append(Mark("text", x, CODE * 1.05, text=run.text, size=CODE, colour=run.colour, font=name))
                    x += lettering.width(name, CODE, run.text)
                self._add(high, [shade, *marker, *marks])
                marker = []
        self._add(8, [Mark("box", self._left, 0, width=self._right - self._left, height=8, colour=_SHADE)])
        self._space()

    # -- tables

    def _table(self, tokens: Sequence[Any]) -> None:
        table: list[list[tuple[list[Word | None], bool]]] = []
        head = False
        for token in tokens:
            if token.type == "tr_open":
                table.append([])
            elif token.type in ("th_open", "td_open"):
                head = token.type == "th_open"
            elif token.type == "inline" and table and len(table[-1]) < _MOST_CELLS:
                table[-1].append((words_of(token.children or (), Span(bold=head)), head))
        if not any(table):
            return
        widths = self._widths([[words for words, _ in cells] for cells in table])
        edges = [self._left]
        for width in widths:
            edges.append(edges[-1] + width)
        for cells in table:
            self._row(cells, edges)
        self._space()

    def _widths(self, table: Sequence[Sequence[Sequence[Word | None]]]) -> list[float]:
        """Of the columns: what they want, in proportion when that is more than there is."""
        wanted: list[float] = []
        for cells in table:
            for at, words in enumerate(cells):
                wide = 24 + sum(word.width + _EM * 0.35 for word in words if word is not None)
                if at == len(wanted):
                    wanted.append(40.0)
                wanted[at] = max(wanted[at], min(wide, 600.0))
        room = self._right - self._left
        share = min(1.0, room / sum(wanted))
        return [width * share for width in wanted]

    def _row(self, cells: Sequence[tuple[list[Word | None], bool]], edges: Sequence[float]) -> None:
        high = _EM * _LEADING
        set_cells = [
            list(broken(words, edges[at] + 10, max(edges[at] + 30, edges[at + 1] - 10), _EM * 1.1))
            for at, (words, _) in enumerate(cells)
        ]
        count = max((len(lines) for lines in set_cells), default=1)
        head = any(is_head for _, is_head in cells)
        for number in range(count):
            marks = [Mark("box", edges[0], 0, width=edges[-1] - edges[0], height=high + 1, colour=_SHADE)] if head else []
            marks += [Mark("box", edge, 0, width=2, height=high + 2, colour=_RULE) for edge in edges]
            if number == 0:
                marks.append(Mark("box", edges[0], 0, width=edges[-1] - edges[0], height=2, colour=_RULE))
            if number == count - 1:
                marks.append(Mark("box", edges[0], high, width=edges[-1] - edges[0], height=2, colour=_RULE))
            for lines in set_cells:
                marks += lines[number] if number < len(lines) else []
            self._add(high, marks)
