"""A blob of a provider as a stream: one request that is read as it comes, taken up again where it broke off.

Knows: streams, versions as texts. Must not know: how a request is made (`Fetch` does that), what a blob is for.

A reader stays with the version it began with (security promise 86): a request that goes on names that version, and when the
provider no longer has it, reading ends in a `StorageFault`, never in bytes of another.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from ..gate.errors import StorageFault

_BUFFER = 1 << 17  # bytes asked of the connection at once
_PIECE = 1 << 20
_RESUMPTIONS = 4  # for one read


class Body(Protocol):
    """The body of an answer, as urllib3 has it."""

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes: ...

    def close(self) -> None: ...


class Answer(NamedTuple):
    """What a provider has at the asked place: the bytes from there on (`None` for none), how many the whole blob has, and
    the name of the version, empty when the provider tells none."""

    body: Body | None
    total: int
    version: str


#: First byte, last byte (`None`: to the end), version (empty: the present one) to an answer.
Fetch = Callable[[int, "int | None", str], Answer]


def open_blob(fetch: Fetch, start: int, length: int | None) -> BinaryIO:
    """A seekable stream of bytes `start` to `start + length`; position 0 is `start`. The first request is made now, so that
    its faults are raised here. Raises `ValueError` for a negative start or length."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError("start and length of a read must not be negative")
    return cast(BinaryIO, io.BufferedReader(_Reader(fetch, start, length), _BUFFER))


class _Reader(io.RawIOBase):
    def __init__(self, fetch: Fetch, start: int, length: int | None) -> None:
        self._fetch = fetch
        self._start = start
        self._position = 0
        self._body: Body | None = None
        # Nothing of a blob is asked for by its first byte: there is no other way to learn that it is there.
        last = start if length == 0 else None if length is None else start + length - 1
        first = fetch(start, last, "")
        self._version = first.version
        self._size = max(0, min(first.total - start, first.total if length is None else length))
        self._body = first.body
        if not self._size:
            self._drop()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        pieces = []
        while piece := self._take(_PIECE):
            pieces.append(piece)
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        if whence not in bases or bases[whence] + offset < 0:
            raise ValueError("not a position in the blob")
        target = bases[whence] + offset
        if target != self._position:
            self._drop()
            self._position = target
        return target

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()

    def _take(self, most: int) -> bytes:
        if self.closed:
            raise ValueError("the blob was closed")
        wanted = min(most, self._size - self._position)
        if wanted <= 0:
            return b""
        for _ in range(_RESUMPTIONS):
            data = self._attempt(wanted)
            if data:
                self._position += len(data)
                if self._position == self._size:
                    self._finish()
                return data
            self._drop()
        raise StorageFault("reading a blob: the connection keeps breaking")

    def _attempt(self, wanted: int) -> bytes:
        """Some bytes, or none when the connection broke or ended early."""
        from urllib3.exceptions import HTTPError

        if self._body is None:
            self._body = self._resume()
        try:
            return self._body.read(wanted, decode_content=False)
        except (OSError, HTTPError):
            return b""

    def _resume(self) -> Body:
        if not self._version:
            raise StorageFault("reading a blob: the connection broke, and the provider tells no version to go on with")
        answer = self._fetch(self._start + self._position, self._start + self._size - 1, self._version)
        if answer.body is None or answer.version != self._version:
            raise StorageFault("reading a blob: the version that was being read is gone")
        return answer.body

    def _finish(self) -> None:
        """Read to the end of the answer, which lets its connection be used again."""
        from urllib3.exceptions import HTTPError

        try:
            if self._body is not None:
                self._body.read(1, decode_content=False)
        except (OSError, HTTPError):
            pass  # every byte that was asked for is there
        self._drop()

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
