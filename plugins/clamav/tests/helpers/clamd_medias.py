"""Files for the scanner's tests: with sizes that need not be true, and larger than memory should hold."""

from __future__ import annotations

from io import RawIOBase
from typing import Any, BinaryIO, cast

from secure_delivery.plugin import MemoryFile

#: More than the buffers of a connection hold, so that a peer that does not read is noticed.
LARGE = MemoryFile(bytes(20 << 20))
SMALL = MemoryFile(b"a file")


class Given:
    """A `Media` with a stream and a size that need not agree."""

    mimetype = "application/octet-stream"
    filename = "file"

    def __init__(self, stream: Any, *, size: int | None) -> None:
        self._stream = stream
        self.size = size

    def open(self) -> BinaryIO:
        return cast(BinaryIO, self._stream)


class Zeros(RawIOBase):
    """So many zeros, which are nowhere."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(self._left, len(buffer))
        buffer[:count] = bytes(count)
        self._left -= count
        return count
