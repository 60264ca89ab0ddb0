"""The conversion API of before: `/api/file/HANDLE/convert?w=300&rotate=exif`, in words of transformation tasks.

Knows: the old parameters and their fixed order (Filestack documentation, legacy v1 conversion). Must not know: how a chain
is judged or run; it becomes an order like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from ..engine.convert import bind
from ..gate.errors import BadRequest, TaskURLError
from ..gate.tasksource import HANDLE, Source, SourceKind
from ..gate.taskurl import Task
from .delivery import Delivery
from .http import Context, flag, parameters
from .transform import Order, not_for_post

_STORE = ("filename", "location", "path", "container", "access")
#: Everything the endpoint knows; the rest is refused, so that a misspelt option is not silently left out.
_KNOWN = frozenset(
    {"w", "h", "fit", "align", "crop", "crop_first", "watermark", "watermark_size", "watermark_position", "filter"}
    | {"blurAmount", "sharpenAmount", "rotate", "quality", "format", "key", "policy", "signature", "dl", "cache", *_STORE}
)
_FILTERS = {"blur": "blurAmount", "sharpen": "sharpenAmount"}
_LIST = re.compile(r"\[?([0-9, ]{1,64})\]?")

Values = Mapping[str, str]


class Legacy:
    """The endpoint."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery

    async def convert(self, request: Request) -> Response:
        """`GET` answers with the result; `POST` with `key` keeps it and answers in JSON."""
        values = parameters(request)
        if unknown := sorted(values.keys() - _KNOWN):
            raise BadRequest(f"{unknown[0]!r} is unknown", public=f"convert has no option '{unknown[0][:60]}'.")
        handle = request.path_params["handle"].partition("+")[0]
        if HANDLE.fullmatch(handle) is None:
            raise TaskURLError(public="The path holds no file handle.")
        tasks = [*chain(values), *([_store(values)] if request.method == "POST" else [])]
        if not tasks:
            raise TaskURLError(public="convert needs at least one option.")
        if request.method == "POST" and "key" not in values:
            raise not_for_post()
        order = Order(
            plan=bind(self._context.engine.registry, tasks),
            source=Source(kind=SourceKind.HANDLE, text=handle),
            api_key=values.get("key"),
            tasks=tasks,
        )
        return await self._delivery.carry_out(request, order)


def chain(values: Values) -> list[Task]:
    """The tasks that the old parameters ask for, in their fixed order. Raises `TaskURLError`."""
    resize, crop = _resize(values), _crop(values)
    first, second = (crop, resize) if flag(values, "crop_first") else (resize, crop)
    tasks = [first, second, _watermark(values), _filter(values), _rotate(values), *_written(values)]
    return [task for task in tasks if task is not None]


def _task(name: str, **options: str | tuple[str, ...] | None) -> Task | None:
    given = tuple((key, value) for key, value in options.items() if value)
    return Task(name=name, options=given) if given else None


def _resize(values: Values) -> Task | None:
    if "w" not in values and "h" not in values:
        return None
    return _task("resize", width=values.get("w"), height=values.get("h"), fit=values.get("fit"), align=values.get("align"))


def _crop(values: Values) -> Task | None:
    if "crop" not in values:
        return None
    found = _LIST.fullmatch(values["crop"])
    if found is None:
        raise TaskURLError(public="crop is a list of four whole numbers: x,y,width,height.")
    return _task("crop", dim=tuple(item.strip() for item in found[1].split(",")))


def _watermark(values: Values) -> Task | None:
    if "watermark" not in values:
        return None
    place = values.get("watermark_position")
    position = tuple(item.strip() for item in place.strip("[]").split(",")) if place and "," in place else place
    return _task("watermark", file=values["watermark"], size=values.get("watermark_size"), position=position)


def _filter(values: Values) -> Task | None:
    name = values.get("filter")
    if name is None:
        return None
    if name not in _FILTERS:
        raise TaskURLError(public="filter is blur or sharpen.")
    amount = values.get(_FILTERS[name])
    return Task(name=name, options=(("amount", amount),) if amount else ())


def _rotate(values: Values) -> Task | None:
    turn = values.get("rotate")
    if turn is None:
        return None
    return _task("rotate", deg=turn)


def _written(values: Values) -> list[Task | None]:
    return [_task("quality", value=values.get("quality")), _task("output", format=values.get("format"))]


def _store(values: Values) -> Task:
    return Task(name="store", options=tuple((name, values[name]) for name in _STORE if values.get(name)))
