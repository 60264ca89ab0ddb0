"""Photoshop files for secure-delivery: previews, and the tree of layers.

Knows: the hooks. Must not know: psd-tools and numpy, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from secure_delivery.plugin import ConfigurationError, Extractor, Previewer, Settings, hookimpl

from .layers import PsdLayers
from .previewer import PsdPreviewer

_NEEDED = {"psd_tools": "psd-tools", "numpy": "numpy", "PIL": "Pillow"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why Photoshop files cannot be read here: a library is missing. Nothing is imported."""
    for module, name in _NEEDED.items():
        if find_spec(module) is None:
            raise ConfigurationError(f"{name} is not installed")


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """`psd`; there are no settings."""
    return {"psd": PsdPreviewer()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`psd`: the tree of layers."""
    return {"psd": PsdLayers()}
