"""Amazon S3, and what speaks like it, as a storage of secure-delivery.

Knows: the hooks. Must not know: S3, botocore, which only the first request loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from secure_delivery.plugin import ConfigurationError, Settings, Storage, StorageProvider, hookimpl

from .provider import S3Provider, server_storage

__all__ = ["S3Provider"]

_NEEDED = ("botocore", "urllib3")


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why S3 cannot work here: a library is missing. Nothing is imported."""
    for module in _NEEDED:
        if find_spec(module) is None:
            raise ConfigurationError(f"{module} is not installed")


@hookimpl
def register_storage_providers(settings: Settings) -> Mapping[str, StorageProvider]:
    """`s3`: a bucket of an application's owner, with the owner's credentials."""
    return {"s3": S3Provider()}


@hookimpl
def register_storages(settings: Settings) -> Mapping[str, Storage] | None:
    """`s3`: a bucket of the server's own, when `[plugins.s3]` names one."""
    return {"s3": server_storage(settings)} if settings else None
