"""One job from its lease to the last deleted byte: the order of the steps, what a fault leads to, and that nothing is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from secure_delivery.engine.job_bell import bell
from secure_delivery.engine.job_pool import JobPool
from secure_delivery.engine.job_records import Fenced, Job
from secure_delivery.engine.job_run import DELAYS, Done, Held, JobRunner
from secure_delivery.gate.errors import (
    Busy,
    ConfigurationError,
    Corrupt,
    Overloaded,
    SourceFault,
    StorageFault,
    StorageRefused,
)

if TYPE_CHECKING:
    from job_stand import Stand

PATIENCE = 30.0


@dataclass
class Scripted:
    """A worker that writes a file into its folder and does what the test says; it writes down what happens."""

    script: Callable[[Held], Done] = lambda held: Done(result={"ok": True}, told="sections")
    scratch: bool = True
    said: list[str] = field(default_factory=list)
    reported: list[Any] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def work(self, held: Held) -> Done:
        self.said.append("work")
        if self.scratch:
            self.folders.append(held.folder)
            (held.folder / "source").write_bytes(b"of a stranger")
            (held.folder / "deep" / "er").mkdir(parents=True)
            (held.folder / "deep" / "er" / "page").write_bytes(b"more of it")
        return self.script(held)

    def report(self, connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        self.said.append(f"record {job.state}")
        self.reported.append((job.state, job.result, job.error, dict(request), told))
        return ["delivery"]


class Line:
    """A runner with one worker."""

    def __init__(self, stand: Stand, place: Path, worker: Scripted) -> None:
        self.stand = stand
        self.worker = worker
        self.place = place
        self.full: list[bool] = []
        self.again: list[float] = []
        self.runner = JobRunner(
            stand.leases,
            {"test": worker},
            requests=stand.jobs.request,
            deliver=self.deliver,
            place=place,
            waiting=lambda job, delay: self.again.append(delay),
        )

    def deliver(self, deliveries: Sequence[str]) -> None:
        self.worker.said.append("webhook")
        self.full.append(any(self.place.rglob("source")))

    def run(self, job: Job | None = None) -> Job:
        """Run a job, the next one unless given; how it stands then."""
        job = job or self.stand.claim()[0]
        self.runner.run(job)
        return self.stand.jobs.get(job.id)


@pytest.fixture
def line(stand: Stand, tmp_path: Path) -> Line:
    place = tmp_path / "jobs"
    place.mkdir()
    stand.submit()
    return Line(stand, place, Scripted())


def raising(error: BaseException) -> Callable[[Held], Done]:
    def script(held: Held) -> Done:
        raise error

    return script


def test_the_order_is_work_then_record_with_its_webhooks_then_a_webhook_then_everything_deleted(line: Line) -> None:
    ended = line.run()
    assert line.worker.said == ["work", "record success", "webhook"]
    assert line.full == [True], "the webhook goes before the deleting, as promised"
    assert line.worker.reported == [("success", {"ok": True}, None, {"secret": "request"}, "sections")]
    assert (ended.state, ended.step, ended.result, ended.sealed) == ("success", "deleted", {"ok": True}, None)
    assert ended.purged is not None
    assert [trace.what for trace in line.stand.jobs.trace(ended.id)] == ["folder made", "folder deleted"]
    assert list(line.place.iterdir()) == []


OUTCOMES: dict[str, tuple[BaseException, str]] = {
    "corrupt": (Corrupt("x"), "failure"),
    "a fault of ours": (ZeroDivisionError(), "failure"),
    "storage refuses": (StorageRefused("x"), "failure"),
    "busy": (Busy("x"), "waiting"),
    "the database is away": (OperationalError("SELECT 1", {}, Exception("server closed the connection")), "waiting"),
    "taken over": (Fenced("x"), "started"),
    "the process is to end": (SystemExit(), "started"),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_is_left_whatever_the_outcome(line: Line, outcome: str) -> None:
    error, state = OUTCOMES[outcome]
    line.worker.script = raising(error)
    try:
        ended = line.run()
    except SystemExit:
        ended = line.stand.jobs.page()[0][0]
    assert ended.state == state
    assert list(line.place.iterdir()) == []
    assert line.runner.held() == {}


def test_a_folder_that_cannot_be_entered_goes_too(line: Line) -> None:
    def script(held: Held) -> Done:
        (held.folder / "deep").chmod(0)
        return Done(result={})

    line.worker.script = script
    line.run()
    assert list(line.place.iterdir()) == []


def test_a_failure_says_its_code_and_a_public_sentence_and_keeps_the_request(line: Line) -> None:
    line.worker.script = raising(Corrupt("the operator's words", public="Words for everybody."))
    ended = line.run()
    assert ended.error == {"code": "corrupt", "message": "Words for everybody."}
    assert line.stand.jobs.request(ended) == {"secret": "request"}
    assert line.worker.said == ["work", "record failure", "webhook"]


def test_a_fault_of_ours_is_not_told_to_anybody(line: Line) -> None:
    line.worker.script = raising(RuntimeError("a path of this machine"))
    assert "path" not in str(line.run().error)


@pytest.mark.parametrize(
    "fault", [Busy("x"), Overloaded("x"), SourceFault("x"), StorageFault("x")], ids=lambda fault: fault.code
)
def test_a_fault_that_may_pass_is_tried_again_with_growing_delays_then_recorded(line: Line, fault: Exception) -> None:
    line.worker.script = raising(fault)
    for delay in DELAYS:
        ended = line.run()
        assert (ended.state, ended.error) == ("waiting", None)
        assert ended.run_at == int((line.stand.now + delay) * 1000)
        line.stand.now += delay
        line.stand.leases.promote()
    assert line.again == list(DELAYS)
    assert "record" not in " ".join(line.worker.said), "nobody is told of what may pass"
    ended = line.run()
    assert ended.state == "failure"
    assert ended.attempts == len(DELAYS) + 1


def test_success_the_second_time_is_success(line: Line) -> None:
    line.worker.script = raising(Busy("x"))
    line.run()
    line.stand.now += DELAYS[0]
    line.stand.leases.promote()
    line.worker.script = Scripted().script
    assert line.run().state == "success"


def test_who_lost_the_job_midway_records_nothing_and_tells_nobody(line: Line) -> None:
    def script(held: Held) -> Done:
        line.stand.pass_lease()
        line.stand.leases.promote()
        line.stand.leases.finish(line.stand.claim(worker="other")[0], "success", result={"right": True})
        return Done(result={"late": True})

    line.worker.script = script
    ended = line.run()
    assert ended.result == {"right": True}
    assert "webhook" not in line.worker.said
    assert line.stand.jobs.trace(ended.id) == []


@pytest.mark.parametrize("fault", [None, Corrupt("x"), Busy("x")], ids=["success", "failure", "again"])
def test_who_lost_the_job_changes_nothing_by_any_end(line: Line, fault: Exception | None) -> None:
    def script(held: Held) -> Done:
        line.stand.pass_lease()
        line.stand.leases.promote()
        if fault is not None:
            raise fault
        return Done(result={})

    line.worker.script = script
    ended = line.run()
    assert (ended.state, ended.attempts, ended.error) == ("queued", 1, None)
    assert list(line.place.iterdir()) == []


def test_a_job_cancelled_midway_goes_no_further_than_its_next_check(line: Line) -> None:
    def script(held: Held) -> Done:
        line.stand.jobs.cancel(held.job.id)
        held.check()
        raise AssertionError("it went on")

    line.worker.script = script
    ended = line.run()
    assert (ended.state, ended.error) == ("cancelled", {"code": "cancelled", "message": "The job was cancelled."})
    assert line.worker.said == ["work", "record cancelled", "webhook"]
    assert list(line.place.iterdir()) == []


def test_a_job_that_never_ended_is_given_up_without_being_begun(line: Line) -> None:
    for _ in range(3):
        line.stand.claim()
        line.stand.pass_lease()
        line.stand.leases.promote()
    ended = line.run()
    assert ended.state == "failure"
    assert ended.error is not None
    assert ended.error["code"] == "abandoned"
    assert line.worker.said == ["record failure", "webhook"]


def test_a_webhook_that_cannot_be_sent_now_keeps_nothing_from_being_deleted(line: Line) -> None:
    def away(delivery: str) -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    line.runner._deliver = away
    ended = line.run()
    assert (ended.state, ended.step) == ("success", "deleted")


def test_a_record_that_failed_is_tried_again_and_one_that_was_written_all_the_same_stands(line: Line) -> None:
    """A connection that breaks during a commit does not say whether it was carried out."""
    report = line.worker.report

    def breaks(connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        report(connection, job, request, told)
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    line.worker.report = breaks  # type: ignore[method-assign]
    ended = line.run()
    assert (ended.state, ended.result) == ("waiting", None)
    assert [trace.what for trace in line.stand.jobs.trace(ended.id)] == ["folder made", "folder deleted"]

    finish = line.stand.leases.finish

    def breaks_late(*arguments: Any, **more: Any) -> None:
        finish(*arguments, **more)
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    line.worker.report = report  # type: ignore[method-assign]
    line.stand.leases.finish = breaks_late  # type: ignore[method-assign]
    line.stand.now += DELAYS[0]
    line.stand.leases.promote()
    ended = line.run()
    assert (ended.state, ended.result) == ("success", {"ok": True})


def test_a_deleting_that_could_not_be_recorded_is_recorded_later(line: Line) -> None:
    deleted = line.stand.leases.deleted

    def away(*_: Any) -> bool:
        raise OperationalError("BEGIN", {}, Exception("gone"))

    line.stand.leases.deleted = away  # type: ignore[method-assign]
    ended = line.run()
    assert (ended.state, ended.purged) == ("success", None)
    assert list(line.place.iterdir()) == []
    line.stand.leases.deleted = deleted  # type: ignore[method-assign]
    line.runner.keep()
    assert line.stand.jobs.get(ended.id).purged is not None
    assert [trace.what for trace in line.stand.jobs.trace(ended.id)] == ["folder made", "folder deleted"]


def test_what_needs_no_folder_gets_none_and_is_over_when_it_is_recorded(line: Line) -> None:
    line.worker.scratch = False
    ended = line.run()
    assert (ended.state, ended.step) == ("success", "deleted")
    assert ended.purged is not None
    assert line.stand.jobs.trace(ended.id) == []


def test_what_a_killed_process_left_is_swept_and_told_of_in_the_trace(line: Line) -> None:
    """The folder of a live process is locked; that of one which is gone is not."""

    def script(held: Held) -> Done:
        held.note("file written", "source", 13)
        line.runner.sweep()
        assert (held.folder / "source").exists(), "who is at work keeps its folder"
        return Done(result={})

    line.worker.script = script
    line.run()
    left = line.place / "program-left"
    left.mkdir()
    (left / "source").write_bytes(b"of a stranger")
    line.runner.sweep()
    assert list(line.place.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- in a pool


def pool_of(line: Line, **more: Any) -> JobPool:
    return JobPool(line.stand.leases, line.runner, bell(line.stand.database), size=2, **more)


def until(held: Callable[[], bool]) -> None:
    """Wait until something holds."""
    look = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if held():
            return
        look.wait(0.01)
    raise AssertionError("not within the time")


def test_a_closing_pool_lets_jobs_end_and_gives_back_what_does_not(line: Line) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def script(held: Held) -> Done:
        begun.set()
        go_on.wait(PATIENCE)
        return Done(result={"late": True})

    line.worker.script = script
    pool = pool_of(line)
    pool.start()
    assert begun.wait(PATIENCE)
    closing = threading.Thread(target=pool.close, args=(0.1,))
    closing.start()
    job = line.stand.jobs.page()[0][0]
    until(lambda: line.stand.state(job) == "queued")
    go_on.set()
    closing.join(PATIENCE)
    until(pool.idle)
    given_back = line.stand.jobs.get(job.id)
    assert (given_back.state, given_back.attempts, given_back.result) == ("queued", 0, None)


def test_a_pool_whose_decoders_do_not_start_gives_jobs_to_others(line: Line) -> None:
    def broken() -> None:
        raise ConfigurationError("no confinement here")

    pool = pool_of(line, begin=broken)
    pool.start()
    job = line.stand.jobs.page()[0][0]
    until(lambda: line.stand.state(job) == "waiting")
    pool.close(0.1)
    assert (line.stand.jobs.get(job.id).attempts, line.worker.said) == (0, [])


def test_one_message_leads_from_job_to_job_until_nothing_is_left(line: Line) -> None:
    for _ in range(4):
        line.stand.submit("b")
    pool_of(line).hear()
    assert line.stand.jobs.counts() == {"success": 5}


def test_a_message_about_a_class_leads_to_jobs_of_that_class(line: Line) -> None:
    line.stand.submit(cost="heavy")
    pool_of(line).hear(["heavy"])
    assert line.stand.jobs.counts() == {"success": 1, "queued": 1}


def test_a_message_while_the_database_is_away_harms_nobody(line: Line) -> None:
    def away(*_: Any, **__: Any) -> list[Job]:
        raise OperationalError("BEGIN", {}, Exception("gone"))

    line.stand.leases.claim = away  # type: ignore[method-assign]
    pool_of(line).hear()


def hearing(line: Line, pool: JobPool, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A thread that hears of six jobs. The first is quick, whatever the machine; the second, taken together with more, runs
    until what is returned is called, which waits for the thread."""
    monkeypatch.setattr("secure_delivery.engine.job_pool._QUICK", PATIENCE)
    runs, go_on = threading.Event(), threading.Event()
    many = [0]

    def script(held: Held) -> Done:
        many[0] += 1
        if many[0] == 2:
            runs.set()
            go_on.wait(PATIENCE)
        return Done(result={})

    def end() -> None:
        go_on.set()
        thread.join(PATIENCE)

    line.worker.script = script
    for _ in range(5):
        line.stand.submit()
    thread = threading.Thread(target=pool.hear)
    thread.start()
    assert runs.wait(PATIENCE)
    return end


