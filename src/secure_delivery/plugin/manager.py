"""Finding plugins, asking each what it offers, and merging the answers into one `Registry`.

Knows: entry points, pluggy, the shape of each kind of thing. Must not know: the engine, the settings file, what any plugin
does. It is the only caller of hooks.

Each plugin has a pluggy manager of its own, because one raising implementation ends a whole pluggy call: so a plugin that
fails to import, to test itself or to register is reported and takes nothing with it, and none can wrap another's hooks.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, NamedTuple

import pluggy

from ..gate.errors import ConfigurationError
from . import hookspecs
from .params import Param
from .previewing import Extractor, Needs, Previewer
from .protocols import (
    CloudSource,
    Detector,
    Event,
    Program,
    Queue,
    Scanner,
    Settings,
    Storage,
    StorageProvider,
    Transformation,
)
from .selection import OneOf

GROUP = "secure_delivery"
logger = logging.getLogger("secure_delivery.plugin")

_NAME = re.compile(r"[a-z0-9_]{1,64}")
_LONGEST_PROBLEM = 400  # characters of a reason; an exception may carry a whole document


def _texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _params(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, Param) for item in value)


class _Kind(NamedTuple):
    """What one `register_*` hook may return: the protocol, methods that must be synchronous where present, attributes."""

    protocol: type
    methods: tuple[str, ...]
    attributes: Mapping[str, Callable[[object], bool]] = MappingProxyType({})


#: Every kind of thing; `register_KIND` is its hook and `Registry.KIND` its mapping.
_KINDS: Mapping[str, _Kind] = {
    "storages": _Kind(Storage, ("create", "open", "remove", "locate")),
    "storage_providers": _Kind(
        StorageProvider,
        ("connect",),
        {"params": _params, "secrets": lambda value: isinstance(value, frozenset)},
    ),
    "transformations": _Kind(
        Transformation,
        ("apply", "check", "warm", "demands", "asks", "references", "negotiate", "scale"),
        {"params": _params, "version": lambda value: isinstance(value, str)},
    ),
    "detectors": _Kind(Detector, ("detect", "warm"), {"version": lambda value: isinstance(value, str)}),
    "programs": _Kind(
        Program,
        (),
        {
            "executables": lambda value: _texts(value) and bool(value),
            "arguments": _texts,
            "suffixes": lambda value: _texts(value) and bool(value),
            "needs": _texts,
        },
    ),
    "previewers": _Kind(
        Previewer,
        ("preview", "probe", "warm"),
        {
            "mimetypes": _texts,
            "extensions": _texts,
            "priority": lambda value: isinstance(value, int),
            "family": lambda value: isinstance(value, str),
            "needs": lambda value: isinstance(value, Needs),
        },
    ),
    "extractors": _Kind(
        Extractor,
        ("extract", "read", "probe", "warm"),
        {
            "section": lambda value: isinstance(value, str),
            "call": lambda value: value in ("stat", "exif"),
            "schema": lambda value: isinstance(value, Mapping),
            "mimetypes": _texts,
            "extensions": _texts,
            "needs": lambda value: isinstance(value, Needs),
        },
    ),
    "queues": _Kind(Queue, ("announce", "serve")),
    "scanners": _Kind(Scanner, ("scan", "warm")),
    "cloud_sources": _Kind(CloudSource, ("list", "fetch")),
}
KINDS = tuple(_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """What became of one plugin, for operators.

    `origin` is `entry point module:attr`, `in process`, or `not installed` for one that only the settings name.
    `offers` holds the names in use by kind; `overshadowed` those that a plugin ranked above it provides instead. `problem`
    says in one line why the plugin is not available, or is None. It may quote the plugin's own words: not for clients.
    """

    name: str
    distribution: str = ""
    version: str = ""
    origin: str = "in process"
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    overshadowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everything the available plugins offer, by kind and name, and a report on each plugin.

    Built once by `load` and never changed. `previewers` is in the order in which they are to be tried.
    """

    storages: Mapping[str, Storage] = field(repr=False)
    storage_providers: Mapping[str, StorageProvider] = field(repr=False)
    transformations: Mapping[str, Transformation] = field(repr=False)
    detectors: Mapping[str, Detector] = field(repr=False)
    programs: Mapping[str, Program] = field(repr=False)
    previewers: Mapping[str, Previewer] = field(repr=False)
    extractors: Mapping[str, Extractor] = field(repr=False)
    queues: Mapping[str, Queue] = field(repr=False)
    scanners: Mapping[str, Scanner] = field(repr=False)
    cloud_sources: Mapping[str, CloudSource] = field(repr=False)
    reports: tuple[PluginReport, ...]
    _listeners: tuple[tuple[str, Callable[..., object]], ...] = field(repr=False)
    _versions: Mapping[tuple[str, str], str] = field(repr=False)

    def emit(self, event: Event) -> None:
        """Tell every listener, one by one. What a listener raises is logged, never passed on: the thing has happened."""
        for plugin, listener in self._listeners:
            try:
                listener(event=event)
            except (Exception, SystemExit):
                logger.exception("plugin %s failed on the event %s", plugin, event.name)

    def version_of(self, kind: str, name: str) -> str:
        """The distribution and version behind a name, as part of cache keys. Raises `KeyError` for what nobody offers."""
        return self._versions[kind, name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A plugin before anything of it was imported: its report so far, and how to get it."""

    report: PluginReport
    fetch: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A plugin that was asked: what it offers by kind and name (nothing when the report has a problem), its listener."""

    report: PluginReport
    things: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    listener: Callable[..., object] | None = None

    @property
    def name(self) -> str:
        return self.report.name


def load(
    *,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    blocked: Collection[str] = (),
    rank: Sequence[str] = (),
    extra: Mapping[str, object] = MappingProxyType({}),
) -> Registry:
    """Find, import and ask the installed plugins.

    `settings` has one mapping for each plugin name; `blocked` names plugins that are not even imported; `rank` lists plugin
    names from strongest to weakest. `extra` are plugins given as objects, for embedders and tests.

    A plugin that cannot be used is in `Registry.reports` with its problem. Raises `ConfigurationError` only for what the
    operator must settle: two plugins that offer the same name with neither in `rank`, settings of a plugin that are no mapping.
    """
    for name, table in settings.items():
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"plugins.{name}: a table of settings is wanted")
    order = {name: place for place, name in reversed(list(enumerate(rank)))}
    candidates = sorted(_candidates(extra), key=lambda one: (order.get(one.report.name, len(order)), one.report.name))
    claims = Counter(one.report.name for one in candidates)
    plugins = []
    for candidate in candidates:
        name = candidate.report.name
        if name in blocked:
            plugins.append(_Loaded(report=replace(candidate.report, problem="blocked by the settings")))
        elif claims[name] > 1:  # neither can be blocked, ranked or set up by name, so neither may win by luck
            plugins.append(_Loaded(report=replace(candidate.report, problem=_claimed(name, candidates))))
        else:
            plugins.append(_ask(candidate, MappingProxyType(dict(settings.get(name, {})))))
    absent = [name for name in settings if name not in claims and name not in blocked]
    reports = [PluginReport(name=name, origin="not installed", problem="has settings but is not installed") for name in absent]
    return _merge(plugins, order, tuple(reports))


