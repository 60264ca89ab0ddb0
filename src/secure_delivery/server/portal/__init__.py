"""The developer portal: a site of its own, on a host of its own, beside the files that it looks after.

Knows: which rooms there are, which host is the portal's. Must not know: what rooms do.

The portal's host name is the setting `portal_host`, or that of `portal_url`. Every other host is the service (security promise
54): what strangers uploaded is never of the same origin as a page of the portal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...gate.errors import SecureDeliveryError
from ..http import Context
from ..transport import peer_of
from . import (
    applications,
    audit,
    debugger,
    entry,
    files,
    health,
    jobs,
    me,
    people,
    pictures,
    playground,
    policies,
    security,
    start,
    storages,
    usage,
    webhooks,
    whitelists,
)
from .door import Door
from .frame import API, Room
from .render import Renderer
from .statics import answer as static

__all__ = ["ROOMS", "Portal"]

#: Every room, in the order of the list of the API.
ROOMS: tuple[Room, ...] = (
    entry.ROOM,
    start.ROOM,
    applications.ROOM,
    whitelists.ROOM,
    policies.ROOM,
    debugger.ROOM,
    files.ROOM,
    pictures.ROOM,
    playground.ROOM,
    storages.ROOM,
    jobs.ROOM,
    webhooks.ROOM,
    usage.ROOM,
    health.ROOM,
    security.ROOM,
    people.ROOM,
    me.ROOM,
    audit.ROOM,
)

Endpoint = Callable[[Request], Awaitable[Response]]


class Portal:
    """An ASGI app around another: answers what is asked of the portal's host, and leaves the rest to the other."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._settings = context.engine.settings
        self._host = self._settings.portal_name
        self._portal = _site(context) if self._host else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chosen = self._portal if scope["type"] == "http" and self._host and self._is_ours(scope) else self._app
        await chosen(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        if self._settings.proxies:
            return peer_of(scope, self._settings).host == self._host
        for name, value in scope["headers"]:
            if name == b"host" and bytes(value).partition(b":")[0].lower() == self._host.encode():
                return peer_of(scope, self._settings).host == self._host  # read strictly, but for our own visitors only
        return False


def _site(context: Context) -> Starlette:
    views = {view.path: view for room in ROOMS for view in room.views}
    door = Door(context, Renderer(context.engine.clock), views)
    methods: dict[str, dict[str, Endpoint]] = {}

    def put(path: str, method: str, endpoint: Endpoint) -> None:
        known = methods.setdefault(path, {})
        if method in known:
            raise ValueError(f"{method} {path} is there twice")
        known[method] = endpoint

    for path, method, endpoint in _endpoints(door):
        put(path, method, endpoint)
    put("/static/{version}/{name}", "GET", static)
    site = Starlette(
        routes=[Route(path, _ByMethod(door, found)) for path, found in sorted(methods.items(), key=_specific)],
        exception_handlers={HTTPException: door.nothing, Exception: door.nothing},
    )
    site.router.redirect_slashes = False
    return site


def _specific(item: tuple[str, object]) -> tuple[bool, list[tuple[bool, str]]]:
    """Named parts of a path come before those that take anything."""
    return "path}" in item[0], [("{" in part, part) for part in item[0].split("/")]


def _endpoints(door: Door) -> Iterator[tuple[str, str, Endpoint]]:
    for room in ROOMS:
        for view in room.views:
            yield view.path, "GET", door.page(view)
            if view.api:
                yield API + view.path, "GET", door.told(view)
        for action in room.actions:
            yield action.path, "POST", door.form(action)
            if action.api:
                yield API + action.path, "POST", door.done(action)
        for raw in room.raws:
            yield raw.path, raw.method, door.raw(raw, api=False)
            yield API + raw.path, raw.method, door.raw(raw, api=True)


class _ByMethod:
    """One path with all of its methods, as an ASGI app: no other path that fits is tried for a method that is missing."""

    def __init__(self, door: Door, endpoints: dict[str, Endpoint]) -> None:
        self._door = door
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        method = "GET" if request.method == "HEAD" and "HEAD" not in self._endpoints else request.method
        endpoint = self._endpoints.get(method)
        if endpoint is None:
            response = self._door.wrong_method(request, [*self._endpoints])
        else:
            try:
                response = await endpoint(request)
            except (HTTPException, SecureDeliveryError) as error:
                response = await self._door.nothing(request, error)
        await response(scope, receive, send)
