"""The door of the portal: who comes in, by which way, and how they are answered.

Knows: requests, cookies, tokens against forged requests, headers that make pages safe. Must not know: what any room is about.

In order: the transport (security promise 68), the body, who it is, forgery (64), what they may (scopes), the password once more
where it is asked for (66), and then the room. Whatever is refused is answered in the way it was asked: a page for people, JSON
for programs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ...engine.account_rows import new_token
from ...engine.sessions import csrf_matches, csrf_token
from ...engine.sign_in import SignInRefused
from ...engine.throttle import TooManyAttempts
from ...gate.errors import (
    BadRequest,
    ConfigurationError,
    MethodNotAllowed,
    NotFound,
    SecureDeliveryError,
)
from .. import counting
from ..http import Context, raw_path, redact, single
from ..transport import hsts, peer_of, refusal
from .fields import BadField, Fields, is_whole
from .frame import API, Action, Ask, Done, Raw, View
from .render import Renderer, seconds
from .visitor import ForgedRequest, NotAllowed, NotSignedIn, PasswordNeeded, Visitor, visitor_of
from .wire import (
    DEVICE_COOKIE,
    DEVICE_SECONDS,
    FORM_COOKIE,
    JSON_HEADERS,
    LONGEST_TO,
    NOTE_COOKIE,
    PAGE_HEADERS,
    SESSION_COOKIE,
    cookie_of,
    here,
    query_of,
    read_body,
    set_cookie,
    wanted,
    within,
)

logger = logging.getLogger("secure_delivery.server")

Endpoint = Callable[[Request], Awaitable[Response]]

_SAFE = frozenset({"GET", "HEAD"})
#: Fields that are never shown again in a form that was refused.
_UNREPEATED = frozenset({"csrf", "password", "new_password", "old_password", "again", "secret", "code"})


class Door:
    """Makes endpoints of views and actions."""

    def __init__(self, context: Context, renderer: Renderer, views: Mapping[str, View]) -> None:
        self._context = context
        self._renderer = renderer
        self._views = views

    # -- endpoints

    def page(self, view: View) -> Endpoint:
        """The page of a view."""

        async def answer(request: Request) -> Response:
            ask = await self._ask(request, view.scope, api=False)
            values = await self._context.run(view.show, ask)
            return await self._page(request, ask, view.page, view.title, values)

        return self._guarded(answer, api=False)

    def told(self, view: View) -> Endpoint:
        """A view as JSON."""

        async def answer(request: Request) -> Response:
            ask = await self._ask(request, view.scope, api=True)
            return JSONResponse(await self._context.run(view.show, ask), 200, JSON_HEADERS)

        return self._guarded(answer, api=True)

    def form(self, action: Action) -> Endpoint:
        """The form of an action: afterwards the browser is sent on, or its page is shown again with what was wrong."""

        async def answer(request: Request) -> Response:
            ask = await self._ask(request, action.scope, api=False)
            try:
                if action.fresh:
                    ask = await self._fresh(request, ask)
                done = await self._context.run(action.do, ask)
            except PasswordNeeded as fault:
                if action.by_form:
                    wrong = BadField("password", str(fault.args[0]) if fault.args else PasswordNeeded.sentence)
                    return await self._again(request, ask, action, wrong)
                told = {"again": _repeated(ask.given), "says": action.says, "problem": str(fault.args[0]) if fault.args else ""}
                return await self._page(request, ask, "again.html", "Your password", {}, status=fault.status, **told)
            except SecureDeliveryError as fault:
                if not action.on or (fault.status >= 500 and not isinstance(fault, ConfigurationError)):
                    raise
                return await self._again(request, ask, action, _public(fault))
            return await self._done(request, ask, done)

        return self._guarded(answer, api=False)

    def done(self, action: Action) -> Endpoint:
        """An action for programs."""

        async def answer(request: Request) -> Response:
            ask = await self._ask(request, action.scope, api=True)
            if action.fresh:
                ask = await self._fresh(request, ask)
            done = await self._context.run(action.do, ask)
            response = JSONResponse(done.values, done.status, JSON_HEADERS)
            self._cookies(request, response, done)
            return response

        return self._guarded(answer, api=True)

    def raw(self, raw: Raw, *, api: bool) -> Endpoint:
        """An endpoint that answers for itself."""

        async def answer(request: Request) -> Response:
            ask = await self._ask(request, raw.scope, api=api, body=False, using=not raw.by_itself, in_address=raw.by_form)
            return await raw.answer(request, ask)

        return self._guarded(answer, api=api)

    # -- coming in

    def _guarded(self, endpoint: Endpoint, *, api: bool) -> Endpoint:
        async def answer(request: Request) -> Response:
            counting.is_kind(request.scope, counting.PORTAL)
            settings = self._context.engine.settings
            peer = peer_of(request.scope, settings)
            where = f"https://{urlsplit(self._portal(request)).netloc}{within(wanted(request))}"
            refused = refusal(peer, request.method, api=api or request.method not in _SAFE, location=where)
            if refused is not None:
                return refused
            try:
                response = await endpoint(request)
            except Exception as error:
                response = await self._fault(request, error, api=api)
            if (renewed := getattr(request.state, "renewed", None)) is not None:
                set_cookie(response, SESSION_COOKIE, renewed, None)
            response.headers.update(hsts(peer))
            return response

        return answer

    async def _ask(
        self,
        request: Request,
        scope: str | None,
        *,
        api: bool,
        body: bool = True,
        using: bool = True,
        in_address: bool = False,
    ) -> Ask:
        engine = self._context.engine
        peer = peer_of(request.scope, engine.settings)
        if not all(is_whole(str(each)) for each in request.path_params.values()):  # no name is, and not every database asks
            raise NotFound("no such name", public="There is nothing here.")
        visitor = await self._context.run(lambda: visitor_of(engine, request, peer.address, tokens=api, using=using))
        given = Fields()
        changing = request.method not in _SAFE
        if changing and body:
            given = await read_body(request)
        ask = Ask(
            context=self._context,
            visitor=visitor,
            path=request.path_params,
            query=Fields.of_form(query_of(request)),
            given=given,
            address=peer.address,
            portal=self._portal(request),
            files=self._files(request),
            device=cookie_of(request, DEVICE_COOKIE) or None,
            cookie=cookie_of(request, SESSION_COOKIE),
        )
        request.state.ask = ask
        if scope is not None and visitor is None:
            raise NotSignedIn
        if changing:
            self._check_forgery(request, visitor, ask.query if in_address else given)
        if visitor is not None and not visitor.may(scope):
            raise NotAllowed
        return ask

    def _check_forgery(self, request: Request, visitor: Visitor | None, given: Fields) -> None:
        """Security promise 64. Programs with a token of theirs send no cookie that a stranger's page could make use of."""
        if visitor is not None and visitor.session is None:
            return
        origin = single(request, "origin")
        if origin != self._portal(request):
            raise ForgedRequest(f"origin {origin!r}")
        bound = visitor.token if visitor is not None else cookie_of(request, FORM_COOKIE)
        shown = single(request, "x-csrf-token") or given.get("csrf")
        if not bound or not isinstance(shown, str) or not csrf_matches(bound, shown):
            raise ForgedRequest("token")

    async def _fresh(self, request: Request, ask: Ask) -> Ask:
        """The same, from somebody who has given the password within minutes. Where it was given now, the session has a new
        token from here on, whatever comes of the action."""
        visitor = ask.who
        if visitor.fresh(ask.now):
            return ask
        password = ask.given.secret("password")
        if not password:
            raise PasswordNeeded
        people = self._context.engine.people
        try:
            token = await self._context.run(lambda: people.sign_in.again(visitor.token, password, address=ask.address))
        except SignInRefused:
            raise PasswordNeeded("The password is not right.") from None
        session = await self._context.run(people.sessions.find, token)
        if session is None:
            raise NotSignedIn
        renewed = replace(ask, visitor=replace(visitor, session=session, token=token))
        request.state.renewed, request.state.ask = token, renewed
        return renewed

    # -- going out

    async def _done(self, request: Request, ask: Ask, done: Done) -> Response:
        if done.page:
            given = _repeated(ask.given)  # what is shown stands beside the form it came from
            response = await self._page(request, ask, done.page, done.title, done.values, status=done.status, given=given)
        else:
            response = Response(None, 303, PAGE_HEADERS | {"location": within(done.to)})
            if done.note:
                set_cookie(response, NOTE_COOKIE, quote(done.note[:1000], errors="replace"), 60)
        self._cookies(request, response, done)
        return response

    async def _again(self, request: Request, ask: Ask, action: Action, fault: SecureDeliveryError) -> Response:
        """The page of a form that was refused, with what was given and what is wrong."""
        view = self._views[action.on]
        values = await self._context.run(view.show, replace(ask, query=Fields()))
        told = {
            "problem": fault.public,
            "wrong": fault.field if isinstance(fault, BadField) else "",
            "given": _repeated(ask.given),
            "form": action.path,
        }
        response = await self._page(request, ask, view.page, view.title, values, status=fault.status, **told)
        response.headers.update(_when_again(fault))
        return response

    async def _page(
        self,
        request: Request,
        ask: Ask,
        template: str,
        title: str,
        values: Mapping[str, Any],
        *,
        status: int = 200,
        **told: Any,
    ) -> Response:
        bound, fresh = ask.visitor.token if ask.visitor is not None else cookie_of(request, FORM_COOKIE), ""
        if not bound:
            bound = fresh = new_token()
        note = unquote(cookie_of(request, NOTE_COOKIE))[:1000]
        text = await self._context.run(
            lambda: self._renderer.page(
                template, ask, title=title, values=values, csrf=csrf_token(bound), note=note, where=here(request), **told
            )
        )
        response = Response(text, status, PAGE_HEADERS | {"content-type": "text/html; charset=utf-8"})
        if fresh:
            set_cookie(response, FORM_COOKIE, fresh, None)
        if note:
            set_cookie(response, NOTE_COOKIE, "", 0)
        return response

    def _cookies(self, request: Request, response: Response, done: Done) -> None:
        if done.session is not None:
            request.state.renewed = None
            set_cookie(response, SESSION_COOKIE, done.session, None if done.session else 0)
        if done.device is not None:
            set_cookie(response, DEVICE_COOKIE, done.device, DEVICE_SECONDS)

    async def _fault(self, request: Request, error: Exception, *, api: bool) -> Response:
        if isinstance(error, ClientDisconnect):
            error = BadRequest("the body ended early", public="The body of the request ended too early.")
        if isinstance(error, HTTPException):
            error = NotFound(str(error.detail), public="There is nothing here.")
        if not isinstance(error, SecureDeliveryError):
            logger.error("%s %s failed: %s", request.method, redact(raw_path(request)), type(error).__name__, exc_info=error)
            error = SecureDeliveryError("unforeseen")
        fault = _public(error)
        headers = _when_again(fault)
        if not isinstance(fault, NotSignedIn):
            level = logging.ERROR if fault.status >= 500 else logging.INFO
            logger.log(level, "%s %s: %s", request.method, redact(raw_path(request)), fault.code)
        if fault.status in (401, 403, 429):
            counting.refused(request.scope, fault.code)
        if api:
            if fault.status == 401:
                headers["www-authenticate"] = 'Bearer realm="secure_delivery"'
            body: dict[str, Any] = {"code": fault.code, "message": fault.public}
            if isinstance(fault, BadField):
                body["field"] = fault.field
            return JSONResponse({"error": body}, fault.status, JSON_HEADERS | headers)
        if isinstance(fault, NotSignedIn):
            to = wanted(request)
            back = f"?to={quote(to, safe='/')}" if request.method in _SAFE and to != "/" and len(to) <= LONGEST_TO else ""
            return Response(None, 303, PAGE_HEADERS | {"location": f"/sign-in{back}"})
        return await self._error_page(request, fault, headers)

    async def nothing(self, request: Request, error: Exception) -> Response:
        """Answer what no room is at."""
        return await self._fault(request, error, api=str(request.scope["path"]).startswith(API + "/"))

    def wrong_method(self, request: Request, methods: Sequence[str]) -> Response:
        """Answer a method that a path does not have."""
        allow = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
        body = {"error": {"code": MethodNotAllowed.code, "message": MethodNotAllowed.sentence}}
        return JSONResponse(body, 405, JSON_HEADERS | {"allow": allow})

    async def _error_page(self, request: Request, fault: SecureDeliveryError, headers: Mapping[str, str]) -> Response:
        ask = getattr(request.state, "ask", None) or Ask(
            context=self._context,
            visitor=None,
            path={},
            query=Fields(),
            given=Fields(),
            address="",
            portal=self._portal(request),
            files=self._files(request),
        )
        values = {"status": fault.status, "code": fault.code, "sentence": fault.public}
        response = await self._page(request, ask, "error.html", "This did not work", values, status=fault.status)
        response.headers.update(headers)
        return response

    # -- where we are

    def _portal(self, request: Request) -> str:
        """The origin of the portal: as the settings say, else as it was asked for."""
        settings = self._context.engine.settings
        if settings.portal_url:
            parts = urlsplit(settings.portal_url)
            return f"{parts.scheme}://{parts.netloc}"
        peer = peer_of(request.scope, settings)
        port = f":{peer.port}" if peer.port is not None else ""
        return f"{peer.scheme}://{peer.host}{port}"

    def _files(self, request: Request) -> str:
        """The origin of the service, with its prefix: as the settings say, else that of the portal without its first name."""
        settings = self._context.engine.settings
        if settings.public_url:
            return settings.public_url.rstrip("/")
        portal = urlsplit(self._portal(request))
        return f"{portal.scheme}://{portal.netloc.removeprefix('portal.')}"


def _public(fault: SecureDeliveryError) -> SecureDeliveryError:
    """A fault as a visitor is told of it. What settings of an application cannot be is the visitor's mistake here."""
    if isinstance(fault, ConfigurationError):
        return BadField("", str(fault)[:500])
    if isinstance(fault, TooManyAttempts):
        fault.public = f"Too many attempts. Try again in {seconds(fault.retry_after)}."
    return fault


def _when_again(fault: SecureDeliveryError) -> dict[str, str]:
    """The header that says when it is worth asking again."""
    if isinstance(fault, TooManyAttempts):
        return {"retry-after": str(fault.retry_after)}
    return {"retry-after": "2"} if fault.status in (429, 503) else {}


def _repeated(given: Fields) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _UNREPEATED}


__all__ = ["Door"]
