"""`archive`: what is in an archive, as a tree. `kept_picture`: the picture that a program keeps in its files.

Knows: listings, the names under which programs keep pictures. Must not know: formats of archives, how pictures are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from secure_delivery.plugin import MemoryFile, Needs, Page, Unsupported, Work

from . import reading, zips

_INSTALL = "pip install secure-delivery-archives"
_MOST_MEMBERS = 20_000  # looked through for a picture
_MOST_PICTURE = 64 << 20  # bytes of one


class Archive:
    """The entries of an archive as a tree with sizes, 39 to a page. Only headers are read; nothing is unpacked."""

    mimetypes = reading.MIMETYPES
    extensions = reading.EXTENSIONS
    priority = 50
    family = "archive"
    needs = Needs(libraries=("rarfile", "Pillow"), install=_INSTALL)

    def warm(self) -> None:
        from secure_delivery_images import lettering, picture

        from . import rars, sheet  # noqa: F401 - loaded now, used later

        picture.warm()
        lettering.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Corrupt`, `Encrypted`, `ProcessingLimit`, `TooLarge`, `Unsupported`."""
        from secure_delivery_images import Picture

        from . import sheet, tree

        listing = reading.listing(work.media)
        rows = tree.rows(listing)
        total = sheet.pages(rows)
        for number in work.pages(total):
            image = sheet.draw(number, rows, listing, work.media.filename, work.size)
            yield Page(
                number=number,
                total=total,
                media=Picture.drawn(image, filename=work.media.filename or "archive", limits=work.limits),
            )


@dataclass(frozen=True, slots=True)
class _Format:
    """Files of a program: members that all of them have (any of a list), and where the picture is, the best one first."""

    marks: tuple[bytes, ...]
    pictures: tuple[bytes, ...]


_FORMATS = (
    _Format((b"document.json",), (b"previews/preview.png",)),  # Sketch 43 and later
    _Format((b"maindoc.xml",), (b"mergedimage.png", b"preview.png")),  # Krita
    _Format((b"stack.xml",), (b"mergedimage.png", b"Thumbnails/thumbnail.png")),  # OpenRaster
    _Format((b"3D/3dmodel.model",), (b"Metadata/thumbnail.png", b"Metadata/plate_1.png", b"Thumbnails/thumbnail.png")),  # 3MF
    _Format((b"Document.xml",), (b"thumbnails/Thumbnail.png",)),  # FreeCAD
    _Format((b"Document.archive",), (b"QuickLook/Thumbnail.png",)),  # Procreate
    _Format((b"Index/Document.iwa", b"Index.zip", b"index.xml", b"index.apxl"), (b"preview.jpg", b"QuickLook/Thumbnail.jpg")),
)
_EXTENSIONS = ("sketch", "kra", "krz", "ora", "3mf", "fcstd", "procreate", "pages", "numbers", "key")
_MIMETYPES = (
    "application/zip",
    "application/x-sketch",
    "application/x-krita",
    "image/openraster",
    "model/3mf",
    "application/vnd.apple.pages",
    "application/vnd.apple.numbers",
    "application/vnd.apple.keynote",
)


class KeptPicture:
    """The picture that Sketch, Krita, OpenRaster, 3MF, FreeCAD, Procreate and iWork keep in their files. One page."""

    mimetypes = _MIMETYPES
    extensions = _EXTENSIONS
    priority = 60  # before the listing of the same file, which any of these is, too
    family = "archive"
    needs = Needs(install=_INSTALL)

    def warm(self) -> None:
        from secure_delivery_images import picture

        picture.warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """Whether it is a ZIP file at all."""
        return head.startswith(b"PK\x03\x04")

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported` for a file that keeps no picture, `Corrupt`, `TooLarge`, `Encrypted`."""
        from secure_delivery_images import Picture

        picture = _kept(work)
        if work.pages(1):
            yield Page(number=1, media=Picture.taken(picture, work.shop))


def _kept(work: Work) -> MemoryFile:
    with work.media.open() as stream:
        found = {member.name: member for member in islice(zips.members(stream), _MOST_MEMBERS)}
        for one in _FORMATS:
            if not any(mark in found for mark in one.marks):
                continue
            name = next((name for name in one.pictures if name in found), None)
            if name is not None:
                data = zips.content(stream, found[name], min(_MOST_PICTURE, work.limits.bytes))
                mimetype = "image/png" if name.endswith(b".png") else "image/jpeg"
                return MemoryFile(data, mimetype, name.decode().rpartition("/")[2])
    raise Unsupported("no picture is kept in this file")
