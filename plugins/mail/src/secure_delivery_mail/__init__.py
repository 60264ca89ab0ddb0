"""E-mail for secure-delivery: messages (EML, MSG) as pages and as a section.

Knows: the hooks. Must not know: Pillow, lxml, olefile, which only worker processes load.
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

from .extractor import MailFacts
from .previewer import MailPages

_NEEDED = {"PIL": "Pillow", "lxml": "lxml", "olefile": "olefile", "secure_delivery_images": "secure-delivery-images"}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why messages cannot be shown here: a library is missing. Nothing is imported."""
    check_installed(_NEEDED)


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """A message as pages."""
    return {"mail": MailPages()}


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """Who wrote what to whom."""
    return {"mail": MailFacts()}
