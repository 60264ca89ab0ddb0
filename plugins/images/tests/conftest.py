"""Pictures drawn for the tests, and the short way to run a task on one."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

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


def _chain(media: Media, *tasks: Any, limits: WorkLimits | None = None) -> Media:
    known = transformations()
    for task in tasks:
        name, options = (task, {}) if isinstance(task, str) else task
        media = known[name].apply(media, bind(known[name], **options), SimpleWorkshop(limits=limits or WorkLimits()))
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
