"""The security report: everything about a service that is worth attention, most urgent first, each with its fix.

Knows: whom to ask. Must not know: HTTP, the command line, how findings are shown.

The report changes nothing and asks nobody outside, unless it is told to try storages out. It is of this moment, but for
policies: those were counted when they were used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..gate.errors import ConfigurationError, VaultError
from ..gate.model import Application
from . import tables
from .applications import no_application
from .policies_seen import GLOBAL, LIVES, seen
from .security_applications import SEEN_DAYS, Case, of_application
from .security_finding import CODES, SEVERITIES, Finding, Severity, found
from .security_places import of_places
from .security_service import of_service

if TYPE_CHECKING:
    from . import Engine

__all__ = ["CODES", "SEVERITIES", "Finding", "Severity", "report", "report_of"]

_WINDOW = SEEN_DAYS * 86_400.0  # seconds


def report(engine: Engine, *, check: bool = False) -> list[Finding]:
    """What is worth attention in the whole service. With `check`, storages are tried out: a probe is written, read and deleted.

    Raises what the database raises.
    """
    engine.usage.flush()  # what this process has counted so far
    since = engine.clock() - _WINDOW
    policies = seen(engine.database, since=since)
    findings = list(of_service(engine))
    for api_key in _keys(engine):
        findings += _findings(engine, api_key, policies, check=check)
    return _ordered(findings)


def report_of(engine: Engine, api_key: str, *, check: bool = False) -> list[Finding]:
    """What is worth attention in one application. Raises `NotFound` when there is none with this key."""
    if api_key not in _keys(engine):
        raise no_application()
    engine.usage.flush()
    policies = seen(engine.database, since=engine.clock() - _WINDOW, application=api_key)
    return _ordered(_findings(engine, api_key, policies, check=check))


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(
        findings, key=lambda one: (SEVERITIES.index(one.severity), one.application or "", [*CODES].index(one.code), one.subject)
    )


def _keys(engine: Engine) -> list[str]:
    """The keys of all applications, those too whose secrets do not open."""
    with engine.database.read() as connection:
        return list(connection.execute(sa.select(tables.application.c.api_key)).scalars())


def _findings(engine: Engine, api_key: str, policies: Mapping[tuple[str, str], int], *, check: bool) -> Iterator[Finding]:
    try:
        application = engine.records.application(api_key)
    except (VaultError, ConfigurationError):
        yield found("application_unreadable", "high", subject=api_key, application=api_key, link="applications")
        return
    if application is None:  # deleted this very moment
        return
    since, created = _secrets(engine, application)
    if any((api_key, label) in policies for label in (*LIVES, GLOBAL)) and since > engine.clock() - _WINDOW:
        policies = seen(engine.database, since=since, application=api_key, hours=True)
    case = Case(
        application=application,
        now=engine.clock(),
        created=created,
        policies={label: number for (key, label), number in policies.items() if key == api_key},
        scanners=bool(engine.registry.scanners),
    )
    yield from of_application(case)
    yield from of_places(engine, case, check=check)


def _secrets(engine: Engine, application: Application) -> tuple[float, Mapping[str, int]]:
    """Since when policies can be of a secret that still counts, in seconds since the epoch; when each was made, in ms."""
    secret = tables.application_secret
    query = sa.select(secret.c.id, secret.c.number, secret.c.created).where(secret.c.application == application.api_key)
    with engine.database.read() as connection:
        rows = {row.id: row for row in connection.execute(query)}
    counting = [rows[one.id] for one in application.secrets.in_force(engine.clock()) if one.id in rows]
    # The first secret is as old as the application: there was none before it whose policies would have to be left out.
    first = any(row.number == 1 for row in counting)
    since = 0.0 if first else min((row.created for row in counting), default=0) / 1000
    return since, {name: row.created for name, row in rows.items()}
