"""Decoding and making smaller in one pass, row after row: neither the whole picture nor a temporary file is ever there.

Knows: libvips. Must not know: Pillow's decoders, limits (the header was checked before), what is done with the pixels.

One thread decodes besides the one that asks, because a confined worker has a core to itself; none is started on loading.
Nothing is remembered between pictures. Loaders that libvips does not trust with strangers' files are blocked, and only two of
the others are ever called, by name. Every warning is a fault: a file that ends early gives no picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO

_SETTINGS = {
    "VIPS_CONCURRENCY": "1",
    "VIPS_BLOCK_UNTRUSTED": "1",
    "VIPS_DISC_THRESHOLD": str(1 << 40),  # bytes: no picture is so large that it goes into a file
    "VIPS_WARNING": "0",  # whatever decoders have to say is for nobody
}
os.environ.update(_SETTINGS)  # read when the library is loaded, by the next lines

import pyvips  # type: ignore[import-untyped]  # noqa: E402
from PIL import Image  # noqa: E402

from secure_delivery.plugin import Corrupt  # noqa: E402
from secure_delivery_images.engines import Wanted  # noqa: E402

from .unpack import unpacked  # noqa: E402

#: Pixels from which on libvips is faster; below, setting up its pipeline costs more than it saves.
WORTHWHILE = 200_000
_DEFLATED = ("tiff_adobe_deflate", "tiff_deflate")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class VipsEngine:
    """Reads one format: `load` is how, `suits` says which files are read better than by Pillow, `ready` makes them so."""

    def __init__(
        self,
        load: Callable[..., Any],
        suits: Callable[[Wanted], bool],
        ready: Callable[[bytes], bytes | bytearray | None] = bytes,
    ) -> None:
        self._load = load
        self._suits = suits
        self._ready = ready

    def read(self, stream: BinaryIO, wanted: Wanted) -> Image.Image | None:
        """Raises `Corrupt` for a damaged file."""
        if wanted.stored.width * wanted.stored.height < WORTHWHILE or not self._suits(wanted):
            return None
        stream.seek(0)
        data = stream.read()
        source = pyvips.Source.new_from_memory(self._ready(data) or data)  # read where it is, so it has to outlive the image
        try:
            image = self._load(source, access="sequential", fail_on="warning")
            if (image.width, image.height) != wanted.stored:
                raise Corrupt("libvips finds another size than Pillow")
            return _pixels(_smaller(_eight_bits(image), wanted), wanted)
        except pyvips.Error as error:
            raise Corrupt(f"libvips: {error}") from error


def _eight_bits(image: Any) -> Any:
    """Of 16 bits the upper half, as Pillow's reader has it."""
    if image.format == "ushort":
        return image.cast("uchar", shift=True)
    if image.format != "uchar":
        raise Corrupt(f"samples of the kind {image.format}")
    return image


def _smaller(image: Any, wanted: Wanted) -> Any:
    """At the wanted size: by whole numbers to once or twice that, then by Lanczos.

    With transparency as it is: colours would have to be weighted by it, which takes libvips longer than Pillow.
    """
    if wanted.size == wanted.stored or wanted.alpha:
        return image
    width, height = wanted.size
    return image.resize(width / image.width, vscale=height / image.height, gap=1.0)


def _pixels(image: Any, wanted: Wanted) -> Image.Image:
    mode = _MODES[image.bands]
    result = Image.frombuffer(mode, (image.width, image.height), image.write_to_memory(), "raw", mode, 0, 1)
    return result.convert("RGBA") if mode == "LA" != wanted.mode else result  # as Pillow reads these


def _png(wanted: Wanted) -> bool:
    """Of 16 bits one level that is not seen has to be looked for in all of them, which is done with Pillow."""
    return not (wanted.alpha and wanted.mode.startswith("I"))


def _tiff(wanted: Wanted) -> bool:
    """Pillow turns a TIFF by its tag while decoding."""
    return wanted.compression in _DEFLATED and wanted.mode in ("L", "RGB") and not wanted.alpha and wanted.orientation == 1


def _started() -> None:
    pyvips.cache_set_max(0)


def png() -> VipsEngine:
    _started()
    return VipsEngine(pyvips.Image.pngload_source, _png, unpacked)


def tiff() -> VipsEngine:
    _started()
    return VipsEngine(pyvips.Image.tiffload_source, _tiff)
