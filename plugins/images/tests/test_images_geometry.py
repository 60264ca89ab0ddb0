"""Sizes and places: every fit and align, crops, rotations, mirrors and orientations, to the pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from secure_delivery.plugin import NotProvided, Unsupported
from secure_delivery.plugin.testing import bind, content
from secure_delivery_images.tasks import transformations

TASKS = transformations()

#: Source size, options, size of the result.
RESIZES = [
    ((400, 300), {"w": "100"}, (100, 75)),
    ((400, 300), {"h": "100"}, (133, 100)),
    ((400, 300), {"w": "100", "h": "0"}, (100, 75)),
    ((400, 300), {"w": "100", "h": "100"}, (100, 75)),
    ((300, 400), {"w": "100", "h": "100"}, (75, 100)),
    ((40, 30), {"w": "100", "h": "100"}, (100, 75)),
    ((1000, 3), {"w": "100"}, (100, 1)),
    ((5, 3), {"w": "4"}, (4, 2)),
    ((400, 300), {"w": "100", "h": "100", "f": "max"}, (100, 75)),
    ((40, 30), {"w": "100", "h": "100", "f": "max"}, (40, 30)),
    ((40, 30), {"w": "100", "f": "max"}, (40, 30)),
    ((40, 300), {"w": "100", "h": "100", "f": "max"}, (13, 100)),
    ((400, 300), {"w": "100", "h": "100", "f": "scale"}, (100, 100)),
    ((40, 30), {"w": "7", "h": "90", "f": "scale"}, (7, 90)),
    ((400, 300), {"w": "100", "f": "scale"}, (100, 75)),
    ((400, 300), {"w": "100", "h": "100", "f": "crop"}, (100, 100)),
    ((40, 30), {"w": "100", "h": "100", "f": "crop"}, (100, 100)),
    ((400, 300), {"h": "30", "f": "crop"}, (40, 30)),
    ((1, 1), {"w": "30", "h": "20", "f": "crop"}, (30, 20)),
    ((401, 299), {"w": "33", "h": "77", "f": "crop"}, (33, 77)),
]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(("size", "options", "wanted"), RESIZES)
def test_a_resize_has_exactly_its_size(
    form: str, size: tuple[int, int], options: dict[str, str], wanted: tuple[int, int], chain: Any, saved: Any, opened: Any
) -> None:
    """Each fit gives the documented size, the same whether JPEG was decoded in full or reduced."""
    media = saved(Image.new("RGB", size), form)
    assert opened(chain(media, ("resize", options))).size == wanted


STRIPES = ["red", "lime", "blue"]
ALIGNS = [
    ("left", "wide", "red"),
    ("center", "wide", "lime"),
    ("middle", "wide", "lime"),
    ("top", "wide", "lime"),
    ("right", "wide", "blue"),
    ("top", "tall", "red"),
    ("middle", "tall", "lime"),
    ("left", "tall", "lime"),
    ("bottom", "tall", "blue"),
    (("top", "left"), "wide", "red"),
    (("top", "right"), "wide", "blue"),
    (("bottom", "center"), "wide", "lime"),
    (("bottom", "left"), "tall", "blue"),
    (("middle", "left"), "tall", "lime"),
    (("top", "right"), "tall", "red"),
]


@pytest.mark.parametrize(("align", "shape", "colour"), ALIGNS)
def test_a_cropping_resize_keeps_the_side_that_was_asked_for(
    align: Any, shape: str, colour: str, chain: Any, saved: Any, opened: Any
) -> None:
    """Of three stripes, cut to one, the aligned one stays."""
    image = Image.new("RGB", (90, 30))
    for place, name in enumerate(STRIPES):
        image.paste(name, (30 * place, 0, 30 * place + 30, 30))
    if shape == "tall":
        image = image.transpose(Image.Transpose.ROTATE_270)  # left becomes top
    result = opened(chain(saved(image), ("resize", {"w": "12", "h": "12", "f": "crop", "a": align})))
    assert result.getpixel((6, 6)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    assert result.size == (12, 12)


def test_a_resize_to_its_own_size_changes_no_pixel(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Nothing is resampled when nothing has to be."""
    image = quadrants(65, 49)
    assert opened(chain(saved(image), ("resize", {"w": "65"}))).tobytes() == image.tobytes()


@pytest.mark.parametrize("options", [{}, {"w": "0"}, {"w": "0", "h": "0"}])
def test_a_resize_needs_a_side(options: dict[str, str]) -> None:
    """No side, or two of 0, is refused while binding, with a sentence."""
    with pytest.raises(ValueError, match="width and height"):
        bind(TASKS["resize"], **options)


