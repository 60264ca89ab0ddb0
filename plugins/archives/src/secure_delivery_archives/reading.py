"""Which reader an archive is for, by its first bytes.

Knows: signatures, the readers beside this module. Must not know: pictures, sections.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import BinaryIO

from secure_delivery.plugin import Media, Unsupported

from . import sevenz, tars, zips
from .listing import Entry, Listing, moment
from .streams import Plain, Spent, Unpacked

MIMETYPES = (
    "application/zip",
    "application/java-archive",
    "application/vnd.android.package-archive",
    "application/x-tar",
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-7z-compressed",
    "application/vnd.rar",
    # Files of programs that are ZIP files, for when they keep no picture.
    "application/x-sketch",
    "application/x-krita",
    "image/openraster",
    "model/3mf",
    "application/vnd.comicbook+zip",
)
EXTENSIONS = (
    *("zip", "zipx", "jar", "war", "ear", "apk", "aar", "whl", "xpi", "nupkg", "vsix"),
    *("tar", "tgz", "tbz", "tbz2", "txz", "gz", "bz2", "xz", "7z", "rar"),
)
_METHODS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}


def listing(media: Media) -> Listing:
    """What an archive holds, by its headers alone.

    Raises `Corrupt`, `Encrypted` where even the names are, `TooLarge`, `ProcessingLimit`, `Unsupported` for what is no archive.
    """
    with media.open() as stream:
        head = stream.read(tars.BLOCK)
        if head.startswith(b"PK"):
            return zips.listing(stream)
        if head.startswith(sevenz.MAGIC):
            return sevenz.listing(stream)
        if head.startswith(b"Rar!\x1a\x07"):
            from . import rars

            stream.seek(0)
            return rars.listing(stream)
        method = next((method for magic, method in _METHODS.items() if head.startswith(magic)), None)
        if method is not None:
            stream.seek(0)
            return _packed(stream, method, head, media)
        if tars.is_header(head):
            source = Plain(stream)
            return tars.listing(source, source.read(tars.BLOCK))
        if media.mimetype == "application/zip" or media.filename.lower().endswith((".zip", ".jar", ".apk")):
            return zips.listing(stream)  # a program may stand before it
    raise Unsupported("no archive that is known here")


def _packed(stream: BinaryIO, method: str, head: bytes, media: Media) -> Listing:
    """A packed tar file, or one packed file."""
    unpacked = Unpacked(stream, method)
    try:
        first = unpacked.read(tars.BLOCK)
        if tars.is_header(first):
            found = tars.listing(unpacked, first)
            found.kind, found.packed = f"tar.{_ENDINGS[method]}", media.size
            return found
    except Spent:
        pass
    found = Listing(method)
    name, modified = _told(head) if method == "gzip" else ("", None)
    path = PurePosixPath(media.filename)
    stem = path.stem if path.suffix.lower() in (".gz", ".bz2", ".xz") else path.name
    found.add(Entry(name=name or stem or "file", packed=media.size, modified=modified))
    return found


_ENDINGS = {"gzip": "gz", "bzip2": "bz2", "xz": "xz"}


def _told(head: bytes) -> tuple[str, str | None]:
    """Name and time in the header of a gzip file (RFC 1952 section 2.3), as far as it is within these bytes."""
    flags, when = head[3] if len(head) > 3 else 0, int.from_bytes(head[4:8], "little")
    at = 10
    if flags & 4:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    name = head[at:].partition(b"\0")[0].decode("latin-1") if flags & 8 else ""
    return name, moment(when) if when else None
