"""Fonts for secure-delivery: specimen sheets, and what fonts say about themselves.

Knows: the hooks. Must not know: Pillow, fontTools, which only worker processes load.
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

from .extractor import FontFacts
from .previewer import FontSheets

_NEEDED = {"PIL": "Pillow", "fontTools": "fonttools", "brotli": "brotli", "secure_delivery_images": "secure-delivery-images"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why fonts cannot be shown here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """Specimen sheets."""
    return {"font": FontSheets()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """What a font says about itself."""
    return {"font": FontFacts()}
