"""Delivery and transformation: everything whose address is `/[KEY/]{task/}HANDLE`.

Knows: the grammar's result, the engine, HTTP. Must not know: how a chain runs, how files are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import BinaryIO, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..engine.convert import NOTHING, Plan, bind
from ..engine.records import FileLink
from ..engine.renditions import Rendition
from ..gate.errors import Busy, NotFound, Unsupported
from ..gate.model import Application, Decision
from ..gate.policy import Call
from ..gate.taskurl import SourceKind, TaskURL, parse
from ..plugin.protocols import Located, Placing, Presigned
from . import counting
from .conversions import Conversions
from .explainer import Explainer
from .facts import Facts
from .gather import Gatherer
from .hot import Lasting, note
from .http import (
    Context,
    cache_control,
    content_headers,
    cors_headers,
    flag,
    parameters,
    raw_path,
    raw_query,
    result_headers,
)
from .offload import Offload
from .once import Renderer
from .pieces import Pieces
from .ranges import Span, answer, http_date
from .transform import Admitted, Order, Transformer, not_for_post

SMALL = 262_144  # bytes up to which a file is read in one go and sent as one message: a thread hop costs more than that
_REMEMBERED = 4096  # parsed paths
_REMEMBERED_LENGTH = 2048  # characters of a path and query worth remembering; with longer ones strangers could fill memory
_TRIES = 5  # times a file is looked up again that was overwritten between finding and opening it
_REDIRECT = 3600  # seconds for which a redirect to a storage leads there, at the longest
_ISSUED_KEY = re.compile(r"[A-Za-z0-9]{22}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One stored representation, ready to be sent."""

    mimetype: str
    filename: str
    size: int
    etag: str
    modified: int


def _ends(link: FileLink) -> float:
    """When a file goes by itself, in seconds since the epoch."""
    return math.inf if link.expires is None else link.expires / 1000


def _content_of(link: FileLink) -> Content:
    return Content(
        mimetype=link.mimetype, filename=link.filename, size=link.size, etag=link.sha256[:32], modified=link.uploaded
    )


