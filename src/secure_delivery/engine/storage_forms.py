"""The options of storage providers, as a form needs them: words, choices, which are secret, which are needed.

Knows: params of providers, and the option that every storage has. Must not know: HTTP, rows, what a provider is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..plugin.params import REQUIRED, Param
from ..plugin.protocols import StorageProvider, Titled

#: Written as people do in forms, not as in code.
_CAPITALS = {"id": "ID", "kms": "KMS", "sse": "SSE", "sas": "SAS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `default` is the text that stands for it, empty where there is none; `choices` are all texts that may be
    given, none where it is free. `says` is for people."""

    name: str
    label: str
    says: str
    choices: tuple[str, ...] = ()
    secret: bool = False
    needed: bool = False
    default: str = ""


#: What every storage of an application has, besides the options of its provider.
PATH = Option(
    name="path",
    label="Path",
    says="Where files go that name no path: a folder that ends with a slash, as incoming/. Empty for the root.",
)


def title_of(name: str, provider: StorageProvider | None) -> str:
    """What people call a kind of storage."""
    return provider.title if isinstance(provider, Titled) else name


def options_of(provider: StorageProvider) -> tuple[Option, ...]:
    """Every option of a provider: those that are needed first, then as the provider lists them, and the path."""
    found = [_option(param, secret=param.name in provider.secrets) for param in provider.params]
    return (*sorted(found, key=lambda option: not (option.needed or option.secret)), PATH)


def misfit(
    provider: StorageProvider, given: Mapping[str, str], *, kept: frozenset[str] = frozenset()
) -> tuple[str, str] | None:
    """The first option of `given` that cannot be what it is, and a sentence why; None where all can. `kept` are options that
    have a value already. A value is never told."""
    params = {param.name: param for param in provider.params}
    for name in given:
        if name != PATH.name and name not in params:
            return name, "There is no such option."
    for param in provider.params:
        text, label = given.get(param.name, ""), label_of(param.name)
        if not text:
            if param.default is REQUIRED and (param.name in given or param.name not in kept):
                return param.name, f"{label} is needed: {param.kind.allowed}."
            continue
        try:
            param.kind.read(text)
        except ValueError:
            return param.name, f"{label} is {param.kind.allowed}."
    return None


def label_of(name: str) -> str:
    """An option as people write it: `access_key_id` is Access key ID."""
    words = [_CAPITALS.get(word, word) for word in name.split("_")]
    return " ".join((words[0][:1].upper() + words[0][1:], *words[1:]))


def _option(param: Param, *, secret: bool) -> Option:
    known = _default(param)
    usual = f" {known} unless you say otherwise." if known and not param.kind.choices else ""
    allowed = "" if param.kind.choices else f" {param.kind.allowed[:1].upper()}{param.kind.allowed[1:]}."
    return Option(
        name=param.name,
        label=label_of(param.name),
        says=f"{param.says}{allowed}{usual}".strip(),
        choices=param.kind.choices,
        secret=secret,
        needed=param.default is REQUIRED,
        default=known,
    )


def _default(param: Param) -> str:
    value: Any = param.default
    if value is REQUIRED or value is None or value == ():
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
