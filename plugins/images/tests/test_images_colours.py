"""Colours come out right: spelled in a URL, stored in any mode, described by a profile, seen through transparency."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from secure_delivery.plugin import Unsupported
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images.colours import NAMED, read_colour
from secure_delivery_images.modes import flattened


@pytest.mark.parametrize(
    ("spelled", "wanted"),
    [
        ("white", (255, 255, 255, 255)),
        ("RebeccaPurple", (102, 51, 153, 255)),
        ("DarkSlateGrey", (47, 79, 79, 255)),
        ("gray0", (0, 0, 0, 255)),
        ("gray100", (255, 255, 255, 255)),
        ("grey20", (51, 51, 51, 255)),
        ("gray", (128, 128, 128, 255)),
        ("transparent", (0, 0, 0, 0)),
        ("none", (0, 0, 0, 0)),
        ("f0a", (255, 0, 170, 255)),
        ("FFFFFF", (255, 255, 255, 255)),
        ("01fe7F", (1, 254, 127, 255)),
        ("FFFFFFFF", (255, 255, 255, 255)),
        ("10203040", (16, 32, 48, 64)),
    ],
)
def test_a_colour_is_read(spelled: str, wanted: tuple[int, ...]) -> None:
    """Names in any case, numbered greys, and 3, 6 or 8 digits mean what CSS and the Filestack documentation say."""
    assert read_colour(spelled) == wanted


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "#fff",
        "ff",
        "ffff",
        "fffff",
        "fffffff",
        "fffffffff",
        "gray101",
        "gray-1",
        "gray07",
        "rgb(1,2,3)",
        "whit",
        " red",
        "０００",
        "f" * 100_000,
        ("ff", "00", "00"),
        "red\n",
    ],
)
def test_what_is_no_colour_is_refused(spelled: Any) -> None:
    """Other spellings are refused, `#`, spaces and other scripts' digits among them."""
    with pytest.raises(ValueError):
        read_colour(spelled)


def test_all_names_of_css_are_there() -> None:
    """148 names, 101 greys in two spellings, and two words for nothing."""
    assert len(NAMED) == 148 + 2 * 101 + 2


@given(st.one_of(st.text(max_size=40), st.text("0123456789abcdefABCDEF", min_size=3, max_size=9)))
def test_any_text_is_a_colour_or_refused(text: str) -> None:
    """Reading ends in four numbers from 0 to 255 or `ValueError`, whatever the text."""
    try:
        colour = read_colour(text)
    except ValueError:
        return
    assert len(colour) == 4
    assert all(0 <= part <= 255 for part in colour)


def test_reading_a_long_text_takes_no_time() -> None:
    """Megabytes that almost are a colour are refused at once (compare CVE-2021-23437)."""
    start = time.process_time()
    for text in ("f" * 5_000_000, "gray" * 1_000_000, "rgb(" + "1," * 1_000_000):
        with pytest.raises(ValueError):
            read_colour(text)
    assert (time.process_time() - start) * 1000 < 500


