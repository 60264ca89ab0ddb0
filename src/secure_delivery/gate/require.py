"""Guard one route instead of a path: `guard.require("read")`.

Knows: how a request is found in Flask, Django, Starlette and FastAPI. Must not know: how one judges, or any of these
frameworks before it is used with one: each is imported when its first request comes.

As a decorator it wraps a view or endpoint, sync or async, and answers a refusal itself. As a FastAPI dependency
(`Depends(guard.require("read"))`) it returns the `Decision` or raises `HTTPException`. Answers get the caching headers
that a door gives them; as a dependency only where the endpoint leaves the response to FastAPI. Path parameters called `handle`,
`container`, `path` or `url` are facts; others can be given: `guard.require("pick", container="uploads")`.
The bytes of a body are not counted here: `minSize` and `maxSize` are judged on the declared length, and where the policy
bounds it a body without one is refused, as is a form that must not be too small: it is longer than the file in it. Use a
`Rule` to have uploads counted while they stream.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .credentials import one_credential, secret_from_authorization, signed_from_query
from .errors import ConfigurationError, Reason, SecureDeliveryError
from .guard import Guard
from .heads import Admission, Reply, error_reply, facts_of, fault_reply, read_length
from .model import Decision
from .outgoing import TOUCHED, additions, amend
from .rules import FACTS, Rule

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Requirement:
    """What `guard.require(...)` gives: call it with a view to wrap it, or let FastAPI call it with a request."""

    def __init__(self, guard: Guard, call: str | Sequence[str], facts: Mapping[str, str]) -> None:
        self._guard = guard
        unknown = sorted(set(facts) - set(FACTS))
        if unknown:
            raise ConfigurationError(f"require: {', '.join(unknown)} is no fact; there are {', '.join(FACTS)}")
        # A rule that is never matched by path reads the calls and facts, and refuses wrong ones, in one place.
        named: dict[str, Any] = dict(facts)
        self._rule = Rule("/", GET=call, **named)

    @property
    def __signature__(self) -> inspect.Signature:
        """What FastAPI looks at to learn that it should pass the request, and the response to be."""
        from starlette.requests import HTTPConnection
        from starlette.responses import Response

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        wanted = {"target": HTTPConnection, "response": Response}
        return inspect.Signature([inspect.Parameter(name, kind, annotation=type_) for name, type_ in wanted.items()])

    def __call__(self, target: Any, response: Any = None) -> Any:
        if hasattr(target, "scope"):
            return self._depend(target, response)
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
        content_type: str | None,
        method: str,
        names: Mapping[str, Any],
    ) -> Admission:
        """Judge one request from its parts; the decision may be a refusal. Raises the faults of a malformed head."""
        shown = one_credential(signed_from_query(query), secret_from_authorization(authorization))
        given = {name: str(names[name]) for name in FACTS if name in names} | dict(self._rule.facts)
        size = read_length(length)
        facts = facts_of(self._rule.calls["GET"], shown, given, size=size, origin=origin, referer=referer)
        key = self._guard.key_of(query, given)
        decision = self._guard.decide_facts(facts, key)
        unproved: Reason | None = None
        if decision.max_size is not None and size is None:
            unproved = Reason.TOO_BIG
        elif decision.min_size is not None and (size is None or (content_type or "").lower().startswith("multipart/")):
            unproved = Reason.TOO_SMALL
        if decision.allowed and unproved is not None:
            decision = self._guard.counted(replace(decision, allowed=False, reason=unproved))
        approved = origin if decision.allowed and "Origin" in decision.vary else None
        return Admission(self._guard.application(key), decision, "", approved, method)

    def _or_reported(self, fault: SecureDeliveryError) -> None:
        """Raise a fault of the request again, unless the guard only reports."""
        if not self._guard.report_only or isinstance(fault, ConfigurationError):
            raise fault
        self._guard.counted(Decision(allowed=False, reason=Reason.MALFORMED))

    # -- Starlette and FastAPI

    def _judge_connection(self, connection: HTTPConnection, names: Mapping[str, Any]) -> Admission:
        headers = connection.headers
        admission = self.judge(
            query=connection.scope["query_string"].decode("latin-1"),
            authorization=_single(headers.getlist("authorization")),
            origin=_single(headers.getlist("origin")),
            referer=_single(headers.getlist("referer")),
            length=_single(headers.getlist("content-length")),
            content_type=_single(headers.getlist("content-type")),
            method=connection.scope.get("method", "GET"),
            names={**connection.path_params, **names},
        )
        connection.scope["secure_delivery.decision"] = admission.decision
        return admission

    def _depend(self, connection: HTTPConnection, response: Any) -> Decision | None:
        from starlette.exceptions import HTTPException

        try:
            admission = self._judge_connection(connection, {})
        except SecureDeliveryError as fault:
            try:
                self._or_reported(fault)
            except SecureDeliveryError:
                detail = {"code": fault.code, "message": fault.public}
                raise HTTPException(fault.status, detail, _UNCACHED) from None  # type: ignore[arg-type]
            return None
        decision = admission.decision
        if not decision.allowed and not self._guard.report_only:
            public = decision.public
            headers = dict(_UNCACHED)
            if decision.vary:
                headers["vary"] = ", ".join(decision.vary)
            detail = {"code": public.code, "message": public.sentence}
            raise HTTPException(public.status, detail, headers)  # type: ignore[arg-type]
        if response is not None:
            for name, value in additions(admission, response.status_code or 200, self._guard.clock()):
                response.headers[name] = value
        return decision

    # -- decorators

    def _before(self, request: Any, names: Mapping[str, Any]) -> Admission | Reply | None:
        """Judge whatever request the framework at hand has: its admission, or the answer to send instead of the view's."""
        try:
            if hasattr(request, "scope") and hasattr(request, "path_params"):
                admission = self._judge_connection(request, names)
            else:
                environ = request.META if hasattr(request, "META") else _flask_environ()
                admission = self.judge(
                    query=environ.get("QUERY_STRING", ""),
                    authorization=environ.get("HTTP_AUTHORIZATION"),
                    origin=environ.get("HTTP_ORIGIN"),
                    referer=environ.get("HTTP_REFERER"),
                    length=environ.get("CONTENT_LENGTH") or None,
                    content_type=environ.get("CONTENT_TYPE") or None,
                    method=environ.get("REQUEST_METHOD", "GET"),
                    names=names,
                )
                environ["secure_delivery.decision"] = admission.decision
        except SecureDeliveryError as fault:
            try:
                self._or_reported(fault)
            except SecureDeliveryError:
                return fault_reply(fault)
            return None
        decision = admission.decision
        if decision.allowed or self._guard.report_only:
            return admission
        public = decision.public
        return error_reply(public.status, public.code, public.sentence, vary=decision.vary)

    def _wrap(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(args, kwargs)
            before = self._before(request, kwargs)
            if isinstance(before, Reply):
                return _native(before, request)
            return self._after(view(*args, **kwargs), before, request)

        return guarded

    def _wrap_async(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(args, kwargs)
            before = self._before(request, kwargs)
            if isinstance(before, Reply):
                return _native(before, request)
            return self._after(await view(*args, **kwargs), before, request)

        return guarded

    def _after(self, answer: Any, admission: Admission | None, request: Any) -> Any:
        """The view's answer with its caching headers made right; what is no response yet is left to the framework."""
        if admission is None:
            return answer
        if request is None:  # a Flask view may return text, a tuple or a dictionary
            from flask import make_response

            answer = make_response(answer)
        headers, status = getattr(answer, "headers", None), getattr(answer, "status_code", None)
        if headers is None or not isinstance(status, int):
            return answer
        said = [(name, value) for name, value in headers.items() if name.lower() in TOUCHED]
        for name, _ in said:
            if name.lower() not in ("set-cookie", "date") and name in headers:
                del headers[name]
        for name, value in amend(said, admission, status, self._guard.clock()):
            if name.lower() not in ("set-cookie", "date"):
                headers[name] = value
        return answer


_UNCACHED = {"cache-control": "no-store"}


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
