"""The standalone server: `create_app(settings)` gives an ASGI app, to be served or mounted.

Knows: which path is which endpoint. Must not know: what endpoints do.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..engine import Engine, build
from ..engine.settings import Settings
from ..gate.errors import Busy, MethodNotAllowed, SecureDeliveryError
from .cors import AccessLog, Preflights
from .delivery import Delivery
from .file_api import FileAPI
from .http import Context, Denied, error_response, on_crash, on_denied, on_fault
from .ops import Ops

__all__ = ["application", "create_app"]

logger = logging.getLogger("secure_delivery.server")

_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


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
    ops = Ops(context)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(engine.start)
        yield
        await anyio.to_thread.run_sync(engine.close)

    async def home(_: Request) -> Response:
        return JSONResponse({"service": "secure_delivery", "health": "health/ready"})

    async def not_allowed(_: Request) -> Response:
        raise MethodNotAllowed

    def every_method(path: str, *pairs: tuple[list[str], object]) -> list[Route]:
        routes = [Route(path, endpoint, methods=methods) for methods, endpoint in pairs]  # type: ignore[arg-type]
        return [*routes, Route(path, not_allowed, methods=_EVERY_METHOD)]

    app = Starlette(
        routes=[
            *every_method("/", (["GET"], home)),
            *every_method("/health/live", (["GET"], ops.live)),
            *every_method("/health/ready", (["GET"], ops.ready)),
            *every_method("/api/store/{provider}", (["POST"], files.store)),
            *every_method("/api/file/{handle}/metadata", (["GET"], files.metadata)),
            *every_method("/api/file/{handle}", (["GET", "POST", "PUT", "DELETE"], files.file)),
            *every_method("/{handle}/metadata", (["GET"], files.metadata)),
            Route("/{rest:path}", delivery.answer, methods=_EVERY_METHOD),
        ],
        exception_handlers={
            Denied: on_denied,
            SecureDeliveryError: on_fault,
            404: _on_unrouted,
            OperationalError: _on_database,
            Exception: on_crash,
        },
        middleware=[
            Middleware(AccessLog),
            Middleware(Preflights, context=context),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine = engine
    return app


async def _on_unrouted(_: Request, __: Exception) -> Response:
    return error_response(404, "not_found", "There is nothing here.")


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
