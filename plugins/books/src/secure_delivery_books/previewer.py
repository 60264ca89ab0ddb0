"""`book`: the cover of a book, the pages of a comic.

Knows: readers of books, the card for those without a cover. Must not know: formats of books.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_delivery.plugin import Encrypted, Media, Needs, Page, SecureDeliveryError, Work

from . import reading
from .model import Source

INSTALL = "pip install secure-delivery-books"


class BookPages:
    """EPUB and FB2: one page, the cover, or a card with title and authors. CBZ: a page for each picture."""

    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    priority = 60  # before the listing of a ZIP file, which most of these are, too
    family = "book"
    needs = Needs(libraries=("lxml", "Pillow"), install=INSTALL)

    def warm(self) -> None:
        from secure_delivery_images import lettering, picture

        from . import archive, card, comic, epub, fiction, markup  # noqa: F401 - loaded now, used later

        picture.warm()
        lettering.warm()
        markup.tree(b"<a/>")

    def probe(self, head: bytes, filename: str) -> bool:
        """Whether it is a ZIP file, or XML that begins as FictionBook does."""
        return reading.looks_like(head, filename)

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported` for what is no book, `Encrypted`, `Corrupt`, `TooLarge`."""
        with reading.opened(work.media) as source:
            for number in work.pages(source.total):
                yield Page(number=number, total=source.total, media=_seen(source, number, work))


def _seen(source: Source, number: int, work: Work) -> Media:
    from secure_delivery_images import Picture

    from . import card

    drawn = source.total == 1 and source.book().format != "cbz"
    try:
        picture = source.picture(number)
        if picture is not None:
            return Picture.taken(picture, work.shop)
    except Encrypted:
        raise
    except SecureDeliveryError:
        if not drawn:
            raise  # a page of a comic has nothing to stand in for it
    return Picture.drawn(card.draw(source.book(), work.media.filename, work.size), filename="cover", limits=work.limits)