# -------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("mode", "form"),
    [("1", "PNG"), ("1", "TIFF"), ("L", "PNG"), ("L", "JPEG"), ("P", "PNG"), ("P", "GIF"), ("P", "BMP"), ("P", "TIFF")]
    + [("RGB", form) for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF")]
    + [("RGBA", form) for form in ("PNG", "TIFF", "WEBP", "AVIF")]
    + [("LA", "PNG"), ("LA", "TIFF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")],
)
def test_every_mode_becomes_the_picture_it_shows(
    mode: str, form: str, chain: Any, saved: Any, opened: Any, quadrants: Any, distance: Callable[..., float]
) -> None:
    """Whatever way colours are stored, the result shows them."""
    image = quadrants(64, 48, mode)
    result = opened(chain(saved(image, form), ("resize", {"w": "32"}), ("output", {"format": "png"})))
    assert result.mode in ("L", "RGB")
    assert distance(result, image.convert("RGB")) < 12


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_without_clipping(form: str, order: str, chain: Any, opened: Any) -> None:
    """The upper half of each sample is kept: white stays white, the middle the middle, in both byte orders."""
    levels = [0x0000, 0x1234, 0x8000, 0xFFFF]
    data = struct.pack(f"{order}4H", *levels)
    out = BytesIO()
    Image.frombytes("I;16" if order == "<" else "I;16B", (4, 1), data).save(out, form)
    result = opened(chain(MemoryFile(out.getvalue()), ("output", {"format": "png"})))
    assert [result.getpixel((x, 0)) for x in range(4)] == [0x00, 0x12, 0x80, 0xFF]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_a_colour_become_eight(order: str, chain: Any, opened: Any) -> None:
    """TIFF with 16 bits for each of red, green and blue keeps its colours, in both byte orders."""
    levels = [0x0000, 0x8000, 0xFFFF, 0xFFFF, 0x1234, 0x0000]
    tags = [(256, 3, 2), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 2), (273, 4, 200), (277, 3, 3), (278, 3, 1)]
    tags += [(279, 4, 12)]
    body = b""
    for tag, kind, value in tags:
        count, value = (3, 190) if tag == 258 else (1, value)
        body += struct.pack(f"{order}HHI", tag, kind, count)
        body += struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags)) + body + bytes(4)
    data = start.ljust(190, b"\0") + struct.pack(f"{order}3H", 16, 16, 16).ljust(10, b"\0") + struct.pack(f"{order}6H", *levels)
    result = opened(chain(MemoryFile(data), ("output", {"format": "png"})))
    assert [result.getpixel((x, 0)) for x in range(2)] == [(0x00, 0x80, 0xFF), (0xFF, 0x12, 0x00)]


def test_sixteen_bits_a_colour_of_a_png_become_eight(chain: Any, opened: Any) -> None:
    """So does PNG, with grey or colours, with and without transparency, and with one level that stands for nothing."""

    def png(kind: int, samples: list[int], unseen: bytes = b"") -> MemoryFile:
        def chunk(name: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0))
        head += chunk(b"tRNS", unseen) if unseen else b""
        body = zlib.compress(b"\0" + struct.pack(f">{len(samples)}H", *samples))
        return MemoryFile(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b""))

    for kind, samples, unseen, wanted in (
        (0, [0x8001], b"", 0x80),
        (2, [0x00FF, 0x8000, 0xFFFF], b"", (0x00, 0x80, 0xFF)),
        (4, [0x1234, 0x8000], b"", (0x12, 0x12, 0x12, 0x80)),
        (6, [0x1234, 0x5678, 0x9ABC, 0x4000], b"", (0x12, 0x56, 0x9A, 0x40)),
        (0, [0x8001], b"\x80\x01", (0x80, 0)),
        (0, [0x8001], b"\x80\x00", 0x80),
    ):
        assert opened(chain(png(kind, samples, unseen), "flip")).getpixel((0, 0)) == wanted


def test_samples_of_32_bits_are_refused_with_their_reason(chain: Any, saved: Any) -> None:
    """What they mean depends on the file's maker; nobody guesses."""
    with pytest.raises(Unsupported) as caught:
        content(chain(saved(Image.new("F", (4, 4), 0.5), "TIFF"), "flip"))
    assert "32-bit" in caught.value.public


