"""Pixel modes and colour profiles: every picture becomes eight bits a channel, colours or grey, with or without transparency.

Knows: Pillow's modes, ICC profiles. Must not know: formats, tasks, limits.

A picture keeps its own colours and the profile that explains them; a profile that says no more than "sRGB" is left out,
because that is what pixels without one are. CMYK becomes sRGB by way of its profile, unless `colorspace:input` keeps it.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms, ImageMath

from secure_delivery.plugin import Unsupported

from .colours import Colour

_PLAIN = {"1": "L", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_BAND = 256  # rows
_READY = ("L", "LA", "RGB", "RGBA")
_SPACES = {"1": "GRAY", "L": "GRAY", "LA": "GRAY", "RGB": "RGB", "RGBA": "RGB", "P": "RGB", "PA": "RGB", "CMYK": "CMYK"}
_LARGEST_PROFILE = 1 << 20  # bytes (security promise 43)


def working(image: Image.Image, *, keep_cmyk: bool = False) -> tuple[Image.Image, bytes]:
    """The decoded picture in a working mode (`L`, `LA`, `RGB`, `RGBA`; `CMYK` if kept), and the profile of its colours.

    The profile is empty when colours are sRGB. Raises `Unsupported` for samples of 32 bits and for Lab.
    """
    profile: bytes = image.info.get("icc_profile") or b""
    if image.mode == "CMYK":
        if keep_cmyk:
            return image, profile
        return _to_srgb(image, profile) or image.convert("RGB"), b""
    image = _eight_bits(image)
    return image, fitting(profile, image.mode)


def fitting(profile: bytes, mode: str) -> bytes:
    """The profile, if it is one, says more than "sRGB" and speaks of that kind of pixels; else nothing."""
    if not profile or len(profile) > _LARGEST_PROFILE:
        return b""
    space, description = _described(bytes(profile))
    return bytes(profile) if space == _SPACES.get(mode) and not description.startswith("sRGB") else b""


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The same colours as sRGB numbers."""
    return (_to_srgb(image, profile) or image) if fitting(profile, image.mode) else image


def in_space(image: Image.Image, profile: bytes, wanted: bytes) -> Image.Image:
    """The same colours as numbers of another profile (of RGB; empty for sRGB), in mode `RGB` or `RGBA`."""
    if fitting(profile, image.mode) == wanted:
        return image.convert("RGBA" if has_alpha(image) else "RGB")
    image = in_srgb(image, profile).convert("RGBA" if has_alpha(image) else "RGB")
    return (_through(image, b"", wanted) or image) if wanted else image


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # by way of 32 bits: converting straight to "L" cuts everything above 255 to white
        levels = image.convert("I")
        result = levels.point(lambda level: level * (1 / 256)).convert("L")
        unseen = image.info.get("transparency")
        if isinstance(unseen, int):  # the one level that stands for nothing, in all its 16 bits
            seen = ImageMath.lambda_eval(lambda planes: planes["convert"](planes["levels"] != unseen, "L"), levels=levels)
            result.putalpha(seen.point([0, *[255] * 255]))
        return result
    if image.mode == "P" or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in _READY:
        return image
    if image.mode not in _PLAIN:
        raise Unsupported(f"mode {image.mode}", public="Pictures with 32-bit samples or Lab colours are not supported.")
    return image.convert(_PLAIN[image.mode])


@lru_cache(maxsize=16)
def _described(profile: bytes) -> tuple[str, str]:
    """The colour space of a profile and its description, both empty when it is none."""
    try:
        facts = ImageCms.ImageCmsProfile(BytesIO(profile)).profile
        return facts.xcolor_space.strip(), facts.profile_description or ""
    except (OSError, ValueError):
        return "", ""


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Colours through the profile, transparency untouched; None when there is no usable profile."""
    return _through(image, profile, b"") if profile else None


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(BytesIO(profile) if profile else ImageCms.createProfile("sRGB"))


def _through(image: Image.Image, one: bytes, other: bytes) -> Image.Image | None:
    """Colours of one profile as those of another (of RGB), or None when one of them is damaged or of another space.

    An empty profile is sRGB.
    """
    alpha = image.getchannel("A") if has_alpha(image) else None
    colours = image.convert(image.mode[:-1]) if alpha is not None else image
    try:
        result = ImageCms.profileToProfile(colours, _opened(one), _opened(other), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if result is not None and alpha is not None:
        result.putalpha(alpha)
    return result


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "RGBA")


def without_opaque_alpha(image: Image.Image) -> Image.Image:
    """The same picture without a transparency channel that says nothing."""
    if has_alpha(image) and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    return image


def flattened(image: Image.Image, background: Colour) -> Image.Image:
    """The picture on a background: opaque, unless the background itself is not."""
    if not has_alpha(image) or background[3] == 0:
        return image
    opaque = background[3] == 255
    result = Image.new("RGB", image.size, background[:3]) if opaque else Image.new("RGBA", image.size, background)
    for top in range(0, image.height, _BAND):  # in bands: the largest pictures fit into memory twice, not four times
        part = image.crop((0, top, image.width, min(image.height, top + _BAND))).convert("RGBA")
        if opaque:
            result.paste(part, (0, top), part)  # the same pixels as below, in half the time
        else:
            result.alpha_composite(part, (0, top))
    return result


def ready_for(image: Image.Image, colour: Colour) -> tuple[Image.Image, tuple[int, ...]]:
    """The picture in a mode that can show a colour, and that colour in it."""
    if image.mode == "CMYK":
        inks = Image.new("RGB", (1, 1), colour[:3]).convert("CMYK").getpixel((0, 0))
        return image, inks if isinstance(inks, tuple) else (0, 0, 0, 0)
    if colour[3] < 255 or has_alpha(image):
        return image.convert("RGBA"), colour
    grey = colour[0] == colour[1] == colour[2]
    if image.mode == "L" and grey:
        return image, colour[:1]
    return image.convert("RGB"), colour[:3]
