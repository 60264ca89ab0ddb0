"""One job from its lease to the last deleted byte.

Knows: leases, scratch folders, webhooks by their three methods. Must not know: what a job does (its `Worker` does), queues,
HTTP.

The order is a promise: work -> results handed over -> recorded, with the webhooks in the same transaction -> first webhook
attempt -> everything deleted. Whatever ends a job early, the deleting happens. What a crash leaves is swept by whoever starts
or tends next: a folder that no living process holds is nobody's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..gate.errors import Busy, NotFound, Overloaded, SecureDeliveryError, SourceFault, StorageFault, StorageRefused, TimedOut
from . import scratch
from .job_leases import Leases
from .job_records import ABANDONED, CANCELLED, GONE, MADE, Cancelled, Fenced, Job, Trace
from .outbound import AddressRefused

logger = logging.getLogger("secure_delivery.engine")

#: Seconds before a job that failed for a reason that may pass is begun again; as often as there are numbers.
DELAYS = (2.0, 20.0)
_AWAY = (OperationalError, InterfaceError, PoolTimeout)  # a database that was restarted, say: nothing that a job does
_STEP = 0.25  # seconds within which steps need not be written down
_ABANDONED: Mapping[str, str] = {
    "code": ABANDONED,
    "message": "The job ended its worker every time it was begun, and was given up.",
}
_INTERNAL: Mapping[str, str] = {"code": "internal", "message": SecureDeliveryError.sentence}


class Held:
    """What a worker of a kind gets: the job, its request, a folder of its own, and how to say how far it is.

    Steps are written down at once when the last was a while ago, else with the next, with the end, or by the keeper of leases
    within a second: a job of some milliseconds is not to wait for the disk at each of them.
    """

    def __init__(self, job: Job, folder: Path, leases: Leases, seconds: float | None = None) -> None:
        self.job = job
        self._ends = None if seconds is None else time.monotonic() + seconds
        self.request: Mapping[str, Any] = {}
        self.folder = folder
        self._leases = leases
        self._traces: list[Trace] = []
        self._step = ""
        self._written = time.monotonic()
        self._lock = threading.Lock()

    def note(self, what: str, place: str = "", size: int | None = None) -> None:
        """Remember that something exists, or was sent or deleted; written down with the next step."""
        line = Trace(at=self._leases.now(), what=what, place=place[:300], size=size)
        with self._lock:
            self._traces.append(line)

    def step(self, name: str) -> None:
        """Say how far the job is. Raises like `check`."""
        with self._lock:
            self._step = name
            if time.monotonic() - self._written >= _STEP:
                self._write()
        self.check()

    def keep(self) -> None:
        """Write down what was not yet, when it is a while old; from any thread. What stands against it, the job finds out."""
        if self._step and time.monotonic() - self._written >= _STEP and self._lock.acquire(blocking=False):
            try:
                if self._step:
                    with suppress(Fenced, Cancelled):
                        self._write()
            finally:
                self._lock.release()

    def _write(self) -> None:
        step, self._step = self._step, ""
        self._written = time.monotonic()
        self._leases.step(self.job, step, self._traces)
        self._traces.clear()

    def taken(self) -> list[Trace]:
        """What was not written down yet, for whoever does it from here on."""
        with self._lock:
            traces, self._traces, self._step = self._traces, [], ""
            return traces

    def taken_back(self, traces: Sequence[Trace]) -> None:
        """What could not be written down after all."""
        with self._lock:
            self._traces[:0] = traces

    def check(self) -> None:
        """Raise `Fenced`, `Cancelled`, or `TimedOut` when the job is not to go on."""
        if self._ends is not None and time.monotonic() > self._ends:
            raise TimedOut("the job took longer than its application's jobs may")
        self._leases.check(self.job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How the work ended: what is recorded, and, in `told`, what only the webhook says."""

    result: Mapping[str, Any]
    told: Any = field(default=None, repr=False)


