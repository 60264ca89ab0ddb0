"""The same as `lookups.py`, on PostgreSQL. A suite of its own, so that a run without a server says what it left out.

Knows: how to make and drop databases of a server. Must not know: what is measured in them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lookups import measured, steps
from measure import Effort, Row, Tick, UnavailableError
from sqlalchemy.engine import make_url

__all__ = ["NAME", "measure", "steps"]

NAME = "lookups_postgres"
SERVER = os.environ.get("SECURE_DELIVERY_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    with ExitStack() as stack:
        more = {name: {"database": stack.enter_context(fresh_database())} for name in ("few", "many")}
        return measured(NAME, "PostgreSQL", more, effort, tick)


@contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of an empty database, which goes again."""
    try:
        import psycopg

        server = make_url(SERVER)
        address = server.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(address, autocommit=True, connect_timeout=3)
    except ImportError:
        raise UnavailableError("psycopg is not installed") from None
    except psycopg.OperationalError:
        raise UnavailableError("no PostgreSQL server; set SECURE_DELIVERY_TEST_POSTGRES") from None
    name = f"secure_delivery_bench_{secrets.token_hex(6)}"
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