# ------------------------------------------------------------------------------------------------------------- finding


def _candidates(extra: Mapping[str, object]) -> Iterator[_Candidate]:
    for entry_point in entry_points(group=GROUP):
        yield _Candidate(report=_described(entry_point), fetch=entry_point.load)
    for name, plugin in extra.items():
        version = getattr(plugin, "__version__", "")
        report = PluginReport(name=name, version=version if isinstance(version, str) else "")
        yield _Candidate(report=report, fetch=lambda plugin=plugin: plugin)  # type: ignore[misc]


def _described(entry_point: EntryPoint) -> PluginReport:
    """The report on an entry point, from metadata alone; broken metadata is no reason to stop the others."""
    try:
        distribution = str(entry_point.dist.name) if entry_point.dist else ""
        version = str(entry_point.dist.version) if entry_point.dist else ""
    except Exception:
        distribution = version = ""
    return PluginReport(
        name=entry_point.name, distribution=distribution, version=version, origin=f"entry point {entry_point.value}"
    )


def _claimed(name: str, candidates: Sequence[_Candidate]) -> str:
    claimants = [one.report.distribution or one.report.origin for one in candidates if one.report.name == name]
    return f"more than one plugin has this name: {', '.join(claimants)}"


# -------------------------------------------------------------------------------------------------------------- asking


