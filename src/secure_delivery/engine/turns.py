"""Writers of one SQLite database in one process take turns, and those who wait at the same moment share one commit.

Knows: threads, transactions of SQLAlchemy. Must not know: which database, what is written.

SQLite has one writer at a time, and each commit waits for the disk. Who finds it busy sleeps and looks again, for longer each
time: with a handful of threads most of the time is slept away. Here they queue up instead. A writer whose turn comes while the
transaction of the one before is still open goes on in it, inside a savepoint of its own; the last one commits for all, and
nobody's `with` block ends before that. Each is still all or nothing: one that fails is undone alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection, RootTransaction
from sqlalchemy.exc import OperationalError

_MOST = 64  # writers that share a commit, so that the first does not wait for ever
_MINE = "one_writer"  # the savepoint of whoever writes
_LOOK = 0.5  # seconds after which who waits for the commit of another looks whether that one is still there


@dataclass(slots=True)
class _Shared:
    """A transaction that several writers share. `error` is why it could not be committed."""

    connection: Connection
    transaction: RootTransaction
    members: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Turns:
    """`connect` gives a connection on which writing transactions may be begun; it is kept for the next one. `lost` says whether
    the database gave a transaction up by itself, as SQLite does on a full disk: what follows would be written at once, and a
    commit says nothing.
    """

    def __init__(self, connect: Callable[[], Connection], lost: Callable[[Connection], bool] = lambda _: False) -> None:
        self._connect = connect
        self._lost = lost
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._shared: _Shared | None = None
        self._kept: Connection | None = None  # between transactions: to open one takes as long as a small transaction
        self._writer = 0  # the thread whose turn it is

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, or undone when the block raises.

        Raises what the driver raises, also when the shared commit fails: then nothing of anybody was written.
        """
        self._wait()
        shared = self._shared
        try:
            if shared is None:
                shared = self._shared = self._begun()
                yield shared.connection
            else:
                with self._nested(shared.connection):
                    yield shared.connection
            if self._lost(shared.connection):  # the block went on after an error that ended the transaction
                raise OperationalError("COMMIT", None, RuntimeError("the database gave the transaction up"))
        except BaseException as error:
            self._failed(shared, error)
            raise
        shared.members += 1
        self._passed_on(shared)
        if shared.error is not None:
            raise shared.error

    def close(self) -> None:
        """Close the connection that is kept. Waits for who is writing; the next writer opens a new one."""
        self._wait()
        while (shared := self._shared) is not None:  # it was left to whoever comes next, which is this
            self._commit(shared)
            self._wait()
        try:
            kept, self._kept = self._kept, None
            if kept is not None:
                kept.close()
        finally:
            self._release()

    @contextmanager
    def _nested(self, connection: Connection) -> Iterator[None]:
        """A savepoint of this writer's own. With the transaction it is gone, too, and the first error is what is told.

        In plain SQL, because what SQLAlchemy does around a savepoint takes longer than a small change.
        """
        connection.exec_driver_sql(f"SAVEPOINT {_MINE}")
        try:
            yield
        except BaseException:
            if not self._lost(connection):
                connection.exec_driver_sql(f"ROLLBACK TO {_MINE}")
                connection.exec_driver_sql(f"RELEASE {_MINE}")
            raise
        if not self._lost(connection):
            connection.exec_driver_sql(f"RELEASE {_MINE}")

    def _wait(self) -> None:
        if self._writer == threading.get_ident():
            raise RuntimeError("a write within a write would wait for itself")
        with self._counting:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:  # Ctrl-C ends the wait of a main thread
            with self._counting:
                self._waiting -= 1
        self._writer = threading.get_ident()

    def _release(self) -> None:
        self._writer = 0
        self._turn.release()

    def _begun(self) -> _Shared:
        connection, self._kept = self._kept or self._connect(), None
        try:
            return _Shared(connection=connection, transaction=connection.begin())
        except BaseException:
            connection.close()
            raise

    def _failed(self, shared: _Shared | None, error: BaseException) -> None:
        """One writer's block raised: it alone is undone, unless the transaction itself is lost."""
        if shared is None:  # it could not even begin
            self._release()
            return
        if shared.members and shared.transaction.is_active and not self._lost(shared.connection):
            self._passed_on(shared)
            return
        if shared.members:  # the database gave up the whole of it
            shared.error = _of_others(error)
        self._shared = None
        try:
            shared.transaction.rollback()
        finally:
            self._over(shared)

    def _passed_on(self, shared: _Shared) -> None:
        """Leave the transaction to who comes next and wait for the commit, or commit when nobody does."""
        with self._counting:
            others = self._waiting > 0 and shared.members < _MOST
        if not others:
            self._commit(shared)
            return
        self._release()
        while not shared.over.wait(_LOOK):
            if not self._turn.acquire(blocking=False):
                continue
            if self._shared is shared:  # who was to come next was interrupted, and nobody else came
                self._commit(shared)
            else:
                self._turn.release()

    def _commit(self, shared: _Shared) -> None:
        self._shared = None
        try:
            shared.transaction.commit()
        except BaseException as error:
            shared.error = _of_others(error)
            shared.connection.invalidate()  # the transaction may still be open in it
            if not isinstance(error, Exception):
                raise
        finally:
            self._over(shared)

    def _over(self, shared: _Shared) -> None:
        connection = shared.connection
        try:
            if shared.error is not None or connection.closed or connection.invalidated or connection.in_transaction():
                connection.close()
            else:
                self._kept = connection
        finally:
            shared.over.set()
            self._release()


def _of_others(error: BaseException) -> BaseException:
    """What is told to those who shared a transaction: Ctrl-C is for the one who was interrupted."""
    return error if isinstance(error, Exception) else OperationalError("COMMIT", None, error)
