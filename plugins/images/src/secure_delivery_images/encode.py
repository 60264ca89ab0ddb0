"""Writing results: which format, how good, what may stay of the metadata.

Knows: Pillow's writers. Must not know: where pictures come from, tasks, how options are spelled.

Defaults, and why: JPEG 85 and WebP 80 are where most eyes stop seeing a difference at the size shown, AVIF 65 looks like
these; JPEG and AVIF keep full colour resolution from quality 90 on, where somebody asked for it. JPEG and PNG are written with
tables made for the picture, which costs little and saves some per cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from secure_delivery.plugin import ProcessingLimit, TooLarge

from .colours import WHITE, Colour
from .modes import fitting, flattened, has_alpha, in_srgb, without_opaque_alpha

DEFAULT_QUALITY = {"JPEG": 85, "WEBP": 80, "AVIF": 65}
_FULL_COLOUR_FROM = 90
_LONGEST_SIDE = {"WEBP": 16_383}  # what the format itself can say
_OPAQUE_FROM = 128  # GIF knows only seen and unseen
_TAILORED_UP_TO = 24_000_000  # pixels; tables made for the picture need all its coefficients in memory
_AVIF_SPEED = 8  # of 0 to 10: half the size of JPEG already, at a tenth of the time of the default

#: What a source in several frames can become without losing them. PNG is asked for where a still picture is wanted, so only
#: one that moves already goes on moving.
_ANIMATED = {"GIF": ("GIF", "WEBP"), "WEBP": ("GIF", "WEBP"), "PNG": ("GIF", "WEBP", "PNG")}
#: What is written when the format of the source cannot be.
_INSTEAD = {"HEIC": "JPEG"}
WITH_QUALITY = ("JPEG", "WEBP", "AVIF")
WITH_CMYK = ("JPEG", "TIFF")
_WITH_EXIF = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
_WITHOUT_PROFILE = ("GIF", "BMP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a result is to be written.

    `form` is Pillow's word for the format, None for that of the source; `quality` 1 to 100, "input", or None for the
    default; `bounded`: not larger than the source; `compress`: more effort; `metadata`: the profile of EXIF and XMP.
    """

    form: str | None = None
    quality: int | str | None = None
    progressive: bool = False
    compress: bool = False
    metadata: str = "none"
    bounded: bool = False
    background: Colour | None = None
    colorspace: str = "rgb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What goes along with pixels: their colour profile, the source's JPEG tables, and metadata that may stay."""

    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    qtables: Any = None
    subsampling: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """One or more pictures of equal size; times in milliseconds; `loop` as in GIF, 0 for ever, None for once."""

    images: Sequence[Image.Image]
    times: Sequence[int] = ()
    loop: int | None = None


def written_as(form: str) -> str:
    """The format of a result that nobody named, by that of its source."""
    return _INSTEAD.get(form, form)


def moves(source: str, form: str) -> bool:
    """Whether an animation of one format stays one in another."""
    return form in _ANIMATED.get(source, ())


def encode(frames: Frames, form: str, encoding: Encoding, kept: Kept) -> bytes:
    """The bytes of a file.

    Raises `TooLarge` for a side that the format cannot say, `ProcessingLimit` when the encoder gives up: with sizes and
    modes checked before, lack of memory is what is left, and several libraries do not say so.
    """
    longest = _LONGEST_SIDE.get(form)
    size = frames.images[0].size
    if longest is not None and max(size) > longest:
        raise TooLarge(f"{size} as {form}", public=f"A {form} result may have {longest} pixels a side.")
    profile = _profile(frames.images[0].mode, form, encoding, kept)
    images = [_shown(in_srgb(image, b"" if profile else kept.profile), form, encoding) for image in frames.images]
    opaque = [without_opaque_alpha(image) for image in images]
    if not any(has_alpha(image) for image in opaque):
        images = opaque  # else all frames keep it: half of them without would be read differently
    del opaque
    images = [_suited(image, form, encoding) for image in images]
    options = _options(form, encoding, kept, fitting(profile, images[0].mode))
    if form == "JPEG" and size[0] * size[1] > _TAILORED_UP_TO:
        options["optimize"] = False
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": list(frames.times)}
        options |= {"GIF": {"disposal": 2}, "PNG": {"disposal": 0, "blend": 0}}.get(form, {})
        if frames.loop is not None or form != "GIF":
            options["loop"] = 1 if frames.loop is None else frames.loop
    with _bare(images, form):
        return _written(images, form, options)