@pytest.mark.parametrize("kind", ["palette", "palette levels", "colour key", "grey key", "alpha"])
def test_transparency_is_kept_however_it_is_stored(kind: str, chain: Any, saved: Any, opened: Any) -> None:
    """The left half is unseen, the right half seen, in the source and in the result."""
    image = Image.new("RGBA", (40, 20), (200, 60, 20, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    options: dict[str, Any] = {}
    if kind.startswith("palette"):
        image = Image.new("P", (40, 20), 1)
        image.putpalette([10, 20, 30, 200, 60, 20])
        image.paste(0, (0, 0, 20, 20))
        options["transparency"] = 0 if kind == "palette" else b"\x00\xff"
    elif kind == "colour key":
        image, options["transparency"] = image.convert("RGB"), (0, 0, 0)
    elif kind == "grey key":
        image, options["transparency"] = image.convert("L"), 0
    result = opened(chain(saved(image, **options), ("resize", {"w": "20"}))).convert("RGBA")
    assert (result.getpixel((3, 5))[3], result.getpixel((16, 5))[3]) == (0, 255)
    assert result.getpixel((16, 5))[0] in (200, 97)  # 97: the same colour as grey


def test_colours_of_unseen_pixels_do_not_bleed(chain: Any, saved: Any, opened: Any) -> None:
    """A white shape on unseen black has no dark rim when it is made smaller."""
    image = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (33, 33, 66, 66))
    result = opened(chain(saved(image), ("resize", {"w": "30"})))
    seen = [result.getpixel((x, y)) for x in range(30) for y in range(30)]
    assert all(pixel[0] > 250 for pixel in seen if pixel[3] > 8)


@pytest.mark.parametrize("form", ["jpg", "bmp"])
@pytest.mark.parametrize(
    ("background", "behind"), [(None, (255, 255, 255)), ("lime", (0, 255, 0)), ("transparent", (255, 255, 255))]
)
def test_transparency_ends_on_a_background(
    form: str, background: str | None, behind: tuple[int, ...], chain: Any, saved: Any, opened: Any
) -> None:
    """White behind transparent parts where a format has none, or the colour that was asked for."""
    options = {"format": form} | ({"background": background} if background else {})
    result = opened(chain(saved(Image.new("RGBA", (16, 16), (0, 0, 0, 0))), ("output", options)))
    assert result.convert("RGB").getpixel((8, 8)) == pytest.approx(behind, abs=3)


def test_a_background_also_stands_behind_formats_with_transparency(chain: Any, saved: Any, opened: Any) -> None:
    """`output=format:png,background:navy` has no transparency left; half of a colour leaves half."""
    media = saved(Image.new("RGBA", (16, 16), (0, 0, 0, 0)))
    solid = opened(chain(media, ("output", {"format": "png", "background": "navy"})))
    assert (solid.mode, solid.getpixel((1, 1))) == ("RGB", (0, 0, 128))
    half = opened(chain(media, ("output", {"format": "png", "background": "00008080"})))
    assert half.getpixel((1, 1)) == (0, 0, 128, 128)


# ----------------------------------------------------------------------------------------------------------- profiles


@cache
def _swapped_profile() -> bytes:
    """A profile in which the first number means green and the second red: impossible to overlook when it is ignored."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    places = {bytes(data[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return (
        bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be")).replace(b"sRGB built-in", b"Swap built-in")
    )


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), *((form, mode) for form in ("PNG", "WEBP", "TIFF", "AVIF") for mode in ("RGB", "RGBA"))]
)
def test_a_profile_stays_with_its_colours(form: str, mode: str, chain: Any, saved: Any, opened: Any) -> None:
    """Numbers stay, and the profile that explains them goes along, from every format to every format that has profiles."""
    colour = (0, 255, 0) if mode == "RGB" else (0, 255, 0, 77)
    media = saved(Image.new(mode, (20, 20), colour), form, icc_profile=_swapped_profile())
    for wanted in ("png", "webp", "tiff", "avif", "jpg"):
        result = opened(chain(media, ("resize", {"w": "10"}), ("output", {"format": wanted, "background": "none"})))
        assert result.info["icc_profile"] == _swapped_profile(), wanted
        if wanted != "jpg" or mode == "RGB":
            assert result.getpixel((5, 5))[:3] == pytest.approx((0, 255, 0), abs=12)
    for tasks in (["no_metadata"], ["compress"], ["flip", ("compress", {"metadata": "true"})]):
        assert opened(chain(media, *tasks)).info["icc_profile"] == _swapped_profile(), tasks


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("wanted", ["gif", "bmp"])
def test_a_profile_is_followed_where_a_format_has_none(wanted: str, mode: str, chain: Any, saved: Any, opened: Any) -> None:
    """A picture that is red by its profile comes out red where nothing could explain its numbers."""
    media = saved(Image.new(mode, (20, 20), (0, 255, 0)), icc_profile=_swapped_profile())
    result = opened(chain(media, ("resize", {"w": "10"}), ("output", {"format": wanted})))
    assert result.convert("RGB").getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=12)
    assert "icc_profile" not in result.info


def test_inks_are_made_of_the_colours_that_a_profile_means(chain: Any, saved: Any, opened: Any) -> None:
    """`colorspace:cmyk` prints red what is red by its profile."""
    media = saved(Image.new("RGB", (20, 20), (0, 255, 0)), icc_profile=_swapped_profile())
    result = opened(chain(media, ("output", {"format": "tiff", "colorspace": "cmyk"})))
    assert result.getpixel((5, 5)) == pytest.approx((0, 255, 255, 0), abs=12)
    assert "icc_profile" not in result.info


def test_plain_srgb_is_not_carried_along(chain: Any, saved: Any, opened: Any) -> None:
    """A profile that says what pixels without one are anyway is left out."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    media = saved(Image.new("RGB", (20, 20), (0, 255, 0)), "JPEG", icc_profile=plain)
    assert "icc_profile" not in opened(chain(media, "flip")).info


def _grey_profile(gamma: float = 1.0) -> bytes:
    """A minimal profile of grey levels (ICC.1:2010, 8.3.3): brightness is the level to this power."""

    def block(kind: bytes, body: bytes) -> bytes:
        return (kind + bytes(4) + body).ljust(-(-(8 + len(body)) // 4) * 4, b"\0")

    text = b"grey\0"
    white = block(b"XYZ ", struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D))
    tags = {
        b"desc": block(b"desc", struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)),
        b"cprt": block(b"text", b"none\0"),
        b"wtpt": white,
        b"kTRC": block(b"curv", struct.pack(">IH", 1, int(gamma * 256))),
    }
    place, index, bodies = 128 + 4 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        index += name + struct.pack(">II", place + len(bodies), len(body))
        bodies += body
    size = place + len(bodies)
    head = struct.pack(">I4s4s4s4s4s", size, bytes(4), bytes([2, 0x40, 0, 0]), b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + bodies


def test_a_profile_of_grey_stays_with_grey(chain: Any, saved: Any, opened: Any) -> None:
    """Grey levels keep their profile in formats that have grey, and become sRGB where there are only colours."""
    media = saved(Image.new("L", (20, 20), 55), icc_profile=_grey_profile())
    for wanted in ("png", "jpg", "tiff"):
        result = opened(chain(media, "flip", ("output", {"format": wanted})))
        assert (result.mode, result.info["icc_profile"]) == ("L", _grey_profile())
    for wanted in ("webp", "avif", "bmp"):
        result = opened(chain(media, "flip", ("output", {"format": wanted})))
        assert "icc_profile" not in result.info
        assert result.convert("RGB").getpixel((4, 4)) == pytest.approx((128, 128, 128), abs=4)
    tinted = opened(chain(media, ("rotate", {"deg": "45", "background": "red"})))
    assert tinted.mode == "RGB"
    assert "icc_profile" not in tinted.info


def test_a_profile_too_large_to_send_along_is_left_out(chain: Any, saved: Any, opened: Any) -> None:
    """A profile of more than 1 MiB does not reach a result (security promise 43)."""
    long = _swapped_profile()
    long = struct.pack(">I", (1 << 20) + 4) + long[4:] + bytes((1 << 20) + 4 - len(long))
    result = opened(chain(saved(Image.new("RGB", (8, 8)), "TIFF", icc_profile=long), ("output", {"format": "png"})))
    assert "icc_profile" not in result.info


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 3000, _swapped_profile()[:200]])
def test_a_damaged_profile_is_as_good_as_none(profile: bytes, chain: Any, saved: Any, opened: Any) -> None:
    """Numbers are taken as sRGB when nothing usable says otherwise."""
    result = opened(chain(saved(Image.new("RGB", (8, 8), (10, 200, 30)), icc_profile=profile), "flip"))
    assert result.getpixel((2, 2)) == (10, 200, 30)


