"""From options to storages: those of applications, and the server's own.

Knows: params, settings. Must not know: requests, botocore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import REQUIRED, ConfigurationError, Dial, Param, Settings
from secure_delivery.plugin.straight import straight

from .options import PARAMS, SECRETS, SERVER_PARAMS, read_options
from .storage import S3Storage, ServerStorage


class S3Provider:
    """A `StorageProvider`: buckets of an application's owner."""

    title = "Amazon S3, and what speaks it"

    @property
    def params(self) -> tuple[Param, ...]:
        return PARAMS

    @property
    def secrets(self) -> frozenset[str]:
        return SECRETS

    def connect(self, options: Mapping[str, Any], dial: Dial) -> S3Storage:
        """A storage of these options. Makes no request; raises `ValueError` when they do not go together."""
        return S3Storage(read_options(options), dial)


def server_storage(settings: Settings) -> ServerStorage:
    """The storage of `[plugins.s3]`. Raises `ConfigurationError`, which never shows a value.

    Connections go straight to where the operator says: the address guard is for what others write.
    """
    bound = _bound(settings)
    given = bool(bound["access_key_id"]) and bool(bound["secret_access_key"])
    if bound["credentials"] == "environment" and (bound["access_key_id"] or bound["secret_access_key"]):
        raise ConfigurationError("credentials = environment goes without access_key_id and secret_access_key")
    if bound["credentials"] == "given" and not given:
        raise ConfigurationError("access_key_id and secret_access_key are needed, or credentials = environment")
    try:
        options = read_options(bound)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return ServerStorage(options, straight(insecure=bound["insecure"]), prefix=bound["prefix"].strip("/"))


def _bound(settings: Settings) -> dict[str, Any]:
    params = {param.name: param for param in SERVER_PARAMS}
    unknown = sorted(set(settings) - set(params))
    if unknown:
        raise ConfigurationError(f"no setting {unknown[0]!r}; there are {', '.join(params)}")
    bound = {}
    for name, param in params.items():
        value = settings.get(name)
        try:
            bound[name] = param.default if value is None else param.kind.read(_text(value))
        except ValueError:
            raise ConfigurationError(f"{name} is {param.kind.allowed}") from None
        if bound[name] is REQUIRED:
            raise ConfigurationError(f"{name} is needed")
    return bound


def _text(value: object) -> str:
    """A value of a settings file as an application would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
