"""The bytes of uploads: parts in any order, chunks of parts, or one stream; and the file that they make.

Knows: files of the upload's folder, digests, rows of parts. Must not know: HTTP, any protocol's words.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..gate.errors import (
    BadRequest,
    ChecksumMismatch,
    Infected,
    NotFound,
    PartsMissing,
    SizeMismatch,
    StorageFault,
    StorageFull,
    TooLarge,
    Unsupported,
)
from ..gate.model import Application
from ..plugin.protocols import Multipart, Storage
from . import tables
from .database import Database
from .incoming import Target
from .records import FileLink
from .storages import Room
from .types import HEAD, sniff
from .uploads import MAX_PARTS, MOST_PIECES, SMALL_PIECE, Uploads, UploadSession, no_upload

_PIECE = 1 << 20
_FULL = frozenset({28, 122, 27})  # ENOSPC, EDQUOT, EFBIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part, or a chunk of one, that has arrived. `start` is its first byte within the part; `md5` is in hex."""

    number: int
    start: int
    size: int
    md5: str
    name: str


class PartWriter:
    """One part on its way in: `write` it, then `keep`; leaving the `with` block drops what was not kept."""

    def __init__(
        self, parts: Parts, session: UploadSession, number: int, start: int | None, size: int | None, md5: str | None
    ) -> None:
        self._parts = parts
        self._session = session
        self._number = number
        self._start = start or 0
        self._alone = start is None
        self._wanted = size
        self._md5 = md5
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._path = parts.uploads.place(session.id) / secrets.token_hex(16)
        try:
            self._file = open(self._path, "xb", buffering=0)  # noqa: SIM115, PTH123 - closed by keep and __exit__
        except FileNotFoundError:
            raise no_upload() from None
        except OSError as error:
            raise fault("taking a part", error) from error

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append. Raises `SizeMismatch` for more than was announced, `StorageFull`."""
        self._size += len(data)
        if self._wanted is not None and self._size > self._wanted:
            raise SizeMismatch(f"part {self._number}: more than the {self._wanted} bytes announced")
        self._parts.check_room(self._session, self._size)
        self._digest.update(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise fault("writing a part", error) from error

    def keep(self) -> Part:
        """Make it count, in the place of an earlier one. Raises `SizeMismatch`, `ChecksumMismatch`."""
        if self._size == 0 or (self._wanted is not None and self._size != self._wanted):
            raise SizeMismatch(f"part {self._number}: {self._size} bytes, {self._wanted} announced")
        md5 = self._digest.hexdigest()
        if self._md5 is not None and self._md5 != md5:
            raise ChecksumMismatch(f"part {self._number}: not the bytes whose MD5 was announced")
        part = Part(number=self._number, start=self._start, size=self._size, md5=md5, name=self._path.name)
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise fault("writing a part", error) from error
        self._parts.keep(self._session, part, alone=self._alone)
        self._path = None  # type: ignore[assignment]
        return part


class Parts:
    """Takes the bytes of uploads and makes files of them."""

    def __init__(self, database: Database, uploads: Uploads, *, max_bytes: int) -> None:
        self._database = database
        self.uploads = uploads
        self._max_bytes = max_bytes

    def writer(
        self, session: UploadSession, number: int, start: int | None, *, size: int | None, md5: str | None
    ) -> PartWriter:
        """Begin to take part `number`, whole, or the chunk of it that begins at its byte `start`. `md5` is in hex. Raises
        `NotFound` for an upload that ended."""
        if not 1 <= number <= MAX_PARTS or (start or 0) < 0:
            raise BadRequest("bad part", public=f"Parts are numbered from 1 to {MAX_PARTS}.")
        return PartWriter(self, session, number, start, size, md5)

    def check_room(self, session: UploadSession, size: int) -> None:
        """Raise `TooLarge` for a part that alone is larger than the whole may be."""
        if size > min(self._max_bytes, self._max_bytes if session.size is None else session.size):
            raise TooLarge(f"a part of more than {session.size} bytes")

    def keep(self, session: UploadSession, part: Part, *, alone: bool = True) -> None:
        """Note what has arrived, in the place of what came before of the same bytes; with `alone`, of the same part."""
        table = tables.upload_part
        this = [table.c.upload == session.id, table.c.number == part.number]
        if not alone:  # chunks are sent again in other sizes
            this += [table.c.start >= part.start, table.c.start < part.start + part.size]
        values = {"upload": session.id, "number": part.number, "start": part.start}
        values |= {"size": part.size, "md5": part.md5, "name": part.name}
        with self._database.write() as connection:
            upload = tables.upload
            this_upload = upload.c.id == session.id
            counts = sa.select(upload.c.received, upload.c.pieces, upload.c.finished).where(this_upload)
            row = connection.execute(counts.with_for_update()).one_or_none()
            if row is None or row.finished is not None:
                raise no_upload()
            old = connection.execute(sa.select(table.c.name, table.c.size).where(*this)).all()
            total, pieces = row.received + part.size - sum(each.size for each in old), row.pieces + 1 - len(old)
            if total > self._max_bytes or (session.size is not None and total > session.size):
                raise TooLarge(f"{total} bytes of parts, {session.size} announced")
            if pieces > MOST_PIECES + total // SMALL_PIECE:
                raise TooLarge(f"{pieces} pieces of {total} bytes", public="The upload has too many pieces: send larger ones.")
            connection.execute(sa.delete(table).where(*this))
            connection.execute(sa.insert(table).values(**values))
            connection.execute(sa.update(upload).where(this_upload).values(received=total, pieces=pieces))
        for replaced in old:
            with suppress(OSError):
                if replaced.name:
                    (self.uploads.place(session.id) / replaced.name).unlink(missing_ok=True)

    def announce(self, session: UploadSession, number: int, size: int, md5: str | None) -> None:
        """Note the size of a part that the storage takes itself."""
        if not 1 <= number <= MAX_PARTS:
            raise BadRequest("bad part", public=f"Parts are numbered from 1 to {MAX_PARTS}.")
        self.keep(session, Part(number=number, start=0, size=size, md5=md5 or "", name=""))

    def of(self, session: UploadSession) -> list[Part]:
        """What has arrived, in order."""
        table = tables.upload_part
        query = sa.select(table).where(table.c.upload == session.id).order_by(table.c.number, table.c.start)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Part(number=row.number, start=row.start, size=row.size, md5=row.md5, name=row.name) for row in rows]

    def check_part(self, session: UploadSession, number: int) -> None:
        """Raise `PartsMissing` unless the chunks of a part are there without a gap."""
        chunks = [part for part in self.of(session) if part.number == number]
        if not chunks:
            raise PartsMissing(f"nothing of part {number}")
        _check_chunks(chunks)

    # -- the file

    def finish(
        self,
        session: UploadSession,
        application: Application,
        *,
        etags: Sequence[tuple[int, str]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> FileLink:
        """Make the file of all parts; when that was done before, the same one. `etags` are (number, ETag) as the uploader has
        them, `tags` its own words, for the event. Raises `PartsMissing`, `ChecksumMismatch` for ETags of other bytes,
        `SizeMismatch`, and the faults of storing."""
        done = self.uploads.finished(session)
        if done is not None:
            return done
        with self.uploads.locked(session):
            session = replace(self.uploads.get(session.token), tags=tags)
            done = self.uploads.finished(session)
            if done is not None:
                return done
            parts = self.of(session)
            _check_parts(parts, etags, session.size, others=session.mode == "chunks")
            self.uploads.check_size(session, sum(part.size for part in parts))
            if session.direct:
                return self._finish_there(session, application, parts, etags)
            return self._stored(session, application, [part.name for part in parts])

    def _stored(self, session: UploadSession, application: Application, names: Sequence[str]) -> FileLink:
        """The file of these pieces of the upload's folder, one after the other."""
        folder = self.uploads.place(session.id)
        try:
            link = self.store(session, application, (folder / name for name in names))
        except (Unsupported, Infected):  # nothing that is sent again would mend that
            self.uploads.end(session)
            raise
        self.uploads.drop_bytes(session)
        return link

    def store(self, session: UploadSession, application: Application, pieces: Iterator[Path]) -> FileLink:
        """A stored file of the bytes in these files, under the handle that the upload reserved."""
        files = self.uploads.files
        handle = self.uploads.reserve(session)
        target = session.target
        room = self.uploads.room(session, application)
        with files.begin(application, target, limit=self._max_bytes, room=room) as upload:
            for path in pieces:
                try:
                    with path.open("rb") as stream:
                        while piece := stream.read(_PIECE):
                            upload.write(piece)
                except OSError as error:
                    raise fault("reading a part", error) from error
            return files.add(application, upload, handle=handle)

    def _finish_there(
        self,
        session: UploadSession,
        application: Application,
        parts: Sequence[Part],
        etags: Sequence[tuple[int, str]] | None,
    ) -> FileLink:
        """Have the storage put the parts together that it took, look at what is there now, and record it."""
        if not etags:
            raise PartsMissing("no ETags", public="Complete this upload with the ETag of every part.")
        storage: Any = self.uploads.files.storage(session.storage)
        key, size = session.key or "", sum(part.size for part in parts)
        again = session.handle is not None
        handle = self.uploads.reserve(session)
        head: bytes | None = None
        try:
            if isinstance(storage, Multipart):
                storage.finish_parts(key, session.remote or "", etags)
        except BadRequest:
            if not again:
                raise
            with suppress(NotFound, SizeMismatch):  # an earlier try may have got so far, and ended before it was recorded
                head = _head(storage, key, size)
            if head is None:
                raise
        try:
            head = _head(storage, key, size) if head is None else head
        except SizeMismatch:  # other bytes than announced: nothing that is sent again would mend that
            self.uploads.files.drop(session.storage, key)
            self.uploads.end(session)
            raise
        name = hashlib.sha256(repr((size, [part.md5 for part in parts], list(etags))).encode()).hexdigest()
        room = Room(storage=session.storage, container=session.container or "", path=session.path, placing=True)
        target: Target = session.target
        link = self.uploads.files.adopt(
            application,
            target,
            room,
            key,
            size=size,
            sha256=f"parts{name[:40]}",  # not the digest of the bytes, which nobody here has read
            mimetype=sniff(head, target.filename),
            handle=handle,
        )
        self.uploads.drop_bytes(session)
        return link


