"""The section `image`: what a picture is made of.

Knows: readers, pixels. Must not know: how a section travels.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

from secure_delivery.plugin import Unsupported, Work

from . import headers, negatives, rare, tiff_pages
from .decode import faults, open_image
from .edits import Resize
from .headers import Size
from .modes import has_alpha, in_srgb
from .picture import Picture

_SAMPLE = 64  # pixels a side from which colours are told
_COLOURS = 5
_SEEN_FROM = 16  # of 255: what is less opaque has no colour to speak of
_LEAST = 0.01  # of the picture


def section(work: Work) -> dict[str, Any] | None:
    """Width and height are those of the upright picture, of a file with several pages those of the first. None for what is no
    picture, and for camera raw: what there is to read in it is a small copy."""
    with work.media.open() as stream:
        head = stream.read(max(headers.HEAD, rare.HEAD, negatives.HEAD))
    form = headers.format_of(head[: headers.HEAD])
    if form == "TIFF" and negatives.camera_raw(head[: negatives.HEAD], work.media.filename):
        return None
    if form is not None:
        return _common(work, form)
    kind = rare.form_of(head[: rare.HEAD], work.media.filename)
    return None if kind is None else _rare(work, kind)


def _common(work: Work, form: str) -> dict[str, Any]:
    picture = Picture.of(work.media, work.limits)
    width, height = picture.facts.displayed
    with faults(), work.media.open() as stream:
        image = open_image(stream, form, work.limits)
        pages = len(tiff_pages.pages(stream)) if form == "TIFF" else 1
        told = {
            "format": form.lower(),
            "width": width,
            "height": height,
            "mode": image.mode,
            "alpha": picture.facts.alpha,
            "orientation": picture.facts.orientation,
            "animated": picture.facts.frames,
            "frames": min(int(getattr(image, "n_frames", 1)), 100_000) if form in ("GIF", "WEBP", "PNG", "AVIF") else pages,
            "dpi": _dpi(image.info.get("dpi")),
            "icc_profile": _profile_name(image.info.get("icc_profile")),
        }
    small = Resize(width=_SAMPLE, height=_SAMPLE, fit="max", filter="box")
    try:
        told["colors"] = _colours(picture.edited(small).decoded())
    except Unsupported:  # samples that only instruments see
        told["colors"] = []
    return told


def _rare(work: Work, form: str) -> dict[str, Any]:
    with faults(), work.media.open() as stream:
        file = rare.Rare(stream, form, work.limits)
        if form == "JPEG2000":
            sketch = rare.wavelets(work.media, work.limits)
            size, image = sketch.size, sketch.draw(Size(_SAMPLE, _SAMPLE))
        else:
            image = file.picture()
            size = Size(*image.size)
        return {
            "format": form.lower(),
            "width": size.width,
            "height": size.height,
            "mode": image.mode,
            "alpha": image.has_transparency_data,
            "orientation": 1,
            "animated": False,
            "frames": file.total,
            "dpi": _dpi(image.info.get("dpi")),
            "icc_profile": _profile_name(image.info.get("icc_profile")),
            "colors": _colours(image.convert("RGBA").resize((_SAMPLE, _SAMPLE), Image.Resampling.BOX)),
        }


def _colours(image: Image.Image) -> list[dict[str, Any]]:
    """The colours that take most room, as sRGB, with their share of what is not transparent."""
    image = in_srgb(image, image.info.get("icc_profile") or b"").convert("RGBA" if has_alpha(image) else "RGB")
    data = image.convert("RGBA").tobytes()
    seen = b"".join(data[at : at + 3] for at in range(0, len(data), 4) if data[at + 3] >= _SEEN_FROM)
    if not seen:
        return []
    row = Image.frombytes("RGB", (len(seen) // 3, 1), seen)
    quantized = row.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette = quantized.getpalette() or []
    counted = sorted(quantized.getcolors() or [], reverse=True)
    shares: dict[str, int] = {}
    for count, index in counted:
        if isinstance(index, int):
            name = "#" + bytes(palette[index * 3 : index * 3 + 3]).hex()
            shares[name] = shares.get(name, 0) + count
    parts = {name: round(count / row.width, 3) for name, count in shares.items()}
    return [{"hex": name, "share": share} for name, share in parts.items() if share >= _LEAST]


def _dpi(value: Any) -> list[float] | None:
    try:
        numbers = [round(float(number), 2) for number in value][:2]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return numbers if len(numbers) == 2 and all(math.isfinite(number) and 0 < number < 1e6 for number in numbers) else None


def _profile_name(profile: Any) -> str | None:
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        name = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.profile_description or ""
    except (OSError, ValueError):
        return None
    return "".join(letter for letter in name if letter.isprintable()).strip()[:200] or None
