"""Forms for tasks, made of what plugins declare: a field for each parameter, with its kind, range, choices and default.

Knows: parameters, words for tasks. Must not know: markup, any task in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...plugin.manager import Registry
from ...plugin.params import REQUIRED, Param
from ...plugin.protocols import Asking, Gathering, Lengthy, Sourceless, Visiting
from ...plugin.selection import providers
from .task_words import GROUPS, WORDS

_YES_NO = ("true", "false")


def described(registry: Registry, name: str) -> dict[str, Any]:
    """A task as JSON values: what it is for, its parameters, and what it needs. `lacks` are detectors that nobody provides with
    the defaults."""
    transformation = registry.transformations[name]
    group, says = WORDS.get(name, (_plugin(registry, name), ""))
    every = providers(transformation)
    defaults = {param.name: None if param.default is REQUIRED else param.default for param in transformation.params}
    asked = {detector for one in every if isinstance(one, Asking) for detector in one.asks(defaults)}
    return {
        "name": name,
        "says": says,
        "group": group,
        "files": max([one.most_sources for one in every if isinstance(one, Gathering)], default=1),
        "source": "page" if any(isinstance(one, Visiting) and one.visits for one in every)
        else "none" if any(isinstance(one, Sourceless) and one.sourceless for one in every)
        else "file",
        "job": any(isinstance(one, Lengthy) and one.lengthy for one in every),
        "lacks": sorted(detector for detector in asked if detector not in registry.detectors),
        "params": [_param(param) for param in transformation.params],
    }  # fmt: skip


def filled(registry: Registry, name: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """A task of a chain: the same, with what was typed in each field. One that is not installed has no fields."""
    if name not in registry.transformations:
        return {"name": name, "says": "", "group": "", "lacks": [], "params": [], "unknown": True}
    told = described(registry, name)
    for param in told["params"]:
        values = [typed[key] for key in (param["name"], *param["aliases"]) if key in typed]
        param["value"] = values[0] if values else ""
    return told | {"unknown": False}


def groups(registry: Registry) -> list[dict[str, Any]]:
    """All tasks under their headings, in the order in which people look through them."""
    found: dict[str, list[dict[str, str]]] = {group: [] for group in GROUPS}
    order = {name: number for number, name in enumerate(WORDS)}
    for name in sorted(registry.transformations, key=lambda name: (order.get(name, len(order)), name)):
        group, says = WORDS.get(name, (_plugin(registry, name), ""))
        found.setdefault(group, []).append({"name": name, "says": says})
    return [{"name": group, "tasks": tasks} for group, tasks in found.items() if tasks]


def _plugin(registry: Registry, name: str) -> str:
    offering = [report.name for report in registry.reports if name in report.offers.get("transformations", ())]
    return f"Plugin {offering[0]}" if offering else "Others"


def _param(param: Param) -> dict[str, Any]:
    kind = param.kind
    form = "switch" if kind.choices == _YES_NO else "choice" if kind.choices else "number" if kind.bounds else "text"
    return {
        "name": param.name,
        "aliases": list(param.aliases),
        "form": form,
        "allowed": kind.allowed,
        "says": param.says,
        "choices": list(kind.choices),
        "least": kind.bounds[0] if kind.bounds else None,
        "most": kind.bounds[1] if kind.bounds else None,
        "whole": kind.whole,
        "required": param.default is REQUIRED,
        "default": _default(param),
        "value": "",
    }


def _default(param: Param) -> str:
    """A default as somebody would type it."""
    value = param.default
    if value is None or value is REQUIRED:
        return ""
    return _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        if len(value) == 4 and all(type(each) is int and 0 <= each <= 255 for each in value):  # a colour, read
            return "transparent" if value[3] == 0 else "".join(f"{each:02x}" for each in value[: 3 if value[3] == 255 else 4])
        return f"[{','.join(_said(each) for each in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
