"""Pictures for the tests: a photograph of a person, texts and sheets of paper that are drawn, and the short way to a task."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from secure_delivery.plugin import Media, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_vision.detectors import detectors
from secure_delivery_vision.tasks import transformations

#: Where the face is in the photograph of the astronaut: left, top, right, bottom.
FACE = (178, 62, 269, 176)
PAPER = (246, 244, 238)
MIMETYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


def _photograph(name: str) -> Image.Image:
    """A picture that the wheel of scikit-image carries; the package itself is not imported."""
    package = importlib.util.find_spec("skimage")
    assert package is not None and package.submodule_search_locations, "scikit-image is a test dependency"
    with Image.open(Path(package.submodule_search_locations[0]) / "data" / name) as image:
        return image.convert("RGB")


def _saved(image: Image.Image, form: str = "PNG", **options: Any) -> MemoryFile:
    out = BytesIO()
    image.save(out, form, **({"quality": 95} if form == "JPEG" else {}) | options)
    return MemoryFile(out.getvalue(), MIMETYPES[form], f"photo.{form.lower()}")


def _run(name: str, media: Media, limits: WorkLimits | None = None, /, **options: Any) -> Media:
    task = transformations()[name]
    shop = SimpleWorkshop(limits=limits or WorkLimits(), detectors=detectors())
    return task.apply(media, bind(task, **options), shop)


def _opened(media: Media) -> Image.Image:
    image = Image.open(BytesIO(content(media)))
    image.load()
    return image


def _found(name: str, image: Image.Image | MemoryFile, limits: WorkLimits | None = None) -> Any:
    media = image if isinstance(image, MemoryFile) else _saved(image)
    return detectors()[name].detect(media, {}, limits or WorkLimits())


def _written(lines: Sequence[tuple[int, int, str]], size: tuple[int, int] = (900, 500), height: int = 36) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for x, y, text in lines:
        draw.text((x, y), text, fill="black", font=ImageFont.load_default(height))
    return image


def _sheet() -> Image.Image:
    image = Image.new("RGB", (800, 1100), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((80, 80), "INVOICE", fill=(20, 20, 20), font=ImageFont.load_default(60))
    for row in range(22):
        text = f"Item {row}: wooden chair, oak, {row * 37 + 11}.00 EUR"
        draw.text((80, 200 + 36 * row), text, fill=(30, 30, 30), font=ImageFont.load_default(26))
    return image


def _table(kind: str, size: tuple[int, int]) -> Any:
    """What lies under the paper, as numbers: planks, something mottled, or a desk nearly as bright as the paper."""
    import cv2
    import numpy as np

    width, height = size
    chance = np.random.default_rng(1)
    if kind == "planks":
        wave = np.sin(np.linspace(0, 60, height)[:, None] + np.linspace(0, 3, width)[None])
        grain = [
            middle + spread * wave + chance.normal(0, 8, (height, width)) for middle, spread in ((120, 25), (80, 22), (60, 20))
        ]
        return np.stack(grain, -1)
    if kind == "mottled":
        soft = cv2.GaussianBlur(chance.normal(0, 1, (height, width, 3)), (0, 0), 3)
        return 110 + soft / soft.std() * 35
    return np.full((height, width, 3), 205.0) + chance.normal(0, 6, (height, width, 3))


def _photographed(
    corners: Sequence[tuple[float, float]], kind: str = "planks", size: tuple[int, int] = (1200, 1600), shadow: bool = False
) -> Image.Image:
    """A sheet of paper on a table, its corners there: clockwise from the top left. `shadow` falls from the left."""
    import cv2
    import numpy as np

    paper = np.asarray(_sheet()).astype(np.float64)
    source = np.array([[0, 0], [800, 0], [800, 1100], [0, 1100]], np.float32)
    way = cv2.getPerspectiveTransform(source, np.array(corners, np.float32))
    laid = cv2.warpPerspective(paper, way, size, flags=cv2.INTER_AREA)
    there = cv2.warpPerspective(np.ones((1100, 800)), way, size)[:, :, None]
    scene = _table(kind, size) * (1 - there) + laid * there
    if shadow:
        scene = scene * np.linspace(0.55, 1, size[0])[None, :, None]
    return Image.fromarray(cv2.GaussianBlur(scene.clip(0, 255).astype(np.uint8), (3, 3), 0))


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection by union of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], Image.Image]:
    return _photograph


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """512 x 512 pixels, one face. NASA, in the public domain."""
    return _photograph("astronaut.png")


@pytest.fixture(scope="session")
def face() -> tuple[int, int, int, int]:
    return FACE


@pytest.fixture(scope="session")
def saved() -> Callable[..., MemoryFile]:
    return _saved


@pytest.fixture(scope="session")
def run() -> Callable[..., Media]:
    return _run


@pytest.fixture(scope="session")
def opened() -> Callable[[Media], Image.Image]:
    return _opened


@pytest.fixture(scope="session")
def found() -> Callable[..., Any]:
    return _found


@pytest.fixture(scope="session")
def written() -> Callable[..., Image.Image]:
    return _written


@pytest.fixture(scope="session")
def photographed() -> Callable[..., Image.Image]:
    return _photographed


@pytest.fixture(scope="session")
def overlap() -> Callable[..., float]:
    return _overlap
