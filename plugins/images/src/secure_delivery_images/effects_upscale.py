"""More pixels and less noise: `upscale`, and the cleaning that other effects use too.

Knows: resampling, edges, noise. Must not know: options, files.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from secure_delivery.plugin import WorkLimits

from .edits import check_output
from .headers import Size
from .planes import banded, calmed, highest, joined, level, lowest, on_colours, parted

_FACTOR = 2
_MARGIN = 12  # rows that have a say: three for Lanczos, the rest for sharpening

#: How far noise is smoothed, and the contrast between neighbours (levels) from which something is an edge and stays.
NOISE = {"low": (0.8, 12, 1.5), "medium": (1.3, 20, 2.5), "high": (2.0, 28, 3.5)}
#: Unsharp masking after enlarging: radius, per cent. Drawings have hard edges and flat colours and take more.
_SHARPER = {"photo": (1.4, 90), "artwork": (1.8, 220)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale:
    """Both sides doubled unless `enlarge` is off; noise taken out first, as asked for."""

    enlarge: bool
    noise: str
    style: str

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        if self.enlarge:
            check_output((image.width * _FACTOR, image.height * _FACTOR), limits)
        if self.noise != "none":
            image = cleaned(image, self.noise)
        if not self.enlarge:
            return image
        return banded(image, self._enlarged, margin=_MARGIN, factor=_FACTOR)

    def _enlarged(self, image: Image.Image) -> Image.Image:
        """Lanczos, then sharper, but never lighter or darker than the pixels around were: no halos, crisp edges."""
        colours, alpha = parted(image)
        size = (image.width * _FACTOR, image.height * _FACTOR)
        radius, strength = _SHARPER[self.style]
        large = colours.resize(size, Image.Resampling.LANCZOS)
        sharp = large.filter(ImageFilter.UnsharpMask(radius, strength, 0))
        low = lowest(colours).resize(size, Image.Resampling.BILINEAR)
        high = highest(colours).resize(size, Image.Resampling.BILINEAR)
        result = ImageChops.darker(ImageChops.lighter(sharp, low), high)
        return joined(result, alpha.resize(size, Image.Resampling.BICUBIC) if alpha is not None else None)


def cleaned(image: Image.Image, noise: str) -> Image.Image:
    """With less noise: colour is smoothed, brightness too except at edges."""
    radius, edge, colour_radius = NOISE[noise]
    margin = round(colour_radius * 3) + 8

    def act(colours: Image.Image) -> Image.Image:
        if colours.mode == "L":
            return smoothed(colours, radius, edge)
        light, blue, red = colours.convert("YCbCr").split()
        light = smoothed(light, radius, edge)
        blue, red = (smoothed(channel, colour_radius, edge) for channel in (blue, red))
        return Image.merge("YCbCr", (light, blue, red)).convert("RGB")

    return on_colours(image, act, margin=margin)


def smoothed(grey: Image.Image, radius: float, edge: int) -> Image.Image:
    """One channel, blurred where neighbours hardly differ; from `edge` levels of difference on it stays as it is.

    What differs is judged on medians, which single specks do not move, and the specks go with them. Where blurring would
    change much there is an edge within its reach, whose other side must not shine through.
    """
    calm = calmed(grey)
    blurred = calm.filter(ImageFilter.GaussianBlur(radius))
    contrast = ImageChops.subtract(highest(calm), lowest(calm))
    flat = contrast.point([level(255 * (1 - (value - edge / 2) / edge)) for value in range(256)])
    near = ImageChops.difference(calm, blurred).point([level(255 * (1.75 - 3.5 * value / edge)) for value in range(256)])
    return Image.composite(blurred, calm, ImageChops.darker(flat.filter(ImageFilter.GaussianBlur(0.7)), near))
