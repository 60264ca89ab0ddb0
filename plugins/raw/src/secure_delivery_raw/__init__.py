"""Camera raw for secure-delivery: previews, and what the camera noted down.

Knows: the hooks. Must not know: rawpy and numpy, which only worker processes load.
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

from .notes import RawNotes
from .previewer import RawPreviewer

_NEEDED = {"rawpy": "rawpy", "numpy": "numpy", "PIL": "Pillow"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why camera raw cannot be read here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """`raw`; there are no settings."""
    return {"raw": RawPreviewer()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`raw`: what LibRaw says of a file."""
    return {"raw": RawNotes()}
