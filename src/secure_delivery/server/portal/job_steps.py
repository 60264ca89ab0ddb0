"""The way of a job in seven steps, each with when it was done; and sections of metadata as rows of a table.

Knows: what workers write down on the way, the shape of sections. Must not know: requests, the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...engine.job_records import ENDED, MADE, Job, Trace
from ...engine.webhook_log import DELIVERED, FAILED, Delivery
from .render import seconds

#: The steps that workers name, in their order, and what is done once a job is there.
_ORDER = ("started", "downloaded", "generated", "uploaded", "recorded", "deleted")
_MOST_ROWS, _MOST_TEXT = 100, 2000  # of one section, characters of one value
_MOST_DEEP = 12


def progress(job: Job, traces: Sequence[Trace], deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """The steps of a job: `name`, `what` (a few words), `state` (done, now, later, failed or none), `at` (ms since the epoch)
    and a `note`: how long it took from the order on, or what stands in the way."""
    last = _last_attempt(traces)
    times = {
        "queued": job.created,
        "downloaded": _at(line for line in last if line.what == "file written" and line.place.startswith("source")),
        "generated": _at(line for line in last if line.what == "file written" and line.place.endswith(".bin")),
        "uploaded": _at(line for line in last if line.what == "sent"),
        "recorded": job.finished,
        "deleted": job.purged,
    }
    over, failed = job.state in ENDED, job.state in ("failure", "cancelled")
    reached = _ORDER.index(job.step) if job.state == "started" and job.step in _ORDER else 0 if job.state == "started" else -1
    found: list[dict[str, Any]] = [{"name": "queued", "what": "Taken in", "state": "done", "at": job.created, "note": ""}]
    broken = False
    for number, (name, what) in enumerate(
        (("downloaded", "File fetched"), ("generated", _made(job)), ("uploaded", "Results handed over")), 1
    ):
        done = job.state == "success" or (job.state == "started" and reached >= number) or (failed and _passed(times, name))
        state = "done" if done else "later"
        if not done and failed and not broken:
            state, broken = "failed", True
        elif not done and failed:
            state = "none"
        elif not done and job.state == "started" and reached == number - 1:
            state = "now"
        found.append({"name": name, "what": what, "state": state, "at": times[name] if done else None, "note": ""})
    found.append(
        {"name": "recorded", "what": "End written down", "state": "done" if over else "later", "at": job.finished, "note": ""}
    )
    found.append(_webhook(over, deliveries))
    found.append({"name": "deleted", "what": "Everything deleted", **_deleted(job, over), "at": job.purged})
    for step in found:
        if step["at"] is not None and not step["note"] and step["name"] != "queued":
            step["note"] = f"after {seconds((step['at'] - job.created) / 1000)}"
    return found


def _last_attempt(traces: Sequence[Trace]) -> Sequence[Trace]:
    begun = [number for number, line in enumerate(traces) if line.what == MADE]
    return traces[begun[-1] :] if begun else ()


def _at(lines: Iterator[Trace]) -> int | None:
    return max((line.at for line in lines), default=None)


def _passed(times: Mapping[str, int | None], name: str) -> bool:
    """Whether a job that failed was beyond a step: something of the next one was written down."""
    later = {"downloaded": ("downloaded",), "generated": ("generated", "uploaded"), "uploaded": ()}[name]
    return any(times[each] is not None for each in later)


def _made(job: Job) -> str:
    return "Thumbnails and metadata made" if job.kind == "preview" else "Converted"


def _webhook(over: bool, deliveries: Sequence[Delivery]) -> dict[str, Any]:
    step = {"name": "webhook", "what": "Webhook told", "at": None, "note": ""}
    if not deliveries:
        return step | {"state": "none" if over else "later", "note": "No webhook takes this event." if over else ""}
    states = [each.state for each in deliveries]
    if all(state == DELIVERED for state in states):
        return step | {"state": "done", "at": max(each.finished or 0 for each in deliveries)}
    if any(state == FAILED for state in states):
        return step | {"state": "failed", "note": "Given up; see the deliveries below."}
    return step | {"state": "now", "note": "It is tried, and tried again."}


def _deleted(job: Job, over: bool) -> dict[str, str]:
    if job.purged is not None:
        return {"state": "done", "note": ""}
    if not over:
        return {"state": "later", "note": ""}
    return {"state": "now", "note": "What a worker left that ended early is swept by the next one."}


# ----------------------------------------------------------------------------------------------------------- sections


def tables_of(sections: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sections as tables: `name`, `rows` of a path and a text, and whether there is `more` than is shown here."""
    found = []
    for name, value in sections.items():
        rows: list[list[str]] = []
        more = False
        for path, text in _rows("", value, 0):
            if len(rows) == _MOST_ROWS:
                more = True
                break
            if len(text) > _MOST_TEXT:
                text, more = f"{text[:_MOST_TEXT]}…", True
            rows.append([path[:300], text])
        found.append({"name": name, "rows": rows, "more": more})
    return found


def _rows(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < _MOST_DEEP:
        for name, item in value.items():
            yield from _rows(f"{path}.{name}" if path else str(name), item, depth + 1)
    elif isinstance(value, list) and value and depth < _MOST_DEEP:
        if all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in value):
            yield path, ", ".join(str(item) for item in value)
        else:
            for number, item in enumerate(value, 1):
                yield from _rows(f"{path} {number}".strip(), item, depth + 1)
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False)
