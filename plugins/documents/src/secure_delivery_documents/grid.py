"""The text of pages as rows and columns, by where it stands. Knows: places of lines. Must not know: files of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from .pdf import Line

_GAP = 60  # ten-thousandths of the page's width between two columns' beginnings, at least
_MOST_COLUMNS = 200


def rows(lines: Sequence[Line]) -> list[list[str]]:
    """One list of cells for each line of the page; cells that begin at about the same place share a column."""
    columns = _columns(sorted(line.left for line in lines))
    grid: list[list[str]] = []
    bottom = -1
    for line in sorted(lines, key=lambda line: (line.top + line.height // 2, line.left)):
        middle = line.top + line.height // 2
        if middle >= bottom:
            grid.append([])
            bottom = line.top + line.height
        row = grid[-1]
        at = max(index for index, left in enumerate(columns) if left <= line.left or index == 0)
        row += [""] * (at + 1 - len(row))
        row[at] = f"{row[at]} {line.text}".strip()
    return grid


def _columns(lefts: Sequence[int]) -> list[int]:
    columns: list[int] = []
    for left in lefts:
        if not columns or (left - columns[-1] > _GAP and len(columns) < _MOST_COLUMNS):
            columns.append(left)
    return columns
