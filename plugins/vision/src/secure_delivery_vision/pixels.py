"""Pictures for looking at: from a `Media` to the array of numbers that OpenCV reads.

Knows: `Picture` of the images plugin, numpy. Must not know: what is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from secure_delivery.plugin import Media, WorkLimits
from secure_delivery_images.edits import Resize
from secure_delivery_images.picture import Picture

_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A copy of a picture that is small enough to be looked at, and the size of the picture itself."""

    pixels: Any  # rows x columns x 3 of uint8: blue, green, red
    width: int
    height: int

    @property
    def across(self) -> float:
        """What a coordinate of the copy is multiplied with to be one of the picture; `down` likewise."""
        return self.width / int(self.pixels.shape[1])

    @property
    def down(self) -> float:
        return self.height / int(self.pixels.shape[0])


def look(media: Media, limits: WorkLimits, side: int) -> View:
    """The picture in a media, upright, with every edit so far, reduced to at most `side` pixels a side.

    A JPEG that nobody decoded yet is decoded at the reduced size. Raises the faults of `Picture`.
    """
    picture = Picture.of(media, limits)
    width, height = picture.dimensions()
    smaller = Resize(width=side, height=side, fit="max")
    if picture.facts.form == "JPEG" and not picture.edits and not picture.pixels:
        image = picture.edited(smaller).decoded()
    else:
        image = picture.decoded()
        image = smaller.run(image, image_size(image), limits)
    return View(pixels=array(image), width=width, height=height)


def image_size(image: Image.Image) -> Any:
    from secure_delivery_images.headers import Size

    return Size(*image.size)


def array(image: Image.Image) -> Any:
    """Blue, green, red, as OpenCV has it; what is transparent shows white."""
    if image.mode in ("LA", "RGBA"):
        ground = Image.new("RGBA", image.size, _WHITE)
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
