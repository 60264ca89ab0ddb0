"""`font`: a specimen sheet for each font of a file.

Knows: tables, samples, the sheet. Must not know: formats of fonts.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_delivery.plugin import Needs, Page, Work

MIMETYPES = (
    "font/ttf",
    "font/otf",
    "font/woff",
    "font/woff2",
    "font/collection",
    "font/sfnt",
    "application/font-woff",
    "application/vnd.ms-opentype",
)
EXTENSIONS = ("ttf", "otf", "ttc", "otc", "woff", "woff2")
INSTALL = "pip install secure-delivery-fonts"


class FontSheets:
    """Name, letters and a sentence at several sizes, in the font's own script where it has no Latin. A page for each font of a
    collection, one for others."""

    mimetypes = MIMETYPES
    extensions = EXTENSIONS
    priority = 50
    family = "font"
    needs = Needs(libraries=("fonttools", "brotli", "Pillow"), install=INSTALL)

    def warm(self) -> None:
        from fontTools import unicodedata  # type: ignore[import-untyped]

        from secure_delivery_images import lettering, picture

        from . import sfnt, specimen  # noqa: F401 - loaded now, used later

        picture.warm()
        lettering.warm()
        sfnt.warm()
        unicodedata.script("a")

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Corrupt`, `TooLarge`, `Unsupported`."""
        from secure_delivery_images import Picture

        from . import facts, samples, sfnt, specimen

        fonts = sfnt.read(work.media)
        total = len(fonts.faces)
        for number in work.pages(total):
            told = facts.said(fonts.faces[number - 1])
            image = specimen.draw(fonts.data, number - 1, told, samples.sample(told.ranges), work.size)
            yield Page(
                number=number,
                total=total,
                media=Picture.drawn(image, filename=work.media.filename or "font", limits=work.limits),
            )
