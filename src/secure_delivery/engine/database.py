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
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..gate.errors import BadRequest, ConfigurationError
from .database_sqlite import given_up, sqlite_engine, writer
from .database_url import SETTING, read_url
from .tables import generation
from .turns import Turns

#: What changes are counted of: applications with their secrets, or files with the results made of them.
Subject: TypeAlias = Literal["applications", "files"]

_MIGRATION_LOCK = 0x5EC0DE11  # any number, as long as every process uses the same

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
        self._turns = Turns(self._writer, given_up)
        self._watch: Any = None  # a connection of the driver's own, for what is asked all the time
        self._pid = os.getpid()
        self._parents: list[object] = []  # what a parent process uses: held, for what nobody holds is closed
        self._whole = threading.local()  # of each thread: the block of `whole` it is in
        self._engine = sqlite_engine(parsed) if self.sqlite else _postgres_engine(parsed)

    def __repr__(self) -> str:
        return f"<Database {self._url.render_as_string(hide_password=True)}>"

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine; never one whose connections belong to a parent process."""
        if self._pid != os.getpid():
            # A connection that two processes use mixes up both conversations: forget the parent's without closing them.
            self._lock = threading.Lock()
            self._parents.append((self._turns, self._watch))
            self._turns = Turns(self._writer, given_up)
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
            if not (self.sqlite and given_up(connection)):
                savepoint.rollback()
            raise
        savepoint.commit()

    def _writer(self) -> Connection:
        return writer(self._engine)

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
        return {row[0]: row[1] for row in self._watched("SELECT name, value FROM generation", ())}

    def first(self, query: Prepared, **told: Any) -> Sequence[Any] | None:
        """The first row that is committed at this moment, or None; columns in the order of the statement.

        For what is asked all the time: a fifth of what `read` takes, on the connection that is kept for `generation`.
        """
        text, values = query.said(self._engine.dialect, told)
        rows = self._watched(text, values)
        return rows[0] if rows else None

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

    def _watched(self, text: str, values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a query on the kept connection. Raises `sqlalchemy.exc.DBAPIError`."""
        _ = self.engine  # a forked process must not touch the parent's connection
        fault = self._engine.dialect.loaded_dbapi.Error
        with self._lock:
            try:
                return self._asked(text, values)
            except fault:
                self._drop_watch()  # the server was restarted, say
            try:
                return self._asked(text, values)
            except fault as error:
                self._drop_watch()
                # Who calls knows the errors of SQLAlchemy, and which of them may pass.
                raise DBAPIError.instance(None, None, error, fault, hide_parameters=True) from error

    def _asked(self, text: str, values: Any) -> Sequence[Sequence[Any]]:
        if self._watch is None:
            pooled = self._engine.raw_connection()
            self._watch = pooled.dbapi_connection
            pooled.detach()  # kept for good, so it must not take a place in the pool
            if not self.sqlite:
                self._watch.autocommit = True
        cursor = self._watch.cursor()
        try:
            cursor.execute(text, values)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()  # to the end: an unfinished statement would hold on to its moment
        finally:
            cursor.close()
        return rows

    def _drop_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


class Prepared:
    """A query for `Database.first`, put together once for each kind of database. Columns and arguments are texts and numbers:
    they are handed over as they are."""

    def __init__(self, query: sa.Select[Any]) -> None:
        self._query = query
        self._made: dict[str, tuple[str, Sequence[str] | None, dict[str, Any]]] = {}

    def said(self, dialect: sa.Dialect, told: Mapping[str, Any]) -> tuple[str, Any]:
        """The text of the driver, and its arguments."""
        made = self._made.get(dialect.name)
        if made is None:
            compiled = self._query.compile(dialect=dialect)
            fixed = {name: value for name, value in compiled.params.items() if value is not None}  # LIMIT and its kind
            made = self._made[dialect.name] = str(compiled), getattr(compiled, "positiontup", None), fixed
        text, order, fixed = made
        values = {**fixed, **told}
        return text, values if order is None else tuple(values[name] for name in order)


@dataclass(slots=True)
class _Whole:
    """A block of `whole`: its transaction, once something was written, and what ends it."""

    stack: ExitStack
    connection: Connection | None = None


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