def _ask(candidate: _Candidate, settings: Settings) -> _Loaded:
    """Import one plugin, let it test itself, and collect what it offers. Whatever it does, this returns."""
    try:
        manager = _registered(candidate.report.name, candidate.fetch())
        manager.hook.self_test(settings=settings)
        things = {kind: _offered(kind, getattr(manager.hook, f"register_{kind}")(settings=settings)) for kind in KINDS}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit at import, panics of native modules: all mean "not available"
        problem = _problem(error)
        logger.warning("plugin %s is not available: %s", candidate.report.name, problem)
        return _Loaded(report=replace(candidate.report, problem=problem))
    listens = bool(manager.hook.on_event.get_hookimpls())
    return _Loaded(report=candidate.report, things=things, listener=manager.hook.on_event if listens else None)


def _problem(error: BaseException) -> str:
    # Our own sentences are complete; anything else is told apart by its class.
    text = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_PROBLEM else text[: _LONGEST_PROBLEM - 3] + "..."


def _registered(name: str, plugin: object) -> pluggy.PluginManager:
    """A manager that holds this one plugin. Raises for implementations that no specification of this release fits."""
    if plugin is None:
        raise ConfigurationError("the entry point leads to None")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()
    implementations = [one for caller in manager.get_hookcallers(plugin) or () for one in caller.get_hookimpls()]
    if not implementations:
        raise ConfigurationError("it has no function marked with hookimpl")
    for one in implementations:
        if one.wrapper or one.hookwrapper:
            raise ConfigurationError(f"{one.function.__name__} is a hook wrapper; there is nothing to wrap")
        if _asynchronous(one.function):
            raise ConfigurationError(f"{one.function.__name__} is asynchronous; hooks are plain functions")
    return manager


def _asynchronous(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _offered(kind: str, answers: Sequence[object]) -> Mapping[str, Any]:
    """The checked union of what one plugin returned for one kind."""
    result: dict[str, Any] = {}
    for answer in answers:
        if not isinstance(answer, Mapping):
            raise ConfigurationError(
                f"register_{kind} returned {type(answer).__name__}; a mapping of names to things is wanted"
            )
        for name, thing in answer.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} cannot be a name among {kind}: lower-case letters, digits and underscores, at most 64"
                )
            if name in result:
                raise ConfigurationError(f"it offers {name!r} twice among {kind}")
            _check(kind, name, thing)
            result[name] = thing
    return result


def _check(kind: str, name: str, thing: object) -> None:
    """Raise unless the thing is what its kind asks for, as far as can be seen without using it."""
    protocol, methods, attributes = _KINDS[kind]
    wanted = protocol.__name__
    if inspect.isclass(thing):
        raise ConfigurationError(f"{name!r} among {kind} is a class; an instance of a {wanted} is wanted")
    if not isinstance(thing, protocol):
        raise ConfigurationError(f"{name!r} among {kind} is not a {wanted}: {type(thing).__name__} lacks a part of it")
    for method in methods:
        function = getattr(thing, method, None)
        if function is not None and not callable(function):
            raise ConfigurationError(f"{method} of {name!r} among {kind} cannot be called")
        if _asynchronous(function):
            raise ConfigurationError(f"{method} of {name!r} among {kind} is asynchronous; plugins are synchronous")
    for attribute, fits in attributes.items():
        if not fits(getattr(thing, attribute)):
            raise ConfigurationError(f"{attribute} of {name!r} among {kind} is not of the type that {wanted} declares")
    if isinstance(thing, Extractor) and kind == "extractors" and thing.section != name:
        raise ConfigurationError(f"the extractor {name!r} fills the section {thing.section!r}; both must be the same")


