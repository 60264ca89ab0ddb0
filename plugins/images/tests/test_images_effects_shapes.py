"""Effects on shape and surroundings, the box that matters, and letters: sizes, corners, backgrounds, boxes, pages."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image, ImageChops

from secure_delivery.plugin import Media, NotProvided, TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.effects import transformations

TASKS = transformations()
CLEARING: list[tuple[str, dict[str, Any]]] = [
    ("rounded_corners", {"r": "max"}),
    ("round_corners", {"r": "20", "l": "0"}),
    ("circle", {}),
    ("torn_edges", {"s": ("5", "9")}),
    ("polaroid", {"r": "20"}),
    ("shadow", {}),
    ("vignette", {"a": "100"}),
]


@pytest.fixture
def done(scene: Any, saved: Any, chain: Any, opened: Any) -> Any:
    """The scene, or a picture, after tasks."""

    def run(source: str | Image.Image, *tasks: Any, form: str = "PNG") -> Image.Image:
        image = scene(mode=source) if isinstance(source, str) else source
        result: Image.Image = opened(chain(saved(image, form), *tasks))
        return result

    return run


@pytest.mark.parametrize(("task", "options"), CLEARING)
def test_what_is_taken_away_is_transparent_or_background(task: str, options: dict[str, Any], done: Any) -> None:
    """Corners are see-through in PNG, white in JPEG, and have the background where there is one."""
    for mode in ("RGB", "RGBA", "L", "LA"):
        clear = done(mode, (task, options))
        assert clear.convert("RGBA").getpixel((0, 0))[3] < 8
    corner = done("RGB", (task, options), form="JPEG").convert("RGB").getpixel((0, 0))
    assert min(corner) > 228
    filled = done("RGB", (task, {**options, "b": "00ff00"}))
    assert filled.mode == "RGB"
    red, green, blue = filled.getpixel((0, 0))
    assert green > 236 and max(red, blue) < 24
    half = done("RGB", (task, {**options, "b": "00ff0080"}))
    assert 100 < half.getpixel((0, 0))[3] < 156


def test_the_middle_of_a_shape_is_untouched(done: Any, scene: Any) -> None:
    """Circle, corners, torn edges and vignette leave the middle alone; sizes stay."""
    for task, options in CLEARING[:4] + CLEARING[6:]:
        result = done("RGB", (task, options)).convert("RGB")
        assert result.size == (96, 64)
        middle = (40, 26, 56, 38)
        difference = ImageChops.difference(result.crop(middle), scene().crop(middle))
        assert max(high for _low, high in difference.getextrema()) <= 1, task


def test_corners_are_as_round_as_asked(done: Any) -> None:
    """A radius takes away what lies outside its quarter circle, `max` gives a half circle at the shorter sides."""
    image = Image.new("RGB", (80, 40), "navy")
    alpha = done(image, ("rounded_corners", {"r": "10", "l": "0"})).getchannel("A")
    assert [alpha.getpixel(place) for place in ((0, 0), (2, 2), (79, 0), (0, 39), (79, 39))] == [0] * 5
    assert [alpha.getpixel(place) for place in ((10, 0), (0, 10), (4, 4), (40, 0), (79, 20))] == [255] * 5
    most = done(image, ("rounded_corners", {"r": "max", "l": "0"})).getchannel("A")
    same = done(image, ("rounded_corners", {"r": "10000", "l": "0"})).getchannel("A")
    assert ImageChops.difference(most, same).getbbox() is None
    assert most.getpixel((2, 8)) == 0
    assert most.getpixel((20, 0)) > 200
    soft = done(image, ("rounded_corners", {"r": "10", "l": "20"})).getchannel("A")
    assert len({soft.getpixel((place, place)) for place in range(10)}) > 3


def test_a_vignette_fades_by_as_much_as_asked(done: Any) -> None:
    """At 0 nothing happens, at 100 nothing is left in the corners; `linear` fades sooner and more evenly."""
    white = Image.new("RGB", (99, 99), "white")
    corners = [done(white, ("vignette", {"a": amount, "b": "black"})).getpixel((0, 0))[0] for amount in ("0", "40", "100")]
    assert corners[0] == 255 and 140 < corners[1] < 165 and corners[2] < 8
    gauss, linear = (done(white, ("vignette", {"a": "100", "m": mode, "b": "black"})) for mode in ("gaussian", "linear"))
    assert gauss.getpixel((15, 15))[0] < linear.getpixel((15, 15))[0]


def test_torn_edges_are_torn_between_the_two_depths(done: Any) -> None:
    """No deeper than the most, no less than the least, the same every time, whatever order and size."""
    image = Image.new("RGB", (120, 90), "navy")
    torn = done(image, ("torn_edges", {"s": ("6", "12")}))
    alpha = torn.getchannel("A")
    assert alpha.crop((13, 13, 107, 77)).getextrema() == (255, 255)
    assert alpha.crop((0, 0, 120, 5)).getextrema()[1] == 0
    assert alpha.crop((0, 85, 120, 90)).getextrema()[1] == 0
    again = done(image, ("torn_edges", {"s": ("12", "6")}))
    assert ImageChops.difference(torn, again).getbbox() is None
    huge = done(image, ("torn_edges", {"s": ("10000", "10000")}))
    assert huge.getpixel((60, 45)) == (0, 0, 128, 255)
    assert done(Image.new("RGB", (1, 1)), "torn_edges").size == (1, 1)


def test_a_border_adds_its_width_on_every_side(done: Any, scene: Any) -> None:
    """Twice the width in both directions, in its colour, with the picture unchanged inside."""
    for width in (0, 2, 15):
        result = done("RGB", ("border", {"w": str(width), "c": "tomato"}))
        assert result.size == (96 + 2 * width, 64 + 2 * width)
        inner = result.crop((width, width, width + 96, width + 64))
        assert ImageChops.difference(inner, scene()).getbbox() is None
        assert result.getpixel((0, 0)) == ((255, 99, 71) if width else scene().getpixel((0, 0)))
    assert done("L", "border").mode == "L"
    shown = done(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), ("border", {"b": "lime"}))
    assert shown.getpixel((5, 5)) == (0, 255, 0)


def test_a_shadow_falls_where_its_vector_points(done: Any) -> None:
    """The canvas grows on that side by the way and the softness, and the opacity is that of the shadow under it."""
    image = Image.new("RGB", (40, 30), "white")
    right = done(image, ("shadow", {"l": "0", "v": ("10", "6"), "o": "60", "c": "navy"}))
    assert right.size == (50, 36)
    assert right.getpixel((45, 20)) == (0, 0, 128, 153)
    assert right.getpixel((20, 15)) == (255, 255, 255, 255)
    left = done(image, ("shadow", {"l": "0", "v": ("-10", "-6"), "o": "100"}))
    assert left.size == (50, 36)
    assert left.getpixel((2, 2)) == (0, 0, 0, 255)
    assert left.getpixel((45, 32)) == (255, 255, 255, 255)
    soft = done(image, ("shadow", {"l": "5", "v": ("0", "0")}))
    assert soft.size == (60, 50)
    assert done(image, ("shadow", {"o": "0", "l": "0"})).getpixel((42, 32))[3] == 0


def test_a_shadow_has_the_shape_of_what_is_seen(done: Any) -> None:
    """Of a disc it is a disc."""
    disc = done(Image.new("RGB", (40, 40), "white"), "circle", ("shadow", {"l": "0", "v": ("20", "0"), "o": "100"}))
    assert disc.getpixel((50, 20)) == (0, 0, 0, 255)
    assert disc.getpixel((59, 1))[3] == 0


def test_a_polaroid_has_a_frame_with_a_foot(done: Any) -> None:
    """Its colour is around the picture, most of it below; a quarter turn lays it on its side."""
    upright = done(Image.new("RGB", (200, 200), "navy"), ("polaroid", {"r": "0", "c": "snow"}))
    turned = done(Image.new("RGB", (200, 200), "navy"), ("polaroid", {"r": "90", "c": "snow"}))
    assert upright.height > upright.width
    assert abs(turned.width - upright.height) <= 1 and abs(turned.height - upright.width) <= 1
    column = [upright.getpixel((upright.width // 2, y)) for y in range(upright.height)]
    snow = [y for y, colour in enumerate(column) if colour == (255, 250, 250, 255)]
    blue = [y for y, colour in enumerate(column) if colour == (0, 0, 128, 255)]
    assert len(blue) >= 199
    above, below = sum(y < blue[0] for y in snow), sum(y > blue[-1] for y in snow)
    assert below > 2 * above > 0


@pytest.mark.parametrize(
    ("task", "options", "side"),
    [
        ("border", {"w": "1000"}, 1_000),
        ("shadow", {"v": ("1000", "0")}, 1_000),
        ("polaroid", {"r": "45"}, 120),
        ("upscale", {}, 110),
        ("smart_crop", {"width": "5000", "height": "5000"}, 1_000),
    ],
)
def test_a_result_over_the_limit_is_refused(
    task: str, options: dict[str, Any], side: int, scene: Any, saved: Any, chain: Any
) -> None:
    """What grows is measured before it is made."""
    limits = WorkLimits(output_side=side)
    with pytest.raises(TooLarge):
        content(chain(saved(scene()), (task, options), limits=limits))


# ----------------------------------------------------------------------------------------------------------- smart crop


class Found:
    """A detector with an answer that is always the same."""

    version = "1"

    def __init__(self, **answer: Any) -> None:
        self.answer = answer

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        return {**self.answer, "width": 96, "height": 64}


FACES = Found(faces=[{"x": 70, "y": 10, "width": 10, "height": 12, "score": 0.9}])
OBJECTS = Found(
    objects=[
        {"label": "Dog", "x": 5, "y": 40, "width": 20, "height": 20, "score": 0.9},
        {"label": "sun", "x": 60, "y": 0, "width": 30, "height": 30, "score": 0.8},
    ]
)


def _box(image: MemoryFile, **options: Any) -> tuple[int, int, int, int]:
    shop = SimpleWorkshop(detectors={"faces": FACES, "objects": OBJECTS})
    task = TASKS["smart_crop"]
    result = task.apply(image, bind(task, coords="true", **options), shop)
    assert result.mimetype == "application/json"
    answer = json.loads(content(result))["coords"]
    assert list(answer) == ["x", "y", "width", "height"]
    return answer["x"], answer["y"], answer["width"], answer["height"]


def test_what_stands_out_is_in_the_box(saved: Any) -> None:
    """A bright spot on a plain ground is inside, wherever it is, and the box has the wanted shape."""
    for left, top in ((5, 10), (80, 25), (130, 50)):
        image = Image.new("RGB", (150, 60), "midnightblue")
        image.paste("orange", (left, top, left + 8, top + 8))
        x, y, width, height = _box(saved(image), width="30", height="30")
        assert (width, height, y) == (60, 60, 0)
        assert x <= left and left + 8 <= x + width
        close = _box(saved(image))
        assert close[0] <= left + 4 <= close[0] + close[2]
        assert close[1] <= top + 4 <= close[1] + close[3]
        assert close[2] * close[3] < 150 * 60 / 4


def test_an_empty_picture_is_cropped_in_the_middle(saved: Any) -> None:
    """Where there is nothing to see nothing is preferred."""
    assert _box(saved(Image.new("RGB", (150, 60), "gray")), width="10", height="10") == (45, 0, 60, 60)
    assert _box(saved(Image.new("RGBA", (150, 60))), width="10", height="10") == (45, 0, 60, 60)
    assert _box(saved(Image.new("L", (150, 60)))) == (0, 0, 150, 60)


def test_faces_and_objects_are_asked_for(saved: Any, scene: Any) -> None:
    """The box has them in its middle as far as it can; without wanted size it lies close around them."""
    image = saved(scene())
    assert _box(image, mode="face", width="20", height="32") == (55, 0, 40, 64)
    assert _box(image, mode="face") == (65, 4, 20, 24)
    assert _box(image, mode="object", object="dog", width="32", height="64") == (0, 0, 32, 64)
    assert _box(image, mode="object", object="SUN", width="32", height="64") == (59, 0, 32, 64)
    assert _box(image, mode="object", object="cat", width="96", height="64") == (0, 0, 96, 64)
    with pytest.raises(NotProvided):
        TASKS["smart_crop"].apply(image, bind(TASKS["smart_crop"], mode="face"), SimpleWorkshop())


def test_results_have_the_wanted_size(done: Any) -> None:
    """Both sides as asked, in every mode of colour; one side makes the other follow; neither leaves the pixels as they are."""
    for mode in ("L", "LA", "RGB", "RGBA"):
        assert done(mode, ("smart_crop", {"width": "50", "height": "70"})).size == (50, 70)
    close = done("RGB", "smart_crop").size
    one = done("RGB", ("smart_crop", {"width": "30"})).size
    assert one[0] == 30
    assert abs(one[1] - 30 * close[1] / close[0]) <= 1


def test_a_fill_shows_all_of_a_subject(done: Any, scene: Any) -> None:
    """`fit` shows the whole picture, with the colour above and below, white unless said."""
    result = done("RGB", ("smart_crop", {"mode": "fit", "width": "96", "height": "96", "fill_color": "gold"}))
    assert result.size == (96, 96)
    assert result.getpixel((48, 3)) == (255, 215, 0)
    assert ImageChops.difference(result.crop((0, 16, 96, 80)), scene()).getbbox() is None
    assert done("RGB", ("smart_crop", {"mode": "fit", "width": "96", "height": "96"})).getpixel((3, 3)) == (255, 255, 255)
    clear = done("RGB", ("smart_crop", {"mode": "fit", "width": "96", "height": "96", "fill_color": "transparent"}))
    assert clear.getpixel((48, 3))[3] == 0


# -------------------------------------------------------------------------------------------------------------- letters


def _page(image: MemoryFile, **options: Any) -> tuple[str, list[str]]:
    """The page, and its lines of letters without the elements around them."""
    result = TASKS["ascii"].apply(image, bind(TASKS["ascii"], **options), SimpleWorkshop())
    assert result.mimetype == "text/html"
    page = content(result).decode()
    block = page.partition("<pre")[2].partition(">\n")[2].partition("\n</pre>")[0]
    return page, [html.unescape(re.sub("<[^>]*>", "", line)) for line in block.split("\n")]


def test_a_page_of_letters_is_darker_where_the_picture_is(saved: Any) -> None:
    """Black becomes the fullest letter and white a space; `reverse` turns that round."""
    image = Image.new("L", (100, 60), 255)
    image.paste(0, (50, 0, 100, 60))
    page, lines = _page(saved(image))
    assert len(lines) == 18
    assert lines[4] == " " * 25 + "@" * 25
    assert page.startswith("<!DOCTYPE html>")
    _, lines = _page(saved(image), reverse="true")
    assert lines[4] == "@" * 25


def test_size_is_a_share_of_the_letters(saved: Any, scene: Any) -> None:
    """At 10 per cent a tenth of the columns; a wide picture stops at 240, a tall one at 600 rows."""
    assert max(map(len, _page(saved(scene(1000, 500)), size="100")[1])) == 240
    assert max(map(len, _page(saved(scene(1000, 500)), size="10")[1])) == 24
    assert len(_page(saved(Image.new("L", (20, 3_000))))[1]) <= 600
    assert len(_page(saved(Image.new("L", (1, 1))))[1]) == 1


def test_colours_of_a_page(saved: Any, quadrants: Any) -> None:
    """Ink and paper are as asked; `colored` letters have the colours of the picture, whatever the ink."""
    page, _ = _page(saved(quadrants()), background="navy", foreground="ff000080")
    assert "background: rgba(0, 0, 128, 1)" in page
    assert "color: rgba(255, 0, 0, 0.502)" in page
    assert "<span" not in page
    page, lines = _page(saved(quadrants()), colored="true")
    assert '<span style="color:#' in page
    assert len(set(re.findall("#([0-9a-f]{6})", page))) >= 4
    assert len(lines) == round(32 * 48 / 64 * 0.6)


def test_nothing_from_outside_becomes_markup(saved: Any, scene: Any) -> None:
    """A file name is escaped, and the page has no script and fetches nothing."""
    name = "<script>alert(1)</script>\"' onload=x & co.png"
    for colored in ("true", "false"):
        page, _ = _page(MemoryFile(saved(scene()).data, "image/png", name), colored=colored)
        assert "<script" not in page
        assert html.escape("<script>") in page
        assert not re.search("(?i)https?:|src=|url\\(|@import", page)
        assert set(re.findall("<([a-zA-Z!/]+)", page)) <= {
            "!DOCTYPE", "html", "/html", "head", "/head", "meta", "title", "/title", "style", "/style", "body", "/body",
            "pre", "/pre", "span", "/span",
        }  # fmt: skip
