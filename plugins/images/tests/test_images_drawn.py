"""Pictures made by code, and pixels handed from plugin to plugin without an encoding in between."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import pytest
from PIL import Image

from secure_delivery.plugin import Decoded, Media, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import content
from secure_delivery_images import Picture
from secure_delivery_images.edits import Mirror

LIMITS = WorkLimits()


@dataclass(frozen=True)
class Page:
    """A media of another plugin: it can be looked at, but has no bytes yet."""

    image: Any
    mimetype: str = "image/png"
    filename: str = "report.png"
    size: int | None = None

    def decoded(self) -> Any:
        return self.image

    def open(self) -> BinaryIO:
        raise AssertionError("was encoded though its pixels were there")


def test_a_drawing_is_a_picture_like_any_other(chain: Any, opened: Any, quadrants: Any, looks_like: Any) -> None:
    """Tasks go on from pixels: size, turn, format and name come out as from a file."""
    drawn = Picture.drawn(quadrants(), filename="page.pdf", limits=LIMITS)
    assert isinstance(drawn, Media)
    assert isinstance(drawn, Decoded)
    assert (drawn.mimetype, drawn.filename, drawn.dimensions()) == ("image/png", "page.png", (64, 48))
    result = chain(drawn, ("resize", {"w": "32"}), ("rotate", {"d": "90"}), ("output", {"format": "jpg"}))
    assert (result.mimetype, result.filename) == ("image/jpeg", "page.jpg")
    assert opened(result).size == (24, 32)
    assert looks_like(opened(result), "BRYG")
    for plain in (drawn, chain(drawn, "no_metadata"), chain(drawn, "compress"), chain(drawn, ("quality", {"v": "input"}))):
        assert opened(plain).tobytes() == quadrants().tobytes()


def test_a_page_of_another_plugin_is_taken_as_it_is(chain: Any, opened: Any, quadrants: Any) -> None:
    """What can hand over pixels is neither encoded nor decoded on the way."""
    result = chain(Page(quadrants()), ("resize", {"w": "16"}))
    assert (result.filename, opened(result).size) == ("report.png", (16, 12))


def test_a_media_that_hands_over_something_else_is_read(saved: Any, quadrants: Any) -> None:
    """Decoded text is no picture; the bytes count then."""
    file = saved(quadrants())

    class Other(Page):
        def open(self) -> BinaryIO:
            return BytesIO(file.data)

    assert Picture.of(Other("some text"), LIMITS).dimensions() == (64, 48)


def test_a_drawing_has_one_page_and_legal_size(quadrants: Any) -> None:
    """There is no page 2, no more pixels than the limit, no 32-bit samples."""
    drawn = Picture.drawn(quadrants(), filename="a", limits=LIMITS)
    with pytest.raises(Unsupported, match="page"):
        content(drawn.at_page(2))
    with pytest.raises(TooLarge):
        Picture.drawn(quadrants(), filename="a", limits=WorkLimits(pixels=64 * 48 - 1))
    with pytest.raises(Unsupported):
        content(Picture.drawn(Image.new("F", (4, 4)), filename="a", limits=LIMITS))


def test_decoded_pixels_have_all_edits(chain: Any, saved: Any, quadrants: Any, looks_like: Any) -> None:
    """`decoded` gives what the encoded result would show, upright."""
    exif = Image.Exif()
    exif[0x0112] = 3
    media = saved(quadrants().rotate(180), "JPEG", exif=exif)
    picture = chain(media, "flop")
    assert looks_like(picture.decoded(), "GRYB")
    assert picture.decoded() is picture.decoded()


@pytest.mark.parametrize(
    ("mode", "form", "wanted"),
    [
        ("1", "PNG", "L"),
        ("L", "PNG", "L"),
        ("LA", "PNG", "LA"),
        ("P", "PNG", "RGB"),
        ("CMYK", "JPEG", "RGB"),
        ("RGBA", "PNG", "RGBA"),
    ],
)
def test_decoded_pixels_are_in_one_of_four_modes(
    mode: str, form: str, wanted: str, chain: Any, saved: Any, quadrants: Any
) -> None:
    """Whoever looks at pixels knows what to expect, CMYK that stays CMYK in the file included."""
    media = saved(quadrants(64, 48, mode), form)
    assert Picture.of(media, LIMITS).decoded().mode == wanted
    assert chain(media, ("output", {"f": "jpg", "o": "input"})).decoded().mode == wanted


def test_looking_at_pixels_costs_no_second_decoding(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """After `decoded` the file is not read again, neither by `open` nor by the edits that follow."""
    file = saved(quadrants())
    reads = []

    class Counted:
        mimetype, filename, size = file.mimetype, file.filename, file.size

        def open(self) -> BinaryIO:
            reads.append(1)
            return BytesIO(file.data)

    picture = Picture.of(Counted(), LIMITS).edited(Mirror(sideways=True))
    picture.decoded()
    before = len(reads)
    assert opened(picture).tobytes() == quadrants().transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()
    more = picture.edited(Mirror(sideways=True))
    assert opened(more.encoded(quality=90)).tobytes() == quadrants().tobytes()
    assert len(reads) == before
    assert opened(picture.unturned()).size == (64, 48)
    assert len(reads) == before + 1
