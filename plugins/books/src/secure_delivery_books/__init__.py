"""Books for secure-delivery: covers of EPUB and FictionBook, pages of comics, and what books say about themselves.

Knows: the hooks. Must not know: Pillow, lxml, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import (
    Extractor,
    Previewer,
    Settings,
    check_installed,
    hookimpl,
)

from .extractor import BookFacts
from .previewer import BookPages

_NEEDED = {"PIL": "Pillow", "lxml": "lxml", "secure_delivery_images": "secure-delivery-images"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why books cannot be shown here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """Covers and pages."""
    return {"book": BookPages()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """What a book says about itself."""
    return {"book": BookFacts()}
