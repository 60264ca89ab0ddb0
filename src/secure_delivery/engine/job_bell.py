"""How a worker learns at once that there is something to do, without asking the database all the time.

Knows: threads of this process, NOTIFY of PostgreSQL, the change counter of SQLite. Must not know: jobs.

A bell is only a hint: who misses it looks again within `LONGEST` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Protocol

from .database import Database
from .job_records import CHANNEL

logger = logging.getLogger("secure_delivery.engine")

LONGEST = 1.0  # seconds without a look at the table
_GLANCE = 0.025  # seconds between looks at SQLite's counter, which cost some microseconds each


class Bell(Protocol):
    """Wakes who waits."""

    def ring(self) -> None:
        """Wake the waiter of this process."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when something may have changed, at the latest after so many seconds. One thread waits."""
        ...

    def close(self) -> None: ...


def bell(database: Database) -> Bell:
    """The bell that fits the database."""
    return _Glances(database) if database.sqlite else _Notices(database)


class _Glances:
    """SQLite: `PRAGMA data_version` changes with every commit of another connection, whichever process it is in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = threading.Event()
        self._watch: Any = None
        self._seen = 0

    def ring(self) -> None:
        self._rung.set()

    def wait(self, seconds: float) -> None:
        ends = time.monotonic() + min(seconds, LONGEST)
        while (left := ends - time.monotonic()) > 0:
            if self._rung.wait(min(left, _GLANCE)) or self._changed():
                break
        self._rung.clear()

    def _changed(self) -> bool:
        if self._watch is None:
            pooled = self._database.engine.raw_connection()
            self._watch = pooled.dbapi_connection
            pooled.detach()
        seen: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
        changed = seen != self._seen
        self._seen = seen
        return changed

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


class _Notices:
    """PostgreSQL: a connection of its own that listens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = threading.Event()
        self._connection: Any = None

    def ring(self) -> None:
        self._rung.set()

    def wait(self, seconds: float) -> None:
        ends = time.monotonic() + min(seconds, LONGEST)
        while (left := ends - time.monotonic()) > 0 and not self._rung.is_set():
            # Rings of this process are looked for in between: nobody can wait for both at once.
            if self._noticed(min(left, 0.05)):
                break
        self._rung.clear()

    def _noticed(self, seconds: float) -> bool:
        try:
            if self._connection is None:
                pooled = self._database.engine.raw_connection()
                self._connection = pooled.dbapi_connection
                pooled.detach()
                self._connection.autocommit = True
                self._connection.execute(f"LISTEN {CHANNEL}")
                return True  # what happened before is not told
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except Exception as error:  # the server was restarted, say: the table is looked at meanwhile
            logger.warning("the database does not tell of jobs at the moment: %s", type(error).__name__)
            self.close()
            self._rung.wait(seconds)
            return False

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:  # it is gone already
                logger.debug("a broken connection could not be closed")
