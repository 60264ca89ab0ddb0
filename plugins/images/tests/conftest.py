"""Pictures drawn for the tests, and the short way to run a task on one."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from secure_delivery.plugin import Media, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.tasks import transformations

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 40), (30, 50, 200), (230, 220, 40)
MIMETYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
MIMETYPES |= {"TIFF": "image/tiff", "BMP": "image/bmp", "AVIF": "image/avif"}
SAVING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95},
}


def _quadrants(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and yellow below."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image.convert(mode)


def _saved(image: Image.Image, form: str = "PNG", filename: str = "", **options: Any) -> MemoryFile:
    out = BytesIO()
    image.save(out, form, **(SAVING.get(form, {}) | options))
    return MemoryFile(out.getvalue(), MIMETYPES[form], filename or f"drawing.{form.lower()}")


def _chain(media: Media, *tasks: Any, limits: WorkLimits | None = None, **lent: Any) -> Media:
    """The result of tasks, each a name or a name and options; `lent` is what else the workshop has."""
    known = transformations()
    shop = SimpleWorkshop(limits=limits or WorkLimits(), **lent)
    for task in tasks:
        name, options = (task, {}) if isinstance(task, str) else task
        media = known[name].apply(media, bind(known[name], **options), shop)
    return media


def _opened(media: Media) -> Image.Image:
    image = Image.open(BytesIO(content(media)))
    image.load()
    return image


def _distance(one: Image.Image, other: Image.Image) -> float:
    """How different two pictures look at a glance: mean difference per channel, 0 to 255, at 16 x 16."""
    small = [image.convert("RGBA").resize((16, 16), Image.Resampling.BOX) for image in (one, other)]
    return max(ImageStat.Stat(ImageChops.difference(*small)).mean)


def _corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The middle of each quarter: top left, top right, bottom left, bottom right."""
    width, height = image.size
    colours = image.convert("RGB")
    return [colours.getpixel((x, y)) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


@pytest.fixture(scope="session")
def quadrants() -> Callable[..., Image.Image]:
    return _quadrants


@pytest.fixture(scope="session")
def saved() -> Callable[..., MemoryFile]:
    return _saved


@pytest.fixture(scope="session")
def chain() -> Callable[..., Media]:
    return _chain


@pytest.fixture(scope="session")
def opened() -> Callable[[Media], Image.Image]:
    return _opened


@pytest.fixture(scope="session")
def distance() -> Callable[[Image.Image, Image.Image], float]:
    return _distance


@pytest.fixture(scope="session")
def looks_like() -> Callable[..., bool]:
    """Whether the four quarters have these colours (letters of red, green, blue, yellow), in reading order."""
    letters = {"R": RED, "G": GREEN, "B": BLUE, "Y": YELLOW, "W": (255, 255, 255), "K": (0, 0, 0)}

    def compare(image: Image.Image, wanted: str, tolerance: int = 24) -> bool:
        pairs = zip(_corners(image), (letters[letter] for letter in wanted), strict=True)
        return all(abs(a - b) <= tolerance for seen, colour in pairs for a, b in zip(seen, colour, strict=True))

    return compare


# ------------------------------------------------------------------------------------------------------ golden pictures

GOLDEN = Path(__file__).parent / "golden"
LARGEST_GOLDEN = 6_000  # bytes
GOLDEN_MEAN, GOLDEN_BLOCK = 2.5, 16.0  # of 255: on the whole, and in the worst square of 8 x 8 pixels


def _scene(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A landscape with a sun, a hill, a house and a round face: smooth parts, sharp edges, skin, light and dark."""
    large = Image.new("RGB", (384, 256))
    draw = ImageDraw.Draw(large)
    for row in range(256):
        draw.line((0, row, 384, row), (90 + row // 3, 140 + row // 4, 235 - row // 6))
    draw.ellipse((28, 20, 92, 84), (255, 226, 96))
    draw.polygon(((0, 190), (120, 110), (250, 200), (250, 256), (0, 256)), (64, 128, 52))
    draw.rectangle((0, 200, 384, 256), (44, 84, 38))
    draw.rectangle((110, 140, 190, 220), (186, 62, 48))
    draw.polygon(((100, 140), (150, 96), (200, 140)), (70, 40, 34))
    draw.rectangle((140, 176, 164, 220), (24, 20, 22))
    draw.ellipse((250, 90, 350, 210), (226, 172, 138))
    draw.chord((246, 78, 354, 190), 180, 360, (58, 36, 24))
    draw.ellipse((276, 136, 290, 150), (30, 24, 24))
    draw.ellipse((310, 136, 324, 150), (30, 24, 24))
    draw.arc((280, 150, 320, 190), 20, 160, (168, 48, 56), 6)
    for step in range(12):
        draw.rectangle((8 + step * 8, 232, 11 + step * 8, 252), (230, 230, 226))
    image = large.resize((width, height), Image.Resampling.BOX)
    if mode in ("RGBA", "LA"):
        alpha = Image.linear_gradient("L").resize((width, height)).point([255 - level for level in range(256)])
        image.putalpha(alpha)
    return image.convert(mode)


def _golden(name: str, image: Image.Image) -> None:
    """Hold a picture against the one kept as `golden/NAME.webp`, by how different they look.

    With SECURE_DELIVERY_TEST_GOLDEN=write in the environment the picture is kept instead: look at it before it is committed.
    """
    path = GOLDEN / f"{name}.webp"
    if os.environ.get("SECURE_DELIVERY_TEST_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        image.convert("RGBA").save(path, "WEBP", lossless=True, method=6, exact=False)
        if path.stat().st_size > LARGEST_GOLDEN:
            image.convert("RGBA").save(path, "WEBP", quality=97, method=6, use_sharp_yuv=True)
    assert path.stat().st_size <= LARGEST_GOLDEN, f"{name}: the kept picture is too large, draw a smaller one"
    with Image.open(path) as kept:
        wanted = kept.convert("RGBA")
    assert image.size == wanted.size, f"{name}: {image.size} where {wanted.size} is kept"
    seen, known = (_over_two_grounds(picture) for picture in (image.convert("RGBA"), wanted))
    difference = ImageChops.difference(seen, known)
    mean = max(ImageStat.Stat(difference).mean)
    blocks = difference.reduce(8)
    worst = max(high for _low, high in blocks.getextrema())
    assert mean <= GOLDEN_MEAN, f"{name}: differs by {mean:.1f} of 255 on the whole"
    assert worst <= GOLDEN_BLOCK, f"{name}: differs by {worst} of 255 in one place"


def _over_two_grounds(image: Image.Image) -> Image.Image:
    """Beside each other on white and on black: colours that nobody sees do not count, transparency does."""
    result = Image.new("RGBA", (image.width * 2, image.height), (255, 255, 255, 255))
    result.paste((0, 0, 0, 255), (image.width, 0, image.width * 2, image.height))
    for left in (0, image.width):
        result.alpha_composite(image, (left, 0))
    return result.convert("RGB")


@pytest.fixture(scope="session")
def scene() -> Callable[..., Image.Image]:
    return _scene


@pytest.fixture(scope="session")
def golden() -> Callable[[str, Image.Image], None]:
    return _golden
