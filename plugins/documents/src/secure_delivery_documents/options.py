"""Options that only tasks for documents have, and sizes of paper.

Knows: one value of the URL grammar. Must not know: files; the server process imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from secure_delivery.plugin import Kind, Unsupported, Value

#: Points (1/72 inch), upright. ISO 216 and ANSI.
PAPER = {
    "a2": (1190.55, 1683.78),
    "a3": (841.89, 1190.55),
    "a4": (595.28, 841.89),
    "a5": (419.53, 595.28),
    "b4": (708.66, 1000.63),
    "b5": (498.90, 708.66),
    "letter": (612.0, 792.0),
    "legal": (612.0, 1008.0),
    "tabloid": (792.0, 1224.0),
}

SHORTEST, LONGEST = 3.0, 14_400.0  # points of a side of paper that readers show (ISO 32000-1, annex C)
_MOST_ITEMS = 200  # of a list of pages
_ITEM = re.compile(r"([0-9]{1,5})|([0-9]{1,5})?-([0-9]{1,5})?")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")
_ADDRESS = re.compile(r"[!-~]{1,2000}")
_DANGEROUS = frozenset("\"'<>\\`;, {}|^")


def _item(text: str) -> tuple[int, int]:
    """First and last page, 0 for "to the end"."""
    match = _ITEM.fullmatch(text)
    if match is None or text == "-":
        raise ValueError
    first = int(match[1] or match[2] or 1)
    last = first if match[1] else int(match[3] or 0)
    if not first or ((last or match[3]) and last < first):
        raise ValueError
    return first, last


def pages() -> Kind:
    """A list of pages: whole numbers, `"1-3"`, `"-2"` (to the second), `"4-"` (from the fourth)."""

    def read(value: Value) -> tuple[tuple[int, int], ...]:
        items: Iterable[Any] = (value,) if isinstance(value, str) else value
        chosen: list[tuple[int, int]] = []
        for item in items:
            if not isinstance(item, str) or len(chosen) == _MOST_ITEMS:
                raise ValueError
            chosen.append(_item(item))
        if not chosen:
            raise ValueError
        return tuple(chosen)

    return Kind(read, f'a list of at most {_MOST_ITEMS} pages, such as [1,"3-5","-2","7-"]')


def chosen(wanted: Sequence[Sequence[int]], count: int, *, most: int) -> list[int]:
    """Page numbers from 0, in the order asked for. Raises `Unsupported` for a page that is not there, or too many of them."""
    result: list[int] = []
    for first, last in wanted:
        if first > count or (first == last and last > count):
            raise Unsupported(f"page {first} of {count}", public=f"The file has no page {first}.")
        result += range(first - 1, min(last or count, count))
        if len(result) > most:
            raise Unsupported(public=f"At most {most} pages can be asked for at once.")
    return result


def style_sheet() -> Kind:
    """The address of a style sheet: https, an ordinary host name, nothing that could end the quotes around it."""

    def read(value: Value) -> str:
        if not isinstance(value, str) or not _ADDRESS.fullmatch(value) or _DANGEROUS & set(value):
            raise ValueError
        parts = urlsplit(value)
        if parts.scheme != "https" or parts.username is not None or not _HOST.fullmatch(parts.hostname or ""):
            raise ValueError
        if parts.port is not None and not 0 < parts.port < 65_536:
            raise ValueError
        return value

    return Kind(read, "the https address of a style sheet")


def origin(address: str) -> str:
    """Scheme, host and port of an address that `style_sheet` read: what a content security policy names."""
    parts = urlsplit(address)
    return f"https://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def sheet(size: tuple[float, float], paper: str | None, orientation: str | None) -> tuple[float, float]:
    """The size of paper for a page of some size: the format asked for, else its own, turned as asked, else as it was."""
    wide = size[0] > size[1]
    short, long = PAPER[paper] if paper else sorted(min(LONGEST, max(SHORTEST, side)) for side in size)
    if orientation is not None:
        wide = orientation == "landscape"
    return (long, short) if wide else (short, long)
