"""Pixel modes and colour profiles: every picture becomes eight-bit sRGB or grey, with or without transparency.

Knows: Pillow's modes, ICC profiles. Must not know: formats, tasks, limits.

Colours are converted to sRGB and the profile is dropped: a result without profile shows right everywhere, is smaller, and
carries nothing of the source. The exceptions are asked for: `colorspace:input` keeps CMYK, `compress=metadata:true` keeps
the profile beside the pixels it describes.
"""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageCms

from secure_delivery.plugin import Unsupported

from .colours import Colour

_PLAIN = {"1": "L", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_BAND = 256  # rows
_READY = ("L", "LA", "RGB", "RGBA")


def working(image: Image.Image, *, keep_cmyk: bool = False, keep_profile: bool = False) -> tuple[Image.Image, bytes]:
    """The decoded picture in a working mode (`L`, `LA`, `RGB`, `RGBA`; `CMYK` if kept), and the profile that still applies.

    The profile is empty when colours are sRGB. Raises `Unsupported` for samples of 32 bits and for Lab.
    """
    profile: bytes = image.info.get("icc_profile") or b""
    if image.mode == "CMYK":
        if keep_cmyk:
            return image, profile
        return _to_srgb(image, profile) or image.convert("RGB"), b""
    image = _eight_bits(image)
    if not profile or _is_srgb(profile):
        return image, b""
    if keep_profile:
        return image, profile
    return _to_srgb(image, profile) or image, b""


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # by way of 32 bits: converting straight to "L" cuts everything above 255 to white
        return image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if image.mode == "P" or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in _READY:
        return image
    if image.mode not in _PLAIN:
        raise Unsupported(f"mode {image.mode}", public="Pictures with 32-bit samples or Lab colours are not supported.")
    return image.convert(_PLAIN[image.mode])


def _is_srgb(profile: bytes) -> bool:
    try:
        described = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.profile_description
    except (OSError, ValueError):
        return True  # not a profile at all: as if there were none
    return (described or "").startswith("sRGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Colours through the profile, transparency untouched; None when there is no usable profile."""
    if not profile:
        return None
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode[:-1]) if alpha is not None else image
    try:
        result = ImageCms.profileToProfile(
            colours, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a profile of another colour space, or damaged: the numbers are taken as they are
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
    result = Image.new("RGB" if background[3] == 255 else "RGBA", image.size)
    for top in range(0, image.height, _BAND):  # in bands: the largest pictures fit into memory twice, not four times
        box = (0, top, image.width, min(image.height, top + _BAND))
        ground = Image.new("RGBA", (image.width, box[3] - top), background)
        ground.alpha_composite(image.crop(box).convert("RGBA"))
        result.paste(ground.convert(result.mode), box)
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
