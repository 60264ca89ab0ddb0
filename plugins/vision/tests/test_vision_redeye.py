"""The task `redeye`: red pupils become dark, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

EYES = ((406, 204), (492, 204))  # in the photograph at 1024 pixels a side


def _flashed(image: Image.Image, eyes: Any, radius: int = 7, colour: tuple[int, int, int] = (200, 35, 45)) -> Image.Image:
    """Pupils as a flash shows them: red, with a small light in them."""
    mask = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(mask)
    for x, y in eyes:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    result = image.copy()
    result.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(1.2)))
    lights = ImageDraw.Draw(result)
    for x, y in eyes:
        lights.ellipse((x - 1, y - 3, x + 2, y), fill=(255, 240, 240))
    return result


def _redness(image: Image.Image, x: int, y: int) -> int:
    red, green, blue = image.convert("RGB").getpixel((x, y))
    return red - max(green, blue)


@pytest.fixture(scope="module")
def portrait(astronaut: Image.Image) -> Image.Image:
    return astronaut.resize((1024, 1024), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("colour", [(200, 35, 45), (255, 90, 100), (120, 20, 20)])
def test_red_pupils_become_dark(colour: Any, run: Any, saved: Any, opened: Any, portrait: Image.Image) -> None:
    """Bright, pinkish and deep red; the lips stay red, the light in the eye stays light."""
    flashed = _flashed(portrait, EYES, colour=colour)
    result = opened(run("redeye", saved(flashed)))
    for x, y in EYES:
        assert _redness(flashed, x + 4, y + 2) > 80
        assert _redness(result, x + 4, y + 2) < 10
        assert min(result.getpixel((x, y - 2))) > 180
    box = ImageChops.difference(flashed, result).getbbox()
    assert box is not None
    assert box == pytest.approx((EYES[0][0] - 11, EYES[0][1] - 11, EYES[1][0] + 12, EYES[1][1] + 12), abs=5)


def test_one_red_eye_is_enough(run: Any, saved: Any, opened: Any, portrait: Image.Image) -> None:
    """In a face, each eye is looked at for itself."""
    flashed = _flashed(portrait, EYES[:1])
    box = ImageChops.difference(flashed, opened(run("redeye", saved(flashed)))).getbbox()
    assert box is not None
    assert box[2] < 440


def test_eyes_of_their_own_colour_stay(run: Any, saved: Any, opened: Any, portrait: Image.Image) -> None:
    """Brown eyes are reddish, and nobody's fault."""
    assert opened(run("redeye", saved(portrait))).tobytes() == portrait.tobytes()


def test_without_a_face_only_a_pair_of_red_spots_is_changed(run: Any, saved: Any, opened: Any) -> None:
    """Two alike, side by side: eyes of an animal, say. One alone, two of different size, two one above the other: not."""
    scene = Image.effect_noise((800, 600), 20).convert("RGB")
    ImageDraw.Draw(scene).ellipse((200, 150, 600, 500), fill=(150, 110, 80))
    pair = _flashed(scene, ((330, 280), (470, 285)), 14)
    assert ImageChops.difference(pair, opened(run("redeye", saved(pair)))).getbbox() is not None
    alone = _flashed(scene, ((330, 280),), 14)
    uneven = _flashed(_flashed(scene, ((330, 280),), 14), ((470, 280),), 5)
    above = _flashed(scene, ((330, 200), (330, 340)), 14)
    for other in (alone, uneven, above):
        assert opened(run("redeye", saved(other))).tobytes() == other.tobytes()


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "rocket.jpg", "color.png", "ihc.png", "retina.jpg"])
def test_red_things_stay_red(name: str, run: Any, saved: Any, opened: Any, photograph: Any) -> None:
    """Wood, tissue, a colour wheel."""
    image = photograph(name)
    assert opened(run("redeye", saved(image))).tobytes() == image.tobytes()


def test_grey_pictures_have_no_red(run: Any, saved: Any, opened: Any, portrait: Image.Image) -> None:
    """They are handed on."""
    grey = portrait.convert("L")
    assert opened(run("redeye", saved(grey))).tobytes() == grey.tobytes()
