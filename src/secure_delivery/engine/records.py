"""What the service remembers: applications, stored files, bytes still to be deleted.

Knows: the rows of files, and that nothing is reached without naming the application it belongs to.
Must not know: HTTP, storages, whether a request may do what it asks for, how bytes are deleted.

`Records` is the one object that the rest of the engine is handed; its applications half is in `applications`. A file is
found by handle alone only in `file`, because a delivery URL holds nothing else; everything that changes or lists names
the application (security promise 24).

Where a row goes, the place of its bytes is written down in the same transaction, until they are deleted: a crash in between
leaves no bytes that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import Busy, NotFound, QuotaExceeded, StorageFault
from . import tables
from .applications import Applications, Blob, Clock, new_api_key, no_application, random_text
from .database import Prepared, check_text

__all__ = ["Blob", "Clock", "FileLink", "Records", "new_api_key", "new_handle"]

_HANDLE = 21  # characters out of 62: 125 bits; one less would be 119
_PAGE = 100  # files per page unless asked otherwise
_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    """A stored file. `application` is the API key of its owner; `size` is in bytes; `uploaded` in ms since the epoch.

    `storage` and `key` say where the bytes are; `container` and `path` are what the uploader asked for, or None.
    `sha256` is the digest of the bytes in hex. `version` starts at 1 and grows by one with each overwrite. `expires`, `removed`
    and `held` are in ms since the epoch: when it goes by itself, when it was deleted (and can be restored), since when scanners
    have to judge it. `source_url` is where it was fetched from, without query;
    `lasting` the seconds that the uploader asked for. Raises `BadRequest` for texts that cannot be
    stored.
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
    expires: int | None = None
    removed: int | None = None
    held: int | None = None
    source_url: str | None = None
    lasting: int | None = None

    def __post_init__(self) -> None:
        check_text(self.handle, self.application, self.filename, self.mimetype, self.storage, self.key)
        check_text(self.container, self.path, self.sha256, self.source_url)

    @property
    def blob(self) -> Blob:
        """Where the bytes are."""
        return Blob(self.storage, self.key)


def new_handle() -> str:
    """A handle nobody can guess: 21 letters or digits, 125 bits from the system's source (security promise 56).

    Handles of deleted files are not written down. That one comes up again is as likely as guessing one.
    """
    return random_text(_HANDLE)


# What is executed for every file is put together once: building a statement costs more than running it.
_COLUMNS = tuple(column.name for column in tables.file.c)
_FILE = Prepared(sa.select(tables.file).where(tables.file.c.handle == sa.bindparam("name")))
_NEW_FILE = sa.insert(tables.file)
_SAME_BYTES = Prepared(
    sa.select(tables.file)
    .where(
        tables.file.c.application == sa.bindparam("owner"),
        tables.file.c.sha256 == sa.bindparam("digest"),
        tables.file.c.storage == sa.bindparam("place"),
        tables.file.c.size == sa.bindparam("bytes"),
    )
    .limit(1)
)
_SAME_PLACE = (
    sa.select(tables.file.c.handle)
    .where(
        tables.file.c.handle == sa.bindparam("name"),
        tables.file.c.application == sa.bindparam("owner"),
        tables.file.c.storage == sa.bindparam("place"),
        tables.file.c.key == sa.bindparam("object"),
    )
    .with_for_update()
)
_USED = sa.select(tables.usage.c.bytes).where(
    tables.usage.c.application == sa.bindparam("owner"), tables.usage.c.storage == sa.bindparam("place")
)
_USED_MORE = (
    sa.update(tables.usage)
    .where(tables.usage.c.application == sa.bindparam("owner"), tables.usage.c.storage == sa.bindparam("place"))
    .values(files=tables.usage.c.files + sa.bindparam("some"), bytes=tables.usage.c.bytes + sa.bindparam("more"))
)


