"""Small views of pictures, as networks want them.

Knows: how a picture is decoded (by the plugin for pictures), cut and made small. Must not know: networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from secure_delivery.plugin import Media, WorkLimits

if TYPE_CHECKING:
    from PIL import Image

Box: TypeAlias = "tuple[float, float, float, float]"


def warm() -> None:
    """Load what decoding needs."""
    from secure_delivery_images.picture import warm

    warm()


def decoded(media: Media, limits: WorkLimits, least: int | None = None) -> Image.Image:
    """The picture, upright. Raises `Unsupported`, `TooLarge`, `Corrupt`.

    With `least`, pixels of the shorter side that are enough, a large JPEG that nobody decoded yet is decoded smaller.
    """
    from secure_delivery_images import Picture
    from secure_delivery_images.edits import Resize

    picture = Picture.of(media, limits)
    if least is not None and picture.facts.form == "JPEG" and not picture.edits and not picture.pixels:
        width, height = picture.dimensions()
        if min(width, height) > 2 * least:
            side = -(-max(width, height) * least // min(width, height))
            return picture.edited(Resize(width=side, height=side, fit="max")).decoded()
    return picture.decoded()


def view(image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """A part of a picture (all of it without a box) at that size, in RGB; what is seen through stands on white."""
    from PIL import Image

    small = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    if small.mode in ("LA", "RGBA"):
        ground = Image.new("RGBA", size, "white")
        ground.alpha_composite(small.convert("RGBA"))
        small = ground
    return small.convert("RGB")
