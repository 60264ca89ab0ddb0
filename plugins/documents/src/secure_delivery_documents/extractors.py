"""The extractor of this plugin, as the server sees it: `document`.

Knows: types of files, the schema of the section. Must not know: any library that reads a document, which only a worker loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Extractor, Needs, Work

from .kinds import MIMETYPES, OFFICE, OLE

_TEXT = {"type": "string", "maxLength": 2_000}
_COUNT = {"type": "integer", "minimum": 0}
_SIDE = {"type": "number", "exclusiveMinimum": 0}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "document",
    "description": "What a document says of itself. What it does not say is not there.",
    "type": ["object", "null"],
    "required": ["type", "encrypted"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": ["string", "null"], "description": "pdf, docx, odt, ..."},
        "encrypted": {"type": "boolean", "description": "Only a password opens it; then nothing else is said."},
        "protected": {"type": "boolean", "description": "PDF: it opens without a password, but restricts what may be done."},
        "title": _TEXT,
        "subject": _TEXT,
        "keywords": _TEXT,
        "author": {**_TEXT, "description": "Not under the metadata profile none."},
        "last_author": {**_TEXT, "description": "Under the profiles no_location and all only, as company, creator, producer."},
        "company": _TEXT,
        "creator": {**_TEXT, "description": "PDF: the program in which the document was written."},
        "producer": {**_TEXT, "description": "The program that wrote the file."},
        "created": {"type": "string", "description": "ISO 8601, with a zone where the file tells one."},
        "modified": {"type": "string", "description": "ISO 8601, with a zone where the file tells one."},
        "version": {"type": "string", "description": "PDF: the version of the format."},
        "pages": {**_COUNT, "description": "Pages or slides; of office documents as the file says."},
        "sheets": _COUNT,
        "words": {**_COUNT, "description": "PDF: counted, in files of up to 100 pages."},
        "characters": _COUNT,
        "page_size": {
            "type": "object",
            "description": "The first page, in points.",
            "required": ["width", "height"],
            "additionalProperties": False,
            "properties": {"width": _SIDE, "height": _SIDE},
        },
    },
}


class Document:
    """Title, author, subject, keywords, dates, programs, pages, words, page size, version, and whether it is encrypted."""

    section = "document"
    call = "exif"
    schema = SCHEMA
    mimetypes: ClassVar[tuple[str, ...]] = (*(MIMETYPES[kind] for kind in ("pdf", *OFFICE, "odg")), OLE)
    extensions: ClassVar[tuple[str, ...]] = (
        *("pdf", "ai", "doc", "dot", "docx", "docm", "dotx", "odt", "ott", "xls", "xlt", "xlsx", "xlsm", "xltx", "ods", "ots"),
        *("ppt", "pps", "pot", "pptx", "pptm", "potx", "ppsx", "odp", "otp", "odg", "otg"),
    )
    needs = Needs(libraries=("pypdfium2", "lxml", "olefile"))

    def warm(self) -> None:
        """Import what is needed later, before a worker is confined."""
        import_module(".describing", __package__)
        import_module(".pdf", __package__).warm()

    def extract(self, work: Work) -> Any:
        """Raises `Corrupt`, `TooLarge`, `ProcessingLimit`."""
        return import_module(".describing", __package__).document(work)


def extractors() -> dict[str, Extractor]:
    """By the name of its section."""
    return {"document": Document()}
