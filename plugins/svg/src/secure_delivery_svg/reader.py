"""Drawings as pixels, by resvg.

Knows: resvg, a cleaned drawing, limits. Must not know: tasks, how results are written.

What resvg is given was cleaned before, so it names no file, no address and no entity; pictures inside are checked like any
source. resvg runs no script and has no network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO

import resvg_py
from PIL import Image

from secure_delivery.plugin import Corrupt, Media, MemoryFile, ProcessingLimit, TooLarge, WorkLimits
from secure_delivery_images.decode import faults, inspect, open_image
from secure_delivery_images.headers import Size
from secure_delivery_images.readers import Sketch

from .clean import MOST_BYTES, Drawing, clean, embedded, is_svg
from .families import generic_families
from .size import natural_size, view_box

_DPI = 96.0  # of the CSS pixel; left out, lengths in millimetres are not drawn


class SvgReader:
    """Reads SVG files for every task of pictures."""

    def recognises(self, head: bytes) -> bool:
        return is_svg(head)

    def read(self, media: Media, limits: WorkLimits) -> Sketch:
        """Raises `Corrupt`, `Unsupported`, `TooLarge`."""
        drawing = read(media, limits)
        width, height = natural_size(drawing.root)
        canvas = Size(max(1, math.floor(width + 0.5)), max(1, math.floor(height + 0.5)))
        return Sketch(filename=media.filename, size=canvas, draw=_Draw(drawing, (width, height), limits))


def read(media: Media, limits: WorkLimits) -> Drawing:
    """The cleaned drawing in a file, its pictures checked against the limits. Raises `Corrupt`, `Unsupported`, `TooLarge`."""
    with media.open() as stream:
        data = stream.read(min(limits.bytes, MOST_BYTES) + 1)
    if len(data) > limits.bytes:
        raise TooLarge(f"more than {limits.bytes} bytes")
    drawing = clean(data)
    area = 0
    for picture in embedded(drawing.pictures):
        stored = inspect(MemoryFile(picture), limits).stored
        area += stored.width * stored.height
        if area > limits.pixels:
            raise TooLarge(f"pictures of {area} pixels inside", public="The pictures inside the SVG file are too large.")
    return drawing


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws one drawing at any size."""

    drawing: Drawing
    natural: tuple[float, float]
    limits: WorkLimits

    def __call__(self, size: Size) -> Image.Image:
        """Raises `Corrupt` when resvg cannot make sense of it, `ProcessingLimit` when it needs too much memory."""
        root = {"width": str(size.width), "height": str(size.height)}
        if view_box(self.drawing.root) is None:
            root["viewBox"] = f"0 0 {self.natural[0]!r} {self.natural[1]!r}"
        if "preserveAspectRatio" not in self.drawing.root and self._same_shape(size):
            root["preserveAspectRatio"] = "none"  # so that no hair of background shows at an edge
        try:
            families = generic_families() if self.drawing.has_text else {}
            data = resvg_py.svg_to_bytes(
                svg_string=self.drawing.text(**root), dpi=_DPI, skip_system_fonts=not self.drawing.has_text, **families
            )
        except ValueError as error:
            raise Corrupt(f"resvg: {error}") from None
        except MemoryError as error:
            raise ProcessingLimit("out of memory") from error
        with faults():
            image = open_image(BytesIO(data), "PNG", self.limits)
            image.load()
            return image

    def _same_shape(self, size: Size) -> bool:
        """Whether the view box has these proportions but for rounding to whole pixels."""
        box = view_box(self.drawing.root) or (0.0, 0.0, *self.natural)
        return abs(size.width * box[3] - size.height * box[2]) <= max(box[2], box[3])


def warm() -> None:
    """Load all that drawing needs, before a worker is confined."""
    text = '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"><text>a</text></svg>'
    resvg_py.svg_to_bytes(svg_string=text, dpi=_DPI, **generic_families())
    SvgReader().read(MemoryFile(text.encode(), "image/svg+xml", "a.svg"), WorkLimits()).draw(Size(2, 2))
