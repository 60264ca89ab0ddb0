"""A transformation tried out by somebody who looks after the application: from what was typed to a result and a signed address.

Knows: tasks and their parameters, sources, where results are kept, signing. Must not know: HTTP, who asks; whoever calls has
decided that they may.

The chain is read and bound as for delivery, and its result is kept under the same name: what was looked at here is what the
address gives. Of sources only the application's own files are used, and addresses outside where the caller says so.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..gate.decide import demands
from ..gate.errors import BadRequest, Busy, ConfigurationError, NotFound, SecureDeliveryError, TaskURLError
from ..gate.model import Application
from ..gate.policy import Call, Policy, SignedPolicy
from ..gate.tasksource import MAX_SOURCES as LONGEST_LIST
from ..gate.tasksource import Source, SourceKind, is_raw_url, read_source
from ..gate.taskurl import MAX_PATH, MAX_TASKS, Task, TaskURL, Value, parse
from ..gate.taskvalues import check_text, read_task
from ..plugin.manager import Registry
from ..plugin.params import REQUIRED, Param
from .controls import CONTROLS
from .convert import Plan, bind, negotiate
from .fetched import FetchedFiles
from .figures import RESULTS
from .files import Files
from .outbound import read_url
from .renditions import Rendition, Renditions
from .sandbox import MAX_SOURCES
from .sources import SourceFile
from .usage import Usage

#: What browsers of today say that they can show; results that depend on it are made for them.
ACCEPT = "image/avif,image/webp,image/*,*/*;q=0.8"
_PATIENCE = 10.0  # seconds for which a turn is waited for
_ANY = "xxxxxxxxxxxxxxxxxxxxx"  # stands for a handle where a chain is read or written alone


class BadTask(TaskURLError):
    """What is wrong with one task of a chain: `number` is its place, from 0, `option` the parameter, or empty."""

    def __init__(self, number: int, option: str, public: str) -> None:
        super().__init__(public=public)
        self.number = number
        self.option = option


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """One task as somebody typed it: texts by the names of parameters, those without a text left out."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Tasks that were understood, the plan they make, and what they work on."""

    tasks: tuple[Task, ...]
    plan: Plan
    source: Source | None

    @property
    def outside(self) -> bool:
        """Whether something has to be fetched from elsewhere."""
        return any(each.kind is SourceKind.EXTERNAL for each in (*members(self.source), *self.plan.references))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The address of a result: its path, and the credential in it. `bound` says that it is good for these files only."""

    path: str
    signed: SignedPolicy | None = field(default=None, repr=False)
    expiry: int | None = None
    bound: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A result, the seconds that it took, and whether it was kept from before."""

    rendition: Rendition
    seconds: float
    kept: bool


# ------------------------------------------------------------------------------------------------- from texts to a chain


def tasks_of(registry: Registry, typed: Sequence[Typed]) -> tuple[Task, ...]:
    """Tasks as they were typed, each bound for itself. Raises `BadTask` for the first thing that is wrong."""
    if len(typed) > MAX_TASKS:
        raise TaskURLError(public=f"A chain has at most {MAX_TASKS} tasks.")
    return tuple(_task_of(registry, number, one) for number, one in enumerate(typed))


def _task_of(registry: Registry, number: int, typed: Typed) -> Task:
    transformation = registry.transformations.get(typed.name)
    params = () if transformation is None else transformation.params
    by_name = {name: param for param in params for name in (param.name, *param.aliases)}
    options: dict[str, Value] = {}
    for name, text in typed.options.items():
        param = by_name.get(name)
        if param is None and transformation is not None:
            raise BadTask(number, name, f"{typed.name} has no option '{name[:60]}'.")
        if param is not None:
            options[param.name] = _value(number, typed.name, param, text)
    for param in params:
        if param.default is REQUIRED and param.name not in options:
            raise BadTask(number, param.name, f"{typed.name} needs {param.name}: {param.kind.allowed}.")
    task = Task(name=typed.name, options=tuple(options.items()))
    if typed.name in CONTROLS:
        raise BadTask(number, "", f"{typed.name} says what becomes of a result; it is not tried out here.")
    try:
        bind(registry, [task])
    except SecureDeliveryError as fault:
        raise BadTask(number, "", fault.public) from None
    return task


