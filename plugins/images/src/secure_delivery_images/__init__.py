"""Pictures for secure-delivery: the tasks of transformation URLs that make one picture of one or several, with Pillow.

Knows: the hooks. Must not know: Pillow, which only worker processes load.

What other plugins may use of this package is `Picture` (see there): `from secure_delivery_images import Picture` inside
`apply` or `warm`, because taking it loads Pillow. `Picture.drawn(image, filename=..., limits=..., form="PNG")` makes a picture
of pixels, and all picture tasks go on from there without an encoding in between; `Picture.taken(media, shop)` reads one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import ConfigurationError, Extractor, Previewer, Settings, Transformation, hookimpl

from .extractors import extractors
from .previewers import previewers
from .tasks import transformations

if TYPE_CHECKING:
    from .picture import Picture

__all__ = ["Picture", "register_extractors", "register_previewers", "register_transformations", "self_test"]

#: First part of a version; older ones have known holes in decoders that strangers' files reach.
_OLDEST = {"pillow": 12, "pi-heif": 1}


@hookimpl
def self_test(settings: Settings) -> None:
    """Say why pictures cannot work here: a library is missing or too old. Metadata is read, nothing is imported."""
    for package, oldest in _OLDEST.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            raise ConfigurationError(f"{package} is not installed") from None
        if int(found.partition(".")[0]) < oldest:
            raise ConfigurationError(f"{package} {found} is too old; {oldest} or later is needed")


@hookimpl
def register_transformations(settings: Settings) -> Mapping[str, Transformation]:
    """All picture tasks; there are no settings."""
    return transformations()


@hookimpl
def register_previewers(settings: Settings) -> Mapping[str, Previewer]:
    """`picture`, and `icon` for what nothing else can show."""
    return previewers()


@hookimpl
def register_extractors(settings: Settings) -> Mapping[str, Extractor]:
    """`exif` and `image`."""
    return extractors()


def __getattr__(name: str) -> Any:
    """`Picture`, loaded when it is first asked for: the server process imports this package and has no use for Pillow."""
    if name == "Picture":
        from .picture import Picture

        return Picture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