def _head(storage: Storage, key: str, size: int) -> bytes:
    """The first bytes of an object that has to have so many in all. Raises `SizeMismatch`."""
    with storage.open(key, length=HEAD) as stream:
        head = stream.read()
    with storage.open(key, start=max(0, size - 1), length=2) as stream:
        if len(stream.read()) != 1:
            raise SizeMismatch(f"the object has not the {size} bytes of its parts")
    return head


def _check_parts(parts: Sequence[Part], etags: Sequence[tuple[int, str]] | None, size: int | None, *, others: bool) -> None:
    """Raise unless the parts are 1, 2, 3 …, each whole, as the uploader has them, and as many bytes as announced. With `others`
    there may be more than it names: those it sent in chunks."""
    numbers = sorted({part.number for part in parts})
    if etags is not None:
        wanted = [number for number, _ in etags]
        if len(set(wanted)) != len(wanted):
            raise BadRequest("a part is named twice", public="A part is named twice.")
        missing = sorted(set(wanted) - set(numbers))
        if missing or (sorted(wanted) != numbers and not others):
            raise PartsMissing(f"parts {missing[:10]} have not arrived, or parts are not named: {numbers[:10]}")
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise PartsMissing(f"parts {numbers[:20]} are not all from 1 on")
    by_number: dict[int, list[Part]] = {}
    for part in parts:
        by_number.setdefault(part.number, []).append(part)
    for chunks in by_number.values():
        _check_chunks(chunks)
    for number, etag in etags or ():
        chunks = by_number[number]
        if len(chunks) == 1 and chunks[0].md5 and chunks[0].name and etag.strip('"').lower() != chunks[0].md5:
            raise ChecksumMismatch(f"part {number} has another ETag")
    total = sum(part.size for part in parts)
    if size is not None and total != size:
        raise SizeMismatch(f"{total} bytes in parts, {size} announced")


def _check_chunks(chunks: Sequence[Part]) -> None:
    end = 0
    for chunk in chunks:
        if chunk.start != end:
            raise PartsMissing(f"part {chunk.number} has a gap or an overlap at byte {end}")
        end += chunk.size


def fault(doing: str, error: OSError) -> StorageFault | StorageFull | NotFound:
    """The fault for a failed call on the bytes of an upload; its detail is for the operator and names no path."""
    if isinstance(error, FileNotFoundError):
        return no_upload()
    detail = f"{doing}: {error.strerror or type(error).__name__}"
    return StorageFull(detail) if error.errno in _FULL else StorageFault(detail)
