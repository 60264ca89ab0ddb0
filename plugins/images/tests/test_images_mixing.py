"""Several pictures in one: watermarks, collages, and what no task of several pictures takes."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageSequence

from secure_delivery.plugin import Corrupt, Gathering, Referring, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind, content
from secure_delivery_images.headers import Size
from secure_delivery_images.layout import arranged
from secure_delivery_images.tasks import transformations

TASKS = transformations()
NAVY, WHITE = (0, 0, 128), (255, 255, 255)
HANDLE = "AbCdEfGhIjKlMnOpQrSt"


def badge(width: int = 40, height: int = 20, mode: str = "RGBA") -> Image.Image:
    """Navy with an unseen frame, so that a place and an edge can be told."""
    image = Image.new("RGBA", (width, height), (*NAVY, 255))
    image.paste((0, 0, 0, 0), (0, 0, width, 2))
    return image.convert(mode)


def solid(colour: str, width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def where(image: Image.Image, colour: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The rectangle of pixels that are about this colour."""
    near = [[abs(level - part) < 40 for level in range(256)] for part in colour]
    planes = [plane.point([255 * hit for hit in hits]) for plane, hits in zip(image.convert("RGB").split(), near, strict=True)]
    both = Image.merge("RGB", planes).convert("L").point([0] * 255 + [255])
    return both.getbbox()


# ----------------------------------------------------------------------------------------------------------- watermark


