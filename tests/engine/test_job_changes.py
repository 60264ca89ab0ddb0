"""What people do with jobs: it happens with its entry in the audit log, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine import Engine, build
from secure_delivery.engine.audit import Actor
from secure_delivery.engine.files import Target
from secure_delivery.engine.handover import Handover
from secure_delivery.engine.job_records import Job
from secure_delivery.engine.job_told import possible, said_of, subject_of, told
from secure_delivery.engine.preview_order import FieldError, PreviewOrder, Size
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import Conflict, NotFound
from secure_delivery.gate.model import Application, Limits

ACTOR = Actor(id="ac_1", name="olga", means="session", address="192.0.2.1")


@pytest.fixture
def engine(tmp_path: Path, database_url: str) -> Iterator[Engine]:
    """An engine on either database that works on nothing."""
    plain = {} if database_url.startswith("sqlite") else {"database_plain": "true"}
    engine = build(Settings.read({"data": str(tmp_path / "data"), "database": database_url, "job_workers": 0, **plain}))
    yield engine
    engine.close()


@pytest.fixture
def owner(engine: Engine) -> Application:
    return engine.records.create_application("owner", limits=Limits(max_queue=1000))[0]


def stored(engine: Engine, application: Application) -> str:
    with engine.files.begin(application, Target(filename="a.txt")) as upload:
        upload.write(b"letters")
        return engine.files.add(application, upload).handle


def ordered(engine: Engine, application: Application, **more: Any) -> Job:
    order = PreviewOrder(url="https://files.example.org/", handle=stored(engine, application), **more)
    return engine.job_changes.order_preview(ACTOR, application, order)


def actions(engine: Engine, application: Application) -> list[str]:
    return [each.action for each in engine.people.audit.page(application=application.api_key)]


def test_an_order_is_a_job_that_is_trusted_and_written_down(engine: Engine, owner: Application) -> None:
    job = ordered(engine, owner, sizes=(Size(width=20, name="20"),), storage="server")
    request = engine.jobs.jobs.request(engine.jobs.jobs.get(job.id))
    assert request["trusted"] is True
    assert PreviewOrder.restored(request).storage == "server"
    entry = engine.people.audit.page(application=owner.api_key, subject=job.id)[0]
    assert (entry.action, entry.name, entry.after["sizes"]) == ("job.order", "olga", ["20"])


@pytest.mark.parametrize(
    ("order", "param"),
    [
        (PreviewOrder(url="https://a.example/", handle="A" * 21), "source"),
        (PreviewOrder(url="https://a.example/", callback_url="http://hooks.example/"), "callback_url"),
        (PreviewOrder(url="https://a.example/", storage="theirs"), "storage"),
        (PreviewOrder(url="https://u:p@/"), "url"),
    ],
    ids=["handle", "callback", "storage", "url"],
)
def test_an_order_that_cannot_be_leaves_no_job_and_no_entry(
    engine: Engine, owner: Application, order: PreviewOrder, param: str
) -> None:
    with pytest.raises(FieldError) as caught:
        engine.job_changes.order_preview(ACTOR, owner, order)
    assert caught.value.param == param
    assert engine.jobs.jobs.page(owner.api_key)[0] == []
    assert "job.order" not in actions(engine, owner)


def test_a_file_of_somebody_else_is_no_file(engine: Engine, owner: Application) -> None:
    other = engine.records.create_application("other")[0]
    with pytest.raises(FieldError):
        order = PreviewOrder(url="https://a.example/", handle=stored(engine, other))
        engine.job_changes.order_preview(ACTOR, owner, order)


def test_cancel_retry_and_delete_are_written_down_with_what_was_before(engine: Engine, owner: Application) -> None:
    job, changes = ordered(engine, owner), engine.job_changes
    assert changes.cancel(ACTOR, owner.api_key, job.id).state == "cancelled"
    assert changes.retry(ACTOR, owner.api_key, job.id).state == "queued"
    changes.cancel(ACTOR, owner.api_key, job.id)
    changes.delete(ACTOR, owner.api_key, job.id)
    assert actions(engine, owner)[:5] == ["job.delete", "job.cancel", "job.retry", "job.cancel", "job.order"]
    retried = next(each for each in engine.people.audit.page(application=owner.api_key) if each.action == "job.retry")
    assert retried.before == {"state": "cancelled", "error": "cancelled"}


CHANGES: dict[str, Callable[[Engine, str, str], object]] = {
    "cancel": lambda engine, key, job: engine.job_changes.cancel(ACTOR, key, job),
    "retry": lambda engine, key, job: engine.job_changes.retry(ACTOR, key, job),
    "delete": lambda engine, key, job: engine.job_changes.delete(ACTOR, key, job),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_job_of_another_application_is_not_there(engine: Engine, owner: Application, name: str) -> None:
    job, other = ordered(engine, owner), engine.records.create_application("other")[0]
    with pytest.raises(NotFound):
        CHANGES[name](engine, other.api_key, job.id)
    assert actions(engine, other) == []


@pytest.mark.parametrize("name", ["retry", "delete"])
def test_what_cannot_be_done_is_not_written_down(engine: Engine, owner: Application, name: str) -> None:
    job = ordered(engine, owner)
    with pytest.raises(Conflict):
        CHANGES[name](engine, owner.api_key, job.id)
    assert actions(engine, owner) == ["job.order"]


def test_all_that_were_given_up_are_tried_again_and_no_others(engine: Engine, owner: Application) -> None:
    other = engine.records.create_application("other")[0]
    codes = ("abandoned", "unsupported", "abandoned")
    jobs = [ordered(engine, owner) for _ in codes]
    theirs = ordered(engine, other)
    errors = dict(zip([job.id for job in jobs], codes, strict=True)) | {theirs.id: "abandoned"}
    for job in engine.jobs.leases.claim("w", 10):
        engine.jobs.leases.finish(job, "failure", error={"code": errors[job.id], "message": "no"})
    assert engine.jobs.jobs.counts(owner.api_key) == {"failure": 3}
    assert engine.job_changes.retry_given_up(ACTOR, owner.api_key) == 2
    states = [engine.jobs.jobs.get(job.id).state for job in (*jobs, theirs)]
    assert states == ["queued", "failure", "queued", "failure"]
    assert {job.id for job in engine.jobs.jobs.several(owner.api_key, list(errors))} == {job.id for job in jobs}


def test_results_go_where_an_order_says(engine: Engine, owner: Application) -> None:
    application = engine.records.update_application(owner.api_key, storage="server")
    usual = Handover(engine.files, application, "job")
    named = Handover(engine.files, application, "job", place="server")
    assert (usual.room, named.room.storage) == (named.room, engine.storages.default)
    with pytest.raises(NotFound):
        Handover(engine.files, application, "job", place="theirs")


def test_of_an_address_only_host_and_name_are_told(engine: Engine, owner: Application) -> None:
    url = "https://u:hunter2@files.example.org/hunter2/report.pdf?hunter2"
    job = engine.job_changes.order_preview(ACTOR, owner, PreviewOrder(url=url))
    subject = subject_of(engine.jobs.jobs.get(job.id), engine.jobs.jobs.request, engine.files.find)
    plain = told(job, subject)
    assert (plain["name"], plain["host"], plain["size"]) == ("report.pdf", "files.example.org", None)
    assert "hunter2" not in repr(plain) + repr(engine.people.audit.page(application=owner.api_key))
    assert (said_of(job), possible(job)) == ("It waits for its turn.", ["cancel"])
