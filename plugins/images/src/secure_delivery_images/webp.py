"""WebP by libwebp itself: its decoder can make a picture smaller while it decodes, which Pillow does not offer.

Knows: libwebp's interface for decoding (`webp/decode.h`, ABI 2). Must not know: files, limits, edits.

The library is the one that Pillow has loaded, so there is none to install and none more to keep up to date. Pillow reads every
WebP as an animation: it makes the whole canvas three times, in colours and transparency, whatever is wanted of it. Here
colours are computed for the wanted size only. Where the library cannot be reached (Pillow linked in another way) or has
another ABI, there is no engine and Pillow decodes.
"""

from __future__ import annotations

import ctypes
from typing import Any, BinaryIO, ClassVar

from PIL import Image

from secure_delivery.plugin import Corrupt, ProcessingLimit

from .engines import Wanted

_ABI = 0x0209  # libwebp 1.0 to 1.6 say 0x02..; the library itself refuses another first half
_RGB, _RGBA = 0, 1
_OUT_OF_MEMORY = 1
_int, _size = ctypes.c_int, ctypes.c_size_t


class _Features(ctypes.Structure):
    _fields_: ClassVar = [(name, _int) for name in ("width", "height", "has_alpha", "has_animation", "format")]
    _fields_ += [("pad", ctypes.c_uint32 * 5)]


class _Planes(ctypes.Structure):
    """The larger member of the union, which is never used: it gives the union its size."""

    _fields_: ClassVar = [(name, ctypes.c_void_p) for name in "yuva"]
    _fields_ += [(f"{name}_stride", _int) for name in "yuva"] + [(f"{name}_size", _size) for name in "yuva"]


class _Rows(ctypes.Structure):
    _fields_: ClassVar = [("pixels", ctypes.c_void_p), ("stride", _int), ("size", _size)]


class _Pixels(ctypes.Union):
    _fields_: ClassVar = [("rows", _Rows), ("planes", _Planes)]


class _Output(ctypes.Structure):
    _fields_: ClassVar = [(name, _int) for name in ("colorspace", "width", "height", "is_external_memory")]
    _fields_ += [("u", _Pixels), ("pad", ctypes.c_uint32 * 4), ("private", ctypes.c_void_p)]


class _Options(ctypes.Structure):
    _fields_: ClassVar = [
        (name, _int)
        for name in (
            *("bypass_filtering", "no_fancy_upsampling", "use_cropping", "left", "top", "crop_width", "crop_height"),
            *("use_scaling", "scaled_width", "scaled_height", "use_threads", "dithering", "flip", "alpha_dithering"),
        )
    ]
    _fields_ += [("pad", ctypes.c_uint32 * 5)]


class _Config(ctypes.Structure):
    _fields_: ClassVar = [("input", _Features), ("output", _Output), ("options", _Options)]


class WebpEngine:
    """Still pictures, lossy and lossless."""

    def __init__(self, library: Any) -> None:
        self._start = library.WebPInitDecoderConfigInternal
        self._start.argtypes, self._start.restype = [ctypes.c_void_p, _int], _int
        self._decode = library.WebPDecode
        self._decode.argtypes, self._decode.restype = [ctypes.c_char_p, _size, ctypes.c_void_p], _int
        self.works = bool(self._start(ctypes.byref(_Config()), _ABI))

    def read(self, stream: BinaryIO, wanted: Wanted) -> Image.Image | None:
        """Raises `Corrupt` for a damaged file, `ProcessingLimit` when there is no memory."""
        stream.seek(0)
        data = stream.read()
        mode, channels = ("RGBA", 4) if wanted.alpha else ("RGB", 3)
        width, height = wanted.size
        pixels = bytearray(width * height * channels)
        config = _Config()
        self._start(ctypes.byref(config), _ABI)
        config.output.colorspace = _RGBA if wanted.alpha else _RGB
        config.output.is_external_memory = 1  # ours, so that nothing has to be freed there, whatever happens
        held = (ctypes.c_char * len(pixels)).from_buffer(pixels)
        rows = config.output.u.rows
        rows.pixels, rows.stride, rows.size = ctypes.addressof(held), width * channels, len(pixels)
        if wanted.size != wanted.stored:
            config.options.use_scaling = 1
            config.options.scaled_width, config.options.scaled_height = width, height
        status = self._decode(data, len(data), ctypes.byref(config))
        if status == _OUT_OF_MEMORY:
            raise ProcessingLimit("libwebp is out of memory")
        if status:
            raise Corrupt(f"libwebp: status {status}")
        return Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)


def engine() -> WebpEngine | None:
    """The engine, None where it cannot work."""
    try:
        from PIL import _webp

        found = WebpEngine(ctypes.CDLL(_webp.__file__))  # a symbol is looked for in what a library needs as well
    except (ImportError, OSError, AttributeError):
        return None
    return found if found.works else None
