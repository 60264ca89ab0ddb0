"""A table of jobs with two applications, a clock that stands still, and the limits that a test sets."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.job_leases import Leases
from secure_delivery.engine.job_records import Job
from secure_delivery.engine.jobs import Jobs
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.model import Limits

LEASE = 60.0  # seconds
ATTEMPTS = 3
_KEY = bytes(range(32))


class Stand:
    """`a` and `b` are applications. `now` is in seconds; nothing but tests moves it."""

    def __init__(self, database: Database, *, applications: tuple[str, ...] = ("a", "b"), make: bool = True) -> None:
        self.now = 1_000_000.0
        self.database = database
        self.limits = dict.fromkeys(applications, Limits(max_jobs=1000))
        if make:
            self.make(*applications)
        vault = Vault({"one": _KEY}, current="one")
        self.jobs = Jobs(database, vault, lambda: self.now, limits_of=self.limits.get)
        self.leases = self.more_leases()

    def make(self, *applications: str) -> None:
        rows = [{"api_key": name, "name": name, "settings": {}, "created": 0} for name in applications]
        with self.database.write() as connection:
            connection.execute(sa.insert(tables.application), rows)

    def more_leases(self) -> Leases:
        """Those of another process, which knows nothing of the turns in this one."""
        return Leases(self.database, lambda: self.now, limits_of=self.limits.get, lease=LEASE, most_attempts=ATTEMPTS)

    def submit(self, application: str = "a", **more: Any) -> Job:
        return self.jobs.submit(application, "test", {"secret": "request"}, **more)[0]

    def claim(self, most: int = 1, worker: str = "w", **more: Any) -> list[Job]:
        return self.leases.claim(worker, most, **more)

    def state(self, job: Job) -> str:
        return self.jobs.get(job.id).state

    def pass_lease(self) -> None:
        """Let so much time pass that no lease of before holds."""
        self.now += LEASE + 1
