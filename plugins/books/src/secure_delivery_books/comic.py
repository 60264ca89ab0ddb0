"""CBZ: a ZIP file with the pages of a comic as pictures, and perhaps a `ComicInfo.xml` (the Anansi project's schema).

Knows: how pages are named and ordered. Must not know: how pictures are decoded.
"""

from __future__ import annotations

import posixpath
import re

from secure_delivery.plugin import MemoryFile, SecureDeliveryError, Unsupported

from . import markup
from .archive import Archive
from .model import MOST_ITEMS, MOST_TEXT, Book, line

_MOST_XML, _MOST_PICTURE = 1 << 20, 64 << 20  # bytes
_PICTURES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"}
_PICTURES |= {"avif": "image/avif", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff", "jxl": "image/jxl"}
_MAKERS = ("Writer", "Penciller", "Inker", "Colorist", "Letterer", "CoverArtist")


class Comic:
    """An opened CBZ. Raises `Unsupported` for a ZIP file without pictures."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._pages = sorted((name for name in archive.names if _is_page(name)), key=_order)
        self.total = len(self._pages)
        if not self._pages:
            raise Unsupported("no pages in this archive")

    def book(self) -> Book:
        book = Book(format="cbz", pages=self.total)
        name = next((name for name in self._archive.names if posixpath.basename(name).lower() == "comicinfo.xml"), None)
        if name is not None:
            try:
                self._take(name, book)
            except SecureDeliveryError:
                pass  # the pages are there without it
        return book

    def picture(self, number: int) -> MemoryFile | None:
        name = self._pages[number - 1]
        kind = _PICTURES[name.rpartition(".")[2].lower()]
        return MemoryFile(self._archive.read(name, _MOST_PICTURE), kind, posixpath.basename(name))

    def _take(self, name: str, book: Book) -> None:
        root = markup.tree(self._archive.read(name, _MOST_XML))
        said = {markup.local(child): line(markup.text(child), MOST_TEXT) for child in root}
        series = " ".join(word for word in (said.get("series"), said.get("number") and f"#{said['number']}") if word)
        book.title = line(": ".join(part for part in (series, said.get("title")) if part))
        makers = (one.strip() for maker in _MAKERS for one in said.get(maker.lower(), "").split(","))
        book.creators = list(dict.fromkeys(line(one) for one in makers if one))[:MOST_ITEMS]
        book.languages = [line(said["languageiso"], 50)] if said.get("languageiso") else []
        book.publisher = line(said.get("publisher"))
        book.description = said.get("summary", "")
        book.subjects = [line(one, 300) for one in said.get("genre", "").split(",") if one.strip()][:MOST_ITEMS]
        date = [said.get(part, "") for part in ("year", "month", "day")]
        if re.fullmatch(r"[0-9]{4}", date[0]):
            book.date = "-".join([date[0], *(f"{int(part):02}" for part in date[1:] if re.fullmatch(r"[0-9]{1,2}", part))])


def _is_page(name: str) -> bool:
    base = posixpath.basename(name)
    return "." in base and base.rpartition(".")[2].lower() in _PICTURES and not base.startswith(".") and "__MACOSX" not in name


def _order(name: str) -> list[tuple[int, str]]:
    """Pages are in the order of their names, with numbers in them by their value, which is first their length."""
    parts = re.split(r"([0-9]+)", name[:2_000].lower())
    return [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else (0, part) for index, part in enumerate(parts)]
