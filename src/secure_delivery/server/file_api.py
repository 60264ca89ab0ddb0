"""The File API: store, read, overwrite, delete and describe files under `/api`.

Knows: the endpoints that official clients call, their parameters and answers. Must not know: how files are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..engine.files import Target, Upload, clean_name, effective_path
from ..engine.records import FileLink
from ..gate.errors import BadRequest, NotFound, Reason, SecureDeliveryError, TooLarge, Unsupported
from ..gate.model import Application, Decision
from ..gate.policy import Call
from .delivery import Delivery
from .http import Context, Denied, cors_headers, flag, parameters
from .uploads import Intake

#: What clients call the storage of an application when they do not know better: the documentation's default.
_ANY_STORAGE = "s3"
_NO_STORE = {"cache-control": "no-store"}


class FileAPI:
    """The endpoints. Each judges with what is known, works, and answers in the words of the documentation."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery

    # -- store

    async def store(self, request: Request) -> Response:
        """`POST /api/store/{provider}`: a new file from a multipart, raw or Base64 body."""
        values = parameters(request)
        application = await self._context.application(values.get("key"))
        self._check_provider(request.path_params["provider"])
        filename = clean_name(values["filename"]) if "filename" in values else None
        path = effective_path(values.get("path"))
        container = values.get("container") or self._context.engine.settings.storage
        size = _declared_size(request, values)
        decision = self._context.judge(request, application, Call.PICK, container=container, path=path, size=size)
        self._check_declared(application, size)

        def begin(target: Target) -> Upload:
            placed = Target(
                filename=target.filename, mimetype=target.mimetype, container=values.get("container"), path=values.get("path")
            )
            return self._context.engine.files.begin(application, placed, limit=self._limit(decision))

        with Intake(request, decision, begin, base64decode=flag(values, "base64decode")) as intake:
            upload = await _receive(intake, filename, values.get("mimetype"), decision)
            link = await self._context.run(self._context.engine.files.add, application, upload)
        return JSONResponse(self._stored(request, link), headers=_NO_STORE | cors_headers(request, application))

    def _limit(self, decision: Decision) -> int:
        """Bytes a file may have at most, by the server's settings and the policy; the application's own limit comes on top."""
        most = self._context.engine.settings.max_bytes
        return most if decision.max_size is None else min(most, decision.max_size)

    def _check_declared(self, application: Application, size: int | None) -> None:
        """Refuse a body that says it is over a limit before any of it is read. A policy's own limits were judged before."""
        most = min(self._context.engine.settings.max_bytes, application.limits.max_bytes)
        if size is not None and size > most:
            raise TooLarge(f"{size} bytes declared, limit {most}")

    def _check_provider(self, provider: str) -> None:
        name = provider.lower()
        if name != _ANY_STORAGE and name not in self._context.engine.registry.storages:
            raise BadRequest(f"storage {name!r} is not configured", public="This storage provider is not configured.")
        if name not in (_ANY_STORAGE, self._context.engine.settings.storage):
            raise Unsupported(public="Files go to the server's own storage; this provider cannot be chosen.")

    def _stored(self, request: Request, link: FileLink) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "url": f"{self._context.base_url(request)}/{link.handle}",
            "handle": link.handle,
            "filename": link.filename,
            "size": link.size,
            "type": link.mimetype,
            "key": link.key,
        }
        if link.container is not None:
            answer["container"] = link.container
        return answer

    # -- one file

    async def file(self, request: Request) -> Response:
        """`/api/file/{handle}` in all its methods; `handle+ext` names the same file."""
        link = await self._find(request)
        if request.method in ("GET", "HEAD"):
            return await self._delivery.send_file(request, link)
        if request.method == "DELETE":
            return await self._remove(request, link)
        return await self._overwrite(request, link)

    async def _find(self, request: Request) -> FileLink:
        handle = request.path_params["handle"].partition("+")[0]
        link = await self._context.query(self._context.engine.files.find, handle)
        key = parameters(request).get("key")
        if key is not None and key != link.application:
            raise NotFound("the file belongs to another application")
        return link

    async def _remove(self, request: Request, link: FileLink) -> Response:
        application = await self._context.owner(link.application)
        self._context.judge(request, application, Call.REMOVE, handle=link.handle)
        keep = flag(parameters(request), "skip_storage")
        await self._context.run(self._context.engine.files.remove, link, keep_blob=keep)
        return PlainTextResponse("success", headers=_NO_STORE | cors_headers(request, application))

    async def purge(self, request: Request) -> Response:
        """`DELETE /api/file/{handle}/renditions`: drop what was made of a file; says how many results there were."""
        link = await self._find(request)
        application = await self._context.owner(link.application)
        self._context.judge(request, application, Call.WRITE, handle=link.handle)
        count = await self._context.run(self._context.engine.renditions.purge, link.application, link.handle)
        return JSONResponse({"purged": count}, headers=_NO_STORE | cors_headers(request, application))

    async def _overwrite(self, request: Request, link: FileLink) -> Response:
        """New content under the old handle and name: one official client calls every part "filename"."""
        values = parameters(request)
        application = await self._context.owner(link.application)
        size = _declared_size(request, values)
        decision = self._context.judge(request, application, Call.WRITE, handle=link.handle, size=size)
        self._check_declared(application, size)

        def begin(target: Target) -> Upload:
            named = Target(filename=link.filename, mimetype=target.mimetype)
            return self._context.engine.files.begin(application, named, limit=self._limit(decision))

        with Intake(request, decision, begin, base64decode=flag(values, "base64decode")) as intake:
            upload = await _receive(intake, link.filename, values.get("mimetype"), decision)
            fresh = await self._context.run(self._context.engine.files.overwrite, link, upload)
        answer = {
            "url": f"{self._context.base_url(request)}/{fresh.handle}",
            "mimetype": fresh.mimetype,
            "isWriteable": True,
            "size": fresh.size,
            "filename": fresh.filename,
        }
        return JSONResponse(answer, headers=_NO_STORE | cors_headers(request, application))

    # -- metadata

    async def metadata(self, request: Request) -> Response:
        """`GET /api/file/{handle}/metadata`: the usual facts, or only those asked for with `name=true`."""
        values = parameters(request)
        spelled = {"sourceUrl": "source_url"}  # so does one official client
        names = [spelled.get(name, name) for name in values if flag(values, name)]
        handle = request.path_params["handle"].partition("+")[0]
        # `key` is the API key, and the name of a fact that is asked for with `key=true`.
        key = None if flag(values, "key") else values.get("key")
        return await self._delivery.facts.answer(request, handle, names, key=key)


async def _receive(intake: Intake, filename: str | None, mimetype: str | None, decision: Decision) -> Upload:
    """Read the body; more bytes than the policy admits are the policy's refusal, whichever limit noticed first."""
    try:
        return await intake.receive(filename, mimetype)
    except SecureDeliveryError as fault:
        if fault.code == "too_large" and intake.upload is not None:
            reason = decision.admits_size(intake.upload.size)
            if reason is Reason.TOO_BIG:
                raise Denied(Decision(allowed=False, reason=reason, vary=decision.vary)) from None
        raise


def _declared_size(request: Request, values: Mapping[str, str]) -> int | None:
    """The size that the head promises for a raw body; a multipart or Base64 body is longer than its file."""
    length = request.headers.get("content-length")
    if length is None or not (length.isascii() and length.isdigit() and len(length) <= 18):
        return None
    if request.headers.get("content-type", "").lower().startswith("multipart/") or flag(values, "base64decode"):
        return None
    return int(length)
