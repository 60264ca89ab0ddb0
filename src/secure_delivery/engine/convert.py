"""Chains of tasks: from the text of a URL to a plan that can be run and named.

Knows: the registry of transformations and their parameters. Must not know: bytes, HTTP, how a chain is run.

Binding happens before any byte is fetched: an unknown task, parameter or value is the client's fault and costs nothing
(style principle 11). A plan's `canonical` text is the same for every spelling of the same work, so that results are found
again whoever asks, however signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..gate.errors import TaskURLError
from ..gate.policy import CALL_NAMES, Call
from ..gate.taskurl import Task
from ..plugin.manager import Registry
from ..plugin.params import REQUIRED, Param
from ..plugin.protocols import Checked, Demanding, Transformation

#: Bump when the engine itself would give other bytes for the same plan.
ENGINE_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One task with every parameter bound."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A chain that will run: its steps, and the text that names it together with the code that runs it."""

    steps: tuple[Step, ...]
    canonical: str
    #: What a request for it must be granted.
    calls: frozenset[Call] = frozenset({Call.CONVERT})


def bind(registry: Registry, tasks: Sequence[Task]) -> Plan:
    """Bind a chain of tasks to the installed transformations.

    Raises `TaskURLError` naming the task, the parameter and what is allowed, with the nearest known name.
    """
    steps, named, calls = [], [], {Call.CONVERT}
    for task in tasks:
        transformation = registry.transformations.get(task.name)
        if transformation is None:
            raise TaskURLError(public=f"There is no task {_quoted(task.name)}.{_near(task.name, registry.transformations)}")
        options = _options(task, transformation)
        steps.append(Step(name=task.name, options=options))
        if isinstance(transformation, Demanding):
            calls |= {CALL_NAMES[name] for name in transformation.demands(options)}
        version = registry.version_of("transformations", task.name)
        named.append([task.name, sorted(options.items()), transformation.version, version])
    canonical = json.dumps([ENGINE_VERSION, named], separators=(",", ":"), sort_keys=True)
    return Plan(steps=tuple(steps), canonical=canonical, calls=frozenset(calls))


def _options(task: Task, transformation: Transformation) -> dict[str, Any]:
    """A value for every parameter: what the URL says under any of its names, else the default."""
    by_name = {name: param for param in transformation.params for name in (param.name, *param.aliases)}
    bound: dict[str, Any] = {}
    for key, value in task.options:
        param = by_name.get(key)
        if param is None:
            known = [known.name for known in transformation.params]
            listed = f" It takes {_listed(known)}." if known else " It takes no options."
            raise TaskURLError(public=f"{task.name} has no option {_quoted(key)}.{_near(key, by_name)}{listed}")
        if param.name in bound:
            raise TaskURLError(public=f"{task.name}: {param.name} is given twice.")
        bound[param.name] = _bound(task, param, value)
    for param in transformation.params:
        if param.name not in bound:
            if param.default is REQUIRED:
                raise TaskURLError(public=f"{task.name} needs {param.name}: {param.kind.allowed}.")
            bound[param.name] = param.default
    if isinstance(transformation, Checked):
        try:
            transformation.check(bound)
        except ValueError as error:
            raise TaskURLError(public=f"{task.name}: {error}") from None
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
