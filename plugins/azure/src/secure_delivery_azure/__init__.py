"""Azure Blob Storage for secure-delivery.

Knows: the hooks. Must not know: the client library, which is imported when the first request is made.

Without settings the plugin offers storages to applications. With a `container` under `[plugins.azure]` the server's own blobs
can be kept there too, under an optional `prefix`; the other settings are the options of a storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import (
    ConfigurationError,
    Dial,
    Param,
    Settings,
    Storage,
    StorageProvider,
    check_installed,
    hookimpl,
)
from secure_delivery.plugin.straight import straight
from secure_delivery.plugin.tries import Patience

from . import keys, options
from .kept import KeptBlobs, kept
from .storage import AzureStorage, connect

__all__ = ["AzureProvider", "register_storage_providers", "register_storages", "self_test"]

_NEEDED = {"azure.storage.blob": "azure-storage-blob", "requests": "requests"}


class AzureProvider:
    """A `StorageProvider`: storages in Azure Blob Storage, each with an account or a signature of its own."""

    title = "Azure Blob Storage"
    params: tuple[Param, ...] = options.PARAMS
    secrets = options.SECRETS

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience

    def connect(self, options: Mapping[str, Any], dial: Dial) -> AzureStorage:
        """A storage with these options. Makes no request; raises `ValueError` when they do not go together."""
        return connect(_check(options), dial, self._patience)


_check = options.check


@hookimpl
def self_test(settings: Settings) -> None:
    """Say which library is missing, or what is wrong with the settings. Nothing is imported."""
    check_installed(_NEEDED)
    _own(settings)


@hookimpl
def register_storage_providers(settings: Settings) -> Mapping[str, StorageProvider]:
    """`azure`."""
    return {"azure": AzureProvider()}


@hookimpl
def register_storages(settings: Settings) -> Mapping[str, Storage]:
    """`azure`, when the settings name a container for the server's own blobs."""
    storage = _own(settings)
    return {} if storage is None else {"azure": storage}


def _own(settings: Settings) -> KeptBlobs | None:
    """The operator's storage by the settings; none without any. Raises `ConfigurationError`."""
    if not settings:
        return None
    known = {param.name for param in options.PARAMS} - {"write_only", "containers"} | {"prefix"}
    if unknown := sorted(settings.keys() - known):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there is: {', '.join(sorted(known))}")
    try:
        prefix = keys.prefix(str(settings.get("prefix", "")))
    except ValueError:
        raise ConfigurationError("prefix: letters, digits, `.`, `_` and `-`, in folders divided by `/`, are wanted") from None
    try:
        bound = options.bind({name: value for name, value in settings.items() if name != "prefix"})
        checked = options.check(bound)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return kept(connect(checked, straight(insecure=checked.insecure)), prefix)
