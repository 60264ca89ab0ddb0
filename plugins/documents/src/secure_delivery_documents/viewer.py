"""Documents as HTML pages of their own: a viewer and a slide show.

Knows: the two pages and their scripts, which lie in `assets`; content security policies. Must not know: where pictures and
text come from.

A page needs nothing but itself: pictures are part of it, its one script and one style are named by their digests in the
policy that goes with it (`csp` of the result), and there is no attribute that could act. Text of the document travels as
JSON in a block that no browser runs.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from secure_delivery.plugin import MemoryFile

from .kinds import MIMETYPES, renamed
from .options import origin

#: Background, letters, and whether controls are light, by the names that slide shows have had for long.
THEMES = {
    "black": ("#191919", "#ffffff"),
    "white": ("#ffffff", "#222222"),
    "league": ("#2b2b2b", "#eeeeee"),
    "beige": ("#f7f3de", "#333333"),
    "sky": ("#f7fbfc", "#333333"),
    "night": ("#111111", "#eeeeee"),
    "serif": ("#f0f1eb", "#000000"),
    "simple": ("#ffffff", "#000000"),
    "solarized": ("#fdf6e3", "#586e75"),
    "moon": ("#002b36", "#93a1a1"),
    "blood": ("#222222", "#eeeeee"),
    "dracula": ("#282a36", "#f8f8f2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One page: its picture as a file, type and size of that, and its lines with places in ten-thousandths."""

    data: bytes = field(repr=False)
    mimetype: str
    size: tuple[int, int]
    lines: Sequence[Sequence[Any]] = ()


@cache
def asset(name: str) -> str:
    """A file that lies beside this code."""
    return (files(__package__) / "assets" / name).read_text("utf-8")


def warm() -> None:
    """Read all files once, before a worker may open none."""
    for name in ("viewer.html", "viewer.css", "viewer.js", "slides.html", "slides.css", "slides.js"):
        asset(name)


def preview(sheets: Sequence[Sheet], *, count: int, filename: str, css: str | None) -> MemoryFile:
    """The viewer of a document with `count` pages, of which some are given."""
    link = f'<link rel="stylesheet" href="{html.escape(css)}">' if css else ""
    note = ""
    if count > len(sheets):
        note = f'<p class="note" role="status">This preview shows the first {len(sheets)} of {count} pages.</p>'
    content = {
        "title": html.escape(filename),
        "link": link,
        "note": note,
        "count": str(len(sheets)),
        "pages": "\n".join(_page(number, len(sheets), sheet) for number, sheet in enumerate(sheets, 1)),
        "text": _block([[list(line) for line in sheet.lines] for sheet in sheets]),
    }
    return _made("viewer", content, filename, css)


def slides(sheets: Sequence[Sheet], *, count: int, filename: str, theme: str) -> MemoryFile:
    """The slide show of a document."""
    background, letters = THEMES[theme]
    note = f'<p class="note" role="status">The first {len(sheets)} of {count} slides.</p>' if count > len(sheets) else ""
    content = {
        "title": html.escape(filename),
        "note": note,
        "count": str(len(sheets)),
        "slides": "\n".join(_slide(number, len(sheets), sheet) for number, sheet in enumerate(sheets, 1)),
    }
    return _made("slides", content, filename, None, style=f":root{{--paper:{background};--ink:{letters}}}\n")


def _page(number: int, count: int, sheet: Sheet) -> str:
    width, height = sheet.size
    return (
        f'<section class="page" id="page-{number}" aria-label="Page {number} of {count}" tabindex="-1">'
        f'<div class="paper"><img src="{_address(sheet)}" width="{width}" height="{height}" alt="Page {number}">'
        f'<div class="text"></div></div></section>'
    )


def _slide(number: int, count: int, sheet: Sheet) -> str:
    width, height = sheet.size
    words = " ".join(str(line[0]) for line in sheet.lines)[:2_000]
    described = html.escape(words) or f"Slide {number}"
    hidden = "" if number == 1 else " hidden"
    named = f'aria-roledescription="slide" aria-label="Slide {number} of {count}"'
    return (
        f'<section class="slide" id="slide-{number}" {named}{hidden}>'
        f'<img src="{_address(sheet)}" width="{width}" height="{height}" alt="{described}" draggable="false"></section>'
    )


def _address(sheet: Sheet) -> str:
    return f"data:{sheet.mimetype};base64,{base64.b64encode(sheet.data).decode()}"


def _block(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _made(name: str, content: Mapping[str, str], filename: str, css: str | None, *, style: str = "") -> MemoryFile:
    style, script = style + asset(f"{name}.css"), asset(f"{name}.js")
    parts = dict(content) | {"style": style, "script": script}
    text = "".join(piece if index % 2 == 0 else parts[piece] for index, piece in enumerate(asset(f"{name}.html").split("%%")))
    styles = _digest(style) + (f" {origin(css)}" if css else "")
    policy = (
        f"default-src 'none'; img-src data:; style-src {styles}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return MemoryFile(text.encode(), MIMETYPES["html"], renamed(filename, "html"), {"csp": policy})


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
