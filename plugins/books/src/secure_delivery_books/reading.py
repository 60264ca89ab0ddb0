"""Which reader a book is for.

Knows: the first bytes of ZIP, names of members, extensions. Must not know: pictures, sections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from secure_delivery.plugin import Media, TooLarge, Unsupported

from .model import Source

MIMETYPES = (
    "application/epub+zip",
    "application/vnd.comicbook+zip",
    "application/x-cbz",
    "application/x-fictionbook+xml",
    "application/xml",  # what FictionBook is told as: the probe sees to it that no other XML is taken
)
EXTENSIONS = ("epub", "cbz", "fb2", "fbz")
_COMICS = ("application/vnd.comicbook+zip", "application/x-cbz")
_MAGIC = b"PK\x03\x04"
_FICTION = re.compile(rb"<\0?(?:[\w.-]{1,40}:)?F\0?i\0?c\0?t\0?i\0?o\0?n\0?B\0?o\0?o\0?k")


def looks_like(head: bytes, filename: str) -> bool:
    """Whether a file that begins so may be a book."""
    return head.startswith(_MAGIC) or bool(_FICTION.search(head))


@contextmanager
def opened(media: Media) -> Iterator[Source]:
    """A book for reading. Raises `Unsupported` for what is none, `Encrypted`, `TooLarge`, `Corrupt`."""
    from . import archive, comic, epub, fiction

    with media.open() as stream:
        head = stream.read(4096)
        if not head.startswith(_MAGIC):
            if not _FICTION.search(head):
                raise Unsupported("no book")
            stream.seek(0)
            yield fiction.Fiction(_whole(stream.read(fiction.MOST_BYTES + 1)))
            return
        with archive.opened(stream) as file:
            inner = [name for name in file.names if name.lower().endswith(".fb2")]
            if media.mimetype == "application/epub+zip" or "META-INF/container.xml" in file:
                yield epub.Epub(file)
            elif len(inner) == 1 and len(file.names) <= 3:
                yield fiction.Fiction(_whole(file.read(inner[0], fiction.MOST_BYTES)))
            elif media.mimetype in _COMICS or media.filename.lower().endswith(".cbz"):
                yield comic.Comic(file)
            else:
                raise Unsupported("a ZIP file, but no book")


def _whole(data: bytes) -> bytes:
    from .fiction import MOST_BYTES

    if len(data) > MOST_BYTES:
        raise TooLarge(f"a book of more than {MOST_BYTES} bytes")
    return data
