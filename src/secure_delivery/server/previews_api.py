"""The previews API: `/v2/previews/`, as official FilePreviews clients call it, and what goes beyond it.

Knows: the wire facts of FilePreviews API v2 (fact sheet, 1.2 to 1.9). Must not know: how a preview is made.

Both spellings of a path are served, with and without the last slash, and nothing redirects: one client turns a redirected POST
into a GET, another does not follow at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.job_records import Job
from ..engine.preview_job import KIND, check_source, cost_of
from ..engine.preview_object import preview_object, status_of
from ..engine.preview_order import FieldError, PreviewOrder, read_order
from ..gate.errors import BadRequest, NotFound, SecureDeliveryError
from ..gate.model import Application
from ..gate.policy import Call
from ..gate.tasksource import Source, SourceKind
from . import bodies, counting
from .answers import notice_of
from .basic import Caller, authenticated, caller_of
from .delivery import Delivery
from .gather import Gatherer
from .http import REFUSING, Context, Denied, cors_headers, parameters, raw_path, redact

logger = logging.getLogger("secure_delivery.server")

_TYPE = "invalid_request_error"  # the only type that was ever seen
_PRIVATE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_MOST = 100  # jobs of one page of the list
_LIMIT = re.compile(r"[0-9]{1,3}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_STATES = {
    "pending": ("waiting", "queued"),
    "started": ("started",),
    "success": ("success",),
    "failure": ("failure", "cancelled"),
}
_Self = TypeVar("_Self", bound="PreviewsAPI")
_Endpoint = Callable[[_Self, Request], Awaitable[Response]]


def _spoken(endpoint: _Endpoint[_Self]) -> _Endpoint[_Self]:
    """Faults in the words of this API: `error` is always an object with `type`, `message`, `code`, and `param` where a field
    is at fault."""

    @wraps(endpoint)
    async def answered(self: _Self, request: Request) -> Response:
        try:
            return await endpoint(self, request)
        except Denied as denied:
            public, owner = denied.decision.public, denied.application
            counting.refused(request.scope, denied.decision.reason.value, None if owner is None else owner.api_key)
            return _error(request, public.status, public.code, public.sentence, application=owner)
        except SecureDeliveryError as fault:
            level = logging.ERROR if fault.status >= 500 else logging.INFO
            logger.log(level, "%s %s: %s", request.method, redact(raw_path(request)), fault.code)
            if fault.status in REFUSING:
                counting.refused(request.scope, fault.code)
            param = getattr(fault, "param", None)
            return _error(request, fault.status, fault.code, fault.public, param=param)

    return answered


def _error(
    request: Request,
    status: int,
    code: str,
    sentence: str,
    *,
    param: str | None = None,
    application: Application | None = None,
) -> Response:
    error = {"type": _TYPE, "code": code, "message": sentence}
    if param is not None:
        error["param"] = param
    headers = {**_PRIVATE, **cors_headers(request, application)}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="previews", charset="UTF-8"'
    if status in (429, 503):
        headers["retry-after"] = "2"
    return JSONResponse({"error": error}, status, headers)


class PreviewsAPI:
    """The endpoints."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._engine = context.engine
        self._gatherer: Gatherer = delivery.gatherer

    @_spoken
    async def collection(self, request: Request) -> Response:
        """`POST`: ask for a preview. `GET`: those of this application, newest first."""
        return await (self._create(request) if request.method == "POST" else self._list(request))

    async def _create(self, request: Request) -> Response:
        caller = await caller_of(self._context, request)
        body = await bodies.members(request)
        base = self._context.base_url(request)
        order, data = read_order(body, base=base)
        if order.destination is not None and not caller.trusted:  # whoever knows the key could replace what is in the bucket
            raise FieldError("uploader", "A destination is for those who show the secret.")
        if order.callback_url is not None:
            await self._check_callback(order.callback_url)
        order = await self._own(request, caller, order)
        key = request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise BadRequest("bad Idempotency-Key", public="Idempotency-Key is 1 to 255 visible ASCII characters.")
        job, fresh = await self._context.run(
            self._engine.jobs.submit,
            caller.application.api_key,
            KIND,
            {**order.plain(), "trusted": caller.trusted},
            data=data,
            cost=cost_of(order),
            key=None if key is None else _keyed(caller, key),
            digest=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
        )
        answer = await self._shown(caller, job, base)
        return self._answer(request, caller, answer, 201 if fresh else 200, {"location": answer["url"]})

    async def _check_callback(self, url: str) -> None:
        try:
            await self._context.run(self._engine.webhooks.check_url, url)
        except BadRequest as fault:
            raise FieldError("callback_url", fault.public) from None

    async def _own(self, request: Request, caller: Caller, order: PreviewOrder) -> PreviewOrder:
        """The order, with a file of the application's own in the place of the address by which this server delivers it."""
        try:
            named = self._gatherer.named(request, caller.application, Source(kind=SourceKind.EXTERNAL, text=order.url))
        except SecureDeliveryError as fault:
            if "@" not in order.url.partition("//")[2].partition("/")[0]:
                raise FieldError("url", fault.public) from None
            check_source(order.url)  # the job takes name and password out of it
            return order
        if named.handle is None:
            return order
        link = await self._gatherer.link(named)
        if link.application != caller.application.api_key:
            return order
        if not caller.trusted:
            self._context.judge(
                request,
                caller.application,
                Call.READ,
                handle=link.handle,
                signed=named.signed,
                use_query=False,
                use_basic=False,
            )
        return replace(order, handle=link.handle)

    async def _list(self, request: Request) -> Response:
        application = await authenticated(self._context, request)
        values = parameters(request)
        limit = values.get("limit", "20")
        if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= _MOST:
            raise FieldError("limit", f"A number from 1 to {_MOST} is wanted.")
        states: tuple[str, ...] = ()
        if "status" in values:
            if values["status"] not in _STATES:
                raise FieldError("status", f"One of {', '.join(_STATES)} is wanted.")
            states = _STATES[values["status"]]
        cursor = _id(values["cursor"], "cursor") if "cursor" in values else None
        jobs, after = await self._context.run(
            lambda: self._engine.jobs.jobs.page(
                application.api_key, states=states, kinds=(KIND,), before=cursor, most=int(limit)
            )
        )
        base = self._context.base_url(request)
        address = self._engine.previewing.address(application, base)
        # A list reads nothing from anybody's bucket: sections are in the object of each.
        results = [preview_object(job, base=base, address=address) for job in jobs]
        caller = Caller(application=application, trusted=True)
        return self._answer(request, caller, {"results": results, "cursor": after}, 200)

    @_spoken
    async def one(self, request: Request) -> Response:
        """`GET`: the preview object, 200 in every state. `DELETE`: forget a job that has ended."""
        if request.method == "DELETE":
            application = await authenticated(self._context, request)
            job = await self._job(application, request)
            await self._context.run(self._engine.jobs.jobs.delete, job.id, application.api_key)
            return self._answer(request, Caller(application=application, trusted=True), {"id": job.id, "deleted": True}, 200)
        caller = await caller_of(self._context, request)
        job = await self._job(caller.application, request)
        answer = await self._shown(caller, job, self._context.base_url(request))
        return self._answer(request, caller, answer, 200, await self._notice(caller.application, job))

    async def _notice(self, application: Application, job: Job) -> dict[str, str]:
        """A header that says of results which are only lent a place until when they are there. In a header, because the
        object is the same here and in the webhook."""
        result = job.result if status_of(job) == "success" else None
        puts = () if result is None else (*(one["put"] for one in result["thumbnails"]), result["metadata"] or {})
        handle = next((put["handle"] for put in puts if put.get("handle")), None)
        if handle is None:
            return {}
        try:
            link = await self._context.query(self._engine.files.find, handle)
        except NotFound:
            return {}
        notice = notice_of(self._context, application, link)
        return {} if notice is None else {"secure-delivery-notice": notice}

    @_spoken
    async def cancel(self, request: Request) -> Response:
        """End a job that waits, or have its worker give it up."""
        application = await authenticated(self._context, request)
        job = await self._job(application, request)
        return await self._changed(request, application, lambda: self._engine.jobs.cancel(job.id, application.api_key))

    @_spoken
    async def retry(self, request: Request) -> Response:
        """Queue a job again that failed or was cancelled."""
        application = await authenticated(self._context, request)
        job = await self._job(application, request)
        return await self._changed(request, application, lambda: self._engine.jobs.retry(job.id, application.api_key))

    async def _changed(self, request: Request, application: Application, change: Callable[[], Job]) -> Response:
        job = await self._context.run(change)
        caller = Caller(application=application, trusted=True)
        return self._answer(request, caller, await self._shown(caller, job, self._context.base_url(request)), 200)

    async def _job(self, application: Application, request: Request) -> Job:
        """The job of the path. Raises `NotFound` for one of another application, and for what is no id at all."""
        given = request.path_params["id"]
        try:
            job = await self._context.query(self._engine.jobs.jobs.get, _id(given, "id"), application.api_key)
        except SecureDeliveryError as fault:
            if not isinstance(fault, NotFound | BadRequest):
                raise
            raise NoSuchPreview(given) from None
        if job.kind != KIND:
            raise NoSuchPreview(given)
        return job

    async def _shown(self, caller: Caller, job: Job, base: str) -> dict[str, Any]:
        if status_of(job) != "success":
            address = self._engine.previewing.address(caller.application, base)
            return preview_object(job, base=base, address=address)
        shown = self._engine.previewing.shown
        return await self._context.keep(shown, caller.application, job, base, trusted=caller.trusted)

    @staticmethod
    def _answer(request: Request, caller: Caller, content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
        allowed = cors_headers(request, caller.application)
        return JSONResponse(content, status, {**_PRIVATE, **allowed, **(headers or {})})


class NoSuchPreview(NotFound):
    """An id that this application has no preview of."""

    param = "task_id"

    def __init__(self, given: str) -> None:
        shown = "".join(letter for letter in given[:60] if letter.isprintable())
        super().__init__(f"no preview {shown!r}", public=f"There is no preview with the id {shown}.")


def _keyed(caller: Caller, key: str) -> str:
    """What is kept of an `Idempotency-Key`. Pages and servers have keys of their own: whoever guesses one of a server, which
    may count its orders, is not to be given its preview."""
    return hashlib.sha256(f"{KIND} {caller.trusted} {key}".encode()).hexdigest()


def _id(text: str, param: str) -> str:
    """An id as the database has it. Raises `FieldError` for what is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        raise FieldError(param, "An id is wanted.") from None
