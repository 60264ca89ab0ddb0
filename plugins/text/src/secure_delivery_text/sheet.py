"""Pages of text in a typewriter's grid: 60 lines of 100 columns on a page of A4's proportions.

Knows: cells, rows, colours. Must not know: where text comes from, languages.

What stands where is decided in cells, so a file has the same pages however large they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw

from secure_delivery.plugin import WorkLimits

from . import lettering
from .encodings import columns

COLUMNS = 100
ROWS = 60
MOST_PAGES = 2_000
RATIO = math.sqrt(2)  # height by width of A4
OWN_WIDTH = 1_080  # pixels, where nobody asks for another size
_SIZES = range(4, 41)  # pixels of letters; below, nothing can be told apart
_MARGIN = 4  # columns
_FINE = 440  # pixels of width up to which small pages are drawn twice as large: letters scale better than they are drawn

PAPER, INK, PALE = "#ffffff", "#1f2328", "#8c959f"


class Run(NamedTuple):
    """Characters that look alike."""

    text: str
    colour: str = INK
    bold: bool = False


Row = Sequence[Run]


def width_wanted(box: tuple[int, int] | None) -> int:
    """Pixels of a page's width for a box in which a side of 0 is free."""
    if box is None or not any(box):
        return OWN_WIDTH
    wanted = min(side for side in (box[0], box[1] / RATIO) if side)
    return math.ceil(max(wanted, min(2 * wanted, _FINE)))


def wrapped(line: Row, limit: int, *, at_words: bool) -> Iterator[Row]:
    """A line in rows of so many columns: broken between words where that is wanted, and else where it ends."""
    if sum(len(run.text) for run in line) <= limit and all(run.text.isascii() for run in line):
        yield line
        return
    row: list[Run] = []
    used = 0
    for run in line:
        rest = run.text
        while rest:
            count, taken = _fitting(rest, limit - used)
            if count < len(rest) and at_words:
                count = _at_a_word(rest, count, first=not row)
            if count == 0 and not row:
                count = 1
            if count:
                row.append(run._replace(text=rest[:count]))
                used += taken
                rest = rest[count:]
            if rest:
                yield row
                row, used = [], 0
                rest = rest.lstrip(" ") if at_words else rest
    if row or not line:
        yield row


def _fitting(text: str, room: int) -> tuple[int, int]:
    """How many characters fit into so many columns, and how many columns they take."""
    if text.isascii():
        count = min(len(text), max(0, room))
        return count, count
    used = 0
    for count, sign in enumerate(text):
        more = columns(sign)
        if used + more > room:
            return count, used
        used += more
    return len(text), used


def _at_a_word(text: str, count: int, *, first: bool) -> int:
    if text[count : count + 1] == " ":
        return count
    at = text.rfind(" ", 0, count)
    return at + 1 if at > count // 2 else (count if first else 0)


def paged(rows: Iterable[Row | None]) -> list[list[Row]]:
    """Rows on pages; None begins a new one. At least one page, at most two thousand."""
    pages: list[list[Row]] = [[]]
    for row in rows:
        if row is None or len(pages[-1]) == ROWS:
            if len(pages) == MOST_PAGES:
                break
            pages.append([])
        if row is not None:
            pages[-1].append(row)
    return pages


@lru_cache(maxsize=64)
def _cell(size: int) -> int:
    return max(1, round(lettering.font(lettering.MONO, size).getlength("M")))


def _size(width: int, limits: WorkLimits) -> int:
    most = 0.99 * min(limits.output_side / RATIO, math.sqrt(limits.pixels / RATIO))
    fitting = [size for size in _SIZES if (COLUMNS + 2 * _MARGIN) * _cell(size) <= most] or [_SIZES[0]]
    return next((size for size in fitting if (COLUMNS + 2 * _MARGIN) * _cell(size) >= width), fitting[-1])


def drawn(rows: Sequence[Row], box: tuple[int, int] | None, limits: WorkLimits) -> Image.Image:
    """A page with these rows, about as large as the box."""
    size = _size(width_wanted(box), limits)
    cell = _cell(size)
    width = (COLUMNS + 2 * _MARGIN) * cell
    height = round(width * RATIO)
    margin = _MARGIN * cell
    leading = (height - 2 * margin) / ROWS
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        baseline = round(margin + leading * (number + 0.75))
        at = 0
        for run in row:
            at = _put(draw, run, at, margin, baseline, size, cell)
    return image


def _put(draw: ImageDraw.ImageDraw, run: Run, at: int, margin: int, baseline: int, size: int, cell: int) -> int:
    """A run from column `at` on; the column after it."""
    name = lettering.MONO_BOLD if run.bold else lettering.MONO
    if run.text.isascii():
        shown = run.text.rstrip(" ")
        if shown:
            draw.text((margin + at * cell, baseline), shown, fill=run.colour, font=lettering.font(name, size), anchor="ls")
        return at + len(run.text)
    for sign in run.text:
        wide = columns(sign)
        if sign != " ":
            before = 0 if wide else 1  # what stands on another character is drawn in the cell of that one
            lettering.put(draw, (margin + max(0, at - before) * cell, baseline), name, size, sign, run.colour)
        at += wide
    return at
