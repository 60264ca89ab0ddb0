"""Documents for secure-delivery: `output` of PDF, office files, text and web pages, `pdfinfo`, `pdfconvert`, `pdfcreate`,
`doc_to_images`, `slide` and `preview` of transformation URLs; previewers of PDF, drawings and office files, and what these say
of themselves.

Knows: the hooks. Must not know: PDFium, qpdf, XML readers, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import Extractor, Previewer, Program, Settings, Transformation, check_installed, hookimpl

from .extractors import extractors
from .office import NAME, PAGES, PAGES_PROGRAM, PROGRAM
from .previewers import previewers
from .tasks import transformations

_NEEDED = {name: name for name in ("pypdfium2", "pikepdf", "lxml", "nh3", "olefile")}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why documents cannot work here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """All document tasks; there are no settings."""
    return transformations()


@hookimpl
def register_programs(settings: Settings) -> Mapping[str, Program]:
    """The office, and the office for some pages. Where it is not installed, what needs it says so."""
    return {NAME: PROGRAM, PAGES: PAGES_PROGRAM}


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """PDF, Illustrator, office documents by LibreOffice and by the thumbnail they keep; there are no settings."""
    return previewers()


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`document`; there are no settings."""
    return extractors()
