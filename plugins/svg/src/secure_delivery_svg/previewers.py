"""Previews of drawings.

Knows: which files are for it, the contract of previewers. Must not know: XML and resvg, which a worker loads in `warm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from secure_delivery.plugin import Needs, Page, Previewer, Work

from .tasks import TYPE


class SvgPreviewer:
    """SVG files: cleaned first, so nothing runs and nothing is loaded; then drawn, for each wanted size at that size."""

    mimetypes: ClassVar[tuple[str, ...]] = (TYPE,)
    extensions: ClassVar[tuple[str, ...]] = ("svg",)
    priority = 50
    family = "drawing"
    needs = Needs(libraries=("resvg-py", "tinycss2"), install="pip install secure-delivery-svg")

    def warm(self) -> None:
        """Load the XML reader, resvg and the fonts of the machine."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".reader", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """Whether the first element is `svg`."""
        from .clean import is_svg

        return is_svg(head)

    def preview(self, work: Work) -> Iterator[Page]:
        """One page. Raises `Unsupported`, `Corrupt`, `TooLarge`, and when it is drawn `ProcessingLimit`."""
        from secure_delivery_images.picture import Picture

        from .reader import SvgReader

        if work.pages(1):
            sketch = SvgReader().read(work.media, work.limits)
            yield Page(number=1, media=Picture.sketched(sketch, limits=work.limits, size=work.media.size or 0))


def previewers() -> dict[str, Previewer]:
    """By name."""
    return {"svg": SvgPreviewer()}
