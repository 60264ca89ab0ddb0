"""A part of a file as a stream of its own.

Knows: descriptors. Must not know: what the file is.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from ..gate.errors import StorageFault


class FileSpan(io.RawIOBase):
    """`size` bytes of a file from `begin` on, as if they were all there is. Owns the descriptor.

    A file that turns out to be shorter, or cannot be read, is a `StorageFault`.
    """

    def __init__(self, descriptor: int, begin: int, size: int) -> None:
        self._descriptor = descriptor
        self._begin = begin
        self._size = size
        self._position = 0

    @classmethod
    def buffered(cls, descriptor: int, begin: int, size: int, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A stream of `length` bytes from byte `start` of that part."""
        left = max(0, size - start)
        span = cls(descriptor, begin + min(start, size), left if length is None else min(left, max(0, length)))
        return io.BufferedReader(span, 65_536)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        if not view:
            return 0
        try:
            count = os.preadv(self._descriptor, [view], self._begin + self._position)
        except OSError as error:
            raise StorageFault(f"reading a result: {error.strerror}") from error
        if count == 0:
            raise StorageFault("a result is shorter than it was")
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the start of the stream")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def copy(self) -> BinaryIO:
        """These bytes as a file of their own, in memory; the kernel copies them."""
        file = os.fdopen(os.memfd_create("copy", os.MFD_CLOEXEC), "w+b", buffering=0)
        at, end = self._begin, self._begin + self._size
        try:
            while at < end:
                count = os.sendfile(file.fileno(), self._descriptor, at, end - at)
                if count == 0:
                    raise StorageFault("a result is shorter than it was")
                at += count
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
