"""`output` of SVG files: as a picture, or cleaned.

Knows: the options of `output`, as the pictures' plugin declares them. Must not know: XML and resvg, which a worker
loads in `warm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Media, MemoryFile, Param, Transformation, Unsupported, Workshop
from secure_delivery_images.tasks import Output as PictureOutput

VERSION = "1"
TYPE = "image/svg+xml"

_VECTORS = frozenset({"svg"})


class Output:
    """`output` of an SVG file: `format:svg` (also when none is named) is the file without anything that acts or loads, whatever
    `secure` says; other formats are drawn and written as pictures are. `density` is dots an inch: at 96 the drawing has its own
    size. `docinfo` and formats of documents are refused."""

    params: ClassVar[tuple[Param, ...]] = PictureOutput.params
    version = f"{VERSION}.{PictureOutput.version}"
    accepts = (TYPE,)

    def warm(self) -> None:
        """Load resvg and the XML reader, and have all picture tasks take SVG files."""
        import_module("secure_delivery_images.picture").warm()
        reader = import_module(".reader", __package__)
        reader.warm()
        import_module("secure_delivery_images.readers").provide("svg", reader.SvgReader())

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported`, `TooLarge`, `Corrupt`; those of drawing come when the result is opened."""
        if options["format"] in _VECTORS or (options["format"] is None and not options["docinfo"]):
            return self._cleaned(media, shop)
        picture = self._picture(media, options, shop)
        return PictureOutput().change(picture, options)

    def _cleaned(self, media: Media, shop: Workshop) -> Media:
        from .reader import read

        text = read(media, shop.limits).text()
        return MemoryFile(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode(), TYPE, renamed(media.filename))

    def _picture(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Any:
        from secure_delivery_images.edits import Resize
        from secure_delivery_images.picture import Picture
        from secure_delivery_images.readers import provide

        from .reader import SvgReader

        provide("svg", SvgReader())
        picture = Picture.of(media, shop.limits)
        density = options["density"]
        if density is None or density == _NATURAL_DENSITY:
            return picture
        width = max(1, round(picture.facts.stored.width * density / _NATURAL_DENSITY))
        if width > shop.limits.output_side:
            raise Unsupported(public=f"output: density:{density} makes this drawing {width} pixels wide.")
        return picture.edited(Resize(width=width, height=0, fit="scale", align=(0.5, 0.5), filter="lanczos"))


_NATURAL_DENSITY = 96


def renamed(filename: str) -> str:
    """The name with the ending of SVG files; compressed and foreign endings go."""
    stem, dot, ending = filename.rpartition(".")
    if ending.lower() == "svg" and dot:
        return filename
    return f"{stem if dot and ending.lower() in ('svgz', 'xml') else filename or 'drawing'}.svg"


def transformations() -> dict[str, Transformation]:
    """Every task by its name in URLs."""
    return {"output": Output()}