def test_a_profile_of_another_colour_space_does_no_harm(chain: Any, saved: Any, opened: Any) -> None:
    """An RGB profile on a grey and on a CMYK picture is not followed."""
    for mode, colour, wanted in (("L", 120, 120), ("CMYK", (0, 255, 255, 0), (255, 0, 0))):
        media = saved(Image.new(mode, (8, 8), colour), "TIFF", icc_profile=_swapped_profile())
        result = opened(chain(media, ("output", {"format": "png"})))
        assert result.getpixel((2, 2)) == wanted


@pytest.mark.parametrize(
    ("inks", "seen"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_become_the_colours_they_print(
    form: str, inks: tuple[int, ...], seen: tuple[int, ...], chain: Any, saved: Any, opened: Any
) -> None:
    """CMYK is not shown inverted: no ink is white, all black is black."""
    result = opened(chain(saved(Image.new("CMYK", (16, 16), inks), form), ("resize", {"w": "8"}), ("output", {"f": "jpg"})))
    assert result.mode == "RGB"
    assert result.getpixel((4, 4)) == pytest.approx(seen, abs=6)


@pytest.mark.parametrize("form", ["jpg", "tiff"])
def test_cmyk_can_be_asked_for_and_kept(form: str, chain: Any, saved: Any, opened: Any) -> None:
    """`colorspace:cmyk` makes inks of colours; `input` keeps inks with their black, and leaves colours alone."""
    made = opened(chain(saved(Image.new("RGB", (16, 16), (255, 0, 0))), ("output", {"format": form, "colorspace": "cmyk"})))
    assert (made.mode, made.getpixel((4, 4))) == ("CMYK", pytest.approx((0, 255, 255, 0), abs=6))
    rich = saved(Image.new("CMYK", (16, 16), (40, 80, 120, 90)), "TIFF")
    kept = opened(chain(rich, ("output", {"format": form, "colorspace": "input"}), ("rotate", {"deg": "45", "b": "black"})))
    assert kept.mode == "CMYK"
    assert kept.getpixel((kept.width // 2, kept.height // 2)) == pytest.approx((40, 80, 120, 90), abs=8)
    plain = opened(chain(saved(Image.new("RGB", (16, 16))), ("output", {"format": form, "colorspace": "input"})))
    assert plain.mode == "RGB"


def test_cmyk_is_refused_where_there_is_none(chain: Any, saved: Any) -> None:
    """PNG has no inks; that is said, not silently ignored."""
    with pytest.raises(Unsupported) as caught:
        chain(saved(Image.new("RGB", (4, 4))), ("output", {"format": "png", "colorspace": "cmyk"}))
    assert "png" in caught.value.public


@pytest.mark.parametrize("background", [(255, 255, 255, 255), (0, 0, 0, 255), (12, 200, 99, 255)])
def test_the_short_way_onto_a_background_gives_the_pixels_of_the_long_one(background: tuple[int, int, int, int]) -> None:
    picture = Image.merge("RGBA", [Image.effect_noise((256, 256), spread) for spread in (40, 90, 140, 250)])
    ground = Image.new("RGBA", picture.size, background)
    ground.alpha_composite(picture)
    assert flattened(picture, background).tobytes() == ground.convert("RGB").tobytes()
