"""One version of an object, read to its end over as many connections as it takes.

Knows: ranges, ETags. Must not know: keys' meaning, tries of single requests.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import NotFound, StorageFault

if TYPE_CHECKING:
    from .client import Answer, Client

_MISSING = ("NoSuchKey", "NoSuchVersion", "404")
_BEYOND = ("InvalidRange", "416")
_CHANGED = ("PreconditionFailed", "412", *_MISSING, *_BEYOND)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)")
_RESUMES = 3  # times in a row that a connection may break before so much came:
_PROGRESS = 1 << 20  # bytes


class S3Reader(io.RawIOBase):
    """Bytes `start` to `start + length` of an object. Asks for them at once: raises `NotFound` and the faults of `call`.

    Reading raises `StorageFault` when the object was replaced and the old version cannot be had any more: never a mixture.
    """

    def __init__(self, client: Client, where: Mapping[str, str], start: int, length: int | None) -> None:
        self._client = client
        self._where = where
        self._body: Any = None
        self._position = self._end = start
        self._marked, self._resumed = start, 0
        last = "" if length is None else str(start + max(length, 1) - 1)
        wanted = {} if start == 0 and length is None else {"Range": f"bytes={start}-{last}"}
        answer = client.call("get_object", "reading", expected=(*_MISSING, *_BEYOND), **where, **wanted)
        if answer.code in _MISSING:
            raise NotFound("no such object")
        self._etag = str(answer.data.get("ETag", ""))
        if answer.code:
            return
        self._take(answer, start)
        if length is not None:
            self._end = min(self._end, start + length)

    def _take(self, answer: Answer, start: int) -> None:
        """Make the body of an answer the one that is read, if it begins where it should."""
        self._body = answer.data["Body"]
        found = _RANGE.fullmatch(str(answer.data.get("ContentRange", "")))
        first, end = (int(found[1]), int(found[2]) + 1) if found else (0, int(answer.data["ContentLength"]))
        if first != start:
            self._drop()
            raise StorageFault("reading: the storage sent another range than it was asked for")
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.closed:
            raise ValueError("the blob was closed")
        view = memoryview(buffer).cast("B")[: max(0, self._end - self._position)]
        while len(view):
            piece = self._piece(len(view))
            if piece:
                view[: len(piece)] = piece
                self._position += len(piece)
                return len(piece)
            self._resume()
        if self._position >= self._end:
            self._drop()
        return 0

    def _piece(self, size: int) -> bytes:
        """Bytes that came; none when the connection is over, for whatever reason."""
        try:
            return bytes(self._body.read(size))
        except Exception:  # botocore's, urllib3's and the socket's: each means that this connection is of no more use
            return b""

    def _resume(self) -> None:
        """Go on where the last connection ended, with the same version or not at all."""
        self._drop()
        if self._position - self._marked >= _PROGRESS:
            self._resumed = 0
        self._marked = self._position
        self._resumed += 1
        if self._resumed > _RESUMES or not self._etag:
            raise StorageFault("reading: the connection broke in the middle of an object")
        end = self._end
        answer = self._client.call(
            "get_object",
            "reading on",
            expected=_CHANGED,
            Range=f"bytes={self._position}-{end - 1}",
            IfMatch=self._etag,
            **self._where,
        )
        if answer.code:
            raise StorageFault("reading: the object was replaced or deleted while it was read")
        if answer.data.get("ETag") != self._etag:  # a provider that does not know If-Match
            answer.data["Body"].close()
            raise StorageFault("reading: the object was replaced while it was read")
        self._take(answer, self._position)
        self._end = end

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()
