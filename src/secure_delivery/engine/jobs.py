"""The job table: what is to be done, and how it ended.

Knows: rows of jobs, the vault, time. Must not know: what a job does, who holds one (`job_leases`), queues, files, HTTP.

The table is the truth; a message of any queue is only a bell.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import Conflict, NotFound
from ..gate.model import Limits
from . import tables
from .applications import Clock, no_application
from .database import Database
from .job_records import CANCELLED, ENDED, NORMAL, Job, KeyReused, QueueFull, Trace, read_job, ring
from .sealed import JOBS, Sealed
from .vault import Place, Vault

_J = tables.job

# What is executed for every job is put together once: building a statement costs more than running it.
_DEPTH = sa.select(sa.func.count()).select_from(
    sa.select(sa.literal(1))
    .where(_J.c.state == "queued", _J.c.application == sa.bindparam("owner"))
    .limit(sa.bindparam("most"))
    .subquery()
)
#: What is the same in every new job, and what each says.
_FRESH = {"step": "queued", "attempts": 0, "fence": 0, "cancelling": 0}
_SAID = (
    "id",
    "application",
    "kind",
    "state",
    "urgency",
    "cost",
    "run_at",
    "told",
    "key",
    "digest",
    "sealed",
    "data",
    "created",
)
#: A new job where fewer than so many wait; counted no further than that, so that a full queue is cheap to refuse.
_NEW = (
    sa.insert(_J)
    .from_select(
        [*_FRESH, *_SAID],
        sa.select(
            *(sa.literal_column(repr(value), _J.c[name].type) for name, value in _FRESH.items()),
            *(sa.bindparam(f"new_{name}", type_=_J.c[name].type) for name in _SAID),
        ).where(_DEPTH.scalar_subquery() < sa.bindparam("most")),
        include_defaults=False,
    )
    .execution_options(preserve_rowcount=True)
)


class Jobs:
    """The jobs of all applications. Thread-safe, and safe among processes.

    `limits_of` gives an application's limits by its key. `sealed` are the requests at rest, for rotating master keys.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        *,
        limits_of: Callable[[str], Limits | None],
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._limits_of = limits_of
        self.sealed = Sealed(database, vault, JOBS)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    # -- submitting

    def submit(
        self,
        application: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        data: Any = None,
        cost: str = "light",
        urgency: int = NORMAL,
        key: str | None = None,
        digest: str | None = None,
        job_id: str | None = None,
        delay: float = 0.0,
    ) -> tuple[Job, bool]:
        """Record a job; it, and whether it is new: the same `key` of an application gives the job that is there, unless the
        `digest` of what was asked is another.

        `request` is sealed, and only workers read it. Raises `QueueFull`, `KeyReused`, `NotFound` without the application.
        """
        now = self.now()
        job_id = job_id or str(uuid.uuid4())
        sealed = self._vault.seal(json.dumps(dict(request)).encode(), place=_place(application, job_id))
        row = {
            "id": job_id,
            "application": application,
            "kind": kind,
            "state": "waiting" if delay > 0 else "queued",
            "urgency": urgency,
            "cost": cost,
            "run_at": now + int(delay * 1000),
            "told": now,
            "key": key,
            "digest": digest,
            "sealed": sealed,
            "data": data,
            "created": now,
            **_FRESH,
        }
        limits = self._limits_of(application)
        most = 1 if limits is None else limits.max_queue  # without limits there is no application, as the row will find
        told = {f"new_{name}": row[name] for name in _SAID} | {"owner": application, "most": most}
        try:
            with self._database.write() as connection:
                if key is not None and (known := self._keyed(connection, application, key, digest)) is not None:
                    return known, False
                if not connection.execute(_NEW, told).rowcount:
                    raise QueueFull(f"{application}: {most} jobs wait")
                ring(connection)
        except IntegrityError:
            with self._database.read() as connection:
                if key is not None and (known := self._keyed(connection, application, key, digest)) is not None:
                    return known, False  # two asked at the same moment
            raise no_application() from None
        return read_job(row), True

    def _keyed(self, connection: Connection, application: str, key: str, digest: str | None) -> Job | None:
        query = sa.select(_J).where(_J.c.application == application, _J.c.key == key)
        row = connection.execute(query).mappings().one_or_none()
        if row is not None and digest is not None and row["digest"] not in (None, digest):
            raise KeyReused(f"{application}: the key of {row['id']} with another request")
        return None if row is None else read_job(row)

    # -- looking

    def get(self, job_id: str, application: str | None = None) -> Job:
        """A job; with `application`, only one of its own. Raises `NotFound`."""
        query = sa.select(_J).where(_J.c.id == job_id)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None or (application is not None and row["application"] != application):
            raise NotFound(f"no job {job_id[:40]!r}", public="There is no such job.")
        return read_job(row)

    def request(self, job: Job) -> dict[str, Any]:
        """What was asked for. Raises `NotFound` when it is gone, which it is after success."""
        if job.sealed is None:
            raise NotFound(f"the request of {job.id} is not kept any more", public="The request is not kept any more.")
        return dict(json.loads(self._vault.open(job.sealed, place=_place(job.application, job.id))))

    def page(
        self,
        application: str | None = None,
        *,
        states: Collection[str] = (),
        kinds: Collection[str] = (),
        fault: str | None = None,
        before: str | None = None,
        most: int = 50,
    ) -> tuple[list[Job], str | None]:
        """Jobs, newest first, and the cursor of the next page; with `fault`, only those whose error has this code. Raises
        `NotFound` for a cursor that leads nowhere."""
        query = sa.select(_J).order_by(_J.c.created.desc(), _J.c.id.desc()).limit(most + 1)
        if application is not None:
            query = query.where(_J.c.application == application)
        if states:
            query = query.where(_J.c.state.in_(list(states)))
        if kinds:
            query = query.where(_J.c.kind.in_(list(kinds)))
        if fault is not None:
            query = query.where(_J.c.error["code"].as_string() == fault)
        if before is not None:
            last = self.get(before, application)
            query = query.where(sa.tuple_(_J.c.created, _J.c.id) < sa.tuple_(last.created, last.id))
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        found = [read_job(row) for row in rows[:most]]
        return found, found[-1].id if len(rows) > most else None

    def several(self, application: str, ids: Collection[str]) -> list[Job]:
        """Those of these jobs that are there, and the application's own."""
        if not ids:
            return []
        query = sa.select(_J).where(_J.c.id.in_(list(ids)), _J.c.application == application)
        with self._database.read() as connection:
            return [read_job(row) for row in connection.execute(query).mappings()]

    def counts(self, application: str | None = None) -> dict[str, int]:
        """How many jobs there are, by state."""
        query = sa.select(_J.c.state, sa.func.count()).group_by(_J.c.state)
        if application is not None:
            query = query.where(_J.c.application == application)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def trace(self, job_id: str) -> list[Trace]:
        """What existed where because of a job, in order."""
        lines = tables.job_trace
        query = sa.select(lines).where(lines.c.job == job_id).order_by(lines.c.number)
        with self._database.read() as connection:
            return [Trace(at=row.at, what=row.what, place=row.place, size=row.size) for row in connection.execute(query)]

    # -- what others do with jobs

    def cancel(
        self,
        job_id: str,
        application: str | None = None,
        *,
        beside: Callable[[Connection, Job], None] = lambda connection, job: None,
    ) -> Job:
        """End a job that waits, or have its holder give it up. `beside` writes what belongs to the end of one that waited: its
        webhooks. Raises `NotFound`, `Conflict` for one that has ended."""
        job = self.get(job_id, application)
        now = self.now()
        stopped = {"state": "cancelled", "finished": now, "purged": now, "step": "deleted", "error": dict(CANCELLED)}
        idle = (_J.c.id == job_id, _J.c.state.in_(("waiting", "queued")))
        with self._database.write() as connection:
            if connection.execute(sa.update(_J).where(*idle).values(**stopped)).rowcount:
                beside(connection, replace(job, state="cancelled", error=dict(CANCELLED), finished=now))
            else:
                busy = (_J.c.id == job_id, _J.c.state == "started")
                if not connection.execute(sa.update(_J).where(*busy).values(cancelling=1)).rowcount:
                    raise Conflict(f"{job_id} is {job.state}", public="The job has ended already.")
        return self.get(job_id)

    def retry(self, job_id: str, application: str | None = None) -> Job:
        """Queue a job again that failed or was cancelled. Raises `NotFound`, `Conflict`."""
        job = self.get(job_id, application)
        values = {
            "state": "queued",
            "step": "queued",
            "attempts": 0,
            "cancelling": 0,
            "run_at": self.now(),
            "error": None,
            "result": None,
            "finished": None,
            "started": None,
            "purged": None,
            "told": self.now(),
        }
        ended = (_J.c.id == job_id, _J.c.state.in_(("failure", "cancelled")), _J.c.sealed.is_not(None))
        with self._database.write() as connection:
            if not connection.execute(sa.update(_J).where(*ended).values(**values)).rowcount:
                raise Conflict(f"{job_id} is {job.state}", public="Only a job that failed or was cancelled can be tried again.")
            ring(connection)
        return self.get(job_id)

    def delete(self, job_id: str, application: str | None = None) -> None:
        """Forget a job that has ended. Raises `NotFound`, `Conflict` for one that has not."""
        job = self.get(job_id, application)
        ended = (_J.c.id == job_id, _J.c.state.in_(ENDED))
        with self._database.write() as connection:
            if not connection.execute(sa.delete(_J).where(*ended)).rowcount:
                raise Conflict(f"{job_id} is {job.state}", public="Cancel the job before deleting it.")

    def forget(self, days: float, most: int = 500) -> int:
        """Delete the records of jobs that ended so many days ago; how many."""
        old = (_J.c.finished.is_not(None), _J.c.finished < self.now() - int(days * 86_400_000), _J.c.state.in_(ENDED))
        some = sa.select(_J.c.id).where(*old).limit(most)
        with self._database.read() as connection:
            if connection.execute(some.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            return connection.execute(sa.delete(_J).where(_J.c.id.in_(some))).rowcount


def _place(application: str, job_id: str) -> Place:
    return Place(table="job", row=job_id, field="sealed", application=application)
