"""Decoders beside Pillow's: they give what Pillow gives, and refuse what it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from secure_delivery.plugin import Corrupt
from secure_delivery.plugin.testing import MemoryFile, content
from secure_delivery_images import engines, webp
from secure_delivery_images.headers import Size

ENGINE = webp.engine()
WAYS: dict[str, dict[str, Any]] = {
    "lossy": {"quality": 90},
    "lossless": {"lossless": True},
    "with a profile": {"quality": 90, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()},
}
SIZE = (620, 430)


def photograph(mode: str = "RGB") -> Image.Image:
    """Ramps, edges and, where there is transparency, colours that nobody sees beside seen ones."""
    ramp = Image.linear_gradient("L").resize(SIZE)
    waves = ImageChops.invert(Image.radial_gradient("L")).resize(SIZE)
    image = Image.merge("RGB", (ramp, waves, ImageChops.difference(ramp, waves)))
    image.paste((200, 30, 40), (100, 80, 333, 222))
    if mode == "RGBA":
        image.putalpha(
            waves.point([0 if level < 90 else 255 if level > 160 else (level - 90) * 255 // 70 for level in range(256)])
        )
    return image.convert(mode)


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Decibels, as seen on black."""
    seen = [Image.alpha_composite(Image.new("RGBA", each.size, "black"), each.convert("RGBA")) for each in (one, other)]
    error = math.sqrt(sum(value**2 for value in ImageStat.Stat(ImageChops.difference(*seen).convert("RGB")).rms) / 3)
    return 20 * math.log10(255 / max(error, 1e-3))


@pytest.fixture
def by_pillow() -> Iterator[Any]:
    """Calls a function while no engine reads WebP."""

    def call(function: Any) -> Any:
        engines.withdraw("WEBP")
        try:
            return function()
        finally:
            engines.provide("WEBP", webp.engine)

    yield call


def asked(image: Image.Image, size: tuple[int, int]) -> engines.Wanted:
    return engines.Wanted(form="WEBP", stored=Size(*image.size), size=Size(*size), mode=image.mode, alpha=image.mode == "RGBA")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("way", WAYS)
def test_libwebp_gives_the_pixels_that_pillow_gives(way: str, mode: str, saved: Any) -> None:
    """At full size to the last bit; smaller, nothing that is seen."""
    media = saved(photograph(mode), "WEBP", **WAYS[way])
    with Image.open(BytesIO(media.data)) as known:
        known.load()
    assert ENGINE is not None
    whole = ENGINE.read(BytesIO(media.data), asked(known, SIZE))
    assert (whole.mode, whole.size) == (mode, SIZE)
    assert likeness(whole, known) > 90
    smaller = ENGINE.read(BytesIO(media.data), asked(known, (200, 140)))
    assert likeness(smaller, known.convert("RGBa").resize((200, 140), Image.Resampling.BOX).convert("RGBA")) > 36


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "tasks",
    [
        [("resize", {"w": "100"})],
        [("resize", {"w": "90", "h": "90", "f": "crop"})],
        [("crop", {"d": ("50", "60", "500", "300")}), ("resize", {"w": "120"})],
        ["flop", ("resize", {"h": "70"})],
        [("rotate", {"d": "90"})],
        [("resize", {"w": "100", "filter": "nearest"})],
        [("resize", {"w": "900"})],
    ],
    ids=str,
)
def test_results_do_not_depend_on_who_decodes(
    tasks: list[Any], way: str, mode: str, saved: Any, chain: Any, opened: Any, by_pillow: Any
) -> None:
    """The same size, mode and profile, and a difference that nobody sees."""
    media = saved(photograph(mode), "WEBP", **WAYS[way])
    steps = [*tasks, ("output", {"format": "png"})]
    one = opened(chain(media, *steps))
    other = by_pillow(lambda: opened(chain(media, *steps)))
    assert (one.size, one.mode, one.info.get("icc_profile")) == (other.size, other.mode, other.info.get("icc_profile"))
    assert likeness(one, other) > 40


def test_the_orientation_tag_is_followed_once(saved: Any, chain: Any, opened: Any, quadrants: Any, looks_like: Any) -> None:
    """Turned after it was made smaller, in the right proportions."""
    exif = Image.Exif()
    exif[0x0112] = 6
    media = saved(quadrants(640, 480), "WEBP", exif=exif)
    result = opened(chain(media, ("resize", {"w": "120"}), ("output", {"format": "png"})))
    assert result.size == (120, 160)
    assert looks_like(result, "BRYG", 16)


@pytest.mark.parametrize("way", ["lossy", "lossless"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_file_that_ends_early_is_refused(share: float, way: str, saved: Any, chain: Any) -> None:
    """Wherever it ends, whatever size is wanted, by the engine alone as well."""
    data = saved(photograph(), "WEBP", **WAYS[way]).data
    cut = data[: int(len(data) * share)]
    for width in ("50", "620"):
        with pytest.raises(Corrupt):
            content(chain(MemoryFile(cut, "image/webp"), ("resize", {"w": width}), "flip"))
    assert ENGINE is not None
    with pytest.raises(Corrupt):
        ENGINE.read(BytesIO(cut), asked(photograph(), (100, 70)))


def test_an_animation_is_left_to_pillow(chain: Any, opened: Any, quadrants: Any) -> None:
    """All frames stay where the result can move, the first one is shown where it cannot."""
    out = BytesIO()
    quadrants(640, 480).save(out, "WEBP", save_all=True, append_images=[quadrants(640, 480).rotate(180)], duration=100)
    media = MemoryFile(out.getvalue(), "image/webp")
    assert opened(chain(media, ("resize", {"w": "64"}))).n_frames == 2
    assert opened(chain(media, ("resize", {"w": "64"}), ("output", {"format": "jpg"}))).size == (64, 48)


def test_an_engine_that_cannot_work_leaves_the_format_to_pillow(
    saved: Any, chain: Any, opened: Any, quadrants: Any, by_pillow: Any, looks_like: Any
) -> None:
    """As where Pillow is linked in another way."""

    def without() -> Image.Image:
        engines.provide("WEBP", lambda: None)
        return opened(chain(saved(quadrants(640, 480), "WEBP"), ("resize", {"w": "64"}), ("output", {"format": "png"})))

    assert looks_like(by_pillow(without), "RGBY", 16)
