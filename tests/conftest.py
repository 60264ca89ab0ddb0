"""For tests of every floor: both kinds of database (a test that takes `database_url` runs on each), and the helpers' folder.

Tests are imported by path (`--import-mode=importlib`), so that no folder of theirs is on `sys.path`; the helpers must be,
because server and decoder processes find them there by name.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from secure_delivery.engine.database import Database

sys.path.insert(0, str(Path(__file__).parent / "server" / "helpers"))

SERVER = os.environ.get("SECURE_DELIVERY_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


ONLY_MINE = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def _connect(url: URL) -> psycopg.Connection:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True, connect_timeout=3)


@contextmanager
def fresh_postgres() -> Iterator[URL]:
    """A database of this run's own. Without a server: a visible skip, and a failure where CI promises one."""
    server = make_url(SERVER)
    try:
        connection = _connect(server)
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no PostgreSQL server for the tests: {error}")
        pytest.skip("no PostgreSQL server; set SECURE_DELIVERY_TEST_POSTGRES")
    name = f"secure_delivery_test_{secrets.token_hex(6)}"
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server.set(database=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[URL]:
    """A database that tests empty after use, one after the other."""
    with fresh_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def lasting_postgres_url() -> Iterator[URL]:
    """A database for a server that runs as long as the session: nobody empties it."""
    with fresh_postgres() as url:
        yield url


@pytest.fixture
def own_postgres_url() -> Iterator[URL]:
    """A database for one test alone: what it seals is under the master key of its own server."""
    with fresh_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'service.db'}"
        return
    url = request.getfixturevalue("postgres_url")
    yield url.render_as_string(hide_password=False)
    with _connect(url) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {ONLY_MINE}")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the newest schema."""
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()
