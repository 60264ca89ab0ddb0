"""What the client hands out: a stored file, and how far an upload came.

Knows: the members of the server's answers. Must not know: requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypedDict

from .errors import ProtocolError, ResponseError

_HANDLE = re.compile(r"[A-Za-z0-9_-]{20,64}")


class StoreOptions(TypedDict, total=False):
    """Where a file goes and what happens to it there. What is left out is the server's choice.

    * `path`: ends in a slash for a folder, otherwise the exact key. `container`, `region`: of the application's storage.
    * `access`: `private` or `public`. `location`: the kind of storage, `S3` where nothing is said.
    * `workflows`: ids of workflows to run.
    """

    path: str
    container: str
    region: str
    access: str
    location: str
    workflows: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that the server keeps.

    `container` and `key` say where, in the application's storage, if the server tells. `tags` are those of the upload;
    `jobs` maps the id of each workflow that was started to the id of its job. `answer` is all that the server said.
    """

    handle: str
    url: str
    filename: str
    size: int
    mimetype: str
    container: str | None = None
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> File:
        """The file of a server's answer. Raises `ProtocolError` where that names none."""
        url = _text(answer, "url") or ""
        handle = _text(answer, "handle") or url.partition("?")[0].rpartition("/")[2]
        if _HANDLE.fullmatch(handle) is None:
            raise ProtocolError("The server's answer names no file.")
        if answer.get("status") == "Failed":
            raise ResponseError("The server could not keep the file.", code="store_failed")
        size = answer.get("size")
        jobs = answer.get("workflows")
        tags = answer.get("upload_tags")
        return cls(
            handle=handle,
            url=url,
            filename=_text(answer, "filename") or "",
            size=size if isinstance(size, int) else 0,
            mimetype=_text(answer, "mimetype") or _text(answer, "type") or "application/octet-stream",
            container=_text(answer, "container"),
            key=_text(answer, "key"),
            tags=tags if isinstance(tags, dict) else {},
            jobs={name: job["jobid"] for name, job in jobs.items() if isinstance(job, dict) and "jobid" in job}
            if isinstance(jobs, dict)
            else {},
            answer=answer,
        )


def _text(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) else None


class Part(NamedTuple):
    """A part that the storage has: what it answered, and the MD5 of what was sent (Base64)."""

    etag: str
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a multipart upload came. Keep it, as JSON if need be, and hand it to `upload(…, resume=state)`.

    `upload_id` lets whoever has it write to this upload, so it is not shown; keep the JSON as you keep credentials. The
    server forgets an upload that nobody finishes, after a day as a rule.
    """

    uri: str
    region: str
    upload_id: str = field(repr=False)
    location_url: str
    filename: str
    mimetype: str
    size: int
    part_size: int
    store: StoreOptions
    tags: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[int, Part] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many parts there are in all."""
        return -(-self.size // self.part_size)

    @property
    def done(self) -> int:
        """How many bytes the storage has."""
        return sum(self.length(number) for number in self.parts)

    def offset(self, number: int) -> int:
        """Where a part begins. Parts count from 1."""
        return (number - 1) * self.part_size

    def length(self, number: int) -> int:
        """How many bytes a part has."""
        return min(self.part_size, self.size - self.offset(number))

    def with_parts(self, parts: Mapping[int, Part]) -> State:
        """The same upload with other parts done."""
        return replace(self, parts=dict(parts))

    def to_json(self) -> str:
        """The state as text."""
        members = {name: getattr(self, name) for name in _STATE_MEMBERS}
        return json.dumps(members | {"parts": {str(number): list(part) for number, part in self.parts.items()}})

    @classmethod
    def from_json(cls, text: str) -> State:
        """The state that `to_json` wrote. Raises `ValueError` for anything else."""
        try:
            members = json.loads(text)
            parts = {int(number): Part(*map(str, part)) for number, part in members.pop("parts").items()}
            state = cls(**members, parts=parts)
            whole = all(type(value) is int and value > 0 for value in (state.size, state.part_size))
            texts = all(type(getattr(state, name)) is str for name in _STATE_MEMBERS[:6])
            if not (whole and texts and set(parts) <= set(range(1, state.count + 1))):
                raise ValueError("members of other types")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("this is not the state of an upload") from None
        return state


_STATE_MEMBERS = ("uri", "region", "upload_id", "location_url", "filename", "mimetype", "size", "part_size", "store", "tags")