class Records(Applications):
    """Applications and files in one database. Thread-safe; holds nothing but the memory of applications."""

    def generation(self) -> object:
        """A token that differs after any process has overwritten or removed files, or dropped results of them; compare with
        `==`.

        Read it before the row it is to guard. Adding does not change it, so "there is none" must not be remembered.
        """
        return self._database.generation("files")

    def generations(self) -> object:
        """The same for a change of anything: applications, files, results. It costs as much as one of them."""
        return self._database.generations()

    def touch_files(self) -> None:
        """Have every process look again: results were dropped."""
        with self._database.write() as connection:
            self._database.bump(connection, "files")

    def add_file(self, link: FileLink, *, quota: int = 0) -> None:
        """Make a stored file known. Raises `NotFound` without its application, `StorageFault` for a handle in use,
        `QuotaExceeded` when the application would use more than `quota` bytes of the storage (0: no bound).

        Where other files of the application are the same object, because their path was asked for again, they have the new
        content from now on, as the object has.
        """
        with self._adding(link) as connection:
            connection.execute(_NEW_FILE, asdict(link))
            _no_longer_to_delete(connection, link.blob)
            followed = self._follow(connection, link)
            _count(connection, link, +1, quota=quota)
            if followed:
                self._database.bump(connection, "files")

    def add_copy(self, link: FileLink, *, of: FileLink, quota: int = 0) -> bool:
        """Make a file known that shares the bytes of another one, if that one is still there; whether it was. Raises like
        `add_file`."""
        with self._adding(link) as connection:
            same = {"name": of.handle, "owner": of.application, "place": of.storage, "object": of.key}
            if connection.execute(_SAME_PLACE, same).one_or_none() is None:
                return False
            connection.execute(_NEW_FILE, asdict(link))
            _count(connection, link, +1, quota=quota)
        return True

    @contextmanager
    def _adding(self, link: FileLink) -> Iterator[Connection]:
        """A transaction that adds this file, with the faults for what is in its way."""
        try:
            with self._database.write() as connection:
                yield connection
        except IntegrityError:
            if self.application(link.application) is None:
                raise no_application() from None
            raise StorageFault("the handle is in use already") from None

    def same_bytes(self, application: str, storage: str, sha256: str, size: int) -> FileLink | None:
        """A file of this application in that storage with these bytes, or None."""
        row = self._database.first(_SAME_BYTES, owner=application, digest=sha256, place=storage, bytes=size)
        return None if row is None else _read(row)

    def file(self, handle: str, *, application: str | None = None) -> FileLink | None:
        """The file with this handle, or None; with `application`, only if it belongs to it."""
        if not _possible(handle):
            return None
        row = self._database.first(_FILE, name=handle)
        if row is None:
            return None
        link = _read(row)
        return link if application in (None, link.application) else None

    def replace_file(self, handle: str, new_link: FileLink, *, quota: int = 0) -> FileLink:
        """Overwrite: `new_link` takes the place of the file it was made from, which is returned for deleting its bytes.

        `new_link` names the same handle and application, and the version after the one that was read. Raises
        `NotFound` for no such file of that application, `Busy` when another overwrite was quicker, `QuotaExceeded` like
        `add_file`, `ValueError` for another handle.
        """
        if new_link.handle != handle:
            raise ValueError("an overwrite keeps the handle")
        with self._database.write() as connection:
            old = self._locked_file(connection, handle, new_link.application)
            if new_link.version != old.version + 1:
                raise Busy(f"overwrite from version {new_link.version - 1}, but the file is at {old.version}")
            _no_longer_to_delete(connection, new_link.blob)
            connection.execute(sa.update(tables.file).where(*_file(old)).values(**asdict(new_link)))
            self._follow(connection, new_link)
            _count(connection, old, -1)
            _count(connection, new_link, +1, quota=quota)
            if old.blob != new_link.blob:
                _to_delete(connection, old.blob)
            self._database.bump(connection, "files")
        return old

    def remove_file(
        self,
        handle: str,
        *,
        application: str,
        keep_blob: bool = False,
        expired: int | None = None,
        content: str | None = None,
    ) -> FileLink:
        """Forget a file; returns it, for deleting its bytes unless `keep_blob`. Raises `NotFound` for no such file of this
        application; with `expired`, also for one that does not expire by that moment (ms): it was restored, say; with
        `content`, also for one whose digest is another by now. Bytes that another file shares are not on the list of those to
        delete."""
        with self._database.write() as connection:
            link = self._locked_file(connection, handle, application)
            if expired is not None and (link.expires is None or link.expires > expired):
                raise NotFound("the file does not expire any more")
            if content is not None and link.sha256 != content:
                raise NotFound("the file was overwritten")
            connection.execute(sa.delete(tables.file).where(*_file(link)))
            _count(connection, link, -1)
            if not keep_blob:
                _to_delete(connection, link.blob)
            self._database.bump(connection, "files")
        return link

    def mark_file(self, handle: str, *, application: str, **marks: int | None) -> FileLink:
        """Set `expires`, `removed` or `held` of a file; returns it as it is then. Raises `NotFound`."""
        if not marks.keys() <= {"expires", "removed", "held"}:
            raise TypeError("only expires, removed and held can be marked")
        with self._database.write() as connection:
            link = replace(self._locked_file(connection, handle, application), **marks)  # type: ignore[arg-type]
            connection.execute(sa.update(tables.file).where(*_file(link)).values(**marks))
            self._database.bump(connection, "files")
        return link

    def judged(self, link: FileLink) -> FileLink:
        """Release a held file whose content was found clean, with all that are the same bytes; returns it as it is then, held
        still if it was overwritten meanwhile. Raises `NotFound`."""
        file = tables.file
        same = (file.c.application == link.application, file.c.storage == link.storage, file.c.key == link.key)
        clean = sa.select(file.c.handle).where(*same, file.c.sha256 == link.sha256).order_by(file.c.handle)
        with self._database.write() as connection:
            handles = connection.execute(clean.with_for_update()).scalars().all()
            connection.execute(sa.update(file).where(file.c.handle.in_(handles)).values(held=None))
            row = connection.execute(sa.select(file).where(*_file(link))).one_or_none()
            if row is None:
                raise NotFound
            self._database.bump(connection, "files")
        return _read(row)

    def move_file(self, link: FileLink, *, storage: str, key: str, container: str | None, expires: int | None) -> FileLink:
        """Say that the bytes of a file are elsewhere now, and when it goes there. Raises `NotFound`, `Busy` when it was
        overwritten, deleted or restored meanwhile. It counts as another version, so that who has read the old record and finds
        no bytes looks again."""
        with self._database.write() as connection:
            old = self._locked_file(connection, link.handle, link.application)
            if (old.version, old.blob, old.removed) != (link.version, link.blob, link.removed):
                raise Busy("the file was changed while it was moved")
            moved = replace(old, storage=storage, key=key, container=container, expires=expires, version=old.version + 1)
            connection.execute(sa.update(tables.file).where(*_file(old)).values(**asdict(moved)))
            _count(connection, old, -1)
            _count(connection, moved, +1)
            _no_longer_to_delete(connection, moved.blob)
            _to_delete(connection, old.blob)
            self._database.bump(connection, "files")
        return moved

    def marked_files(self, mark: str, *, before: int, limit: int = _PAGE) -> list[FileLink]:
        """Files whose `expires`, `removed` or `held` is at or before this moment (ms), the earliest first."""
        moment = tables.file.c[mark]
        query = sa.select(tables.file).where(moment.is_not(None), moment <= before).order_by(moment).limit(limit)
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def used(self, application: str, storage: str | None = None) -> tuple[int, int]:
        """How many files an application has, and their bytes: in all storages, or in one."""
        usage = tables.usage
        query = sa.select(sa.func.sum(usage.c.files), sa.func.sum(usage.c.bytes)).where(usage.c.application == application)
        if storage is not None:
            query = query.where(usage.c.storage == storage)
        with self._database.read() as connection:
            files, size = connection.execute(query).one()
        return int(files or 0), int(size or 0)

    def files_in(self, application: str, storage: str, *, after: str = "", limit: int = _PAGE) -> list[FileLink]:
        """Files of an application in one storage, by handle, behind `after`: for moving them one by one."""
        file = tables.file
        query = sa.select(file).where(file.c.application == application, file.c.storage == storage, file.c.handle > after)
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query.order_by(file.c.handle).limit(limit))]

    def blobs_to_delete(self, *, after: Blob | None = None, limit: int = _LARGEST_PAGE) -> list[Blob]:
        """Bytes in storages that nothing refers to any more, in order, behind `after`."""
        gone = tables.blob_to_delete
        query = sa.select(gone.c.storage, gone.c.key).order_by(gone.c.storage, gone.c.key).limit(limit)
        if after is not None:
            same = sa.and_(gone.c.storage == after.storage, gone.c.key > after.key)
            query = query.where(sa.or_(gone.c.storage > after.storage, same))
        with self._database.read() as connection:
            return [Blob(*row) for row in connection.execute(query)]

    def is_to_delete(self, blob: Blob) -> bool:
        """Whether these bytes are on the list of those to delete."""
        gone = tables.blob_to_delete
        query = sa.select(gone.c.key).where(gone.c.storage == blob.storage, gone.c.key == blob.key)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def refers(self, blob: Blob, *, but: str | None = None) -> bool:
        """Whether any file refers to these bytes; with `but`, any whose content is not the one of this digest."""
        file = tables.file
        query = sa.select(file.c.handle).where(file.c.storage == blob.storage, file.c.key == blob.key).limit(1)
        if but is not None:
            query = query.where(file.c.sha256 != but)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def blobs_deleted(self, blobs: Iterable[Blob]) -> None:
        """Forget bytes that are deleted now."""
        gone = tables.blob_to_delete
        pairs = [{"of": blob.storage, "named": blob.key} for blob in blobs]
        if not pairs:
            return
        this = sa.delete(gone).where(gone.c.storage == sa.bindparam("of"), gone.c.key == sa.bindparam("named"))
        with self._database.write() as connection:
            connection.execute(this, pairs)

    def files(self, application: str, *, after: FileLink | None = None, limit: int = _PAGE) -> list[FileLink]:
        """A page of an application's files, newest first, starting behind `after`; at most 1,000."""
        file = tables.file
        query = sa.select(file).where(file.c.application == application)
        if after is not None:
            earlier = sa.and_(file.c.uploaded == after.uploaded, file.c.handle < after.handle)
            query = query.where(sa.or_(file.c.uploaded < after.uploaded, earlier))
        query = query.order_by(file.c.uploaded.desc(), file.c.handle.desc()).limit(max(1, min(limit, _LARGEST_PAGE)))
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def count_files(self, application: str) -> int:
        """How many files an application has."""
        query = sa.select(sa.func.count()).select_from(tables.file).where(tables.file.c.application == application)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    @staticmethod
    def _follow(connection: Connection, link: FileLink) -> int:
        """Have other files of the same object say what it holds now; returns how many. A scanner has to judge them anew."""
        file = tables.file
        differ = sa.or_(file.c.sha256 != link.sha256, file.c.size != link.size)
        others = (file.c.storage == link.storage, file.c.key == link.key, file.c.handle != link.handle, differ)
        locked = sa.select(file.c.handle, file.c.application, file.c.size).where(*others).order_by(file.c.handle)
        found = connection.execute(locked.with_for_update()).all()
        new = {name: getattr(link, name) for name in ("sha256", "size", "mimetype", "uploaded", "held")}
        for each in found:
            this = sa.update(file).where(file.c.handle == each.handle)
            connection.execute(this.values(**new, version=file.c.version + 1))
            grown = tables.usage.c.bytes + (link.size - each.size)
            mine = (tables.usage.c.application == each.application, tables.usage.c.storage == link.storage)
            connection.execute(sa.update(tables.usage).where(*mine).values(bytes=grown))
        return len(found)

    def _locked_file(self, connection: Connection, handle: str, application: str) -> FileLink:
        if not _possible(handle):
            raise NotFound
        where = tables.file.c.handle == handle, tables.file.c.application == application
        row = connection.execute(sa.select(tables.file).where(*where).with_for_update()).one_or_none()
        if row is None:
            raise NotFound
        return _read(row)


