"""Whoever decodes, results are the same: for every kind of PNG and TIFF, for every way to make it smaller."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms

from secure_delivery.plugin.testing import MemoryFile
from secure_delivery_images.engines import Wanted
from secure_delivery_images.headers import Size
from secure_delivery_vips import decode
from secure_delivery_vips.unpack import unpacked

SIZE = (620, 437)  # of the photograph
pytestmark = pytest.mark.usefixtures("by_vips")
#: A profile that says more than "sRGB", so that it has to stay with the colours.
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
CHAINS: list[list[Any]] = [
    [("resize", {"w": "100"})],
    [("resize", {"w": "90", "h": "90", "f": "crop"})],
    [("resize", {"w": "50", "h": "200", "f": "scale"})],
    [("crop", {"d": ("50", "60", "500", "300")}), ("resize", {"w": "120"})],
    ["flop", ("resize", {"h": "70"})],
    [("rotate", {"d": "90"})],
    [("resize", {"w": "100", "filter": "nearest"})],
    [("resize", {"w": "900"})],
]


def deep(kit: Any, colours: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow writes of grey only: 1, 3 or 4 channels, 2 with transparency."""
    kinds = {1: 0, 2: 4, 3: 2, 4: 6}
    width, height = SIZE
    source = kit.photograph({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[colours]).tobytes()
    row = width * colours
    rows = b"".join(
        b"\0" + b"".join(struct.pack(">H", level * 257) for level in source[at : at + row]) for at in range(0, len(source), row)
    )
    header = struct.pack(">IIBBBBB", width, height, 16, kinds[colours], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def png(kit: Any, mode: str, **options: Any) -> MemoryFile:
    return kit.saved(kit.photograph(mode), "PNG", **options)


def tiff(kit: Any, mode: str, **options: Any) -> MemoryFile:
    return kit.saved(kit.photograph(mode), "TIFF", **({"compression": "tiff_adobe_deflate"} | options))


SOURCES = {
    "colours": lambda kit: png(kit, "RGB"),
    "grey": lambda kit: png(kit, "L"),
    "black and white": lambda kit: png(kit, "1"),
    "palette": lambda kit: png(kit, "P"),
    "palette with an unseen colour": lambda kit: png(kit, "P", transparency=3),
    "colours with an unseen one": lambda kit: png(kit, "RGB", transparency=(200, 30, 40)),
    "grey with an unseen level": lambda kit: png(kit, "L", transparency=90),
    "transparency": lambda kit: png(kit, "RGBA"),
    "grey with transparency": lambda kit: png(kit, "LA"),
    "16 bits grey": lambda kit: png(kit, "I;16"),
    "16 bits colours": lambda kit: MemoryFile(deep(kit, 3), "image/png"),
    "16 bits transparency": lambda kit: MemoryFile(deep(kit, 4), "image/png"),
    "16 bits grey with transparency": lambda kit: MemoryFile(deep(kit, 2), "image/png"),
    "with a profile": lambda kit: png(kit, "RGB", icc_profile=PROFILE),
    "deflated TIFF": lambda kit: tiff(kit, "RGB"),
    "deflated grey TIFF": lambda kit: tiff(kit, "L"),
    "deflated TIFF with a predictor": lambda kit: tiff(kit, "RGB", tiffinfo={317: 2}),
    "deflated TIFF with transparency": lambda kit: tiff(kit, "RGBA"),
    "deflated CMYK TIFF": lambda kit: tiff(kit, "CMYK"),
    "deflated TIFF with a profile": lambda kit: tiff(kit, "RGB", icc_profile=PROFILE),
    "TIFF": lambda kit: tiff(kit, "RGB", compression="raw"),
}


@pytest.mark.parametrize("tasks", CHAINS, ids=str)
@pytest.mark.parametrize("kind", SOURCES)
def test_results_do_not_depend_on_who_decodes(kind: str, tasks: list[Any], kit: Any, by_pillow: Any) -> None:
    """The same size, mode and profile, and a difference that nobody sees."""
    media = SOURCES[kind](kit)
    one = kit.run(media, *tasks)
    other = by_pillow(lambda: kit.run(media, *tasks))
    assert (one.size, one.mode, one.info.get("icc_profile")) == (other.size, other.mode, other.info.get("icc_profile"))
    # Black and white, and the edges of unseen colours, are as sharp as edges get.
    assert kit.likeness(one, other) > (30 if kind == "black and white" else 38)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if "TIFF" not in kind])
def test_pixels_that_are_not_made_smaller_are_those_of_the_file(kind: str, kit: Any, by_pillow: Any) -> None:
    """To the last bit."""
    media = SOURCES[kind](kit)
    one, other = kit.run(media, "flip"), by_pillow(lambda: kit.run(media, "flip"))
    assert (one.mode, one.tobytes()) == (other.mode, other.tobytes())


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_is_followed_once(orientation: int, form: str, kit: Any, by_pillow: Any) -> None:
    """Turned after it was made smaller, or left to the decoder that turns by itself."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_adobe_deflate"} if form == "TIFF" else {}
    media = kit.saved(kit.photograph(), form, exif=exif, **options)
    one = kit.run(media, ("resize", {"w": "100"}))
    other = by_pillow(lambda: kit.run(media, ("resize", {"w": "100"})))
    assert one.size == other.size
    assert kit.likeness(one, other) > 38


def test_an_interlaced_png_is_read(kit: Any) -> None:
    """In seven passes, one pixel in 64 first: made here, because Pillow does not write such files."""
    image = kit.photograph()
    rows = b""
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        part = Image.new("RGB", (-(-(image.width - left) // across), -(-(image.height - top) // down)))
        part.putdata([image.getpixel((x, y)) for y in range(top, image.height, down) for x in range(left, image.width, across)])
        row = part.width * 3
        rows += b"".join(b"\0" + part.tobytes()[at : at + row] for at in range(0, row * part.height, row))
    header = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    assert unpacked(data) is None
    assert kit.run(MemoryFile(data, "image/png"), "flip", "flip").tobytes() == image.tobytes()
    assert (
        kit.likeness(
            kit.run(MemoryFile(data, "image/png"), ("resize", {"w": "100"})), kit.run(png(kit, "RGB"), ("resize", {"w": "100"}))
        )
        > 60
    )


def test_libvips_is_what_decodes(kit: Any) -> None:
    """The kinds it takes are decoded by it, at the size asked for; the others, and small pictures, it leaves alone."""
    for form, maker, mode, taken in (
        ("PNG", decode.png, "RGB", True),
        ("PNG", decode.png, "L", True),
        ("TIFF", decode.tiff, "RGB", True),
        ("TIFF", decode.tiff, "CMYK", False),
    ):
        options = {"compression": "tiff_adobe_deflate"} if form == "TIFF" else {}
        data = kit.saved(kit.photograph(mode), form, **options).data
        wanted = Wanted(
            form=form,
            stored=Size(*SIZE),
            size=Size(200, 141),
            mode=mode,
            alpha=False,
            compression=options.get("compression", ""),
        )
        image = maker().read(BytesIO(data), wanted)
        assert (image is not None and image.size == (200, 141)) == taken
    small = Wanted(form="PNG", stored=Size(100, 100), size=Size(50, 50), mode="RGB", alpha=False)
    assert decode.png().read(BytesIO(b""), small) is None
