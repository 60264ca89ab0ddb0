"""Lists of pictures that become an animation: frames, times, sizes, limits."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageSequence

from secure_delivery.plugin import TooLarge, WorkLimits
from secure_delivery.plugin.testing import content
from secure_delivery_images.headers import Size
from secure_delivery_images.mixing import frame_size

WHITE = (255, 255, 255)
HANDLE = "AbCdEfGhIjKlMnOpQrSt"


def solid(colour: str, width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def test_a_list_becomes_an_animation(chain: Any, saved: Any) -> None:
    """Each picture a frame, whole, in the middle of the largest, for the time that was asked for."""
    others = [saved(solid("lime", 30, 30)), saved(solid("blue", 60, 20), "JPEG")]
    made = chain(saved(solid("red"), filename="first.png"), ("animate", {"delay": "250", "loop": "7"}), others=others)
    assert (made.mimetype, made.filename) == ("image/gif", "first.gif")
    film = Image.open(BytesIO(content(made)))
    assert (film.size, film.n_frames, film.info["loop"]) == ((60, 40), 3, 7)
    seen = []
    for frame in ImageSequence.Iterator(film):
        pixels = frame.convert("RGBA")
        seen.append((frame.info["duration"], pixels.getpixel((30, 20))[:3], pixels.getpixel((1, 1))[3]))
    assert [time for time, _, _ in seen] == [250] * 3
    assert [colour for _, colour, _ in seen] == [pytest.approx(c, abs=8) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert [alpha for _, _, alpha in seen] == [255, 0, 0]


@pytest.mark.parametrize(
    ("fit", "align", "left", "right"),
    [
        ("clip", "center", WHITE, WHITE),
        ("clip", "left", (255, 0, 0), WHITE),
        ("clip", "right", WHITE, (255, 0, 0)),
        ("crop", "center", (255, 0, 0), (255, 0, 0)),
        ("scale", "center", (255, 0, 0), (255, 0, 0)),
    ],
)
def test_frames_fit_as_asked(fit: str, align: str, left: Any, right: Any, chain: Any, saved: Any, opened: Any) -> None:
    """Whole on the background, or filling the frame, aligned where there is room."""
    options = {"width": "80", "height": "40", "fit": fit, "align": align, "background": "white"}
    film = opened(chain(saved(solid("red", 40, 40)), ("animate", options), others=[saved(solid("red", 9, 9))]))
    assert film.size == (80, 40)
    pixels = film.convert("RGB")
    assert (pixels.getpixel((3, 20)), pixels.getpixel((76, 20))) == (left, right)


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [
        (None, None, (300, 400)),
        ("max", "max", (300, 400)),
        ("max", None, (300, 150)),
        (None, "max", (800, 400)),
        (90, None, (90, 45)),
        (None, 90, (180, 90)),
        (90, "max", (90, 400)),
        (1800, 1, (1800, 1)),
    ],
)
def test_the_size_of_an_animation(width: Any, height: Any, wanted: tuple[int, int]) -> None:
    """Pixels, the largest of all, or following the first picture, which here is twice as wide as high."""
    assert frame_size([Size(200, 100), Size(300, 50), Size(10, 400)], width, height) == wanted


def test_an_animation_stays_within_1800_pixels() -> None:
    """What is not asked for in pixels is made smaller in proportion."""
    assert frame_size([Size(3600, 1800)], None, None) == (1800, 900)
    assert frame_size([Size(3600, 1800)], "max", None) == (1800, 900)
    assert frame_size([Size(1, 3000)], 100, None) == (100, 1800)


def test_an_animation_can_be_edited_and_become_another_format(chain: Any, saved: Any) -> None:
    """What comes after it is done to every frame; WebP moves as well, PNG shows the first."""
    others = [saved(solid("lime"))]
    tasks = [("animate", {}), ("resize", {"w": "30"}), ("watermark", {"f": HANDLE, "s": "10"})]
    moving = Image.open(BytesIO(content(chain(saved(solid("red")), *tasks, ("output", {"f": "webp"}), others=others))))
    assert (moving.size, moving.n_frames, moving.format) == ((30, 20), 2, "WEBP")
    still = Image.open(BytesIO(content(chain(saved(solid("red")), ("animate", {}), ("output", {"f": "png"}), others=others))))
    assert (getattr(still, "n_frames", 1), still.convert("RGB").getpixel((9, 9))) == (1, (255, 0, 0))


def test_too_many_frames_are_refused_before_the_first_is_made(chain: Any, saved: Any) -> None:
    """Hundred frames of 1800 x 1800 are 324 million pixels; the refusal says what is allowed."""
    media = saved(solid("red", 10, 10))
    with pytest.raises(TooLarge) as caught:
        chain(media, ("animate", {"width": "1800", "height": "1800"}), others=[media] * 99)
    assert caught.value.public.endswith("at most 100000000 pixels in all are allowed.")
    with pytest.raises(TooLarge):
        chain(media, ("animate", {}), others=[media], limits=WorkLimits(animation_pixels=199))
    assert content(chain(media, ("animate", {}), others=[media], limits=WorkLimits(animation_pixels=200)))


def test_frames_look_as_they_should(chain: Any, saved: Any, opened: Any, scene: Any, golden: Any) -> None:
    """The second frame of two, on a colour."""
    film = opened(chain(saved(scene()), ("animate", {"background": "gold"}), others=[saved(scene(48, 64))]))
    film.seek(1)
    golden("animate", film.convert("RGB"))
