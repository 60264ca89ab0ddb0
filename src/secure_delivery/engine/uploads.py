"""Uploads that take more than one request: begun, continued, finished, or forgotten after a day.

Knows: rows of uploads and of their parts, a folder for bytes on their way, storages that take parts themselves. Must not know:
HTTP, any protocol's words.

An upload is named by a token of 256 bits that only its uploader has; the row has a digest of it. The token stands for the
policy that the upload was begun with: place, size and bounds are in the row, so a policy may end while a long upload runs (a
policy is judged when a transfer starts). Bytes lie in one folder for each upload, under random names, and become a file in one
step at the end. Whatever a crash interrupts can be asked for again: parts replace their predecessors, and the handle of the
file is chosen before it is stored, so finishing twice stores once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from ..gate.errors import BadRequest, Locked, NotFound, SecureDeliveryError, TooManyUploads
from ..gate.model import Application, judge_size
from ..plugin.protocols import Multipart, Placing
from . import tables
from .applications import Clock
from .database import Database, check_text
from .files import Files
from .incoming import Target, object_key
from .names import effective_path
from .records import FileLink, new_handle
from .storages import Room

Mode = Literal["parts", "chunks", "stream"]
MAX_PARTS = 10_000
_TOKEN = 43  # characters of Base64URL: 256 bits
_LOOK = 600.0  # seconds between two looks for folders that nobody knows of
MOST_UNFINISHED = 1000  # uploads of one application
MOST_PIECES = 1000  # rows of one upload besides those of pieces that are large enough
SMALL_PIECE = 16_384  # bytes; official clients send no chunks below twice as many


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """One upload as its row has it; `token` is what its uploader holds. Times are in ms since the epoch."""

    id: str
    token: str = field(repr=False)
    application: str
    filename: str
    mimetype: str | None
    size: int | None
    min_size: int | None
    max_size: int | None
    storage: str
    container: str | None
    path: str | None
    access: Literal["private", "public"] | None
    mode: Mode
    key: str | None
    remote: str | None
    options: Mapping[str, Any]
    created: int
    expires: int
    handle: str | None
    finished: int | None = None
    received: int = 0
    pieces: int = 0
    tags: Mapping[str, str] | None = None  # told at the end, and not kept

    @property
    def direct(self) -> bool:
        """Whether the storage takes the parts itself."""
        return self.remote is not None

    @property
    def target(self) -> Target:
        """What the file says about itself; its storage is decided already."""
        return Target(
            filename=self.filename,
            mimetype=self.mimetype,
            container=self.container,
            path=self.path,
            access=self.access,
            expires_in=self.options.get("expires_in"),
            tags=self.tags,
        )


class Uploads:
    """Begins, finds and ends uploads. Thread-safe, and safe among processes that share `folder`.

    `hours` is how long an unfinished one is kept. With `direct`, storages that can take parts of large files themselves.
    """

    def __init__(
        self, database: Database, files: Files, folder: Path, *, clock: Clock, hours: float = 24.0, direct: bool = True
    ) -> None:
        self._database = database
        self.files = files
        self._folder = folder
        self._clock = clock
        self._hours = hours
        self._direct = direct
        self._next_look = 0.0

    # -- beginning

    def begin(
        self,
        application: Application,
        target: Target,
        room: Room,
        *,
        mode: Mode,
        size: int | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> UploadSession:
        """Begin an upload to a place that was judged. `size` is what was announced, or None; the bounds are the policy's.

        Raises `BadRequest` for texts that cannot be kept, what `Files.admit` raises, and what a storage that takes parts itself
        raises.
        """
        check_text(target.filename, target.mimetype, room.container, room.path)
        self.files.admit(application, room, size=size, pending=self._pending(application, room.storage))
        token = secrets.token_urlsafe(32)
        now = int(self._clock() * 1000)
        key, remote = self._remote(application, target, room, size, mode)
        row: dict[str, Any] = {
            "id": _digest(token),
            "application": application.api_key,
            "filename": target.filename,
            "mimetype": target.mimetype,
            "size": size,
            "min_size": min_size,
            "max_size": max_size,
            "storage": room.storage,
            "container": room.container if room.placing else target.container,
            "path": room.path,
            "access": target.access,
            "mode": mode,
            "key": key,
            "remote": remote,
            "options": dict(options or {}) | ({"expires_in": target.expires_in} if target.expires_in else {}),
            "created": now,
            "expires": now + int(self._hours * 3_600_000),
            "handle": None,
            "finished": None,
            "received": 0,
            "pieces": 0,
        }
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(tables.upload).values(**row))
        except Exception:
            self._abort(room.storage, key, remote)
            raise
        if remote is None:
            self.place(row["id"]).mkdir(mode=0o700, exist_ok=True)
        return UploadSession(token=token, **row)

    def _remote(
        self, application: Application, target: Target, room: Room, size: int | None, mode: Mode
    ) -> tuple[str | None, str | None]:
        """Where parts go that the storage takes itself: the key and its name for the upload; nothing where it does not."""
        storage = self.files.storage(room.storage)
        fits = self._direct and mode == "parts" and size is not None and not application.scan
        if not fits or not room.placing or not isinstance(storage, Multipart) or not isinstance(storage, Placing):
            return None, None
        if not storage.readable:  # nobody could look at what arrived
            return None, None
        if not effective_path(room.path).endswith("/"):
            return None, None  # what arrives is known when it is there: in the place of a file that may have been there
        key = f"{room.container}/{object_key(room.path, target.filename)}"
        mimetype = target.mimetype or "application/octet-stream"
        return key, storage.begin_parts(key, mimetype=mimetype, access=target.access)

    def _pending(self, application: Application, storage: str, *, but: str = "") -> int:
        """Bytes that unfinished uploads of an application will take of a storage, as far as they are known. Raises
        `TooManyUploads`."""
        upload = tables.upload
        mine = (upload.c.application == application.api_key, upload.c.finished.is_(None), upload.c.id != but)
        query = sa.select(upload.c.storage, sa.func.count(), sa.func.sum(sa.func.coalesce(upload.c.size, upload.c.received)))
        query = query.where(*mine, upload.c.expires > int(self._clock() * 1000)).group_by(upload.c.storage)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not but and sum(row[1] for row in rows) >= MOST_UNFINISHED:
            raise TooManyUploads(f"{application.api_key} has {MOST_UNFINISHED} unfinished uploads")
        return sum(int(row[2] or 0) for row in rows if row[0] == storage)

    def left(self, session: UploadSession, application: Application, room: Room) -> int | None:
        """Bytes that an upload without an announced size may have in all, by the quota of what it is lent; None: no bound."""
        return self.files.admit(application, room, pending=self._pending(application, session.storage, but=session.id))

    def room(self, session: UploadSession, application: Application) -> Room:
        """Where the file of an upload goes, as it was decided at its beginning."""
        storages = self.files.storages
        return Room(
            storage=session.storage,
            container=session.container or session.storage,
            path=session.path,
            development=storages.is_lent(application, session.storage),
            placing=storages.is_placing(session.storage),
        )

    # -- finding

    def get(self, token: str) -> UploadSession:
        """The upload of a token. Raises `NotFound` for one that is unknown, expired or ended."""
        if len(token) != _TOKEN or not token.isascii():
            raise no_upload()
        query = sa.select(tables.upload).where(tables.upload.c.id == _digest(token))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.expires <= self._clock() * 1000:
            raise no_upload()
        return UploadSession(token=token, **row._asdict())

    def place(self, upload: str) -> Path:
        """The folder of an upload's bytes."""
        return self._folder / upload

    @contextmanager
    def locked(self, session: UploadSession) -> Iterator[None]:
        """Alone with an upload, among all processes. Raises `Locked` when somebody else is, `NotFound` for one that is over."""
        folder = self.place(session.id)
        if session.finished is not None:
            raise no_upload()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Locked(f"no lock: {error.strerror}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Locked("another request is at work on this upload") from None
            yield
        finally:
            os.close(descriptor)

    # -- changing

    def announce(self, session: UploadSession, size: int) -> None:
        """Note the size of an upload that was begun without one."""
        with self._database.write() as connection:
            this = tables.upload.c.id == session.id
            connection.execute(sa.update(tables.upload).where(this, tables.upload.c.size.is_(None)).values(size=size))

    def check_size(self, session: UploadSession, size: int) -> None:
        """Raise `BadRequest` or the policy's refusal for so many bytes in all."""
        reason = judge_size(size, session.min_size, session.max_size)
        if reason is not None:
            raise BadRequest(f"{size} bytes: {reason}", public=reason.public.sentence)

    def reserve(self, session: UploadSession) -> str:
        """The handle that the file will have: the same one however often it is asked for."""
        with self._database.write() as connection:
            this = tables.upload.c.id == session.id
            row = connection.execute(sa.select(tables.upload.c.handle).where(this).with_for_update()).one_or_none()
            if row is None:
                raise no_upload()
            if row.handle is not None:
                return str(row.handle)
            handle = new_handle()
            connection.execute(sa.update(tables.upload).where(this).values(handle=handle))
        return handle

    def finished(self, session: UploadSession) -> FileLink | None:
        """The file that came of an upload, or None while there is none. Raises `NotFound` when it is gone already: the
        handle of a file is not used twice (security promise 56)."""
        if session.handle is None:
            return None
        try:
            return self.files.find(session.handle, held=True)
        except NotFound:
            if session.finished is not None or self.files.known(session.handle):
                raise no_upload() from None
        return None

    def note(self, session: UploadSession, received: int) -> None:
        """Note how many bytes of a stream have arrived."""
        with self._database.write() as connection:
            this = tables.upload.c.id == session.id
            connection.execute(sa.update(tables.upload).where(this).values(received=received))

    def drop_bytes(self, session: UploadSession) -> None:
        """Delete what lay here of an upload that is a file now; its row stays until it expires, to answer again."""
        now = int(self._clock() * 1000)
        with self._database.write() as connection:
            connection.execute(sa.update(tables.upload).where(tables.upload.c.id == session.id).values(finished=now))
            connection.execute(sa.delete(tables.upload_part).where(tables.upload_part.c.upload == session.id))
        shutil.rmtree(self.place(session.id), ignore_errors=True)

    def end(self, session: UploadSession) -> None:
        """Forget an upload with all its bytes."""
        if session.finished is None:
            self._abort(session.storage, session.key, session.remote)
        with self._database.write() as connection:
            connection.execute(sa.delete(tables.upload).where(tables.upload.c.id == session.id))
        shutil.rmtree(self.place(session.id), ignore_errors=True)

    def sweep(self, *, limit: int = 200) -> int:
        """Forget uploads that have expired, and folders that nobody knows of; returns how many. For any process at any time."""
        now, upload, count = int(self._clock() * 1000), tables.upload, 0
        query = sa.select(upload).where(upload.c.expires <= now).order_by(upload.c.expires).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            session = UploadSession(token="", **row._asdict())
            try:
                with self.locked(session) if session.finished is None else nullcontext():  # not while its file is being made
                    self.end(session)
            except Locked:
                continue
            count += 1
        return count + self._sweep_folders()

    def _sweep_folders(self) -> int:
        """Delete folders without a row: a crash came between, or an application was deleted. Not often: there may be many."""
        if time.monotonic() < self._next_look:
            return 0
        self._next_look = time.monotonic() + _LOOK
        old = [folder.name for folder in self._folder.iterdir() if _age(folder) > 3600]  # a row may be about to be written
        count = 0
        for start in range(0, len(old), 500):
            names = old[start : start + 500]
            with self._database.read() as connection:
                known = set(connection.execute(sa.select(tables.upload.c.id).where(tables.upload.c.id.in_(names))).scalars())
            for name in set(names) - known:
                shutil.rmtree(self._folder / name, ignore_errors=True)
                count += 1
        return count

    def _abort(self, storage: str, key: str | None, remote: str | None) -> None:
        """Have a storage drop the parts it took. One that fails now has its own rules for parts nobody finished."""
        if key is None or remote is None:
            return
        with suppress(SecureDeliveryError):
            taker = self.files.storage(storage)
            if isinstance(taker, Multipart):
                taker.abort_parts(key, remote)


def no_upload() -> NotFound:
    """The fault for an upload that is not there, or not any more."""
    return NotFound("no such upload", public="There is no such upload, or it has expired.")


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
