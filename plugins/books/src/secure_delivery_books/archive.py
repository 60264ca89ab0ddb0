"""Members of a ZIP file, read within bounds.

Knows: ZIP by the standard library. Must not know: books.

The standard library reads the whole directory at once, so its length is looked at first. Members are counted while they come;
what the directory says of their size is not believed.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from secure_delivery.plugin import Corrupt, Encrypted, TooLarge, Unsupported

_MOST_DIRECTORY = 8 << 20  # bytes: some eighty thousand members
_WITHIN = 22 + 65_535
_PIECE = 1 << 16
_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


class Archive:
    """A ZIP file. `names` are its members but folders, in order; of two of one name the last counts."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._infos = {info.filename: info for info in file.infolist() if not info.is_dir()}
        self.names = tuple(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a member. Raises `TooLarge` for more than `most`, `Encrypted`, `Unsupported`, `Corrupt`."""
        info = self._infos.get(name)
        if info is None:
            raise Corrupt("zip: a member is missing")
        if info.flag_bits & 1:
            raise Encrypted("zip: a member is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others come out in one piece
            raise Unsupported(f"zip: method {info.compress_type}")
        parts, size = [], 0
        try:
            with self._file.open(info) as stream:
                while piece := stream.read(_PIECE):
                    size += len(piece)
                    if size > most:
                        raise TooLarge(f"a member of more than {most} bytes")
                    parts.append(piece)
        except _FAULTS as error:
            raise Corrupt(f"zip: {type(error).__name__}: {error}") from None
        return b"".join(parts)


@contextmanager
def opened(stream: BinaryIO) -> Iterator[Archive]:
    """A ZIP file for reading. Raises `TooLarge` for a directory without end, `Corrupt`."""
    _check_directory(stream)
    try:
        file = zipfile.ZipFile(stream)
    except _FAULTS as error:
        raise Corrupt(f"zip: {type(error).__name__}: {error}") from None
    with file:
        yield Archive(file)


def _check_directory(stream: BinaryIO) -> None:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _WITHIN - 76))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise Corrupt("zip: there is no directory")
    lengths = [int.from_bytes(tail[at + 12 : at + 16], "little")]
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if wide >= 0:
        lengths.append(int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if max(length for length in lengths if length != 0xFFFFFFFF or len(lengths) == 1) > _MOST_DIRECTORY:
        raise TooLarge("zip: more members than a book has")
    stream.seek(0)
