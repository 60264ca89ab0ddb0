"""`webpage`: the first screen of a web page, as a previewer.

Knows: the driver's two programs, where a page was fetched from. Must not know: the DevTools protocol, the address guard.

A page that was fetched is visited where it lives, through the guard, as a reader would see it. A page that was handed in, or
that cannot be visited, is drawn from the file: without scripts, without a network, with nothing that lies outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from secure_delivery.plugin import (
    Corrupt,
    Media,
    MemoryFile,
    MissingDependency,
    Needs,
    Page,
    SourceFault,
    TooLarge,
    Unsupported,
    Work,
)

from .screenshot import PROGRAMS, taken, warm

MIMETYPES = ("text/html", "application/xhtml+xml")
EXTENSIONS = ("html", "htm", "xhtml")

_WIDTH, _WIDEST = 1280, 1920
_SHAPE = 0.625  # height by width of a first screen
_DELAY, _DELAY_OF_FILES = 1000, 200  # milliseconds after loading
_MOST_BYTES = 16_000_000  # of a page drawn from its file


class Webpage:
    """A window of 1280 x 800 on the page, wider when a wider picture is wanted (up to 1920 x 1200). One page."""

    mimetypes = MIMETYPES
    extensions = EXTENSIONS
    priority = 50
    family = "web"
    needs = Needs(programs=("page_of_file",), network=True, install=PROGRAMS["page_of_file"].install)

    def warm(self) -> None:
        warm()
        if find_spec("lxml") is not None:
            from . import markup

            markup.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `MissingDependency` without a browser, `TooLarge`, `Corrupt`, `ProcessingLimit`."""
        from secure_delivery_images import Picture

        if work.pages(1):
            yield Page(number=1, media=Picture.of(_picture(work), work.limits))


def _picture(work: Work) -> Media:
    width = min(_WIDEST, max(_WIDTH, work.size[0] if work.size else 0))
    screen: dict[str, str | int] = {"width": width, "height": round(width * _SHAPE)}
    if address := visitable(work.address):
        page = MemoryFile(address.encode("ascii"), "text/uri-list", "page")
        try:
            return taken(work.shop, "screenshot", page, screen | {"agent": "desktop", "mode": "window", "delay": _DELAY})
        except (SourceFault, Unsupported, Corrupt):
            pass  # the page may not be visited from here, or is gone; its file is there
    try:
        return taken(work.shop, "page_of_file", _plain(work), screen | {"delay": _DELAY_OF_FILES})
    except MissingDependency:
        raise
    except Unsupported as error:
        raise MissingDependency(str(error), public=error.public) from error


def _plain(work: Work) -> Media:
    """The page in UTF-8, which is what the driver reads."""
    from . import markup

    with work.media.open() as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TooLarge(f"a page of more than {_MOST_BYTES} bytes", public="The page is too large.")
    return MemoryFile(markup.text_of(data).encode("utf-8", "replace"), "text/html", "page.html")


def visitable(address: str | None) -> str | None:
    """An address that can be visited: http or https, printable ASCII, without credentials."""
    if not address or len(address) > 8192 or not address.isascii() or any(not "!" <= letter <= "~" for letter in address):
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return address
