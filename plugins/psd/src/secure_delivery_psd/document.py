"""A Photoshop file, opened within limits.

Knows: psd-tools, the header, what compositing costs. Must not know: pages, sections.

psd-tools is given a budget for what it reads and what it allocates, and the header is judged before it is opened. Putting
layers together is done in floating point, all channels at once: it is allowed for so many pixels times layers, and no more.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from PIL import Image
from psd_tools import ParseLimitError, ParseLimits, PSDImage

from secure_delivery.plugin import Corrupt, Media, MemoryFile, MissingDependency, TooLarge, Unsupported, WorkLimits
from secure_delivery_images.decode import check_area, faults
from secure_delivery_images.deep import eight_bits

from .kinds import is_psd

MOST_COMPOSED = 60_000_000  # pixels times layers: about twelve seconds
MOST_CANVAS = 14_000_000  # pixels of a canvas on which layers are put together: about 120 bytes each at the peak
_MOST_OBJECTS = 300_000
_MOST_CHANNELS = 56  # of the format (Photoshop file format, "File Header Section")
#: Channels of a colour mode without transparency: bitmap, grey, indexed, RGB, CMYK, duotone, Lab.
_CHANNELS = {0: 1, 1: 1, 2: 1, 3: 3, 4: 4, 8: 1, 9: 3}

logging.getLogger("psd_tools").setLevel(logging.CRITICAL)  # what it thinks of strangers' files is for nobody


def looked_at(stream: BinaryIO, limits: WorkLimits) -> tuple[int, int]:
    """Width and height from the header. Raises `Unsupported`, `TooLarge`, `Corrupt`."""
    size = stream.seek(0, 2)
    if size > limits.bytes:
        raise TooLarge(f"{size} bytes, limit {limits.bytes}")
    stream.seek(0)
    head = stream.read(26)
    if not is_psd(head):
        raise Unsupported("no Photoshop file", public="This is not a Photoshop file.")
    channels, height, width, depth, _mode = struct.unpack_from(">HIIHH", head, 12)
    if not (0 < channels <= _MOST_CHANNELS and width and height and depth in (1, 8, 16, 32)):
        raise Corrupt(f"{width} x {height} pixels, {channels} channels of {depth} bits")
    check_area((width, height), limits)
    if width * height * channels * max(1, depth // 8) > 2 * limits.memory:
        raise TooLarge(f"{channels} channels of {width} x {height} pixels", public="The picture has too many channels.")
    stream.seek(0)
    return width, height


@contextmanager
def opened(media: Media, limits: WorkLimits) -> Iterator[PSDImage]:
    """The file, read. What goes wrong inside becomes a fault of the tree."""
    with faults(), media.open() as stream:
        looked_at(stream, limits)
        budget = ParseLimits(max_read_bytes=limits.bytes, max_total_bytes=2 * limits.bytes, max_objects=_MOST_OBJECTS)
        try:
            yield PSDImage.open(stream, max_alloc_bytes=limits.memory // 2, parse_limits=budget)
        except ParseLimitError as error:
            raise TooLarge(f"psd-tools: {error}", public="The Photoshop file has too many parts.") from None
        except ImportError as error:
            raise MissingDependency(f"psd-tools: {error}".splitlines()[0]) from None
        except RecursionError:
            raise Corrupt("nested too deeply") from None


def flattened(media: Media, limits: WorkLimits) -> Image.Image | None:
    """The picture of the whole that most files hold, without a look at the layers, which are most of a file; None where there
    is none, or where the layers have to say what its channels are (transparency is one of them).

    psd-tools is shown the same file with the section of layers left out.
    """
    with faults(), media.open() as stream:
        looked_at(stream, limits)
        head = stream.read(26)
        version, channels, mode = (struct.unpack_from(">H", head, at)[0] for at in (4, 12, 24))
        if _CHANNELS.get(mode) != channels:
            return None
        kept = head + _section(stream, 4) + _section(stream, 4)
        width = 8 if version == 2 else 4
        length = int.from_bytes(stream.read(width), "big")
        stream.seek(length, 1)
        rest = stream.read()
        if not rest:
            raise Corrupt("it ends before the picture of the whole")
        with opened(MemoryFile(kept + bytes(width) + rest, media.mimetype, media.filename), limits) as document:
            return whole(document) if document.has_preview() else None


def _section(stream: BinaryIO, width: int) -> bytes:
    """A section with its length in front."""
    length = stream.read(width)
    return length + stream.read(int.from_bytes(length, "big"))


def whole(document: PSDImage) -> Image.Image:
    """The picture of the whole: the one that the file holds, else its layers put together."""
    image = document.topil() if document.has_preview() else None
    if image is None:
        composed(document.width, document.height, sum(1 for _ in document.descendants()))
        image = document.composite(ignore_preview=True)
    return shown(image)


def composed(width: int, height: int, layers: int) -> None:
    """Raise `TooLarge` when putting so many layers together on such a canvas would take too long."""
    if width * height > MOST_CANVAS or width * height * max(1, layers) > MOST_COMPOSED:
        raise TooLarge(f"{layers} layers of {width} x {height} pixels", public="The layers are too large to be put together.")


def shown(image: Any) -> Image.Image:
    """A picture of psd-tools in a mode that all tasks take."""
    if not isinstance(image, Image.Image):
        raise Corrupt("no pixels")
    return eight_bits(image)


def warm() -> None:
    """Write a small file, read it and put it together: that loads all there is to load."""
    from io import BytesIO

    document = PSDImage.new("RGB", (2, 2))
    document.create_pixel_layer(Image.new("RGBA", (2, 2)), name="a")
    out = BytesIO()
    document.save(out)
    again = PSDImage.open(BytesIO(out.getvalue()))
    again.composite(ignore_preview=True)
    again.topil()
