"""Guard one route instead of a path: `guard.require("read")`.

Knows: how a request is found in Flask, Django, Starlette and FastAPI. Must not know: how one judges, or any of these
frameworks before it is used with one: each is imported when its first request comes.

As a decorator it wraps a view or endpoint, sync or async, and answers a refusal itself. As a FastAPI dependency
(`Depends(guard.require("read"))`) it returns the `Decision` or raises `HTTPException`. Path parameters called `handle`,
`container`, `path` or `url` are facts; others can be given: `guard.require("pick", container="uploads")`.
The bytes of a body are not counted here: `maxSize` is judged on the declared length, and a body without one is refused
where the policy bounds it. Use a `Rule` to have uploads counted while they stream.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import BadRequest, Reason, SecureDeliveryError
from .guard import Guard, Reply, error_reply, fault_reply, one_credential, secret_from_authorization, signed_from_query
from .model import Decision, RequestFacts
from .policy import SignedPolicy
from .rules import FACTS, Rule

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Requirement:
    """What `guard.require(...)` gives: call it with a view to wrap it, or let FastAPI call it with a request."""

    def __init__(self, guard: Guard, call: str | Sequence[str], facts: Mapping[str, str]) -> None:
        self._guard = guard
        # A rule that is never matched by path reads the calls and facts, and refuses wrong ones, in one place.
        named: dict[str, Any] = dict(facts)
        self._rule = Rule("/", GET=call, **named)

    @property
    def __signature__(self) -> inspect.Signature:
        """What FastAPI looks at to learn that it should pass the request."""
        from starlette.requests import HTTPConnection

        parameter = inspect.Parameter("target", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)
        return inspect.Signature([parameter])

    def __call__(self, target: Any) -> Any:
        if hasattr(target, "scope"):
            return self._depend(target)
        if inspect.iscoroutinefunction(target):
            return self._wrap_async(target)
        return self._wrap(target)

    def judge(
        self,
        *,
        query: str,
        authorization: str | None,
        origin: str | None,
        referer: str | None,
        length: str | None,
        names: Mapping[str, Any],
    ) -> Decision:
        """Judge one request from its parts. Raises the faults of a malformed head."""
        shown = one_credential(signed_from_query(query), secret_from_authorization(authorization))
        given = {name: str(names[name]) for name in FACTS if name in names} | dict(self._rule.facts)
        size = None
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= 18):
                raise BadRequest("malformed Content-Length", public="The Content-Length is not a number.")
            size = int(length)
        facts = RequestFacts(
            calls=self._rule.calls["GET"],
            signed=shown if isinstance(shown, SignedPolicy) else None,
            secret=shown if isinstance(shown, str) else None,
            handle=given.get("handle"),
            container=given.get("container"),
            path=given.get("path"),
            url=given.get("url"),
            size=size,
            origin=origin,
            referer=referer,
        )
        decision = self._guard.decide_facts(facts, given.get("key"))
        if decision.allowed and size is None and decision.max_size is not None:
            return Decision(allowed=False, reason=Reason.TOO_BIG, policy=decision.policy, vary=decision.vary)
        return decision

    # -- Starlette and FastAPI

    def _judge_connection(self, connection: HTTPConnection, names: Mapping[str, Any]) -> Decision:
        headers = connection.headers
        decision = self.judge(
            query=connection.scope["query_string"].decode("latin-1"),
            authorization=headers.get("authorization"),
            origin=_single(headers.getlist("origin")),
            referer=_single(headers.getlist("referer")),
            length=headers.get("content-length"),
            names={**connection.path_params, **names},
        )
        connection.scope["secure_delivery.decision"] = decision
        return decision

    def _depend(self, connection: HTTPConnection) -> Decision:
        from starlette.exceptions import HTTPException

        try:
            decision = self._judge_connection(connection, {})
        except SecureDeliveryError as fault:
            detail = {"code": fault.code, "message": fault.public}
            raise HTTPException(fault.status, detail, {"cache-control": "no-store"}) from None  # type: ignore[arg-type]
        if not decision.allowed and not self._guard.report_only:
            public = decision.public
            headers = {"cache-control": "no-store"}
            if decision.vary:
                headers["vary"] = ", ".join(decision.vary)
            detail = {"code": public.code, "message": public.sentence}
            raise HTTPException(public.status, detail, headers)  # type: ignore[arg-type]
        return decision

    # -- decorators

    def _refusal(self, request: Any, names: Mapping[str, Any]) -> Reply | None:
        """Judge whatever request the framework at hand has; the answer to send instead of the view's, if any."""
        try:
            if hasattr(request, "scope") and hasattr(request, "path_params"):
                decision = self._judge_connection(request, names)
            else:
                environ = request.META if hasattr(request, "META") else _flask_environ()
                decision = self.judge(
                    query=environ.get("QUERY_STRING", ""),
                    authorization=environ.get("HTTP_AUTHORIZATION"),
                    origin=environ.get("HTTP_ORIGIN"),
                    referer=environ.get("HTTP_REFERER"),
                    length=environ.get("CONTENT_LENGTH") or None,
                    names=names,
                )
                environ["secure_delivery.decision"] = decision
        except SecureDeliveryError as fault:
            return fault_reply(fault)
        if decision.allowed or self._guard.report_only:
            return None
        public = decision.public
        return error_reply(public.status, public.code, public.sentence, vary=decision.vary)

    def _wrap(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(args, kwargs)
            reply = self._refusal(request, kwargs)
            return view(*args, **kwargs) if reply is None else _native(reply, request)

        return guarded

    def _wrap_async(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(args, kwargs)
            reply = self._refusal(request, kwargs)
            return await view(*args, **kwargs) if reply is None else _native(reply, request)

        return guarded


def _single(values: list[str]) -> str | None:
    return ", ".join(values) if values else None


def _request_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The request among a view's arguments: first, second (methods), or by name; `None` for Flask, which passes none."""
    for candidate in (*args[:2], kwargs.get("request")):
        if hasattr(candidate, "META") or (hasattr(candidate, "scope") and hasattr(candidate, "path_params")):
            return candidate
    return None


def _flask_environ() -> Any:
    from flask import request

    return request.environ


def _native(reply: Reply, request: Any) -> Any:
    """A refusal in the framework's own response type."""
    if request is None:
        from flask import Response as FlaskResponse

        return FlaskResponse(reply.body, reply.status, [header for header in reply.headers if header[0] != "content-length"])
    if hasattr(request, "META"):
        from django.http import HttpResponse

        return HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))
    from starlette.responses import Response

    return Response(reply.body, reply.status, dict(reply.headers))
