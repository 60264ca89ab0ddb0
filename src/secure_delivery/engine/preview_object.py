"""The preview object: one shape for the answer to a request, to a question, and for the webhook.

Knows: section 1.5 of the fact sheet on FilePreviews API v2, jobs. Must not know: HTTP, storages, who asks.

Its types are those that official clients were written against: widths and heights are texts, `error` is there only in failure.
`previewer` and `problems` are ours, and so is `metadata_url`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .job_records import Job

_STATUS = {"waiting": "pending", "queued": "pending", "started": "started", "success": "success"}

#: From where a result is (`handover.Put.plain`) to its address; None when there is none.
Address = Callable[[Mapping[str, Any]], str | None]


def status_of(job: Job) -> str:
    """The state of a job in the words of the API."""
    return _STATUS.get(job.state, "failure")


def preview_object(job: Job, *, base: str, address: Address, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object of a job. `base` is the origin of its address; `metadata` the sections, None where they cannot be read."""
    answer: dict[str, Any] = {
        "id": job.id,
        "url": f"{base}/v2/previews/{job.id}/",
        "status": status_of(job),
        "preview": None,
        "thumbnails": None,
        "original_file": None,
        "user_data": job.data,
    }
    if answer["status"] == "failure":
        answer["error"] = dict(job.error or {"code": "internal", "message": "The preview could not be made."})
    if job.result is None or answer["status"] != "success":
        return answer
    thumbnails = [_thumbnail(one, address) for one in job.result["thumbnails"]]
    answer["thumbnails"] = thumbnails
    answer["preview"] = thumbnails[0] if thumbnails else None
    answer["original_file"] = original_file(job.result, address, metadata)
    answer["previewer"] = job.result["previewer"]
    answer["problems"] = {"previewers": job.result["faults"], "metadata": job.result["problems"]}
    return answer


def original_file(result: Mapping[str, Any], address: Address, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is said of the file. Sections that are kept in a bucket nobody here may read are null, and the address is given."""
    told = dict(result["original"])
    asked = result["sections"]
    told["metadata"] = dict.fromkeys(asked) if metadata is None else {name: metadata.get(name) for name in asked}
    if result.get("metadata") is not None and (url := address(result["metadata"])) is not None:
        told["metadata_url"] = url
    return told


def _thumbnail(one: Mapping[str, Any], address: Address) -> dict[str, Any]:
    size, original = one["size"], one["original_size"]
    return {
        "url": address(one["put"]),
        "page": one["page"],
        "requested_size": one["requested_size"],
        "resized": one["resized"],
        "size": {"width": str(size[0]), "height": str(size[1])},
        "original_size": {"width": str(original[0]), "height": str(original[1])},
    }
