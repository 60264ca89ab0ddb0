"""The Django app: `INSTALLED_APPS = [..., "secure_delivery.contrib.django"]` and `SECURE_DELIVERY_GUARD` in the settings.

Knows: where Django keeps settings. Must not know: how one signs.
"""

from __future__ import annotations

from functools import lru_cache

from ...gate.errors import ConfigurationError
from ...gate.guard import Guard

__all__ = ["configured_guard"]


def configured_guard() -> Guard:
    """The guard of this project: `settings.SECURE_DELIVERY_GUARD`, a `Guard` or the dotted name of one.

    Raises `ConfigurationError` when the setting is missing or is neither.
    """
    from django.conf import settings

    found = getattr(settings, "SECURE_DELIVERY_GUARD", None)
    if isinstance(found, str):
        return _imported(found)
    if not isinstance(found, Guard):
        raise ConfigurationError("SECURE_DELIVERY_GUARD: a Guard, or the dotted name of one, is wanted")
    return found


@lru_cache(maxsize=8)
def _imported(name: str) -> Guard:
    from django.utils.module_loading import import_string

    try:
        found = import_string(name)
    except ImportError as error:
        raise ConfigurationError(f"SECURE_DELIVERY_GUARD: {error}") from None
    if not isinstance(found, Guard):
        raise ConfigurationError(f"SECURE_DELIVERY_GUARD: {name} is not a Guard")
    return found