@contextmanager
def _bare(images: Sequence[Image.Image], form: str) -> Iterator[None]:
    """Meanwhile the pictures know nothing of their source; afterwards again, because others may look at them too."""
    before = [(image, image.info) for image in images]
    for image, info in before:
        image.info = {key: value for key, value in info.items() if form in ("GIF", "PNG") and key == "transparency"}
    try:
        yield
    finally:
        for image, info in before:
            image.info = info


def _written(images: Sequence[Image.Image], form: str, options: dict[str, Any]) -> bytes:
    out = BytesIO()
    before = ImageFile.MAXBLOCK
    if form == "JPEG":
        # A tailored or progressive JPEG is written in one piece, for which Pillow reckons with two bytes a pixel; noise at
        # quality 100 takes more, and was "a broken data stream".
        ImageFile.MAXBLOCK = max(before, 4 * images[0].width * images[0].height)
    try:
        images[0].save(out, form, **options)
    except (OSError, RuntimeError) as error:
        raise ProcessingLimit(f"encoding {form}: {error}") from error
    finally:
        ImageFile.MAXBLOCK = before
    return out.getvalue()


def _profile(mode: str, form: str, encoding: Encoding, kept: Kept) -> bytes:
    """The colour profile that goes with the pixels as they are; empty when they have to become sRGB first."""
    inks = encoding.colorspace == "cmyk" and form in WITH_CMYK and mode != "CMYK"
    grey = mode in ("L", "LA") and form in ("WEBP", "AVIF")  # which know colours only
    return b"" if form in _WITHOUT_PROFILE or inks or grey else kept.profile


def _shown(image: Image.Image, form: str, encoding: Encoding) -> Image.Image:
    """The picture on its background, if it has one or needs one."""
    if encoding.background is not None:
        image = flattened(image, encoding.background)
    if form in ("JPEG", "BMP") and has_alpha(image):
        image = flattened(image, WHITE)
    return image


def _suited(image: Image.Image, form: str, encoding: Encoding) -> Image.Image:
    """The picture in a mode that the format has."""
    if encoding.colorspace == "cmyk" and form in WITH_CMYK and image.mode != "CMYK":
        image = flattened(image, WHITE).convert("CMYK")
    if form in ("WEBP", "AVIF"):
        image = image.convert("RGBA" if has_alpha(image) else "RGB")
    elif form == "GIF":
        image = _palette(image)
    if isinstance(image, TiffImageFile) and form == "TIFF":
        image = image.copy()  # the writer would take tags from a picture that was read from a TIFF
    return image


def _palette(image: Image.Image) -> Image.Image:
    """At most 256 colours, the last of them unseen where there is transparency."""
    if image.mode in ("L", "P"):
        return image
    if not has_alpha(image):
        return image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT)
    unseen = image.getchannel("A").point([255 if level < _OPAQUE_FROM else 0 for level in range(256)])
    result = flattened(image, WHITE).convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
    result.paste(255, unseen)
    result.info["transparency"] = 255
    return result


def _options(form: str, encoding: Encoding, kept: Kept, profile: bytes) -> dict[str, Any]:
    """What the writer of the format is told; empty metadata is said expressly, or Pillow would take the source's."""
    options: dict[str, Any] = {"icc_profile": profile or None} if form not in _WITHOUT_PROFILE else {}
    if kept.exif and form in _WITH_EXIF:
        options["exif"] = kept.exif
    if kept.xmp and form in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = kept.xmp
    elif kept.xmp and form == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", kept.xmp.decode("utf-8", "replace"))
    return options | _effort(form, encoding, kept)


def _effort(form: str, encoding: Encoding, kept: Kept) -> dict[str, Any]:
    quality = encoding.quality
    if form == "JPEG":
        shared = {"optimize": True, "progressive": encoding.progressive}
        if quality == "input" and kept.qtables:
            return shared | {"qtables": kept.qtables, "subsampling": kept.subsampling}
        value = quality if isinstance(quality, int) else DEFAULT_QUALITY[form]
        return shared | {"quality": value, "subsampling": 0 if value >= _FULL_COLOUR_FROM else 2}
    if form in WITH_QUALITY:
        value = quality if isinstance(quality, int) else DEFAULT_QUALITY[form]
        if form == "WEBP":
            return {"quality": value, "method": 6 if encoding.compress else 4}
        subsampling = "4:4:4" if value >= _FULL_COLOUR_FROM else "4:2:0"
        return {"quality": value, "subsampling": subsampling, "speed": _AVIF_SPEED, "max_threads": 1, "autotiling": False}
    if form == "PNG":
        return {"optimize": encoding.compress}
    if form == "TIFF":
        return {"compression": "tiff_lzw"}
    return {"optimize": False} if form == "GIF" else {}
