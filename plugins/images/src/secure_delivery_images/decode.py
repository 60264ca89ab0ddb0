"""Opening pictures: the checks before anything is decoded, and decoding itself.

Knows: Pillow's readers, limits, the orientation tag. Must not know: what is done with the pixels, how results are written.

Readers are made directly from their class, one class per format in `headers`: no other reader of Pillow can be reached, and
its guessing, its multi-picture JPEG and its own size limit play no part. Pillow's threshold is not ours: it warns from
89,478,486 pixels and refuses at twice that, where the promise is 100,000,000 accepted and one more refused (security
promise 39). `LOAD_TRUNCATED_IMAGES` stays off, so a file that ends early is a fault.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pi_heif  # type: ignore[import-untyped]
from PIL import AvifImagePlugin, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from secure_delivery.plugin import (
    Corrupt,
    Media,
    ProcessingLimit,
    SecureDeliveryError,
    TooLarge,
    Unsupported,
    WorkLimits,
)

from .headers import HEAD, Size, announced, format_of, png_exif

MAX_FRAMES = 256  # security promise 40
MAX_BLOCK = 1 << 20  # bytes of one metadata block (security promise 43)

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
    "HEIC": pi_heif.HeifImageFile,
}
#: Formats whose frames are played; of an animated AVIF the first frame is used.
MOVING = ("GIF", "WEBP", "PNG")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_BLOCKS = ("exif", "xmp", "icc_profile")
_ORIENTATION = 0x0112
_TILE_SIDES = (322, 323)

#: What turns a picture with that orientation tag upright (EXIF 2.32, tag 274), and what turns it back.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_BACK = UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the header says: format, width and height as stored, orientation (1 to 8), bytes, whether there are frames and
    transparency. `original` is the upright size of the picture that a smaller copy stands for."""

    form: str
    stored: Size
    orientation: int
    size: int
    frames: bool
    alpha: bool = False
    original: Size | None = None

    @property
    def displayed(self) -> Size:
        """The size when upright."""
        return self.original or (Size(*self.stored[::-1]) if self.orientation >= 5 else self.stored)


@contextmanager
def faults() -> Iterator[None]:
    """Whatever Pillow and its libraries raise, as a fault of the tree; their warnings are nobody's business.

    Raises `ProcessingLimit` for memory, `TooLarge` for Pillow's bomb check, `Corrupt` for everything else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except SecureDeliveryError:
            raise
        except MemoryError as error:
            raise ProcessingLimit("out of memory") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise TooLarge(str(error), public="The picture has too many pixels.") from error
        except Exception as error:
            raise Corrupt(f"{type(error).__name__}: {error}") from error


def check_area(size: Size | tuple[int, int], limits: WorkLimits) -> None:
    """Raise `TooLarge` when width x height exceeds the limit, which itself is allowed."""
    width, height = size
    if width * height > limits.pixels:
        detail = f"{width} x {height} pixels, limit {limits.pixels}"
        raise TooLarge(detail, public=f"The picture has too many pixels: at most {limits.pixels} are allowed.")


def inspect(media: Media, limits: WorkLimits) -> Facts:
    """Read the header of a file and refuse, before decoding, what is not allowed.

    Raises `Unsupported` for a format that is not on the list, `TooLarge` over `limits.bytes` or `limits.pixels`,
    `Corrupt` for a damaged header.
    """
    with faults(), media.open() as stream:
        size = stream.seek(0, 2)
        if size > limits.bytes:
            raise TooLarge(f"{size} bytes, limit {limits.bytes}")
        stream.seek(0)
        form = format_of(stream.read(HEAD))
        if form is None:
            raise Unsupported("no known signature", public="This file is not a picture of a supported format.")
        stream.seek(0)
        canvas = announced(stream, form)
        if canvas is not None:
            check_area(canvas, limits)
        image = open_image(stream, form, limits)
        frames = form in MOVING and bool(getattr(image, "is_animated", False))
        orientation = 1 if form == "HEIC" else _orientation(image, stream)  # its decoder turns, and its tag is to be ignored
        stored = Size(*image.size)
        if form == "TIFF" and orientation >= 5:
            stored = Size(*image.size[::-1])  # Pillow gives the upright size of this format, and turns it when decoding
        alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
        return Facts(form=form, stored=stored, orientation=orientation, size=size, frames=frames, alpha=alpha)


def open_image(stream: BinaryIO, form: str, limits: WorkLimits) -> ImageFile.ImageFile:
    """A reader at its first frame, nothing decoded yet, checked against the limits. Call inside `faults`."""
    set_up(limits)
    stream.seek(0)
    image = _READERS[form](stream)
    check_area(image.size, limits)
    if isinstance(image, TiffImageFile):
        tile = [image.tag_v2.get(tag, 1) for tag in _TILE_SIDES]
        check_area((int(tile[0]), int(tile[1])), limits)  # a tile may be larger than the picture, and is decoded whole
    for block in _BLOCKS:
        if len(image.info.get(block) or b"") > MAX_BLOCK:
            del image.info[block]
    return image


def set_up(limits: WorkLimits) -> None:
    """Set what Pillow only offers as module globals. Harmless to repeat; this process does nothing but pictures.

    Its bomb check follows our limit (it still guards GIF frames that grow the canvas); AVIF and HEIC take one thread, because
    a confined worker has one core to itself. Of HEIC only the picture is read, not what goes with it.
    """
    Image.MAX_IMAGE_PIXELS = limits.pixels
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False


def _orientation(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """The orientation tag, 1 when there is none or nonsense."""
    try:
        if isinstance(image, PngImageFile):  # whose own way would decode the whole picture
            exif = Image.Exif()
            exif.load(png_exif(stream))
        else:
            exif = image.getexif()
        value = exif.get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # a damaged tag directory: the picture itself may be fine
        return 1
    return value if isinstance(value, int) and value in UPRIGHT else 1


def turned(image: Image.Image, facts: Facts, *, upright: bool) -> Image.Image:
    """The decoded picture the right way up, or as stored; the tag plays no part any more."""
    steps = UPRIGHT if upright else _TURNED_BACK
    turned_already = facts.form == "TIFF"
    if facts.orientation == 1 or upright == turned_already:
        return image
    return image.transpose(steps[facts.orientation])


def all_frames(image: ImageFile.ImageFile, limits: WorkLimits) -> Iterator[tuple[Image.Image, int]]:
    """Each frame as a whole RGBA picture, with its time in milliseconds. Call inside `faults`.

    Stops at once when there are more than `MAX_FRAMES`, or more than `limits.animation_pixels` in all, by raising
    `TooManyFrames`. A PNG may hold a picture for those who cannot play it; that is no frame.
    """
    area = 0
    first = 1 if isinstance(image, PngImageFile) and image.default_image else 0
    for number in range(MAX_FRAMES + 1):
        try:
            image.seek(first + number)
        except EOFError:
            return
        area += image.width * image.height
        if number == MAX_FRAMES or area > limits.animation_pixels:
            raise TooManyFrames
        image.load()
        frame = image.convert("RGBA")  # before the time is asked: WebP knows it only once the frame is decoded
        yield frame, int(image.info.get("duration") or 0)


class TooManyFrames(Exception):
    """An animation over the limit: not a fault, the first frame is used instead (security promise 40)."""
