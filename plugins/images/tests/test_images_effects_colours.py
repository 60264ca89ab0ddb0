"""What effects do to colours and neighbours, as far as it can be said in numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat

from secure_delivery_images import planes

MODES = ["L", "LA", "RGB", "RGBA"]


def _worst(one: Image.Image, other: Image.Image) -> float:
    """The largest difference of any channel of any pixel."""
    assert (one.mode, one.size) == (other.mode, other.size)
    extrema = ImageChops.difference(one, other).getextrema()
    return max(high for _low, high in extrema) if isinstance(extrema[0], tuple) else extrema[1]


@pytest.fixture
def done(scene: Any, saved: Any, chain: Any, opened: Any) -> Any:
    """The scene after tasks: `done("RGB", "negative", ("blur", {...}))`."""

    def run(source: str | Image.Image, *tasks: Any) -> Image.Image:
        image = scene(mode=source) if isinstance(source, str) else source
        result: Image.Image = opened(chain(saved(image), *tasks))
        return result

    return run


@pytest.mark.parametrize("mode", MODES)
def test_grey_is_the_luma_of_the_picture(mode: str, done: Any, scene: Any) -> None:
    """`monochrome` gives one channel, and transparency if there was any."""
    result = done(mode, "monochrome")
    source = scene(mode=mode)
    assert result.mode == ("LA" if mode in ("LA", "RGBA") else "L")
    wanted = source.convert("RGB").convert("L") if mode.startswith("RGB") else source.getchannel("L")
    assert _worst(result.getchannel("L"), wanted) <= 1
    if "A" in mode:
        assert _worst(result.getchannel("A"), source.getchannel("A")) == 0


def test_black_and_white_has_two_values(done: Any) -> None:
    """And the threshold moves the border between them: at 100 all is black, at 0 all but black is white."""
    shares = []
    for threshold in ("0", "25", "50", "75", "100"):
        result = done("RGB", ("blackwhite", {"threshold": threshold}))
        histogram = result.convert("L").histogram()
        assert sum(histogram[1:255]) == 0
        shares.append(histogram[255] / sum(histogram))
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1.0, 0.0)


def test_the_negative_of_the_negative_is_the_picture(done: Any, scene: Any) -> None:
    """Twice is not at all; transparency is not turned round."""
    for mode in MODES:
        assert _worst(done(mode, "negative", "negative"), scene(mode=mode)) == 0
    once = done("RGBA", "negative")
    assert _worst(once.getchannel("A"), scene(mode="RGBA").getchannel("A")) == 0
    assert once.getpixel((5, 3))[0] == 255 - scene(mode="RGBA").getpixel((5, 3))[0]


def test_sepia_is_brown_by_as_much_as_asked(done: Any, scene: Any) -> None:
    """At 0 the picture stays, at 100 red is above green above blue wherever it is not white."""
    assert _worst(done("RGB", ("sepia", {"tone": "0"})), scene()) == 0
    red, green, blue = done("RGB", ("sepia", {"tone": "100"})).split()
    assert ImageChops.subtract(green, red).getextrema()[1] == 0
    assert ImageChops.subtract(blue, green).getextrema()[1] == 0
    assert done("L", "sepia").mode == "RGB"


def test_modulate_by_its_defaults_changes_nothing(done: Any, scene: Any) -> None:
    """100 per cent and no turn are the picture itself, in every mode."""
    for mode in MODES:
        assert _worst(done(mode, ("modulate", {"b": "100", "h": "0", "s": "100"})), scene(mode=mode)) == 0


def test_modulate_turns_and_takes_colours(done: Any, scene: Any) -> None:
    """No brightness is black, twice of it is twice as light; no saturation is grey; a third of a turn makes red green."""
    assert done("RGB", ("modulate", {"b": "0"})).getextrema() == ((0, 0),) * 3
    assert done(Image.new("RGB", (8, 8), (20, 50, 90)), ("modulate", {"b": "200"})).getpixel((4, 4)) == (40, 100, 180)
    red, green, blue = done("RGB", ("modulate", {"s": "0"})).split()
    assert max(_worst(red, green), _worst(green, blue)) <= 1
    assert _worst(red, scene().convert("L")) <= 2
    turned = done(Image.new("RGB", (8, 8), (255, 0, 0)), ("modulate", {"h": "120"})).getpixel((4, 4))
    assert turned[1] > 240 and max(turned[0], turned[2]) < 15
    assert done("L", ("modulate", {"h": "120", "s": "300"})).mode == "L"
    assert done("RGB", ("modulate", {"b": "10000", "s": "10000"})).size == (96, 64)


def test_blur_takes_contrast_and_keeps_the_mean(done: Any, scene: Any) -> None:
    """The more, the flatter; at 0 nothing happens; the colour on the whole stays."""
    assert _worst(done("RGB", ("blur", {"a": "0"})), scene()) == 0
    edges = []
    for amount in ("0", "1", "2.5", "20"):
        result = done("RGB", ("blur", {"a": amount}))
        edges.append(ImageStat.Stat(result.convert("L").filter(ImageFilter.FIND_EDGES)).mean[0])
        means = zip(ImageStat.Stat(result).mean, ImageStat.Stat(scene()).mean, strict=True)
        assert all(abs(one - other) < 12 for one, other in means)
    assert edges == sorted(edges, reverse=True)


def test_blur_lets_no_invisible_colour_bleed(done: Any) -> None:
    """Red beside invisible green stays red, however soft its edge becomes."""
    image = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 20, 40))
    for task in (("blur", {"a": "4"}), ("pixelate", {"a": "7"})):
        result = done(image, task)
        seen = result.getchannel("A").point([0] * 16 + [255] * 240)
        assert sum(result.getchannel("G").histogram(seen)[16:]) == 0


def test_sharpening_adds_contrast(done: Any, scene: Any) -> None:
    """The more, the stronger; at 0 nothing happens; transparency stays."""
    assert _worst(done("RGB", ("sharpen", {"a": "0"})), scene()) == 0
    edges = []
    for amount in ("0", "1", "5", "20"):
        result = done("RGBA", ("sharpen", {"a": amount}))
        edges.append(ImageStat.Stat(result.convert("L").filter(ImageFilter.FIND_EDGES)).mean[0])
        assert _worst(result.getchannel("A"), scene(mode="RGBA").getchannel("A")) == 0
    assert edges == sorted(edges)


@pytest.mark.parametrize("amount", [2, 7, 100])
def test_pixels_become_squares_of_one_colour(amount: int, done: Any) -> None:
    """Every square, the cut ones at the right and below too, has one colour: the mean of what was there."""
    result = done("RGB", ("pixelate", {"a": str(amount)}))
    assert result.size == (96, 64)
    for top in range(0, 64, amount):
        for left in range(0, 96, amount):
            square = result.crop((left, top, min(96, left + amount), min(64, top + amount)))
            assert all(low == high for low, high in square.getextrema())


def test_only_the_named_parts_change(done: Any, scene: Any) -> None:
    """Beyond the soft edge nothing does, inside everything is covered, and an oval leaves the corners of its rectangle."""
    source, inside = scene(), (30, 20, 60, 50)
    for task, amount in (("partial_pixelate", "10"), ("partial_blur", "6")):
        whole = done("RGB", (task.removeprefix("partial_"), {"a": amount}))
        result = done("RGB", (task, {"o": (("30", "20", "30", "30"),), "a": amount, "l": "0"}))
        assert _worst(result.crop(inside), whole.crop(inside)) <= 1
        outside = result.copy()
        outside.paste(source.crop(inside), inside)
        assert _worst(outside, source) == 0
        soft = done("RGB", (task, {"o": (("30", "20", "30", "30"),), "a": amount, "l": "2"}))
        assert _worst(soft.crop(inside), whole.crop(inside)) <= 1
        assert _worst(soft.crop((0, 0, 20, 64)), source.crop((0, 0, 20, 64))) == 0
        oval = done("RGB", (task, {"o": (("30", "20", "30", "30"),), "a": amount, "l": "0", "t": "oval"}))
        assert oval.getpixel((30, 20)) == source.getpixel((30, 20))
        assert _worst(oval.crop((43, 33, 47, 37)), whole.crop((43, 33, 47, 37))) <= 1


def test_parts_outside_the_picture_are_nothing(done: Any, scene: Any) -> None:
    """A rectangle beyond the edge changes nothing, one across it what is there; fifty large ones are as good as one."""
    assert _worst(done("RGB", ("partial_blur", {"o": (("5000", "5000", "10", "10"),)})), scene()) == 0
    across = done("RGB", ("partial_pixelate", {"o": (("90", "60", "10000", "10000"),), "l": "0"}))
    assert across.size == (96, 64)
    many = tuple((str(x), "0", "10000", "10000") for x in range(50))
    assert _worst(done("RGB", ("partial_blur", {"o": many})), done("RGB", ("blur", {"a": "10"}))) <= 1


def test_oil_leaves_flat_strokes_and_the_colours(done: Any, scene: Any, distance: Any) -> None:
    """Detail goes, the picture on the whole stays; a flat picture stays as it is, and grey stays grey."""
    result = done("RGB", ("oil_paint", {"a": "5"}))
    assert distance(result, scene()) < 20
    flat = Image.new("RGB", (50, 40), (90, 120, 200))
    for amount in ("1", "2", "40", "100"):
        assert _worst(done(flat, ("oil_paint", {"a": amount})), flat) <= 2
        assert done("LA", ("oil_paint", {"a": amount})).mode == "LA"


def test_upscaling_doubles_both_sides(done: Any, scene: Any, distance: Any) -> None:
    """In every mode and style, it is the same picture, and never lighter or darker than it was."""
    for mode in MODES:
        result = done(mode, "upscale")
        assert result.size == (192, 128)
        assert result.mode == mode
    for style in ("photo", "artwork"):
        result = done("RGB", ("upscale", {"style": style}))
        assert distance(result, scene()) < 6
        pairs = zip(result.getextrema(), scene().getextrema(), strict=True)
        assert all(low >= least and high <= most for (low, high), (least, most) in pairs)


def test_upscaling_is_sharper_than_resizing(done: Any) -> None:
    """Edges are steeper than after an ordinary resize to the same size, most of all in drawings."""
    tasks = (("resize", {"w": "192"}), "upscale", ("upscale", {"s": "artwork"}))
    edges = [done("RGB", task).convert("L").filter(ImageFilter.FIND_EDGES) for task in tasks]
    found = [ImageStat.Stat(edge).sum2[0] for edge in edges]
    assert found == sorted(found)


def test_noise_goes_and_edges_stay(done: Any) -> None:
    """Each level takes more grain out of a flat part; the edge between two parts is as steep as before."""
    chance = random.Random(7)
    grain = Image.frombytes("L", (80, 60), bytes(min(255, max(0, round(chance.gauss(128, 14)))) for _ in range(4800)))
    clean = Image.new("L", (80, 60), 90)
    clean.paste(190, (40, 0, 80, 60))
    noisy = ImageChops.add(clean, grain, 1, -128)
    left = []
    for noise in ("none", "low", "medium", "high"):
        result = done(noisy, ("upscale", {"upscale": "false", "noise": noise}))
        assert result.size == (80, 60)
        left.append(ImageStat.Stat(result.crop((4, 4, 32, 56))).stddev[0])
        step = ImageStat.Stat(result.crop((42, 0, 46, 60))).mean[0] - ImageStat.Stat(result.crop((34, 0, 38, 60))).mean[0]
        assert step > 75
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[0] / 2.5


#: Tasks whose filters look beyond their band, by far and by little.
ACROSS_BANDS: list[tuple[str, dict[str, Any]]] = [
    ("blur", {"a": "3"}),
    ("sharpen", {"a": "9"}),
    ("pixelate", {"a": "9"}),
    ("oil_paint", {"a": "4"}),
    ("partial_pixelate", {"o": (("5", "5", "80", "50"),), "a": "9"}),
    ("upscale", {"n": "medium"}),
    ("enhance", {"preset": "auto"}),
    ("enhance", {"preset": "beautify_plus"}),
    ("modulate", {"h": "50"}),
]


@pytest.mark.parametrize(("task", "options"), ACROSS_BANDS)
def test_working_in_bands_leaves_no_seams(
    task: str, options: dict[str, Any], done: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture worked on in bands, as large ones are, is the same as one worked on whole."""
    image = scene(60, 400, "RGBA")
    whole = done(image, (task, options))
    monkeypatch.setattr(planes, "_BAND_PIXELS", 60 * 16)
    assert _worst(done(image, (task, options)), whole) <= 1
