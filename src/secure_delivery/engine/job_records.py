"""What a job is, and what can go wrong with holding one.

Knows: the columns of the table. Must not know: queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..gate.errors import SecureDeliveryError
from . import tables

OPEN = ("waiting", "queued", "started")
ENDED = ("success", "failure", "cancelled")
COSTS = ("light", "heavy")  # classes by which queues route
NORMAL = 100  # urgency
MADE, GONE = "folder made", "folder deleted"  # lines of the trace that belong together
ABANDONED = "abandoned"  # code of jobs that were given up because they ended their worker each time
CHANNEL = "secure_delivery_jobs"  # of NOTIFY on PostgreSQL


class QueueFull(SecureDeliveryError):
    """The application has as many jobs waiting as it may have."""

    code = "queue_full"
    status = 429
    sentence = "This application has too many jobs waiting. Try again later."


class KeyReused(SecureDeliveryError):
    """An idempotency key that came with another request before (draft-ietf-httpapi-idempotency-key-header, section 2.7)."""

    code = "key_reused"
    status = 422
    sentence = "This Idempotency-Key was used for another request."


class Fenced(SecureDeliveryError):
    """The job belongs to another holder by now, or to nobody: what was done for it does not count."""

    code = "fenced"


class Cancelled(SecureDeliveryError):
    """The job was cancelled while it ran."""

    code = "cancelled"
    status = 409
    sentence = "The job was cancelled."


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it stands. Times are milliseconds since the epoch."""

    id: str
    application: str
    kind: str
    state: str
    step: str
    urgency: int
    cost: str
    run_at: int
    attempts: int
    fence: int
    lease: int | None
    worker: str | None
    cancelling: bool
    data: Any
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    created: int
    started: int | None
    finished: int | None
    purged: int | None
    sealed: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One line of what existed where because of a job. `size` is in bytes."""

    at: int
    what: str
    place: str = ""
    size: int | None = None


CANCELLED: Mapping[str, str] = {"code": Cancelled.code, "message": Cancelled.sentence}


def read_job(row: Any) -> Job:
    """A job from a row with every column, or those that a new row has."""
    values: dict[str, Any] = {name: row.get(name) for name in Job.__dataclass_fields__}
    values["cancelling"] = bool(values["cancelling"])
    return Job(**values)


def ring(connection: sa.Connection) -> None:
    """Wake workers on other machines when the transaction commits. SQLite has no such bell; its workers look by themselves."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text(f"NOTIFY {CHANNEL}"))


_LAST_TRACE = sa.select(sa.func.max(tables.job_trace.c.number)).where(tables.job_trace.c.job == sa.bindparam("mine"))
_NEW_TRACE = sa.insert(tables.job_trace)


def write_traces(connection: sa.Connection, job_id: str, traces: Any) -> None:
    """Append lines to what is told of a job."""
    if not traces:
        return
    last = connection.execute(_LAST_TRACE, {"mine": job_id}).scalar_one() or 0
    rows = [
        {"job": job_id, "number": number, "at": line.at, "what": line.what, "place": line.place, "size": line.size}
        for number, line in enumerate(traces, last + 1)
    ]
    connection.execute(_NEW_TRACE, rows)