def _value(number: int, name: str, param: Param, text: str) -> Value:
    """A text as the value that a URL would carry: a list in brackets where the parameter takes one."""
    readings: list[Value] = []
    try:
        if text.startswith("["):
            listed = read_task(f"t=o:{text}").options
            readings += [value for _, value in listed] if len(listed) == 1 else []
        readings.append(check_text(text))
    except TaskURLError as fault:
        if not readings:
            raise BadTask(number, param.name, f"{param.name}: {fault.public}") from None
    for value in readings:
        try:
            param.kind.read(value)
        except ValueError:
            continue
        return value
    raise BadTask(number, param.name, f"{name}: {param.name} must be {param.kind.allowed}.")


def typed_of(text: str) -> tuple[Typed, ...]:
    """The tasks of a text as they stand in an address, `resize=width:300/sepia`, for a form. Raises `TaskURLError`."""
    text = text.strip("/")
    if not text:
        return ()
    url = parse(f"/{text}/{_ANY}")
    if url.api_key is not None or url.signed is not None or url.debug:
        raise TaskURLError(public="Only tasks belong here: no key, no policy, no source.")
    return tuple(Typed(name=task.name, options={key: _text(value) for key, value in task.options}) for task in url.tasks)


def _text(value: Value, *, inside: bool = False) -> str:
    """A value as somebody would type it; the inverse of `_value`."""
    if isinstance(value, str):
        return f'"{value}"' if inside and re.search(r"[,\[\]]|^\s|\s$", value) else value
    return f"[{','.join(_text(item, inside=True) for item in value)}]"


def text_of(tasks: Sequence[Task]) -> str:
    """Tasks as they stand in an address, the inverse of `typed_of`; empty for none."""
    if not tasks:
        return ""
    path = TaskURL(tasks=tuple(tasks), source=Source(kind=SourceKind.HANDLE, text=_ANY)).format()
    return path.removeprefix("/").removesuffix(f"/{_ANY}")


def source_of(text: str) -> Source | None:
    """A handle or an address of http or https, or several with blanks between them, handles also with commas; None for nothing.

    Raises `BadRequest`.
    """
    words = [[word] if is_raw_url(word) else word.split(",") for word in text.split()]
    found = tuple(_single(each) for pieces in words for each in pieces if each)
    if len(found) > LONGEST_LIST:
        raise TaskURLError(public=f"A list has at most {LONGEST_LIST} files.")
    if len(found) > 1:
        return Source(kind=SourceKind.LIST, items=found)
    return found[0] if found else None


def _single(text: str) -> Source:
    source = read_source(check_text(text), percent=False)
    if source.kind is SourceKind.EXTERNAL:
        return Source(kind=SourceKind.EXTERNAL, text=read_url(source.text).url)
    if source.kind is not SourceKind.HANDLE:
        raise BadRequest(public="A source is tried out by its handle, or by its address.")
    return source


def members(source: Source | None) -> tuple[Source, ...]:
    """The single sources in one."""
    if source is None:
        return ()
    return source.items if source.kind is SourceKind.LIST else (source,)


def chain_of(registry: Registry, tasks: Sequence[Task], source: Source | None) -> Chain:
    """Tasks and a source that fit each other. Raises `TaskURLError`, `NotProvided`."""
    plan = negotiate(registry, bind(registry, tasks), ACCEPT)
    first, count = tasks[0].name if tasks else "This", len(members(source))
    if source is None and not plan.sourceless:
        raise TaskURLError(public="Choose a file first.")
    if count > max(1, plan.most_sources):
        raise TaskURLError(public=f"{first} takes {'one file' if plan.most_sources < 2 else f'{plan.most_sources} files'}.")
    if plan.visits and (source is None or source.kind is not SourceKind.EXTERNAL):
        raise TaskURLError(public=f"{first} needs the address of a page elsewhere, instead of a file.")
    if count + len(plan.references) > MAX_SOURCES:
        raise TaskURLError(public=f"A chain works on at most {MAX_SOURCES} files.")
    return Chain(tasks=tuple(tasks), plan=plan, source=source)


# ----------------------------------------------------------------------------------------------------------- addresses


def needs_policy(application: Application, chain: Chain) -> bool:
    """Whether the address of a chain works only with a policy in it."""
    asked = demands(_calls(chain))
    required = not asked.kinds.isdisjoint(application.required)
    return application.require_policy or chain.plan.authenticated or asked.authenticated or required


