"""`zip`: several files as one archive.

Knows: the ZIP format by the standard library, names. Must not know: where files come from.

The archive is made while it is read, a piece at a time, so its size is no question of memory. Equal sources give equal bytes:
members carry no time of their own (1 January 1980, the first that the format has).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, ClassVar

from secure_delivery.plugin import Media, Param, TooLarge, Unsupported, Workshop

from .names import member_names

VERSION = "1"
MOST_SOURCES = 100

_PIECE = 256 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16  # a regular file that its owner may write
_LEVEL = 6
_ZIP64_FROM = 0xF000_0000  # bytes of a member; below 4 GiB by more than deflate can add
#: Types whose bytes are compressed already: packing them again takes time and gives nothing.
_PACKED = frozenset({"application/zip", "application/gzip", "application/x-7z-compressed", "application/pdf", "font/woff2"})
_PACKED_FAMILIES = ("video/", "audio/")
_PACKED_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif"})


class Zip:
    """`zip`: all sources in one archive, up to 100, in their order; a single one too. There are no options.

    Members of the same name are told apart: `photo.jpg`, `photo (2).jpg`. All sources together may have as many bytes as one
    source may have alone.
    """

    params: ClassVar[tuple[Param, ...]] = ()
    version = VERSION
    most_sources = MOST_SOURCES

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `TooLarge` for the sum of the sources, `Unsupported` for too many."""
        sources = [media, *shop.others]
        if len(sources) > MOST_SOURCES:
            raise Unsupported(public=f"zip: at most {MOST_SOURCES} files go into one archive.")
        total = sum(_size(source) for source in sources)
        if total > shop.limits.bytes:
            raise TooLarge(f"{total} bytes, limit {shop.limits.bytes}", public="zip: the files are too large together.")
        names = member_names(source.filename for source in sources)
        stem = PurePosixPath(names[0]).stem if len(sources) == 1 else "archive"
        return Archive(members=tuple(zip(names, sources, strict=True)), filename=f"{stem}.zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A `Media` that is written while it is read. `members` are names, unique and safe, and their files.

    Members of at least `zip64_from` bytes are written with the wide fields of ZIP64; the directory has them where it must.
    """

    members: Sequence[tuple[str, Media]]
    filename: str
    zip64_from: int = _ZIP64_FROM
    mimetype: str = "application/zip"

    @property
    def size(self) -> int | None:
        return None

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Stream(self))

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the archive, from first to last."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", allowZip64=True) as archive:  # type: ignore[call-overload]
            for name, media in self.members:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type = zipfile.ZIP_STORED if _packed(media.mimetype) else zipfile.ZIP_DEFLATED
                info._compresslevel = _LEVEL  # type: ignore[attr-defined]
                info.external_attr = _MODE
                info.create_system = 3  # Unix, on whatever machine this runs
                wide = _size(media) >= self.zip64_from
                with media.open() as source, archive.open(info, "w", force_zip64=wide) as target:
                    while piece := source.read(_PIECE):
                        target.write(piece)
                        yield sink.taken()
        yield sink.taken()


class _Sink:
    """Where the archive is written to: what has come so far waits to be taken. It cannot be sought in, so that the writer puts
    sums and sizes behind each member instead of going back."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing to do: nothing is held back."""

    def taken(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


class _Stream(io.RawIOBase):
    """An archive as a stream. Going back means making it again from the start."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._pieces = archive.pieces()
        self._left = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._position += count
        return count

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            while self.read(_PIECE):
                pass
        target = offset if whence == io.SEEK_SET else self._position + offset
        if target < 0:
            raise ValueError("before the start of the stream")
        if target < self._position:
            self._pieces.close()  # type: ignore[attr-defined]
            self._pieces, self._left, self._position = self._archive.pieces(), b"", 0
        while self._position < target and self.read(min(_PIECE, target - self._position)):
            pass
        return self._position


def _size(media: Media) -> int:
    if media.size is not None:
        return media.size
    with media.open() as stream:
        return stream.seek(0, io.SEEK_END)


def _packed(mimetype: str) -> bool:
    return mimetype in _PACKED or mimetype in _PACKED_PICTURES or mimetype.startswith(_PACKED_FAMILIES)
