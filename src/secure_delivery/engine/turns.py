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

_MOST = 64  # writers that share a commit, so that the first does not wait for ever


@dataclass(slots=True)
class _Shared:
    """A transaction that several writers share. `error` is why it could not be committed."""

    connection: Connection
    transaction: RootTransaction
    members: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Turns:
    """`connect` gives a connection on which writing transactions may be begun."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._shared: _Shared | None = None
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
                with shared.connection.begin_nested():
                    yield shared.connection
        except BaseException as error:
            self._failed(shared, error)
            raise
        shared.members += 1
        self._passed_on(shared)
        if shared.error is not None:
            raise shared.error

    def _wait(self) -> None:
        if self._writer == threading.get_ident():
            raise RuntimeError("a write within a write would wait for itself")
        with self._counting:
            self._waiting += 1
        self._turn.acquire()
        with self._counting:
            self._waiting -= 1
        self._writer = threading.get_ident()

    def _release(self) -> None:
        self._writer = 0
        self._turn.release()

    def _begun(self) -> _Shared:
        connection = self._connect()
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
        if shared.members and shared.transaction.is_active:
            self._passed_on(shared)
            return
        if shared.members:  # the database gave up the whole of it
            shared.error = error
        self._shared = None
        try:
            shared.transaction.rollback()
            shared.connection.close()
        finally:
            shared.over.set()
            self._release()

    def _passed_on(self, shared: _Shared) -> None:
        """Leave the transaction to who comes next and wait for the commit, or commit when nobody does."""
        with self._counting:
            others = self._waiting > 0 and shared.members < _MOST
        if others:
            self._release()
            shared.over.wait()
            return
        self._shared = None
        try:
            shared.transaction.commit()
        except BaseException as error:
            shared.error = error
            shared.connection.invalidate()  # the transaction may still be open in it
        finally:
            try:
                shared.connection.close()
            finally:
                shared.over.set()
                self._release()