def link_of(application: Application, chain: Chain, *, expires_in: int, now: float, sign: bool = True) -> Link:
    """The address of a chain's result. Where a policy is needed, with `sign`, it has one for these calls and files only, as far
    as a policy can say that, and for so many seconds.

    Raises `TaskURLError` for an address longer than servers take, `BadRequest` for a life that no policy has.
    """
    source, signed, expiry, bound = chain.source, None, None, True
    if sign and needs_policy(application, chain):
        limits: dict[str, Any] = {}
        if source is not None and not chain.plan.references and source.kind is SourceKind.HANDLE:
            limits["handle"] = source.text
        elif source is not None and not chain.plan.references and source.kind is SourceKind.EXTERNAL:
            limits["url"] = re.escape(source.text)
        bound = bool(limits)
        try:
            signed = application.sign(expires_in=expires_in, now=now, call=sorted(_calls(chain)), **limits)
        except ConfigurationError as fault:
            raise BadRequest(str(fault), public=f"No policy can say this: {fault}.") from None
        expiry = Policy.decode(signed.encoded).expiry
    key = None if source is not None and source.kind is SourceKind.HANDLE else application.api_key
    path = TaskURL(api_key=key, tasks=chain.tasks, source=source, signed=signed).format()
    if len(path) > MAX_PATH:
        raise TaskURLError(public=f"The address is longer than the {MAX_PATH} characters that a server takes.")
    return Link(path=path, signed=signed, expiry=expiry, bound=bound)


def _calls(chain: Chain) -> frozenset[Call]:
    as_it_is = not chain.tasks and chain.source is not None and chain.source.kind is SourceKind.HANDLE
    return frozenset({Call.READ}) if as_it_is else chain.plan.calls


# ------------------------------------------------------------------------------------------------------------- results


class Tryout:
    """Makes results. Thread-safe. At most `places` are in the making at once, so that deliveries find decoders too."""

    def __init__(
        self,
        files: Files,
        fetched: FetchedFiles,
        renditions: Renditions,
        usage: Usage,
        *,
        places: int,
        max_bytes: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._files = files
        self._fetched = fetched
        self._renditions = renditions
        self._usage = usage
        self._places = threading.BoundedSemaphore(places)
        self._max_bytes = max_bytes
        self._clock = clock

    def check(self, application: Application, chain: Chain) -> None:
        """Every stored file that a chain uses is there and of this application. Raises `NotFound`, `Held`, `BadRequest`."""
        for source in (*members(chain.source), *chain.plan.references):
            if source.kind is SourceKind.HANDLE:
                if self._files.find(source.text).application != application.api_key:
                    raise NotFound("the file belongs to another application")
            elif source.kind is not SourceKind.EXTERNAL:
                raise BadRequest(public="A source is tried out by its handle, or by its address.")

    def make(self, application: Application, chain: Chain) -> Made:
        """The result of a chain, made now if it is not kept. Who may fetch its addresses was decided before.

        Raises the faults of sources and tasks, `Busy` when others try out too much at this moment, `TaskURLError` for what
        becomes a job and for a chain without tasks.
        """
        self.check(application, chain)
        if chain.plan.lengthy or not chain.tasks:
            raise TaskURLError(public="This becomes a job when its address is asked for; it is not tried out here.")
        if not self._places.acquire(timeout=_PATIENCE):
            raise Busy("too much is tried out")
        try:
            sources = self._sources(application, chain)
            began = self._clock()
            found = self._renditions.find(application, sources, chain.plan)
            rendition = found or self._renditions.get(application, sources, chain.plan)
            self._usage.add((application.api_key, RESULTS, "made" if found is None else "disk"))
            return Made(rendition=rendition, seconds=self._clock() - began, kept=found is not None)
        finally:
            self._places.release()

    def _sources(self, application: Application, chain: Chain) -> list[SourceFile]:
        if chain.plan.visits:
            return [SourceFile.address("" if chain.source is None else chain.source.text)]
        named = (*members(chain.source), *chain.plan.references)
        if chain.source is None:
            return [SourceFile.of_bytes(b""), *(self._source(application, each) for each in named)]
        return [self._source(application, each) for each in named]

    def _source(self, application: Application, source: Source) -> SourceFile:
        if source.kind is SourceKind.HANDLE:
            return SourceFile.stored(self._files.find(source.text), self._files)
        most = min(self._max_bytes, application.limits.max_bytes)
        return self._fetched.get(application.api_key, read_url(source.text).url, max_bytes=most, check=lambda _: None)
