"""Text for secure-delivery: previewers of plain text, tables, source code and Markdown, and the section `text`.

Knows: the hooks. Must not know: Pillow, Pygments, encodings, which only worker processes load.
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

from .extractors import extractors
from .previewers import previewers

_NEEDED = {
    "charset_normalizer": "charset-normalizer",
    "markdown_it": "markdown-it-py",
    "PIL": "Pillow",
    "pygments": "Pygments",
}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why text cannot be shown here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """Text, source code, Markdown; there are no settings."""
    return previewers()


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`text`; there are no settings."""
    return extractors()
