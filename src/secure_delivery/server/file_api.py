"""The File API: store, read, overwrite, delete and describe files under `/api`.

Knows: the endpoints that official clients call, their parameters and answers. Must not know: how files are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..engine.convert import bind
from ..engine.files import Target, Upload, clean_name
from ..engine.outbound import read_url
from ..engine.records import FileLink
from ..gate.errors import BadRequest, NotFound, Reason, SecureDeliveryError, TooLarge
from ..gate.model import Application, Decision
from ..gate.policy import Call
from ..gate.tasksource import Source, SourceKind, read_source
from ..gate.taskurl import Task
from .answers import LONGEST, described, file_url, workflow_ids
from .delivery import Delivery
from .gather import Named
from .http import Context, Denied, cors_headers, flag, parameters
from .transform import Order
from .uploads import Intake

_NO_STORE = {"cache-control": "no-store"}
_STORE_OPTIONS = ("filename", "mimetype", "path", "container", "region", "access", "workflows", "expires_in")


class FileAPI:
    """The endpoints. Each judges with what is known, works, and answers in the words of the documentation."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery

    # -- store

    async def store(self, request: Request) -> Response:
        """`POST /api/store/{provider}`: a new file from a multipart, raw or Base64 body, or from the `url` that it names."""
        values = parameters(request)
        application = await self._context.application(values.get("key"))
        asked = _target(values, request.path_params["provider"])
        size = _declared_size(request, values)
        _, decision = await self._context.judge_store(request, application, asked, size=size)
        self._check_declared(application, size)

        def begin(target: Target) -> Upload:
            placed = replace(asked, filename=target.filename, mimetype=target.mimetype)
            return self._context.engine.files.begin(application, placed, limit=self._limit(decision))

        filename = clean_name(values["filename"]) if "filename" in values else None
        with Intake(request, decision, begin, base64decode=flag(values, "base64decode")) as intake:
            upload = await _receive(intake, filename, values.get("mimetype"), decision)
            if upload is None:
                return await self._ingest(request, application, intake.url or "", values)
            link = await self._context.keep(self._context.engine.files.add, application, upload)
        return JSONResponse(
            described(self._context, request, application, link), headers=_NO_STORE | cors_headers(request, application)
        )

    async def copy(self, request: Request) -> Response:
        """`POST /api/store/{provider}/{handle}`: a new file with the content of one that is here."""
        values = parameters(request)
        application = await self._context.application(values.get("key"))
        source = read_source(request.path_params["handle"], percent=False)
        if source.kind is not SourceKind.HANDLE:
            raise BadRequest("no handle", public="The path ends in the handle of a file.")
        return await self._delivery.carry_out(request, self._order(request, application, source, values))

    def _order(self, request: Request, application: Application, source: Source, values: Mapping[str, str]) -> Order:
        """Storing a source as it is, with the options of a store request."""
        options = [(name, values[name]) for name in _STORE_OPTIONS if values.get(name)]
        task = Task(name="store", options=(*options, ("location", request.path_params["provider"])))
        return Order(plan=bind(self._context.engine.registry, [task]), source=source, api_key=application.api_key)

    async def _ingest(self, request: Request, application: Application, url: str, values: Mapping[str, str]) -> Response:
        """Store what is behind a URL, by the way of all external sources."""
        source = read_source(url, percent=False)
        if source.kind is not SourceKind.EXTERNAL:
            raise BadRequest("no external url", public="url is the address of a file, https://...")
        return await self._delivery.carry_out(request, self._order(request, application, source, values))

    def _limit(self, decision: Decision) -> int:
        """Bytes a file may have at most, by the server's settings and the policy; the application's own limit comes on top."""
        most = self._context.engine.settings.max_bytes
        return most if decision.max_size is None else min(most, decision.max_size)

    def _check_declared(self, application: Application, size: int | None) -> None:
        """Refuse a body that says it is over a limit before any of it is read. A policy's own limits were judged before."""
        most = min(self._context.engine.settings.max_bytes, application.limits.max_bytes)
        if size is not None and size > most:
            raise TooLarge(f"{size} bytes declared, limit {most}")

    # -- one file

    async def file(self, request: Request) -> Response:
        """`/api/file/{handle}` in all its methods; `handle+ext` names the same file."""
        link = await self._find(request, held=request.method not in ("GET", "HEAD"))
        if request.method in ("GET", "HEAD"):
            return await self._delivery.send_file(request, link)
        if request.method == "DELETE":
            return await self._remove(request, link)
        return await self._overwrite(request, link)

    async def _find(self, request: Request, *, held: bool = False) -> FileLink:
        handle = request.path_params["handle"].partition("+")[0]
        link = await self._context.query(lambda: self._context.engine.files.find(handle, held=held))
        key = parameters(request).get("key")
        if key is not None and key != link.application:
            raise NotFound("the file belongs to another application")
        return link

    async def _remove(self, request: Request, link: FileLink) -> Response:
        application = await self._context.owner(link.application)
        self._context.judge(request, application, Call.REMOVE, handle=link.handle)
        files = self._context.engine.files
        # What is in a storage of ours is nobody else's to keep: without a record it would be lost, not left.
        keep = flag(parameters(request), "skip_storage") and link.storage not in files.storages.own
        await self._context.run(lambda: files.remove(link, keep_blob=keep, undo=application.undo))
        return PlainTextResponse("success", headers=_NO_STORE | cors_headers(request, application))

    async def restore(self, request: Request) -> Response:
        """`POST /api/file/{handle}/restore`: undo a deletion, while the application lets it be undone."""
        handle = request.path_params["handle"]
        link = await self._context.query(self._context.engine.records.file, handle)
        if link is None:
            raise NotFound(f"no file {handle!r}")
        application = await self._context.owner(link.application)
        self._context.judge(request, application, Call.REMOVE, handle=link.handle)
        link = await self._context.run(self._context.engine.files.restore, application, handle)
        return JSONResponse(
            described(self._context, request, application, link), headers=_NO_STORE | cors_headers(request, application)
        )

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
        files = self._context.engine.files

        def begin(target: Target) -> Upload:
            named = Target(filename=link.filename, mimetype=target.mimetype, source_url=target.source_url)
            return files.begin(application, named, limit=self._limit(decision), over=link)

        with Intake(request, decision, begin, base64decode=flag(values, "base64decode")) as intake:
            upload = await _receive(intake, link.filename, values.get("mimetype"), decision)
            if upload is None:
                upload = await self._fetched(request, application, link, intake, decision)
            fresh = await self._context.keep(files.overwrite, link, upload)
        answer = {
            "url": file_url(self._context, request, fresh.handle),
            "mimetype": fresh.mimetype,
            "isWriteable": True,
            "size": fresh.size,
            "filename": fresh.filename,
        }
        return JSONResponse(answer, headers=_NO_STORE | cors_headers(request, application))

    async def _fetched(
        self, request: Request, application: Application, link: FileLink, intake: Intake, decision: Decision
    ) -> Upload:
        """The new content of a file from the URL that the body names."""
        url = read_url(intake.url or "").url
        named = Named(url=url, told=url)
        facts = {"handle": link.handle}
        source = await self._delivery.gatherer.fetch(request, application, named, calls=(Call.WRITE,), facts=facts)
        reason = decision.admits_size(source.size)
        if reason is not None:
            raise Denied(Decision(allowed=False, reason=reason, vary=decision.vary), application)

        def copied() -> Upload:
            upload = intake.begin(Target(filename=link.filename, mimetype=source.mimetype, source_url=url.partition("?")[0]))
            with source.open() as stream:
                while piece := stream.read(1 << 20):
                    upload.write(piece)
            return upload

        return await self._context.run(copied)

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