def _possible(handle: str) -> bool:
    """Whether a handle from a URL can be ours at all; PostgreSQL takes some texts not even as a question."""
    return handle.isascii() and "\0" not in handle


def _read(row: Sequence[Any]) -> FileLink:
    return FileLink(**dict(zip(_COLUMNS, row, strict=True)))


def _file(link: FileLink) -> Iterable[sa.ColumnElement[bool]]:
    return tables.file.c.handle == link.handle, tables.file.c.application == link.application


def _to_delete(connection: Connection, blob: Blob) -> None:
    """Write down bytes that are to be deleted, unless another file refers to them.

    After `_count`: of two files that share bytes and go at the same moment, it has the second wait until the first is gone.
    """
    file, gone = tables.file, tables.blob_to_delete
    shared = sa.select(file.c.handle).where(file.c.storage == blob.storage, file.c.key == blob.key).limit(1)
    if connection.execute(shared).first() is not None:
        return
    _no_longer_to_delete(connection, blob)
    connection.execute(sa.insert(gone).values(storage=blob.storage, key=blob.key))


def _no_longer_to_delete(connection: Connection, blob: Blob) -> None:
    """An object was written again, under a path that was used before, before its old content could be deleted."""
    gone = tables.blob_to_delete
    connection.execute(sa.delete(gone).where(gone.c.storage == blob.storage, gone.c.key == blob.key))


def _count(connection: Connection, link: FileLink, sign: int, *, quota: int = 0) -> None:
    """Keep the figures of an application's use of a storage, in the transaction that changes them; `quota` bounds its bytes."""
    mine = {"owner": link.application, "place": link.storage}
    if not connection.execute(_USED_MORE, {**mine, "some": sign, "more": sign * link.size}).rowcount:
        usage = tables.usage
        row = {"application": link.application, "storage": link.storage, "files": sign, "bytes": sign * link.size}
        insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
        added = insert(usage).values(**row)  # two first files at the same moment: the second one adds to the row of the first
        changed = {"files": usage.c.files + sign, "bytes": usage.c.bytes + sign * link.size}
        connection.execute(added.on_conflict_do_update(index_elements=["application", "storage"], set_=changed))
    if quota and connection.execute(_USED, mine).scalar_one() > quota:
        raise QuotaExceeded(f"{link.application} would use more than {quota} bytes")
