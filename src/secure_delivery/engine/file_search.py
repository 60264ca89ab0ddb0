"""Pages of an application's files: in several orders, with filters, however many there are.

Knows: the rows of files and their indexes. Must not know: HTTP, who may look, storages.

A page begins where the last one ended, at a place in the order, so the thousandth costs what the first does. There are two ways
to make one. Filters that an index knows to leave few files: those files are taken and sorted. All others: the files are walked
in their order, and what does not match is left out. Either way at most `most` files are looked at for one page; a walk that has
looked at so many says that there may be more, and the next page goes on from there. If many files match, a walk meets them
soon: where 20,000 of a million do, 50 of them are met among 2,500 on average.

Reading holds up no writer: SQLite and PostgreSQL show readers one moment, while others go on writing.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest
from . import tables
from .applications import Clock
from .database import Database, check_text
from .file_places import MOST, Place, cursor_of, place_of, question_of
from .records import FileLink

__all__ = ["ORDERS", "FileSearch", "Page"]

_EXAMINED = 20_000  # files looked at for one page: a tenth of a second
_PAGE, _LARGEST_PAGE = 50, 200
_STEP = 2_000  # rows of a walk that are fetched together, at most
_TYPES = 40  # types that are walked side by side; of more than that, the files are walked in their order
_LONGEST_TEXT = 255  # characters of a part of a name: no name has more
_TYPE = re.compile(r"([a-z0-9!#$&^_.+-]{1,127})/([a-z0-9!#$&^_.+-]{1,127}|\*)")

#: For this transaction, PostgreSQL walks indexes in their order. Left to itself it may take all rows of an application and sort
#: them, when it has not counted them yet or thinks them few; and what it avoids but needs is no reason to compile anything.
_BY_INDEX = sa.select(
    *(sa.func.set_config(name, "off", True) for name in ("enable_sort", "enable_bitmapscan", "enable_seqscan", "jit"))
)

_file = tables.file
_COLUMNS = tuple(_file.c.keys())
_Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order of files: by `key`, then by handle, both `down` or both up. `kind` is what the key is in Python."""

    key: sa.ColumnElement[Any]
    down: bool
    kind: type[int] | type[str] = int


