"""Compressed streams, read forwards within a bound: gzip, bzip2, xz, or plain.

Knows: the decompressors of the standard library. Must not know: what is inside.

A decompressor is given little and asked for little at a time, so memory does not depend on what a stream claims to be; how
much may come out in all is bounded, since a few bytes can stand for gigabytes.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any, BinaryIO

from secure_delivery.plugin import Corrupt, ProcessingLimit

MOST_UNPACKED = 1 << 30  # bytes that come out of one stream before it is left: some ten seconds of work
_PIECE = 1 << 16
_MOST_MEMORY = 200 << 20  # bytes that xz may ask for


class Spent(Exception):
    """More came out than is looked at."""


class Plain:
    """A stream as it is; what is skipped is not read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = stream.seek(0, 2)
        stream.seek(0)

    def read(self, count: int) -> bytes:
        """So many bytes, fewer only at the end."""
        return self._stream.read(count)

    def skip(self, count: int) -> bool:
        """Go past so many bytes; False when there are fewer."""
        place = self._stream.tell() + count
        self._stream.seek(min(place, self._end))
        return place <= self._end


class Unpacked:
    """What is in a compressed stream. `read` and `skip` as of `Plain`; both raise `Spent`, `Corrupt`, `ProcessingLimit`."""

    def __init__(self, stream: BinaryIO, method: str) -> None:
        self._stream = stream
        self._method = method
        self._unpacking = _unpacker(method)
        self._fed = b""
        self._ready = b""
        self._at = 0
        self._out = 0
        self._begun = False

    def read(self, count: int) -> bytes:
        parts = []
        while count > 0 and self._fill():
            part = self._ready[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def skip(self, count: int) -> bool:
        while count > 0 and self._fill():
            step = min(count, len(self._ready) - self._at)
            self._at += step
            count -= step
        return count <= 0

    def _fill(self) -> bool:
        """See that bytes are ready; False at the end."""
        while self._at >= len(self._ready):
            self._ready, self._at = b"", 0
            if self._unpacking.eof:
                self._fed = self._fed or self._rest() or self._stream.read(_PIECE)
                if not self._fed.lstrip(b"\0"):  # padding, or the end
                    return False
                self._unpacking, self._begun = _unpacker(self._method), False
            if not self._fed and _wants(self._unpacking):
                self._fed = self._stream.read(_PIECE)
                if not self._fed:
                    raise Corrupt(f"{self._method}: it ends too early")
            try:
                self._ready = self._step()
            except MemoryError:
                raise ProcessingLimit(f"{self._method}: it asks for too much memory") from None
            except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError) as error:
                if "limit" in str(error).lower():
                    raise ProcessingLimit(f"{self._method}: it asks for too much memory") from None
                raise Corrupt(f"{self._method}: {error}") from None
            self._out += len(self._ready)
            if self._out > MOST_UNPACKED:
                raise Spent
        return True

    def _step(self) -> bytes:
        fed, self._fed = self._fed, b""
        if self._method == "gzip":
            ready: bytes = self._unpacking.decompress(fed, _PIECE)
            self._fed = self._unpacking.unconsumed_tail
            return ready
        return bytes(self._unpacking.decompress(fed, _PIECE))

    def _rest(self) -> bytes:
        return bytes(self._unpacking.unused_data)


def _wants(unpacking: Any) -> bool:
    """Whether a decompressor has nothing left that it was fed."""
    return bool(getattr(unpacking, "needs_input", True))


def _unpacker(method: str) -> Any:
    if method == "gzip":
        return zlib.decompressobj(wbits=31)
    if method == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
