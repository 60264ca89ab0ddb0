"""SQLite as `Database` uses it: how connections are opened, who may write, how processes wait for each other.

Knows: SQLite, its driver, SQLAlchemy's events. Must not know: what is in the tables, threads that take turns.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from ..gate.errors import ConfigurationError
from .database_url import SETTING

_BUSY = 10.0  # seconds a writer waits for its turn; SQLite has one writer at a time, and transactions here are short
_LOOK = 0.0002  # seconds between two looks whether another process has ended its transaction,
_BRIEF = 0.2  # for so long; it is a large one then
_WRITES = "secure_delivery_writes"  # execution option by which `write` tells the begin event

_PRAGMA_BUSY = f"PRAGMA busy_timeout = {int(_BUSY * 1000)}"
#: What every SQLite connection is told besides, and why.
_PRAGMAS = (
    "foreign_keys = ON",  # off by default; the cascades of the schema depend on it
    "synchronous = FULL",  # what was answered "stored" survives a power loss
    "secure_delete = ON",  # deleted rows are overwritten with zeros (security promise 82)
    "trusted_schema = OFF",  # a database file from elsewhere runs no functions of ours
)


def writer(engine: Engine) -> Connection:
    """A connection which may write as long as it is not given back to the pool."""
    connection = engine.connect().execution_options(**{_WRITES: True})
    connection.info[_WRITES] = True
    driver = connection.connection
    driver.execute("PRAGMA query_only = OFF")
    driver.execute("PRAGMA busy_timeout = 0")  # `_take_turn` waits, and is quicker to see that it may
    return connection


def given_up(connection: Connection) -> bool:
    """Whether SQLite ended a transaction by itself, which it does when the disk is full or fails (sqlite.org, "Response To
    Errors Within A Transaction")."""
    if connection.closed or connection.invalidated:
        return True
    return not getattr(connection.connection.dbapi_connection, "in_transaction", False)


def sqlite_engine(url: URL) -> Engine:
    """An engine whose connections read; see `writer`."""
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY})
    path = Path(url.database or "")

    @sa.event.listens_for(engine, "do_connect")
    def private(*_: Any) -> None:
        _create_private(path)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver would open transactions lazily and too weakly for read-check-write; `begin` below does it instead.
        connection.isolation_level = None
        connection.execute(_PRAGMA_BUSY)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _use_wal(connection)
        connection.execute("PRAGMA query_only = ON")  # who may write says so

    @sa.event.listens_for(engine, "checkin")
    def given_back(connection: Any, record: Any) -> None:
        if connection is not None and record.info.pop(_WRITES, False):
            connection.execute("PRAGMA query_only = ON")
            connection.execute(_PRAGMA_BUSY)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            _take_turn(connection)
        else:
            connection.exec_driver_sql("BEGIN DEFERRED")

    return engine


def _take_turn(connection: Connection) -> None:
    """Begin as the one writer, and wait for writers of other processes.

    SQLite would sleep between its looks, for up to a tenth of a second each: with two busy processes most of the time is slept
    away, and one that is unlucky waits for seconds.
    """
    began, driver = time.monotonic(), connection.connection
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - began
            if waited > _BUSY or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                break
        time.sleep(_LOOK if waited < _BRIEF else _LOOK * 10)
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # the last look; its error is one of SQLAlchemy's


def _create_private(path: Path) -> None:
    """Make the database file with mode 0600, which SQLite then gives to its side files as well.

    Made under another name and linked, because closing a descriptor of the file itself would drop the locks that SQLite
    holds on it in this process.
    """
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # somebody else was first
    finally:
        Path(name).unlink()


def _use_wal(connection: Any) -> None:
    """Readers and the one writer do not block each other. The mode stays with the file, so this acts only once.

    SQLite does not wait for its turn here as it does elsewhere, hence the loop.
    """
    end = time.monotonic() + _BUSY
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise ConfigurationError(f"{SETTING}: this file system cannot hold a SQLite database that processes share")
        return
