"""Preflight requests and the access log: what happens around every request of the server.

Knows: ASGI, CORS, which whitelist concerns which path. Must not know: what endpoints do.
"""

from __future__ import annotations

import logging
import time
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..gate.errors import Reason, SecureDeliveryError
from ..gate.hosts import parse_origin
from ..gate.model import Application
from . import counting
from .http import Context, error_response, raw_path, raw_query, redact, single, whitelist_for
from .tus import options_headers

access = logging.getLogger("secure_delivery.access")

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: Headers that pages and official clients send: those of the SDKs must be named or browsers stop them.
_HEADERS = (
    "Authorization, Content-Type, Content-MD5, Range, If-Match, If-None-Match, If-Range, Filestack-Source, Filestack-Trace-Id, "
    "Filestack-Trace-Span, Filestack-Upload-Region, Tus-Resumable, Upload-Length, Upload-Defer-Length, Upload-Offset, "
    "Upload-Metadata, Upload-Concat, Upload-Checksum, X-HTTP-Method-Override, X-Requested-With, "
    "X-FilePreviews-Client-User-Agent, Idempotency-Key"
)
_AGE = "600"  # seconds; short, because whitelists change


class Preflights:
    """Answers `OPTIONS` from the whitelist of the application that the URL names."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            response = await self._answer(request)
            if raw_path(request).startswith("/tus/"):
                response.headers.update(options_headers(self._context))
        except SecureDeliveryError as fault:
            response = error_response(fault.status, fault.code, fault.public)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        origin = single(request, "origin")
        allowed = {"allow": _METHODS, "content-length": "0"}
        if origin is None:
            return Response(None, 204, allowed)
        vary = {"vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
        application = await self._application(request)
        whitelist = whitelist_for(request, application)
        if whitelist is not None:
            host = parse_origin(origin)
            if host is None or not whitelist.allows(host):
                counting.refused(request.scope, Reason.ORIGIN_NOT_ALLOWED.value, application.api_key if application else None)
                return error_response(403, "origin_not_allowed", "Requests from this site are not allowed.", vary)
        granted = {
            "access-control-allow-origin": "*" if whitelist is None else origin,
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": _HEADERS,
            "access-control-max-age": _AGE,
        }
        return Response(None, 204, allowed | granted | vary)

    async def _application(self, request: Request) -> Application | None:
        """The application that the URL names by its key, in query or path, or by the file it ends in."""
        records = self._context.engine.records
        named = [part[4:] for part in raw_query(request).split("&") if part.startswith("key=")]
        segments = [unquote(part) for part in raw_path(request).split("/") if part]
        for key in (*named, *segments[:2]):
            found = await self._context.query(records.application, key)
            if found is not None:
                return found
        for handle in segments[-1:] + segments[-2:-1]:
            link = await self._context.query(records.file, handle.partition("+")[0])
            if link is not None:
                return await self._context.query(records.application, link.application)
        return None


class AccessLog:
    """One line per request: method, path and query with credentials cut, status, milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not access.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            query = scope["query_string"].decode("latin-1")
            target = redact(scope["path"] + ("?" + query if query else ""))
            access.info("%s %s %d %.1f ms", scope["method"], target, status, (time.perf_counter() - began) * 1000)