class Seen:
    """A detector that answers with the same faces, as fractions of whatever picture it is shown."""

    version = "1"

    def __init__(self, *faces: tuple[float, float, float, float]) -> None:
        self.faces = faces
        self.shown: list[tuple[int, int]] = []

    def detect(self, media: Any, options: Any, limits: Any) -> Any:
        width, height = media.decoded().size
        self.shown.append((width, height))
        names = ("x", "y", "width", "height")
        found = [dict(zip(names, (x * width, y * height, w * width, h * height), strict=True)) for x, y, w, h in self.faces]
        return {"faces": [face | {"score": 0.9} for face in found], "width": width, "height": height}


@pytest.mark.parametrize(
    ("faces", "shape", "colour"),
    [
        ([(0.05, 0.2, 0.1, 0.5)], "wide", "red"),
        ([(0.8, 0.2, 0.1, 0.5)], "wide", "blue"),
        ([(0.1, 0.2, 0.1, 0.5), (0.8, 0.2, 0.1, 0.5)], "wide", "lime"),
        ([(0.99, 0.2, 0.01, 0.5)], "wide", "blue"),
        ([], "wide", "lime"),
        ([(0.2, 0.8, 0.5, 0.1)], "tall", "blue"),
        ([(0.2, 0.0, 0.5, 0.1)], "tall", "red"),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_crop_can_follow_faces(
    form: str, faces: list[Any], shape: str, colour: str, chain: Any, saved: Any, opened: Any, distance: Any
) -> None:
    """The middle of the rectangle around all faces is in the middle of the result, as far as the picture reaches."""
    image = Image.new("RGB", (900, 300))
    for place, name in enumerate(STRIPES):
        image.paste(name, (300 * place, 0, 300 * place + 300, 300))
    if shape == "tall":
        image = image.transpose(Image.Transpose.ROTATE_270)
    options = {"w": "60", "h": "60", "f": "crop", "a": "faces"}
    result = opened(chain(saved(image, form), ("resize", options), detectors={"faces": Seen(*faces)}))
    assert result.size == (60, 60)
    assert distance(result, Image.new("RGB", (60, 60), colour)) < 6


def test_faces_are_looked_for_where_they_matter_and_in_a_picture_of_a_sensible_size(chain: Any, saved: Any) -> None:
    """Only a crop asks for the detector, and it is not shown more pixels than it needs."""
    task = TASKS["resize"]
    assert list(task.asks(bind(task, w="9", h="9", f="crop", a="faces"))) == ["faces"]
    for options in (
        {"w": "9", "a": "faces", "f": "crop"},
        {"w": "9", "h": "9", "a": "faces"},
        {"w": "9", "h": "9", "f": "crop"},
    ):
        assert list(task.asks(bind(task, **options))) == []
    seen = Seen()
    media = saved(Image.new("RGB", (4000, 2000)), "JPEG")
    content(chain(media, ("resize", {"w": "9", "h": "9", "f": "crop", "a": "faces"}), detectors={"faces": seen}))
    content(chain(media, ("resize", {"w": "9", "h": "9", "a": "faces"}), detectors={"faces": seen}))
    assert seen.shown == [(1280, 640)]


def test_a_crop_by_faces_without_a_finder_of_faces_is_not_provided(chain: Any, saved: Any) -> None:
    """Nobody is led to believe that faces were looked for."""
    with pytest.raises(NotProvided):
        chain(saved(Image.new("L", (4, 4))), ("resize", {"w": "2", "h": "2", "f": "crop", "a": "faces"}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_a_thumbnail_looks_like_its_source(
    form: str, chain: Any, saved: Any, opened: Any, distance: Callable[..., float], quadrants: Any
) -> None:
    """A small version of a drawn picture is close to the eye, from every format."""
    image = quadrants(640, 480)
    result = opened(chain(saved(image, form), ("resize", {"w": "64"})))
    assert result.size == (64, 48)
    assert distance(result, image) < 6


@pytest.mark.parametrize(
    ("dim", "size", "first"),
    [
        (("0", "0", "64", "48"), (64, 48), "R"),
        (("32", "24", "32", "24"), (32, 24), "Y"),
        (("40", "30", "1000", "1000"), (24, 18), "Y"),
        (("0", "24", "1", "1"), (1, 1), "B"),
        (("63", "0", "100000", "1"), (1, 1), "G"),
    ],
)
def test_a_crop_is_the_part_that_lies_inside(
    dim: tuple[str, ...], size: tuple[int, int], first: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """The rectangle counts from the top left; what lies outside is left out."""
    result = opened(chain(saved(quadrants()), ("crop", {"dim": dim})))
    letters = {(220, 30, 30): "R", (30, 160, 40): "G", (30, 50, 200): "B", (230, 220, 40): "Y"}
    assert (result.size, letters[result.getpixel((0, 0))]) == (size, first)


@pytest.mark.parametrize("dim", [("64", "0", "1", "1"), ("0", "48", "1", "1"), ("99999", "99999", "9", "9")])
def test_a_crop_outside_the_picture_is_refused_with_its_size(
    dim: tuple[str, ...], chain: Any, saved: Any, quadrants: Any
) -> None:
    """There is no empty picture to answer with."""
    with pytest.raises(Unsupported) as caught:
        content(chain(saved(quadrants()), ("crop", {"dim": dim})))
    assert "64 x 48" in caught.value.public


@pytest.mark.parametrize(
    ("tasks", "wanted"),
    [
        (("flip",), "BYRG"),
        (("flop",), "GRYB"),
        (("flip", "flop"), "YBGR"),
        ((("rotate", {"deg": "0"}),), "RGBY"),
        ((("rotate", {"deg": "90"}),), "BRYG"),
        ((("rotate", {"deg": "180"}),), "YBGR"),
        ((("rotate", {"deg": "270"}),), "GYRB"),
        ((("rotate", {"deg": "90"}), ("rotate", {"deg": "270"})), "RGBY"),
        ((("rotate", {"deg": "90"}), "flip"), "YGBR"),
    ],
)
def test_turns_and_mirrors_put_quarters_where_they_belong(
    tasks: tuple[Any, ...], wanted: str, chain: Any, saved: Any, opened: Any, quadrants: Any, looks_like: Any
) -> None:
    """Rotation is clockwise, `flip` swaps top and bottom, `flop` left and right, and tasks run from left to right."""
    result = opened(chain(saved(quadrants()), *tasks))
    quarter_turns = sum(int(task[1]["deg"]) // 90 for task in tasks if isinstance(task, tuple))
    assert looks_like(result, wanted, 0)
    assert result.size == ((48, 64) if quarter_turns % 2 else (64, 48))


@pytest.mark.parametrize(
    ("background", "corner"),
    [(None, (255, 255, 255)), ("ff0000", (255, 0, 0)), ("00f", (0, 0, 255)), ("gray50", (128, 128, 128))],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK"])
def test_a_slanted_picture_stands_on_its_background(
    background: str | None, corner: tuple[int, ...], mode: str, chain: Any, saved: Any, opened: Any, quadrants: Any
) -> None:
    """The canvas grows to hold every corner, and the new corners have the background, white if none is said."""
    media = saved(quadrants(60, 60, mode), "TIFF")
    options = {"deg": "45"} | ({"background": background} if background else {})
    result = opened(chain(media, ("rotate", options))).convert("RGB")
    assert 84 <= result.width == result.height <= 87
    assert result.getpixel((0, 0)) == result.getpixel((result.width - 1, 0)) == corner


def test_a_slanted_picture_may_stand_on_nothing(chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """A transparent background gives an opaque source transparency, and leaves its middle opaque."""
    result = opened(chain(saved(quadrants(60, 60)), ("rotate", {"deg": "45", "b": "transparent"})))
    assert result.mode == "RGBA"
    assert result.getpixel((0, 0))[3] == 0
    assert result.getpixel((result.width // 2 + 3, result.height // 2 - 9))[3] == 255


#: What the first row and the first column of the stored picture are, when it is looked at (EXIF 2.32, tag 274).
ROWS_AND_COLUMNS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera held that way stores it, pixel by pixel from the words of the standard."""
    row, column = ROWS_AND_COLUMNS[orientation]
    width, height = image.size
    stored = Image.new("RGB", image.size if row in ("top", "bottom") else (height, width))
    for down in range(stored.height):
        for across in range(stored.width):
            place = {row: down, column: across}
            x = place["left"] if "left" in place else width - 1 - place["right"]
            y = place["top"] if "top" in place else height - 1 - place["bottom"]
            stored.putpixel((across, down), image.getpixel((x, y)))
    return stored


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_followed_once_and_forgotten(
    orientation: int, form: str, chain: Any, saved: Any, opened: Any, quadrants: Any, looks_like: Any
) -> None:
    """Whatever task comes first, the result is upright and carries no tag that would turn it again."""
    media = saved(stored_as(quadrants(), orientation), form, exif=tagged(orientation))
    for tasks, size in (
        ([("resize", {"w": "32"})], (32, 24)),
        (["no_metadata"], (64, 48)),
        (["compress"], (64, 48)),
        ([("compress", {"metadata": "true"})], (64, 48)),
        ([("rotate", {"deg": "exif"})], (64, 48)),
        ([("output", {"format": "png"})], (64, 48)),
    ):
        result = opened(chain(media, *tasks))
        assert result.size == size, tasks
        assert looks_like(result, "RGBY", 30), tasks
        assert result.getexif().get(0x0112, 1) == 1, tasks
    assert json.loads(content(chain(media, "imagesize"))) == {"width": 64, "height": 48}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_tag_can_be_dropped_without_being_followed(
    orientation: int, form: str, chain: Any, saved: Any, opened: Any, quadrants: Any, distance: Any
) -> None:
    """`rotate=exif:false` gives the pixels as stored, before or behind another task."""
    stored = stored_as(quadrants(), orientation)
    media = saved(stored, form, exif=tagged(orientation))
    half = ("resize", {"w": str(stored.width // 2)})
    unturned = ("rotate", {"exif": "false"})
    for tasks in ([unturned], [unturned, half], [half, unturned], [unturned, ("compress", {"metadata": "true"})]):
        result = opened(chain(media, *tasks))
        assert distance(result, stored) < 16, tasks  # turned any other way it is over 60
        assert (result.width > result.height) == (stored.width > stored.height)
        assert result.getexif().get(0x0112, 1) == 1, tasks


def test_a_tag_behind_the_pixels_of_a_png_counts(chain: Any, saved: Any, opened: Any, quadrants: Any, looks_like: Any) -> None:
    """PNG may carry its EXIF after the pixels; the picture is upright all the same."""
    data = saved(stored_as(quadrants(), 6), exif=tagged(6)).data
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    result = opened(chain(type(saved(quadrants()))(moved, "image/png", "late.png"), ("resize", {"w": "32"})))
    assert result.size == (32, 24)
    assert looks_like(result, "RGBY", 30)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(value: int, chain: Any, saved: Any, opened: Any, quadrants: Any) -> None:
    """Nonsense in the tag leaves the picture as it is."""
    assert opened(chain(saved(quadrants(), "JPEG", exif=tagged(value)), "flip")).size == (64, 48)


@pytest.mark.parametrize(
    ("options", "says"), [({}, "deg or exif"), ({"deg": "exif", "exif": "false"}, "contradict")], ids=["neither", "both"]
)
def test_a_rotation_has_to_make_sense(options: dict[str, str], says: str) -> None:
    """Nothing to do, and two things at once, are refused while binding."""
    with pytest.raises(ValueError, match=says):
        bind(TASKS["rotate"], **options)


def test_a_chain_runs_on_whole_pictures(chain: Any, saved: Any, opened: Any, quadrants: Any, looks_like: Any) -> None:
    """Crop, resize and turn work on each other's results, sizes and all."""
    tasks = [("crop", {"d": ("32", "0", "32", "48")}), ("resize", {"h": "24"}), ("rotate", {"d": "90"})]
    result = opened(chain(saved(quadrants()), *tasks))
    assert result.size == (24, 16)
    assert looks_like(result, "YGYG", 30)


@pytest.mark.parametrize(
    "tasks",
    [
        [("crop", {"d": ("333", "101", "1200", "901")}), ("resize", {"w": "200"})],
        [("crop", {"d": ("333", "101", "1200", "901")}), ("resize", {"w": "120", "h": "120", "f": "crop", "a": "right"})],
        [("crop", {"d": ("1201", "901", "9999", "9999")}), ("resize", {"w": "60", "h": "90", "f": "scale"})],
        ["flop", ("crop", {"d": ("7", "5", "1301", "1303")}), ("resize", {"h": "99"}), ("rotate", {"d": "90"})],
    ],
    ids=str,
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_part_made_smaller_is_the_same_however_much_was_decoded(
    orientation: int, tasks: list[Any], chain: Any, saved: Any, opened: Any
) -> None:
    """Of a JPEG only a fraction is decoded; the result is where it would be, and as good to the eye."""
    image = Image.merge("RGB", [Image.linear_gradient("L").resize((1999, 1499)).rotate(turn) for turn in (0, 90, 180)])
    for place in range(0, 1999, 100):
        image.paste((250, place // 8, 0), (place, place // 2, place + 50, place // 2 + 50))
    lossless = saved(image, "PNG", exif=tagged(orientation))
    jpeg = saved(image, "JPEG", exif=tagged(orientation))
    one, other = opened(chain(lossless, *tasks)), opened(chain(jpeg, *tasks, ("output", {"f": "png"})))
    assert one.size == other.size
    error = max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).rms)
    assert error < 4


def test_nothing_beside_a_part_shows_in_it(chain: Any, saved: Any, opened: Any) -> None:
    """A white picture in a black frame, cut out along the frame, has no grey edge when it is made smaller."""
    image = Image.new("L", (1600, 1200), 0)
    image.paste(255, (400, 304, 1200, 896))
    tasks = [("crop", {"d": ("400", "304", "800", "592")}), ("resize", {"w": "100"}), ("output", {"f": "png"})]
    assert opened(chain(saved(image, "JPEG"), *tasks)).getextrema()[0] > 235
