"""Requests that passed without a credential and would be refused if one were required: from which pages they came.

Knows: the table `would_refuse`, how much of it there may be. Must not know: requests, how it is decided what is reported.

Counting is a step of a dictionary, so that no request waits. A thread, which begins with the first of them, adds what was
counted to the database every few seconds, in one transaction; any number of processes do so side by side. A crash loses what
was counted since the last round. Strangers choose the hosts, so there are at most so many for each application, in memory as
in the database; what comes from further ones is counted together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection

from ..gate.model import KINDS
from . import tables
from .database import Database
from .figures import WOULD_REFUSE
from .rounds import Rounds
from .usage import DAY_MS, HOUR_MS, Usage

__all__ = ["KEPT", "MOST", "OTHERS", "Reports", "WouldRefuse"]

MOST = 500  # rows of one application: more than anybody reads
OTHERS = "…"  # stands for the hosts that there was no row for; no host is called this
KEPT = 30 * DAY_MS  # a page that did not ask for so long has been mended, or is gone
PAUSE = 5.0  # seconds between rounds: what a crash loses

_HOSTS = MOST - len(KINDS)  # rows with a host; each kind may need one for the others
_T = tables.would_refuse
_KEY = ("application", "kind", "who")

#: Kind of request and host, of one application.
_What: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldRefuse:
    """Requests of one `kind` from pages of the host `who`: empty where requests did not say, `OTHERS` for many hosts together.
    `first` and `last` are milliseconds since the epoch."""

    kind: str
    who: str
    count: int
    first: int
    last: int


@dataclass(slots=True)
class _Tally:
    """What was counted and not written down yet."""

    count: int
    first: int
    last: int

    def take(self, other: _Tally) -> None:
        """Add another one's to this one's."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


class Reports:
    """Counts and tells. Safe to use from any thread. `clock` gives seconds since the epoch, `pause` is the seconds between
    rounds; how many requests of each kind there were is a figure of `usage` too."""

    def __init__(self, database: Database, clock: Callable[[], float], usage: Usage, *, pause: float = PAUSE) -> None:
        self._database = database
        self._clock = clock
        self._usage = usage
        self._rounds = Rounds("reports", self.flush, pause=pause, complaint="who would be refused is not written down")
        self._waiting: dict[str, dict[_What, _Tally]] = {}  # by application
        self._lock = threading.Lock()  # of what waits; nobody holds it for longer than a few steps
        self._writing = threading.Lock()
        self._forgotten = 0  # the hour in which old rows were last looked for
        insert = (sqlite_insert if database.sqlite else postgres_insert)(_T)
        new = insert.excluded
        self._add = insert.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={
                "count": _T.c["count"] + new["count"],
                "first": sa.case((new["first"] < _T.c["first"], new["first"]), else_=_T.c["first"]),
                "last": sa.case((new["last"] > _T.c["last"], new["last"]), else_=_T.c["last"]),
            },
        )

    # -- counting

    def add(self, application: str, kind: str, who: str) -> None:
        """Count one request of an application: its kind, and the host of the page that it says it comes from, or nothing.
        Never waits for the database and never fails."""
        now = int(self._clock() * 1000)
        with self._lock:
            self._count(application, (kind, who), _Tally(1, now, now))
        self._usage.add((application, WOULD_REFUSE, kind))
        self._rounds.need()

    def _count(self, application: str, what: _What, more: _Tally) -> None:
        mine = self._waiting.setdefault(application, {})
        if what not in mine and len(mine) >= _HOSTS:
            what = (what[0], OTHERS)
        if (known := mine.get(what)) is None:
            mine[what] = more
        else:
            known.take(more)

    # -- writing down

    def flush(self) -> None:
        """Write down what was counted since the last time. Raises what the database raises; nothing is lost then, the next
        round writes it."""
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, {}
            if not taken:
                return
            try:
                with self._database.write() as connection:
                    rows = [row for application in sorted(taken) for row in _rows(connection, application, taken[application])]
                    if rows:
                        connection.execute(self._add, rows)
            except BaseException:
                with self._lock:
                    for application, tallies in taken.items():
                        for what, tally in tallies.items():
                            self._count(application, what, tally)
                raise

    def forget(self) -> int:
        """Remove what was not seen for thirty days, looked for once an hour; returns how many rows."""
        now = int(self._clock() * 1000)
        if now // HOUR_MS == self._forgotten:
            return 0
        with self._database.write() as connection:
            gone = connection.execute(sa.delete(_T).where(_T.c["last"] < now - KEPT)).rowcount
        self._forgotten = now // HOUR_MS
        return gone

    # -- telling

    def of(self, api_key: str) -> list[WouldRefuse]:
        """What was written down for an application, most requests first."""
        query = sa.select(_T).where(_T.c.application == api_key)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        found = [WouldRefuse(**{name: value for name, value in row.items() if name != "application"}) for row in rows]
        return sorted(found, key=lambda one: (-one.count, one.kind, one.who))

    def clear(self, api_key: str) -> int:
        """Begin anew for an application; returns how many rows went. What other processes have counted and not yet written
        down, or are writing at this moment, still comes."""
        with self._lock:
            self._waiting.pop(api_key, None)
        with self._database.write() as connection:
            return connection.execute(sa.delete(_T).where(_T.c.application == api_key)).rowcount

    # -- the thread

    def close(self) -> None:
        """Stop, and write down what is left. A database that is away costs what was counted since the last round."""
        self._rounds.close()


def _rows(connection: Connection, application: str, tallies: Mapping[_What, _Tally]) -> list[dict[str, object]]:
    """What to add for one application. Its row is locked, so that two processes do not both find room for the last host; one
    that was deleted meanwhile gets nothing.

    Whoever writes goes through applications in the same order, so that no two wait for each other. Files can be added
    meanwhile: the lock is the weaker one, which foreign keys do not ask for.
    """
    owner = tables.application.c.api_key
    lock = sa.select(owner).where(owner == application).with_for_update(key_share=True)
    if connection.execute(lock).one_or_none() is None:
        return []
    rows = connection.execute(sa.select(_T.c.kind, _T.c.who).where(_T.c.application == application))
    known = {(row.kind, row.who) for row in rows}
    room = _HOSTS - sum(who != OTHERS for _, who in known)
    found: dict[_What, _Tally] = {}
    for what, tally in sorted(tallies.items(), key=lambda one: one[0]):
        if what not in known and what[1] != OTHERS:
            if room > 0:
                room -= 1
            else:
                what = (what[0], OTHERS)
        found.setdefault(what, _Tally(0, tally.first, tally.last)).take(tally)
    return [
        {"application": application, "kind": kind, "who": who, "count": one.count, "first": one.first, "last": one.last}
        for (kind, who), one in found.items()
    ]
