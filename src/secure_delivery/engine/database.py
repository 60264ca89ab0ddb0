"""One database address, two kinds of database, the same promises.

Knows: how to open SQLite and PostgreSQL so that a committed transaction is durable and two writers never lose each
other's work; how to bring the schema up to date; the counters that tell every process about changes.
Must not know: what is in the tables.

Both kinds answer alike: `read()` is a snapshot that refuses to write; `write()` commits as a whole or not at all. Rows
that are read in order to be changed are read with `.with_for_update()`: PostgreSQL then locks them, while on SQLite the
whole transaction is already the only writer.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..gate.errors import BadRequest, ConfigurationError
from .database_url import SETTING, read_url
from .tables import generation
from .turns import Turns

#: What changes are counted of: applications with their secrets, or files with the results made of them.
Subject: TypeAlias = Literal["applications", "files"]

_BUSY = 10.0  # seconds a writer waits for its turn; SQLite has one writer at a time, and transactions here are short
_LOOK = 0.0002  # seconds between two looks whether another process has ended its transaction,
_BRIEF = 0.2  # for so long; it is a large one then
_WRITES = "secure_delivery_writes"  # execution option by which `write` tells the begin event
_MIGRATION_LOCK = 0x5EC0DE11  # any number, as long as every process uses the same

_PRAGMA_BUSY = f"PRAGMA busy_timeout = {int(_BUSY * 1000)}"
#: What every SQLite connection is told besides, and why.
_PRAGMAS = (
    "foreign_keys = ON",  # off by default; the cascades of the schema depend on it
    "synchronous = FULL",  # what was answered "stored" survives a power loss
    "secure_delete = ON",  # deleted rows are overwritten with zeros (security promise 82)
    "trusted_schema = OFF",  # a database file from elsewhere runs no functions of ours
)

#: PostgreSQL sessions: a statement, a wait or a forgotten transaction ends instead of holding others up.
_SESSION = "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"


class Database:
    """The database at `url`: `sqlite:///path` or `postgresql+psycopg://user@host/name`.

    Nothing is opened before the first use. Raises `ConfigurationError` for another kind of URL, for SQLite in memory
    (other processes could not see it), for a SQLite file in a folder that does not exist and, unless `plain`, for a
    PostgreSQL elsewhere whose certificate would not be looked at. Safe to use from several threads, and from a process
    forked off one that used it.
    """

    def __init__(self, url: str, *, plain: bool = False) -> None:
        parsed = read_url(url, plain=plain)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self._url = parsed
        self._lock = threading.Lock()
        self._turns = Turns(self._writer, _given_up)
        self._watch: Any = None  # a connection of the driver's own, for `generation` only
        self._pid = os.getpid()
        self._parents: list[object] = []  # what a parent process uses: held, for what nobody holds is closed
        self._whole = threading.local()  # of each thread: the block of `whole` it is in
        self._engine = _sqlite_engine(parsed) if self.sqlite else _postgres_engine(parsed)

    def __repr__(self) -> str:
        return f"<Database {self._url.render_as_string(hide_password=True)}>"

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine; never one whose connections belong to a parent process."""
        if self._pid != os.getpid():
            # A connection that two processes use mixes up both conversations: forget the parent's without closing them.
            self._lock = threading.Lock()
            self._parents.append((self._turns, self._watch))
            self._turns = Turns(self._writer, _given_up)
            self._watch = None
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection whose statements all see one moment; writing through it raises `sqlalchemy.exc.DBAPIError`."""
        with self.engine.connect() as connection:
            if not self.sqlite:
                connection.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
            connection.begin()  # closing the connection rolls back: there is nothing to commit
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, or undone when the block raises.

        SQLite: the transaction is the only writer from its first moment on (BEGIN IMMEDIATE), so what it read is still
        true when it writes. PostgreSQL: read with `.with_for_update()` what the change depends on. Keep it short: other
        writers wait, and give up after ten seconds with `sqlalchemy.exc.OperationalError`.
        """
        around: _Whole | None = getattr(self._whole, "block", None)
        if around is None:
            with self._transaction() as connection:
                yield connection
            return
        if around.connection is None:
            around.connection = around.stack.enter_context(self._transaction())
        with self._part(around.connection):
            yield around.connection

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Everything that this thread writes within the block is committed together at its end, or undone when it raises.

        The transaction begins with the first `write`, so what is prepared before that holds nobody up. `read` shows what was
        committed before. A block within a block is part of the outer one.
        """
        if getattr(self._whole, "block", None) is not None:
            yield
            return
        with ExitStack() as stack:
            self._whole.block = _Whole(stack)
            try:
                yield
            finally:
                self._whole.block = None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        engine = self.engine  # after a fork, this renews the turns as well
        if self.sqlite:
            with self._turns.writing() as connection:
                yield connection
            return
        with engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _part(self, connection: Connection) -> Iterator[None]:
        """One `write` of a `whole`: a caller may catch what it raises and go on, as it may outside."""
        savepoint = connection.begin_nested()
        try:
            yield
        except BaseException:
            if not (self.sqlite and _given_up(connection)):
                savepoint.rollback()
            raise
        savepoint.commit()

    def _writer(self) -> Connection:
        """A connection for `Turns`, which may write as long as it is not given back."""
        connection = self._engine.connect().execution_options(**{_WRITES: True})
        connection.info[_WRITES] = True
        driver = connection.connection
        driver.execute("PRAGMA query_only = OFF")
        driver.execute("PRAGMA busy_timeout = 0")  # `_take_turn` waits, and is quicker to see that it may
        return connection

    def migrate(self) -> None:
        """Bring the schema to the newest version; does nothing when it is there already.

        Any number of processes may call this at once: one works, the others wait and find nothing left to do. It is one
        transaction, so a crash leaves the schema as it was. Raises `ConfigurationError` when the database cannot be
        reached or was last used by a newer release.
        """
        if self._is_newest():
            return
        # Loaded only when there is something to do: it takes 12 MB, in every process for as long as it lives.
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        folder = Path(__file__).with_name("migrations")
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        try:
            with self.write() as connection:
                if not self.sqlite:
                    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
                    connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(f"{SETTING}: the schema is not one this release knows ({error})") from None
        except SQLAlchemyError as error:
            raise ConfigurationError(f"{SETTING}: {self!r} cannot be brought up to date ({type(error).__name__})") from error

    def _is_newest(self) -> bool:
        """Whether the schema is the newest one already. False where that cannot be told: what is wrong shows when it is
        brought up to date."""
        try:
            with self.read() as connection:
                found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
        except SQLAlchemyError:
            return False
        return found == [newest_revision()]

    def generation(self, subject: Subject = "applications") -> object:
        """A token that differs after any process has committed a change that was announced with `bump`.

        Compare with `==`. Read it before the data it is to guard: a change in between then shows as a newer token. It
        costs one look at a table of two rows, on a connection kept for it (SQLite: some microseconds; PostgreSQL: a
        round trip), and is true at the moment of the call, so a rotation counts everywhere at once (security promise 6).
        The `data_version` of SQLite would also change with every file that is added, and means nothing elsewhere.
        """
        return self.generations()[subject]

    def generations(self) -> Mapping[str, int]:
        """The tokens of all subjects, of one moment, for the price of one."""
        _ = self.engine  # a forked process must not touch the parent's connection
        fault = self._engine.dialect.loaded_dbapi.Error
        with self._lock:
            try:
                return self._counters()
            except fault:
                self._drop_watch()  # the server was restarted, say
            try:
                return self._counters()
            except fault as error:
                self._drop_watch()
                # Who calls knows the errors of SQLAlchemy, and which of them may pass.
                raise DBAPIError.instance(None, None, error, fault, hide_parameters=True) from error

    @staticmethod
    def bump(connection: Connection, subject: Subject = "applications") -> None:
        """Make `generation(subject)` change when the transaction of `connection` commits.

        The last thing a transaction does, because on PostgreSQL others that bump wait from here on.
        """
        mine = generation.c.name == subject
        connection.execute(sa.update(generation).where(mine).values(value=generation.c.value + 1))

    def close(self) -> None:
        """Close every connection. The object can be used again and opens new ones then."""
        engine = self.engine
        with self._lock:
            self._drop_watch()
        self._turns.close()
        engine.dispose()

    def _counters(self) -> dict[str, int]:
        if self._watch is None:
            pooled = self._engine.raw_connection()
            self._watch = pooled.dbapi_connection
            pooled.detach()  # kept for good, so it must not take a place in the pool
            if not self.sqlite:
                self._watch.autocommit = True
        cursor = self._watch.cursor()
        try:
            cursor.execute("SELECT name, value FROM generation")
            rows = cursor.fetchall()  # to the end: on SQLite an unfinished statement would hold on to its moment
        finally:
            cursor.close()
        return dict(rows)

    def _drop_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


@dataclass(slots=True)
class _Whole:
    """A block of `whole`: its transaction, once something was written, and what ends it."""

    stack: ExitStack
    connection: Connection | None = None


def _given_up(connection: Connection) -> bool:
    """Whether SQLite ended a transaction by itself, which it does when the disk is full or fails (sqlite.org, "Response To
    Errors Within A Transaction")."""
    if connection.closed or connection.invalidated:
        return True
    return not getattr(connection.connection.dbapi_connection, "in_transaction", False)


def newest_revision() -> str:
    """The number of the newest step in `migrations/versions`, which are called `vNUMBER_what_it_does.py`."""
    versions = Path(__file__).with_name("migrations") / "versions"
    return max(path.name[1:5] for path in versions.glob("v[0-9][0-9][0-9][0-9]_*.py"))


def check_text(*texts: str | None) -> None:
    """Refuse what one of the two databases could not store: NUL characters and lone surrogates.

    Raises `BadRequest`, because such a text can only have come from a client.
    """
    for text in texts:
        if text is not None and ("\0" in text or _has_surrogate(text)):
            raise BadRequest(public="A text contains characters that cannot be stored.")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _postgres_engine(url: URL) -> Engine:
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,  # a restarted server costs one look instead of one failed request
            hide_parameters=True,  # exceptions are logged, and parameters are customers' data
            connect_args={"connect_timeout": 10, "options": _SESSION},
        )
    except ImportError:
        raise ConfigurationError(f"{SETTING}: PostgreSQL needs the extra secure-delivery[postgres]") from None


def _sqlite_engine(url: URL) -> Engine:
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
