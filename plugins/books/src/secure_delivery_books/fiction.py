"""FictionBook 2: one XML file with everything in it, pictures in Base64.

Knows: its description, sections and binaries. Must not know: pictures, sections of metadata.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from secure_delivery.plugin import MemoryFile, Unsupported

from . import markup
from .model import MOST_ITEMS, MOST_TEXT, Book, line

MOST_BYTES = 64 << 20
_MOST_PICTURE = 32 << 20  # characters of Base64


class Fiction:
    """An opened FB2. Raises `Unsupported` for other XML, `Corrupt`."""

    total = 1

    def __init__(self, data: bytes) -> None:
        self._root = markup.tree(data)
        if markup.local(self._root) != "fictionbook":
            raise Unsupported("no FictionBook")
        description = next(iter(markup.named(self._root, "description")), None)
        self._parts = {} if description is None else {markup.local(part): part for part in reversed(description)}

    def book(self) -> Book:
        about, printed, document = (self._parts.get(name) for name in ("title-info", "publish-info", "document-info"))
        book = Book(format="fb2")
        book.title = _said(about, "book-title")
        book.creators = [name for author in _all(about, "author") if (name := _person(author))][:MOST_ITEMS]
        book.languages = [language] if (language := _said(about, "lang", 50)) else []
        book.subjects = [line(markup.text(genre), 300) for genre in _all(about, "genre")][:MOST_ITEMS]
        book.description = _said(about, "annotation", MOST_TEXT)
        book.publisher = _said(printed, "publisher")
        written = next((markup.attribute(date, "value") for date in _all(about, "date")), "")
        book.date = line(written, 50) or _said(about, "date", 50) or _said(printed, "year", 50)
        for scheme, value in (("isbn", _said(printed, "isbn", 300)), ("id", _said(document, "id", 300))):
            if value:
                book.identifiers.append((scheme, value))
        bodies = markup.children(self._root, "body")
        book.chapters = sum(len(markup.children(body, "section")) for body in bodies[:1]) or None
        return book

    def picture(self, number: int) -> MemoryFile | None:
        """The first picture of the cover page."""
        for page in _all(self._parts.get("title-info"), "coverpage"):
            for image in markup.named(page, "image"):
                found = self._binary(markup.attribute(image, "href").removeprefix("#"))
                if found is not None:
                    return found
        return None

    def _binary(self, identifier: str) -> MemoryFile | None:
        for binary in markup.children(self._root, "binary"):
            if identifier and markup.attribute(binary, "id") == identifier:
                said = markup.attribute(binary, "content-type").lower()
                try:
                    data = base64.b64decode((binary.text or "")[:_MOST_PICTURE])
                except (binascii.Error, ValueError):
                    return None
                return MemoryFile(data, said if said.startswith("image/") else "image/jpeg", line(identifier, 100) or "cover")
        return None


def _all(part: Any, name: str) -> list[Any]:
    return [] if part is None else markup.children(part, name)


def _said(part: Any, name: str, most: int = 2_000) -> str:
    return next((words for element in _all(part, name) if (words := line(markup.text(element), most))), "")


def _person(author: Any) -> str:
    names = (_said(author, name, 200) for name in ("first-name", "middle-name", "last-name"))
    return line(" ".join(name for name in names if name)) or _said(author, "nickname", 200)
