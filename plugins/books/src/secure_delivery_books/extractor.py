"""`book`: what a book says about itself, as a section.

Knows: the reader, the shape of the section. Must not know: formats of books, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import Needs, Work

from . import reading
from .model import MOST_ITEMS
from .previewer import INSTALL

_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_TEXTS = {"type": "array", "maxItems": MOST_ITEMS, "items": {"type": "string"}}
_PROPERTIES: dict[str, Any] = {
    "format": {"enum": ["epub", "cbz", "fb2"]},
    "title": _TEXT,
    "creators": _TEXTS,
    "language": _TEXT,
    "publisher": _TEXT,
    "date": {**_TEXT, "description": "as the book writes it, mostly ISO 8601"},
    "identifiers": {
        "type": "array",
        "maxItems": MOST_ITEMS,
        "items": {
            "type": "object",
            "required": ["scheme", "value"],
            "additionalProperties": False,
            "properties": {"scheme": _TEXT, "value": {"type": "string"}},
        },
    },
    "isbn": {**_TEXT, "description": "10 or 13 digits, the check digit being right"},
    "description": _TEXT,
    "subjects": _TEXTS,
    "chapters": {**_COUNT, "description": "on the first level of the table of contents"},
    "pages": {**_COUNT, "description": "of a comic"},
}


class BookFacts:
    """Title, creators, language, publisher, identifiers, date and chapters."""

    section = "book"
    call = "exif"
    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    needs = Needs(libraries=("lxml",), install=INSTALL)
    schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": list(_PROPERTIES),
        "additionalProperties": False,
        "properties": _PROPERTIES,
    }

    def warm(self) -> None:
        from . import archive, comic, epub, fiction, markup  # noqa: F401 - loaded now, used later

        markup.tree(b"<a/>")

    def probe(self, head: bytes, filename: str) -> bool:
        """As of the previewer."""
        return reading.looks_like(head, filename)

    def extract(self, work: Work) -> dict[str, Any]:
        """Raises `Unsupported` for what is no book, `Encrypted`, `Corrupt`, `TooLarge`."""
        with reading.opened(work.media) as source:
            book = source.book()
        return {
            "format": book.format,
            "title": book.title or None,
            "creators": book.creators,
            "language": next(iter(book.languages), None),
            "publisher": book.publisher or None,
            "date": book.date or None,
            "identifiers": [{"scheme": scheme or None, "value": value} for scheme, value in book.identifiers],
            "isbn": book.isbn,
            "description": book.description or None,
            "subjects": book.subjects,
            "chapters": book.chapters,
            "pages": book.pages,
        }
