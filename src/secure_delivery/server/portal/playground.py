"""The playground: tasks put together, their result looked at, its address copied.

Knows: which fields of a form are which task, what is shown of a result. Must not know: how a chain is read, made or signed.

The state is in the query, so that a playground can be shared, and works without scripts: `tasks` is a chain as it stands in an
address; a form says the same as `task` for each task, in order, and `0.width` for the first one's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from ...engine import tryout
from ...engine.account_rows import READ, WRITE
from ...engine.rendition_store import Rendition
from ...engine.tryout import BadTask, Chain, Link, Made, Typed
from ...gate.errors import BadRequest, NotFound, SecureDeliveryError, TaskURLError
from ...gate.model import Application
from ...gate.taskurl import MAX_TASKS, Task
from . import playground_code, task_forms
from .fields import BadField, Fields
from .frame import Action, Ask, Done, Raw, Room, View
from .pictures import SAFE_HEADERS, picture_type
from .visitor import NotAllowed

_LIVES = (
    (3600, "an hour"),
    (86_400, "a day"),
    (7 * 86_400, "a week"),
    (30 * 86_400, "30 days"),
)
_LONGEST_LIFE = 366 * 86_400
_SHOWN = 8  # of the newest files
_MOST_TEXT = 20_000  # characters of a result that is text
_MOST_SHOWN = 32 << 20  # bytes of a picture that is shown
_LONGEST_VALUE = 5000
_FIELDS = frozenset({"csrf", "handle", "other", "tasks", "task", "expires_in"})
_TEXTS = frozenset({"application/json", "text/plain"})
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})

EXAMPLES = (
    ("Square avatar", "resize=width:240,height:240,fit:crop", "Filled and cut to a square."),
    ("Round avatar", "resize=width:240,height:240,fit:crop/circle/output=format:png", "The same, with clear corners."),
    ("Black and white", "resize=width:600/monochrome", "Shades of grey."),
    (
        "Rounded with shadow",
        "resize=width:480/rounded_corners=radius:24/shadow=blur:8,vector:[6,6]/output=format:png",
        "For a page with a light ground.",
    ),
    ("Light for the web", "resize=width:1200,fit:max/output=format:webp,quality:75", "Small and quick to load."),
    ("PDF page as picture", "output=format:png,page:1/resize=width:600", "The first page of a document."),
)


class _Wish:
    """What a query or a body asks for, as far as it could be read; `fault` is the first thing that is wrong."""

    def __init__(self, fields: Fields) -> None:
        self.fault: SecureDeliveryError | None = None
        self.focus = -1
        self.typed: list[Typed] = []
        self.source = ""
        self.life = _LIVES[0][0]
        try:
            self.source = _source_text(fields)
            self.typed = _typed(fields)
            self.life = (
                fields.whole("expires_in", label="The life", least=60, most=_LONGEST_LIFE, default=self.life) or self.life
            )
        except SecureDeliveryError as fault:
            self.fault = fault


def _source_text(fields: Fields) -> str:
    other = fields.text("other", label="The file", longest=4000)
    return other or fields.text("handle", label="The file", longest=4000)


def _typed(fields: Fields) -> list[Typed]:
    """The tasks of a query, of a form, or of JSON (`[{"name": "resize", "params": {"width": 300}}]`)."""
    given = fields.get("tasks")
    if isinstance(given, list):
        return [_of_json(each) for each in given[: MAX_TASKS + 1]]
    if not fields.has("task"):
        return list(tryout.typed_of(fields.text("tasks", label="The chain", longest=8192)))
    names = fields["task"] if isinstance(fields["task"], list) else [fields["task"]]
    if len(names) > MAX_TASKS or not all(isinstance(name, str) for name in names):
        raise BadField("tasks", f"A chain has at most {MAX_TASKS} tasks.")
    found = []
    for number, name in enumerate(names):
        start = f"{number}."
        mine = [key for key in fields if key.startswith(start)]
        texts = {
            key.removeprefix(start): fields.text(key, label=key.removeprefix(start), longest=_LONGEST_VALUE) for key in mine
        }
        found.append(Typed(name=name, options={key: text for key, text in texts.items() if text}))
    return found


def _of_json(value: Any) -> Typed:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise BadField("tasks", "A task is an object with 'name' and 'params'.")
    params = value.get("params") or {}
    if not isinstance(params, Mapping):
        raise BadField("tasks", f"The params of {value['name'][:60]} are an object.")
    texts = {str(key): _plain(each) for key, each in params.items() if each is not None and each != ""}
    return Typed(name=value["name"], options=texts)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, list):
        return f"[{','.join(_plain(each) for each in value)}]"
    raise BadField("tasks", "A value is a text, a number, true, false or a list of those.")


def _rearranged(wish: _Wish, fields: Fields) -> None:
    """What the buttons of the form do to the chain."""
    typed = wish.typed
    if added := fields.text("add", longest=60):
        typed.append(Typed(name=added))
        wish.focus = len(typed) - 1
    for name, step in (("up", -1), ("down", 1)):
        at = fields.whole(name, most=MAX_TASKS)
        if at is not None and at < len(typed) and 0 <= at + step < len(typed):
            typed[at], typed[at + step] = typed[at + step], typed[at]
            wish.focus = at + step
    at = fields.whole("remove", most=MAX_TASKS)
    if at is not None and at < len(typed):
        del typed[at]
        wish.focus = min(at, len(typed) - 1)


# ------------------------------------------------------------------------------------------------------------- telling


def _understood(ask: Ask, application: Application, wish: _Wish) -> Chain:
    """The chain that is asked for, which this visitor may try out. Raises what is wrong with it."""
    if wish.fault is not None:
        raise wish.fault
    tasks = tryout.tasks_of(ask.engine.registry, wish.typed)
    try:
        source = tryout.source_of(wish.source)
    except BadRequest as fault:
        raise BadField("other", fault.public) from None
    chain = tryout.chain_of(ask.engine.registry, tasks, source)
    if chain.outside and not ask.who.may(WRITE):
        raise NotAllowed(public="Fetching from other addresses needs the role of a developer.")
    ask.engine.tryout.check(application, chain)
    return chain


def _answer(ask: Ask, application: Application, wish: _Wish, chain: Chain) -> dict[str, Any]:
    """The address of a chain, and what came of it."""
    link = tryout.link_of(application, chain, expires_in=wish.life, now=ask.now, sign=ask.who.may(WRITE))
    missing = link.signed is None and tryout.needs_policy(application, chain)
    url = ask.files + link.path
    made = _made(ask, application, chain)
    kind = ("" if chain.tasks else "original") if made is None else made.rendition.mimetype
    return {
        "url": url,
        "unsigned": missing,
        "expiry": link.expiry,
        "bound": link.bound,
        "result": None if made is None else _told(ask, application, wish, chain, made),
        "job": chain.plan.lengthy,
        "code": playground_code.snippets(
            url=url,
            files=ask.files,
            api_key=application.api_key,
            tasks=chain.tasks,
            source=chain.source,
            life=wish.life,
            signed=link.signed is not None or missing,
            bound=link.bound,
            mimetype=kind,
        ),
        "policy": _policy(link),
    }


def _policy(link: Link) -> dict[str, str] | None:
    return None if link.signed is None else {"policy": link.signed.encoded, "signature": link.signed.signature}


def _made(ask: Ask, application: Application, chain: Chain) -> Made | None:
    if not chain.tasks or chain.plan.lengthy:
        return None
    return ask.engine.tryout.make(application, chain)


def _told(ask: Ask, application: Application, wish: _Wish, chain: Chain, made: Made) -> dict[str, Any]:
    rendition = made.rendition
    width, height = _pixels(rendition)
    shown = rendition.mimetype in _PICTURES and rendition.size <= _MOST_SHOWN
    query = urlencode({**_state(wish, chain.tasks), "v": rendition.etag})
    return {
        "mimetype": rendition.mimetype,
        "bytes": rendition.size,
        "width": width,
        "height": height,
        "seconds": round(made.seconds, 4),
        "kept": made.kept,
        "picture": f"/applications/{application.api_key}/playground/result?{query}" if shown else "",
        "text": _text(ask, rendition),
    }


def _pixels(rendition: Rendition) -> tuple[int, int] | tuple[None, None]:
    """Width and height of a picture, as its maker says."""
    size = rendition.extra.get("size")
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size):
        return size[0], size[1]
    return None, None


def _text(ask: Ask, rendition: Rendition) -> str:
    """What a result says, where it is text: its beginning, if it is long."""
    if rendition.mimetype not in _TEXTS:
        return ""
    with ask.engine.renditions.open(rendition, length=_MOST_TEXT * 4) as stream:
        text = stream.read().decode("utf-8", "replace")
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _state(wish: _Wish, tasks: Sequence[Task]) -> dict[str, str]:
    """The query that leads back here."""
    said = {"handle": wish.source, "tasks": tryout.text_of(tasks)}
    if wish.life != _LIVES[0][0]:
        said["expires_in"] = str(wish.life)
    return {name: text for name, text in said.items() if text}


def _fault(fault: SecureDeliveryError) -> dict[str, str]:
    """What is wrong, with the field that it stands at: `0.width`, `0` for a whole task, `other` for the file."""
    where = fault.field if isinstance(fault, BadField) else ""
    if isinstance(fault, BadTask):
        where = f"{fault.number}.{fault.option}" if fault.option else str(fault.number)
    elif isinstance(fault, NotFound):
        where = "other"
    return {"field": where, "code": fault.code, "message": fault.public}


def _show(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    wish = _Wish(ask.query)
    try:
        _rearranged(wish, ask.query)
    except BadField as fault:
        wish.fault = wish.fault or fault
    registry = ask.engine.registry
    page = ask.engine.search.page(application.api_key, limit=_SHOWN)
    told: dict[str, Any] = {
        "files": [
            {
                "handle": each.handle,
                "filename": each.filename,
                "mimetype": each.mimetype,
                "size": each.size,
                "version": each.version,
            }
            for each in page.files
            if each.held is None
        ],
        "source": wish.source,
        "expires_in": wish.life,
        "lives": [list(each) for each in _LIVES],
        "tasks": [task_forms.filled(registry, each.name, each.options) for each in wish.typed],
        "groups": task_forms.groups(registry),
        "examples": _examples(ask, application, wish),
        "focus": wish.focus,
        "fault": None,
        "share": "",
        "answer": None,
    }
    try:
        told["share"] = _share(application, wish, tryout.tasks_of(registry, wish.typed))
        if wish.fault is not None or wish.source or wish.typed:
            told["answer"] = _answer(ask, application, wish, _understood(ask, application, wish))
    except SecureDeliveryError as fault:
        told["fault"] = _fault(fault)
    return told


def _share(application: Application, wish: _Wish, tasks: Sequence[Task]) -> str:
    return f"/applications/{application.api_key}/playground?{urlencode(_state(wish, tasks))}"


def _examples(ask: Ask, application: Application, wish: _Wish) -> list[dict[str, str]]:
    """Chains to begin with, of tasks that are installed, for the file that is chosen."""
    found = []
    for name, text, says in EXAMPLES:
        typed = tryout.typed_of(text)
        if all(each.name in ask.engine.registry.transformations for each in typed):
            query = urlencode({name: text for name, text in (("handle", wish.source), ("tasks", text)) if text})
            found.append({"name": name, "says": says, "to": f"/applications/{application.api_key}/playground?{query}"})
    return found


def _tasks(ask: Ask) -> Mapping[str, Any]:
    ask.application()
    return {"tasks": [task_forms.described(ask.engine.registry, name) for name in sorted(ask.engine.registry.transformations)]}


def _try(ask: Ask) -> Done:
    """The same for programs and scripts: raises what the page shows."""
    for name in ask.given:
        if name not in _FIELDS and not name.partition(".")[0].isdigit():
            raise BadField(name, f"There is no field '{name[:60]}' here.")
    application, wish = ask.application(), _Wish(ask.given)
    try:
        chain = _understood(ask, application, wish)
        told = _answer(ask, application, wish, chain)
    except BadTask as fault:
        raise BadField(_fault(fault)["field"], fault.public) from None
    share = _share(application, wish, chain.tasks)
    return Done(values={**told, "share": share}, to=share)


# ------------------------------------------------------------------------------------------------------------ pictures


async def _result(request: Request, ask: Ask) -> Response:
    """The picture that a chain makes. Raises what is wrong with it, and `NotFound` for a result that is none."""
    application = await ask.context.run(ask.application)

    def made() -> tuple[Rendition, bytes]:
        wish = _Wish(ask.query)
        chain = _understood(ask, application, wish)
        if chain.source is None and not chain.tasks:
            raise TaskURLError(public="Choose a file first.")
        rendition = ask.engine.tryout.make(application, chain).rendition
        if rendition.mimetype not in _PICTURES or rendition.size > _MOST_SHOWN:
            raise NotFound("no picture", public="The result is no picture that is shown here.")
        return rendition, ask.engine.renditions.read(rendition)

    rendition, body = await ask.context.draw(made)
    if shown_type(body[:32]) != rendition.mimetype:
        raise NotFound("not what it says", public="The result is no picture that is shown here.")
    tag = f'"{rendition.etag}"'
    headers = {"etag": tag, "cache-control": "private, max-age=60", **SAFE_HEADERS}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(body, 200, headers | {"content-type": rendition.mimetype})


def shown_type(head: bytes) -> str | None:
    """What a picture is by its first bytes, of those that browsers show and that hold no script."""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return picture_type(head)


_HERE = "/applications/{key}/playground"

ROOM = Room(
    name="playground",
    views=(
        View(
            path=_HERE, show=_show, page="playground.html", title="Playground", command="transform",
            says="A chain (`tasks`) tried out on a file (`handle`): its address, what came of it, and code that does the same.",
        ),
        View(
            path=f"{_HERE}/tasks", show=_tasks, page="playground_tasks.html", title="All tasks", command="plugins",
            says="Every task that is installed, with its parameters: kind, range, choices, default.",
        ),
    ),
    actions=(
        Action(
            path=_HERE, do=_try, scope=READ, on=_HERE, command="transform",
            says="Try out a chain (`tasks`) on a file (`handle`), with an address signed for `expires_in` seconds.",
        ),
    ),
    raws=(
        Raw(
            path=f"{_HERE}/result", method="GET", answer=_result, command="transform",
            says="The picture that a chain makes, for who is signed in.",
        ),
    ),
)  # fmt: skip
