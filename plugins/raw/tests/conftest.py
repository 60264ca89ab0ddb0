"""Camera raw, written by hand: a DNG file as a camera would write it, of any size, with or without a picture inside."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from secure_delivery.plugin import MemoryFile

_SHORT, _LONG, _RATIONAL, _SRATIONAL, _BYTE, _ASCII = 3, 4, 5, 10, 1, 2
_SIZES = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _SRATIONAL: 8, _BYTE: 1, _ASCII: 1}
_LETTERS = {_SHORT: "H", _LONG: "I", _RATIONAL: "II", _SRATIONAL: "ii", _BYTE: "B"}
#: From XYZ to the camera (DNG 1.4, ColorMatrix1): that of sRGB, so that the camera sees what a screen shows.
_MATRIX = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.204, 1.057)


def _packed(kind: int, values: object) -> tuple[int, bytes]:
    if isinstance(values, bytes):
        return len(values), values
    numbers = values if isinstance(values, tuple) else (values,)
    if kind in (_RATIONAL, _SRATIONAL):
        numbers = tuple(part for number in numbers for part in (round(number * 10_000), 10_000))
    data = struct.pack(f"<{len(numbers)}{_LETTERS[kind][0]}", *numbers)
    return len(data) // _SIZES[kind], data


def directory(tags: dict[int, tuple[int, object]], at: int) -> bytes:
    """A directory that stands at `at`, its longer values behind it."""
    entries, extra = b"", b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        count, data = _packed(kind, values)
        if len(data) > 4:
            place = struct.pack("<I", behind + len(extra))
            extra += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + extra


def mosaic(image: Image.Image) -> bytes:
    """What a sensor with the pattern RGGB sees of a picture: linear light, 16 bits."""
    pixels = (np.asarray(image.convert("RGB"), np.float64) / 255) ** 2.2 * 60_000
    seen = np.zeros(pixels.shape[:2], "<u2")
    for top, left, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        seen[top::2, left::2] = pixels[top::2, left::2, channel]
    return seen.tobytes()


def dng(
    image: Image.Image, *, inside: Image.Image | None = None, orientation: int = 1, stated: tuple[int, int] | None = None
) -> bytes:
    """A DNG file. `inside` becomes its JPEG preview, `stated` a size that is not that of its pixels."""
    width, height = stated or image.size
    jpeg = b""
    if inside is not None:
        out = BytesIO()
        inside.save(out, "JPEG", quality=95, subsampling=0)
        jpeg = out.getvalue() + b"\0" * (len(out.getvalue()) % 2)
    pixels = mosaic(image)
    camera: dict[int, tuple[int, object]] = {
        271: (_ASCII, b"Example\0"),
        272: (_ASCII, b"One\0"),
        274: (_SHORT, orientation),
        50706: (_BYTE, (1, 4, 0, 0)),
        50707: (_BYTE, (1, 1, 0, 0)),
        50708: (_ASCII, b"Example One\0"),
        50721: (_SRATIONAL, _MATRIX),
        50728: (_RATIONAL, (1.0, 1.0, 1.0)),
        50778: (_SHORT, 21),
    }
    start = 8 + len(jpeg)
    sensor: dict[int, tuple[int, object]] = {
        254: (_LONG, 0),
        256: (_LONG, width),
        257: (_LONG, height),
        258: (_SHORT, 16),
        259: (_SHORT, 1),
        262: (_SHORT, 32803),
        273: (_LONG, start),
        277: (_SHORT, 1),
        278: (_LONG, height),
        279: (_LONG, len(pixels)),
        284: (_SHORT, 1),
        33421: (_SHORT, (2, 2)),
        33422: (_BYTE, (0, 1, 1, 2)),
        50717: (_LONG, 60_000),
    }
    first = start + len(pixels)
    if inside is None:
        return struct.pack("<4sI", b"II*\0", first) + pixels + directory({**camera, **sensor}, first)
    lower = directory(sensor, first)
    preview: dict[int, tuple[int, object]] = {
        **camera,
        254: (_LONG, 1),
        256: (_LONG, inside.width),
        257: (_LONG, inside.height),
        258: (_SHORT, (8, 8, 8)),
        259: (_SHORT, 7),
        262: (_SHORT, 6),
        273: (_LONG, 8),
        277: (_SHORT, 3),
        278: (_LONG, inside.height),
        279: (_LONG, len(jpeg)),
        330: (_LONG, first),
    }
    at = first + len(lower)
    return struct.pack("<4sI", b"II*\0", at) + jpeg + pixels + lower + directory(preview, at)


def quadrants(width: int, height: int) -> Image.Image:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", (width, height), (220, 30, 30))
    image.paste((30, 170, 40), (width // 2, 0, width, height // 2))
    image.paste((30, 50, 210), (0, height // 2, width // 2, height))
    image.paste((235, 235, 235), (width // 2, height // 2, width, height))
    return image


@pytest.fixture(scope="session")
def raw() -> Callable[..., MemoryFile]:
    def make(width: int = 640, height: int = 480, *, name: str = "a.dng", **more: object) -> MemoryFile:
        data = dng(quadrants(width, height), **more)  # type: ignore[arg-type]
        return MemoryFile(data, "image/tiff", name)

    return make
