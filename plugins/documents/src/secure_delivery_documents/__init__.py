"""Documents for secure-delivery: `output` of PDF, office files, text and web pages, `pdfinfo`, `pdfconvert`, `pdfcreate`,
`doc_to_images`, `slide` and `preview` of transformation URLs.

Knows: the hooks. Must not know: PDFium, qpdf, XML readers, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from secure_delivery.plugin import ConfigurationError, Program, Settings, Transformation, hookimpl

from .office import NAME, PROGRAM
from .tasks import transformations

_NEEDED = ("pypdfium2", "pikepdf", "lxml", "nh3")


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why documents cannot work here: a library is missing. Its metadata is read, nothing of it is imported."""
    for name in _NEEDED:
        try:
            version(name)
        except PackageNotFoundError:
            raise ConfigurationError(f"{name} is not installed") from None


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """All document tasks; there are no settings."""
    return transformations()


@hookimpl
def register_programs(settings: Settings) -> Mapping[str, Program]:
    """The office. Where it is not installed, what needs it says so."""
    return {NAME: PROGRAM}
