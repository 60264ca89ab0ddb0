"""Who holds a job: leases, fencing numbers, turns.

Knows: rows of jobs, time. Must not know: what a job does, queues, files, HTTP.

Whoever works on a job holds a lease and the fencing number that came with it. A holder that falls silent loses the job when
the lease ends; from then on its number is old and every write of it is refused (`Fenced`), however late it wakes up.

An application's jobs are begun in order of urgency, then of age; among applications those with the fewest running jobs come
first, so that one with a hundred thousand jobs delays another by no more than what is running.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.model import Limits
from . import tables
from .applications import Clock
from .database import Database, Prepared
from .job_records import COSTS, ENDED, GONE, MADE, Cancelled, Fenced, Job, Trace, read_job, ring, write_traces

_J = tables.job
_COLUMNS = tuple(_J.c)

#: Applications with queued jobs, found by jumping from one to the next in the index: a hundred thousand jobs of one cost as
#: much as one (PostgreSQL wiki, "Loose indexscan"; SQLite does the same).
_WAITING = sa.text(
    """
    WITH RECURSIVE lane(name) AS (
        SELECT (SELECT application FROM job WHERE state = 'queued' ORDER BY application LIMIT 1)
        UNION ALL
        SELECT (SELECT application FROM job WHERE state = 'queued' AND application > lane.name ORDER BY application LIMIT 1)
        FROM lane WHERE lane.name IS NOT NULL
    )
    SELECT name FROM lane WHERE name IS NOT NULL
    """
)


# What is executed for every job is put together once: building a statement costs more than running it.
_RUNNING = sa.select(_J.c.application, sa.func.count()).where(_J.c.state == "started").group_by(_J.c.application)
_LINE_OF_ALL = (
    sa.select(_J.c.id)
    .where(_J.c.state == "queued", _J.c.application == sa.bindparam("owner"))
    .order_by(_J.c.urgency, _J.c.run_at, _J.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_LINE = _LINE_OF_ALL.where(_J.c.kind.in_(sa.bindparam("kinds", expanding=True)))
_LINE_OF_COST = _LINE.where(_J.c.cost.in_(sa.bindparam("costs", expanding=True)))
#: Who takes jobs on PostgreSQL takes turns, for two claims at the same moment would each see the same jobs at work and together
#: begin more than an application may have. SQLite has one writer anyway.
_TURN = sa.select(sa.func.pg_advisory_xact_lock(0x5EC0DE12))
_TAKE = (
    sa.update(_J)
    .where(_J.c.id.in_(sa.bindparam("ids", expanding=True)), _J.c.state == "queued")
    .values(
        state="started",
        step="started",
        fence=_J.c.fence + 1,
        attempts=_J.c.attempts + 1,
        lease=sa.bindparam("until"),
        worker=sa.bindparam("holder"),
        started=sa.func.coalesce(_J.c.started, sa.bindparam("now")),
    )
    .returning(*_COLUMNS)
)
_ANY = sa.select(_J.c.id).where(_J.c.state == "queued").limit(1)
_FENCED = sa.update(_J).where(_J.c.id == sa.bindparam("mine"), _J.c.fence == sa.bindparam("number"), _J.c.state == "started")
_STANDING = sa.select(_J.c.fence, _J.c.state, _J.c.cancelling).where(_J.c.id == sa.bindparam("mine"))
_STANDING_NOW = Prepared(_STANDING)
_SAME = sa.select(_J.c.id).where(_J.c.id == sa.bindparam("mine"), _J.c.fence == sa.bindparam("number"))


def _all_gone() -> sa.Update:
    """Marks a job that has ended when all that was ever made for it is gone."""
    made, gone = tables.job_trace, tables.job_trace.alias()
    left = sa.select(made.c.number).where(
        made.c.job == sa.bindparam("mine"),
        made.c.what == MADE,
        ~sa.exists().where(gone.c.job == made.c.job, gone.c.what == GONE, gone.c.place == made.c.place),
    )
    over = (_J.c.id == sa.bindparam("mine"), _J.c.state.in_(ENDED), _J.c.purged.is_(None), ~left.exists())
    return sa.update(_J).where(*over).values(purged=sa.bindparam("now"), step="deleted")


_PURGED = _all_gone()


class Leases:
    """Takes jobs and gives them back. Thread-safe, and safe among processes.

    `limits_of` gives an application's limits by its key. `lease` is how many seconds a holder may be silent; a job that was
    begun `most_attempts` times and never ended is given up by whoever gets it next.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        limits_of: Callable[[str], Limits | None],
        lease: float = 60.0,
        most_attempts: int = 3,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits_of = limits_of
        self.lease = lease
        self.most_attempts = most_attempts
        self._turn: dict[str, int] = {}  # when an application was last served here: the order among equals
        self._turns = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    def claim(self, worker: str, most: int, kinds: Collection[str] = (), costs: Collection[str] = ()) -> list[Job]:
        """Take up to `most` jobs that are due; each comes with a lease and a fencing number of its own. `costs` are the classes
        to take, all when there are none; it goes with `kinds`."""
        with self._database.write() as connection:
            if not self._database.sqlite:
                connection.execute(_TURN)
            chosen = self._chosen(connection, most, kinds, costs)
            return self._take(connection, chosen, worker)

    def waiting(self) -> bool:
        """Whether any job is queued, which costs less than to claim nothing."""
        with self._database.read() as connection:
            return connection.execute(_ANY).first() is not None

    def _running(self, connection: Connection) -> dict[str, int]:
        return {row[0]: row[1] for row in connection.execute(_RUNNING)}

    def _most_running(self, application: str) -> int:
        limits = self._limits_of(application)
        return limits.max_jobs if limits is not None else 1

    def _chosen(self, connection: Connection, most: int, kinds: Collection[str], costs: Collection[str]) -> Sequence[str]:
        waiting = list(connection.execute(_WAITING).scalars())
        if not waiting:
            return []
        running = self._running(connection)
        lines: dict[str, list[str]] = {}
        chosen: list[str] = []
        while waiting and len(chosen) < most:
            application = min(waiting, key=lambda name: (running.get(name, 0), self._turn.get(name, 0), name))
            if application not in lines:
                lines[application] = self._line(connection, application, most, kinds, costs)
            if not lines[application] or running.get(application, 0) >= self._most_running(application):
                waiting.remove(application)
                continue
            chosen.append(lines[application].pop(0))
            running[application] = running.get(application, 0) + 1
            self._served(application)
        return chosen

    def _line(
        self, connection: Connection, application: str, most: int, kinds: Collection[str], costs: Collection[str]
    ) -> list[str]:
        """The next jobs of an application. Those that another process is changing at this moment are left out."""
        told = {"owner": application, "most": most}
        if kinds:
            told |= {"kinds": list(kinds)}
        if costs:
            told |= {"costs": list(costs)}
        query = _LINE_OF_COST if costs else _LINE if kinds else _LINE_OF_ALL
        return list(connection.execute(query, told).scalars())

    def _served(self, application: str) -> None:
        with self._lock:
            self._turns += 1
            if len(self._turn) > 10_000:
                self._turn.clear()
            self._turn[application] = self._turns

    def _take(self, connection: Connection, ids: Sequence[str], worker: str) -> list[Job]:
        if not ids:
            return []
        now = self.now()
        told = {"ids": list(ids), "now": now, "until": now + int(self.lease * 1000), "holder": worker}
        taken = {row["id"]: read_job(row) for row in connection.execute(_TAKE, told).mappings()}
        return [taken[job_id] for job_id in ids if job_id in taken]

    def beat(self, held: Collection[tuple[str, int]]) -> tuple[set[str], set[str]]:
        """Renew the leases of jobs, given by id and fencing number; those that are lost, and those that are to be given up."""
        if not held:
            return set(), set()
        ids = [job_id for job_id, _ in held]
        with self._database.write() as connection:
            lease = self.now() + int(self.lease * 1000)
            mine = [sa.and_(_J.c.id == job_id, _J.c.fence == fence, _J.c.state == "started") for job_id, fence in held]
            connection.execute(sa.update(_J).where(sa.or_(*mine)).values(lease=lease))
            query = sa.select(_J.c.id, _J.c.fence, _J.c.state, _J.c.cancelling).where(_J.c.id.in_(ids))
            rows = {row.id: row for row in connection.execute(query)}
        lost = {
            job_id
            for job_id, fence in held
            if job_id not in rows or rows[job_id].fence != fence or rows[job_id].state != "started"
        }
        return lost, {job_id for job_id in ids if job_id not in lost and rows[job_id].cancelling}

    def step(self, job: Job, step: str, traces: Sequence[Trace] = ()) -> None:
        """Say how far a job is. Raises `Fenced` for a holder that has lost it, `Cancelled` when it is to be given up."""
        with self._database.write() as connection:
            self._fenced(connection, job, {"step": step})
            write_traces(connection, job.id, traces)
            if connection.execute(_STANDING, {"mine": job.id}).one().cancelling:
                raise Cancelled(job.id)

    def check(self, job: Job) -> None:
        """Raises like `step`, and writes nothing."""
        standing = self._database.first(_STANDING_NOW, mine=job.id)
        if standing is None or (standing[0], standing[1]) != (job.fence, "started"):
            raise Fenced(job.id)
        if standing[2]:
            raise Cancelled(job.id)

    def finish(
        self,
        job: Job,
        state: str,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        traces: Sequence[Trace] = (),
        purged: bool = False,
        beside: Callable[[Connection], None] | None = None,
    ) -> None:
        """Record how a job ended. `beside` writes what belongs to the same moment: its webhooks. Raises `Fenced`.

        The request goes with success; after failure it stays, so that the job can be tried again.
        """
        now = self.now()
        values: dict[str, Any] = {
            "state": state,
            "step": "recorded",
            "result": None if result is None else dict(result),
            "error": None if error is None else dict(error),
            "finished": now,
            "lease": None,
            "worker": None,
        }
        if state == "success":
            values["sealed"] = None
        if purged:
            values |= {"step": "deleted", "purged": now}
        with self._database.write() as connection:
            self._fenced(connection, job, values)
            write_traces(connection, job.id, traces)
            if beside is not None:
                beside(connection)

    def deleted(self, job: Job, traces: Sequence[Trace]) -> bool:
        """Record that what the holder of a finished job had of it is deleted; False, and nothing, when another had it since."""
        with self._database.write() as connection:
            if connection.execute(_SAME, {"mine": job.id, "number": job.fence}).first() is None:
                return False
            write_traces(connection, job.id, traces)
            self._purged(connection, job.id)
            return True

    def _purged(self, connection: Connection, job_id: str) -> None:
        connection.execute(_PURGED, {"mine": job_id, "now": self.now()})

    def again(self, job: Job, delay: float, traces: Sequence[Trace] = (), *, begun: bool = True) -> None:
        """Give a job back, to be begun again after `delay` seconds. Raises `Fenced`.

        What a process only gives back because it ends counts as not `begun`: no job is given up because servers were restarted.
        """
        now = self.now()
        values = {
            "state": "waiting" if delay > 0 else "queued",
            "step": "queued",
            "run_at": now + int(delay * 1000),
            "lease": None,
            "worker": None,
            "attempts": job.attempts if begun else job.attempts - 1,
        }
        with self._database.write() as connection:
            self._fenced(connection, job, values)
            write_traces(connection, job.id, traces)
            ring(connection)

    def _fenced(self, connection: Connection, job: Job, values: Mapping[str, Any]) -> None:
        told = {**values, "mine": job.id, "number": job.fence}
        if connection.execute(_FENCED, told).rowcount != 1:
            raise Fenced(job.id)

    # -- what time does

    def promote(self) -> list[Job]:
        """Queue what has waited long enough, and what its holder fell silent about; those jobs. One that was begun too often is
        queued too: whoever takes it gives it up in order, with a record and a webhook."""
        now = self.now()
        due = (_J.c.state == "waiting", _J.c.run_at <= now)
        silent = (_J.c.state == "started", _J.c.lease.is_not(None), _J.c.lease < now)
        fresh = {"state": "queued", "step": "queued", "lease": None, "worker": None, "told": now}
        with self._database.read() as connection:
            looked = sa.select(_J.c.id).where(sa.or_(sa.and_(*due), sa.and_(*silent))).limit(1)
            if connection.execute(looked).first() is None:
                return []
        with self._database.write() as connection:
            moved = list(connection.execute(sa.update(_J).where(*due).values(**fresh).returning(*_COLUMNS)).mappings())
            # The number grows at once: from here on the old holder can write nothing, even if nobody takes the job for long.
            lost = sa.update(_J).where(*silent).values(**fresh, fence=_J.c.fence + 1).returning(*_COLUMNS)
            moved += connection.execute(lost).mappings()
            if moved:
                ring(connection)
        return [read_job(row) for row in moved]

    def unheard(self, seconds: float, most: int = 25) -> list[Job]:
        """Jobs that wait although a queue was told of them so long ago: the message may be lost. They count as told now.

        At most so many of each cost class: whoever hears of one works on until nothing is left, and a long queue is not to be
        told of over and over.
        """
        now = self.now()
        found: list[Job] = []
        with self._database.write() as connection:
            for cost in COSTS:
                late = (_J.c.state == "queued", _J.c.cost == cost, _J.c.told < now - int(seconds * 1000))
                some = sa.select(_J.c.id).where(*late).order_by(_J.c.run_at).limit(most)
                change = sa.update(_J).where(_J.c.id.in_(some)).values(told=now).returning(*_COLUMNS)
                found += [read_job(row) for row in connection.execute(change).mappings()]
        return found

    def swept(self, folders: Sequence[str]) -> None:
        """Record that folders are gone which a killed process left, or one that could not say so, with the jobs that they were
        made for."""
        lines = tables.job_trace
        with self._database.write() as connection:
            query = sa.select(lines.c.job, lines.c.place).where(lines.c.what == MADE, lines.c.place.in_(list(folders)))
            for job_id, place in connection.execute(query).all():
                write_traces(connection, job_id, [Trace(at=self.now(), what=GONE, place=place)])
                self._purged(connection, job_id)
