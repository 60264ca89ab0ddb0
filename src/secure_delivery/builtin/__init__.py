"""The defaults, as a plugin like any other: what the project itself offers goes through the hooks it asks others to use.

Knows: its own settings. Must not know: the engine, any other plugin.

Settings, under `[plugins.builtin]`:

* `root`: the folder of the storage `local`. Without it no storage is offered; the engine sets it to a folder of its data
  folder.
* `verify`: keep the SHA-256 of each blob with it and compare it whenever the whole blob is read. Off unless set: it costs
  about 0.6 ms of processor time a megabyte, written and read, and such blobs cannot be handed to a web server.
* `group_read`: let the group of the root read files, as a web server of another user has to. Off unless set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..gate.errors import ConfigurationError
from ..plugin import Extractor, Settings, Storage, Transformation, hookimpl
from . import extractors, intelligence
from .local_storage import LocalStorage

__all__ = ["register_extractors", "register_storages", "register_transformations", "self_test"]

_FLAGS = ("group_read", "verify")
_KNOWN = frozenset({"root", *_FLAGS})


@hookimpl
def self_test(settings: Settings) -> None:
    """Refuse settings that nobody here reads, and a root that is no path: a misspelt setting must not be no setting."""
    if unknown := sorted(settings.keys() - _KNOWN):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there is: {', '.join(sorted(_KNOWN))}")
    root = settings.get("root")
    if root is not None and (not isinstance(root, (str, Path)) or not str(root).strip() or "\0" in str(root)):
        raise ConfigurationError("root: the path of a folder is wanted")
    for name in _FLAGS:
        if not isinstance(settings.get(name, False), bool):
            raise ConfigurationError(f"{name}: true or false is wanted")


@hookimpl
def register_storages(settings: Settings) -> Mapping[str, Storage] | None:
    """`local`: blobs as files under `root`."""
    root = settings.get("root")
    if root is None:
        return None
    flags = {name: bool(settings.get(name, False)) for name in _FLAGS}
    return {"local": LocalStorage(Path(root), **flags)}


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """The intelligence tasks: they only ask detectors, which plugins provide."""
    return intelligence.transformations()


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`checksum` and `stat`, which every file has."""
    return extractors.extractors()
