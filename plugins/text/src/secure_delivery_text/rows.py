"""Texts, tables and code as rows of runs.

Knows: Pygments, comma-separated values. Must not know: fonts, pages as pictures.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from pygments.lexers import find_lexer_class_for_filename, get_lexer_by_name
from pygments.lexers.special import TextLexer
from pygments.styles import get_style_by_name
from pygments.util import ClassNotFound

from .encodings import columns
from .sheet import COLUMNS, INK, PALE, ROWS, Row, Run, wrapped

_TAB = 8
_CODE_TAB = 4
_GUTTER = 6  # columns for the numbers of lines
_LEXED_LINES = 6_000  # coloured at most, from the beginning: what a word means depends on all that is before it
_LEXED_LETTERS = 300_000
_LONGEST_LINE = 20_000  # characters of a line that are shown
_TABLE_LINES = 20_000
_WIDEST_CELL = 40
_MOST_CELLS = 60
_STYLE = "default"
#: Extensions that no lexer names, and one that it is read like.
_LIKE = {
    **dict.fromkeys(("jsonc", "geojson", "ipynb", "avsc"), "json"),
    **dict.fromkeys(("atom", "plist"), "xml"),
    **dict.fromkeys(("mts", "cts"), "ts"),
    **dict.fromkeys(("svelte", "erb", "mustache", "ejs", "j2", "jinja", "jinja2"), "html"),
    **dict.fromkeys(("f95", "for"), "f90"),
    "conf": "ini",
    "env": "sh",
    "csx": "cs",
    "psd1": "ps1",
    "ddl": "sql",
    "gql": "graphql",
    "tfvars": "tf",
    "make": "mk",
    "dockerfile": "docker",
    "sty": "tex",
    "glsl": "frag",
}


def of_text(text: str) -> Iterator[Row | None]:
    """Lines as they are, broken between words; a form feed begins a page."""
    for number, part in enumerate(_trimmed(text).split("\f")):
        if number:
            yield None
        for line in part.split("\n"):
            yield from wrapped([Run(line[:_LONGEST_LINE].expandtabs(_TAB))], COLUMNS, at_words=True)


def of_table(text: str) -> Iterator[Row | None]:
    """Columns below each other, the first row in bold; what does not fit is cut."""
    lines = _trimmed(text).split("\n")[:_TABLE_LINES]
    mark = delimiter(lines)
    try:
        table = [[_cell(cell) for cell in cells[:_MOST_CELLS]] for cells in csv.reader(lines, delimiter=mark)]
    except csv.Error:
        yield from of_text(text)
        return
    widths: dict[int, int] = {}
    for cells in table:
        for at, cell in enumerate(cells):
            widths[at] = max(widths.get(at, 1), _columns(cell))
    for number, cells in enumerate(table):
        line = "  ".join(cell + " " * (widths[at] - _columns(cell)) for at, cell in enumerate(cells)).rstrip()
        yield next(wrapped([Run(line, INK, number == 0)], COLUMNS, at_words=False), [])


def delimiter(lines: Sequence[str]) -> str:
    """What stands between the cells: the sign that most of the first lines have the same number of."""

    def evenness(mark: str) -> tuple[int, int]:
        counts = [line.count(mark) for line in lines[:20] if line]
        common = max(set(counts), key=counts.count) if any(counts) else 0
        return (counts.count(common) if common else 0), common

    return max("\t;,|", key=evenness)


def _cell(text: str) -> str:
    text = " ".join(text[: _WIDEST_CELL * 4].split())
    if _columns(text) <= _WIDEST_CELL:
        return text
    kept = ""
    for sign in text:
        if _columns(kept) + columns(sign) >= _WIDEST_CELL:
            break
        kept += sign
    return kept + "\u2026"


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(map(columns, text))


def _trimmed(text: str) -> str:
    return text.removesuffix("\n").rstrip("\n")


# ----------------------------------------------------------------------------------------------------------------- code


def lexer_for(filename: str, text: str) -> Any:
    """The lexer for a file by its name, its first lines where the name fits several; None where there is none."""
    name = filename.replace("\\", "/").rpartition("/")[2][-100:]
    stem, dot, end = name.rpartition(".")
    if dot and end.lower() in _LIKE:
        name = f"{stem}.{_LIKE[end.lower()]}"
    found = find_lexer_class_for_filename(name, text[:2_000]) if name.isprintable() else None
    return None if found is None or found is TextLexer else _made(found)


def lexer_named(name: str) -> Any:
    """The lexer for a language by its name, or None."""
    try:
        return get_lexer_by_name(name[:40], stripnl=False) if name.isascii() else None
    except ClassNotFound:
        return None


def _made(lexer: Any) -> Any:
    return lexer(stripnl=False)


def of_source(text: str, lexer: Any, last_page: int) -> Iterator[Row | None]:
    """Numbered lines in colours, as far as they are needed for `last_page`; behind that, in one colour."""
    lines = [line[:_LONGEST_LINE].expandtabs(_CODE_TAB) for line in _trimmed(text).replace("\f", " ").split("\n")]
    number_of = min(last_page * ROWS, _LEXED_LINES)
    coloured = colours("\n".join(lines[:number_of])[:_LEXED_LETTERS], lexer)
    for number, line in enumerate(lines):
        row = coloured[number] if number < len(coloured) and _text(coloured[number]) == line else [Run(line)]
        head = f"{number + 1:>{_GUTTER - 2}}  "
        for part in wrapped(row, COLUMNS - len(head), at_words=False):
            yield [Run(head, PALE), *part]
            head = " " * len(head)


def _text(row: Row) -> str:
    return "".join(run.text for run in row)


def colours(text: str, lexer: Any) -> list[list[Run]]:
    """Lines of code as runs. A lexer that fails leaves the text as it is."""
    rows: list[list[Run]] = [[]]
    try:
        for kind, value in lexer.get_tokens(text):
            colour, bold = _look(kind)
            for number, part in enumerate(value.split("\n")):
                if number:
                    rows.append([])
                if part:
                    rows[-1].append(Run(part, colour, bold))
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError, AssertionError):
        return [[Run(line)] for line in text.split("\n")]
    return rows


@lru_cache(maxsize=512)
def _look(kind: Any) -> tuple[str, bool]:
    known = get_style_by_name(_STYLE)
    while True:
        try:
            style = known.style_for_token(kind)
        except KeyError:  # a kind that only one language has looks like the wider one
            if kind.parent is None:
                return INK, False
            kind = kind.parent
        else:
            return (f"#{style['color']}" if style["color"] else INK), bool(style["bold"])
