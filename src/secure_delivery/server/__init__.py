"""The standalone server: `create_app(settings)` gives an ASGI app, to be served or mounted.

Knows: which path is which endpoint. Must not know: what endpoints do.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..engine import Engine, build
from ..engine.settings import Settings
from ..gate.errors import Busy, SecureDeliveryError
from .capabilities_api import CapabilitiesAPI
from .cors import AccessLog, Preflights
from .counting import Counting
from .delivery import Delivery
from .demo_receiver import DemoReceiver
from .file_api import FileAPI
from .hot import Hot
from .http import Context, Denied, on_crash, on_denied, on_disconnect, on_fault, on_http
from .legacy import Legacy
from .metrics import Metrics
from .multipart import MultipartUploads
from .ops import Ops
from .pages import Pages
from .picker import Picker
from .portal import Portal
from .previews_api import PreviewsAPI
from .process import Process
from .tus import Tus
from .webhooks_api import WebhooksAPI

__all__ = ["application", "create_app"]

logger = logging.getLogger("secure_delivery.server")


def create_app(settings: Settings | None = None, *, engine: Engine | None = None) -> Starlette:
    """The server as an ASGI app.

    `settings` default to file and environment; `engine` hands over one that was built already. The app can be mounted under
    a prefix in another Starlette or FastAPI app: `app.mount("/files", create_app(settings))`. A mounted app gets no
    lifespan, so the decoders start with the first request that needs them; the host closes `app.state.engine`.

    Raises `ConfigurationError` for settings that should stop a start.
    """
    engine = engine or build(settings or Settings.load())
    context = Context(engine)
    delivery = Delivery(context)
    files = FileAPI(context, delivery)
    legacy = Legacy(context, delivery)
    multipart = MultipartUploads(context)
    tus = Tus(context)
    process = Process(context, delivery)
    picker = Picker(context, delivery)
    pages = Pages(context)
    previews = PreviewsAPI(context, delivery)
    webhooks = WebhooksAPI(context)
    ops = Ops(context)
    metrics = Metrics(engine)
    capabilities = CapabilitiesAPI(context)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(engine.start)
        yield
        await anyio.to_thread.run_sync(engine.close)

    async def home(_: Request) -> Response:
        return JSONResponse({"service": "secure_delivery", "health": "health/ready"})

    app = Starlette(
        routes=[
            *_only("/", home, "GET"),
            *_only("/health/live", ops.live, "GET"),
            *_only("/health/ready", ops.ready, "GET"),
            *_only("/metrics", metrics.answer, "GET"),
            *_only("/api/capabilities", capabilities.answer, "GET"),
            *_only("/api/store/{provider}", files.store, "POST"),
            *_only("/api/store/{provider}/{handle}", files.copy, "POST"),
            *_only("/multipart/start", multipart.start, "POST"),
            *_only("/multipart/upload", multipart.upload, "POST"),
            *_only("/multipart/part/{token}/{number}/{offset}", multipart.part, "PUT"),
            *_only("/multipart/commit", multipart.commit, "POST"),
            *_only("/multipart/complete", multipart.complete, "POST"),
            *_only("/multipart/abort", multipart.abort, "POST"),
            *_only("/tus/{key}", tus.collection, "POST"),
            *_only("/tus/{key}/{token}", tus.one, "GET", "PATCH", "POST", "DELETE"),
            *_only("/upload/{key}", pages.upload_page, "GET"),
            *_only("/static/{name}", pages.static, "GET"),
            *_both("/v2/previews", previews.collection, "GET", "POST"),
            *_both("/v2/previews/{id}", previews.one, "GET", "DELETE"),
            *_both("/v2/previews/{id}/cancel", previews.cancel, "POST"),
            *_both("/v2/previews/{id}/retry", previews.retry, "POST"),
            *_only("/api/v1/webhooks", webhooks.collection, "GET", "POST"),
            *_only("/api/v1/webhooks/deliveries", webhooks.deliveries, "GET"),
            *_only("/api/v1/webhooks/deliveries/{delivery}", webhooks.delivery, "GET"),
            *_only("/api/v1/webhooks/deliveries/{delivery}/redeliver", webhooks.redeliver, "POST"),
            *_only("/api/v1/webhooks/{webhook}", webhooks.one, "GET", "PATCH", "DELETE"),
            *_only("/api/v1/webhooks/{webhook}/rotate", webhooks.rotate, "POST"),
            *_only("/api/v1/webhooks/{webhook}/test", webhooks.test, "POST"),
            *(_only("/demo/webhook", DemoReceiver(context).take, "POST") if engine.settings.demo_webhook else ()),
            *_only("/process", process.run, "POST"),
            *_only("/prefetch", picker.prefetch, "POST"),
            *_only("/folder/list", picker.listing, "POST"),
            *_only("/store/", picker.store, "POST"),
            *_only("/metadata", picker.metadata, "POST"),
            *_only("/auth/logout", picker.logout, "POST"),
            *_only("/recording/{kind}/{step}", picker.recording, "POST"),
            *_only("/api/file/{handle}/restore", files.restore, "POST"),
            *_only("/api/file/{handle}/metadata", files.metadata, "GET"),
            *_only("/api/file/{handle}/renditions", files.purge, "DELETE"),
            *_only("/api/file/{handle}/convert", legacy.convert, "GET", "POST"),
            *_only("/api/file/{handle}", files.file, "GET", "POST", "PUT", "DELETE"),
            *_only("/{handle}/metadata", files.metadata, "GET"),
            *_only("/{rest:path}", delivery.answer, "GET", some=("POST",)),
        ],
        exception_handlers={
            Denied: on_denied,
            SecureDeliveryError: on_fault,
            HTTPException: on_http,
            ClientDisconnect: on_disconnect,
            OperationalError: _on_database,
            Exception: on_crash,
        },
        middleware=[
            Middleware(AccessLog),
            Middleware(Portal, context=context),
            Middleware(Hot, context=context),
            Middleware(Counting, usage=engine.usage, reports=engine.reports),
            Middleware(Preflights, context=context),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine = engine
    return app


def _only(
    path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str, some: Sequence[str] = ()
) -> list[Route]:
    """A path with all of its methods; any other is a 405 here, rather than a match of the next path that fits.

    `some` are methods that only some addresses of this shape have: the endpoint knows which, and refuses the others.
    """
    named = [*methods, "HEAD", "OPTIONS"] if "GET" in methods else [*methods, "OPTIONS"]
    return [Route(path, endpoint, methods=[*methods, *some]), Route(path, _NotAllowed(named))]


def _both(path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str) -> list[Route]:
    """A path with and without a slash at its end: clients of the previews API differ, and none follows a redirect well."""
    return [*_only(path, endpoint, *methods), *_only(f"{path}/", endpoint, *methods)]


class _NotAllowed:
    """An ASGI app for every method that a path does not have, those included that nobody has heard of."""

    def __init__(self, methods: Sequence[str]) -> None:
        self._allow = ", ".join(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(405, headers={"allow": self._allow})


async def _on_database(request: Request, error: Exception) -> Response:
    """A database that is locked for too long or out of reach: asking again helps."""
    logger.error("database: %s", type(error).__name__, exc_info=error)
    return await on_fault(request, Busy("the database did not answer in time"))


def application() -> Starlette:
    """The factory that `secure-delivery serve` gives to each server process: settings from file and environment.

    The process is ours, so logging is set up here: one line per request and fault on standard error.
    """
    settings = Settings.load()
    ours = logging.getLogger("secure_delivery")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours.handlers = [handler]
    ours.propagate = False
    ours.setLevel(logging.WARNING if settings.quiet else logging.INFO)
    return create_app(settings)
