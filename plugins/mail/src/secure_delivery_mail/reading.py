"""Which reader a message is for.

Knows: the first bytes of a compound file. Must not know: pictures, sections.
"""

from __future__ import annotations

from secure_delivery.plugin import Media

from .model import Mail

MIMETYPES = ("message/rfc822", "application/vnd.ms-outlook")
EXTENSIONS = ("eml", "msg")
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def read(media: Media) -> Mail:
    """A message from a file of either kind. Raises `Corrupt`, `TooLarge`, `Unsupported`."""
    from . import eml, msg

    with media.open() as stream:
        compound = stream.read(8) == _COMPOUND
    return msg.read(media) if compound else eml.read(media)


def warm() -> None:
    """Load what is loaded late."""
    from . import eml, msg, words  # noqa: F401 - loaded now, used later

    words.warm()
