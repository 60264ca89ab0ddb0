"""A job in words: what it works on, how far it is, what may be done with it.

Knows: jobs, their requests, the results that workers record. Must not know: HTTP, pages, who asks.

Of an address that a request named only the host and the last part of the path are told: the rest may hold credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ..gate.errors import NotFound, SecureDeliveryError
from .conversion_job import KIND as CONVERSION
from .job_records import ENDED, OPEN, Job
from .preview_job import KIND as PREVIEW
from .records import FileLink

#: Kinds of jobs and what they are called.
KINDS: Mapping[str, str] = {PREVIEW: "preview", CONVERSION: "conversion"}
_AT_WORK: Mapping[str, str] = {
    "started": "The file is being fetched.",
    "downloaded": "Pages are drawn and metadata is read.",
    "generated": "Results are handed over.",
    "uploaded": "The end is being written down.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The file that a job is about. `host` is where it is fetched from, `handle` that of a stored file; `size` is in bytes and
    None as long as nobody knows."""

    name: str = ""
    size: int | None = None
    handle: str | None = None
    host: str | None = None


def subject_of(job: Job, request: Callable[[Job], Mapping[str, Any]], find: Callable[[str], FileLink]) -> Subject:
    """The file of a job. `request` opens what was asked for, `find` a stored file; either may raise: then less is known."""
    asked: Mapping[str, Any] = {}
    if job.sealed is not None:
        try:
            asked = request(job)
        except SecureDeliveryError:
            asked = {}
    source = (asked.get("sources") or [{}])[0] if "sources" in asked else asked
    found = _stored(source.get("handle"), job.application, find) or _address(source.get("url"))
    result = job.result or {}
    if isinstance(original := result.get("original"), Mapping):
        ending = original.get("extension")
        name = str(original.get("name") or "") + (f".{ending}" if ending else "")
        return Subject(name=name, size=original.get("size"), handle=found.handle, host=found.host)
    if "filename" in result:
        return Subject(name=str(result["filename"]), size=result.get("size"), handle=found.handle, host=found.host)
    return found


def _stored(handle: Any, application: str, find: Callable[[str], FileLink]) -> Subject | None:
    if not isinstance(handle, str) or not handle:
        return None
    try:
        link = find(handle)
    except NotFound:
        return Subject(handle=handle)
    if link.application != application:  # a file of somebody else, read by its own rules: its name is theirs
        return Subject(handle=handle)
    return Subject(name=link.filename, size=link.size, handle=handle)


def _address(url: Any) -> Subject:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        return Subject(name=unquote(parts.path).rstrip("/").rpartition("/")[2][:300], host=parts.hostname)
    except ValueError:
        return Subject()


def said_of(job: Job) -> str:
    """How a job stands, in a sentence."""
    if job.state == "queued":
        return "It waits for its turn." if job.attempts == 0 else "It waits for its turn, to be begun again."
    if job.state == "waiting":
        return "It did not work for a reason that may pass, and is begun again soon." if job.attempts else "It begins later."
    if job.state == "started":
        return "It is given up at its next step." if job.cancelling else _AT_WORK.get(job.step, "It is at work.")
    if job.state == "success":
        return "It is done."
    return str((job.error or {}).get("message") or "It could not be done.")


def possible(job: Job) -> list[str]:
    """What may be done with a job: `cancel`, `retry`, `delete`."""
    found = ["cancel"] if job.state in OPEN and not job.cancelling else []
    if job.state in ("failure", "cancelled") and job.sealed is not None:
        found.append("retry")
    return [*found, "delete"] if job.state in ENDED else found


def told(job: Job, subject: Subject) -> dict[str, Any]:
    """A job as JSON values, without what was asked for. Times are ms since the epoch, `seconds` those of each part."""
    result = job.result or {}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "step": job.step,
        "said": said_of(job),
        "cancelling": job.cancelling,
        **asdict(subject),
        "attempts": job.attempts,
        "previewer": result.get("previewer"),
        "error": None if job.error is None else dict(job.error),
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "purged": job.purged,
        "run_at": job.run_at,
        "seconds": result.get("seconds"),
        "data": job.data,
        "can": possible(job),
    }
