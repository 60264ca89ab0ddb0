"""HEIC, the pictures of many telephones: read like any other format, never written. The files were drawn for these tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine.types import sniff
from secure_delivery.plugin import SecureDeliveryError, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images import Picture

FILES = Path(__file__).parent / "files"


def heic(name: str) -> MemoryFile:
    return MemoryFile((FILES / f"{name}.heic").read_bytes(), "image/heic", f"{name}.heic")


@pytest.mark.parametrize("name", ["plain", "turned", "deep"])
def test_a_telephone_picture_comes_out_upright_and_in_its_colours(name: str, chain: Any, opened: Any, looks_like: Any) -> None:
    """Plain, turned by the camera (once: the tag that says so as well is not followed), and with 10 bits a colour."""
    media = heic(name)
    assert sniff(media.data) == "image/heic"
    for wanted in ("jpg", "png", "webp"):
        result = opened(chain(media, ("resize", {"w": "32"}), ("output", {"format": wanted})))
        assert result.size == (32, 24)
        assert looks_like(result, "RGBY", 16)
    assert json.loads(content(chain(media, "imagesize"))) == {"width": 64, "height": 48}


def test_a_telephone_picture_becomes_a_jpeg_unless_something_else_is_said(chain: Any, opened: Any) -> None:
    """Browsers do not show HEIC, and nothing here writes it: whatever the task, the result is a JPEG."""
    for task in ("flip", "no_metadata", "compress", ("quality", {"v": "input"})):
        result = chain(heic("plain"), task)
        assert (result.mimetype, result.filename, opened(result).format) == ("image/jpeg", "plain.jpg", "JPEG")


def test_transparency_of_a_telephone_picture_is_kept(chain: Any, opened: Any) -> None:
    """A quarter is unseen in PNG, and white in JPEG."""
    seen = opened(chain(heic("see_through"), ("output", {"format": "png"})))
    assert (seen.mode, seen.getpixel((5, 5))[3], seen.getpixel((50, 40))[3]) == ("RGBA", 0, 255)
    assert opened(chain(heic("see_through"), "flop")).getpixel((58, 5)) == pytest.approx((255, 255, 255), abs=6)


def test_metadata_of_a_telephone_picture_follows_the_profile(chain: Any, opened: Any) -> None:
    """No place and no author by default; the author where the profile says so."""
    bare = opened(chain(heic("turned"), "flip")).getexif()
    assert not dict(bare)
    signed = opened(chain(heic("turned"), "flip", metadata="copyright")).getexif()
    assert dict(signed) == {0x8298: "(c) somebody"}


def test_a_telephone_picture_over_the_limit_is_too_large() -> None:
    """From what it announces."""
    with pytest.raises(TooLarge):
        Picture.of(heic("plain"), WorkLimits(pixels=64 * 48 - 1))


def test_damaged_telephone_pictures_are_faults_of_the_tree(chain: Any) -> None:
    """Cut anywhere, or with any byte turned, the outcome is a picture or a fault."""
    data = heic("turned").data
    cases = [data[:end] for end in range(0, len(data), 37)]
    cases += [data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(0, len(data), 5)]
    for number, case in enumerate(cases):
        try:
            content(chain(MemoryFile(case), ("resize", {"w": "16"})))
        except SecureDeliveryError:
            continue
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r}") from error