def test_what_was_taken_in_advance_is_done_by_whoever_hears_next(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(line)
    end = hearing(line, pool, monkeypatch)
    assert line.stand.jobs.counts() == {"success": 1, "started": 5}
    pool.hear()
    assert line.stand.jobs.counts() == {"success": 5, "started": 1}
    end()
    assert line.stand.jobs.counts() == {"success": 6}


def test_what_was_taken_in_advance_goes_back_when_nobody_comes_to_it(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    pool = pool_of(line, moved=lambda jobs: told.append(len(jobs)))
    pool.start(taking=False)
    end = hearing(line, pool, monkeypatch)
    until(lambda: line.stand.jobs.counts() == {"success": 1, "started": 1, "queued": 4})
    until(lambda: told == [4])
    assert {job.attempts for job in line.stand.jobs.page(states=["queued"])[0]} == {0}
    end()
    assert line.stand.jobs.counts() == {"success": 6}
    pool.close()


def test_what_was_taken_in_advance_goes_back_at_once_when_all_is_to_end(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(line)
    end = hearing(line, pool, monkeypatch)
    closing = threading.Thread(target=pool.close, args=(PATIENCE,))
    closing.start()
    until(lambda: line.stand.jobs.counts() == {"success": 1, "started": 1, "queued": 4})
    end()
    closing.join(PATIENCE)
    assert line.stand.jobs.counts() == {"success": 2, "queued": 4}
