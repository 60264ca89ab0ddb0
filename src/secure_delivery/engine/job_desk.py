"""Where jobs are handed in, and where a process offers its hands: the table, the queue that tells of it, the pool.

Knows: jobs, leases, the pool, a queue of a plugin by its two methods. Must not know: what a job does, HTTP.

`embedded` is the table itself: whoever works on the same database takes from it. Any other queue gets ids only, and may lose
them all: what nobody was heard to hold for `UNHEARD` seconds is told of again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy.engine import Connection

from ..gate.errors import ConfigurationError
from ..plugin.protocols import Queue, Serving
from .job_leases import Leases
from .job_pool import JobPool
from .job_records import COSTS, Job
from .job_run import JobRunner
from .jobs import Jobs

logger = logging.getLogger("secure_delivery.engine")

EMBEDDED = "embedded"
UNHEARD = 60.0  # seconds
_ALONE: AbstractContextManager[None] = nullcontext()


class JobDesk:
    """Takes jobs in, and works on them when it was started. Thread-safe."""

    def __init__(
        self,
        jobs: Jobs,
        leases: Leases,
        runner: JobRunner,
        pool: JobPool,
        *,
        queue: Queue | None,
        size: int,
        days: float,
        unheard: float = UNHEARD,
    ) -> None:
        self.jobs = jobs
        self.leases = leases
        self.runner = runner
        self.pool = pool
        self._queue = queue
        self._size = size
        self._days = days
        self._unheard = unheard

    def submit(
        self,
        application: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        within: AbstractContextManager[None] = _ALONE,
        **more: Any,
    ) -> tuple[Job, bool]:
        """Record a job and tell whoever may be waiting; arguments and faults as in `Jobs.submit`. The row is written `within` a
        block of the caller's, who may write something with it; so it is with the changes below."""
        with within:
            job, fresh = self.jobs.submit(application, kind, request, **more)
        if fresh:
            self.announce([job])
        return job, fresh

    def retry(self, job_id: str, application: str | None = None, *, within: AbstractContextManager[None] = _ALONE) -> Job:
        """Queue a job again that failed or was cancelled. Raises like `Jobs.retry`."""
        with within:
            self.jobs.retry(job_id, application)
        job = self.jobs.get(job_id)
        self.announce([job])
        return job

    def cancel(self, job_id: str, application: str | None = None, *, within: AbstractContextManager[None] = _ALONE) -> Job:
        """End a job that waits, with its webhooks, or have its holder give it up. Raises like `Jobs.cancel`."""
        deliveries: list[str] = []
        over: list[Job] = []

        def beside(connection: Connection, ended: Job) -> None:
            deliveries.extend(self.runner.report(connection, ended))
            over.append(ended)

        with within:
            self.jobs.cancel(job_id, application, beside=beside)
        for ended in over:
            self.runner.ended(ended)
        self.runner.deliver(deliveries)
        return self.jobs.get(job_id)

    def announce(self, jobs: Sequence[Job], delay: float = 0.0) -> None:
        """Tell the queue of jobs. What it does not take is told of again later: the table knows."""
        if self._queue is None:
            self.pool.wake()
            return
        for job in jobs:
            try:
                self._queue.announce(job.id, cost=job.cost, delay=delay)
            except Exception as error:  # a broker that is away
                logger.warning("the queue took no message of job %s: %s", job.id, type(error).__name__)
                return

    # -- working

    def start(self) -> None:
        """Work on jobs in this process: as many at a time as the settings say. With a queue of a plugin, its workers do that,
        and this process only keeps the table in order."""
        self.runner.sweep()
        if self._size or self._queue is not None:
            self.pool.start(taking=self._queue is None)

    def serve(self, concurrency: int) -> None:
        """Be a worker of the queue until told to stop. Raises `ConfigurationError` for a queue that has none."""
        self.runner.sweep()
        queue: object = self._queue
        if not isinstance(queue, Serving):
            raise ConfigurationError("this queue has no workers of its own")
        costs = tuple(getattr(queue, "takes", COSTS))
        self.pool.start(taking=False)
        queue.serve(lambda _: self.pool.hear(() if set(costs) >= set(COSTS) else costs), concurrency=concurrency)

    def describe(self) -> str:
        """Where jobs come from, for people."""
        if self._queue is None:
            return "the job table"
        describe = getattr(self._queue, "describe", None)
        return str(describe()) if callable(describe) else repr(self._queue)

    @property
    def embedded(self) -> bool:
        """Whether the table itself is the queue."""
        return self._queue is None

    def close(self) -> None:
        """Take no more jobs, and wait a little for those that run."""
        self.pool.close()
        if callable(close := getattr(self._queue, "close", None)):
            close()

    def tend(self) -> int:
        """What time does: tell again of what nobody heard, forget what is old, sweep what a crash left. Returns how much."""
        done = self.jobs.forget(self._days)
        self.runner.sweep()
        if self._queue is not None and (late := self.leases.unheard(self._unheard)):
            self.announce(late)
            done += len(late)
        return done


def chosen(setting: str, queues: Mapping[str, Queue]) -> Queue | None:
    """The queue that a setting means: `embedded`, or the name of one that a plugin provides. A colon may follow the name.

    Raises `ConfigurationError` for one that nobody provides.
    """
    name = setting.partition(":")[0]
    if name == EMBEDDED:
        return None
    if name not in queues:
        known = ", ".join([EMBEDDED, *sorted(queues)])
        raise ConfigurationError(f"queue: no installed plugin provides {name!r}; there is: {known}")
    return queues[name]
