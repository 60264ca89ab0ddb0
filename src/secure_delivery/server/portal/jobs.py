"""Jobs of an application: previews ordered, jobs followed, cancelled, tried again, and looked into.

Knows: which jobs are listed together, the fields of an order. Must not know: how a job is done, where it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from ...engine.capabilities import lacks
from ...engine.conversion_job import conversion_object
from ...engine.job_records import ABANDONED, ENDED, OPEN, Job
from ...engine.job_told import KINDS, Subject, subject_of, told
from ...engine.preview_job import KIND as PREVIEW
from ...engine.preview_object import preview_object
from ...engine.preview_order import FORMATS, FieldError, read_order
from ...engine.previews import ALL
from ...engine.storages import SERVER
from ...gate.errors import NotFound, SecureDeliveryError
from ...gate.model import Application
from ..gather import authority, stored_source
from .fields import BadField
from .frame import Action, Ask, Done, Raw, Room, View
from .job_steps import progress, tables_of
from .live import Values, streamed, version_of
from .render import size

_PAGE = 50  # jobs of one page
_FOLLOWED = 200  # jobs that one stream follows
_NEWEST = 20  # files that are offered
_MOST_DELIVERIES, _MOST_THUMBNAILS = 50, 60
_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_OPEN, _GIVEN_UP = "open", "given_up"
STATES = (
    ("", "all"),
    (_OPEN, "not over yet"),
    ("waiting", "waiting to be tried again"),
    ("queued", "queued"),
    ("started", "at work"),
    ("success", "done"),
    ("failure", "failed"),
    (_GIVEN_UP, "given up"),
    ("cancelled", "cancelled"),
)
_WORDS = dict(STATES) | {"waiting": "waiting"}

# ---------------------------------------------------------------------------------------------------------- many jobs


def _wanted(ask: Ask) -> dict[str, Any]:
    """Which jobs are asked for: the arguments of a page."""
    state = ask.query.choice("state", [word for word, _ in STATES], label="The state")
    kind = ask.query.choice("kind", ("", *KINDS), label="The kind")
    cursor = ask.query.text("cursor", longest=64)
    states = OPEN if state == _OPEN else ("failure",) if state == _GIVEN_UP else (state,) if state else ()
    return {
        "states": states,
        "kinds": (kind,) if kind else (),
        "fault": ABANDONED if state == _GIVEN_UP else None,
        "before": _id(cursor) if cursor else None,
    }


def _id(text: str) -> str:
    """An id as the database has it. Raises `NotFound` for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise NotFound("no job id", public="There is no such job.") from None


