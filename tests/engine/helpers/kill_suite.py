"""The kill matrix as a suite: what is killed loses nothing, whichever engine runs the jobs.

    class TestMine(KillMatrix):
        @pytest.fixture(scope="class")
        @classmethod
        def house(cls) -> Iterator[House]: ...

Each case does something terrible to the worker that has the job, starts another, and asks what must hold (`House.check`): every
job ended once in the record, its results are there once, its webhook arrived under one event id, no folder and no process is
left.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from kill_matrix import House
from kill_processes import Process, children_of

STEPS = ["queued", "started", "downloaded", "generated", "uploaded", "recorded"]


class KillMatrix:
    """What holds on every engine."""

    @pytest.fixture
    def worker(self, house: House) -> Iterator[Process]:
        """The one worker there is; the one that the case before has started."""
        living = [one for one in house.workers if one.alive()]
        for other in living[:-1]:  # of a case that failed
            other.kill()
        house.begin()
        yield living[-1] if living else house.worker()

    @pytest.mark.parametrize("step", STEPS)
    def test_a_worker_killed_at_any_step_loses_nothing(self, house: House, worker: Process, step: str) -> None:
        name = f"{step}.png"
        if step == "queued":
            worker.freeze(house.writable)  # so that it can not begin what it hears of
            house.submit(name)
            worker.kill()
        elif step == "downloaded":
            for pid in worker.sandboxes():
                os.kill(pid, signal.SIGSTOP)  # the file is there, and nobody comes to draw it
            job = house.submit(name)
            house.until(lambda: house.job(job).step == "downloaded", "the file is fetched")
            worker.kill()
            for pid in worker.killed_with():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        elif step == "uploaded":
            gate = house.world.hold("put", after=1)
            job = house.submit(name)
            house.until(gate.reached.is_set, "it gets there")
            with house.record_locked(job):
                before = len(house.world.bucket.objects)
                gate.opened.set()
                house_waits(lambda: len(house.world.bucket.objects) == before + 1)
                worker.kill()
        else:
            gate = house.world.hold({"started": f"file/{name}", "generated": "put", "recorded": f"hook/{name}"}[step])
            job = house.submit(name)
            house.until(gate.reached.is_set, "it gets there")
            if step == "recorded":
                assert house.job(job).state == "success"
            worker.kill()
            gate.opened.set()
        house.worker()
        house.check()

    def test_a_decoder_that_is_killed_takes_neither_the_worker_nor_the_record_with_it(
        self, house: House, worker: Process
    ) -> None:
        for pid in [child for sandbox in worker.sandboxes() for child in children_of(sandbox)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # what is idle is of the job before
        job = house.submit("child.png")
        killed = 0
        while not killed and house.job(job).state not in ("success", "failure"):
            for pid in [child for sandbox in worker.sandboxes() for child in children_of(sandbox)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        assert killed, "a decoder was at work"
        house.check()
        assert worker.alive()

    @pytest.mark.parametrize("step", ["started", "generated"])
    def test_a_worker_that_wakes_up_after_its_lease_can_record_nothing(self, house: House, worker: Process, step: str) -> None:
        name = f"late-{step}.png"
        gate = house.world.hold(f"file/{name}" if step == "started" else "put")
        job = house.submit(name)
        house.until(gate.reached.is_set, "it gets there")
        worker.freeze(house.writable)
        house.worker()
        house.until(lambda: house.job(job).purged, "another worker does the job")
        before = house.job(job)
        gate.opened.set()
        worker.thaw()
        house.until(lambda: f"job {job.id}: another worker holds it by now" in worker.log(), "the old one finds out")
        house.check()
        assert house.job(job) == before
        worker.kill()
        house.check()


class WithCommand:
    """For engines whose workers are `secure-delivery worker` and whose database is a server."""

    def test_connections_to_the_database_that_are_cut_lose_nothing(self, house: House, worker: Process) -> None:
        gate = house.world.hold("put")
        house.submit("cut-0.png")
        house.until(gate.reached.is_set, "it gets there")
        assert house.cut_connections()
        gate.opened.set()
        for number in range(1, 9):
            house.submit(f"cut-{number}.png")
            house.cut_connections()
        house.check()

    def test_a_worker_that_is_told_to_stop_ends_what_it_began(self, house: House, worker: Process) -> None:
        gate = house.world.hold("file/stop.png")
        house.submit("stop.png")
        house.until(gate.reached.is_set, "it gets there")
        os.kill(worker.pid, signal.SIGTERM)
        gate.opened.set()
        assert worker.status() == 0, worker.log()
        house.check()


class WithBroker:
    """For engines that are told of jobs by a broker."""

    def test_a_broker_that_is_killed_and_comes_back_empty_loses_no_job(self, house: House, worker: Process) -> None:
        gate = house.world.hold("file/broker-0.png")
        house.submit("broker-0.png")
        house.until(gate.reached.is_set, "it gets there")
        worker.freeze(house.writable)
        for number in range(1, 5):  # their messages are with the broker, or on the way to a worker that is not there any more
            house.submit(f"broker-{number}.png")
        assert house.broker is not None
        house.broker.lose_everything()
        worker.kill()
        gate.opened.set()
        house.worker()
        house.check()

    def test_a_worker_goes_on_when_its_broker_was_away(self, house: House, worker: Process) -> None:
        gate = house.world.hold("file/away-0.png")
        house.submit("away-0.png")
        house.until(gate.reached.is_set, "it gets there")
        assert house.broker is not None
        house.broker.kill()
        house.submit("away-1.png")  # the table has it; nobody could be told
        gate.opened.set()
        house.broker.start()
        house.check()
        for number in range(2, 8):  # each takes an acknowledgement of the one before
            house.submit(f"away-{number}.png")
            house.until(house.ended, "one after the other is begun")
        house.check()


def house_waits(holds: object) -> None:
    """Wait for something without touching the database."""
    for _ in range(6000):
        if holds():  # type: ignore[operator]
            return
        threading.Event().wait(0.01)
    raise AssertionError("it does not come")
