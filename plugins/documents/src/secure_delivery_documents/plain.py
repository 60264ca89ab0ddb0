"""Plain text: read, and laid out on pages of PDF with a typewriter font that every reader has.

Knows: encodings of text, page geometry. Must not know: options of tasks, programs.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

import pikepdf

from secure_delivery.plugin import TooLarge

from .structure import written

_PAGE = (595.28, 841.89)  # A4
_MARGIN = 56.69  # points: 2 cm
_SIZE = 10.0
_LEADING = 12.0
_WIDTH = 0.6  # of a letter, in sizes; all letters of Courier are as wide
_COLUMNS = int((_PAGE[0] - 2 * _MARGIN) / (_SIZE * _WIDTH))
_ROWS = int((_PAGE[1] - 2 * _MARGIN) / _LEADING)
_TAB = 8
_MOST_PAGES = 2_000


def decoded(data: bytes) -> str:
    """The text in some bytes: UTF-8, UTF-16 with its mark, else Windows-1252, with plain line feeds."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(_CONTROLS)


_CONTROLS = dict.fromkeys([*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0xFFFE, 0xFFFF])


def as_html(text: str, title: str) -> bytes:
    """A page that shows a text as it is."""
    name, shown = html.escape(title), html.escape(text.replace("\f", "\n"))
    head = f'<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>{name}</title>\n</head>\n'
    return f"{head}<body>\n<pre>\n{shown}</pre>\n</body>\n</html>\n".encode()


def as_pdf(text: str) -> bytes | None:
    """A4 pages of a text, or None when it has letters that the standard fonts of PDF do not have.

    Raises `TooLarge` for more than two thousand pages.
    """
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return None
    with pikepdf.Pdf.new() as document:
        font = document.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Font,
                Subtype=pikepdf.Name.Type1,
                BaseFont=pikepdf.Name.Courier,
                Encoding=pikepdf.Name.WinAnsiEncoding,
            )
        )
        for number, rows in enumerate(_pages(text), 1):
            if number > _MOST_PAGES:
                raise TooLarge(public=f"The text would take more than {_MOST_PAGES} pages.")
            document.add_blank_page(page_size=_PAGE)
            page = document.pages[-1].obj
            page["/Resources"] = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
            page["/Contents"] = document.make_stream(_content(rows))
        return written(document)


def _pages(text: str) -> Iterator[list[str]]:
    for part in text.split("\f"):
        rows = [piece for line in part.split("\n") for piece in _wrapped(line)]
        while len(rows) > 1 and not rows[-1]:
            rows.pop()
        for start in range(0, len(rows), _ROWS):
            yield rows[start : start + _ROWS]


def _wrapped(line: str) -> Iterator[str]:
    """A line in pieces that fit the page, broken at spaces where there are any."""
    line = line.expandtabs(_TAB).rstrip()
    while len(line) > _COLUMNS:
        at = line.rfind(" ", 1, _COLUMNS + 1)
        if at < _COLUMNS // 2:
            at = _COLUMNS
        yield line[:at].rstrip()
        line = line[at:].removeprefix(" ")
    yield line


def _content(rows: list[str]) -> bytes:
    top = _PAGE[1] - _MARGIN - _SIZE
    shown = b"".join(b"(" + _escaped(row) + b") Tj T*\n" for row in rows)
    return f"BT /F {_SIZE:g} Tf {_LEADING:g} TL {_MARGIN:g} {top:g} Td\n".encode() + shown + b"ET"


def _escaped(row: str) -> bytes:
    data = row.encode("cp1252")
    return data.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
