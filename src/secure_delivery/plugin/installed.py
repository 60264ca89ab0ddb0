"""Whether the libraries of a plugin are there, asked without importing any of them.

Knows: how Python finds modules. Must not know: plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from ..gate.errors import ConfigurationError


def check_installed(modules: Mapping[str, str]) -> None:
    """For `self_test`: raise `ConfigurationError` naming the first library that is missing.

    `modules` maps what is imported to what is installed: `{"PIL": "Pillow"}`. Nothing is imported, so a server that never
    decodes does not carry what its plugins decode with.
    """
    for module, name in modules.items():
        if not _found(module):
            raise ConfigurationError(f"{name} is not installed")


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that a dotted name begins with
        return False
