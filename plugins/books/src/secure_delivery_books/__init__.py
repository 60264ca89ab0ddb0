"""Books for secure-delivery: covers of EPUB and FictionBook, pages of comics, and what books say about themselves.

Knows: the hooks. Must not know: Pillow, lxml, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from secure_delivery.plugin import ConfigurationError, Extractor, Previewer, Settings, hookimpl

from .extractor import BookFacts
from .previewer import BookPages

_NEEDED = {"PIL": "Pillow", "lxml": "lxml", "secure_delivery_images": "secure-delivery-images"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why books cannot be shown here: a library is missing. Nothing is imported."""
    for module, name in _NEEDED.items():
        if find_spec(module) is None:
            raise ConfigurationError(f"{name} is not installed")


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """Covers and pages."""
    return {"book": BookPages()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """What a book says about itself."""
    return {"book": BookFacts()}
