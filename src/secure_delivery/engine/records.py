"""What the service remembers: applications, stored files, renditions.

Knows: the rows of files and renditions, and that nothing is reached without naming the application it belongs to.
Must not know: HTTP, storages, whether a request may do what it asks for, how bytes are deleted.

`Records` is the one object that the rest of the engine is handed; its applications half is in `applications`. A file is
found by handle alone only in `file`, because a delivery URL holds nothing else; everything that changes or lists names
the application, and the schema refuses a rendition of another application's file (security promise 24).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import Busy, NotFound, StorageFault
from . import tables
from .applications import Applications, Blob, Clock, new_api_key, no_application, random_text
from .database import check_text

__all__ = ["Blob", "Clock", "FileLink", "Records", "Removed", "Rendition", "new_api_key", "new_handle"]

_HANDLE = 21  # characters out of 62: 125 bits; one less would be 119
_PAGE = 100  # files per page unless asked otherwise
_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    """A stored file. `application` is the API key of its owner; `size` is in bytes; `uploaded` in ms since the epoch.

    `storage` and `key` say where the bytes are; `container` and `path` are what the uploader asked for, or None.
    `sha256` is the digest of the bytes in hex. `version` starts at 1 and grows by one with each overwrite. Raises
    `BadRequest` for texts that cannot be stored.
    """

    handle: str
    application: str
    filename: str
    mimetype: str
    size: int
    storage: str
    key: str
    container: str | None = None
    path: str | None = None
    sha256: str
    uploaded: int
    version: int = 1

    def __post_init__(self) -> None:
        check_text(self.handle, self.application, self.filename, self.mimetype, self.storage, self.key)
        check_text(self.container, self.path, self.sha256)

    @property
    def blob(self) -> Blob:
        """Where the bytes are."""
        return Blob(self.storage, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A kept result. `key` digests source content, tasks and engine version; `handle` is None for external sources.

    `size` is in bytes, `created` in milliseconds since the epoch. Raises `BadRequest` for texts that cannot be stored.
    """

    key: str
    application: str
    handle: str | None
    storage: str
    storage_key: str
    mimetype: str
    filename: str
    size: int
    created: int

    def __post_init__(self) -> None:
        check_text(self.key, self.application, self.handle, self.storage, self.storage_key, self.mimetype, self.filename)

    @property
    def blob(self) -> Blob:
        """Where the bytes are."""
        return Blob(self.storage, self.storage_key)


class Removed(NamedTuple):
    """A file that is gone, with the renditions that went with it; the caller deletes the bytes of all of them."""

    link: FileLink
    renditions: tuple[Rendition, ...]

    @property
    def blobs(self) -> list[Blob]:
        """Everything in storages that nothing refers to any more."""
        return [self.link.blob, *(rendition.blob for rendition in self.renditions)]


def new_handle() -> str:
    """A handle nobody can guess: 21 letters or digits, 125 bits from the system's source (security promise 56).

    Handles of deleted files are not written down. That one comes up again is as likely as guessing one.
    """
    return random_text(_HANDLE)


