"""What happened, counted by application: in this process as it happens, in the database every few seconds.

Knows: keys and numbers, the table `figure`, hours and days. Must not know: requests, jobs, webhooks; they call `add`.

Counting is one step of a dictionary that belongs to the counting thread alone, so that nothing waits and no step is lost. A
thread goes round, adds up by how much every dictionary has grown since its last round, and adds that to the database in one
transaction. Any number of processes do so side by side, because numbers are added there and never set. What a crash loses is
what was counted since the last round: at most some seconds.

A figure is of the hour in which it was written down, at most one round later than it happened. Hours and days are of UTC.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from . import tables
from .database import Database
from .rounds import Rounds

__all__ = ["DAY", "EVER", "HOUR", "Key", "Usage"]

#: API key of the application, empty where there is none; name of the figure; what it is told apart by. The last two come from
#: short lists: whatever strangers can choose would fill the table.
Key: TypeAlias = tuple[str, str, str]

HOUR, DAY, EVER = "hour", "day", "ever"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PAUSE = 5.0  # seconds between rounds: what a crash loses
HOURS_KEPT = 90 * DAY_MS
DAYS_KEPT = 731 * DAY_MS  # two years, whichever they are

_F = tables.figure
_KEY = ("period", "at", "application", "name", "label")


class _Sheet:
    """The dictionary of one thread, which only grows, and how it stood when it was last written down."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.counts: dict[Key, int] = {}
        self.written: Mapping[Key, int] = {}


class Usage:
    """Counts. Safe to use from any thread; nothing is written before `start` or `flush`.

    `clock` gives seconds since the epoch, `pause` is the seconds between rounds.
    """

    def __init__(self, database: Database, clock: Callable[[], float], *, pause: float = PAUSE) -> None:
        self._database = database
        self._clock = clock
        self._rounds = Rounds("usage", self.flush, pause=pause, complaint="usage figures could not be written down")
        self._mine = threading.local()
        self._sheets: list[_Sheet] = []
        self._lock = threading.Lock()  # of the list of sheets
        self._writing = threading.Lock()
        self._forgotten = 0  # the hour in which old figures were last looked for
        insert = (sqlite_insert if database.sqlite else postgres_insert)(_F)
        self._add = insert.on_conflict_do_update(index_elements=list(_KEY), set_={"value": _F.c.value + insert.excluded.value})

    # -- counting

    def add(self, key: Key, number: int = 1) -> None:
        """Count. Never waits and never fails."""
        try:
            counts: dict[Key, int] = self._mine.counts
        except AttributeError:
            counts = self._opened()
        counts[key] = counts.get(key, 0) + number

    def counts(self) -> dict[Key, int]:
        """What this thread has counted, to be counted on in: for who counts several things at once. Numbers only grow, and no
        other thread may have the dictionary."""
        try:
            return self._mine.counts  # type: ignore[no-any-return]
        except AttributeError:
            return self._opened()

    def _opened(self) -> dict[Key, int]:
        sheet = _Sheet(threading.current_thread())
        with self._lock:
            self._sheets.append(sheet)
        self._mine.counts = sheet.counts
        return sheet.counts

    # -- writing down

    def flush(self) -> int:
        """Write down what was counted since the last time; returns how many different figures grew. Raises what the database
        raises; nothing is lost then, the next round writes it."""
        with self._writing:
            with self._lock:
                # Whether a thread has ended is asked first: what it counts after being asked is in the copy, or it lives.
                seen = [(sheet, not sheet.thread.is_alive(), sheet.counts.copy()) for sheet in self._sheets]
            grown: Counter[Key] = Counter()
            for sheet, _, counts in seen:
                for key, number in counts.items():
                    if more := number - sheet.written.get(key, 0):
                        grown[key] += more
            if grown:
                self._write(grown)
            ended = set()
            for sheet, over, counts in seen:
                sheet.written = counts
                if over:
                    ended.add(id(sheet))
            if ended:
                with self._lock:
                    self._sheets = [sheet for sheet in self._sheets if id(sheet) not in ended]
            return len(grown)

    def _write(self, grown: Mapping[Key, int]) -> None:
        now = int(self._clock() * 1000)
        times = ((DAY, now - now % DAY_MS), (EVER, 0), (HOUR, now - now % HOUR_MS))
        # In the same order in every process: of two that lock the same rows, neither then has what the other waits for.
        rows = [
            {"period": period, "at": at, "application": application, "name": name, "label": label, "value": value}
            for period, at in times
            for (application, name, label), value in sorted(grown.items())
        ]
        with self._database.write() as connection:
            connection.execute(self._add, rows)

    def forget(self) -> int:
        """Remove figures that are too old, once an hour; returns how many."""
        now = int(self._clock() * 1000)
        if now // HOUR_MS == self._forgotten:
            return 0
        old = [(_F.c.period == HOUR) & (_F.c.at < now - HOURS_KEPT), (_F.c.period == DAY) & (_F.c.at < now - DAYS_KEPT)]
        with self._database.write() as connection:
            gone = sum(connection.execute(sa.delete(_F).where(each)).rowcount for each in old)
        self._forgotten = now // HOUR_MS
        return gone

    # -- the thread

    def start(self) -> None:
        """Begin to go round, if that has not happened yet."""
        self._rounds.start()

    def close(self) -> None:
        """Stop, and write down what is left. A database that is away costs the figures of the last seconds, and no more."""
        self._rounds.close()
