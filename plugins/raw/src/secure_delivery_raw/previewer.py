"""Previews of camera raw.

Knows: the contract of previewers. Must not know: rawpy, which a worker loads in `warm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from secure_delivery.plugin import Page, Work

from .kinds import EXTENSIONS, MIMETYPES, NEEDS, is_raw


class RawPreviewer:
    """One page: the picture that the camera put inside where it is large enough, else the sensor's pixels developed. It goes
    before the previewer of pictures, which sees a TIFF file in most of these and shows its smallest picture."""

    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    priority = 60
    family = "raw"
    needs = NEEDS

    def warm(self) -> None:
        """Load LibRaw, numpy and Pillow."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".negative", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """By content; among TIFF files by name as well."""
        return is_raw(head, filename)

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported`, `Corrupt`, `TooLarge`; these, and `ProcessingLimit`, also when the picture is made."""
        from secure_delivery_images.headers import Size
        from secure_delivery_images.picture import Picture
        from secure_delivery_images.readers import Sketch

        from .negative import Negative

        if not work.pages(1):
            return
        negative = Negative.of(work.media, work.limits)
        sketch = Sketch(filename=work.media.filename, size=Size(*negative.size), draw=negative.drawn)
        yield Page(number=1, media=Picture.sketched(sketch, limits=work.limits, size=work.media.size or 0))
