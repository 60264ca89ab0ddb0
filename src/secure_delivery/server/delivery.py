"""Delivery and transformation: everything whose address is `/[KEY/]{task/}HANDLE`.

Knows: the grammar's result, the engine, HTTP. Must not know: how a chain runs, how files are kept.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from secrets import token_hex
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..engine.convert import Plan, bind
from ..engine.records import FileLink
from ..engine.renditions import Rendition
from ..engine.sources import SourceFile
from ..gate.errors import Busy, NotFound, Unsupported
from ..gate.model import Application, Decision
from ..gate.policy import Call
from ..gate.taskurl import SourceKind, TaskURL, parse
from .http import Context, cache_control, content_headers, cors_headers, flag, parameters, raw_path, raw_query
from .once import Renderer
from .ranges import Span, answer, http_date

SMALL = 262_144  # bytes up to which a file is read in one go and sent as one message: a thread hop costs more than that
_PIECE = 1 << 20
_REMEMBERED = 4096  # parsed paths
_REMEMBERED_LENGTH = 2048  # characters of a path and query worth remembering; with longer ones strangers could fill memory
_TRIES = 5  # times a file is looked up again that was overwritten between finding and opening it
_ISSUED_KEY = re.compile(r"[A-Za-z0-9]{22}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One stored representation, ready to be sent."""

    mimetype: str
    filename: str
    size: int
    etag: str
    modified: int


class Delivery:
    """The endpoint behind every path that is no API call."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.renderer = Renderer(context.engine)
        self._parsed: dict[tuple[str, str], tuple[object, TaskURL, Plan | None]] = {}

    async def answer(self, request: Request) -> Response:
        """`GET` or `HEAD` of a delivery or transformation URL."""
        url, plan = await self._understand(request)
        source = url.source
        if url.debug:
            raise Unsupported(public="This server does not explain transformations over HTTP.")
        if source is None or source.kind is not SourceKind.HANDLE:
            raise Unsupported(public="This server transforms stored files; the source must be a file handle.")
        if plan is None:
            return await self._deliver(request, url, source.text)
        return await self._transform(request, url, plan, source.text)

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
            content = Content(
                mimetype=link.mimetype, filename=link.filename, size=link.size, etag=link.sha256[:32], modified=link.uploaded
            )
            try:
                return await self._send(request, application, decision, content, link)
            except NotFound:  # the bytes are gone: for good, or because an overwrite was quicker than we
                link = await self._newer(link)
        raise Busy("the file was overwritten again and again")

    async def _newer(self, link: FileLink) -> FileLink:
        """The file as it is now, whose bytes under an older record are gone. Raises `NotFound`, also when it is no newer."""
        fresh = await self._context.query(self._context.engine.files.find, link.handle)
        if fresh.version == link.version or fresh.application != link.application:
            raise NotFound(f"the bytes of {link.handle} are gone")
        return fresh

    # -- a chain on a file

    async def _transform(self, request: Request, url: TaskURL, plan: Plan, handle: str) -> Response:
        context, engine = self._context, self._context.engine
        acting = await context.application(url.api_key) if url.api_key is not None else None
        link = await context.query(engine.files.find, handle)
        owner = await context.owner(link.application)
        decision = context.judge(
            request, acting or owner, *plan.calls, handle=handle, signed=url.signed, use_query=not url.takes_query
        )
        if acting is not None and acting.api_key != owner.api_key:
            # Another application's file: its own rules hold for reading it, and this URL shows no credential for them.
            context.judge(request, owner, Call.READ, handle=handle, use_query=False)
        rendition = None
        for _ in range(_TRIES):
            sources = [SourceFile.stored(link, engine.files)]
            try:
                rendition = engine.renditions.find(owner, sources, plan)
                if rendition is None:
                    rendition = await self.renderer.get(owner, sources, plan)
                content = Content(
                    mimetype=rendition.mimetype,
                    filename=rendition.filename,
                    size=rendition.size,
                    etag=rendition.etag,
                    modified=rendition.created,
                )
                return await self._send(request, acting or owner, decision, content, rendition)
            except NotFound:
                link = await self._after_loss(link, rendition)
        raise Busy("the file was overwritten again and again")

    async def _after_loss(self, link: FileLink, rendition: Rendition | None) -> FileLink:
        """What to transform after bytes were not there: the file as it is now, its lost result forgotten. Raises `NotFound`."""
        fresh = await self._context.query(self._context.engine.files.find, link.handle)
        if fresh.version != link.version or rendition is None:
            return await self._newer(link)
        await self._context.run(self._context.engine.renditions.forget, rendition)
        return fresh

    # -- sending

    async def _send(
        self, request: Request, application: Application, decision: Decision, content: Content, kept: FileLink | Rendition
    ) -> Response:
        settings = self._context.engine.settings
        headers = content_headers(content.mimetype, content.filename, download=flag(parameters(request), "dl"))
        headers["etag"] = f'"{content.etag}"'
        headers["last-modified"] = http_date(content.modified)
        headers["accept-ranges"] = "bytes"
        headers["cache-control"] = cache_control(
            decision, application, open_age=settings.rendition_max_age, now=self._context.engine.clock()
        )
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
        if plan.status == 200:
            return await self._send_span(request, kept, Span(0, content.size), 200, headers)
        if len(plan.spans) == 1:
            span = plan.spans[0]
            headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{content.size}"
            return await self._send_span(request, kept, span, 206, headers)
        return await self._send_spans(kept, plan.spans, content.size, headers)

    def _open(self, kept: FileLink | Rendition, span: Span) -> BinaryIO:
        engine = self._context.engine
        length = span.stop - span.start
        if isinstance(kept, FileLink):
            return engine.files.open(kept, start=span.start, length=length)
        return engine.renditions.open(kept, start=span.start, length=length)

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
            with self._open(kept, span) as stream:
                return Response(stream.read(), status, headers)
        stream = await self._context.run(self._open, kept, span)
        return StreamingResponse(self._pieces(stream), status, headers)

    async def _pieces(self, stream: BinaryIO) -> AsyncIterator[bytes]:
        try:
            while piece := await self._context.run(stream.read, _PIECE):
                yield piece
        finally:
            stream.close()

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
                    async for piece in self._pieces(stream):
                        yield piece
                yield end
            finally:
                for stream in streams:
                    stream.close()

        return StreamingResponse(pieces(), 206, headers)
