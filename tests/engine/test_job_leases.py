"""Who holds a job: turns, limits, fencing numbers and time, the same on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from secure_delivery.engine.job_leases import Leases
from secure_delivery.engine.job_records import Fenced, Job, Trace
from secure_delivery.gate.model import Limits

if TYPE_CHECKING:
    from job_stand import Stand

#: Everything that a holder may write.
WRITES: dict[str, Callable[[Leases, Job], None]] = {
    "step": lambda leases, job: leases.step(job, "downloaded", [Trace(at=1, what="too late")]),
    "success": lambda leases, job: leases.finish(job, "success", result={"late": True}),
    "failure": lambda leases, job: leases.finish(job, "failure", error={"code": "late"}),
    "again": lambda leases, job: leases.again(job, 0.0),
    "later": lambda leases, job: leases.again(job, 5.0),
    "check": lambda leases, job: leases.check(job),
}


# --------------------------------------------------------------------------------------------------------------- turns


def test_the_urgent_come_first_then_the_old(stand: Stand) -> None:
    made = {}
    for name, urgency in (("third", 100), ("fourth", 100), ("first", 1), ("last", 900), ("second", 50)):
        stand.now += 1
        made[stand.submit(urgency=urgency).id] = name
    assert [made[job.id] for job in stand.claim(10)] == ["first", "second", "third", "fourth", "last"]


def test_each_comes_with_a_lease_a_number_and_the_name_of_its_holder(stand: Stand) -> None:
    stand.submit()
    job = stand.claim(worker="host:1")[0]
    assert (job.state, job.step, job.fence, job.attempts, job.worker) == ("started", "started", 1, 1, "host:1")
    assert job.lease == int(stand.now * 1000) + 60_000
    assert job.started == int(stand.now * 1000)
    assert stand.claim() == []


def test_an_application_with_many_jobs_delays_another_by_no_more_than_what_runs(stand: Stand) -> None:
    for _ in range(50):
        stand.submit("a")
    for _ in range(3):
        stand.submit("b")
    assert [job.application for job in stand.claim(6)].count("b") == 3


def test_turns_alternate_among_equals_also_one_by_one(stand: Stand) -> None:
    for name in ("a", "b"):
        for _ in range(6):
            stand.submit(name)
    order = []
    for _ in range(8):
        job = stand.claim()[0]
        order.append(job.application)
        stand.leases.finish(job, "success")
    assert order in (["a", "b"] * 4, ["b", "a"] * 4)


def test_no_application_has_more_at_work_than_it_may(stand: Stand) -> None:
    stand.limits["a"] = Limits(max_jobs=2)
    for _ in range(5):
        stand.submit("a")
    first = stand.claim(10)
    assert len(first) == 2
    assert stand.claim(10) == []
    stand.submit("b")
    assert [job.application for job in stand.claim(10)] == ["b"]
    stand.leases.finish(first[0], "success")
    assert len(stand.claim(10)) == 1


def test_two_who_claim_at_the_same_moment_keep_within_the_limit_together(stand: Stand) -> None:
    stand.limits["a"] = Limits(max_jobs=3)
    for _ in range(40):
        stand.submit("a")
    gate = threading.Barrier(6)
    taken: list[Job] = []

    def claim() -> None:
        leases = stand.more_leases()
        gate.wait()
        taken.extend(leases.claim("w", 3))

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 3


def test_kinds_and_costs_narrow_what_is_taken(stand: Stand) -> None:
    stand.submit(cost="heavy")
    light = stand.submit(cost="light")
    assert stand.claim(kinds=["other"]) == []
    assert [job.id for job in stand.claim(5, kinds=["test"], costs=["light"])] == [light.id]
    assert [job.cost for job in stand.claim(5, kinds=["test"])] == ["heavy"]


# ------------------------------------------------------------------------------------------------------------- fencing


@pytest.mark.parametrize("write", WRITES)
def test_an_old_holder_can_write_nothing_once_its_lease_was_found_to_be_over(stand: Stand, write: str) -> None:
    stand.submit()
    old = stand.claim()[0]
    stand.pass_lease()
    stand.leases.promote()
    before = stand.jobs.get(old.id)
    with pytest.raises(Fenced):
        WRITES[write](stand.leases, old)
    assert stand.jobs.get(old.id) == before
    assert stand.jobs.trace(old.id) == []


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("ended", [False, True], ids=["new holder at work", "new holder done"])
def test_an_old_holder_can_write_nothing_while_or_after_another_had_the_job(stand: Stand, write: str, ended: bool) -> None:
    stand.submit()
    old = stand.claim()[0]
    stand.pass_lease()
    stand.leases.promote()
    new = stand.claim(worker="other")[0]
    assert new.fence > old.fence
    if ended:
        stand.leases.finish(new, "success", result={"right": True})
    before = stand.jobs.get(old.id)
    with pytest.raises(Fenced):
        WRITES[write](stand.leases, old)
    assert not stand.leases.deleted(old, [Trace(at=1, what="too late")])
    assert stand.leases.beat([(old.id, old.fence)])[0] == {old.id}
    assert stand.jobs.get(old.id) == before
    assert stand.jobs.trace(old.id) == []


def test_what_belongs_to_the_end_of_a_job_is_undone_with_it(stand: Stand) -> None:
    """Webhooks are written in the same transaction: neither is there without the other."""
    stand.submit()
    job = stand.claim()[0]

    def fails(_: object) -> None:
        raise RuntimeError("no webhook could be written")

    with pytest.raises(RuntimeError):
        stand.leases.finish(job, "success", beside=fails)
    assert stand.state(job) == "started"
    stand.leases.check(job)


def test_a_job_ends_once(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.finish(job, "success", result={"n": 1})
    for state in ("success", "failure"):
        with pytest.raises(Fenced):
            stand.leases.finish(job, state, result={"n": 2})
    assert stand.jobs.get(job.id).result == {"n": 1}


# ---------------------------------------------------------------------------------------------------------------- time


def test_a_lease_that_is_renewed_does_not_end(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    for _ in range(10):
        stand.now += 50
        assert stand.leases.beat([(job.id, job.fence)]) == (set(), set())
        assert stand.leases.promote() == []
    stand.leases.check(job)


def test_a_holder_that_falls_silent_loses_the_job_to_the_next(stand: Stand) -> None:
    stand.submit()
    old = stand.claim()[0]
    stand.now += 59
    assert stand.leases.promote() == []
    stand.now += 2
    moved = stand.leases.promote()
    assert [(job.id, job.state, job.worker) for job in moved] == [(old.id, "queued", None)]
    assert stand.leases.promote() == []
    again = stand.claim()[0]
    assert (again.id, again.attempts) == (old.id, 2)


def test_each_beginning_counts_until_somebody_gives_the_job_up(stand: Stand) -> None:
    stand.submit()
    for attempt in range(1, 6):
        job = stand.claim()[0]
        assert job.attempts == attempt
        stand.pass_lease()
        stand.leases.promote()


def test_what_waits_is_queued_when_its_time_has_come(stand: Stand) -> None:
    job = stand.submit(delay=30)
    assert job.state == "waiting"
    assert stand.claim() == []
    stand.now += 29
    assert stand.leases.promote() == []
    stand.now += 1
    assert [moved.id for moved in stand.leases.promote()] == [job.id]
    assert [taken.id for taken in stand.claim()] == [job.id]


def test_a_job_given_back_is_begun_again_after_its_delay(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.again(job, 5.0)
    assert stand.state(job) == "waiting"
    stand.now += 5
    stand.leases.promote()
    again = stand.claim()[0]
    assert again.attempts == 2
    stand.leases.again(again, 0.0)
    assert stand.claim()[0].attempts == 3


def test_a_job_that_a_closing_process_gives_back_has_not_been_tried(stand: Stand) -> None:
    stand.submit()
    for _ in range(5):
        job = stand.claim()[0]
        assert job.attempts == 1
        stand.leases.again(job, 0.0, begun=False)
    assert stand.claim()[0].fence == 6


def test_what_nobody_has_begun_for_long_is_told_again_a_little_at_a_time(stand: Stand) -> None:
    for number in range(7):
        stand.submit(cost="heavy" if number > 4 else "light")
    assert stand.leases.unheard(60) == []
    stand.now += 61
    told = stand.leases.unheard(60, most=3)
    assert sorted(job.cost for job in told) == ["heavy", "heavy", "light", "light", "light"]
    assert len(stand.leases.unheard(60, most=3)) == 2
    assert stand.leases.unheard(60) == [], "each once in that time"
    stand.now += 61
    assert len(stand.leases.unheard(60)) == 7
    stand.claim(7)
    stand.now += 61
    assert stand.leases.unheard(60) == []


def test_a_folder_that_a_crash_left_is_told_of_when_it_is_gone(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.finish(job, "success", traces=[Trace(at=1, what="folder made", place="program-1")])
    assert stand.jobs.get(job.id).purged is None
    stand.leases.swept(["program-1", "program-of-nobody"])
    assert stand.jobs.get(job.id).purged is not None
    assert [(line.what, line.place) for line in stand.jobs.trace(job.id)] == [
        ("folder made", "program-1"),
        ("folder deleted", "program-1"),
    ]


def test_a_folder_of_an_earlier_attempt_does_not_end_a_later_one(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.step(job, "downloaded", [Trace(at=1, what="folder made", place="program-1")])
    stand.pass_lease()
    stand.leases.promote()
    again = stand.claim()[0]
    stand.leases.swept(["program-1"])
    stand.leases.check(again)
    assert stand.jobs.get(job.id).purged is None


def test_a_job_is_deleted_when_all_folders_of_all_its_attempts_are(stand: Stand) -> None:
    stand.submit()
    old = stand.claim()[0]
    stand.leases.step(old, "downloaded", [Trace(at=1, what="folder made", place="program-1")])
    stand.pass_lease()
    stand.leases.promote()
    new = stand.claim()[0]
    stand.leases.finish(new, "success", traces=[Trace(at=2, what="folder made", place="program-2")])
    stand.leases.deleted(new, [Trace(at=3, what="folder deleted", place="program-2")])
    assert stand.jobs.get(new.id).purged is None, "on a machine that is away, something may be left"
    stand.leases.swept(["program-1"])
    assert stand.jobs.get(new.id).purged is not None
