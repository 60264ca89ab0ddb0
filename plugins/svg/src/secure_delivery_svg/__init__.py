"""SVG for secure-delivery: drawn as pictures, or cleaned of what acts and loads.

Knows: the hooks. Must not know: XML, resvg, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import (
    Previewer,
    Settings,
    Transformation,
    check_installed,
    hookimpl,
)

from .previewers import previewers
from .tasks import transformations

_NEEDED = {"resvg_py": "resvg-py", "tinycss2": "tinycss2", "PIL": "Pillow"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why SVG cannot work here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """`output` for SVG files; there are no settings."""
    return transformations()


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """`svg`: drawings as pictures."""
    return previewers()
