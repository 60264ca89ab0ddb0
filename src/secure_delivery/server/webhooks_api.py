"""Webhooks over HTTP: endpoints of an application, and the log of what was sent to them.

Knows: the members of requests and answers. Must not know: how anything is sent or kept.

For an application's own programs: they show API key and secret by HTTP Basic, and see what is theirs. A secret of a webhook is
in the answer that made it, and in no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.webhook_log import STATES, Delivery
from ..engine.webhooks import EVENTS, Endpoint, Webhooks
from ..gate.errors import BadRequest
from . import bodies
from .basic import authenticated
from .http import Context, parameters

_NO_STORE = {"cache-control": "no-store"}
_LONGEST_URL = 2048
_LARGEST_PAGE = 1000
_MEMBERS = frozenset({"url", "events", "active", "secret"})
_ASKED = frozenset({"webhook", "state", "event", "job", "after", "limit"})


class WebhooksAPI:
    """The endpoints under `/api/v1/webhooks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def _webhooks(self) -> Webhooks:
        return self._context.engine.webhooks

    # -- endpoints

    async def collection(self, request: Request) -> Response:
        """`GET`: all of them, and the events there are. `POST`: a new one, with its secret."""
        application = await authenticated(self._context, request)
        endpoints = self._webhooks.endpoints
        if request.method != "POST":
            found = await self._context.run(endpoints.of, application.api_key)
            return _answer({"webhooks": [described_webhook(each) for each in found], "events": list(EVENTS)})
        values = await _members(request, _MEMBERS)
        url = bodies.text(values, "url", longest=_LONGEST_URL)
        if url is None:
            raise BadRequest("no url", public="url is the address that events are sent to.")
        events, active, given = _events(values) or (), _active(values) is not False, _text(values, "secret")
        made, secret = await self._context.run(
            lambda: endpoints.add(application.api_key, url, events=events, active=active, secret=given)
        )
        return _answer(described_webhook(made) | {"secret": secret}, 201)

    async def one(self, request: Request) -> Response:
        """`GET`, `PATCH` and `DELETE` of an endpoint."""
        application, name = await authenticated(self._context, request), request.path_params["webhook"]
        endpoints = self._webhooks.endpoints
        if request.method == "DELETE":
            await self._context.run(endpoints.remove, application.api_key, name)
            return Response(status_code=204, headers=_NO_STORE)
        if request.method == "PATCH":
            values = await _members(request, _MEMBERS - {"secret"})
            url = bodies.text(values, "url", longest=_LONGEST_URL)
            events, active = _events(values), _active(values)
            found = await self._context.run(
                lambda: endpoints.change(application.api_key, name, url=url, events=events, active=active)
            )
        else:
            found = await self._context.run(endpoints.get, application.api_key, name)
        return _answer(described_webhook(found))

    async def rotate(self, request: Request) -> Response:
        """`POST`: a new secret; the one before signs too for `grace` seconds, a day unless said otherwise."""
        application, name = await authenticated(self._context, request), request.path_params["webhook"]
        values = await _members(request, frozenset({"grace", "secret"}))
        grace, given = bodies.whole(values, "grace"), _text(values, "secret")
        endpoints = self._webhooks.endpoints
        more = {} if grace is None else {"grace": grace}
        made, secret = await self._context.run(lambda: endpoints.rotate(application.api_key, name, secret=given, **more))
        return _answer(described_webhook(made) | {"secret": secret})

    async def test(self, request: Request) -> Response:
        """`POST`: send an event of our own, and say what came of it."""
        application, name = await authenticated(self._context, request), request.path_params["webhook"]
        # In one of the threads that may wait for others: an endpoint may take its time.
        done = await self._context.fetch(application, lambda: self._webhooks.test(application.api_key, name))
        return _answer(described_delivery(done))

    # -- the log

    async def deliveries(self, request: Request) -> Response:
        """`GET`: a page of the log, newest first; `after` of the next page is in `next`."""
        application = await authenticated(self._context, request)
        values = parameters(request)
        if unknown := sorted(values.keys() - _ASKED):
            raise BadRequest(f"{unknown[0]!r} is unknown", public=f"deliveries know no '{unknown[0][:60]}'.")
        limit = bodies.whole(dict(values), "limit", least=1, most=_LARGEST_PAGE) or 100
        only = {name: values[name] for name in ("webhook", "state", "event", "job", "after") if values.get(name)}
        if only.get("state", STATES[0]) not in STATES:
            raise BadRequest("unknown state", public=f"state is one of {', '.join(STATES)}.")
        page = await self._context.run(lambda: self._webhooks.log.page(application.api_key, limit=limit, **only))
        following = page[-1].id if len(page) == limit else None
        return _answer({"deliveries": [described_delivery(each) for each in page], "next": following})

    async def delivery(self, request: Request) -> Response:
        """`GET`: one delivery with all its tries."""
        application, name = await authenticated(self._context, request), request.path_params["delivery"]

        def look() -> dict[str, Any]:
            found = self._webhooks.log.one(name, application=application.api_key)
            return described_delivery(found) | {"tries": [asdict(each) for each in self._webhooks.log.tries(name)]}

        return _answer(await self._context.run(look))

    async def redeliver(self, request: Request) -> Response:
        """`POST`: send it once more, with the same event id. Answers when that is written down, not when it arrived."""
        application, name = await authenticated(self._context, request), request.path_params["delivery"]
        again = await self._context.run(lambda: self._webhooks.redeliver(name, application=application.api_key))
        return _answer(described_delivery(again), 202)


def described_webhook(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as plain values, without its secrets; an empty list of events means all. Times are in seconds."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "state": endpoint.state,
        "created": _seconds(endpoint.created),
        "previous_secret_until": _seconds(endpoint.until),
    }


def described_delivery(delivery: Delivery) -> dict[str, Any]:
    """A delivery as plain values. Times are in seconds; `webhook` is null where a request named the address."""
    values = asdict(delivery)
    for name in ("application", "kept"):
        del values[name]
    return values | {name: _seconds(values[name]) for name in ("created", "due", "finished")}


def _seconds(moment: int | None) -> float | None:
    return None if moment is None else moment / 1000


def _answer(values: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(values, status, _NO_STORE)


async def _members(request: Request, known: frozenset[str]) -> dict[str, Any]:
    """The members of the body, which may be empty. Raises `BadRequest` for one that is not known."""
    headers = request.headers
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    values = {} if empty else await bodies.members(request)
    if unknown := sorted(values.keys() - known):
        raise BadRequest(f"{unknown[0]!r} is unknown", public=f"There is no member '{unknown[0][:60]}' here.")
    return values


def _text(values: Mapping[str, Any], name: str) -> str | None:
    return bodies.text(dict(values), name, longest=200)


def _events(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The events that are named, None when there is no word of them. A form names them with commas."""
    given = values.get("events")
    if given is None:
        return None
    if isinstance(given, str):
        given = [item.strip() for item in given.split(",") if item.strip()]
    if not isinstance(given, list) or len(given) > len(EVENTS) or not all(isinstance(item, str) for item in given):
        raise BadRequest("events", public=f"events is a list of names: {', '.join(EVENTS)}; an empty one means all.")
    return tuple(given)


def _active(values: Mapping[str, Any]) -> bool | None:
    given = values.get("active")
    if given is None or isinstance(given, bool):
        return given
    if given in ("true", "false"):
        return bool(given == "true")
    raise BadRequest("active", public="active is true or false.")