_NAME = sa.func.lower(_file.c.filename)
_ORDERS = {
    "newest": _Order(key=_file.c.uploaded, down=True),
    "oldest": _Order(key=_file.c.uploaded, down=False),
    "name": _Order(key=_NAME, down=False, kind=str),
    "largest": _Order(key=_file.c.size, down=True),
}
#: The orders that a page can have. Names are compared byte by byte, capitals of ASCII as small letters.
ORDERS = tuple(_ORDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some files in their order. `next` leads to the page behind this one, None at the end. `partial`: so many files were
    looked at that the page ended early, perhaps empty; the next one goes on."""

    files: tuple[FileLink, ...]
    next: str | None
    partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What files are asked for. Times and sizes are inclusive below; `until` is not included, `max_size` is."""

    text: str | None
    mimetype: str | None
    storage: str | None
    container: str | None
    path: str | None
    handle: str | None
    since: int | None
    until: int | None
    min_size: int | None
    max_size: int | None
    removed: bool

    @property
    def family(self) -> str | None:
        """What all types begin with that are asked for: `image/` of `image/*`."""
        return self.mimetype[:-1] if self.mimetype is not None and self.mimetype.endswith("/*") else None

    def dates(self) -> list[_Condition]:
        return _between(_file.c.uploaded, self.since, None if self.until is None else self.until - 1)

    def sizes(self) -> list[_Condition]:
        return _between(_file.c.size, self.min_size, self.max_size)

    def matches(self, now: int) -> _Condition:
        """Whether a row matches, but for `text`."""
        gone = _file.c.removed.is_not(None) if self.removed else _file.c.removed.is_(None)
        conditions = [gone, sa.or_(_file.c.expires.is_(None), _file.c.expires > now), *self.dates(), *self.sizes()]
        if self.family is not None:
            conditions.append(_begins(_file.c.mimetype, self.family))
        elif self.mimetype is not None:
            conditions.append(_file.c.mimetype == self.mimetype)
        for column, wanted in ((_file.c.storage, self.storage), (_file.c.container, self.container)):
            if wanted is not None:
                conditions.append(column == wanted)
        if self.path is not None:
            conditions.append(_begins(_file.c.path, self.path))
        return sa.and_(*conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Few:
    """Files that an index holds together: `conditions`, in the order `by` of that index."""

    conditions: Sequence[_Condition]
    by: Sequence[sa.ColumnElement[Any]]


class FileSearch:
    """Looks for files. Thread-safe. `most` bounds how many files are looked at for one page."""

    def __init__(self, database: Database, clock: Clock, *, most: int = _EXAMINED) -> None:
        self._database = database
        self._clock = clock
        self._most = most

    def page(
        self,
        api_key: str,
        *,
        text: str | None = None,
        mimetype: str | None = None,
        storage: str | None = None,
        container: str | None = None,
        path: str | None = None,
        handle: str | None = None,
        since: int | None = None,
        until: int | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        removed: bool = False,
        order: str = "newest",
        after: str | None = None,
        limit: int = _PAGE,
    ) -> Page:
        """Files of an application in an order (`ORDERS`), at most 200, behind the cursor `after`: the `next` of another page.

        `text` is part of the name, capitals or not; `mimetype` whole, or a family (`image/*`); `path` what the path begins
        with; `storage` as records name it. `since` and `until` are in ms since the epoch, the second not included; sizes are in
        bytes, both included. `removed`: only files that were deleted and can be restored; else only those that are there, also
        if scanners have to judge them still. What has expired is in neither.

        Raises `BadRequest` for an unknown order, a type that is none, a number or text that no file can have, and for a cursor
        that is none, or of other questions than this one.
        """
        wanted = _Wanted(
            text=_folded(text) if text else None,
            mimetype=_type(mimetype) if mimetype else None,
            storage=storage,
            container=container,
            path=path or None,
            handle=handle,
            since=since,
            until=until,
            min_size=min_size,
            max_size=max_size,
            removed=removed,
        )
        _check(api_key, wanted)
        if order not in _ORDERS:
            raise BadRequest("unknown order", public=f"The order is one of {', '.join(ORDERS)}.")
        question = question_of(api_key, order, *astuple(wanted))
        place = None if after is None else place_of(after, question, _ORDERS[order].kind)
        with self._reading() as connection:
            look = _Look(connection, api_key, wanted, _ORDERS[order], int(self._clock() * 1000), self._most)
            files, last, partial = look.page(place, max(1, min(limit, _LARGEST_PAGE)))
        return Page(files=tuple(files), next=None if last is None else cursor_of(question, last), partial=partial)

    def types(self, api_key: str, *, limit: int = _LARGEST_PAGE) -> list[str]:
        """The types of an application's files, also of deleted ones, in order; at most `limit`, which is a look at an index for
        each."""
        check_text(api_key)
        with self._reading() as connection:
            return list(_types(connection, api_key, "", None, limit))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._database.read() as connection:
            if not self._database.sqlite:
                connection.execute(_BY_INDEX)
            yield connection


class _Look:
    """One page on its way. Everything it reads is of one moment."""

    def __init__(self, connection: Connection, api_key: str, wanted: _Wanted, order: _Order, now: int, most: int) -> None:
        self._connection = connection
        self._mine = _file.c.application == api_key
        self._api_key = api_key
        self._wanted = wanted
        self._order = order
        self._most = most
        told = (order.key.label("at"), wanted.matches(now).label("matches"))
        self._narrow = (*told, _file.c.handle, _file.c.filename)
        self._wide = (*told, *_file.c)

    def page(self, place: Place | None, limit: int) -> tuple[list[FileLink], Place | None, bool]:
        """The files, the place where the next page begins if there is one, and whether the walk ended early."""
        found: list[sa.Row[Any]] = []
        last: sa.Row[Any] | None = None
        for examined, row in enumerate(self._rows(place, limit + 1)):
            if examined == self._most and last is not None:
                return self._whole(found), (last.at, last.handle), True
            last = row
            if row.matches and (self._wanted.text is None or self._wanted.text in _folded(row.filename)):
                if len(found) == limit:
                    return self._whole(found), (found[-1].at, found[-1].handle), False
                found.append(row)
        return self._whole(found), None, False

    def _whole(self, found: Sequence[sa.Row[Any]]) -> list[FileLink]:
        """The files of these rows: of narrow ones, the rest is fetched."""
        handles = [row.handle for row in found if "sha256" not in row._mapping]
        rows = self._connection.execute(sa.select(_file).where(_file.c.handle.in_(handles), self._mine)) if handles else ()
        whole = {row.handle: row for row in (*found, *rows)}
        return [FileLink(**{name: getattr(whole[row.handle], name) for name in _COLUMNS}) for row in found]

    def _rows(self, place: Place | None, first: int) -> Iterator[sa.Row[Any]]:
        """Rows behind a place in their order, among them all that match."""
        handle = self._wanted.handle
        if handle is not None:
            if not handle.isascii():  # PostgreSQL takes some texts not even as a question
                return iter(())
            return self._walk([_file.c.handle == handle], place, first)
        types = self._types()
        walks, rest = self._plan(types)
        for few in rest:
            if self._are_few(few):
                return self._sorted(few, place, first)
        walked = [self._walk(conditions, place, first) for conditions in walks]
        return walked[0] if len(walked) == 1 else heapq.merge(*walked, key=attrgetter("at", "handle"), reverse=self._order.down)

    def _types(self) -> list[str] | None:
        """The types that are asked for, None for any, or too many."""
        if self._wanted.mimetype is None:
            return None
        family = self._wanted.family
        if family is None:
            return [self._wanted.mimetype]
        after_all = family[:-1] + chr(ord("/") + 1)
        found = list(_types(self._connection, self._api_key, family, after_all, _TYPES + 1))
        return found if len(found) <= _TYPES else None

    def _plan(self, types: list[str] | None) -> tuple[list[list[_Condition]], list[_Few]]:
        """Which parts of indexes are walked side by side, all in the order; and which others may hold few files together."""
        dates, sizes = self._wanted.dates(), self._wanted.sizes()
        by_date, by_size = (_file.c.uploaded, _file.c.handle), (_file.c.size, _file.c.handle)
        of_types = [] if types is None else [_file.c.mimetype.in_(types), *dates]
        gone = [_file.c.removed.is_not(None), *dates] if self._wanted.removed else []
        few = {
            "types": _Few(conditions=of_types, by=(_file.c.mimetype, *by_date)),
            "removed": _Few(conditions=gone, by=by_date),
            "dates": _Few(conditions=dates, by=by_date),
            "sizes": _Few(conditions=sizes, by=by_size),
        }
        walks: list[list[_Condition]] = [[]]
        if self._order.key is _file.c.uploaded:
            del few["dates"]
            if types is not None:
                del few["types"]
                walks = [[_file.c.mimetype == each, *dates] for each in types]
            elif gone:
                del few["removed"]
                walks = [gone]
            else:
                walks = [dates]
        elif self._order.key is _file.c.size:
            del few["sizes"]
            walks = [sizes]
        return walks, [each for each in few.values() if each.conditions]

    def _are_few(self, few: _Few) -> bool:
        inner = sa.select(sa.literal(1)).where(self._mine, *few.conditions).limit(self._most + 1).subquery()
        return self._connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one() <= self._most

    def _sorted(self, few: _Few, place: Place | None, first: int) -> Iterator[sa.Row[Any]]:
        """Take few files and sort them. The inner LIMIT has both databases take them by their own index, before they sort."""
        inner = sa.select(*self._narrow).where(self._mine, *few.conditions).order_by(*few.by).limit(self._most).subquery()
        query = sa.select(inner).where(inner.c.matches)
        if place is not None:
            query = query.where(self._behind(inner.c.at, inner.c.handle, place))
        query = query.order_by(*self._directed(inner.c.at, inner.c.handle))
        if self._wanted.text is None:
            query = query.limit(first)
        yield from self._connection.execute(query)

    def _walk(self, conditions: Sequence[_Condition], place: Place | None, first: int) -> Iterator[sa.Row[Any]]:
        """All rows of these conditions in order, fetched some at a time: first as many as make a page if all match, whole."""
        key, handle, size = self._order.key, _file.c.handle, first
        columns: tuple[sa.ColumnElement[Any], ...] = self._wide
        while True:
            query = sa.select(*columns).where(self._mine, *conditions)
            if place is not None:
                query = query.where(self._behind(key, handle, place))
            rows = self._connection.execute(query.order_by(*self._directed(key, handle)).limit(size)).all()
            yield from rows
            if len(rows) < size:
                return
            place, size, columns = (rows[-1].at, rows[-1].handle), min(4 * size, _STEP), self._narrow

    def _behind(self, key: sa.ColumnElement[Any], handle: sa.ColumnElement[str], place: Place) -> _Condition:
        """Rows behind a place. The first half says nothing new, but lets SQLite begin there in its index."""
        pair = sa.tuple_(key, handle)
        if self._order.down:
            return sa.and_(key <= place[0], pair < place)
        return sa.and_(key >= place[0], pair > place)

    def _directed(self, *keys: sa.ColumnElement[Any]) -> list[sa.UnaryExpression[Any]]:
        return [each.desc() if self._order.down else each.asc() for each in keys]


def _types(connection: Connection, api_key: str, first: str, end: str | None, limit: int) -> Iterator[str]:
    """The types of an application's files from `first` on, below `end`, each by one look at the index."""
    kind, found = _file.c.mimetype, 0
    condition = kind >= first
    while found < limit:
        query = sa.select(kind).where(_file.c.application == api_key, condition).order_by(kind).limit(1)
        if end is not None:
            query = query.where(kind < end)
        one = connection.execute(query).scalar_one_or_none()
        if one is None:
            return
        yield one
        condition, found = kind > one, found + 1


def _between(column: sa.ColumnElement[int], least: int | None, most: int | None) -> list[_Condition]:
    return [*([] if least is None else [column >= least]), *([] if most is None else [column <= most])]


def _begins(column: sa.ColumnElement[Any], prefix: str) -> _Condition:
    """Whether a text begins with another. LIKE would mean something else in each database."""
    return sa.func.substr(column, 1, len(prefix)) == prefix


def _folded(text: str) -> str:
    """A text as it is looked for: composed, and without capitals of any language."""
    return unicodedata.normalize("NFC", text).casefold()


def _type(mimetype: str) -> str:
    if _TYPE.fullmatch(mimetype.lower()) is None:
        raise BadRequest("no type", public="The type is a media type like image/png, or a family like image/*.")
    return mimetype.lower()


def _check(api_key: str, wanted: _Wanted) -> None:
    check_text(api_key, wanted.text, wanted.storage, wanted.container, wanted.path, wanted.handle)
    if wanted.text is not None and len(wanted.text) > _LONGEST_TEXT:
        raise BadRequest("a long text", public=f"At most {_LONGEST_TEXT} characters of a name can be looked for.")
    for number in (wanted.since, wanted.until, wanted.min_size, wanted.max_size):
        if number is not None and not 0 <= number <= MOST:
            raise BadRequest("number out of range", public="Times and sizes are whole numbers from 0 on.")
