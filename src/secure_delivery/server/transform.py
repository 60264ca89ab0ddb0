"""Transformation URLs at work: judge, gather the sources, make or find the result, do with it what the chain says.

Knows: the order of these steps. Must not know: the grammar, how a chain runs, how bytes are sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine.convert import Plan, bind, negotiate
from ..engine.figures import RESULTS
from ..engine.files import Target, clean_name, effective_path
from ..engine.records import FileLink
from ..engine.renditions import Rendition
from ..engine.sandbox import MAX_SOURCES
from ..engine.sources import SourceFile
from ..gate.errors import BadRequest, Busy, NotFound, SecureDeliveryError, TaskURLError
from ..gate.model import Application, Decision
from ..gate.policy import Call, SignedPolicy
from ..gate.tasksource import Source, SourceKind
from ..gate.taskurl import Task, TaskURL
from .answers import described
from .gather import Gatherer, Named, unknown_application
from .http import Context, Denied, cors_headers, redact, single
from .once import Renderer

_TRIES = 5  # times a file is looked up again that was overwritten between finding and opening it
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a request asks for, wherever it stood: in a path, in JSON, in the query of the legacy API.

    `signed` is the credential shown outside query and HTTP Basic; `use_query` says whether the query may hold one. `headers`
    go to the origin of the source, when it is fetched; `tags` are repeated in the answer about a file that is stored; `tasks`
    are the chain as it was asked for, told to the application's webhooks when its result is stored.
    """

    plan: Plan
    source: Source | None
    api_key: str | None = None
    signed: SignedPolicy | None = field(default=None, repr=False)
    use_query: bool = True
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    tags: Mapping[str, str] | None = None
    tasks: Sequence[Task] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An order that may be carried out: by whom, whose result it is, from what."""

    order: Order
    plan: Plan
    acting: Application
    owner: Application
    decision: Decision
    named: tuple[Named, ...]
    calls: tuple[Call, ...]
    facts: Mapping[str, Any]


Send = Callable[[Request, Admitted, Rendition], Awaitable[Response]]
SendFile = Callable[[Request, Application, Decision, FileLink, int | None], Awaitable[Response]]


class Transformer:
    """Carries out orders."""

    def __init__(self, context: Context, gatherer: Gatherer, renderer: Renderer) -> None:
        self._context = context
        self._gatherer = gatherer
        self._renderer = renderer

    # -- may it be

    async def admit(self, request: Request, order: Order) -> Admitted:
        """Judge an order as a whole, before anything is fetched or looked up. Raises `Denied`, `NotFound`, `BadRequest`."""
        self._check_shape(order)
        acting = await self._context.application(order.api_key) if order.api_key is not None else None
        members = _members(order.source)
        first = self._gatherer.named(request, acting, members[0]) if members else None
        link = await self._gatherer.link(first) if first is not None and first.handle is not None else None
        owner = await self._context.owner(link.application) if link is not None else acting
        if acting is None:
            acting = owner
        if acting is None or owner is None:
            raise unknown_application()
        if order.plan.visits and (first is None or first.url is None):
            raise TaskURLError(public=f"{order.plan.steps[0].name} needs the URL of a page elsewhere.")
        self._fallback(request, acting, order)
        others = tuple(self._gatherer.named(request, acting, source) for source in (*members[1:], *order.plan.references))
        named = (*((first,) if first is not None else ()), *others)
        calls, facts = await self._asked(order, acting, named, len(members))
        decision = self._judge_all(request, acting, calls, facts, named)
        for each in named:
            await self._gatherer.admit(request, acting, each, decision)
        plan = negotiate(self._context.engine.registry, order.plan, single(request, "accept") or "")
        return Admitted(
            order=order,
            plan=plan,
            acting=acting,
            owner=owner,
            decision=decision,
            named=named,
            calls=calls,
            facts=facts,
        )

    def _check_shape(self, order: Order) -> None:
        """The sources fit the first task, and all files of the chain fit into one job. Raises `TaskURLError`."""
        plan, source = order.plan, order.source
        first = plan.steps[0].name if plan.steps else "This chain"
        if source is None and not plan.sourceless:
            raise TaskURLError(public=f"{first} needs a source at the end of the path.")
        if source is not None and source.kind is SourceKind.LIST:
            if plan.most_sources == 1:
                raise TaskURLError(public=f"{first} takes one source, not a list.")
            if len(source.items) > plan.most_sources:
                raise TaskURLError(public=f"{first} takes at most {plan.most_sources} sources.")
        if plan.visits and (source is None or source.kind is not SourceKind.EXTERNAL):
            raise TaskURLError(public=f"{first} needs the URL of a page.")
        if len(_members(source)) + len(plan.references) > MAX_SOURCES:
            raise TaskURLError(public=f"A chain works on at most {MAX_SOURCES} files.")
        if plan.controls.store is not None:
            self._check_place(plan.controls.store)

    async def _asked(
        self, order: Order, acting: Application, named: Sequence[Named], members: int
    ) -> tuple[tuple[Call, ...], dict[str, Any]]:
        """The calls of an order, and what the judgement is told besides them: a policy bound to a handle covers one file, not a
        list; a file that is stored goes where the application has its files."""
        calls = set(_calls(order, named[0] if named else None))
        facts: dict[str, Any] = {
            "handle": named[0].handle if named and members == 1 else None,
            "signed": order.signed,
            "use_query": order.use_query,
            "authenticate": order.plan.authenticated,
        }
        store = order.plan.controls.store
        if store is not None:
            room, needed = await self._context.query(self._context.engine.files.wanted, acting, _target(store, "file"))
            facts["path"], facts["container"] = effective_path(room.path), room.container
            if room.storage not in self._context.engine.storages.own:
                calls |= needed
        return tuple(sorted(calls)), facts

    def _judge_all(
        self, request: Request, acting: Application, calls: tuple[Call, ...], facts: dict[str, Any], named: Sequence[Named]
    ) -> Decision:
        """The request as a whole, and once more for every address that it wants fetched."""
        urls = [each.url for each in named if each.url is not None]
        if named and named[0].url is not None:
            decision = self._context.judge(request, acting, *calls, **{**facts, "url": urls[0]})
            urls = urls[1:]
        else:
            decision = self._context.judge(request, acting, *calls, **facts)
        for url in urls:
            self._context.judge(request, acting, *calls, **{**facts, "handle": None, "url": url})
        return decision

    # -- carrying it out

    async def result(self, request: Request, admitted: Admitted) -> Rendition:
        """The result of an admitted order. Raises the faults of sources and transformations."""
        for _ in range(_TRIES):
            sources = await self.sources(request, admitted)
            try:
                renditions = self._context.engine.renditions
                fresh = admitted.plan.controls.cache is False
                found = renditions.find(admitted.owner, sources, admitted.plan)
                if found is not None and fresh:
                    await self._context.run(renditions.forget, found)
                    found = None
                came = "made" if found is None else "disk"
                result = found or await self._renderer.get(admitted.owner, sources, admitted.plan)
                self._context.engine.usage.add((admitted.acting.api_key, RESULTS, came))
                return result
            except NotFound:  # the bytes are gone: for good, or because an overwrite was quicker than we
                if not await self._changed(admitted):
                    raise
        raise Busy("a source was overwritten again and again")

    async def sources(self, request: Request, admitted: Admitted) -> list[SourceFile]:
        """The files of an order, in the order in which a chain gets them."""
        if not admitted.named:
            return [SourceFile.of_bytes(b"")]
        if admitted.plan.visits:
            return [SourceFile.address(admitted.named[0].url or "")]
        return [await self._source(request, admitted, each) for each in admitted.named]

    async def _source(self, request: Request, admitted: Admitted, named: Named) -> SourceFile:
        if named.handle is not None:
            return SourceFile.stored(await self._gatherer.link(named), self._context.engine.files)
        main = named is admitted.named[0]
        facts = admitted.facts if main else {**admitted.facts, "handle": None}
        headers = admitted.order.headers if main else None
        return await self._gatherer.fetch(request, admitted.acting, named, calls=admitted.calls, facts=facts, headers=headers)

    async def _changed(self, admitted: Admitted) -> bool:
        """Whether a stored source is there and has bytes: then what was missing belonged to its older content."""
        links = [await self._gatherer.link(each) for each in admitted.named if each.handle is not None]
        for link in links:
            try:
                (await self._context.run(self._context.engine.files.open, link, length=1)).close()
            except NotFound:
                return False
        return bool(links)

    # -- what becomes of it

    async def answer(self, request: Request, order: Order, send: Send, send_file: SendFile) -> Response:
        """Admit, make and send or store; with `fallback`, serve that instead when the source or a task fails."""
        if request.method == "POST" and not order.plan.stores:
            raise not_for_post()
        admitted = None
        try:
            admitted = await self.admit(request, order)
            if order.plan.stores and not order.plan.steps:
                return await self._store(request, admitted, (await self.sources(request, admitted))[0])
            rendition = await self.result(request, admitted)
        except SecureDeliveryError as fault:
            if order.plan.controls.fallback is None or isinstance(fault, Busy | BadRequest):
                raise
            return await self._instead(request, order, admitted, send_file)
        if order.plan.stores:
            return await self._store(request, admitted, rendition)
        return await send(request, admitted, rendition)

    def _fallback(self, request: Request, acting: Application | None, order: Order) -> Named | None:
        """The file that stands in for a result. Raises `TaskURLError` for one that is not kept here."""
        fallback = order.plan.controls.fallback
        if fallback is None:
            return None
        named = self._gatherer.named(request, acting, fallback)
        if not named.handle:
            raise TaskURLError(public="The file of fallback is the handle or the URL of a file of this server.")
        return named

    async def _instead(self, request: Request, order: Order, admitted: Admitted | None, send_file: SendFile) -> Response:
        """The fallback of a chain, by the same rules: a file of the application that transforms, or one that may be read.

        Where a source was missing, the request was not judged yet: it is here.
        """
        acting = await self._context.application(order.api_key) if order.api_key is not None else None
        acting = admitted.acting if admitted is not None else acting
        named = self._fallback(request, acting, order)
        if named is None:
            raise NotFound("no fallback")
        link = await self._gatherer.link(named)
        acting = acting or await self._context.owner(link.application)
        decision = admitted.decision if admitted is not None else await self._judge_missing(request, acting, order)
        await self._gatherer.admit(request, acting, named, decision)
        return await send_file(request, acting, decision, link, order.plan.controls.fallback_age)

    async def _judge_missing(self, request: Request, acting: Application, order: Order) -> Decision:
        """Judge an order of which a stored source is not there."""
        members = _members(order.source)
        first = self._gatherer.named(request, acting, members[0]) if members else None
        others = (self._gatherer.named(request, acting, source) for source in (*members[1:], *order.plan.references))
        named = (*((first,) if first is not None else ()), *others)
        calls, facts = await self._asked(order, acting, named, len(members))
        return self._judge_all(request, acting, calls, facts, named)

    async def store_made(self, request: Request, order: Order, url: TaskURL) -> Response:
        """Keep what a transformation URL of our own gives, as if it had been fetched: it is judged by itself, by the credential
        in it, and storing by the one that was shown for that."""
        if order.plan.steps or not order.plan.stores:
            raise TaskURLError(public="A URL of this server as a source is stored as it is: put all tasks into it, or none.")
        inner = Order(
            plan=bind(self._context.engine.registry, url.tasks),
            source=url.source,
            api_key=url.api_key,
            signed=url.signed,
            use_query=False,
        )
        if inner.plan.stores or inner.plan.controls.metadata is not None or url.debug:
            raise TaskURLError(public="The source is a transformation whose result is a file.")
        acting = await self._context.application(order.api_key)
        asked, facts = await self._asked(order, acting, (), 0)
        calls = tuple(sorted({Call.PICK, *asked} - {Call.CONVERT}))  # it is taken as it is
        decision = self._context.judge(request, acting, *calls, **facts)
        made = await self.result(request, await self.admit(request, inner))
        taken = Admitted(
            order=order,
            plan=order.plan,
            acting=acting,
            owner=acting,
            decision=decision,
            named=(),
            calls=calls,
            facts=facts,
        )
        return await self._store(request, taken, made)

    async def _store(self, request: Request, admitted: Admitted, made: Rendition | SourceFile) -> Response:
        """Keep the result as a file of the transforming application and say so in JSON."""
        link = await self._context.keep(self._kept, admitted, made)
        headers = {"cache-control": "no-store"} | cors_headers(request, admitted.acting)
        more: dict[str, Any] = {}
        size = made.extra.get("size") if isinstance(made, Rendition) else None
        if isinstance(size, list) and len(size) == 2:
            more |= {"width": size[0], "height": size[1]}
        if admitted.order.tags is not None:
            more["upload_tags"] = dict(admitted.order.tags)
        return JSONResponse(described(self._context, request, admitted.acting, link, more), headers=headers)

    def _kept(self, admitted: Admitted, made: Rendition | SourceFile) -> FileLink:
        """The result, or the source as it is, as a new file. Raises `Denied` for a size that the policy forbids, and the
        storage's faults."""
        options = admitted.plan.controls.store or {}
        engine = self._context.engine
        reason = admitted.decision.admits_size(made.size)
        if reason is not None:
            raise Denied(Decision(allowed=False, reason=reason, vary=admitted.decision.vary), admitted.acting)
        packed = isinstance(made, Rendition) and made.extra.get("encoding") == "gzip"
        # A stored file is what its bytes are: how an answer was coded is not kept.
        target = _target(
            options,
            f"{made.filename}.gz" if packed else made.filename,
            mimetype="application/gzip" if packed else made.mimetype,
            source_url=None if admitted.plan.steps or not admitted.named else _shown(admitted.named[0].told),
        )
        target = replace(target, tags=admitted.order.tags, tasks=_told(admitted.order) if admitted.plan.steps else None)
        opened = made.open() if isinstance(made, SourceFile) else engine.renditions.open(made)
        limit = engine.settings.max_bytes
        with opened as stream, engine.files.begin(admitted.acting, target, limit=limit) as upload:
            while piece := stream.read(_PIECE):
                upload.write(piece)
            return engine.files.add(admitted.acting, upload)

    def _check_place(self, options: Mapping[str, Any]) -> None:
        if options.get("base64decode"):
            raise BadRequest("base64decode of a result", public="store: base64decode is for uploads; a result is no text.")


