"""EPUB 2 and 3: metadata, table of contents and cover, from the package document (EPUB 3.3, W3C).

Knows: container, package, navigation. Must not know: pictures, sections.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from secure_delivery.plugin import Corrupt, MemoryFile, SecureDeliveryError

from . import markup
from .archive import Archive
from .model import MOST_ITEMS, MOST_TEXT, Book, line

_MOST_XML, _MOST_PICTURE = 8 << 20, 64 << 20  # bytes
_MOST_MANIFEST = 20_000
_PICTURES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}
_PICTURES |= {".svg": "image/svg+xml", ".avif": "image/avif"}


class Epub:
    """An opened EPUB. Raises `Corrupt` for one whose package document is missing."""

    total = 1

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._place = _package(archive)
        self._folder = posixpath.dirname(self._place)
        self._root = markup.tree(archive.read(self._place, _MOST_XML))
        self._items: dict[str, Any] = {}
        for item in markup.named(self._root, "item"):
            if len(self._items) < _MOST_MANIFEST:
                self._items.setdefault(markup.attribute(item, "id"), item)

    def book(self) -> Book:
        book = Book(format="epub")
        for metadata in markup.named(self._root, "metadata"):
            self._take(metadata, book)
            break
        book.chapters = self._chapters()
        return book

    def picture(self, number: int) -> MemoryFile | None:
        """The cover: as EPUB 3 marks it, as EPUB 2 names it, as the guide leads to it, as it is called."""
        for name in self._covers():
            kind = _PICTURES.get(posixpath.splitext(name)[1].lower())
            if kind is not None and name in self._archive:
                return MemoryFile(self._archive.read(name, _MOST_PICTURE), kind, posixpath.basename(name))
        return None

    def _take(self, metadata: Any, book: Book) -> None:
        for element in metadata.iter():
            name, said = markup.local(element), line(markup.text(element), MOST_TEXT)
            if not said:
                continue
            if name == "title":
                book.title = book.title or line(said)
            elif name == "creator" and len(book.creators) < MOST_ITEMS:
                book.creators.append(line(said))
            elif name == "language" and len(book.languages) < MOST_ITEMS:
                book.languages.append(line(said, 50))
            elif name == "subject" and len(book.subjects) < MOST_ITEMS:
                book.subjects.append(line(said, 300))
            elif name == "identifier" and len(book.identifiers) < MOST_ITEMS:
                book.identifiers.append((line(markup.attribute(element, "scheme"), 50), line(said, 300)))
            elif name == "publisher":
                book.publisher = book.publisher or line(said)
            elif name == "date":
                book.date = book.date or line(said, 50)
            elif name == "description":
                book.description = book.description or said

    # -- the cover

    def _covers(self) -> Iterator[str]:
        """Names of members that may be the cover, the best first."""
        items = self._items.values()
        yield from (self._named(item) for item in items if "cover-image" in markup.attribute(item, "properties").split())
        for meta in markup.named(self._root, "meta"):
            if markup.attribute(meta, "name") == "cover":
                item = self._items.get(markup.attribute(meta, "content"))
                if item is not None:
                    yield self._named(item)
        for reference in markup.named(self._root, "reference"):
            if markup.attribute(reference, "type").lower() == "cover":
                yield from self._pictures_of(self._resolved(markup.attribute(reference, "href"), self._folder))
        for item in items:
            words = (markup.attribute(item, "id") + markup.attribute(item, "href")).lower()
            if "cover" in words and markup.attribute(item, "media-type").startswith("image/"):
                yield self._named(item)

    def _pictures_of(self, page: str) -> Iterator[str]:
        """The pictures on a page, or the page if it is one."""
        if posixpath.splitext(page)[1].lower() in _PICTURES:
            yield page
        elif page in self._archive:
            try:
                root = markup.tree(self._archive.read(page, _MOST_XML))
            except SecureDeliveryError:
                return
            for element in markup.named(root, "img", "image"):
                target = markup.attribute(element, "src") or markup.attribute(element, "href")
                yield self._resolved(target, posixpath.dirname(page))

    def _named(self, item: Any) -> str:
        return self._resolved(markup.attribute(item, "href"), self._folder)

    @staticmethod
    def _resolved(target: str, folder: str) -> str:
        """The member that a reference means. It is only looked up among the members, wherever it points."""
        path = unquote(target[:2_000].partition("#")[0].partition("?")[0])
        return posixpath.normpath(posixpath.join(folder, path)) if path else ""

    # -- chapters

    def _chapters(self) -> int | None:
        """Entries on the first level of the table of contents; without one the parts of the text in their order."""
        for item in self._items.values():
            toc = "nav" in markup.attribute(item, "properties").split()
            ncx = markup.attribute(item, "media-type") == "application/x-dtbncx+xml"
            name = self._named(item)
            if not (toc or ncx) or name not in self._archive:
                continue
            try:
                root = markup.tree(self._archive.read(name, _MOST_XML))
            except SecureDeliveryError:
                continue
            count = _listed(root) if toc else sum(len(markup.children(one, "navpoint")) for one in markup.named(root, "navmap"))
            if count:
                return count
        return sum(len(markup.children(spine, "itemref")) for spine in markup.named(self._root, "spine")) or None


def _listed(root: Any) -> int:
    for nav in markup.named(root, "nav"):
        if "toc" in markup.attribute(nav, "type").split():
            return sum(len(markup.children(one, "li")) for one in markup.children(nav, "ol"))
    return 0


def _package(archive: Archive) -> str:
    """The name of the package document, as the container says, or as it is always called."""
    container = "META-INF/container.xml"
    if container in archive:
        root = markup.tree(archive.read(container, _MOST_XML))
        for file in markup.named(root, "rootfile"):
            path = markup.attribute(file, "full-path")
            if path in archive:
                return path
    found = next((name for name in archive.names if name.lower().endswith(".opf")), None)
    if found is None:
        raise Corrupt("epub: there is no package document")
    return found
