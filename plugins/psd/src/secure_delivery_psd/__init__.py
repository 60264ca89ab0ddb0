"""Photoshop files for secure-delivery: previews, and the tree of layers.

Knows: the hooks. Must not know: psd-tools and numpy, which only worker processes load.
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

from .layers import PsdLayers
from .previewer import PsdPreviewer

_NEEDED = {"psd_tools": "psd-tools", "numpy": "numpy", "PIL": "Pillow"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why Photoshop files cannot be read here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """`psd`; there are no settings."""
    return {"psd": PsdPreviewer()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`psd`: the tree of layers."""
    return {"psd": PsdLayers()}
