"""`enhance`: presets that look at a picture first and then correct it.

Knows: statistics of levels, light, skin tones. Must not know: options, files.

A preset is a list of steps. Each step is prepared on a small copy, where it decides how much to do, and the copy goes through
it before the next is prepared; then every band of the picture goes through all steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter, ImageStat

from secure_delivery.plugin import WorkLimits

from .effects_colour import saturating
from .effects_upscale import NOISE, smoothed
from .headers import Size
from .modes import has_alpha
from .planes import ActUnder, level, mapped, on_colours_under, parted

_SMALL = 256  # pixels on the longer side of the copy that is looked at
_AREA = 0.04  # of the longer side: how wide the light around a pixel is measured
_MARGIN = 64  # rows: what the widest blur below can see
_WIDEST = 14.0  # pixels
_NARROWEST_STRETCH = 80  # levels: a foggy picture is stretched, an empty one is not turned into noise
_BLACKISH, _WHITISH = 30, 252  # levels between which colour can be told
_PALE = 0.35  # of a picture: the part that tells its tint
_SEEN = 128  # opacity from which a pixel counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a step may go by: a small copy, which of its pixels are seen, and the longer side of the picture itself."""

    small: Image.Image
    seen: Image.Image | None
    span: int

    @property
    def fine(self) -> float:
        """A radius as wide as pores or grain look, in pixels of the picture."""
        return max(1.0, min(_WIDEST, self.span / 500))


