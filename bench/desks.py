"""Job engines that do nothing, side by side: ours on SQLite, a bare table, huey, a plain Celery task, ours behind Celery.

Knows: how each is fed and how its end is seen. Must not know: how long that takes (`jobs`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import BENCH, UnavailableError

from secure_delivery.engine import Engine, build, open_vault
from secure_delivery.engine.job_bell import bell
from secure_delivery.engine.job_desk import JobDesk
from secure_delivery.engine.job_leases import Leases
from secure_delivery.engine.job_pool import JobPool
from secure_delivery.engine.job_run import Done, Held, JobRunner
from secure_delivery.engine.jobs import Jobs
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Limits

PEERS = BENCH / ".jobs"
REDIS = os.environ.get("SECURE_DELIVERY_TEST_REDIS", "redis://127.0.0.1:6379")
_LIMITS = replace(Limits(), max_jobs=1_000_000, max_queue=10_000_000)
LATE = 120.0  # seconds after which an engine is taken to have lost its jobs


class Nothing:
    """A worker of jobs that do nothing."""

    scratch = False

    def work(self, held: Held) -> Done:
        return Done(result={})

    def report(self, *_: Any) -> tuple[str, ...]:
        return ()


class Desk:
    """Our job engine in this process, with jobs that do nothing. `settings` are those of Celery as its queue; `known`: the
    application is there already."""

    def __init__(self, folder: Path, *, threads: int = 4, settings: dict[str, Any] | None = None, known: bool = False) -> None:
        self.engine: Engine = build(Settings.read({"data": str(folder), "quiet": "true"}))
        records = self.engine.records
        self.application = (records.applications()[0] if known else records.create_application("bench")[0]).api_key
        database, clock = self.engine.database, self.engine.clock
        self.jobs = Jobs(database, open_vault(self.engine.settings), clock, limits_of=lambda _: _LIMITS)
        self.leases = Leases(database, clock, limits_of=lambda _: _LIMITS)
        self.runner = JobRunner(
            self.leases, {"nothing": Nothing()}, requests=self.jobs.request, deliver=lambda _: None, place=folder
        )
        self.pool = JobPool(self.leases, self.runner, bell(database), size=threads)
        queue = None if settings is None else _celery(settings)
        self.desk = JobDesk(self.jobs, self.leases, self.runner, self.pool, queue=queue, size=threads, days=30)

    def submit(self) -> str:
        """A job that does nothing; its id."""
        return self.desk.submit(self.application, "nothing", {})[0].id

    def ended(self) -> int:
        return self.jobs.counts().get("success", 0)

    def close(self) -> None:
        self.pool.close()
        self.engine.close()


def _celery(settings: dict[str, Any]) -> Any:
    try:
        from secure_delivery_celery import CeleryQueue, read_settings
    except ImportError:
        raise UnavailableError("plugins/celery is not installed") from None
    return CeleryQueue(read_settings(settings))


def until(done: Callable[[], bool]) -> None:
    """Wait for something. Raises `TimeoutError`."""
    ends = time.monotonic() + LATE
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError("it did not end")
        time.sleep(0.02)  # who asks more often is part of what is measured


# ---------------------------------------------------------------------------------------------------------- a bare table


class Table:
    """What any leased table costs: insert, take, finish, each durable, one connection, one thread."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, lease REAL)")
        self._base.execute("CREATE INDEX waiting ON job (state, id)")

    def run(self, count: int) -> None:
        for _ in range(count):
            self._base.execute("INSERT INTO job (state) VALUES ('queued')")
        for _ in range(count):
            take = "UPDATE job SET state = 'started', lease = ? WHERE id = (SELECT id FROM job WHERE state = 'queued' LIMIT 1)"
            row = self._base.execute(f"{take} RETURNING id", (time.time(),)).fetchone()
            self._base.execute("UPDATE job SET state = 'success' WHERE id = ?", row)

    def close(self) -> None:
        self._base.close()


# -------------------------------------------------------------------------------------------------------------- the peers


def install() -> None:
    """huey and Celery, where their workers find them. Done once."""
    if (PEERS / "huey").exists():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(PEERS), "huey", "celery[redis]"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(PEERS, ignore_errors=True)
        raise UnavailableError(f"huey and Celery cannot be installed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")


@contextmanager
def worker(command: list[str], environment: dict[str, str], ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process of a peer; ended with all it started."""
    path = os.pathsep.join([str(BENCH), str(PEERS), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **environment, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(ready)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
