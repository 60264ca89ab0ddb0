"""Providers of intelligence tasks for secure-delivery: `tags`, `sfw`, `image_sentiment` and `text_sentiment`.

Knows: the hooks. Must not know: numpy and the networks, which only worker processes load.

One setting, under `[plugins.intelligence]`: `nsfw_threshold`, the score from which on a picture is not harmless, above 0 and
at most 1 (0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import ConfigurationError, Detector, Settings, hookimpl

from . import harmless, tags
from .expressions import Expressions
from .harmless import DEFAULT_THRESHOLD, Harmless
from .tags import Tags
from .tone import Tone

__all__ = ["register_detectors", "self_test"]

_KNOWN = frozenset({"nsfw_threshold"})
_MODELS = (harmless.MODEL, tags.MODEL)


@hookimpl
def self_test(settings: Settings) -> None:
    """Refuse settings that nobody reads and a threshold that is none; say which model is missing."""
    if unknown := sorted(settings.keys() - _KNOWN):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there is: {', '.join(sorted(_KNOWN))}")
    _threshold(settings)
    if missing := [problem for model in _MODELS if (problem := model.missing())]:
        raise ConfigurationError("; ".join(missing))


@hookimpl
def register_detectors(settings: Settings) -> Mapping[str, Detector]:
    """All four. There is none for `caption` and `copyright`: docs/intelligence.md says why."""
    return {
        "image_sentiment": Expressions(),
        "sfw": Harmless(_threshold(settings)),
        "tags": Tags(),
        "text_sentiment": Tone(),
    }


def _threshold(settings: Settings) -> float:
    value: Any = settings.get("nsfw_threshold", DEFAULT_THRESHOLD)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ConfigurationError("nsfw_threshold: a number above 0 and at most 1 is wanted")
    return float(value)