Step = Callable[[Look], ActUnder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhance:
    """One of `PRESETS`."""

    preset: str

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        small, alpha = parted(image.reduce(max(1, max(image.size) // _SMALL)))
        seen = alpha.point([0] * _SEEN + [255] * (256 - _SEEN)) if has_alpha(image) and alpha is not None else None
        light = small.convert("L").filter(ImageFilter.GaussianBlur(max(small.size) * _AREA))
        acts = []
        for step in PRESETS[self.preset]:
            act = step(Look(small=small, seen=seen, span=max(image.size)))
            acts.append(act)
            small = act(small, light)

        def all_of_them(colours: Image.Image, around: Image.Image) -> Image.Image:
            for act in acts:
                colours = act(colours, around)
            return colours

        return on_colours_under(image, light, all_of_them, margin=_MARGIN)


# ----------------------------------------------------------------------------------------------------------- the steps


def levels(cut: float, apart: float) -> Step:
    """Stretch from the darkest to the lightest, without `cut` per cent at both ends; `apart`: each channel by itself (1)
    or all alike (0)."""

    def prepare(look: Look) -> ActUnder:
        ends = [_ends(channel.histogram(look.seen), cut) for channel in look.small.split()]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        table: list[int] = []
        for own_low, own_high in ends:
            start, end = low + (own_low - low) * apart, high + (own_high - high) * apart
            if end - start < _NARROWEST_STRETCH:
                middle = (start + end) / 2
                start = max(0.0, min(255.0 - _NARROWEST_STRETCH, middle - _NARROWEST_STRETCH / 2))
                end = start + _NARROWEST_STRETCH
            table += [level((value - start) * 255 / (end - start)) for value in range(256)]
        return lambda colours, _light: colours.point(table)

    return prepare


def _ends(histogram: Sequence[int], cut: float) -> tuple[float, float]:
    enough = sum(histogram) * cut / 100
    ends = []
    for order in (range(256), range(255, -1, -1)):
        count = 0.0
        for value in order:
            count += histogram[value]
            if count > enough:
                break
        ends.append(float(value))
    return (ends[0], ends[1]) if ends[0] < ends[1] else (0.0, 255.0)


def neutral(strength: float) -> Step:
    """Take a tint out: bend each channel so that what has least colour is grey, black and white staying as they are.

    A picture full of red leaves is not tinted: only the palest part of it has a say.
    """

    def prepare(look: Look) -> ActUnder:
        pale = _palest(look)
        if pale is None:
            return lambda colours, _light: colours
        means = [min(254.0, max(1.0, mean)) for mean in ImageStat.Stat(look.small, pale).mean]
        wanted = sum(means) / len(means)
        table: list[int] = []
        for mean in means:
            bend = math.log(wanted / 255) / math.log(mean / 255)
            table += _bent(1 + (max(0.45, min(2.2, bend)) - 1) * strength)
        return lambda colours, _light: colours.point(table)

    return prepare


def _palest(look: Look) -> Image.Image | None:
    """A mask of the least colourful part of a picture, without what is nearly black or white; None if nothing is left."""
    if look.small.mode == "L":
        return None
    _hue, saturation, value = look.small.convert("HSV").split()
    middle = value.point([255 if _BLACKISH < one < _WHITISH else 0 for one in range(256)])
    if look.seen is not None:
        middle = ImageChops.multiply(middle, look.seen)
    histogram = saturation.histogram(middle)
    enough, count, limit = sum(histogram) * _PALE, 0, 0
    while limit < 255 and count + histogram[limit] < enough:
        count += histogram[limit]
        limit += 1
    pale = ImageChops.multiply(middle, saturation.point([255] * (limit + 1) + [0] * (255 - limit)))
    return pale if pale.getbbox() is not None else None


def _bent(bend: float) -> list[int]:
    return [level(255 * (value / 255) ** bend) for value in range(256)]


def lifted(target: int, strength: float) -> Step:
    """Bring light into dark areas of pictures that are darker on the average than `target`; light areas stay."""

    def prepare(look: Look) -> ActUnder:
        mean = max(4.0, ImageStat.Stat(look.small.convert("L"), look.seen).mean[0])
        bend = max(0.4, min(1.0, math.log(target / 255) / math.log(mean / 255)))
        if bend == 1.0:
            return lambda colours, _light: colours
        shade = [level(255 * strength * (1 - value / 255) ** 1.5) for value in range(256)]
        return lambda colours, light: Image.composite(mapped(colours, _bent(bend)), colours, light.point(shade))

    return prepare


def bent(bend: float) -> Step:
    """Lighter (below 1) or darker, black and white staying as they are."""
    return lambda _look: lambda colours, _light: mapped(colours, _bent(bend))


def steeper(share: float) -> Step:
    """More contrast in the middle, less at both ends."""
    table = [level(value + share * 255 * -math.sin(2 * math.pi * value / 255) / (2 * math.pi)) for value in range(256)]
    return lambda _look: lambda colours, _light: mapped(colours, table)


def deeper(share: float) -> Step:
    """The darkest fifth towards black."""
    table = [level(value * (1 - share * max(0.0, 1 - value / 64))) for value in range(256)]
    return lambda _look: lambda colours, _light: mapped(colours, table)


def richer(factor: float) -> Step:
    """More colour, the less of it the more there is already."""

    def prepare(look: Look) -> ActUnder:
        if look.small.mode == "L":
            return lambda colours, _light: colours
        saturation = ImageStat.Stat(look.small.convert("HSV").getchannel("S"), look.seen).mean[0]
        matrix = saturating(1 + (factor - 1) * (1 - saturation / 255))
        return lambda colours, _light: colours.convert("RGB", matrix)

    return prepare


def clearer(share: float) -> Step:
    """More contrast between a pixel and the light around it."""
    table = [level(value * share) for value in range(256)]

    def act(colours: Image.Image, light: Image.Image) -> Image.Image:
        grey = colours.convert("L")
        more, less = (ImageChops.subtract(*pair).point(table) for pair in ((grey, light), (light, grey)))
        if colours.mode != "L":
            more, less = more.convert("RGB"), less.convert("RGB")
        return ImageChops.subtract(ImageChops.add(colours, more), less)

    return lambda _look: act


def crisper(percent: int) -> Step:
    """Finer detail, grain excepted."""
    mask = ImageFilter.UnsharpMask(1.0, percent, 3)
    return lambda _look: lambda colours, _light: colours.filter(mask)


def quieter(noise: str) -> Step:
    """Less noise: brightness and colour each smoothed where there is no edge."""
    radius, edge, colour_radius = NOISE[noise]

    def act(colours: Image.Image, _light: Image.Image) -> Image.Image:
        if colours.mode == "L":
            return smoothed(colours, radius, edge)
        light, blue, red = colours.convert("YCbCr").split()
        blue, red = (smoothed(channel, colour_radius, edge) for channel in (blue, red))
        return Image.merge("YCbCr", (smoothed(light, radius, edge), blue, red)).convert("RGB")

    return lambda _look: act


def softer(width: float, texture: int, share: float) -> Step:
    """Smooth skin: what differs from its surroundings by less than `texture` levels goes, eyes and outlines stay."""
    keep = [level(255 * share * (2 - 2 * value / texture)) for value in range(256)]

    def prepare(look: Look) -> ActUnder:
        soft = ImageFilter.GaussianBlur(min(_WIDEST, look.fine * width))

        def act(colours: Image.Image, _light: Image.Image) -> Image.Image:
            blurred = colours.filter(soft)
            weight = ImageChops.difference(colours, blurred).convert("L").point([min(255, value) for value in keep])
            return Image.composite(blurred, colours, ImageChops.multiply(weight, skin(colours)))

        return act

    return prepare


def skin(colours: Image.Image) -> Image.Image:
    """A mask of skin tones, light and dark: they differ in brightness, hardly in chroma (Chai and Ngan, 1999). Grey pictures
    have no chroma to tell: everything that is not dark."""
    if colours.mode == "L":
        return colours.point([level((value - 60) * 4) for value in range(256)])
    light, blue, red = colours.convert("YCbCr").split()
    mask = ImageChops.multiply(blue.point(_plateau(77, 127)), red.point(_plateau(136, 173)))
    mask = ImageChops.multiply(mask, light.point([level((value - 40) * 6) for value in range(256)]))
    return mask.filter(ImageFilter.GaussianBlur(1.5))


def _plateau(start: int, end: int) -> list[int]:
    return [level(255 * min(1.0, (value - start) / 5 + 1, (end - value) / 5 + 1)) for value in range(256)]


def glowing(start: int, share: float, width: float) -> Step:
    """Light that spreads from what is lighter than `start`."""
    table = [level((value - start) * share * 255 / (255 - start)) for value in range(256)]

    def prepare(look: Look) -> ActUnder:
        spread = ImageFilter.GaussianBlur(min(_WIDEST, look.fine * width))
        return lambda colours, _light: ImageChops.screen(colours, mapped(colours, table).filter(spread))

    return prepare


PRESETS: dict[str, tuple[Step, ...]] = {
    "auto": (neutral(0.5), lifted(100, 0.7), levels(0.3, 0.2), clearer(0.12), richer(1.15), crisper(40)),
    "vivid": (levels(0.5, 0.1), steeper(0.5), clearer(0.15), richer(1.8), crisper(40)),
    "beautify": (softer(2.2, 26, 0.85), lifted(120, 0.5), bent(0.93), richer(1.08)),
    "beautify_plus": (softer(3.5, 38, 1.0), levels(0.2, 0.1), bent(0.86), glowing(150, 0.25, 5), richer(1.12), crisper(50)),
    "fix_dark": (lifted(128, 1.0), quieter("low"), levels(0.3, 0.1), clearer(0.2), richer(1.15)),
    "fix_noise": (quieter("medium"), crisper(40)),
    "fix_tint": (neutral(1.0),),
    "outdoor": (neutral(0.3), levels(0.8, 0.2), clearer(0.35), deeper(0.2), richer(1.5), crisper(50)),
    "fireworks": (deeper(0.7), quieter("low"), richer(2.0), glowing(120, 0.7, 4), steeper(0.4)),
}