class Worker(Protocol):
    """Does jobs of one kind."""

    #: Whether it needs a folder, and leaves anything to be deleted.
    scratch: bool

    def work(self, held: Held) -> Done:
        """Do it. Raises faults of the tree; those that may pass are tried again."""
        ...

    def report(self, connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        """Write the webhooks of a job that has ended, in the transaction that records it; the ids of their deliveries."""
        ...


class JobRunner:
    """Runs jobs. Thread-safe.

    `deliver` makes one attempt at each of several webhook deliveries; `requests` opens the sealed request of a job. `place` is
    where folders are made. `waiting` is told of jobs that are to be begun again, with the seconds until then. `seconds_of` says
    how long a job of an application may take in all. `ended` is told of every job whose end was recorded.
    """

    def __init__(
        self,
        leases: Leases,
        workers: Mapping[str, Worker],
        *,
        requests: Callable[[Job], Mapping[str, Any]],
        deliver: Callable[[Sequence[str]], object],
        place: Path,
        waiting: Callable[[Job, float], None] = lambda job, delay: None,
        seconds_of: Callable[[str], float | None] = lambda application: None,
        ended: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self._leases = leases
        self._workers = workers
        self._requests = requests
        self._deliver = deliver
        self._place = place
        self._waiting = waiting
        self._seconds_of = seconds_of
        self.ended = ended
        self._held: dict[str, Job] = {}
        self._working: dict[str, Held] = {}
        self._untold: list[str] = []  # folders that are gone, which could not be written down with their job
        self._lock = threading.Lock()

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self._workers)

    def held(self) -> dict[str, Job]:
        """What is being worked on, by id."""
        with self._lock:
            return dict(self._held)

    def report(self, connection: Connection, job: Job) -> Sequence[str]:
        """Write the webhooks of a job that ended without having been begun; the ids of their deliveries."""
        worker = self._workers.get(job.kind)
        return () if worker is None else worker.report(connection, job, self._opened(job), None)

    def deliver(self, deliveries: Sequence[str]) -> None:
        """Make the first try of each, without anybody waiting for it."""
        if deliveries:
            threading.Thread(target=self._deliver, args=(deliveries,), name="webhooks", daemon=True).start()

    def keep(self) -> None:
        """Write down how far jobs are that have been at one step for a while."""
        with self._lock:
            working = list(self._working.values())
        for held in working:
            held.keep()
        self._tell()

    def sweep(self) -> None:
        """Delete folders that a killed process left, and write down that they are gone."""
        gone = scratch.sweep(self._place)
        with self._lock:
            self._untold += gone
        self._tell()

    def _tell(self) -> None:
        """Write down which folders are gone, where the record of their job does not say so yet."""
        with self._lock:
            gone, self._untold = self._untold, []
        if gone:
            try:
                self._leases.swept(gone)
            except BaseException:
                with self._lock:
                    self._untold += gone
                raise

    def run(self, job: Job) -> None:
        """Work on a job that is held until it has ended, is given back or is lost. Never raises for what is wrong with it."""
        with self._lock:
            self._held[job.id] = job
        try:
            self._run(job)
        except Fenced:
            logger.warning("job %s: another worker holds it by now, nothing was recorded", job.id)
        except Exception:  # the database is gone, say: the lease ends by itself, and the job is begun again
            logger.exception("job %s: could not be recorded", job.id)
        finally:
            with self._lock:
                self._held.pop(job.id, None)
                self._working.pop(job.id, None)

    def _run(self, job: Job) -> None:
        worker = self._workers[job.kind]
        with self._folder(worker.scratch) as folder:
            held = Held(job, folder, self._leases, self._seconds_of(job.application))
            with self._lock:
                self._working[job.id] = held
            if worker.scratch:
                held.note(MADE, folder.name)
            try:
                deliveries = self._ended(worker, held)
            except BaseException:
                self._removed(worker, held)
                self._leave_untold(worker, folder)
                raise
            if deliveries:
                try:
                    self._deliver(deliveries)
                except Exception as error:  # it is written down and tried again; what is here is deleted all the same
                    logger.warning("job %s: its webhook waits: %s", job.id, type(error).__name__)
            self._removed(worker, held)
        if worker.scratch and deliveries is not None:
            held.note(GONE, folder.name)
            told = False
            try:
                told = self._leases.deleted(job, held.taken())
            finally:
                if not told:
                    self._leave_untold(worker, folder)

    def _leave_untold(self, worker: Worker, folder: Path) -> None:
        if worker.scratch:
            with self._lock:
                self._untold.append(folder.name)

    def _removed(self, worker: Worker, held: Held) -> None:
        if worker.scratch:
            scratch.empty(held.folder)

    def _ended(self, worker: Worker, held: Held) -> Sequence[str] | None:
        """Work, and record how it ended; the webhook deliveries, None when the job was given back."""
        job = held.job
        try:
            if job.attempts > self._leases.most_attempts:
                held.request = self._opened(job)
                return self._finish(worker, held, "failure", error=_ABANDONED)
            held.request = self._requests(job)
            done = worker.work(held)
            return self._finish(worker, held, "success", result=done.result, told=done.told)
        except Fenced:
            raise
        except Cancelled:
            return self._finish(worker, held, "cancelled", error=CANCELLED)
        except SecureDeliveryError as fault:
            delay = self._delay(job, fault)
            if delay is not None:
                logger.info("job %s: %s; again in %g s", job.id, fault.code, delay)
                self._give_back(worker, held, delay)
                return None
            logger.info("job %s failed: %s", job.id, fault.code)
            return self._finish(worker, held, "failure", error={"code": fault.code, "message": fault.public})
        except _AWAY as error:
            # Whether the last write was carried out is not known. If it was, this one finds the job ended (`Fenced`).
            logger.warning("job %s: the database does not answer (%s); begun again", job.id, type(error).__name__)
            self._give_back(worker, held, DELAYS[0])
            return None
        except Exception:
            logger.exception("job %s: a fault of ours", job.id)
            return self._finish(worker, held, "failure", error=_INTERNAL)

    def _opened(self, job: Job) -> Mapping[str, Any]:
        try:
            return self._requests(job)
        except SecureDeliveryError:
            return {}

    def _delay(self, job: Job, fault: SecureDeliveryError) -> float | None:
        """Seconds until a job is begun again; None for what would only fail again."""
        passing = isinstance(fault, Busy | Overloaded) or (
            isinstance(fault, SourceFault | StorageFault) and not isinstance(fault, AddressRefused | StorageRefused | NotFound)
        )
        tried = job.attempts - 1
        return DELAYS[tried] if passing and tried < len(DELAYS) and job.attempts < self._leases.most_attempts else None

    def _give_back(self, worker: Worker, held: Held, delay: float) -> None:
        self._removed(worker, held)
        if worker.scratch:
            held.note(GONE, held.folder.name)
        self._leases.again(held.job, delay, held.taken())
        self._waiting(held.job, delay)

    def _finish(
        self,
        worker: Worker,
        held: Held,
        state: str,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        told: Any = None,
    ) -> Sequence[str]:
        deliveries: list[str] = []
        job = _as_ended(held.job, state, result, error, self._leases.now())

        def beside(connection: Connection) -> None:
            try:
                deliveries.extend(worker.report(connection, job, held.request, told))
            except SQLAlchemyError:
                raise
            except Exception:  # else the job could never end: it would be begun again for ever
                logger.exception("job %s: its webhooks could not be written down", job.id)

        traces = held.taken()
        try:
            self._leases.finish(
                held.job, state, result=result, error=error, traces=traces, purged=not worker.scratch, beside=beside
            )
        except BaseException:
            held.taken_back(traces)
            raise
        self.ended(job)
        return deliveries

    @contextmanager
    def _folder(self, wanted: bool) -> Iterator[Path]:
        if not wanted:
            yield Path(os.devnull)
            return
        with scratch.folder(self._place) as (path, _):
            yield path


def _as_ended(job: Job, state: str, result: Mapping[str, Any] | None, error: Mapping[str, Any] | None, now: int) -> Job:
    return replace(job, state=state, result=result, error=error, finished=now)
