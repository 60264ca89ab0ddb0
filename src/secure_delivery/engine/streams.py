"""Uploads that come as one stream, in as many pieces as the network allows; and files of several such streams.

Knows: one file per upload, which only grows at its end, and digests of pieces. Must not know: HTTP, any protocol's words.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..gate.errors import BadRequest, ChecksumMismatch, Conflict, SecureDeliveryError, SizeMismatch, StorageFault, TooLarge
from ..gate.model import Application
from .parts import Parts, fault
from .records import FileLink
from .uploads import Uploads, UploadSession, no_upload

CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
MOST_STREAMS = 1000  # that one file is made of


class StreamWriter:
    """A piece being appended. `write` it; what was written stays when the connection breaks, unless a digest was announced."""

    def __init__(self, path: Path, offset: int, most: int, checksum: tuple[str, bytes] | None) -> None:
        self._path = path
        self._most = most
        self._offset = offset
        self.position = offset
        self._wanted = checksum
        self._digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise no_upload() from None
        except OSError as error:
            raise fault("taking a piece", error) from error

    def write(self, data: bytes) -> None:
        """Append. Raises `SizeMismatch` for more than was announced, `TooLarge`, `StorageFull`."""
        if self.position + len(data) > self._most:
            raise SizeMismatch(f"more than {self._most} bytes")
        if self._digest is not None:
            self._digest.update(data)
        rest = memoryview(data)
        try:
            while rest:
                count = os.pwrite(self._descriptor, rest, self.position)
                self.position += count
                rest = rest[count:]
        except OSError as error:
            raise fault("writing a piece", error) from error

    def keep(self) -> int:
        """Make it durable; returns the new offset. Raises `ChecksumMismatch` for other bytes than announced."""
        if self._wanted is not None and self._digest is not None and self._digest.digest() != self._wanted[1]:
            raise ChecksumMismatch(f"not the bytes whose {self._wanted[0]} was announced")
        self._wanted = None
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise fault("writing a piece", error) from error
        return self.position

    def close(self) -> None:
        """Drop a piece whose digest was announced and never checked; keep any other."""
        with suppress(OSError):
            if self._wanted is not None:
                os.ftruncate(self._descriptor, self._offset)
        os.close(self._descriptor)


class Streams:
    """Takes streams in, and makes files of them."""

    def __init__(self, uploads: Uploads, parts: Parts, *, max_bytes: int) -> None:
        self._uploads = uploads
        self._parts = parts
        self._max_bytes = max_bytes

    def offset(self, session: UploadSession) -> int:
        """How many bytes are here."""
        if self._uploads.finished(session) is not None:
            return session.size or 0
        try:
            return self._body(session).stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise fault("looking at an upload", error) from error

    @contextmanager
    def writer(
        self, session: UploadSession, offset: int, *, limit: int, checksum: tuple[str, bytes] | None = None
    ) -> Iterator[StreamWriter]:
        """Append at `offset`, alone. `limit` is how many bytes there may be in all when no size was announced; `checksum` an
        algorithm and the digest of the piece. Raises `Conflict` for an offset that is not the present one, `Locked`."""
        if checksum is not None and checksum[0] not in CHECKSUMS:
            raise BadRequest("checksum algorithm", public=f"The checksum is one of {', '.join(CHECKSUMS)}.")
        with self._uploads.locked(session):
            session = self._uploads.get(session.token)
            if session.finished is not None:
                raise no_upload()
            here = self.offset(session)
            if offset != here:
                raise Conflict(f"offset {offset}, but {here} bytes are here", public=f"The upload is at byte {here}.")
            bounds = (session.size, session.max_size, limit, self._max_bytes)
            most = min(bound for bound in bounds if bound is not None)
            writer = StreamWriter(self._body(session), offset, most, checksum)
            try:
                yield writer
            finally:
                writer.close()

    def finish(self, session: UploadSession, application: Application) -> FileLink:
        """Make the file of a stream that has all its bytes; when that was done before, the same one. Raises the faults of
        storing; after those that no second try can mend, the upload is gone."""
        session = self._uploads.get(session.token)
        done = self._uploads.finished(session)
        if done is not None:
            return done
        size = self.offset(session)
        if session.size is None or size != session.size or size == 0:
            raise SizeMismatch(f"{size} bytes of {session.size}")
        self._uploads.check_size(session, size)
        return self._stored(session, application, [self._body(session)])

    def join(self, session: UploadSession, application: Application, pieces: Sequence[UploadSession]) -> FileLink:
        """Make one file of streams that are whole, in this order. Raises `BadRequest` for one that is not."""
        if not 1 <= len(pieces) <= MOST_STREAMS:
            raise BadRequest("streams", public=f"A file is made of at most {MOST_STREAMS} uploads.")
        for piece in pieces:
            if piece.size is None or self.offset(piece) != piece.size or piece.handle is not None:
                raise BadRequest("an unfinished piece", public="One of the uploads is not finished.")
        total = sum(piece.size or 0 for piece in pieces)
        if total > self._max_bytes:
            raise TooLarge(f"{total} bytes together")
        self._uploads.check_size(session, total)
        self._uploads.announce(session, total)
        return self._stored(session, application, [self._body(piece) for piece in pieces])

    def _stored(self, session: UploadSession, application: Application, bodies: Sequence[Path]) -> FileLink:
        try:
            link = self._parts.store(session, application, iter(bodies))
        except SecureDeliveryError as trouble:
            if trouble.status < 500 and not isinstance(trouble, StorageFault):
                self._uploads.end(session)
            raise
        self._uploads.drop_bytes(session)
        return link

    def _body(self, session: UploadSession) -> Path:
        return self._uploads.place(session.id) / "body"
