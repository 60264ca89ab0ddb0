"""Archives for secure-delivery: what is in them as a picture and as a section, and pictures that programs keep in their files.

Knows: the hooks. Must not know: Pillow, rarfile, which only worker processes load.
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

from .extractor import ArchiveFacts
from .previewers import Archive, KeptPicture

_NEEDED = {"PIL": "Pillow", "rarfile": "rarfile", "secure_delivery_images": "secure-delivery-images"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why archives cannot be shown here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """The tree of an archive, and kept pictures."""
    return {"archive": Archive(), "kept_picture": KeptPicture()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """The entries of an archive."""
    return {"archive": ArchiveFacts()}
