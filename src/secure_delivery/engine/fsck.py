"""Whether records and storages agree: every file has its bytes, and all bytes have a file.

Knows: rows of files, storages. Must not know: commands, HTTP, how bytes came to be missing.

Records are read in pages, blobs as they are listed; neither is ever held as a whole. Servers may run meanwhile: whatever looks
wrong is looked at again with the record as it is then, and bytes without a record count only when they are an hour old, for an
upload is published a moment before it is recorded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import sqlalchemy as sa

from ..gate.errors import NotFound, SecureDeliveryError
from ..plugin.protocols import Listed, Located, Placing, Storage, Swept
from . import tables
from .database import Database
from .files import Files
from .records import Records

__all__ = ["Finding", "Fsck", "Report"]

#: `missing`: no blob. `size`, `damaged`: other bytes than recorded. `unreadable`: the storage could not tell. `orphan`: a blob
#: that no record refers to.
Kind: TypeAlias = Literal["missing", "size", "damaged", "unreadable", "orphan"]

_PAGE = 1000  # records, and listed blobs, looked at together
_KEPT = 1000  # findings that a report holds; all are counted, and told while they are found
_YOUNG = 3600.0  # seconds for which a blob may be without a record
_ABANDONED = 24 * 3600.0  # seconds after which a draft that nobody holds is nobody's, as at a start
_AT_ONCE = 8  # blobs looked at together where each costs a round trip
_GIVES_UP = 20  # blobs in a row that a storage cannot read, after which it is left alone
_FEW = 10  # files up to which it does not matter how many of a storage's files they are, when they are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be. `size` is what was found; `detail` is for the operator."""

    kind: Kind
    storage: str
    key: str
    handle: str | None = None
    application: str | None = None
    size: int | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """What was looked at and found. `counts` has all findings by kind, `findings` the first thousand.

    `skipped` says why a storage, or its orphans, could not be checked. `waiting` are blobs whose deletion is still to be done,
    `drafts` unfinished ones that a crash left; both are no damage.
    """

    storages: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    blobs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    orphan_bytes: int = 0
    waiting: int = 0
    drafts: int = 0
    deleted: int = 0
    forgotten: int = 0
    unchecked: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How many findings were not put right, and how many storages could not be read to their end."""
        return self.counts.total() - self.deleted - self.forgotten + self.unchecked


@runtime_checkable
class _Drafting(Protocol):
    def drafts(self, older_than: float) -> int:
        """How many drafts were abandoned so many seconds ago."""
        ...


class _Row(NamedTuple):
    handle: str
    application: str
    key: str
    size: int
    sha256: str


class _Seen(NamedTuple):
    """A blob as it was found: its size, and its digest when it was read. `kind` where there was nothing to be found."""

    size: int | None = None
    sha256: str | None = None
    kind: Kind | None = None
    detail: str = ""


def _nothing(*_: object) -> None:
    pass


class Fsck:
    """One check. `storages` are the server's own by name; those of applications are found through the records.

    `deep` reads every blob and compares its SHA-256. `progress` is called with what is being done, in which storage, how much
    of it is done, and of how much where that is known; `found` with every finding. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        records: Records,
        files: Files,
        storages: Mapping[str, Storage],
        *,
        deep: bool = False,
        clock: Callable[[], float],
        progress: Callable[[str, str, int, int | None], None] = _nothing,
        found: Callable[[Finding], None] = _nothing,
    ) -> None:
        self._database = database
        self._records = records
        self._files = files
        self._own = storages
        self._deep = deep
        self._clock = clock
        self._progress = progress
        self._found = found
        self._report = Report()

    def run(
        self,
        only: str | None = None,
        *,
        repair: bool = False,
        forget_missing: bool = False,
        consent: Callable[[int, int], bool] = lambda count, size: True,
    ) -> Report:
        """Check one storage, or all.

        `repair` deletes orphans, if `consent` agrees to that many with so many bytes, and what waits to be deleted, and drafts
        that a crash left. `forget_missing` deletes the records of files whose bytes are gone; not where that is most of a
        storage, which is rather one that is not mounted.
        """
        names = [only] if only is not None else self._names()
        for name in names:
            try:
                storage = self._files.storage(name)
            except SecureDeliveryError as fault:
                self._give_up(name, str(fault))
                continue
            self._report.storages.append(name)
            if isinstance(storage, Placing) and not storage.readable:
                self._report.skipped[name] = "its owner does not let us read it"
                continue
            self._check_files(name, storage, forget=forget_missing)
            self._check_blobs(name, storage, consent if repair else None)
            self._check_drafts(storage, repair=repair)
        if repair:
            self._files.sweep()
        self._report.waiting = self._count(tables.blob_to_delete, only)
        return self._report

    # -- files

    def _check_files(self, name: str, storage: Storage, *, forget: bool) -> None:
        """Every record of a storage has its bytes."""
        total, before = self._count(tables.file, name), self._report.counts["missing"]
        done, in_a_row = 0, 0
        for page in self._pages(name):
            for row, seen in self._looked_at(storage, page, deep=self._deep):
                finding = self._judged(name, storage, row, seen)
                in_a_row = in_a_row + 1 if finding is not None and finding.kind == "unreadable" else 0
                if finding is not None:
                    self._add(finding)
                self._report.files += 1
                self._report.bytes += row.size
                done += 1
                self._progress("files", name, done, total)
                if in_a_row >= _GIVES_UP:
                    self._give_up(name, "it could not be read, again and again")
                    return
        missing = self._report.counts["missing"] - before
        if forget and missing:
            self._forget(name, storage, missing, done)

    def _looked_at(self, storage: Storage, page: Iterable[_Row], *, deep: bool) -> Iterator[tuple[_Row, _Seen]]:
        """The records of a page with their blobs; one that several files share is looked at once."""
        shared = ((key, list(rows)) for key, rows in groupby(page, lambda row: row.key))

        def look(one: tuple[str, list[_Row]]) -> list[tuple[_Row, _Seen]]:
            sizes = {row.size for row in one[1]}
            seen = {size: _look(storage, one[0], size, deep=deep) for size in sizes}
            return [(row, seen[row.size]) for row in one[1]]

        if isinstance(storage, Located) and not deep:
            for one in shared:
                yield from look(one)
            return
        with ThreadPoolExecutor(1 if isinstance(storage, Located) else _AT_ONCE) as pool:
            while some := list(islice(shared, 4 * _AT_ONCE)):
                for found in pool.map(look, some):
                    yield from found

    def _judged(self, name: str, storage: Storage, row: _Row, seen: _Seen) -> Finding | None:
        """What is wrong with a file, after a second look at record and bytes; a file that changed meanwhile is not judged."""
        if _verdict(row, seen) is None:
            return None
        again = _look(storage, row.key, row.size, deep=self._deep)
        kind = _verdict(row, again)
        if kind is None or not self._unchanged(name, row):
            return None
        return Finding(
            kind=kind,
            storage=name,
            key=row.key,
            handle=row.handle,
            application=row.application,
            size=again.size,
            detail=again.detail or f"{row.size} bytes are recorded",
        )

    def _unchanged(self, name: str, row: _Row) -> bool:
        file = tables.file
        query = sa.select(file.c.storage, file.c.key, file.c.size, file.c.sha256).where(file.c.handle == row.handle)
        with self._database.read() as connection:
            found = connection.execute(query).one_or_none()
        return found is not None and tuple(found) == (name, row.key, row.size, row.sha256)

    def _forget(self, name: str, storage: Storage, missing: int, total: int) -> None:
        """Delete the records of files whose bytes are gone."""
        if missing > _FEW and missing * 2 > total:
            self._report.skipped[name] = "most of its files are missing: nothing was forgotten, as it may not be mounted"
            return
        for page in self._pages(name):
            for row, seen in self._looked_at(storage, page, deep=False):
                if seen.kind != "missing" or not self._unchanged(name, row):
                    continue
                link = self._records.file(row.handle)
                if link is not None and link.key == row.key:
                    with suppress(NotFound):  # somebody else was quicker
                        self._files.remove(link)
                        self._report.forgotten += 1

    # -- blobs

    def _check_blobs(self, name: str, storage: Storage, consent: Callable[[int, int], bool] | None) -> None:
        """Every blob of a storage has a record. In the customer's own place nothing is ever an orphan."""
        if isinstance(storage, Placing) or not isinstance(storage, Listed):
            return
        orphans, size = 0, 0
        try:
            for key, length in self._orphans(name, storage, count=True):
                self._add(Finding(kind="orphan", storage=name, key=key, size=length))
                orphans, size = orphans + 1, size + length
            self._report.orphan_bytes += size
            if consent is None or not orphans or not consent(orphans, size):
                return
            for key, _ in self._orphans(name, storage, count=False):
                storage.remove(key)
                self._report.deleted += 1
                self._progress("deleting", name, self._report.deleted, orphans)
        except SecureDeliveryError as fault:
            self._give_up(name, str(fault))

    def _orphans(self, name: str, storage: Listed, *, count: bool) -> Iterator[tuple[str, int]]:
        """Blobs that no record refers to, and are not about to be deleted. Each page is asked for right before it is told."""
        before = self._clock() - _YOUNG
        listing = storage.keys()
        while page := list(islice(listing, _PAGE)):
            old = {key: size for key, size, moment in page if moment < before}
            known: set[str] = set()
            with self._database.read() as connection:
                for table in (tables.file, tables.blob_to_delete):
                    query = sa.select(table.c.key).where(table.c.storage == name, table.c.key.in_(old))
                    known.update(connection.execute(query).scalars())
            if count:
                self._report.blobs += len(page)
                self._progress("blobs", name, self._report.blobs, None)
            yield from ((key, size) for key, size in old.items() if key not in known)

    def _check_drafts(self, storage: Storage, *, repair: bool) -> None:
        if repair and isinstance(storage, Swept):
            storage.sweep(_ABANDONED)
        if isinstance(storage, _Drafting):
            self._report.drafts += storage.drafts(_ABANDONED)

    # -- rows

    def _names(self) -> list[str]:
        """Every storage there is or that a record names."""
        names = set(self._own)
        with self._database.read() as connection:
            for table in (tables.file, tables.blob_to_delete):
                names.update(connection.execute(sa.select(table.c.storage).distinct()).scalars())
        return sorted(names)

    def _pages(self, name: str) -> Iterator[list[_Row]]:
        """All records of a storage, those of one blob one after the other."""
        file = tables.file
        columns = (file.c.handle, file.c.application, file.c.key, file.c.size, file.c.sha256)
        place = sa.tuple_(file.c.key, file.c.handle)
        query = sa.select(*columns).where(file.c.storage == name).order_by(file.c.key, file.c.handle).limit(_PAGE)
        after: tuple[str, str] | None = None
        while True:
            more = query if after is None else query.where(place > sa.tuple_(*after))
            with self._database.read() as connection:
                page = [_Row(*row) for row in connection.execute(more)]
            if not page:
                return
            yield page
            after = page[-1].key, page[-1].handle

    def _count(self, table: sa.Table, name: str | None) -> int:
        query = sa.select(sa.func.count()).select_from(table)
        if name is not None:
            query = query.where(table.c.storage == name)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def _add(self, finding: Finding) -> None:
        self._report.counts[finding.kind] += 1
        if len(self._report.findings) < _KEPT:
            self._report.findings.append(finding)
        self._found(finding)

    def _give_up(self, name: str, why: str) -> None:
        self._report.skipped[name] = why
        self._report.unchecked += 1


