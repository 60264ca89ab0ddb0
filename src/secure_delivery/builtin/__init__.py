"""The defaults, as a plugin like any other: what the project itself offers goes through the hooks it asks others to use.

Knows: its own settings. Must not know: the engine, any other plugin.

Settings, under `[plugins.builtin]`: `root`, the folder of the storage `local`. Without it no storage is offered; the engine
sets it to a folder of its data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..gate.errors import ConfigurationError
from ..plugin import Settings, Storage, Transformation, hookimpl
from . import intelligence
from .local_storage import LocalStorage

__all__ = ["register_storages", "register_transformations", "self_test"]

_KNOWN = frozenset({"root"})


@hookimpl
def self_test(settings: Settings) -> None:
    """Refuse settings that nobody here reads, and a root that is no path: a misspelt setting must not be no setting."""
    if unknown := sorted(settings.keys() - _KNOWN):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there is: {', '.join(sorted(_KNOWN))}")
    root = settings.get("root")
    if root is not None and (not isinstance(root, (str, Path)) or not str(root).strip() or "\0" in str(root)):
        raise ConfigurationError("root: the path of a folder is wanted")


@hookimpl
def register_storages(settings: Settings) -> Mapping[str, Storage] | None:
    """`local`: blobs as files under `root`."""
    root = settings.get("root")
    return None if root is None else {"local": LocalStorage(Path(root))}


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """The intelligence tasks: they only ask detectors, which plugins provide."""
    return intelligence.transformations()
