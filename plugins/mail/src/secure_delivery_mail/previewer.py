"""`mail`: a message as pages.

Knows: the reader, the sheet. Must not know: formats of mail.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_delivery.plugin import Needs, Page, Work

from . import reading

INSTALL = "pip install secure-delivery-mail"


class MailPages:
    """Subject, people, date, attachments and text of a message. No picture that it names is fetched."""

    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    priority = 50
    family = "mail"
    needs = Needs(libraries=("lxml", "olefile", "Pillow"), install=INSTALL)

    def warm(self) -> None:
        from secure_delivery_images import lettering, picture

        from . import sheet  # noqa: F401 - loaded now, used later

        picture.warm()
        lettering.warm()
        reading.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Corrupt`, `TooLarge`, `Unsupported` for a text that is no message."""
        from secure_delivery_images import Picture

        from . import sheet

        letter = sheet.Letter(reading.read(work.media))
        for number in work.pages(letter.pages):
            image = letter.draw(number, work.size)
            media = Picture.drawn(image, filename=work.media.filename or "message", limits=work.limits)
            yield Page(number=number, total=letter.pages, media=media)
