"""`secure-delivery worker`: several processes on one database share the jobs, say what they do, and end in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_matrix import House, own_database
from kill_processes import COMMAND
from sqlalchemy.engine import URL

JOBS = 40


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    if request.param == "sqlite":
        house = House(tmp_path, COMMAND)
        yield house
        house.close()
        return
    url: URL = request.getfixturevalue("lasting_postgres_url")
    with own_database(url) as database:
        house = House(tmp_path, COMMAND, database)
        yield house
        house.close()


def test_two_workers_share_the_jobs_of_one_database_and_stop_when_told(house: House) -> None:
    workers = [house.worker(), house.worker()]
    for worker in workers:
        assert "2 at a time from the job table, jobs in <Database" in worker.log()
    gates = [house.world.hold(f"file/held-{number}.png") for number in range(4)]
    for number in range(4):
        house.submit(f"held-{number}.png")
    house.until(lambda: all(gate.reached.is_set() for gate in gates), "each worker has two at work")
    holders = {house.job(job).worker for job in house.jobs}
    assert {str(holder).rpartition(":")[2] for holder in holders} == {str(worker.pid) for worker in workers}
    for gate in gates:
        gate.opened.set()
    for number in range(JOBS):
        house.submit(f"job-{number}.png")
    house.check()
    assert all(house.job(job).attempts == 1 for job in house.jobs)
    for worker, number in zip(workers, (signal.SIGTERM, signal.SIGINT), strict=True):
        os.kill(worker.pid, number)
        assert worker.status() == 0
        assert "stopped" in worker.log()


def _run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECURE_DELIVERY_")}
    return subprocess.run(
        [sys.executable, "-m", "secure_delivery", "worker", *words],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_queue_that_nobody_provides_stops_the_start(tmp_path: Path) -> None:
    done = _run(tmp_path, SECURE_DELIVERY_QUEUE="celery")
    assert done.returncode == 2
    assert "no installed plugin provides 'celery'; there is: embedded" in " ".join(done.stderr.split())


def test_a_worker_without_hands_is_refused(tmp_path: Path) -> None:
    assert _run(tmp_path, "--concurrency", "0").returncode == 2
