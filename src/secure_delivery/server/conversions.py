"""Lengthy transformations: the URL that begins one, asks after it, and tells where the result is.

Knows: orders that were judged, jobs, the status of `video_convert` (Filestack documentation, video processing). Must not know:
how anything is converted.

The same URL is the same job: its key is made of application, task, options and the content of its sources, never of the
credential. `force` begins anew when the last one ended a while ago: clients poll by the URL that they began with.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.conversion_job import KIND, conversion_object
from ..engine.job_records import ENDED, Job
from ..gate.errors import BadRequest, NotFound
from ..gate.model import Application
from ..gate.policy import Call
from ..gate.tasksource import SourceKind
from .answers import file_url
from .http import Context, cors_headers
from .transform import Admitted, Order, Transformer, not_for_post

_UUID = re.compile(r"[0-9a-f]{32}")
_PRIVATE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_FRESH = 60_000  # ms after its end for which `force` still gives the answer of a job instead of a new one


class Conversions:
    """Answers URLs of lengthy transformations."""

    def __init__(self, context: Context, transformer: Transformer) -> None:
        self._context = context
        self._engine = context.engine
        self._transformer = transformer

    async def answer(self, request: Request, order: Order) -> Response:
        """Begin the job of this URL unless it has begun, and say how it is. Raises `Denied`, and the faults of sources."""
        if request.method not in ("GET", "HEAD", "POST"):
            raise not_for_post()
        asked = await self._asked(request, order)
        if asked is not None:
            return asked
        admitted = await self._transformer.admit(request, order)
        step = admitted.plan.steps[0]
        options = dict(step.options)
        self._check(admitted, options)
        sources = [await self._source(admitted, number) for number in range(len(admitted.named))]
        force = bool(options.pop("force", False))
        key = _key(admitted, sources, options)
        job = await self._context.run(self._begun, admitted, step.name, options, sources, key, force)
        return self._said(request, admitted.acting, job)

    async def _asked(self, request: Request, order: Order) -> Response | None:
        """The answer to a question by the id of a job (`/video_convert/UUID`); None for every other URL."""
        source = order.source
        if source is None or source.kind is not SourceKind.HANDLE or not _UUID.fullmatch(source.text):
            return None
        try:
            job = await self._context.query(self._engine.jobs.jobs.get, str(UUID(source.text)))
        except NotFound:
            return None  # a handle that looks like one
        if job.kind != KIND:
            return None
        application = await self._context.owner(job.application)
        self._context.judge(request, application, Call.CONVERT, signed=order.signed, use_query=order.use_query)
        return self._said(request, application, job)

    def _check(self, admitted: Admitted, options: dict[str, Any]) -> None:
        if admitted.acting.requires("delivery") and str(options.get("preset", "")).startswith("hls."):
            sentence = "A playlist leads to files without policies, which this application does not deliver."
            raise BadRequest("a playlist of a secured application", public=sentence)

    async def _source(self, admitted: Admitted, number: int) -> dict[str, Any]:
        """A source as the job finds it again: content that is replaced meanwhile makes another job."""
        named = admitted.named[number]
        if named.folder is not None:
            raise BadRequest("an alias of a folder", public="A conversion takes stored files and addresses.")
        if named.handle is None:
            headers = admitted.order.headers if number == 0 else None
            return {"url": named.url, "headers": dict(headers or {})}
        link = await self._context.query(self._engine.files.find, named.handle)
        return {"handle": link.handle, "sha256": link.sha256}

    def _begun(
        self,
        admitted: Admitted,
        task: str,
        options: dict[str, Any],
        sources: list[dict[str, Any]],
        key: str,
        force: bool,
    ) -> Job:
        """The job of this key: a new one when there was none, when its result is gone, or when it is to be made anew."""
        policy = admitted.decision.policy
        request = {
            "task": task,
            "options": options,
            "sources": sources,
            "url_pattern": None if policy is None else policy.url,
            "base": self._engine.settings.public_url,
        }
        jobs = self._engine.jobs
        application = admitted.acting.api_key
        for _ in range(2):
            job, fresh = jobs.submit(application, KIND, request, cost="heavy", key=key)
            if fresh or job.state not in ENDED or not self._stale(job, force):
                return job
            jobs.jobs.delete(job.id, application)
        return job

    def _stale(self, job: Job, force: bool) -> bool:
        if force and self._engine.jobs.jobs.now() - (job.finished or 0) > _FRESH:
            return True
        return job.result is not None and not self._engine.files.known(job.result["handle"])

    def _said(self, request: Request, application: Application, job: Job) -> Response:
        answer = conversion_object(job, lambda handle: file_url(self._context, request, handle))
        return JSONResponse(answer, headers={**_PRIVATE, **cors_headers(request, application)})


def _key(admitted: Admitted, sources: list[dict[str, Any]], options: dict[str, Any]) -> str:
    names = [{name: value for name, value in source.items() if name != "headers"} for source in sources]
    named = [admitted.acting.api_key, admitted.plan.steps[0].name, sorted(options.items()), names]
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode()).hexdigest()
