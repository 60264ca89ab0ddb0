"""Threads that take jobs from the table and run them, in this process.

Knows: leases, the runner, the bell. Must not know: what a job does, queues of others, HTTP.

One thread takes, `size` threads run, one keeps the leases alive, one queues again what others fell silent about. The heavy work
is done in the sandbox's processes, so threads are enough.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from .job_bell import LONGEST, Bell
from .job_leases import Leases
from .job_records import Job
from .job_run import JobRunner

logger = logging.getLogger("secure_delivery.engine")

_SHUT_DOWN = 5.0  # seconds for which jobs may go on when the process is to end; what is left then is begun again by another
_LATER = 10.0  # seconds until a job is begun again that could not even be begun here
_BOUT = 5.0  # seconds for which one message of a queue may lead from job to job
_QUICK = 0.02  # seconds
_AHEAD = 32
_GATHER = 0.02  # seconds for which quick jobs may come together
_SPARED = 1.0  # seconds for which jobs may be held in advance
_GATHER_HEARD = 0.03  # the same where others are told of each of them


def worker_name() -> str:
    """A name for this process that operators recognise."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class JobPool:
    """Runs jobs, `size` at a time, once it was started."""

    def __init__(
        self,
        leases: Leases,
        runner: JobRunner,
        bell: Bell,
        *,
        size: int,
        begin: Callable[[], None] = lambda: None,
        moved: Callable[[Sequence[Job]], None] = lambda jobs: None,
    ) -> None:
        self._leases = leases
        self._runner = runner
        self._bell = bell
        self._size = size
        self._begin = begin
        self._moved = moved
        self._name = worker_name()
        self._state = threading.Condition()
        self._mine: dict[str, Job] = {}  # jobs that are held here: running, or about to
        self._spare: deque[Job] = deque()  # of those, what was taken in advance where threads hear of jobs
        self._spared = 0.0
        self._few = False  # whether there was no more to take in advance
        self._quick = False  # whether jobs take so little time that asking for each one alone is what takes it
        self._work: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._over = threading.Event()  # take no more
        self._closed = threading.Event()  # and nothing runs any more
        self._threads: list[threading.Thread] = []
        self._began = False

    def start(self, *, taking: bool = True) -> None:
        """Begin, if that has not happened yet. Without `taking`, leases are kept and the silent are queued again, but somebody
        else says when to look for jobs (`hear`)."""
        if self._threads:
            return
        self._over.clear()
        self._closed.clear()
        roles: list[Callable[[], None]] = [self._keep, self._look]
        if taking:
            roles += [self._take, *[self._run] * self._size]
        for number, role in enumerate(roles):
            thread = threading.Thread(target=role, name=f"jobs-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Take no more jobs. Leases of those that run are kept."""
        self._over.set()
        self._bell.ring()
        with self._state:
            self._state.notify_all()

    def idle(self) -> bool:
        """Whether nothing runs here at this moment."""
        return not self._held()

    def close(self, patience: float = _SHUT_DOWN) -> None:
        """Take no more, let what runs end for some seconds, give the rest back, and return."""
        self.stop()
        self._let_go(after=0.0)
        ends = time.monotonic() + patience
        with self._state:
            self._state.wait_for(lambda: self.idle() or time.monotonic() > ends, patience)
        self._closed.set()
        for _ in self._threads:
            self._work.put(None)
        for job in self._held().values():
            # From here on its old number counts for nothing: what still runs here can record no end that closing brought about.
            with suppress(Exception):  # the lease would end by itself
                self._leases.again(job, 0.0, begun=False)
        for thread in self._threads:
            thread.join(LONGEST)
        self._threads.clear()
        self._bell.close()

    def wake(self) -> None:
        """Have a look at the table now."""
        self._bell.ring()

    def hear(self, costs: Sequence[str] = ()) -> None:
        """Somebody was told that a job waits: take what is next here, run it, and for some seconds what is next then. Whose
        turn it is, the table knows, not the message.

        Ends when there is nothing to take; else a new message is sent, so that one which came while an application had as much
        at work as it may have is not missed. Never raises.
        """
        ends = time.monotonic() + _BOUT
        while (job := self._next(costs)) is not None:
            self._begun(job)
            if time.monotonic() > ends:
                self._moved([job])
                return
            if self._quick and self._few:  # one that comes alone finds another thread idle
                self._over.wait(_GATHER_HEARD)

    def _next(self, costs: Sequence[str]) -> Job | None:
        """What is next for one thread. Quick jobs are taken several at a time, for whichever thread is free first."""
        if self._over.is_set():
            return None
        with self._state:
            if self._spare:
                return self._spare.popleft()
        try:
            if not self._leases.waiting():  # most messages tell of what is done already: they are not to lock the table
                return None
            jobs = self._leases.claim(self._name, _AHEAD if self._quick else 1, self._runner.kinds, costs)
        except Exception as error:
            _grumble("no jobs can be taken at the moment", error)
            return None
        with self._state:
            self._mine.update((job.id, job) for job in jobs)
            self._spare.extend(jobs[1:])
            self._spared = time.monotonic()
            self._few = len(jobs) < _AHEAD
        return jobs[0] if jobs else None

    def _let_go(self, after: float = _SPARED) -> None:
        """Give back what was taken in advance and nobody has come to: a job that was to be quick is not."""
        with self._state:
            if not self._spare or time.monotonic() - self._spared < after:
                return
            jobs = list(self._spare)
            self._spare.clear()
        for job in jobs:
            with suppress(Exception):  # the lease would end by itself
                self._leases.again(job, 0.0, begun=False)
            with self._state:
                self._mine.pop(job.id, None)
        self._moved(jobs)

    def _held(self) -> dict[str, Job]:
        with self._state:
            return {**self._mine, **self._runner.held()}

    # -- the threads

    def _take(self) -> None:
        while not self._over.is_set():
            free = self._free()
            if not free or self._over.is_set():
                continue
            try:
                jobs = self._leases.claim(self._name, free, self._runner.kinds)
            except Exception as error:  # nothing may end this thread: nobody would see that no job is begun any more
                _grumble("no jobs can be taken at the moment", error)
                self._over.wait(LONGEST)
                continue
            with self._state:
                self._mine.update((job.id, job) for job in jobs)
            for job in jobs:
                self._work.put(job)
            if not jobs:
                self._bell.wait(LONGEST)
            if self._quick and 0 < len(jobs) < free:
                # The next few come together: a turn at the table costs more than such a job.
                # One that comes alone does not wait.
                self._over.wait(_GATHER)

    def _free(self) -> int:
        """How many jobs to take now; waits until there is room for one. Quick ones are taken ahead, for threads that are done
        before the next have been asked for."""
        with self._state:
            ahead = _AHEAD if self._quick else 0
            self._state.wait_for(lambda: len(self._mine) < self._size + ahead // 2 or self._over.is_set(), LONGEST)
            return max(0, self._size + ahead - len(self._mine))

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            self._begun(job)

    def _begun(self, job: Job) -> None:
        """Run a job that is held, or give it back when all is to be over."""
        began = time.monotonic()
        try:
            if self._over.is_set():
                with suppress(Exception):  # the lease would end by itself
                    self._leases.again(job, 0.0, begun=False)
                return
            self._run_one(job)
        finally:
            with self._state:
                self._mine.pop(job.id, None)
                self._quick = time.monotonic() - began < _QUICK
                self._state.notify_all()

    def _run_one(self, job: Job) -> None:
        try:
            self._prepare()
        except Exception as error:  # decoders cannot be started; elsewhere they may
            logger.error("jobs cannot be begun here: %s", error)
            with suppress(Exception):  # the lease would end by itself
                self._leases.again(job, _LATER, begun=False)
            return
        self._runner.run(job)

    def _prepare(self) -> None:
        """Start what jobs need with the first of them: a server that never gets one does not carry it."""
        if not self._began:
            self._begin()
            self._began = True

    def _keep(self) -> None:
        """Renew leases three times in the time that one lasts, and have written down how far jobs are, until all is over."""
        renewed = time.monotonic()
        while not self._closed.wait(min(LONGEST, self._leases.lease / 6)):
            try:
                if time.monotonic() - renewed >= self._leases.lease / 3:
                    renewed = time.monotonic()
                    self._leases.beat([(job.id, job.fence) for job in self._held().values()])
                self._runner.keep()
            except Exception as error:
                _grumble("leases cannot be renewed at the moment", error)

    def _look(self) -> None:
        """Look the table over every second, and let go what is held in vain. Telling of what is found may take a while when a
        broker is away, so it is not done by who keeps the leases."""
        while not self._over.wait(min(LONGEST, self._leases.lease / 6)):
            try:
                self._let_go()
                if moved := self._leases.promote():
                    self._bell.ring()
                    self._moved(moved)
            except Exception as error:
                _grumble("the table of jobs cannot be looked over at the moment", error)


def _grumble(sentence: str, error: Exception) -> None:
    """Log what goes by itself in a word, and what is a fault of ours with its traceback."""
    ours = not isinstance(error, SQLAlchemyError)
    logger.log(logging.ERROR if ours else logging.WARNING, "%s: %s", sentence, type(error).__name__, exc_info=ours)