# ------------------------------------------------------------------------------------------------------------- merging


def _merge(plugins: Sequence[_Loaded], order: Mapping[str, int], absent: tuple[PluginReport, ...]) -> Registry:
    """One registry of all plugins, which are already in order of rank."""
    merged: dict[str, Mapping[str, Any]] = {}
    owners: dict[tuple[str, str], tuple[_Loaded, ...]] = {}
    conflicts: list[str] = []
    for kind in KINDS:
        offers: dict[str, list[_Loaded]] = {}
        for plugin in plugins:
            for name in plugin.things.get(kind, ()):
                offers.setdefault(name, []).append(plugin)
        for name, rivals in offers.items():
            sharing = _sharing(kind, name, rivals)
            owners[kind, name] = sharing or (rivals[0],)  # the strongest: ranked plugins come first
            if len(rivals) > 1 and not sharing and rivals[0].name not in order:
                conflicts.append(f"{' and '.join(rival.name for rival in rivals)} both offer {name!r} among {kind}")
        merged[kind] = MappingProxyType({name: _thing(kind, name, owners[kind, name]) for name in offers})
    if conflicts:
        raise ConfigurationError(
            f"plugins: {'; '.join(conflicts)}. Name the one to use first in plugins_rank, or the other in plugins_blocked"
        )
    merged["previewers"] = _in_order(merged["previewers"], owners, order)
    reports = tuple(_reported(plugin, owners) for plugin in plugins)
    return Registry(
        **merged,
        reports=reports + absent,
        _listeners=tuple((plugin.name, plugin.listener) for plugin in plugins if plugin.listener is not None),
        _versions={key: "+".join(_version(plugin.report) for plugin in sharing) for key, sharing in owners.items()},
    )


def _sharing(kind: str, name: str, rivals: Sequence[_Loaded]) -> tuple[_Loaded, ...]:
    """The plugins that offer one task together, each for types of its own; empty where they are rivals.

    One that is for all types may stand behind those that say theirs; two of that sort are rivals.
    """
    if kind != "transformations" or len(rivals) < 2:
        return ()
    claimed = [accepted for one in rivals for accepted in getattr(one.things[kind][name], "accepts", ("*",))]
    return tuple(rivals) if len(claimed) == len(set(claimed)) else ()


def _thing(kind: str, name: str, sharing: Sequence[_Loaded]) -> Any:
    things = [plugin.things[kind][name] for plugin in sharing]
    return things[0] if len(things) == 1 else OneOf(name, tuple(things))


def _in_order(
    previewers: Mapping[str, Previewer], owners: Mapping[tuple[str, str], tuple[_Loaded, ...]], order: Mapping[str, int]
) -> Mapping[str, Previewer]:
    """Previewers as they are to be tried: by rank of their plugin, then by priority, then by name so that no start differs."""

    def key(item: tuple[str, Previewer]) -> tuple[int, int, str]:
        name, previewer = item
        return order.get(owners["previewers", name][0].name, len(order)), -previewer.priority, name

    return MappingProxyType(dict(sorted(previewers.items(), key=key)))


def _reported(plugin: _Loaded, owners: Mapping[tuple[str, str], tuple[_Loaded, ...]]) -> PluginReport:
    """The report of a plugin, with its names told apart: those in use, and those that a stronger plugin provides."""
    used: dict[str, tuple[str, ...]] = {}
    overshadowed: dict[str, tuple[str, ...]] = {}
    for kind, things in plugin.things.items():
        mine = tuple(name for name in things if any(one is plugin for one in owners[kind, name]))
        lost = tuple(name for name in things if name not in mine)
        used |= {kind: mine} if mine else {}
        overshadowed |= {kind: lost} if lost else {}
    return replace(plugin.report, offers=MappingProxyType(used), overshadowed=MappingProxyType(overshadowed))


def _version(report: PluginReport) -> str:
    return f"{report.distribution or report.name} {report.version}".rstrip()
