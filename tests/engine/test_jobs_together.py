"""Many workers at the same table: no job is held twice, none is lost, whatever happens in which order."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from secure_delivery.engine.database import Database
from secure_delivery.engine.job_records import ENDED, Cancelled, Fenced, Job
from secure_delivery.gate.errors import Conflict
from secure_delivery.gate.model import Limits

if TYPE_CHECKING:
    from job_stand import Stand

JOBS = 500

#: Claims and finishes until nothing is left; prints the ids it had.
CLAIMER = """
import sys
sys.path.insert(0, sys.argv[2])
from job_stand import Stand
from secure_delivery.engine.database import Database
stand = Stand(Database(sys.argv[1]), make=False)
sys.stdin.readline()
while jobs := stand.leases.claim("w", 7):
    for job in jobs:
        stand.leases.step(job, "downloaded")
        stand.leases.finish(job, "success", result={})
        print(job.id)
stand.database.close()
"""


def test_many_threads_have_each_job_exactly_once(stand: Stand) -> None:
    made = {stand.submit("a" if number % 3 else "b").id for number in range(JOBS)}
    had: list[str] = []

    def work() -> None:
        leases = stand.more_leases()
        while jobs := leases.claim("w", 3):
            for job in jobs:
                leases.finish(job, "success", result={})
                had.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(had) == Counter(made)
    assert stand.jobs.counts() == {"success": JOBS}


def test_many_processes_have_each_job_exactly_once(stand: Stand, database_url: str) -> None:
    made = {stand.submit("a" if number % 3 else "b").id for number in range(JOBS)}
    command = [sys.executable, "-c", CLAIMER, database_url, str(Path(__file__).parent / "helpers")]
    claimers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [claimer.communicate("go\n", timeout=120)[0].split() for claimer in claimers]
    assert all(claimer.returncode == 0 for claimer in claimers)
    assert Counter(one for answer in answers for one in answer) == Counter(made)
    assert stand.jobs.counts() == {"success": JOBS}


class Workers(RuleBasedStateMachine):
    """Three workers, one of which may be asleep for any time. The model is who got a job last, and how each has ended."""

    database: Database
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        from job_stand import Stand

        with self.database.write() as connection:
            for table in ("job_trace", "job", "application"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.stand = Stand(self.database)
        self.stand.limits = {"a": Limits(max_jobs=4), "b": Limits(max_jobs=2)}
        for part in (self.stand.jobs, self.stand.leases):
            part._limits_of = self.stand.limits.get
        self.made: set[str] = set()
        self.newest: dict[str, int] = {}  # the number with which a job was taken last
        self.ended: dict[str, tuple[str, int]] = {}  # how, and with which number

    @rule(application=st.sampled_from("ab"), urgency=st.integers(0, 2), delay=st.sampled_from([0.0, 30.0]))
    def submit(self, application: str, urgency: int, delay: float) -> None:
        self.made.add(self.stand.submit(application, urgency=urgency, delay=delay).id)

    @rule(target=held, most=st.integers(1, 3))
    def claim(self, most: int) -> object:
        jobs = self.stand.leases.claim("w", most)
        for job in jobs:
            assert job.id not in self.ended, "what has ended is not begun"
            assert job.fence > self.newest.get(job.id, 0), "each holder's number is higher than any before"
            self.newest[job.id] = job.fence
        return multiple(*jobs)

    @rule(job=held, state=st.sampled_from(["success", "failure"]))
    def finish(self, job: Job, state: str) -> None:
        try:
            self.stand.leases.finish(job, state, result={"by": job.fence})
        except Fenced:
            return
        assert job.id not in self.ended, "a job ends once"
        assert job.fence == self.newest[job.id], "only the newest holder ends a job"
        self.ended[job.id] = (state, job.fence)

    @rule(job=held)
    def step(self, job: Job) -> None:
        try:
            self.stand.leases.step(job, "downloaded")
        except Fenced:
            return
        except Cancelled:
            pass
        assert job.fence == self.newest[job.id]
        assert job.id not in self.ended

    @rule(job=held, delay=st.sampled_from([0.0, 20.0]))
    def give_back(self, job: Job, delay: float) -> None:
        try:
            self.stand.leases.again(job, delay)
        except Fenced:
            return
        assert job.fence == self.newest[job.id]

    @rule(job=held)
    def beat(self, job: Job) -> None:
        lost, _ = self.stand.leases.beat([(job.id, job.fence)])
        if not lost:
            assert job.fence == self.newest[job.id]
            assert job.id not in self.ended

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.made)))
        try:
            job = self.stand.jobs.cancel(job_id)
        except Conflict:
            assert job_id in self.ended
            return
        if job.state == "cancelled":
            self.ended[job_id] = ("cancelled", job.fence)

    @rule(seconds=st.sampled_from([1, 25, 61, 200]))
    def time_passes(self, seconds: int) -> None:
        self.stand.now += seconds

    @rule()
    def promote(self) -> None:
        self.stand.leases.promote()

    @invariant()
    def nothing_is_lost_or_ends_otherwise(self) -> None:
        jobs = {job.id: job for job in self.stand.jobs.page(most=1000)[0]}
        assert jobs.keys() == self.made
        for job_id, job in jobs.items():
            assert (job.state in ENDED) == (job_id in self.ended)
            if job_id in self.ended and job.state != "cancelled":
                assert (job.state, job.result) == (self.ended[job_id][0], {"by": self.ended[job_id][1]})
            assert (job.state == "started") == (job.lease is not None)

    @invariant()
    def no_application_has_more_at_work_than_it_may(self) -> None:
        running = Counter(job.application for job in self.stand.jobs.page(states=["started"], most=1000)[0])
        assert running["a"] <= 4
        assert running["b"] <= 2

    def teardown(self) -> None:
        """Whatever happened, time and one more worker end every job."""
        for _ in range(100):
            self.stand.now += 300
            self.stand.leases.promote()
            for job in self.stand.leases.claim("last", 10):
                self.stand.leases.finish(job, "success", result={"by": job.fence})
        assert all(job.state in ENDED for job in self.stand.jobs.page(most=1000)[0])


@pytest.mark.parametrize("steps", [40])
def test_under_any_interleaving_no_job_is_held_twice_or_lost(database: Database, steps: int) -> None:
    machine = type("Workers", (Workers,), {"database": database})
    machine.TestCase.settings = settings(
        max_examples=25 if database.sqlite else 8,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()
