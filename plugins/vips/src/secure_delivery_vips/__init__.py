"""libvips for secure-delivery: it decodes the formats in which it is faster than Pillow, for all picture tasks.

Knows: the hooks, the place that the pictures' plugin has for decoders. Must not know: libvips, which only worker processes
load.

There are no tasks and no settings here. Name `vips` in `plugins_blocked`, or uninstall this, and Pillow decodes everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from secure_delivery.plugin import ConfigurationError, Settings, Transformation, hookimpl
from secure_delivery_images import engines

#: The formats, by the function that makes the engine. How they were chosen stands in the README.
FORMS = {"PNG": "png", "TIFF": "tiff"}


def _engine(name: str) -> engines.Engine:
    engine: engines.Engine = getattr(import_module(".decode", __package__), name)()
    return engine


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why libvips cannot work here: a library is missing. Nothing is imported."""
    for module in ("pyvips", "isal", "PIL"):
        if find_spec(module) is None:
            raise ConfigurationError(f"{module} is not installed")


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """No task of its own; from now on the tasks of pictures decode with this."""
    for form, name in FORMS.items():
        engines.provide(form, partial(_engine, name))
    return {}
