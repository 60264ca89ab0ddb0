"""Pictures for secure-delivery: `resize`, `crop`, `rotate`, `flip`, `flop`, `output`, `quality`, `compress`, `no_metadata`
and `imagesize` of transformation URLs, made with Pillow.

Knows: the hooks. Must not know: Pillow, which only worker processes load.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from secure_delivery.plugin import ConfigurationError, Settings, Transformation, hookimpl

from .tasks import transformations

_OLDEST_PILLOW = 12  # older ones have known holes in decoders that strangers' files reach


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why pictures cannot work here: Pillow is missing or too old. Its metadata is read, Pillow is not imported."""
    try:
        found = version("pillow")
    except PackageNotFoundError:
        raise ConfigurationError("Pillow is not installed") from None
    if int(found.partition(".")[0]) < _OLDEST_PILLOW:
        raise ConfigurationError(f"Pillow {found} is too old; {_OLDEST_PILLOW} or later is needed")


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """All picture tasks; there are no settings."""
    return transformations()
