"""The previewers of this plugin, as the server sees them: which files each is for, what it needs.

Knows: types, extensions, the names of programs. Must not know: any library that reads a document; only a worker, in `warm` or
`preview`, loads more.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from secure_delivery.plugin import Needs, Page, Previewer, Work

from .kinds import MIMETYPES, OFFICE, OLE
from .office import NAME, PAGES, PROGRAM

_PDF = MIMETYPES["pdf"]
_POSTSCRIPT = "application/postscript"
_TABLES = ("text/csv", "text/tab-separated-values")
_OFFICE_TYPES = (*(MIMETYPES[kind] for kind in (*OFFICE, "odg", "rtf")), "text/rtf", *_TABLES, OLE)
_OFFICE_EXTENSIONS = (
    *("doc", "dot", "docx", "docm", "dotx", "dotm", "odt", "ott", "rtf"),
    *("xls", "xlt", "xlsx", "xlsm", "xltx", "xltm", "ods", "ots", "csv", "tsv", "tab"),
    *("ppt", "pps", "pot", "pptx", "pptm", "potx", "potm", "ppsx", "ppsm", "odp", "otp", "odg", "otg"),
)
_ZIPPED_TYPES = tuple(MIMETYPES[kind] for kind in ("docx", "xlsx", "pptx", "odt", "ods", "odp", "odg"))
_ZIPPED_EXTENSIONS = tuple(
    name
    for name in _OFFICE_EXTENSIONS
    if name.endswith(("x", "m")) or name[:2] in ("od", "ot")  # the others are no ZIP files
)


class DocumentPreviewer:
    """What the previewers here share."""

    mimetypes: ClassVar[tuple[str, ...]]
    extensions: ClassVar[tuple[str, ...]]
    priority: ClassVar[int] = 50
    family: ClassVar[str] = "document"
    needs: ClassVar[Needs] = Needs(libraries=("pypdfium2",))
    work: ClassVar[str]

    def warm(self) -> None:
        """Import what is needed later, and have PDFium look through the fonts, before a worker is confined."""
        import_module("secure_delivery_images.picture").warm()
        for module in (".pages", ".package", ".ole", ".properties", ".page"):
            import_module(module, __package__)
        import_module(".pdf", __package__).warm()

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported`, `Encrypted`, `Corrupt`, `TooLarge`, `ProcessingLimit`."""
        pages: Iterator[Page] = getattr(import_module(".pages", __package__), self.work)(work)
        return pages


class Pdf(DocumentPreviewer):
    """PDF: the wanted pages, each drawn at the size that is wanted of it."""

    mimetypes = (_PDF,)
    extensions = ("pdf",)
    work = "of_pdf"


class Illustrator(DocumentPreviewer):
    """Adobe Illustrator: the PDF that most files hold, else the thumbnail kept inside."""

    mimetypes = (_PDF, _POSTSCRIPT, "application/illustrator")
    extensions = ("ai", "ait")
    priority = 55  # before `pdf`: a file without a PDF inside looks like one that says so in a sentence
    family = "drawing"
    work = "of_illustrator"

    def probe(self, head: bytes, filename: str) -> bool:
        """By the name: most of these files begin like any PDF. Those of before PDF name their program."""
        named = filename.lower().endswith((".ai", ".ait"))
        return named or (head.lstrip().startswith(b"%!PS") and b"Adobe Illustrator" in head)


class Office(DocumentPreviewer):
    """Office documents, drawn by way of PDF, which LibreOffice makes. Of a long text or presentation only the wanted pages."""

    mimetypes = _OFFICE_TYPES
    extensions = _OFFICE_EXTENSIONS
    needs = Needs(programs=(NAME, PAGES), libraries=("pypdfium2",), install=PROGRAM.install)
    work = "of_office"


class OfficeThumbnail(DocumentPreviewer):
    """The picture of the first page that office programs keep in their files: a quick look without LibreOffice."""

    mimetypes = _ZIPPED_TYPES
    extensions = (*_ZIPPED_EXTENSIONS, "pages", "numbers", "key")
    priority = 30
    needs = Needs()
    work = "of_thumbnail"


def previewers() -> dict[str, Previewer]:
    """Each by its name."""
    return {"pdf": Pdf(), "illustrator": Illustrator(), "office": Office(), "office_thumbnail": OfficeThumbnail()}