@pytest.mark.parametrize(
    ("position", "box"),
    [
        ("center", (25, 38, 75, 63)),
        ("top", (25, 0, 75, 25)),
        ("bottom", (25, 75, 75, 100)),
        ("left", (0, 38, 50, 63)),
        ("right", (50, 38, 100, 63)),
        (("top", "left"), (0, 0, 50, 25)),
        (("bottom", "right"), (50, 75, 100, 100)),
        (("middle", "center"), (25, 38, 75, 63)),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_mark_is_where_it_should_be(form: str, position: Any, box: Any, chain: Any, saved: Any, opened: Any) -> None:
    """Half as wide as the picture, at each of the places and pairs."""
    options = {"file": HANDLE, "size": "50", "position": position}
    mark = saved(solid("navy", 40, 20))
    result = opened(chain(saved(solid("white", 100, 100), form), ("watermark", options), others=[mark]))
    assert result.size == (100, 100)
    assert where(result, NAVY) == pytest.approx(box, abs=1)


@pytest.mark.parametrize(("size", "width"), [("1", 2), ("25", 50), ("100", 200), ("0", 200), ("500", 200)])
def test_the_size_of_a_mark_counts_the_width_below(size: str, width: int, chain: Any, saved: Any, opened: Any) -> None:
    """Per cent of the picture's width, up to five times: what reaches beyond the edge is cut off. 0 is left out."""
    mark = saved(solid("navy", 80, 80))
    result = opened(chain(saved(solid("white", 200, 300)), ("watermark", {"f": HANDLE, "s": size}), others=[mark]))
    left, _, right, _ = where(result, NAVY) or (0, 0, 0, 0)
    assert (right - left, result.size) == (width, (200, 300))


def test_a_mark_larger_than_the_picture_shows_its_middle(
    chain: Any, saved: Any, opened: Any, quadrants: Any, looks_like: Any
) -> None:
    """Centred, its own middle is in the middle; aligned, the aligned edge shows."""
    mark = saved(quadrants(400, 400))
    plain = saved(solid("white", 40, 40))
    middle = opened(chain(plain, ("watermark", {"f": HANDLE, "s": "200"}), others=[mark]))
    assert looks_like(middle, "RGBY", 4)
    corner = opened(chain(plain, ("watermark", {"f": HANDLE, "s": "200", "p": ("bottom", "right")}), others=[mark]))
    assert looks_like(corner, "YYYY", 4)


@pytest.mark.parametrize("below", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK"])
@pytest.mark.parametrize("above", ["L", "LA", "RGB", "RGBA", "P"])
def test_every_kind_of_mark_goes_on_every_kind_of_picture(
    below: str, above: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """Colours show on grey and on inks; what is unseen in the mark shows the picture."""
    base = saved(solid("white", 64, 48).convert(below), "TIFF" if below == "CMYK" else "PNG")
    result = opened(
        chain(base, ("watermark", {"f": HANDLE}), ("output", {"f": "png"}), others=[saved(quadrants(64, 48, above))])
    )
    red = (220, 30, 30) if above in ("RGB", "RGBA", "P") else (86, 86, 86)
    assert result.convert("RGB").getpixel((5, 5)) == pytest.approx(red, abs=24 if above == "P" else 6)


def test_a_see_through_mark_lets_the_picture_through(chain: Any, saved: Any, opened: Any) -> None:
    """Half of both where the mark is half there, also on a picture that is itself partly unseen."""
    mark = saved(Image.new("RGBA", (10, 10), (0, 0, 0, 128)))
    opaque = opened(chain(saved(solid("white", 10, 10)), ("watermark", {"f": HANDLE}), others=[mark]))
    assert opaque.getpixel((5, 5)) == pytest.approx((127, 127, 127), abs=2)
    unseen = opened(chain(saved(Image.new("RGBA", (10, 10), (9, 9, 9, 0))), ("watermark", {"f": HANDLE}), others=[mark]))
    assert unseen.getpixel((5, 5)) == pytest.approx((0, 0, 0, 128), abs=2)


def test_a_mark_is_upright_and_goes_on_what_came_before(
    chain: Any, saved: Any, opened: Any, looks_like: Any, quadrants: Any
) -> None:
    """Its orientation is followed; the picture below is the one that earlier tasks made."""
    exif = Image.Exif()
    exif[0x0112] = 3
    mark = saved(quadrants().rotate(180), "JPEG", exif=exif)
    tasks = [("resize", {"w": "64", "h": "48", "f": "crop"}), ("watermark", {"f": HANDLE}), "flop"]
    result = opened(chain(saved(solid("white", 300, 300), "JPEG"), *tasks, others=[mark]))
    assert result.size == (64, 48)
    assert looks_like(result, "GRYB", 30)


def test_every_frame_gets_its_mark(chain: Any, saved: Any) -> None:
    """An animation stays one."""
    frames = [solid(name, 40, 40) for name in ("white", "silver")]
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    mark = saved(solid("navy", 10, 10))
    data = content(chain(MemoryFile(out.getvalue()), ("watermark", {"f": HANDLE, "s": "50"}), others=[mark]))
    boxes = [where(frame, NAVY) for frame in ImageSequence.Iterator(Image.open(BytesIO(data)))]
    assert boxes == [(10, 10, 30, 30)] * 2


@cache
def _swapped() -> bytes:
    import struct

    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    places = {bytes(data[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    text = bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    return text.replace(b"sRGB built-in", b"Swap built-in")


def test_a_mark_keeps_its_colours_in_another_space(chain: Any, saved: Any, opened: Any) -> None:
    """Its numbers are converted to the picture's space, and that stays the picture's; a mark's own profile counts as well."""
    red = solid("red", 10, 10)
    below = saved(solid("white", 10, 10), icc_profile=_swapped())
    result = opened(chain(below, ("watermark", {"f": HANDLE}), others=[saved(red)]))
    assert result.info["icc_profile"] == _swapped()
    assert result.getpixel((5, 5)) == pytest.approx((0, 255, 0), abs=12)  # which is red there
    mark = saved(solid("lime", 10, 10), icc_profile=_swapped())
    for options in ({}, {"icc_profile": _swapped()}):
        result = opened(chain(saved(solid("white", 10, 10), **options), ("watermark", {"f": HANDLE}), others=[mark]))
        assert result.getpixel((5, 5)) == pytest.approx((0, 255, 0) if options else (255, 0, 0), abs=12)


# ------------------------------------------------------------------------------------------------------------- collage


def test_a_collage_shows_every_picture_in_order(chain: Any, saved: Any, opened: Any) -> None:
    """The source first, then the named files, row by row, whole, on the colour that was asked for."""
    others = [saved(solid(name)) for name in ("lime", "blue", "yellow")]
    options = {"files": (HANDLE,) * 3, "width": "320", "height": "220", "color": "black"}
    result = opened(chain(saved(solid("red"), "JPEG", filename="first.jpg"), ("collage", options), others=others))
    assert (result.size, result.format) == ((320, 220), "JPEG")
    boxes = [where(result, colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))]
    places = [(10, 11, 155, 105), (165, 11, 310, 105), (10, 115, 155, 209), (165, 115, 310, 209)]
    assert [pytest.approx(place, abs=9) for place in places] == boxes
    assert result.getpixel((2, 2)) == pytest.approx((0, 0, 0), abs=12)


def test_a_cropping_collage_fills_the_canvas(chain: Any, saved: Any, opened: Any) -> None:
    """Places and margins make up the whole, whatever the proportions of the pictures."""
    others = [saved(solid(name, *size)) for name, size in (("lime", (10, 90)), ("blue", (200, 30)))]
    options = {"files": (HANDLE,) * 2, "width": "300", "height": "300", "margin": "6", "fit": "crop"}
    result = opened(chain(saved(solid("red")), ("collage", options), others=others))
    boxes = [where(result, colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert None not in boxes
    assert (min(box[0] for box in boxes), min(box[1] for box in boxes)) == (6, 6)
    assert (max(box[2] for box in boxes), max(box[3] for box in boxes)) == (294, 294)


def test_a_collage_is_as_transparent_as_it_is_asked_to_be(chain: Any, saved: Any, opened: Any) -> None:
    """On no colour it is a PNG with unseen margins, even when the first picture is a JPEG; on white it is not."""
    options = {"files": (HANDLE,), "width": "100", "height": "50", "color": "none"}
    result = opened(chain(saved(solid("red"), "JPEG"), ("collage", options), others=[saved(badge())]))
    assert (result.format, result.mode, result.getpixel((1, 1))[3]) == ("PNG", "RGBA", 0)


def test_members_of_a_collage_are_upright_and_of_every_kind(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Turned, grey, inked, palette, transparent and telephone pictures go together."""
    exif = Image.Exif()
    exif[0x0112] = 6
    others = [saved(quadrants(64, 48, mode), "TIFF") for mode in ("L", "CMYK", "P", "RGBA")]
    others.append(saved(quadrants().rotate(90, expand=True), "JPEG", exif=exif))
    options = {"files": (HANDLE,) * 5, "width": "400", "height": "300"}
    assert opened(chain(saved(quadrants(), "WEBP"), ("collage", options), others=others)).size == (400, 300)


def test_a_collage_without_room_is_refused(chain: Any, saved: Any) -> None:
    """Margins that leave nothing for the pictures are said to do so."""
    options = {"files": (HANDLE,) * 3, "width": "150", "height": "150", "margin": "100"}
    with pytest.raises(Unsupported, match="collage") as caught:
        chain(saved(solid("red")), ("collage", options), others=[saved(solid("red"))] * 3)
    assert caught.value.public == "collage: 4 pictures and their margins do not fit into 150 x 150 pixels."


def test_a_collage_may_not_be_larger_than_a_result(chain: Any, saved: Any) -> None:
    """10,000 by 10,000 is the largest; an application's limit can lower that."""
    options = {"files": (HANDLE,), "width": "10000", "height": "9000"}
    with pytest.raises(TooLarge):
        chain(saved(solid("red")), ("collage", options), others=[saved(solid("red"))], limits=WorkLimits(pixels=80_000_000))


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=30),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.integers(1, 100),
    st.booleans(),
)
def test_places_never_meet_and_never_leave_the_canvas(
    sizes: list[tuple[int, int]], width: int, height: int, margin: int, crop: bool
) -> None:
    """Whatever the pictures, places lie inside the margins and apart from each other, or there is no room."""
    places = arranged([Size(*size) for size in sizes], Size(width, height), margin, crop=crop)
    if places is None:
        return
    assert len(places) == len(sizes)
    for place in places:
        assert place.left >= margin - 1
        assert place.top >= margin - 1
        assert place.left + place.width <= width - margin + 1
        assert place.top + place.height <= height - margin + 1
        assert min(place.width, place.height) >= 1
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            apart = one.left + one.width <= other.left or one.top + one.height <= other.top
            assert apart or other.left + other.width <= one.left


# ------------------------------------------------------------------------------------------------- what does not belong


@pytest.mark.parametrize("task", ["watermark", "collage", "animate"])
@pytest.mark.parametrize(
    ("rubbish", "fault"),
    [
        (b"%PDF-1.7 no picture", Unsupported),
        (b"<script>alert(1)</script>", Unsupported),
        (b"", Unsupported),
        (b"\x89PNG\r\n\x1a\n", Corrupt),
    ],
)
def test_a_file_that_is_no_picture_is_named(task: str, rubbish: bytes, fault: Any, chain: Any, saved: Any) -> None:
    """The refusal says that it is not the source that is meant."""
    options: dict[str, Any] = {"watermark": {"f": HANDLE}, "collage": {"f": (HANDLE,), "w": "90", "h": "90"}}.get(task, {})
    with pytest.raises(fault) as caught:
        content(chain(saved(solid("red")), (task, options), others=[MemoryFile(rubbish, "image/png", "x.png")]))
    assert caught.value.public.startswith(f"{task}: ")
    assert "cannot be used" in caught.value.public


@pytest.mark.parametrize("task", ["watermark", "collage", "animate"])
def test_a_file_that_is_damaged_behind_its_header_is_corrupt(task: str, chain: Any, saved: Any) -> None:
    """Cut in the middle, it fails when its pixels are needed, as a fault of the tree."""
    whole = saved(Image.effect_noise((200, 200), 60), "JPEG").data
    options: dict[str, Any] = {"watermark": {"f": HANDLE}, "collage": {"f": (HANDLE,), "w": "90", "h": "90"}}.get(task, {})
    with pytest.raises(Corrupt):
        content(chain(saved(solid("red")), (task, options), others=[MemoryFile(whole[: len(whole) // 2])]))


@pytest.mark.parametrize("task", ["watermark", "collage", "animate"])
def test_a_bomb_among_the_files_is_refused_by_its_header(task: str, chain: Any, saved: Any) -> None:
    """Every file has to keep the limits, not only the source."""
    bomb = saved(Image.new("1", (10_001, 10_000)))
    options: dict[str, Any] = {"watermark": {"f": HANDLE}, "collage": {"f": (HANDLE,), "w": "90", "h": "90"}}.get(task, {})
    with pytest.raises(TooLarge):
        chain(saved(solid("red")), (task, options), others=[bomb])


def test_a_watermark_without_its_file_is_refused(chain: Any, saved: Any) -> None:
    """Nothing is drawn as if nobody had asked."""
    with pytest.raises(SecureDeliveryError, match="watermark"):
        chain(saved(solid("red")), ("watermark", {"f": HANDLE}))


def test_named_files_are_told_as_they_are_written() -> None:
    """The engine gets the text of the option, in order; a single name may stand for a list of one."""
    watermark, collage = TASKS["watermark"], TASKS["collage"]
    assert isinstance(watermark, Referring)
    assert isinstance(collage, Referring)
    assert list(watermark.references(bind(watermark, file="https://example.com/a.png?x=1,2"))) == [
        "https://example.com/a.png?x=1,2"
    ]
    assert list(collage.references(bind(collage, files=("src://a/b", HANDLE), width="9", height="9"))) == ["src://a/b", HANDLE]
    assert list(collage.references(bind(collage, files=HANDLE, width="9", height="9"))) == [HANDLE]
    assert {name for name, task in TASKS.items() if isinstance(task, Gathering)} >= {"collage", "animate"}


# ------------------------------------------------------------------------------------------------------ golden pictures


def test_marks_look_as_they_should(chain: Any, saved: Any, opened: Any, scene: Any, golden: Any) -> None:
    """A half seen badge in a corner."""
    mark = badge(60, 30)
    mark.putalpha(mark.getchannel("A").point([level // 2 for level in range(256)]))
    options = {"f": HANDLE, "s": "40", "p": ("bottom", "right")}
    golden("watermark", opened(chain(saved(scene()), ("watermark", options), others=[saved(mark)])))


@pytest.mark.parametrize("fit", ["auto", "crop"])
def test_collages_look_as_they_should(fit: str, chain: Any, saved: Any, opened: Any, quadrants: Any, golden: Any) -> None:
    """Five pictures of different proportions."""
    others = [saved(quadrants(*size)) for size in ((48, 64), (96, 48), (64, 64), (40, 90))]
    options = {"files": (HANDLE,) * 4, "w": "160", "h": "120", "m": "4", "c": "lavender", "i": fit}
    golden(f"collage_{fit}", opened(chain(saved(quadrants()), ("collage", options), others=others)))
