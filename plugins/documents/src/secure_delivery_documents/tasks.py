"""The tasks of transformation URLs that this plugin offers: what each takes, and for which types of files.

Knows: option names, ranges and defaults of the Filestack documentation (conversion and documents).
Must not know: any library that reads a document. The server process imports this module to bind URLs; only a worker, in
`warm` or `apply`, loads more.

`VERSION` is part of the key of every kept result. Raise it when the same options give another result; not for a repaired
crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import (
    Media,
    Param,
    Transformation,
    Workshop,
    boolean,
    choice,
    either,
    integer,
    text,
)
from secure_delivery_images.tasks import Output as PictureOutput

from .kinds import DOCUMENTS, FORMATS, PAGES, PICTURES
from .options import PAPER, pages, style_sheet

VERSION = "1"

_FAMILY = ("image/*",)
_ENGINE = Param("engine", text(40))  # names an engine of the original service; there is one here
_THEMES = (
    "black",
    "white",
    "league",
    "beige",
    "sky",
    "night",
    "serif",
    "simple",
    "solarized",
    "moon",
    "blood",
    "dracula",
)


class DocumentTask:
    """A transformation of documents: what all tasks here share."""

    params: ClassVar[tuple[Param, ...]] = ()
    accepts: ClassVar[tuple[str, ...]] = (*DOCUMENTS, *_FAMILY)
    work: ClassVar[str] = ""
    version = VERSION

    def warm(self) -> None:
        """Import every library and read every file that is needed later, before a worker is confined."""
        import_module("secure_delivery_images.picture").warm()
        for module in (".making", ".package", ".ole"):
            import_module(module, __package__)
        for module in (".pdf", ".viewer"):
            import_module(module, __package__).warm()

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for pairs that do not go together and pages that are not there; `Encrypted`, `Corrupt`,
        `TooLarge`, `ProcessingLimit`."""
        result: Media = getattr(import_module(".making", __package__), self.work)(media, options, shop)
        return result


class Output(DocumentTask):
    """`output`: a document as another format, or a picture as a document.

    Pictures, of pages too, are written by the pictures' plugin; a picture that becomes another picture is left to it whole.
    """

    params = PictureOutput.params
    accepts = (*DOCUMENTS, *PICTURES)
    version = f"{VERSION}.{PictureOutput.version}"

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        """As pictures have it; a document wants the picture itself."""
        return None if options["format"] in FORMATS else PictureOutput().scale(options, size)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises as the other tasks do, and what `output` of pictures raises."""
        if media.mimetype not in PICTURES:
            work = "output"
        elif options["format"] in FORMATS or options["docinfo"]:
            work = "picture_output"
        else:
            return PictureOutput().apply(media, options, shop)
        result: Media = getattr(import_module(".making", __package__), work)(media, options, shop)
        return result


class PdfInfo(DocumentTask):
    """`pdfinfo`: pages, their sizes, what the file says of itself, and with `colorinfo` which pages have colour, as JSON."""

    params = (Param("colorinfo", boolean(), (), False),)
    accepts = DOCUMENTS
    work = "information"


class PdfConvert(DocumentTask):
    """`pdfconvert`: pages chosen, in that order, and put on other paper. `metadata:true` keeps title, author and the like."""

    params = (
        Param("pageorientation", choice("portrait", "landscape"), ("r",)),
        Param("pageformat", choice(*PAPER), ("a",)),
        Param("pages", pages(), ("p",)),
        Param("metadata", boolean()),
    )
    accepts = DOCUMENTS
    work = "reshaped"

    def check(self, options: Mapping[str, Any]) -> None:
        if all(value is None for value in options.values()):
            raise ValueError("one of pageorientation, pageformat, pages and metadata is needed.")

    def demands(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exif",) if options["metadata"] else ()


class PdfCreate(DocumentTask):
    """`pdfcreate`: one PDF of a list of documents and pictures, in order."""

    params = (_ENGINE,)
    most_sources = 100
    work = "gathered"


class DocToImages(DocumentTask):
    """`doc_to_images`: a ZIP file with a picture of every page."""

    params = (
        Param("pages", pages(), ("p",)),
        _ENGINE,
        Param("format", choice(*PAGES), ("f",), "png"),
        Param("quality", either(choice("input"), integer(1, 100)), ("q",)),
        Param("density", integer(1, 500), ("d",)),
        Param("hidden_slides", boolean(), (), False),
    )
    accepts = DOCUMENTS
    work = "archive"


class Slide(DocumentTask):
    """`slide`: an HTML page that shows the pages of a document as slides."""

    params = (Param("theme", choice(*_THEMES), (), "black"), _ENGINE)
    work = "slide_show"


class Preview(DocumentTask):
    """`preview`: an HTML page to read a document in: zoom, search, print, keyboard. `css` is a style sheet for it."""

    params = (Param("css", style_sheet()),)
    work = "preview"


def transformations() -> dict[str, Transformation]:
    """Every task by its name in URLs."""
    return {
        "output": Output(),
        "pdfinfo": PdfInfo(),
        "pdfconvert": PdfConvert(),
        "pdfcreate": PdfCreate(),
        "doc_to_images": DocToImages(),
        "slide": Slide(),
        "preview": Preview(),
    }
