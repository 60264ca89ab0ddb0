"""Previews of Photoshop files.

Knows: the contract of previewers. Must not know: psd-tools, which a worker loads in `warm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from secure_delivery.plugin import Page, Work

from .kinds import EXTENSIONS, MIMETYPES, NEEDS, is_psd


class PsdPreviewer:
    """PSD and PSB: the picture of the whole that the file holds; without one, its visible layers put together."""

    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    priority = 50
    family = "picture"
    needs = NEEDS

    def warm(self) -> None:
        """Load psd-tools, numpy and Pillow."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".document", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """By its first bytes."""
        return is_psd(head)

    def preview(self, work: Work) -> Iterator[Page]:
        """One page. Raises `Unsupported`, `TooLarge`, `Corrupt`, `MissingDependency` (of vector shapes without a picture of the
        whole), `ProcessingLimit`."""
        from secure_delivery_images.picture import Picture

        from .document import flattened, opened, whole

        if not work.pages(1):
            return
        image = flattened(work.media, work.limits)
        if image is None:
            with opened(work.media, work.limits) as document:
                image = whole(document)
        yield Page(number=1, media=Picture.drawn(image, filename=work.media.filename, limits=work.limits))
