"""Effects that put something around a picture: border, shadow, polaroid.

Knows: canvases larger than the picture. Must not know: options, files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

from secure_delivery.plugin import WorkLimits

from .colours import TRANSPARENT, Colour
from .edits import check_output
from .headers import Size
from .modes import flattened, has_alpha, ready_for
from .planes import level, parted

_MARGIN = 0.055  # of the shorter side: what an instant print has of frame above and beside the picture
_FOOT = 3.6  # times that below it
_SOFT = 0.25  # of the margin: blur of the shadow under the print
_DARK = 45  # per cent: opacity of that shadow


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """A frame of `width` pixels outside the picture; `background` shows where the picture is transparent."""

    width: int
    colour: Colour
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        grown = (image.width + 2 * self.width, image.height + 2 * self.width)
        check_output(grown, limits)
        if image.mode == "CMYK":
            image = image.convert("RGB")
        image, fill = ready_for(flattened(image, self.background), self.colour)
        result = Image.new(image.mode, grown, fill[0] if len(fill) == 1 else fill)
        result.paste(image, (self.width, self.width))
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A shadow that falls `vector` pixels to the right and down; the canvas grows by what can be seen of it."""

    blur: float
    opacity: int
    vector: tuple[int, int]
    colour: Colour
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        soft = math.ceil(self.blur * 2)
        across, down = self.vector
        left, top = max(0, soft - across), max(0, soft - down)
        grown = (
            left + max(image.width, image.width + across + soft),
            top + max(image.height, image.height + down + soft),
        )
        check_output(grown, limits)
        thrown = Image.new("L", grown)
        alpha = image.getchannel("A") if has_alpha(image) else Image.new("L", image.size, 255)
        thrown.paste(alpha, (left + across, top + down))
        if self.blur:
            thrown = thrown.filter(ImageFilter.GaussianBlur(self.blur))
        strength = self.opacity / 100 * self.colour[3] / 255
        thrown = thrown.point([level(value * strength) for value in range(256)])
        result = Image.new("RGBA", grown, (*self.colour[:3], 0))
        result.putalpha(thrown)
        del thrown, alpha
        result.alpha_composite(image if image.mode == "RGBA" else image.convert("RGBA"), (left, top))
        return flattened(result, self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polaroid:
    """An instant print: the picture in a frame with a broad foot, turned clockwise, with a shadow under it."""

    degrees: int
    colour: Colour
    background: Colour

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        margin = max(3, round(min(image.size) * _MARGIN))
        grown = (image.width + 2 * margin, image.height + margin + round(margin * _FOOT))
        angle = math.radians(self.degrees)
        sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
        turned = (grown[0] * cosine + grown[1] * sine + 2, grown[0] * sine + grown[1] * cosine + 2)
        check_output((math.ceil(turned[0]) + margin, math.ceil(turned[1]) + margin), limits)
        sheet = self._sheet(image, grown, margin)
        if self.degrees:
            sheet = sheet.convert("RGBa").rotate(-self.degrees, Image.Resampling.BICUBIC, expand=True).convert("RGBA")
        fall = max(1, margin // 4)
        shadow = Shadow(
            blur=max(1.0, margin * _SOFT),
            opacity=_DARK,
            vector=(fall, fall),
            colour=(0, 0, 0, 255),
            background=self.background,
        )
        return shadow.run(sheet, Size(*sheet.size), limits)

    def _sheet(self, image: Image.Image, grown: tuple[int, int], margin: int) -> Image.Image:
        """The print before it is turned: paper with a slightly darker rim, and the picture in a thin line."""
        sheet = Image.new("RGBA", grown, self.colour if self.colour[3] else TRANSPARENT)
        rim = tuple(channel * 9 // 10 for channel in self.colour[:3])
        draw = ImageDraw.Draw(sheet)
        if self.colour[3]:
            draw.rectangle((0, 0, grown[0] - 1, grown[1] - 1), outline=(*rim, self.colour[3]), width=max(1, margin // 16))
            draw.rectangle(
                (margin - 1, margin - 1, margin + image.width, margin + image.height), outline=(*rim, self.colour[3])
            )
        alpha = image.getchannel("A") if has_alpha(image) else None
        sheet.paste(parted(image)[0].convert("RGBA"), (margin, margin), alpha)
        return sheet