class Records(Applications):
    """Applications, files and renditions in one database. Thread-safe; holds nothing but the memory of applications."""

    def generation(self) -> object:
        """A token that differs after any process has overwritten or removed files or renditions; compare with `==`.

        Read it before the row it is to guard. Adding does not change it, so "there is none" must not be remembered.
        """
        return self._database.generation("files")

    def add_file(self, link: FileLink) -> None:
        """Make a stored file known. Raises `NotFound` without its application, `StorageFault` for a handle in use."""
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(tables.file).values(**asdict(link)))
        except IntegrityError:
            if self.application(link.application) is None:
                raise no_application() from None
            raise StorageFault("the handle is in use already") from None

    def file(self, handle: str, *, application: str | None = None) -> FileLink | None:
        """The file with this handle, or None; with `application`, only if it belongs to it."""
        if not _possible(handle):
            return None
        query = sa.select(tables.file).where(tables.file.c.handle == handle)
        if application is not None:
            query = query.where(tables.file.c.application == application)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else FileLink(**row._asdict())

    def replace_file(self, handle: str, new_link: FileLink) -> FileLink:
        """Overwrite: `new_link` takes the place of the file it was made from, which is returned for deleting its bytes.

        `new_link` names the same handle and application, and the version after the one that was read. Raises
        `NotFound` for no such file of that application, `Busy` when another overwrite was quicker, `ValueError` for
        another handle.
        """
        if new_link.handle != handle:
            raise ValueError("an overwrite keeps the handle")
        with self._database.write() as connection:
            old = self._locked_file(connection, handle, new_link.application)
            if new_link.version != old.version + 1:
                raise Busy(f"overwrite from version {new_link.version - 1}, but the file is at {old.version}")
            connection.execute(sa.update(tables.file).where(*_file(old)).values(**asdict(new_link)))
            self._database.bump(connection, "files")
        return old

    def remove_file(self, handle: str, *, application: str) -> Removed:
        """Forget a file and its renditions in one step; returns all of them, for deleting their bytes.

        Raises `NotFound` for no such file of this application. A rendition that is being made meanwhile is either among
        the returned ones or refused by `add_rendition`.
        """
        with self._database.write() as connection:
            link = self._locked_file(connection, handle, application)
            renditions = _renditions(connection, handle, application)
            connection.execute(sa.delete(tables.file).where(*_file(link)))
            self._database.bump(connection, "files")
        return Removed(link, tuple(renditions))

    def files(self, application: str, *, after: FileLink | None = None, limit: int = _PAGE) -> list[FileLink]:
        """A page of an application's files, newest first, starting behind `after`; at most 1,000."""
        file = tables.file
        query = sa.select(file).where(file.c.application == application)
        if after is not None:
            earlier = sa.and_(file.c.uploaded == after.uploaded, file.c.handle < after.handle)
            query = query.where(sa.or_(file.c.uploaded < after.uploaded, earlier))
        query = query.order_by(file.c.uploaded.desc(), file.c.handle.desc()).limit(max(1, min(limit, _LARGEST_PAGE)))
        with self._database.read() as connection:
            return [FileLink(**row._asdict()) for row in connection.execute(query)]

    def count_files(self, application: str) -> int:
        """How many files an application has."""
        query = sa.select(sa.func.count()).select_from(tables.file).where(tables.file.c.application == application)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def add_rendition(self, rendition: Rendition) -> Rendition:
        """Keep a result; returns the one that counts, which is an earlier one when two were made at the same time.

        Raises `NotFound` when the file or the application is gone, or the file is another application's: the caller
        deletes the bytes then.
        """
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(tables.rendition).values(**asdict(rendition)))
        except IntegrityError:
            earlier = self.rendition(rendition.key, application=rendition.application)
            if earlier is None:
                raise NotFound("a rendition of a file that is not there") from None
            return earlier
        return rendition

    def rendition(self, key: str, *, application: str) -> Rendition | None:
        """The kept result under this key, if this application has it."""
        where = tables.rendition.c.key == key, tables.rendition.c.application == application
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.rendition).where(*where)).one_or_none()
        return None if row is None else Rendition(**row._asdict())

    def renditions_of(self, handle: str, *, application: str) -> list[Rendition]:
        """All kept results of one file, oldest first."""
        with self._database.read() as connection:
            return _renditions(connection, handle, application)

    def remove_renditions(self, handle: str, *, application: str) -> list[Rendition]:
        """Forget the kept results of one file, after an overwrite say; returns them, for deleting their bytes."""
        with self._database.write() as connection:
            gone = _renditions(connection, handle, application, lock=True)
            if not gone:
                return []  # nothing changed, so nobody has to look again
            keys = [rendition.key for rendition in gone]
            where = tables.rendition.c.application == application, tables.rendition.c.key.in_(keys)
            connection.execute(sa.delete(tables.rendition).where(*where))
            self._database.bump(connection, "files")
        return gone

    def _locked_file(self, connection: Connection, handle: str, application: str) -> FileLink:
        if not _possible(handle):
            raise NotFound
        where = tables.file.c.handle == handle, tables.file.c.application == application
        row = connection.execute(sa.select(tables.file).where(*where).with_for_update()).one_or_none()
        if row is None:
            raise NotFound
        return FileLink(**row._asdict())


def _possible(handle: str) -> bool:
    """Whether a handle from a URL can be ours at all; PostgreSQL takes some texts not even as a question."""
    return handle.isascii() and "\0" not in handle


def _file(link: FileLink) -> Iterable[sa.ColumnElement[bool]]:
    return tables.file.c.handle == link.handle, tables.file.c.application == link.application


def _renditions(connection: Connection, handle: str, application: str, *, lock: bool = False) -> list[Rendition]:
    rendition = tables.rendition
    query: sa.Select[Any] = sa.select(rendition).where(rendition.c.handle == handle, rendition.c.application == application)
    query = query.order_by(rendition.c.created, rendition.c.key)
    return [Rendition(**row._asdict()) for row in connection.execute(query.with_for_update() if lock else query)]
