"""What is sent: a path, bytes or a binary file object, read piece by piece.

Knows: files. Must not know: the network. Memory is bounded by what one call returns.
"""

from __future__ import annotations

import io
import mimetypes
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias, cast

from .errors import SourceChanged

Sendable: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]"

_PIECE = 1 << 18
_IN_MEMORY = 8 << 20  # bytes of a stream of unknown length that are kept in memory rather than in a temporary file
_DEFAULT_TYPE = "application/octet-stream"


class Content:
    """A thing to send. Use it as a context manager: what was opened here is closed here, what came in open stays open.

    A file object is sent from where it stands. One that cannot seek and whose `size` is not given is copied to a temporary
    file first, since the size goes ahead of the bytes.
    """

    def __init__(
        self, source: Sendable, *, filename: str | None = None, mimetype: str | None = None, size: int | None = None
    ) -> None:
        self._owned: list[IO[bytes]] = []
        self._lock = threading.Lock()
        self._stream = self._opened(source)
        try:
            self.rewinds = _seekable(self._stream)
            if size is not None and size < 0:
                raise ValueError("a size is not negative")
            if not self.rewinds and size is None:
                self._stream = self._spooled(self._stream)
                self.rewinds = True
            self._start = self._stream.tell() if self.rewinds else 0
            self.size = size if size is not None else self._stream.seek(0, os.SEEK_END) - self._start
            self._at = 0  # bytes read so far, where there is no way back
            self.filename = filename or _name_of(source)
            self.mimetype = mimetype or mimetypes.guess_type(self.filename or "")[0] or _DEFAULT_TYPE
        except BaseException:
            self.close()
            raise

    def _opened(self, source: object) -> IO[bytes]:
        if isinstance(source, bytes | bytearray | memoryview):
            return io.BytesIO(source)
        if isinstance(source, str | os.PathLike):
            stream = Path(os.fspath(source)).open("rb")  # noqa: SIM115 - closed by close()
            self._owned.append(stream)
            return stream
        if isinstance(source, io.TextIOBase) or not hasattr(source, "read"):
            raise TypeError("send a path, bytes, or a file object opened in binary mode")
        return cast(IO[bytes], source)

    def _spooled(self, stream: IO[bytes]) -> IO[bytes]:
        copy: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._owned.append(copy)
        while piece := stream.read(_PIECE):
            copy.write(piece)
        copy.seek(0)
        return copy

    def __enter__(self) -> Content:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here."""
        for stream in self._owned:
            stream.close()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Where there is no way back, `offset` must not lie behind; what lies between is skipped.

        Raises `SourceChanged` when the source ends early.
        """
        with self._lock:
            if self.rewinds:
                self._stream.seek(self._start + offset)
            else:
                self._skip(offset - self._at)
            data = self._exactly(length)
            self._at = offset + length
            return data

    def _skip(self, length: int) -> None:
        if length < 0:
            raise ValueError("this stream cannot go back")
        while length:
            length -= len(self._exactly(min(length, _PIECE)))

    def _exactly(self, length: int) -> bytes:
        pieces: list[bytes] = []
        missing = length
        while missing:
            piece = self._stream.read(missing)
            if not piece:
                raise SourceChanged(f"The source ended before the {self.size} bytes that it was to have.")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """All bytes, from the start."""
        for offset in range(0, self.size, _PIECE):
            yield self.read(offset, min(_PIECE, self.size - offset))

    def check_end(self) -> None:
        """Raise `SourceChanged` if the source goes on after its last byte."""
        with self._lock:
            if self.rewinds:
                self._stream.seek(self._start + self.size)
            if self._stream.read(1):
                raise SourceChanged(f"The source has more than the {self.size} bytes that it was to have.")


class Octets:
    """Bytes in memory, sent piece by piece: the socket layer copies what is left of a piece whenever some of it went out."""

    rewinds = True

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def pieces(self) -> Iterator[bytes]:
        """All bytes, from the start."""
        for offset in range(0, len(self._data), _PIECE):
            yield self._data[offset : offset + _PIECE]


def _seekable(stream: IO[bytes]) -> bool:
    try:
        return bool(stream.seekable())
    except AttributeError:  # a bare reader, such as an HTTP response of another library
        return False


def _name_of(source: Sendable) -> str | None:
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) and not name.startswith("<") else None