class Delivery:
    """The endpoint behind every path that is no API call."""

    def __init__(self, context: Context) -> None:
        engine = context.engine
        self._context = context
        self.renderer = Renderer(engine)
        self.facts = Facts(context, self.renderer)
        self._offload = Offload(context, engine.settings.accel)
        self._pieces = Pieces()
        self.gatherer = Gatherer(context, engine.fetched, engine.folders)
        self.transformer = Transformer(context, self.gatherer, self.renderer)
        self.conversions = Conversions(context, self.transformer)
        self._explainer = Explainer(context, self.transformer)
        self._parsed: dict[tuple[str, str], tuple[object, TaskURL, Plan | None]] = {}

    async def answer(self, request: Request) -> Response:
        """`GET`, `HEAD` or `POST` of a delivery or transformation URL."""
        url, plan = await self._understand(request)
        source = url.source
        plain = plan is None
        if not plain:
            counting.is_kind(request.scope, counting.TRANSFORMATION)
        plan = plan or NOTHING
        if request.method == "POST" and (plan.controls.metadata is not None or not (plan.stores or plan.lengthy)):
            raise not_for_post()
        if url.debug:
            return await self._explainer.answer(request, self._order(url, plan))
        if plain and source is not None and source.kind is SourceKind.HANDLE:
            return await self._deliver(request, url, source.text)
        if plan.controls.metadata is not None:
            return await self._describe(request, url, plan.controls.metadata)
        return await self.carry_out(request, self._order(url, plan))

    async def carry_out(self, request: Request, order: Order) -> Response:
        """The answer to an order, wherever in a request it stood."""
        if order.plan.lengthy:
            return await self.conversions.answer(request, order)
        return await self.transformer.answer(request, order, self._send_result, self._send_instead)

    @staticmethod
    def _order(url: TaskURL, plan: Plan) -> Order:
        return Order(
            plan=plan,
            source=url.source,
            api_key=url.api_key,
            signed=url.signed,
            use_query=not url.takes_query,
            tasks=url.tasks,
        )

    async def _describe(self, request: Request, url: TaskURL, names: tuple[str, ...]) -> Response:
        """`metadata` as a task: facts of a stored file."""
        if url.source is None or url.source.kind is not SourceKind.HANDLE:
            raise Unsupported(public="metadata describes a stored file.")
        if url.api_key is not None:
            await self._context.application(url.api_key)
        return await self.facts.answer(
            request, url.source.text, names, key=url.api_key, signed=url.signed, use_query=not url.takes_query
        )

    async def _understand(self, request: Request) -> tuple[TaskURL, Plan | None]:
        """Parse and bind a path, remembering the result: hot pictures are asked for by the same address."""
        records = self._context.engine.records
        key = (raw_path(request), raw_query(request))
        token = await self._context.query(records.generation)
        known = self._parsed.get(key)
        if known is not None and known[0] == token:
            return known[1], known[2]
        path, query = key

        def is_key(text: str) -> bool:
            # What has the shape of a key is one, so that an unknown key is told as such and not as a strange task.
            return _ISSUED_KEY.fullmatch(text) is not None or records.application(text) is not None

        def understand() -> tuple[TaskURL, Plan | None]:
            url = parse(path, query=query, known_key=is_key)
            return url, bind(self._context.engine.registry, url.tasks) if url.tasks else None

        url, plan = await self._context.query(understand)
        if len(path) + len(query) <= _REMEMBERED_LENGTH:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.clear()
            self._parsed[key] = (token, url, plan)
        return url, plan

    # -- a file as it is

    async def _deliver(self, request: Request, url: TaskURL, handle: str) -> Response:
        if url.api_key is not None:
            await self._context.application(url.api_key)
        link = await self._context.query(self._context.engine.files.find, handle)
        if url.api_key is not None and url.api_key != link.application:
            raise NotFound("the file belongs to another application")
        return await self.send_file(request, link, url)

    async def send_file(self, request: Request, link: FileLink, url: TaskURL | None = None) -> Response:
        """Judge a read of one file and answer it."""
        application = await self._context.owner(link.application)
        decision = self._context.judge(
            request,
            application,
            Call.READ,
            handle=link.handle,
            signed=url.signed if url is not None else None,
            use_query=url is None or not url.takes_query,
        )
        for _ in range(_TRIES):
            try:
                return await self._send(request, application, decision, _content_of(link), link)
            except NotFound:  # the bytes are gone: for good, or because an overwrite was quicker than we
                link = await self._newer(link)
        raise Busy("the file was overwritten again and again")

    async def _newer(self, link: FileLink) -> FileLink:
        """The file as it is now, whose bytes under an older record are gone. Raises `NotFound`, also when it is no newer."""
        fresh = await self._context.query(self._context.engine.files.find, link.handle)
        if fresh.version == link.version or fresh.application != link.application:
            raise NotFound(f"the bytes of {link.handle} are gone")
        return fresh

    # -- a result

    async def _send_result(self, request: Request, admitted: Admitted, rendition: Rendition) -> Response:
        """A result that was judged and made, or found."""
        content = Content(
            mimetype=rendition.mimetype,
            filename=rendition.filename,
            size=rendition.size,
            etag=rendition.etag,
            modified=rendition.created,
        )
        vary = ("Accept",) if admitted.plan.negotiated else ()
        decision = replace(admitted.decision, vary=(*admitted.decision.vary, *vary))
        # What was only stored says nothing about itself that counts: without a task it is sent like any stored file.
        more, asked = result_headers(rendition) if admitted.plan.steps else {}, admitted.plan.controls.cache
        # What was fetched from elsewhere may be another tomorrow, and no counter of ours would say so.
        lasting = all(each.handle is not None for each in admitted.named)
        ends = min([_ends(await self.gatherer.link(each)) for each in admitted.named] if lasting else (), default=math.inf)
        return await self._send(
            request, admitted.acting, decision, content, rendition, asked=asked, more=more, lasting=lasting, ends=ends
        )

    async def _send_instead(
        self, request: Request, application: Application, decision: Decision, link: FileLink, age: int | None
    ) -> Response:
        """The file that a chain named for when something goes wrong."""
        return await self._send(request, application, decision, _content_of(link), link, asked=age, lasting=False)

    # -- sending

    async def _send(
        self,
        request: Request,
        application: Application,
        decision: Decision,
        content: Content,
        kept: FileLink | Rendition,
        *,
        asked: int | Literal[False] | None = None,
        more: Mapping[str, str] | None = None,
        lasting: bool = True,
        ends: float = math.inf,
    ) -> Response:
        settings = self._context.engine.settings
        headers = content_headers(content.mimetype, content.filename, download=flag(parameters(request), "dl"))
        headers["etag"] = f'"{content.etag}"'
        headers["last-modified"] = http_date(content.modified)
        headers["accept-ranges"] = "bytes"
        headers["cache-control"] = cache_control(
            decision, application, open_age=settings.rendition_max_age, now=self._context.engine.clock(), asked=asked
        )
        headers |= more or {}
        if decision.vary:
            headers["vary"] = ", ".join(decision.vary)
        headers |= cors_headers(request, application)
        plan = answer(
            request.headers,
            etag=content.etag,
            modified=content.modified,
            size=content.size,
            ranges=request.method == "GET",
        )
        if plan.status in (304, 412):
            for name in ("content-type", "content-disposition"):
                headers.pop(name)
            return Response(None, plan.status, headers)
        if plan.status == 416:
            headers["content-range"] = f"bytes */{content.size}"
            headers["cache-control"] = "no-store"
            return Response(None, 416, headers)
        if isinstance(kept, FileLink) and (elsewhere := await self._elsewhere(request, application, decision, kept, headers)):
            return elsewhere
        if content.size > SMALL and isinstance(kept, FileLink):
            handed = await self._offload.answer(request, kept, plan, headers)
            if handed is not None:
                return handed
        if plan.status == 200:
            if lasting and content.size <= SMALL:
                self._note(request, application, decision, content, kept, asked, ends)
            return await self._send_span(request, kept, Span(0, content.size), 200, headers)
        if len(plan.spans) == 1:
            span = plan.spans[0]
            headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{content.size}"
            return await self._send_span(request, kept, span, 206, headers)
        return await self._send_spans(kept, plan.spans, content.size, headers)

    async def _elsewhere(
        self, request: Request, application: Application, decision: Decision, link: FileLink, headers: Mapping[str, str]
    ) -> Response | None:
        """A redirect to the storage of the application, where it wants that. It never outlives the policy (pitfall c6)."""
        if not application.redirect or request.method != "GET" or link.storage in self._context.engine.storages.own:
            return None
        storage = await self._context.query(self._context.engine.files.storage, link.storage)
        seconds = decision.max_age(_REDIRECT, self._context.engine.clock())
        if seconds < 1 or not isinstance(storage, Presigned) or not (isinstance(storage, Placing) and storage.readable):
            return None
        said = {name: headers[name] for name in ("content-type", "content-disposition", "cache-control")}
        url = await self._context.run(lambda: storage.presigned_url(link.key, seconds=seconds, headers=said))
        kept = {name: text for name, text in headers.items() if name == "vary" or name.startswith("access-control-")}
        more = {"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"}
        return Response(None, 302, {**kept, **more})

    def _note(
        self,
        request: Request,
        application: Application,
        decision: Decision,
        content: Content,
        kept: FileLink | Rendition,
        asked: int | Literal[False] | None,
        ends: float,
    ) -> None:
        """Have the answer remembered, at the longest until `ends`."""
        if isinstance(kept, FileLink):
            name = f"{kept.storage} {kept.key} {kept.sha256}"  # customers' own keys are used again for other bytes
            lasting = Lasting(application, decision, name, content.etag, _ends(kept), asked=asked)
        else:
            until = min(self._context.engine.renditions.store.ends(kept), ends)
            lasting = Lasting(application, decision, kept.bytes_name, content.etag, until, kept, asked)
        note(request.scope, lasting)

    def _open(self, kept: FileLink | Rendition, span: Span) -> BinaryIO:
        engine = self._context.engine
        length = span.stop - span.start
        if isinstance(kept, FileLink):
            return engine.files.open(kept, start=span.start, length=length)
        return engine.renditions.open(kept, start=span.start, length=length)

    def _read(self, kept: FileLink | Rendition, span: Span) -> bytes:
        with self._open(kept, span) as stream:
            return stream.read()

    async def _send_span(
        self, request: Request, kept: FileLink | Rendition, span: Span, status: int, headers: dict[str, str]
    ) -> Response:
        length = span.stop - span.start
        headers["content-length"] = str(length)
        if request.method == "HEAD":
            return Response(None, status, headers)
        if isinstance(kept, Rendition) and span == (0, kept.size) and length <= SMALL:
            return Response(self._context.engine.renditions.read(kept), status, headers)
        if length <= SMALL:
            near = isinstance(kept, Rendition) or isinstance(self._context.engine.files.storage(kept.storage), Located)
            data = self._read(kept, span) if near else await self._context.run(self._read, kept, span)
            return Response(data, status, headers)
        stream = await self._context.run(self._open, kept, span)
        return StreamingResponse(self._pieces.of(stream), status, headers)

    async def _send_spans(
        self,
        kept: FileLink | Rendition,
        spans: tuple[Span, ...],
        size: int,
        headers: dict[str, str],
    ) -> Response:
        """Several ranges as multipart/byteranges (RFC 9110 section 14.6), all opened before the first byte is sent: an
        overwrite meanwhile must not mix two versions."""
        boundary, mimetype = token_hex(16), headers["content-type"]
        heads = [
            f"\r\n--{boundary}\r\ncontent-type: {mimetype}\r\n"
            f"content-range: bytes {span.start}-{span.stop - 1}/{size}\r\n\r\n".encode()
            for span in spans
        ]
        end = f"\r\n--{boundary}--\r\n".encode()
        headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
        headers["content-length"] = str(
            sum(len(head) + span.stop - span.start for head, span in zip(heads, spans, strict=True)) + len(end)
        )
        streams: list[BinaryIO] = []
        try:
            for span in spans:
                streams.append(await self._context.run(self._open, kept, span))  # noqa: PERF401 - closed below, however many
        except BaseException:
            for stream in streams:
                stream.close()
            raise

        async def pieces() -> AsyncIterator[bytes]:
            try:
                for head, stream in zip(heads, streams, strict=True):
                    yield head
                    async for piece in self._pieces.of(stream):
                        yield piece
                yield end
            finally:
                for stream in streams:
                    stream.close()

        return StreamingResponse(pieces(), 206, headers)