def _told(ask: Ask, job: Job, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A job as lists show it, with the `facts` in a few words. What it is about changes with its state alone, and is what takes
    time to find out."""
    if before is not None and before["state"] == job.state:
        subject = Subject(**{name: before[name] for name in Subject.__dataclass_fields__})
    else:
        subject = subject_of(job, ask.engine.jobs.jobs.request, ask.engine.files.find)
    plain = told(job, subject)
    facts = [KINDS.get(job.kind, job.kind)]
    if subject.size is not None:
        facts.append(size(subject.size))
    if subject.host:
        facts.append(f"from {subject.host}")
    if plain["previewer"]:
        facts.append(f"drawn by {plain['previewer']}")
    if job.attempts > 1:
        facts.append(f"begun {job.attempts} times")
    return {
        **plain,
        "title": _plain(subject.name) or subject.handle or f"job {job.id}",
        "word": _WORDS[job.state],
        "facts": facts,
    }


def _plain(name: str) -> str:
    """A name without what turns the direction of writing round: `exe.png` is to be no other file than it says."""
    return _TURNING.sub("\N{REPLACEMENT CHARACTER}", name)


def _followed(ask: Ask, key: str, wanted: Mapping[str, Any], before: Values) -> Values:
    """The jobs of a page by their ids, and those that were on it before: they go on being followed."""
    table = ask.engine.jobs.jobs
    page, _ = table.page(key, **wanted, most=_PAGE)
    here = {job.id for job in page}
    rest = [name for name in before if name not in here][: _FOLLOWED - len(page)]
    return {job.id: _told(ask, job, before.get(job.id)) for job in (*page, *table.several(key, rest))}


def _jobs(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    key, engine = application.api_key, ask.engine
    wanted = _wanted(ask)
    found, after = engine.jobs.jobs.page(key, **wanted, most=_PAGE)
    jobs = [_told(ask, job) for job in found]
    given_up, _ = engine.jobs.jobs.page(key, states=("failure",), fault=ABANDONED, most=1)
    counts = engine.jobs.jobs.counts(key)
    return {
        "jobs": jobs,
        "next": after,
        "version": version_of({job["id"]: job for job in jobs}),
        "counts": {state: counts.get(state, 0) for state in (*OPEN, *ENDED)},
        "given_up": bool(given_up),
        "state": ask.query.text("state"),
        "kind": ask.query.text("kind"),
        "cursor": ask.query.text("cursor"),
        "states": [list(pair) for pair in STATES],
        "kinds": [["", "all"], *([word, name] for word, name in KINDS.items())],
        "most_attempts": engine.jobs.leases.most_attempts,
        **_choices(ask, application),
    }


def _choices(ask: Ask, application: Application) -> dict[str, Any]:
    """What an order may name: the newest files, formats, sections that can be filled here, places for results."""
    engine = ask.engine
    newest = engine.search.page(application.api_key, limit=_NEWEST).files
    sections = {name: one for name, one in engine.registry.extractors.items() if not lacks(one.needs, engine.registry.programs)}
    own = [row.name for row in engine.storages.of(application.api_key)]
    usual = application.storage if application.storage in own else ""
    lent = "The storage of this server" if application.storage == SERVER else "The development storage of this server"
    places = [[name, f"Your storage {name}"] for name in own if name != usual]
    return {
        "files": [{"handle": each.handle, "filename": each.filename, "size": each.size} for each in newest],
        "formats": [[name, name] for name in FORMATS],
        "sections": [[ALL, "all that fit the file"], *([name, name] for name in sorted(sections))],
        "storages": [["", f"Your storage {usual}"], *places, [SERVER, lent]] if usual else [["", lent], *places],
        "handle": ask.query.text("handle", longest=64),
    }


def _order(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only(
        "csrf", "file", "source", "sizes", "format", "pages", "metadata", "metadata_options", "callback_url", "storage",
        "destination", "data",
    )  # fmt: skip
    source = given.text("source", label="The file", longest=8192) or given.text("file", longest=64)
    if not source:
        raise BadField("source", "Choose a file, or give a handle or a web address.")
    handle = _named(ask, source)
    sizes = [one for line in given.several("sizes", longest=2000) for one in re.split(r"[,\s]+", line) if one]
    destination = given.text("destination", longest=500)
    body = {
        "url": f"{ask.files}/{handle}" if handle is not None else source,
        "sizes": sizes or None,
        "format": given.text("format"),
        "pages": given.text("pages", longest=200),
        "metadata": given.several("metadata"),
        "metadata_options": given.table("metadata_options") or None,
        "callback_url": given.text("callback_url", longest=8192),
        "uploader": {"destination": destination} if destination else None,
        "data": None if given.form else given.get("data"),
    }
    try:
        order, data = read_order(body, base=ask.files)
        storage = given.text("storage", longest=100) or None
        job = ask.engine.job_changes.order_preview(
            ask.actor, application, replace(order, handle=handle, storage=storage), data=data
        )
    except FieldError as fault:
        raise BadField({"url": "source", "uploader": "destination"}.get(fault.param, fault.param), fault.public) from None
    to = f"/applications/{application.api_key}/jobs/{job.id}"
    return Done(values=_told(ask, job), to=to, note="The preview is ordered.", status=201)


def _named(ask: Ask, source: str) -> str | None:
    """The handle that a text is, or that an address of this server names; None for an address elsewhere."""
    if _HANDLE.fullmatch(source):
        return source
    try:
        found = stored_source(source, {authority(ask.files), *ask.engine.settings.own_hosts} - {None})
    except SecureDeliveryError as fault:
        raise BadField("source", fault.public) from None
    return None if found is None else found.handle


# ------------------------------------------------------------------------------------------------------------ one job


def _found(ask: Ask) -> Job:
    """The job of the address. Raises `NotFound`, also for one of another application."""
    key = ask.application().api_key
    return ask.engine.jobs.jobs.get(_id(ask.path["id"]), key)


def _standing(ask: Ask, key: str, job_id: str) -> dict[str, Any]:
    """How a job stands: all of its page that changes while one looks."""
    engine = ask.engine
    job = engine.jobs.jobs.get(job_id, key)
    traces = engine.jobs.jobs.trace(job.id)
    deliveries = engine.webhooks.log.page(key, job=job.id, limit=_MOST_DELIVERIES)
    return {
        "job": _told(ask, job),
        "progress": progress(job, traces, deliveries),
        "trace": [asdict(line) for line in traces],
        "deliveries": [
            {
                "id": each.id,
                "webhook": each.webhook,
                "event": each.event,
                "state": each.state,
                "attempts": each.attempts,
                "status": each.status,
                "due": each.due,
                "created": each.created,
                "finished": each.finished,
            }
            for each in deliveries
        ],
    }


def _job(ask: Ask) -> Mapping[str, Any]:
    application, job = ask.application(), _found(ask)
    standing = _standing(ask, application.api_key, job.id)
    shown: dict[str, Any] = {"results": [], "place": None, "object": None, "sections": None, "problems": {}, "readable": True}
    if job.state == "success" and job.result is not None:
        shown |= (_preview if job.kind == PREVIEW else _conversion)(ask, application, job)
    return {
        **standing,
        **shown,
        "version": version_of(standing),
        "kinds": [[word, name] for word, name in KINDS.items()],
        "most_attempts": ask.engine.jobs.leases.most_attempts,
    }


def _preview(ask: Ask, application: Application, job: Job) -> dict[str, Any]:
    """The results of a preview. Sections in a storage of the customer's own are read from there when that is asked for."""
    previewing, result = ask.engine.previewing, job.result or {}
    address = previewing.address(application, ask.files)
    plain = preview_object(job, base=ask.files, address=address)
    puts = [one["put"] for one in result["thumbnails"]]
    thumbnails = [
        {**one, "handle": put.get("handle"), "picture": _picture(ask, put.get("handle"))}
        for one, put in zip(plain["thumbnails"][:_MOST_THUMBNAILS], puts, strict=False)
    ]
    kept = result.get("metadata")
    here = kept is not None and bool(kept.get("handle"))
    sections = previewing.sections(job) if kept is not None and (here or ask.query.flag("read")) else None
    put = next((each for each in (*puts, kept) if each), None)
    return {
        "results": thumbnails,
        "place": None if put is None else {"storage": put["storage"], "lent": bool(put.get("handle"))},
        "object": plain,
        "sections": None if sections is None else tables_of(sections),
        "problems": result.get("problems") or {},
        "readable": here or not ask.query.flag("read") or sections is not None,
    }


def _conversion(ask: Ask, application: Application, job: Job) -> dict[str, Any]:
    address = ask.engine.previewing.address(application, ask.files)

    def of(handle: str) -> str:
        return address({"handle": handle}) or ""

    handle = str((job.result or {}).get("handle") or "")
    link = {"handle": handle, "picture": _picture(ask, handle), "url": of(handle), "page": 1}
    return {"results": [{**link, "requested_size": "", "size": None}], "object": conversion_object(job, of)}


def _picture(ask: Ask, handle: str | None) -> str:
    """Where the portal itself draws a result; empty where that is gone, or not here."""
    if not handle:
        return ""
    key = ask.path["key"]
    try:
        link = ask.engine.files.find(handle)
    except NotFound:
        return ""
    return f"/applications/{key}/files/{handle}/picture?w=480&v={link.version}" if link.application == key else ""


# ------------------------------------------------------------------------------------------------------------- changes


def _back(ask: Ask, job: Job, note: str) -> Done:
    """After a change: where it was asked for."""
    base = f"/applications/{job.application}/jobs"
    to = base if ask.given.text("back") == "list" else f"{base}/{job.id}"
    return Done(values=_told(ask, job), to=to, note=note)


def _cancel(ask: Ask) -> Done:
    job = ask.engine.job_changes.cancel(ask.actor, ask.path["key"], _found(ask).id)
    return _back(ask, job, "The job is cancelled." if job.state in ENDED else "The job is given up at its next step.")


def _retry(ask: Ask) -> Done:
    job = ask.engine.job_changes.retry(ask.actor, ask.path["key"], _found(ask).id)
    return _back(ask, job, "The job is queued again.")


def _retry_all(ask: Ask) -> Done:
    key = ask.application().api_key
    count = ask.engine.job_changes.retry_given_up(ask.actor, key)
    note = f"{count} job is queued again." if count == 1 else f"{count} jobs are queued again."
    return Done(values={"queued": count}, to=f"/applications/{key}/jobs", note=note)


def _delete(ask: Ask) -> Done:
    job = _found(ask)
    ask.engine.job_changes.delete(ask.actor, job.application, job.id)
    return Done(
        values={"id": job.id, "deleted": True}, to=f"/applications/{job.application}/jobs", note="The job is forgotten."
    )


# ---------------------------------------------------------------------------------------------------------------- live


async def _live(request: Request, ask: Ask) -> Response:
    """Changes of the jobs of a page, given by the same query; with `job`, of that one."""

    def prepared() -> tuple[Any, Any]:
        key = ask.application().api_key
        if job_id := ask.query.text("job", longest=64):
            one = ask.engine.jobs.jobs.get(_id(job_id), key).id
            return (key, one), lambda _: _standing(ask, key, one)
        wanted = _wanted(ask)
        return (key, *wanted.values()), lambda before: _followed(ask, key, wanted, before)

    question, look = await ask.context.run(prepared)
    return streamed(request, ask, question, look)


_ALL = "/applications/{key}/jobs"
_ONE = _ALL + "/{id}"

ROOM = Room(
    name="jobs",
    views=(
        View(
            path=_ALL, show=_jobs, page="jobs.html", title="Jobs", command="jobs list",
            says="Jobs of an application, newest first: how far they are and how they ended. Filters: state, kind, cursor.",
        ),
        View(
            path=_ONE, show=_job, page="job.html", title="Job", command="jobs show",
            says="One job: its steps, results, webhooks, and what existed where and when it was deleted.",
        ),
    ),
    actions=(
        Action(path=_ALL, do=_order, on=_ALL, command="preview", says="Order a preview of a file."),
        Action(
            path=f"{_ALL}/retry", do=_retry_all, command="jobs retry",
            says="Try all jobs again that were given up because they ended their worker.",
        ),
        Action(path=f"{_ONE}/cancel", do=_cancel, on=_ONE, command="jobs cancel", says="Cancel a job."),
        Action(path=f"{_ONE}/retry", do=_retry, on=_ONE, command="jobs retry", says="Queue a job again that failed."),
        Action(path=f"{_ONE}/delete", do=_delete, on=_ONE, command="jobs delete", says="Forget a job that has ended."),
    ),
    raws=(
        Raw(
            path=f"{_ALL}/live", method="GET", answer=_live, command="jobs list", by_itself=True,
            says="Changes of jobs as they happen, as Server-Sent Events.",
        ),
    ),
)  # fmt: skip

__all__ = ["ROOM", "STATES"]