def _look(storage: Storage, key: str, size: int, *, deep: bool) -> _Seen:
    """A blob as it is now. What costs least: its size where it is a file here, else its last byte and the one behind it."""
    try:
        if deep:
            return _read(storage, key)
        if isinstance(storage, Located):
            return _Seen(size=storage.locate(key).stat().st_size)
        with storage.open(key, start=max(0, size - 1), length=2) as stream:
            end = stream.read()
        if len(end) == min(1, size):
            return _Seen(size=size)
        return _Seen(kind="size", detail="it is shorter" if not end else "it is longer")
    except (NotFound, FileNotFoundError):
        return _Seen(kind="missing", detail="there are no bytes")
    except (SecureDeliveryError, OSError) as fault:
        return _Seen(kind="unreadable", detail=str(fault))


def _read(storage: Storage, key: str) -> _Seen:
    """A blob, read to its end."""
    digest, size = hashlib.sha256(), 0
    with storage.open(key) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return _Seen(size=size, sha256=digest.hexdigest())


def _verdict(row: _Row, seen: _Seen) -> Kind | None:
    """What is wrong with a blob, seen by a record of it."""
    if seen.kind is not None:
        return seen.kind
    if seen.size != row.size:
        return "size"
    return "damaged" if seen.sha256 not in (None, row.sha256) else None
