"""Google Cloud Storage for secure-delivery.

Knows: the hooks. Must not know: the client library, which is imported when the first request is made.

Without settings the plugin offers storages to applications. With a `bucket` under `[plugins.gcs]` the server's own blobs can
be kept there too, under an optional `prefix`; the other settings are the options of a storage.
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
from .kept import KeptBlobs
from .storage import GcsStorage

__all__ = ["GcsProvider", "register_storage_providers", "register_storages", "self_test"]

_NEEDED = {"google.cloud.storage": "google-cloud-storage", "google_crc32c": "google-crc32c", "requests": "requests"}


class GcsProvider:
    """A `StorageProvider`: storages in Google Cloud Storage, each with a service account of its own."""

    title = "Google Cloud Storage"
    params: tuple[Param, ...] = options.PARAMS
    secrets = options.SECRETS

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience

    def connect(self, options: Mapping[str, Any], dial: Dial) -> GcsStorage:
        """A storage with these options. Makes no request; raises `ValueError` when they do not go together."""
        return GcsStorage(_check(options), dial, self._patience)


_check = options.check


@hookimpl
def self_test(settings: Settings) -> None:
    """Say which library is missing, or what is wrong with the settings. Nothing is imported."""
    check_installed(_NEEDED)
    _own(settings)


@hookimpl
def register_storage_providers(settings: Settings) -> Mapping[str, StorageProvider]:
    """`gcs`."""
    return {"gcs": GcsProvider()}


@hookimpl
def register_storages(settings: Settings) -> Mapping[str, Storage]:
    """`gcs`, when the settings name a bucket for the server's own blobs."""
    storage = _own(settings)
    return {} if storage is None else {"gcs": storage}


def _own(settings: Settings) -> KeptBlobs | None:
    """The operator's storage by the settings; none without any. Raises `ConfigurationError`."""
    if not settings:
        return None
    known = {param.name for param in options.PARAMS} - {"write_only", "buckets"} | {"prefix"}
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
    return KeptBlobs(GcsStorage(checked, straight(insecure=checked.insecure)), prefix)
