"""`debug`: what a transformation URL would do, said in JSON instead of done.

Knows: orders and plans. Must not know: how a chain runs. It answers only those who may have the result, and says nothing of
the judgement but which steps it took and what the shown policy itself says (security promise 9).
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.convert import Plan
from ..engine.renditions import Rendition
from ..gate.model import Decision
from ..gate.policy import Policy
from ..gate.tasksource import Source
from .http import Context, cors_headers, redact
from .transform import Admitted, Order, Transformer

_CREDENTIAL = re.compile(r"policy=|signature=|security=", re.IGNORECASE)


class Explainer:
    """Answers `debug`."""

    def __init__(self, context: Context, transformer: Transformer) -> None:
        self._context = context
        self._transformer = transformer

    async def answer(self, request: Request, order: Order) -> Response:
        """The plan with every parameter bound, the policy, what would be fetched, and whether the result is kept already.

        Nothing is fetched, so of results from outside it is not known. Raises `Denied` like the request itself would.
        """
        admitted = await self._transformer.admit(request, order)
        outside = [_told(each.told) for each in admitted.named if each.url is not None]
        kept = None if outside else await self._kept(request, admitted)
        body = {
            "apikey": admitted.acting.api_key,
            "source": None if order.source is None else _source(order.source),
            "tasks": _tasks(admitted.plan),
            "controls": _controls(admitted.plan),
            "security": _security(admitted.decision),
            "calls": sorted(admitted.calls),
            "fetches": outside,
            "cached": None if outside else kept is not None,
            "result": None if kept is None else {"mimetype": kept.mimetype, "size": kept.size, "filename": kept.filename},
        }
        headers = {"cache-control": "no-store"} | cors_headers(request, admitted.acting)
        return JSONResponse(body, headers=headers)

    async def _kept(self, request: Request, admitted: Admitted) -> Rendition | None:
        sources = await self._transformer.sources(request, admitted)
        return self._context.engine.renditions.find(admitted.owner, sources, admitted.plan)


def _told(value: Any) -> Any:
    """A value as it is said: a URL in it may carry a credential, of which nobody needs a copy in an answer."""
    if isinstance(value, str):
        return redact(value) if _CREDENTIAL.search(value) else value
    if isinstance(value, dict):
        return {name: _told(item) for name, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list | tuple) else value


def _source(source: Source) -> Any:
    if source.items:
        return [_source(item) for item in source.items]
    return {"kind": source.kind.value, "name": _told(source.text)}


def _tasks(plan: Plan) -> list[dict[str, Any]]:
    return [{"name": step.name, "params": _told(dict(step.options))} for step in plan.steps]


def _controls(plan: Plan) -> dict[str, Any]:
    controls = plan.controls
    said: dict[str, Any] = {}
    if controls.store is not None:
        said["store"] = dict(controls.store)
    if controls.cache is not None:
        said["cache"] = controls.cache
    if controls.fallback is not None:
        said["fallback"] = {"file": _source(controls.fallback), "cache": controls.fallback_age}
    if controls.metadata is not None:
        said["metadata"] = list(controls.metadata)
    return said


def _security(decision: Decision) -> dict[str, Any]:
    """The judgement as the asker may see it: that it fell in favour, and the content of the policy that they showed."""
    return {
        "allowed": decision.allowed,
        "authenticated": decision.authenticated,
        "expiry": decision.expiry,
        "policy": None if decision.policy is None else _policy(decision.policy),
    }


def _policy(policy: Policy) -> dict[str, Any]:
    said = {
        "expiry": policy.expiry,
        "call": None if policy.call is None else sorted(policy.call),
        "handle": policy.handle,
        "container": policy.container,
        "path": policy.path,
        "url": policy.url,
        "minSize": policy.min_size,
        "maxSize": policy.max_size,
    }
    return {name: value for name, value in said.items() if value is not None}
