"""The figures that were counted, read for whoever shows them: over hours, days and months, and since ever.

Knows: the table `figure`, the names of all figures, the table of what applications store. Must not know: who counts what, how
figures are shown.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import sqlalchemy as sa

from . import tables
from .database import Database
from .usage import DAY, EVER, HOUR

__all__ = ["BYS", "NAMES", "By", "Figure", "Figures", "Stored", "as_csv", "moment", "starts"]

By: TypeAlias = Literal["hour", "day", "month"]
BYS: tuple[By, ...] = get_args(By)

REQUESTS = "requests"
ANSWERS = "answers"
REFUSALS = "refusals"
BYTES = "bytes"
RESULTS = "results"
JOBS = "jobs"
PREVIEWS = "previews"
WEBHOOKS = "webhooks"
POLICIES = "policies"
WOULD_REFUSE = "would_refuse"
SIGNED = "signed"

#: Every figure, and what its label says.
NAMES = {
    REQUESTS: "requests by kind: delivery, transformation, upload, file_api, previews_api, api, portal, other",
    ANSWERS: "answers by class of status: 2xx, 3xx, 4xx, 5xx, none for those nobody waited for",
    REFUSALS: "refused requests by reason",
    BYTES: "bytes of bodies: in, out",
    RESULTS: "results of transformations by where they came from: hot, disk, made",
    JOBS: "ended jobs by kind/state",
    PREVIEWS: "successful previews by family/previewer",
    WEBHOOKS: "tries to deliver a webhook by outcome: delivered, failed, given_up",
    POLICIES: "policies that were let in by the time they had left: hour, day, week, year, longer; and global ones",
    WOULD_REFUSE: "requests let in without a credential that is thought of as required, by kind: upload, delivery, conversion, "
    "metadata",
    SIGNED: "policies signed for people, by where: portal",
}

_F = tables.figure


class Figure(NamedTuple):
    """One number: of the time that begins at `at` (seconds since the epoch), of an application (empty: of all that were asked
    for, or of none)."""

    at: int
    application: str
    name: str
    label: str
    value: int


class Stored(NamedTuple):
    """What an application has stored."""

    application: str
    files: int
    size: int


class Figures:
    """Reads. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def series(self, by: By, *, since: float, until: float, application: str | None = None, each: bool = False) -> list[Figure]:
        """The figures of the hours, days or months that begin in [`since`, `until`), oldest first; months are put together
        from days. Those of one application, or with `each` of every one, else the sums of all."""
        period = HOUR if by == HOUR else DAY
        within = (_F.c.period == period, _F.c.at >= int(since * 1000), _F.c.at < int(until * 1000))
        return _sums(self._read(within, application=application, each=each), by)

    def totals(self, *, each: bool = False) -> list[Figure]:
        """All figures since they were first counted. They only ever grow."""
        return self._read((_F.c.period == EVER,), each=each)

    def stored(self, application: str | None = None) -> list[Stored]:
        """What every application, or one, has stored, largest first."""
        table = tables.usage
        files, size = sa.func.sum(table.c.files), sa.func.sum(table.c.bytes)
        query = sa.select(table.c.application, files, size).group_by(table.c.application)
        if application is not None:
            query = query.where(table.c.application == application)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = [Stored(row[0], int(row[1]), int(row[2])) for row in rows]
        return sorted(found, key=lambda one: (-one.size, one.application))

    def _read(
        self, where: Sequence[sa.ColumnElement[bool]], *, application: str | None = None, each: bool = False
    ) -> list[Figure]:
        owner = _F.c.application if each or application is not None else sa.literal("")
        columns = (_F.c.at, owner.label("owner"), _F.c.name, _F.c.label)
        query = sa.select(*columns, sa.func.sum(_F.c.value)).where(*where)
        if application is not None:
            query = query.where(_F.c.application == application)
        query = query.group_by(*(columns if each or application is not None else (columns[0], *columns[2:])))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return sorted(Figure(row[0] // 1000, row[1], row[2], row[3], int(row[4])) for row in rows)


def as_csv(found: Sequence[Figure]) -> str:
    """Figures as CSV (RFC 4180). Nothing in it was chosen by a client."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("time", "application", "figure", "label", "value"))
    writer.writerows((moment(figure.at), figure.application, figure.name, figure.label, figure.value) for figure in found)
    return text.getvalue()


def moment(at: int) -> str:
    """Seconds since the epoch as RFC 3339 says them."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sums(found: Sequence[Figure], by: By) -> list[Figure]:
    if by != "month":
        return list(found)
    sums: Counter[tuple[int, str, str, str]] = Counter()
    for figure in found:
        month = dt.datetime.fromtimestamp(figure.at, dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        sums[int(month.timestamp()), figure.application, figure.name, figure.label] += figure.value
    return [Figure(*key, value) for key, value in sorted(sums.items())]


def starts(by: By, count: int, now: float) -> list[int]:
    """When the last `count` hours, days or months begin, the present one last; seconds since the epoch."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC).replace(minute=0, second=0, microsecond=0)
    if by == "hour":
        return [int((moment - dt.timedelta(hours=back)).timestamp()) for back in range(count - 1, -1, -1)]
    moment = moment.replace(hour=0)
    if by == "day":
        return [int((moment - dt.timedelta(days=back)).timestamp()) for back in range(count - 1, -1, -1)]
    months = moment.year * 12 + moment.month - 1
    found = [divmod(months - back, 12) for back in range(count - 1, -1, -1)]
    return [int(dt.datetime(year, month + 1, 1, tzinfo=dt.UTC).timestamp()) for year, month in found]
