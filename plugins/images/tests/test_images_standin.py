"""A smaller copy as the source: results are those of the original, as large and nearly as good."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from secure_delivery.plugin import Scaling
from secure_delivery.plugin.testing import MemoryFile, bind, content
from secure_delivery_images.tasks import transformations

TASKS = transformations()
ORIGINAL = (1201, 797)


def photograph() -> Image.Image:
    """Something with edges, ramps and grain."""
    width, height = ORIGINAL
    ramp = Image.linear_gradient("L").resize(ORIGINAL)
    waves = Image.radial_gradient("L").resize((200, 200)).resize(ORIGINAL)
    image = Image.merge("RGB", (ramp, waves, ImageChops.difference(ramp, waves)))
    image.paste((200, 30, 40), (width // 3, height // 3, width // 2, height // 2))
    return image


def copy_of(media: MemoryFile, chain: Any) -> MemoryFile:
    """What the engine keeps: half the size, well encoded, made by the tasks themselves."""
    kept = chain(media, ("resize", {"w": "600", "h": "600", "fit": "max"}), ("output", {"f": "jpg", "q": "92"}))
    return MemoryFile(content(kept), "image/jpeg", "photo.jpg")


CHAINS: list[list[Any]] = [
    [("resize", {"w": "300"})],
    [("resize", {"w": "251", "h": "167", "f": "crop", "a": "left"})],
    [("resize", {"w": "100", "h": "300", "f": "scale"})],
    [("resize", {"w": "300", "h": "100", "f": "max"})],
    ["flip", ("resize", {"h": "199"})],
    [("rotate", {"d": "180"}), "flop", ("resize", {"h": "199"}), ("rotate", {"d": "45", "b": "navy"})],
    [("resize", {"w": "200"}), ("crop", {"d": ("10", "10", "90", "60")})],
    [("output", {"f": "webp", "q": "90"}), ("resize", {"w": "200"})],
]


@pytest.mark.parametrize("tasks", CHAINS, ids=str)
def test_a_copy_gives_what_the_original_gives(tasks: list[Any], chain: Any, saved: Any, opened: Any) -> None:
    """The same size to the pixel, the same format, and a difference that nobody sees."""
    media = saved(photograph(), "JPEG", filename="photo.jpg")
    direct = chain(media, *tasks)
    by_copy = chain(copy_of(media, chain), *tasks, original=ORIGINAL)
    one, other = opened(direct).convert("RGB"), opened(by_copy).convert("RGB")
    assert one.size == other.size
    assert (by_copy.mimetype, by_copy.filename) == (direct.mimetype, direct.filename)
    error = max(ImageStat.Stat(ImageChops.difference(one, other)).rms)
    assert 20 * math.log10(255 / max(error, 1e-9)) > 35


@pytest.mark.parametrize(
    "tasks",
    [["flip"], [("crop", {"d": ("600", "400", "300", "200")})], [("rotate", {"d": "90"})], [("rotate", {"d": "33"})]],
    ids=str,
)
def test_whatever_is_asked_of_a_copy_has_its_right_size(
    tasks: list[Any], chain: Any, saved: Any, opened: Any, distance: Any
) -> None:
    """Tasks that would better have the original get pixels of its size, and cut where they should."""
    media = saved(photograph(), "PNG", filename="photo.png")
    by_copy = opened(chain(copy_of(media, chain), *tasks, original=ORIGINAL))
    direct = opened(chain(media, *tasks))
    assert by_copy.size == direct.size
    assert distance(by_copy, direct) < 3


def test_a_copy_says_the_size_of_its_original(chain: Any, saved: Any) -> None:
    """`imagesize` is about the picture, not about the file that happens to be read."""
    media = copy_of(saved(photograph(), "JPEG"), chain)
    for tasks, wanted in (([], ORIGINAL), (["flip"], ORIGINAL), ([("resize", {"w": "100"})], (100, 66))):
        width, height = wanted
        assert json.loads(content(chain(media, *tasks, "imagesize", original=ORIGINAL))) == {"width": width, "height": height}


def test_a_copy_in_another_format_stands_for_the_format_of_the_original(chain: Any, saved: Any) -> None:
    """The type that comes with the copy is that of the original; a telephone's picture is written as JPEG as always."""
    kept = copy_of(saved(photograph(), "JPEG"), chain)
    for mimetype, wanted in (("image/png", "image/png"), ("image/heic", "image/jpeg"), ("image/webp", "image/webp")):
        stands = MemoryFile(kept.data, mimetype, "photo.any")
        assert chain(stands, ("resize", {"w": "50"}), original=ORIGINAL).mimetype == wanted
    chosen = chain(MemoryFile(kept.data, "image/png"), ("resize", {"w": "50"}), ("output", {"f": "avif"}), original=ORIGINAL)
    assert chosen.mimetype == "image/avif"


@pytest.mark.parametrize(
    ("task", "options", "wanted"),
    [
        ("resize", {"w": "300"}, 0.25),
        ("resize", {"h": "300"}, 0.5),
        ("resize", {"w": "300", "h": "300"}, 0.25),
        ("resize", {"w": "300", "h": "300", "f": "crop"}, 0.5),
        ("resize", {"w": "300", "h": "300", "f": "scale"}, 0.5),
        ("resize", {"w": "2400", "f": "max"}, 1.0),
        ("resize", {"w": "2400"}, 2.0),
        ("flip", {}, 1.0),
        ("flop", {}, 1.0),
        ("imagesize", {}, 1.0),
        ("no_metadata", {}, 1.0),
        ("quality", {"v": "80"}, 1.0),
        ("quality", {"v": "input"}, None),
        ("output", {"f": "webp"}, 1.0),
        ("output", {"f": "webp", "q": "input"}, None),
        ("output", {"page": "2"}, None),
        ("output", {"colorspace": "input"}, None),
        ("output", {"docinfo": "true"}, None),
        ("rotate", {"d": "exif"}, 1.0),
        ("rotate", {"e": "true"}, 1.0),
        ("rotate", {"d": "180"}, 1.0),
        ("rotate", {"d": "90"}, None),
        ("rotate", {"e": "false"}, None),
    ],
)
def test_a_task_says_how_much_it_shrinks(task: str, options: dict[str, str], wanted: float | None) -> None:
    """Of 1200 x 600: the larger of both directions, 1 where pixels stay, nothing where only the original will do."""
    transformation = TASKS[task]
    assert isinstance(transformation, Scaling)
    assert transformation.scale(bind(transformation, **options), (1200, 600)) == wanted


def test_tasks_that_need_the_original_do_not_offer_to_do_without() -> None:
    """A crop counts pixels of the original, compressing is about its bytes."""
    assert not any(isinstance(TASKS[name], Scaling) for name in ("crop", "compress"))
