"""Several pictures in one: a mark on a picture, a collage, the frames of an animation.

Knows: pictures, places, colour spaces. Must not know: how URLs spell options, where the files come from.

Colours keep what they look like: a mark is brought into the space of the picture that it is put on, members of a collage
or an animation into sRGB. Every picture is decoded at the size it is shown at, and one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from secure_delivery.plugin import TooLarge, Unsupported, WorkLimits

from .colours import Colour
from .edits import Resize, check_output, resampled
from .headers import Size
from .layout import arranged
from .making import still
from .modes import fitting, has_alpha, in_space, in_srgb
from .picture import Picture

_LONGEST_FRAME = 1800  # pixels a side of an animation, as documented

Align = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Another picture on top, `percent` of the width of the one below; `place` as fractions of the room left and above.

    What reaches beyond an edge is cut off there.
    """

    mark: Picture
    percent: int
    place: Align
    #: Of an animation the frames have one size, so the mark is made once.
    ready: dict[tuple[Size, bytes], tuple[Image.Image, int, int]] = field(default_factory=dict, repr=False, compare=False)

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        return self.mix(image, b"", limits)[0]

    def mix(self, image: Image.Image, profile: bytes, limits: WorkLimits) -> tuple[Image.Image, bytes]:
        """The two together, and the profile of their colours: grey and inks become sRGB, because the mark may be coloured."""
        if image.mode not in ("RGB", "RGBA"):
            image = in_srgb(image, profile).convert("RGBA" if has_alpha(image) else "RGB")
            profile = b""
        profile = fitting(profile, image.mode)
        base = Size(*image.size)
        if (base, profile) not in self.ready:
            self.ready[base, profile] = self._made(base, profile)
        mark, left, top = self.ready[base, profile]
        image = image.copy()
        if not has_alpha(mark):
            image.paste(mark, (left, top))
        elif image.mode == "RGBA":
            image.alpha_composite(mark, (left, top))
        else:
            image.paste(mark.convert("RGB"), (left, top), mark.getchannel("A"))
        return image, profile

    def _made(self, base: Size, profile: bytes) -> tuple[Image.Image, int, int]:
        """The part of the mark that shows, and where."""
        whole = self.mark.dimensions()
        width = max(1, math.floor(base.width * self.percent / 100 + 0.5))
        height = max(1, math.floor(whole.height * width / whole.width + 0.5))
        left, top = (
            math.floor((room - own) * part + 0.5) for room, own, part in zip(base, (width, height), self.place, strict=True)
        )
        seen = Size(min(base.width, left + width) - max(0, left), min(base.height, top + height) - max(0, top))
        smaller = width <= whole.width and height <= whole.height
        picture = self.mark.edited(Resize(width=width, height=height, fit="scale")) if smaller else self.mark
        image, kept = still(picture)
        across, down = image.width / width, image.height / height
        x, y = max(0, -left), max(0, -top)
        box = (x * across, y * down, min(image.width, (x + seen.width) * across), min(image.height, (y + seen.height) * down))
        image = image.crop((x, y, x + seen.width, y + seen.height)) if smaller else resampled(image, seen, box)
        return in_space(image, kept.profile, profile), max(0, left), max(0, top)


def collage(
    pictures: Sequence[Picture], canvas: Size, limits: WorkLimits, *, margin: int, colour: Colour, crop: bool
) -> Image.Image:
    """All pictures on one canvas. Raises `TooLarge`, `Unsupported` when there is no room, and what reading a picture raises."""
    check_output(canvas, limits)
    places = arranged([picture.dimensions() for picture in pictures], canvas, margin, crop=crop)
    if places is None:
        sentence = (
            f"collage: {len(pictures)} pictures and their margins do not fit into {canvas.width} x {canvas.height} pixels."
        )
        raise Unsupported(f"collage of {len(pictures)}", public=sentence)
    sheet = _sheet(canvas, colour)
    for picture, place in zip(pictures, places, strict=True):
        resize = Resize(width=place.width, height=place.height, fit="crop" if crop else "clip")
        size = resize.target(picture.dimensions())
        if not crop and abs(size.width - place.width) + abs(size.height - place.height) <= 2:
            resize, size = replace(resize, fit="scale"), Size(place.width, place.height)  # it was only rounding
        left, top = place.left + (place.width - size.width) // 2, place.top + (place.height - size.height) // 2
        _put(sheet, picture.edited(resize), (left, top))
    return sheet


def film(
    pictures: Sequence[Picture], canvas: Size, limits: WorkLimits, *, fit: str, align: Align, background: Colour
) -> list[Image.Image]:
    """Each picture as a frame. Raises `TooLarge` over the limit of all frames together, and what reading a picture raises."""
    check_output(canvas, limits)
    area = canvas.width * canvas.height * len(pictures)
    if area > limits.animation_pixels:
        sentence = f"animate: {len(pictures)} frames of {canvas.width} x {canvas.height} pixels are too many; at most"
        raise TooLarge(f"{area} pixels in all", public=f"{sentence} {limits.animation_pixels} pixels in all are allowed.")
    frames = []
    for picture in pictures:
        frame = _sheet(canvas, background)
        resize = Resize(width=canvas.width, height=canvas.height, fit=fit, align=align)
        size = resize.target(picture.dimensions())
        place = [math.floor((room - own) * part + 0.5) for room, own, part in zip(canvas, size, align, strict=True)]
        _put(frame, picture.edited(resize), (place[0], place[1]))
        frames.append(frame)
    return frames


def frame_size(sizes: Sequence[Size], width: int | str | None, height: int | str | None) -> Size:
    """The size of an animation: as asked for, `max` for that of the largest picture, a missing side following the first.

    With neither asked for it is the largest picture's; what is not said in pixels stays within 1,800.
    """
    if width is None and height is None:
        width = height = "max"
    given = isinstance(width, int), isinstance(height, int)
    wide = max(size.width for size in sizes) if isinstance(width, str) else width
    high = max(size.height for size in sizes) if isinstance(height, str) else height
    first = sizes[0]
    wide = wide or math.floor(first.width * (high or 1) / first.height + 0.5)
    high = high or math.floor(first.height * wide / first.width + 0.5)
    factor = 1.0 if any(given) else min(1.0, _LONGEST_FRAME / max(wide, high))
    return Size(*(max(1, min(_LONGEST_FRAME, math.floor(side * factor + 0.5))) for side in (wide, high)))


def _sheet(size: Size, colour: Colour) -> Image.Image:
    return Image.new("RGB", size, colour[:3]) if colour[3] == 255 else Image.new("RGBA", size, colour)


def _put(sheet: Image.Image, picture: Picture, place: tuple[int, int]) -> None:
    image, kept = still(picture)
    image = in_space(image, kept.profile, b"")
    if has_alpha(image) and sheet.mode == "RGBA":
        sheet.alpha_composite(image, place)
    elif has_alpha(image):
        sheet.paste(image.convert("RGB"), place, image.getchannel("A"))
    else:
        sheet.paste(image, place)
