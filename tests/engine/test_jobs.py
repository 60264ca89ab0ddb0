"""The table of jobs: submitted once, looked at, cancelled, tried again, forgotten; the same on both databases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from secure_delivery.engine import tables
from secure_delivery.engine.job_records import Cancelled, Fenced, Job, QueueFull, Trace
from secure_delivery.gate.errors import Conflict, NotFound
from secure_delivery.gate.model import Limits

if TYPE_CHECKING:
    from job_stand import Stand


def together(calls: list[Any]) -> list[Any]:
    """What each call returned, all made at the same moment."""
    gate = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# ---------------------------------------------------------------------------------------------------------- submitting


def test_a_submitted_job_waits_to_be_begun(stand: Stand) -> None:
    job, fresh = stand.jobs.submit("a", "test", {"url": "x"}, data={"mine": [1]}, urgency=5, cost="heavy")
    assert fresh
    assert stand.jobs.get(job.id) == job
    assert (job.state, job.step, job.fence, job.attempts, job.data) == ("queued", "queued", 0, 0, {"mine": [1]})


def test_the_request_is_sealed_and_opens_for_its_job_only(stand: Stand) -> None:
    job = stand.submit()
    assert job.sealed is not None
    assert "request" not in job.sealed
    assert stand.jobs.request(job) == {"secret": "request"}
    assert "request" not in repr(job)


def test_the_same_key_gives_the_same_job_and_another_application_has_keys_of_its_own(stand: Stand) -> None:
    first = stand.jobs.submit("a", "test", {}, key="k")
    again = stand.jobs.submit("a", "test", {"other": 1}, key="k")
    assert (first[1], again[1]) == (True, False)
    assert again[0].id == first[0].id
    assert stand.jobs.submit("b", "test", {}, key="k")[1]


def test_the_same_key_at_the_same_moment_makes_one_job(stand: Stand) -> None:
    answers = together([lambda: stand.jobs.submit("a", "test", {}, key="k")] * 8)
    assert len({job.id for job, _ in answers}) == 1
    assert sum(fresh for _, fresh in answers) == 1


def test_who_waits_is_not_counted_against_the_key_when_the_queue_is_full(stand: Stand) -> None:
    stand.limits["a"] = Limits(max_queue=1)
    stand.jobs.submit("a", "test", {}, key="k")
    with pytest.raises(QueueFull):
        stand.submit()
    assert not stand.jobs.submit("a", "test", {}, key="k")[1], "asking again for what is there is always answered"


def test_a_full_queue_refuses_with_429_until_something_is_begun(stand: Stand) -> None:
    stand.limits["a"] = Limits(max_queue=3, max_jobs=10)
    for _ in range(3):
        stand.submit()
    with pytest.raises(QueueFull) as caught:
        stand.submit()
    assert caught.value.status == 429
    stand.submit("b")
    stand.claim()
    stand.submit()


def test_an_application_that_is_not_there_has_no_jobs(stand: Stand) -> None:
    with pytest.raises(NotFound):
        stand.submit("nobody")


def test_a_job_goes_with_its_application(stand: Stand) -> None:
    job = stand.submit()
    with stand.database.write() as connection:
        connection.execute(sa.delete(tables.application).where(tables.application.c.api_key == "a"))
    with pytest.raises(NotFound):
        stand.jobs.get(job.id)


# ------------------------------------------------------------------------------------------------------------- looking


def test_a_job_is_shown_to_its_application_only(stand: Stand) -> None:
    job = stand.submit()
    with pytest.raises(NotFound):
        stand.jobs.get(job.id, "b")
    assert stand.jobs.get(job.id, "a") == job


def test_pages_hold_every_job_once_newest_first(stand: Stand) -> None:
    made = []
    for number in range(23):
        stand.now += number % 3  # some of the same millisecond
        made.append(stand.submit().id)
    stand.submit("b")
    seen: list[Job] = []
    cursor: str | None = None
    while True:
        page, cursor = stand.jobs.page("a", most=5, before=cursor)
        seen += page
        if cursor is None:
            break
    assert sorted(job.id for job in seen) == sorted(made)
    assert [job.created for job in seen] == sorted((job.created for job in seen), reverse=True)


def test_pages_can_be_narrowed_by_state_and_kind(stand: Stand) -> None:
    stand.submit()
    begun = stand.claim()[0]
    stand.submit()
    assert [job.id for job in stand.jobs.page("a", states=["started"])[0]] == [begun.id]
    assert stand.jobs.page("a", kinds=["other"])[0] == []
    assert len(stand.jobs.page(None)[0]) == 2


@pytest.mark.parametrize("cursor", ["nothing", "of-another"])
def test_a_cursor_that_leads_nowhere_is_refused(stand: Stand, cursor: str) -> None:
    cursor = stand.submit("b").id if cursor == "of-another" else cursor
    with pytest.raises(NotFound):
        stand.jobs.page("a", before=cursor)


def test_the_counts_are_by_state(stand: Stand) -> None:
    for _ in range(3):
        stand.submit()
    stand.submit(delay=5)
    stand.claim()
    assert stand.jobs.counts() == {"queued": 2, "started": 1, "waiting": 1}


# ------------------------------------------------------------------------------------------------------- cancel, retry


def test_a_job_that_waits_is_cancelled_at_once(stand: Stand) -> None:
    for job in (stand.submit(), stand.submit(delay=60)):
        done = stand.jobs.cancel(job.id, "a")
        assert (done.state, done.error, done.purged is not None) == (
            "cancelled",
            {"code": "cancelled", "message": "The job was cancelled."},
            True,
        )
    stand.now += 100
    stand.leases.promote()
    assert stand.claim() == []


def test_a_job_at_work_is_given_up_by_its_holder(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    assert stand.jobs.cancel(job.id).state == "started"
    for told in (stand.leases.check, lambda held: stand.leases.step(held, "downloaded")):
        with pytest.raises(Cancelled):
            told(job)
    assert stand.leases.beat([(job.id, job.fence)]) == (set(), {job.id})
    stand.leases.finish(job, "cancelled", error={"code": "cancelled"})
    assert stand.state(job) == "cancelled"


def test_a_cancelled_job_whose_holder_died_is_given_up_by_the_next(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.jobs.cancel(job.id)
    stand.pass_lease()
    stand.leases.promote()
    again = stand.claim()[0]
    assert again.cancelling
    with pytest.raises(Cancelled):
        stand.leases.step(again, "downloaded")


@pytest.mark.parametrize("state", ["success", "failure", "cancelled"])
def test_what_has_ended_is_not_cancelled(stand: Stand, state: str) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.finish(job, state)
    with pytest.raises(Conflict):
        stand.jobs.cancel(job.id)
    assert stand.state(job) == state


def test_the_jobs_of_others_are_neither_cancelled_nor_tried_again_nor_deleted(stand: Stand) -> None:
    job = stand.submit()
    for change in (stand.jobs.cancel, stand.jobs.retry, stand.jobs.delete):
        with pytest.raises(NotFound):
            change(job.id, "b")
    assert stand.state(job) == "queued"


@pytest.mark.parametrize("state", ["failure", "cancelled"])
def test_a_failure_is_tried_again_as_if_new(stand: Stand, state: str) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.finish(job, state, error={"code": "x"})
    again = stand.jobs.retry(job.id, "a")
    assert (again.state, again.attempts, again.error, again.finished, again.cancelling) == ("queued", 0, None, None, False)
    held = stand.claim()[0]
    assert held.fence > job.fence
    assert stand.jobs.request(held) == {"secret": "request"}
    with pytest.raises(Fenced):
        stand.leases.finish(job, "success")


def test_success_is_not_tried_again_and_its_request_is_gone(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    stand.leases.finish(job, "success", result={"ok": True})
    with pytest.raises(Conflict):
        stand.jobs.retry(job.id)
    ended = stand.jobs.get(job.id)
    assert (ended.result, ended.sealed) == ({"ok": True}, None)
    with pytest.raises(NotFound):
        stand.jobs.request(ended)


# ------------------------------------------------------------------------------------------------------ delete, forget


def test_only_what_has_ended_is_deleted(stand: Stand) -> None:
    job = stand.submit()
    with pytest.raises(Conflict):
        stand.jobs.delete(job.id)
    held = stand.claim()[0]
    with pytest.raises(Conflict):
        stand.jobs.delete(job.id)
    stand.leases.finish(held, "failure", traces=[Trace(at=1, what="folder made")])
    stand.jobs.delete(job.id, "a")
    with pytest.raises(NotFound):
        stand.jobs.get(job.id)
    assert stand.jobs.trace(job.id) == []


def test_records_are_forgotten_by_the_age_of_their_end(stand: Stand) -> None:
    waiting = stand.submit(urgency=200)
    stand.submit()
    stand.leases.finish(stand.claim()[0], "success")
    stand.now += 86_400
    stand.submit()
    late = stand.claim()[0]
    stand.leases.finish(late, "success")
    stand.now += 2 * 86_400 - 10
    assert stand.jobs.forget(2.0) == 1
    assert stand.jobs.forget(2.0) == 0
    assert {job.id for job in stand.jobs.page("a")[0]} == {waiting.id, late.id}


def test_what_existed_where_is_told_in_order(stand: Stand) -> None:
    stand.submit()
    job = stand.claim()[0]
    first = [Trace(at=1, what="folder made", place="f"), Trace(at=2, what="file written", place="source", size=7)]
    last = [Trace(at=3, what="folder deleted", place="f")]
    stand.leases.step(job, "downloaded", first)
    stand.leases.finish(job, "success")
    stand.leases.deleted(job, last)
    assert stand.jobs.trace(job.id) == [*first, *last]
    assert stand.jobs.get(job.id).purged is not None
