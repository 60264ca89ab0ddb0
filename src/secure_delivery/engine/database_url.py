"""The address of the database: which kinds are understood, and whether the way to it is safe.

Knows: database URLs, what libpq makes of them and of its environment. Must not know: connections, what is kept there.

A PostgreSQL on another machine is spoken to by TLS, and its certificate must be for the host that was named (security promise
69). libpq would try TLS and go on without, and of its modes only `verify-full` looks at both issuer and name.

Sources: the PostgreSQL documentation, "SSL Support" (34.19) and "Database Connection Control Functions" (34.1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from ..gate.errors import ConfigurationError
from .setting_values import on_this_machine

SETTING = "database"
SAFE = "verify-full"

#: Where else libpq takes a host from, when the URL names none.
_ELSEWHERE = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "service": "PGSERVICE"}


def read_url(url: str, *, plain: bool = False) -> URL:
    """The parsed URL of a database that can be used; complaints never repeat it, it may hold a password.

    A PostgreSQL elsewhere gets `sslmode=verify-full` where the URL says nothing. Raises `ConfigurationError` for another kind
    of database, for SQLite that other processes could not open, and, unless `plain`, for a weaker mode to another machine.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise ConfigurationError(f"{SETTING}: not a database URL") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        _check_file(parsed)
        return parsed
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(f"{SETTING}: use sqlite:///path or postgresql+psycopg://user@host/name")
    return parsed if plain else _verified(parsed)


def _check_file(parsed: URL) -> None:
    name = parsed.database or ""
    if not name or name.startswith((":", "file:")) or parsed.query:
        raise ConfigurationError(f"{SETTING}: SQLite needs a plain file, sqlite:///path, that other processes can open")
    if not Path(name).parent.is_dir():
        raise ConfigurationError(f"{SETTING}: there is no folder {Path(name).parent} for the SQLite file")


def _verified(parsed: URL) -> URL:
    told = _told(parsed)
    mode = told.get("sslmode")
    if mode == SAFE or _is_here(told, os.environ):
        return parsed
    if mode is None:  # written into the URL, where nothing in the environment counts more
        return parsed.update_query_dict({"sslmode": SAFE})
    raise ConfigurationError(
        f"{SETTING}: PostgreSQL on another machine needs sslmode={SAFE}, which alone looks at who answers; "
        "database_plain = true goes without"
    )


def _told(parsed: URL) -> Mapping[str, Any]:
    """What the driver is told: a URL may name hosts in several ways, and only this is what counts."""
    try:
        _, options = parsed.get_dialect()().create_connect_args(parsed)
    except (SQLAlchemyError, ValueError, TypeError):
        raise ConfigurationError(f"{SETTING}: not a database URL") from None
    told: Mapping[str, Any] = options
    if any(not isinstance(told.get(name, ""), str) for name in (*_ELSEWHERE, "sslmode")):
        raise ConfigurationError(f"{SETTING}: an option stands in the URL twice")
    return told


def _is_here(told: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether all hosts are this machine: its own addresses, and folders of Unix sockets. What a service file says is not
    looked at, so a service counts as elsewhere."""
    found = {name: told.get(name) or environ.get(variable, "") for name, variable in _ELSEWHERE.items()}
    if found["service"]:
        return False
    hosts = [*found["host"].split(","), *found["hostaddr"].split(",")]
    return all(not host or host.startswith(("/", "@")) or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    """Names below localhost are left to name servers by some machines, so they do not count."""
    return on_this_machine(host.lower()) and not host.lower().endswith(".localhost")
