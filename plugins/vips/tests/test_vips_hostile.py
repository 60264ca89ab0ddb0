"""Files that lie, end early or swell: refused as before, whoever decodes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.plugin import Corrupt, SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile
from secure_delivery_images.engines import Wanted
from secure_delivery_images.headers import Size
from secure_delivery_vips import decode
from secure_delivery_vips.unpack import unpacked

SIZE = (620, 437)  # of the photograph
pytestmark = pytest.mark.usefixtures("by_vips")
KINDS = ("PNG", "TIFF", "transparent")


@pytest.fixture(scope="module")
def media(kit: Any) -> dict[str, MemoryFile]:
    """A whole file of each kind."""
    return {
        "PNG": kit.saved(kit.photograph(), "PNG"),
        "TIFF": kit.saved(kit.photograph(), "TIFF", compression="tiff_adobe_deflate"),
        "transparent": kit.saved(kit.photograph("RGBA"), "PNG"),
    }


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def made(pixels: bytes, width: int = SIZE[0], height: int = SIZE[1]) -> bytes:
    """A PNG of grey whose packed pixels are these."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_early_is_refused(kind: str, share: float, by_pillow: Any, kit: Any, media: Any) -> None:
    """At whatever size, and by Pillow just so."""
    whole = media[kind]
    cut = MemoryFile(whole.data[: int(whole.size * share)], whole.mimetype)
    for tasks in ([("resize", {"w": "50"})], ["flip"]):
        with pytest.raises(Corrupt):
            kit.run(cut, *tasks)
        with pytest.raises(Corrupt):
            by_pillow(lambda tasks=tasks: kit.run(cut, *tasks))


def test_packed_pixels_that_are_too_few_are_refused(kit: Any, media: Any) -> None:
    """A whole file, every checksum right, with a row too few."""
    rows = (b"\0" + b"\x50" * SIZE[0]) * (SIZE[1] - 1)
    with pytest.raises(Corrupt):
        kit.run(MemoryFile(made(zlib.compress(rows)), "image/png"), ("resize", {"w": "50"}))


def test_packed_pixels_that_swell_are_not_unpacked_further(kit: Any, media: Any) -> None:
    """A gigabyte of zeros behind the last row costs nothing: what the picture needs is taken, as Pillow takes it."""
    packer = zlib.compressobj(9)
    packed = packer.compress((b"\0" + b"\x50" * SIZE[0]) * SIZE[1])
    zeros = bytes(1 << 22)
    packed += b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
    data = made(packed)
    assert len(unpacked(data) or b"") < 2 * SIZE[0] * SIZE[1]
    assert kit.run(MemoryFile(data, "image/png"), ("resize", {"w": "50"})).getpixel((9, 9)) == 0x50


def test_damaged_packing_is_refused(kit: Any, media: Any) -> None:
    """Bits that are no deflate, and a checksum that is not that of the pixels."""
    rows = (b"\0" + b"\x50" * SIZE[0]) * SIZE[1]
    packed = zlib.compress(rows, 0)
    for bad in (packed[:2] + b"\xff" * 50 + packed[52:], b"\0\0" + packed[2:], b""):
        with pytest.raises(Corrupt):
            kit.run(MemoryFile(made(bad), "image/png"), ("resize", {"w": "50"}))


def test_a_filter_that_does_not_exist_is_refused(kit: Any, media: Any) -> None:
    """The number before a row is 0 to 4."""
    rows = (b"\0" + b"\x50" * SIZE[0]) * 9 + (b"\x09" + b"\x50" * SIZE[0]) * (SIZE[1] - 9)
    with pytest.raises(Corrupt):
        kit.run(MemoryFile(made(zlib.compress(rows)), "image/png"), ("resize", {"w": "50"}))


def test_the_limit_of_pixels_comes_before_any_decoding(kit: Any, media: Any) -> None:
    """Announced pixels count; there are none behind this header."""
    with pytest.raises(TooLarge):
        kit.run(MemoryFile(made(b"", 10_001, 10_000), "image/png"), ("resize", {"w": "50"}))
    with pytest.raises(TooLarge):
        kit.run(media["PNG"], ("resize", {"w": "50"}), limits=WorkLimits(pixels=SIZE[0] * SIZE[1] - 1))


def test_a_size_that_the_header_did_not_say_is_refused(kit: Any, media: Any) -> None:
    """Pillow's word and that of libvips have to be the same."""
    wanted = Wanted(form="PNG", stored=Size(900, 800), size=Size(90, 80), mode="RGB", alpha=False)
    with pytest.raises(Corrupt):
        decode.png().read(BytesIO(media["PNG"].data), wanted)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), at=st.floats(0, 1), change=st.binary(min_size=1, max_size=8))
def test_any_damage_ends_in_a_picture_or_a_fault(kind: str, at: float, change: bytes, kit: Any, media: Any) -> None:
    """Never in anything else, wherever it is."""
    data = bytearray(media[kind].data)
    place = int(at * (len(data) - len(change)))
    data[place : place + len(change)] = change
    try:
        assert kit.run(MemoryFile(bytes(data), media[kind].mimetype), ("resize", {"w": "50"})).width == 50
    except SecureDeliveryError:
        pass


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_unpacking_reads_anything(data: bytes, kit: Any, media: Any) -> None:
    """Chunks of any length and name, in any number."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0))
    for text in (data, head + data, head + chunk(b"IDAT", data)):
        try:
            unpacked(text)
        except Corrupt:
            pass
