"""A listing as pictures: a head with totals, and rows of a tree, a page at a time.

Knows: rows, letters. Must not know: formats of archives.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from secure_delivery_images.lettering import BLACK, BLUE, GREY, PALE, RED, WHITE, Pen, harmless, scale_for

from .listing import Listing
from .tree import Row

WIDTH, HEIGHT = 800, 1000
_LEAST_HEIGHT = 420
_MARGIN, _HEAD, _FOOT, _ROW, _STEP = 32, 104, 36, 22, 20
_RIGHT = 200  # of a row, for its size and marks
ROWS = (HEIGHT - _HEAD - _FOOT) // _ROW
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def pages(rows: Sequence[Row]) -> int:
    """How many pages so many rows take."""
    return max(1, -(-len(rows) // ROWS))


def draw(page: int, rows: Sequence[Row], listing: Listing, filename: str, size: tuple[int, int] | None) -> Image.Image:
    """One page, counted from 1, about as large as this size hint says."""
    total = pages(rows)
    shown = rows[(page - 1) * ROWS : page * ROWS]
    height = HEIGHT if total > 1 else max(_LEAST_HEIGHT, min(HEIGHT, _HEAD + _FOOT + _ROW * len(shown)))
    scale = scale_for(size, (WIDTH, height))
    image = Image.new("RGB", (round(WIDTH * scale), round(height * scale)), WHITE)
    sheet = _Sheet(ImageDraw.Draw(image), scale)
    sheet.head(harmless(filename) or "archive", summary(listing))
    for index, row in enumerate(shown):
        sheet.row(_HEAD + index * _ROW, row)
    sheet.foot(height, _ending(page, total, listing))
    return image


def summary(listing: Listing) -> str:
    """Totals in a line of words."""
    words = [listing.kind.upper(), _counted(listing.files, "file")]
    if listing.folders:
        words.append(_counted(listing.folders, "folder"))
    if listing.packed is not None and listing.size:
        words.append(f"{amount(listing.size)}, packed {amount(listing.packed)} ({listing.packed / listing.size:.0%})")
    elif listing.size or listing.packed is not None:
        words.append(amount(listing.size or listing.packed or 0))
    if listing.encrypted:
        words.append(f"{listing.encrypted:,} encrypted")
    return ("" if listing.complete else "at least ") + " · ".join(words)


def amount(size: int) -> str:
    """A size as people say it, in powers of a thousand."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _ending(page: int, total: int, listing: Listing) -> str:
    """What stands below: which page this is, and what is left out."""
    left = listing.files + listing.folders - len(listing.entries)
    words = [f"page {page} of {total}"] if total > 1 else []
    if left > 0:
        words.append(f"{left:,} more entries are not shown")
    elif not listing.complete:
        words.append("there may be more entries")
    return " · ".join(words)


class _Sheet:
    """Draws in units of the natural size."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float) -> None:
        self._draw = draw
        self._scale = scale
        self._title, self._plain, self._small = (
            Pen(size * scale, bold=bold) for size, bold in ((22, True), (14, False), (12, False))
        )

    def head(self, title: str, line: str) -> None:
        wide = (WIDTH - 2 * _MARGIN) * self._scale
        self._title.write(self._draw, self._at(_MARGIN, 24), self._title.cut(title, wide))
        self._plain.write(self._draw, self._at(_MARGIN, 58), self._plain.cut(line, wide), GREY)
        self._line(_HEAD - 14)

    def row(self, top: int, row: Row) -> None:
        left = _MARGIN + _STEP * row.depth
        self._sign(left, top, row)
        name_at = left + 24
        pen = self._plain
        pen.write(
            self._draw,
            self._at(name_at, top),
            pen.cut(harmless(row.name), (WIDTH - _MARGIN - _RIGHT - name_at) * self._scale),
            BLUE if row.folder else BLACK,
        )
        words = "" if row.size is None else amount(row.size)
        if row.folder:
            words = f"{_counted(row.files, 'file')}, {words}"
        self._right(WIDTH - _MARGIN, top, words, GREY)
        if row.encrypted and not row.folder:
            self._right(WIDTH - _MARGIN - 90, top, "encrypted", RED)

    def foot(self, height: int, words: str) -> None:
        self._small.write(self._draw, self._at(_MARGIN, height - 28), words, GREY)

    def _sign(self, left: int, top: int, row: Row) -> None:
        """A small folder, or a sheet of paper."""
        if row.folder:
            self._box(left, top + 5, 7, 3, BLUE, filled=True)
            self._box(left, top + 7, 16, 10, BLUE, filled=True)
        else:
            self._box(left + 2, top + 4, 11, 14, GREY, filled=False)

    def _box(self, left: float, top: float, wide: float, high: float, ink: tuple[int, int, int], *, filled: bool) -> None:
        (x, y), (right, bottom) = self._at(left, top), self._at(left + wide, top + high)
        corners = (x, y, max(x, right), max(y, bottom))
        self._draw.rectangle(corners, fill=ink if filled else None, outline=ink, width=max(1, round(self._scale)))

    def _right(self, right: float, top: float, words: str, ink: tuple[int, int, int]) -> None:
        left, y = self._at(right, top + 1)
        self._small.write(self._draw, (left - self._small.width(words), y), words, ink)

    def _line(self, top: int) -> None:
        (x, y), (right, _) = self._at(_MARGIN, top), self._at(WIDTH - _MARGIN, top)
        self._draw.line((x, y, right, y), fill=PALE, width=max(1, round(self._scale)))

    def _at(self, across: float, down: float) -> tuple[float, float]:
        return across * self._scale, down * self._scale