def _target(options: Mapping[str, Any], filename: str, *, mimetype: str = "", source_url: str | None = None) -> Target:
    """What the options of `store` say of the file to be."""
    return Target(
        filename=clean_name(options.get("filename") or filename),
        mimetype=options.get("mimetype") or mimetype or None,
        container=options.get("container"),
        path=options.get("path"),
        storage=options.get("location"),
        access=options.get("access"),
        source_url=source_url,
        expires_in=options.get("expires_in"),
    )


def _told(order: Order) -> str:
    """The path that gives what an order gives, credentials cut off."""
    return redact(TaskURL(tasks=tuple(order.tasks), source=order.source).format())


def _shown(url: str | None) -> str | None:
    """An address as it is kept: without its query, which may hold a credential."""
    return None if url is None else url.partition("?")[0]


def not_for_post() -> HTTPException:
    """The refusal of a POST where nothing is stored: a path is for reading then."""
    return HTTPException(405, headers={"allow": "GET, HEAD, OPTIONS"})


def _members(source: Source | None) -> tuple[Source, ...]:
    if source is None:
        return ()
    return source.items if source.kind is SourceKind.LIST else (source,)


def _calls(order: Order, first: Named | None) -> tuple[Call, ...]:
    """What an order must be granted. Taking in a file from outside as it is, is an upload and nothing else."""
    if order.plan.stores and not order.plan.steps and first is not None and first.handle is None:
        return (Call.PICK,)
    return tuple(sorted(order.plan.calls))
