"""Pixels of more than eight bits, or of colours that no screen has, as something to look at.

Knows: Pillow's modes. Must not know: formats, files.

A transformation refuses such pictures, because its result would not be what the source is. A preview is to be looked at:
heights, temperatures and counts are spread from black to white.
"""

from __future__ import annotations

import math

from PIL import Image, ImageCms

#: Modes that `modes.working` does not take.
DEEP = frozenset({"I", "F", "LAB", "HSV"})

_RANGES = (255, 65_535)  # of whole numbers: what a file that stays within them was made for


def eight_bits(image: Image.Image) -> Image.Image:
    """The same picture in a mode that all tasks take; one that is in such a mode already is given back as it is."""
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _from_lab()) or image.convert("RGB")
    if image.mode == "HSV":
        return image.convert("RGB")
    if image.mode not in DEEP:
        return image
    low, high = _extrema(image)
    if image.mode == "I":
        top = next((limit for limit in _RANGES if low >= 0 and high <= limit), None)
        low, high = (0, top) if top is not None else (low, high)
    scale = 255 / (high - low) if high > low else 0.0
    return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    """The darkest and the lightest value; nonsense counts as nothing (a sample of a float file may be no number)."""
    low, high = image.getextrema()
    numbers = [float(value) for value in (low, high) if isinstance(value, int | float) and math.isfinite(value)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0.0, 1.0)


def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
