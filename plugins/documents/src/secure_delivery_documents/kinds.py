"""What kinds of documents there are, and which becomes which.

Knows: types of files, the matrix of the Filestack documentation. Must not know: how anything is read or written; the server
process imports this module.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from secure_delivery.plugin import Media, Unsupported

_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

#: Kind to type of its files. The kind is also the extension, and the word for it in URLs.
MIMETYPES: Final = MappingProxyType(
    {
        "pdf": "application/pdf",
        "doc": "application/msword",
        "docx": _OOXML + "wordprocessingml.document",
        "odt": _ODF + "text",
        "xls": "application/vnd.ms-excel",
        "xlsx": _OOXML + "spreadsheetml.sheet",
        "ods": _ODF + "spreadsheet",
        "ppt": "application/vnd.ms-powerpoint",
        "pptx": _OOXML + "presentationml.presentation",
        "odp": _ODF + "presentation",
        "odg": _ODF + "graphics",
        "rtf": "application/rtf",
        "csv": "text/csv",
        "html": "text/html",
        "txt": "text/plain",
        "svg": "image/svg+xml",
        "zip": "application/zip",
    }
)

#: Compound files and plain ZIP files: what they are stands further inside than the first bytes.
OLE = "application/x-ole-storage"
ZIP = "application/zip"
_TEXTS = (
    *("text/plain", "text/csv", "text/css", "text/javascript", "text/markdown", "application/json", "application/xml"),
    *("text/tab-separated-values", "text/calendar", "text/vcard", "text/vtt", "message/rfc822"),
)

#: Types of pictures that can become documents.
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff", "image/bmp")

WORDS = ("doc", "docx", "odt")
SHEETS = ("xls", "xlsx", "ods")
SHOWS = ("ppt", "pptx", "odp")
OFFICE = (*WORDS, *SHEETS, *SHOWS)
OPEN_DOCUMENTS = ("odt", "ods", "odp", "odg")
ZIPPED = ("docx", "xlsx", "pptx", *OPEN_DOCUMENTS)

#: Formats that `output` knows and that are no pictures.
FORMATS = ("doc", "docx", "html", "odp", "ods", "odt", "pdf", "ppt", "pptx", "svg", "txt", "xls", "xlsx")

#: Formats that the pictures of pages are written in, by the plugin for pictures.
PAGES = ("jpg", "pjpg", "png", "webp", "gif", "bmp", "tiff", "avif")

_TARGETS: Final = MappingProxyType(
    {
        "pdf": ("pdf", "odp", "ods", "odt", "svg", "txt", *PAGES),
        **dict.fromkeys(WORDS, (*WORDS, "html", "pdf", "svg", "txt", *PAGES)),
        **dict.fromkeys(SHEETS, (*SHEETS, "pdf", "svg", *PAGES)),
        **dict.fromkeys(SHOWS, (*SHOWS, "pdf", "svg", *PAGES)),
        "html": ("html", "odt", "pdf", "svg", "txt", *PAGES),
        "txt": ("txt", "html", "odt", "pdf", "svg", *PAGES),
        "picture": ("odp", "ods", "odt", "pdf", "svg"),
    }
)

#: All types of files that are documents.
DOCUMENTS = (*(MIMETYPES[kind] for kind in ("pdf", *OFFICE, "html")), *_TEXTS, OLE, ZIP)

_BY_TYPE = {mimetype: kind for kind, mimetype in MIMETYPES.items() if kind in ("pdf", *OFFICE, "html")}
_BY_TYPE |= dict.fromkeys(_TEXTS, "txt") | {OLE: "ole", ZIP: "zip"}
_LONGEST = 5  # characters of what is taken for an extension


def kind_of(media: Media) -> str:
    """The kind of a file by its type: a key of `MIMETYPES`, `picture`, `ole` or `zip`. Raises `Unsupported`."""
    if media.mimetype.startswith("image/"):
        return "picture"
    if media.mimetype not in _BY_TYPE:
        raise Unsupported(media.mimetype, public="Unsupported input format.")
    return _BY_TYPE[media.mimetype]


def check_pair(kind: str, target: str, *, name: str = "") -> None:
    """Raise `Unsupported` when a kind of file does not become the other."""
    if target not in _TARGETS[kind]:
        raise Unsupported(public=f"Unsupported conversion: {name or kind} to {target}.")


def renamed(filename: str, extension: str) -> str:
    """The name with another extension."""
    stem, dot, old = filename.rpartition(".")
    if not dot or not stem.strip("."):
        return f"{filename.strip('.') or 'document'}.{extension}"
    known = 0 < len(old) <= _LONGEST and old.isascii() and old.isalnum()
    return f"{stem if known else filename}.{extension}"
