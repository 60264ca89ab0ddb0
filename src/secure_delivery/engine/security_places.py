"""What the security report finds about where files and events of an application go: its storages and its webhooks.

Knows: rows of storages and endpoints, what a check of a storage tells. Must not know: policies, accounts, how findings are
shown.

Without `check` nothing outside is asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..gate.errors import SecureDeliveryError
from ..gate.model import Application
from ..plugin.protocols import Placing
from .security_applications import Case
from .security_finding import Finding, command
from .security_service import is_loopback
from .storage_check import WRITE_ONLY, check_storage
from .storages import StorageRow
from .webhook_endpoints import ACTIVE

if TYPE_CHECKING:
    from . import Engine

__all__ = ["of_places", "read_in_vain"]

_LONG_GRACE = 86_400_000  # ms: a day is enough for a receiver to be given another secret


def of_places(engine: Engine, case: Case, *, check: bool) -> Iterator[Finding]:
    """Everything worth attention, in no order. With `check` each storage is tried out, which takes as long as it takes."""
    for row in engine.storages.of(case.key):
        yield from _storage(engine, case, row, check=check)
    for endpoint in engine.webhooks.endpoints.of(case.key):
        at = urlsplit(endpoint.url)
        if endpoint.state == ACTIVE and at.scheme == "http" and not is_loopback(at.hostname or ""):
            what = f"Events are sent to {at.hostname} by plain http."
            safe = command("webhook", "set", case.key, endpoint.id, "--url", at._replace(scheme="https").geturl())
            told = at.port is None and not at.query  # another port is not known, and queries hold credentials
            mends = safe if told else None
            yield case.found("webhook_http", "medium", what, subject=endpoint.id, page="webhooks", command=mends)
        if endpoint.until is not None and endpoint.until - case.now * 1000 > _LONG_GRACE:
            end = f"{dt.datetime.fromtimestamp(endpoint.until / 1000, dt.UTC):%Y-%m-%d %H:%M}"
            what = f"The secret before the present one signs events too until {end} UTC."
            again = command("webhook", "rotate", case.key, endpoint.id, "--grace", "0")
            yield case.found("webhook_grace", "low", what, subject=endpoint.id, page="webhooks", command=again)


def _storage(engine: Engine, case: Case, row: StorageRow, *, check: bool) -> Iterator[Finding]:
    try:
        storage = engine.storages.get(row.id)
    except SecureDeliveryError:
        what = "The storage cannot be opened: its plugin is gone, or its options or credentials are no use."
        yield case.found("storage_unusable", "medium", what, subject=row.name, page="storages")
        return
    readable = storage.readable if isinstance(storage, Placing) else True
    if read_in_vain(engine, case.application, row):
        what = "New files do not go to this storage and none are in it: it only takes results, and yet it can be read."
        closed = command("storage", "set", case.key, row.name, "-o", f"{WRITE_ONLY}=true")
        yield case.found("storage_readable", "low", what, subject=row.name, page="storages", command=closed)
    if check:
        yield from _checked(engine, case, row, readable=readable)


def read_in_vain(engine: Engine, application: Application, row: StorageRow) -> bool:
    """Whether a storage can be read although nothing asks for that: it might be one that is only written to, new files do not
    go there, none are in it, and no alias names it. Raises `StorageFault`, `VaultError`, `ConfigurationError` for one that
    cannot be opened."""
    provider = engine.storages.providers.get(row.provider)
    storage = engine.storages.get(row.id)
    if provider is None or not any(param.name == WRITE_ONLY for param in provider.params):
        return False
    aliased = (target.removeprefix("storage:").partition("/")[0] for target in application.aliases.values())
    if (
        not (storage.readable if isinstance(storage, Placing) else True)
        or application.storage == row.name
        or row.name in aliased
    ):
        return False
    return engine.records.used(application.api_key, row.id)[0] == 0


def _checked(engine: Engine, case: Case, row: StorageRow, *, readable: bool) -> Iterator[Finding]:
    """What a trial of the storage tells. One that is only written to is tried as if it were read too, to see whether it can."""
    tried = row if readable else replace(row, options={**row.options, WRITE_ONLY: "false"})
    try:
        steps = {step.name: step for step in check_storage(engine.storages, tried).steps}
    except SecureDeliveryError:
        return  # options that only a write-only storage may have
    wanted = set(steps) if readable else {"write"}
    if failed := [name for name in steps if name in wanted and steps[name].good is False]:
        what = f"Trying the storage out failed at: {', '.join(failed)}."
        yield case.found("storage_unusable", "medium", what, subject=row.name, page="storages")
    if not readable and "read" in steps and steps["read"].good:
        yield case.found("storage_rights", "medium", _READS, subject=row.name, page="storages")


_READS = "The storage is marked as write-only, and yet its credentials can read it."
