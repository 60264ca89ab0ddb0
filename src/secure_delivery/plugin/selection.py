"""One task offered by several plugins, each for types of files of its own.

Knows: types of files, parameters. Must not know: how plugins are found, what a chain is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..gate.errors import ConfigurationError, Unsupported
from .params import Param
from .protocols import Media, Selective, Transformation, Workshop


@dataclass(frozen=True, slots=True)
class OneOf:
    """A `Transformation` that leaves the work to the provider that fits the file when its turn comes.

    `providers` are in order of rank. Raises `ConfigurationError` when two read an option differently.
    """

    name: str
    providers: tuple[Transformation, ...] = field(repr=False)
    params: tuple[Param, ...] = field(init=False, repr=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", _united(self.name, self.providers))
        object.__setattr__(self, "version", "+".join(provider.version for provider in self.providers))

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """The work of the fitting provider. Raises `Unsupported` when none fits, and the faults of the provider."""
        provider = fitting(self.providers, media.mimetype)
        if provider is None:
            raise Unsupported(f"{self.name} of {media.mimetype}", public=f"{self.name}: Unsupported input format.")
        return provider.apply(media, options, shop)


def providers(transformation: Transformation) -> tuple[Transformation, ...]:
    """Everything that may do the work of a task: abilities are asked of these."""
    return transformation.providers if isinstance(transformation, OneOf) else (transformation,)


def fitting(candidates: Sequence[Transformation], mimetype: str) -> Transformation | None:
    """The candidate for a type of file: one that names it, else one that names its family, else one for all types."""
    family = mimetype.partition("/")[0] + "/*"
    for wanted in (mimetype, family):
        for candidate in candidates:
            if isinstance(candidate, Selective) and wanted in candidate.accepts:
                return candidate
    return next((candidate for candidate in candidates if not isinstance(candidate, Selective)), None)


def _united(name: str, candidates: Sequence[Transformation]) -> tuple[Param, ...]:
    """The parameters of all. A URL is bound before the file is seen, so an option has one meaning."""
    united: dict[str, Param] = {}
    spelled: dict[str, str] = {}
    for param in (param for candidate in candidates for param in candidate.params):
        known = united.setdefault(param.name, param)
        if (known.kind.allowed, known.aliases, known.default) != (param.kind.allowed, param.aliases, param.default):
            raise ConfigurationError(f"the plugins that offer {name!r} disagree about its option {param.name!r}")
        for word in (param.name, *param.aliases):
            if spelled.setdefault(word, param.name) != param.name:
                raise ConfigurationError(f"the plugins that offer {name!r} mean different options by {word!r}")
    return tuple(united.values())