def _target(values: Mapping[str, str], provider: str) -> Target:
    """Where the options of a store request want the file. Raises `BadRequest` for values that are none."""
    access = values.get("access", "").lower() or None
    if access not in (None, "private", "public"):
        raise BadRequest("bad access", public="access is private or public.")
    try:
        workflow_ids(values.get("workflows"))
    except ValueError as error:
        raise BadRequest("bad workflows", public=str(error)) from None
    lasting = values.get("expires_in")
    if lasting is not None and not (lasting.isascii() and lasting.isdigit() and 0 < int(lasting[:12]) <= LONGEST):
        raise BadRequest("bad expires_in", public="expires_in is a whole number of seconds, at least one.")
    return Target(
        container=values.get("container") or None,
        path=values.get("path") or None,
        storage=provider,
        access=access,  # type: ignore[arg-type]
        expires_in=None if lasting is None else int(lasting),
    )


async def _receive(intake: Intake, filename: str | None, mimetype: str | None, decision: Decision) -> Upload | None:
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
    """The size that the head promises for a raw body; other bodies are longer than their file, or name a URL instead."""
    length = request.headers.get("content-length")
    if length is None or not (length.isascii() and length.isdigit() and len(length) <= 18):
        return None
    kind = request.headers.get("content-type", "").lower()
    described = kind.startswith(("multipart/", "application/x-www-form-urlencoded", "application/json"))
    if described or flag(values, "base64decode"):
        return None
    return int(length)
