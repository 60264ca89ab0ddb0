"""The kill matrix: one engine of jobs with its workers, what is done to them, and what must hold afterwards."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from buckets import bucket_settings, options
from kill_brokers import Broker, as_toml
from kill_processes import Process
from kill_world import PATIENCE, World
from sqlalchemy.engine import URL, make_url

from secure_delivery.engine import Engine, build, tables
from secure_delivery.engine.job_records import ENDED, Job
from secure_delivery.engine.preview_order import read_order
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Limits

#: Plugins that the workers load: every other would only make their start slower.
WANTED = frozenset({"builtin", "images", "s3", "celery"})
_SETTINGS: Mapping[str, Any] = {
    "job_lease": 1,
    "job_attempts": 10,
    "job_unheard": 1,
    "job_workers": 2,
    "webhook_seconds": 3,
    "webhook_delays": [0.2, 0.5, 1, 1, 1, 1],
    "webhook_allow": ["127.0.0.1"],
    "fetch_allow": ["127.0.0.1"],
    "decoders": 1,
}


@contextmanager
def own_database(beside: URL) -> Iterator[str]:
    """The URL of a database for one engine alone, on the server of another."""
    name = f"{beside.database}_{secrets.token_hex(3)}"
    address = beside.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield beside.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class House:
    """An engine of jobs: database, broker if any, the world around it, and the workers that were started.

    The engine in this process plays the server: it takes jobs in, and tends the table.
    """

    def __init__(
        self,
        folder: Path,
        script: str,
        database: str = "",
        broker: Broker | None = None,
        plugins: frozenset[str] = WANTED,
    ) -> None:
        self.folder = folder
        self.script = script
        self.broker = broker
        self.world = World()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        values = {**_SETTINGS, "data": str(folder / "data"), "database": database, "queue": "celery" if broker else "embedded"}
        values |= {"fetch_ports": [self.world.port], "webhook_ports": [self.world.port]}
        bucket = bucket_settings(self.world.bucket)
        values |= {"storage_allow": [bucket["storage_allow"]], "storage_ports": [int(bucket["storage_ports"])]}
        installed = {point.name for point in entry_points(group="secure_delivery")}
        values["plugins_blocked"] = sorted(installed - plugins)
        self.settings = folder / "secure-delivery.toml"
        table = "" if broker is None else f"[plugins.celery]\n{as_toml(broker.settings)}"
        self.settings.write_text(as_toml(values) + table)
        self.engine: Engine = build(Settings.load(self.settings, environ={}))
        application, _ = self.engine.records.create_application("killed")
        self.key = application.api_key
        self.engine.storages.add(self.key, "bucket", "s3", options(self.world.bucket, write_only="true"))
        self.engine.records.update_application(self.key, storage="bucket")
        self.workers: list[Process] = []
        self.jobs: list[Job] = []
        self.before = 0  # objects of cases that are over

    def begin(self) -> None:
        """From here on only what comes is looked at."""
        self.jobs.clear()
        self.before = len(self.world.bucket.objects)

    # -- workers and jobs

    def worker(self) -> Process:
        """Start one more, and wait until it takes jobs."""
        self.workers.append(Process(self.script, self.settings, self.folder, self.temporary, f"worker-{len(self.workers) + 1}"))
        self.until(self.workers[-1].ready, "the worker takes jobs")
        return self.workers[-1]

    def submit(self, name: str, **more: Any) -> Job:
        """A preview of a file of this name, whose webhook goes to the hook of the same name; `more` is in the request."""
        body = {
            "url": self.world.url(f"file/{name}"),
            "sizes": ["40"],
            "metadata": ["checksum"],
            "callback_url": self.world.url(f"hook/{name}"),
            **more,
        }
        order, _ = read_order(body)
        job, _ = self.engine.jobs.submit(self.key, "preview", order.plain(), data={"name": name})
        self.jobs.append(job)
        return job

    def job(self, job: Job) -> Job:
        return self.engine.jobs.jobs.get(job.id)

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Wait until something holds. Meanwhile the server does what time does."""
        end = time.monotonic() + PATIENCE
        tended = time.monotonic()
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}\n{self.state()}"
            threading.Event().wait(0.01)
            if time.monotonic() - tended > 0.5:
                self.engine.jobs.tend()
                tended = time.monotonic()

    def state(self) -> str:
        """For people who look at a failure."""
        logs = "\n".join(f"--- {worker.log_file.name}\n{worker.log()[-2000:]}" for worker in self.workers[-2:])
        return "\n".join(f"{self.job(job)}" for job in self.jobs if self.job(job).purged is None) + logs

    # -- the database

    @contextmanager
    def record_locked(self, job: Job) -> Iterator[None]:
        """Nobody can write the record of a job meanwhile."""
        url = make_url(self.engine.settings.database_url)
        if self.engine.database.sqlite:
            connection = sqlite3.connect(str(url.database), isolation_level=None, timeout=10)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")
                connection.close()
            return
        with self.admin() as admin, admin.transaction():
            admin.execute("SELECT 1 FROM job WHERE id = %s FOR UPDATE", (job.id,))
            yield

    def admin(self) -> psycopg.Connection:
        url = make_url(self.engine.settings.database_url).set(drivername="postgresql")
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def writable(self) -> bool:
        """Whether no process that was stopped holds a lock."""
        if self.engine.database.sqlite:
            connection = sqlite3.connect(str(make_url(self.engine.settings.database_url).database), timeout=0.2)
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            else:
                return True
            finally:
                connection.close()
        threading.Event().wait(0.1)  # what the others are at is over by then
        with self.admin() as admin:
            busy = "state LIKE 'idle in transaction%' AND datname = current_database()"
            found = admin.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {busy}").fetchone()
        return found == (0,)

    def cut_connections(self) -> int:
        """End every connection to the database, in the middle of whatever it does."""
        with self.admin() as admin:
            found = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        return 0 if found is None else int(found[0])

    def tables(self) -> Iterator[tuple[str, bytes]]:
        """Every table of a database server as text; a file is searched as it is."""
        if self.engine.database.sqlite:
            return
        with self.admin() as admin:
            for (name,) in admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
                with admin.cursor().copy(f"COPY {name} TO STDOUT") as copy:
                    yield name, b"".join(bytes(piece) for piece in copy)

    def records_limits(self, limits: Limits) -> None:
        """Set what the application may."""
        self.engine.records.update_application(self.key, limits=limits)

    # -- what must hold

    def ended(self) -> bool:
        return all(self.job(job).state in ENDED for job in self.jobs)

    def check(self) -> None:
        """Every job ended once, its results are there once, its webhook came under one id, and nothing is left."""
        self.until(self.ended, "every job ends")
        self.until(lambda: all(self.job(job).purged for job in self.jobs), "the record says that everything is deleted")
        self.until(lambda: all(row.state == "delivered" for row in self.deliveries()), "every webhook arrives")
        told: set[str] = set()
        for job in self.jobs:
            told.add(self.check_job(self.job(job)))
        assert len(told) == len(self.jobs), "no two jobs share an event id"
        assert len(self.deliveries()) == len(self.jobs), "each end was recorded once, with its one webhook"
        assert len(self.world.bucket.objects) == self.before + 2 * len(self.jobs), "no result is there twice"
        self.until(lambda: not self.left(), "no scratch folder is left")
        for worker in self.workers:
            self.until(lambda worker=worker: not worker.orphans(), "no orphan process is left")

    def check_job(self, job: Job) -> str:
        """One job; the id of its event."""
        assert job.state == "success", f"{job}\n{self.state()}"
        assert (job.lease, job.worker, job.sealed) == (None, None, None)
        folder = hashlib.sha256(f"results of {job.id}".encode()).hexdigest()
        name = job.data["name"]
        assert self.world.objects(folder) == {f"{name}_40-1.png".replace(".png_", "_"), "metadata.json"}
        hooks = self.world.told[f"hook/{name}"]
        assert {body["id"] for _, body in hooks} == {job.id}
        assert {body["status"] for _, body in hooks} == {"success"}
        ids = {event_id for event_id, _ in hooks}
        assert len(ids) == 1, "repetitions have the same event id"
        traces = self.engine.jobs.jobs.trace(job.id)
        made = {line.place for line in traces if line.what == "folder made"}
        assert {line.place for line in traces if line.what == "folder deleted"} == made, "all that was made was deleted"
        return ids.pop()

    def deliveries(self) -> list[Any]:
        ids = [job.id for job in self.jobs]
        query = sa.select(tables.webhook_delivery).where(tables.webhook_delivery.c.job.in_(ids))
        with self.engine.database.read() as connection:
            return list(connection.execute(query))

    def left(self) -> list[Path]:
        """Files of jobs that are still there."""
        data = self.engine.settings.data
        places = (data / "jobs", data / "work", self.temporary)
        return [path for place in places if place.exists() for path in place.rglob("*")]

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.engine.close()
        self.world.close()
        if self.broker is not None:
            self.broker.kill()
