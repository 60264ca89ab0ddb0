"""`POST /process`: sources and tasks as JSON, which is how official clients store from a URL.

Knows: that JSON (Filestack documentation, content ingestion; recorded requests of the JavaScript and Python clients). Must not
know: how a chain is judged or run; it becomes an order like any other.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine.convert import bind
from ..gate.errors import BadRequest
from ..gate.tasksource import Source, SourceKind, read_source
from ..gate.taskvalues import read_json_tasks, split_security
from . import bodies
from .answers import tags_of, workflow_ids
from .delivery import Delivery
from .http import Context
from .transform import Order

_MEMBERS = frozenset({"apikey", "sources", "tasks", "upload_tags", "policy", "signature", "security"})
_MOST_HEADERS = 32


class Process:
    """The endpoint."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery

    async def run(self, request: Request) -> Response:
        """Carry out the tasks on the sources; with `store`, as always here so far, answer with the file in JSON."""
        values = await bodies.members(request)
        if "apiKey" in values:  # as the Go client spells it
            values.setdefault("apikey", values.pop("apiKey"))
        if unknown := sorted(values.keys() - _MEMBERS):
            raise BadRequest(f"{unknown[0]!r} is unknown", public=f"process knows no member '{unknown[0][:60]}'.")
        application = await self._context.application(bodies.text(values, "apikey"))
        tasks, signed = split_security(read_json_tasks(_tasks(values.get("tasks", []))))
        beside = bodies.shown_policy(values)
        if signed is not None and beside is not None:
            raise BadRequest("two credentials", public="Send exactly one policy and signature.")
        try:
            tags = tags_of(values.get("upload_tags"))
        except ValueError as error:
            raise BadRequest("bad upload_tags", public=str(error)) from None
        source, headers = _source(values.get("sources"))
        order = Order(
            plan=bind(self._context.engine.registry, tasks),
            source=source,
            api_key=application.api_key,
            signed=signed or beside,
            headers=headers,
            tags=tags,
            tasks=tasks,
        )
        made = self._delivery.gatherer.made_here(request, source)
        if made is not None:
            return await self._delivery.transformer.store_made(request, order, made)
        return await self._delivery.carry_out(request, order)


def _tasks(given: Any) -> Any:
    """The tasks with what the clients leave empty taken out, and workflows as a list of ids."""
    if not isinstance(given, list):
        return given
    lowered = [{str(name).lower(): value for name, value in task.items()} if isinstance(task, dict) else task for task in given]
    tasks = [{**task, "params": _params(task.get("params"))} if isinstance(task, dict) else task for task in lowered]
    return _one_store(tasks)


def _one_store(tasks: list[Any]) -> list[Any]:
    """The tasks with the options of all `store` in the first: the JavaScript client sends workflows in one of their own."""
    stores = [task for task in tasks if isinstance(task, dict) and task.get("name") == "store"]
    if len(stores) < 2 or not all(isinstance(task.get("params") or {}, dict) for task in stores):
        return tasks
    merged: dict[str, Any] = {}
    for task in stores:
        for name, value in (task.get("params") or {}).items():
            if name in merged and merged[name] != value:
                raise BadRequest("two stores", public=f"store is given twice, with different '{name[:40]}'.")
            merged[name] = value
    others = [task for task in tasks if not any(task is store for store in stores[1:])]
    return [{"name": "store", "params": merged} if task is stores[0] else task for task in others]


def _params(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    params = {name: value for name, value in given.items() if value is not None and value not in ("", [], {})}
    if "workflows" in params:
        try:
            params["workflows"] = list(workflow_ids(params["workflows"]))
        except ValueError as error:
            raise BadRequest("bad workflows", public=str(error)) from None
    return params


def _source(given: Any) -> tuple[Source, dict[str, str] | None]:
    """The sources, and the headers for the first one's origin. Raises `BadRequest`."""
    if not isinstance(given, list) or not given:
        raise BadRequest("no sources", public="sources is a list of at least one URL or handle.")
    read = [_read(item) for item in given]
    headers = [found for _, found in read if found]
    if len(read) == 1:
        return read[0][0], headers[0] if headers else None
    if headers:
        raise BadRequest("headers for several", public="Custom headers go with a single source.")
    return Source(kind=SourceKind.LIST, items=tuple(source for source, _ in read)), None


def _read(item: Any) -> tuple[Source, dict[str, str]]:
    headers: Any = {}
    if isinstance(item, dict):
        headers = item.get("headers") or {}
        item = item.get("source", item.get("url"))
    if not isinstance(item, str) or not item:
        raise BadRequest("a source is no text", public="A source is a URL, a handle, or an object of source and headers.")
    if not isinstance(headers, dict) or len(headers) > _MOST_HEADERS:
        raise BadRequest("bad headers", public=f"headers is an object of at most {_MOST_HEADERS} members.")
    if not all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in headers.values()):
        raise BadRequest("bad headers", public="A header for the source is a text.")
    return read_source(item, percent=False), {name: str(value) for name, value in headers.items()}
