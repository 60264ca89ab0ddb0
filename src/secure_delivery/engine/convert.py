"""Chains of tasks: from the text of a URL to a plan that can be run and named.

Knows: the registry of transformations and their parameters. Must not know: bytes, HTTP, how a chain is run.

Binding happens before any byte is fetched: an unknown task, parameter or value is the client's fault and costs nothing
(style principle 11). A plan's `canonical` text is the same for every spelling of the same work, so that results are found
again whoever asks, however signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from ..gate.errors import NotProvided, TaskURLError
from ..gate.policy import CALL_NAMES, Call
from ..gate.tasksource import Source
from ..gate.taskurl import Task
from ..plugin.manager import Registry
from ..plugin.params import REQUIRED, Param
from ..plugin.protocols import (
    Asking,
    Authenticated,
    Checked,
    Demanding,
    Gathering,
    Lengthy,
    Negotiated,
    Referring,
    Sourceless,
    Transformation,
    Visiting,
)
from ..plugin.selection import providers
from . import controls
from .controls import CONTROLS, Controls

#: Bump when the engine itself would give other bytes for the same plan.
ENGINE_VERSION = "2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One task with every parameter bound, and the files that its options name."""

    name: str
    options: Mapping[str, Any]
    references: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A chain that will run: its steps, and the text that names it together with the code that runs it.

    * `calls`: what a request for it must be granted; `authenticated`: whether it needs a policy in any case.
    * `most_sources`: how many a list may have; 1 where a list is no source for it.
    * `sourceless`: it can do without any; `visits`: its source is the address of a page.
    * `negotiated`: the result depends on the `Accept` header, see `negotiate`.
    * `lengthy`: it becomes a job.
    """

    steps: tuple[Step, ...]
    canonical: str
    calls: frozenset[Call] = frozenset({Call.CONVERT})
    authenticated: bool = False
    most_sources: int = 1
    sourceless: bool = False
    visits: bool = False
    negotiated: bool = False
    lengthy: bool = False
    controls: Controls = field(default_factory=Controls)

    @property
    def references(self) -> tuple[Source, ...]:
        """The files that options name, in the order in which the chain gets them."""
        return tuple(source for step in self.steps for source in step.references)

    @property
    def stores(self) -> bool:
        """Whether the result becomes a file."""
        return self.controls.store is not None


#: The plan of a URL without tasks: its source as it is.
NOTHING = Plan(steps=(), canonical=json.dumps([ENGINE_VERSION, []], separators=(",", ":")))


def bind(registry: Registry, tasks: Sequence[Task]) -> Plan:
    """Bind a chain of tasks to the installed transformations.

    Raises `TaskURLError` naming the task, the parameter and what is allowed, with the nearest known name; `NotProvided`
    for one that asks for a detector nobody provides.
    """
    found = _controls([task for task in tasks if task.name in CONTROLS])
    steps = []
    for task in tasks:
        if task.name in CONTROLS:
            continue
        transformation = registry.transformations.get(task.name)
        if transformation is None:
            near = _near(task.name, [*registry.transformations, *CONTROLS, "security", "debug"])
            raise TaskURLError(public=f"There is no task {_quoted(task.name)}.{near}")
        options = _options(task, transformation)
        steps.append(Step(name=task.name, options=options, references=_references(task.name, transformation, options)))
    if found.metadata is not None and len(tasks) > 1:
        raise TaskURLError(public="metadata describes a stored file and stands alone.")
    return _plan(registry, tuple(steps), found)


def _plan(registry: Registry, steps: tuple[Step, ...], found: Controls) -> Plan:
    calls = {Call.CONVERT} if found.metadata is None else {Call.STAT}
    if found.metadata is not None and "exif" in found.metadata:
        calls.add(Call.EXIF)
    for step in steps:
        for one in _providers(registry, step):
            if isinstance(one, Demanding):
                calls |= {CALL_NAMES[name] for name in one.demands(step.options)}
            if isinstance(one, Asking):
                _check_detectors(registry, step, one.asks(step.options))
    if found.store is not None:
        calls.add(Call.STORE)
    first = _providers(registry, steps[0]) if steps else ()
    every = [one for step in steps for one in _providers(registry, step)]
    lengthy = any(isinstance(one, Lengthy) and one.lengthy for one in every)
    if lengthy and (len(steps) > 1 or found != Controls()):
        raise TaskURLError(public="A conversion that becomes a job stands alone: its result is stored as its options say.")
    return Plan(
        steps=steps,
        canonical=_canonical(registry, steps),
        calls=frozenset(calls),
        authenticated=any(isinstance(one, Authenticated) and one.authenticated for one in every),
        most_sources=max([one.most_sources for one in first if isinstance(one, Gathering)], default=1),
        sourceless=any(isinstance(one, Sourceless) and one.sourceless for one in first),
        visits=any(isinstance(one, Visiting) and one.visits for one in first),
        negotiated=any(isinstance(one, Negotiated) for one in every),
        lengthy=lengthy,
        controls=found,
    )


def negotiate(registry: Registry, plan: Plan, accept: str) -> Plan:
    """The plan for a client that sent this `Accept` header; the same plan where nothing depends on it."""
    if not plan.negotiated:
        return plan
    steps = []
    for step in plan.steps:
        options = step.options
        for one in _providers(registry, step):
            if isinstance(one, Negotiated):
                options = {**options, **one.negotiate(options, accept)}
        steps.append(replace(step, options=options))
    return replace(plan, steps=tuple(steps), canonical=_canonical(registry, steps))


def _providers(registry: Registry, step: Step) -> tuple[Transformation, ...]:
    return providers(registry.transformations[step.name])


def _canonical(registry: Registry, steps: Iterable[Step]) -> str:
    named = []
    for step in steps:
        transformation = registry.transformations[step.name]
        asked = {name for one in providers(transformation) if isinstance(one, Asking) for name in one.asks(step.options)}
        detectors = [[name, registry.version_of("detectors", name), registry.detectors[name].version] for name in sorted(asked)]
        version = registry.version_of("transformations", step.name)
        named.append([step.name, sorted(step.options.items()), transformation.version, version, detectors])
    return json.dumps([ENGINE_VERSION, named], separators=(",", ":"), sort_keys=True)


def _check_detectors(registry: Registry, step: Step, names: Iterable[str]) -> None:
    for name in sorted(names):
        if name not in registry.detectors:
            sentence = f"{step.name} needs a plugin that provides the detector '{name}' (hook register_detectors)."
            raise NotProvided(f"no detector {name!r}", public=sentence)


def _references(name: str, transformation: Transformation, options: Mapping[str, Any]) -> tuple[Source, ...]:
    """The files that the options of a task name, once each however many providers say so."""
    for one in providers(transformation):
        if isinstance(one, Referring):
            return tuple(controls.source_of(text, f"A file of {name}") for text in one.references(options))
    return ()


# ------------------------------------------------------------------------------------------------------------- controls


def _controls(tasks: Sequence[Task]) -> Controls:
    found: dict[str, Any] = {}
    for task in tasks:
        if task.name in found:
            raise TaskURLError(public=f"{task.name} is given twice.")
        found[task.name] = controls.metadata_names(task) if task.name == "metadata" else _control(task)
    fallback = found.get("fallback")
    return Controls(
        store=found.get("store"),
        cache=_cache(found["cache"]) if "cache" in found else None,
        fallback=None if fallback is None else controls.source_of(fallback["handle"], "The file of fallback"),
        fallback_age=None if fallback is None else controls.seconds(fallback["cache"]),
        metadata=found.get("metadata"),
    )


def _control(task: Task) -> dict[str, Any]:
    # `cache=false` is the one option without a value.
    options = tuple(("false", "true") if not key else (key, value) for key, value in task.options)
    return _bound_options(Task(name=task.name, options=options), CONTROLS[task.name])


def _cache(options: Mapping[str, Any]) -> int | bool | None:
    if options["false"]:
        if options["expiry"] is not None:
            raise TaskURLError(public="cache: expiry and false contradict each other.")
        return False
    if options["expiry"] is None:
        raise TaskURLError(public="cache needs expiry or false.")
    return controls.seconds(options["expiry"])


# -------------------------------------------------------------------------------------------------------------- options


def _options(task: Task, transformation: Transformation) -> dict[str, Any]:
    """A value for every parameter: what the URL says under any of its names, else the default."""
    bound = _bound_options(task, transformation.params)
    for one in providers(transformation):
        if isinstance(one, Checked):
            try:
                one.check(bound)
            except ValueError as error:
                raise TaskURLError(public=f"{task.name}: {error}") from None
    return bound


def _bound_options(task: Task, params: Sequence[Param]) -> dict[str, Any]:
    by_name = {name: param for param in params for name in (param.name, *param.aliases)}
    bound: dict[str, Any] = {}
    for key, value in task.options:
        param = by_name.get(key)
        if param is None:
            known = [known.name for known in params]
            listed = f" It takes {_listed(known)}." if known else " It takes no options."
            raise TaskURLError(public=f"{task.name} has no option {_quoted(key)}.{_near(key, by_name)}{listed}")
        if param.name in bound:
            raise TaskURLError(public=f"{task.name}: {param.name} is given twice.")
        bound[param.name] = _bound(task, param, value)
    for param in params:
        if param.name not in bound:
            if param.default is REQUIRED:
                raise TaskURLError(public=f"{task.name} needs {param.name}: {param.kind.allowed}.")
            bound[param.name] = param.default
    return bound


def _bound(task: Task, param: Param, value: Any) -> Any:
    try:
        return param.kind.read(value)
    except ValueError:
        raise TaskURLError(public=f"{task.name}: {param.name} must be {param.kind.allowed}.") from None


def _quoted(text: str) -> str:
    return f"'{text[:60]}'"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close and close[0] != name else ""
