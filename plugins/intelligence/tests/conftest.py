"""What the tests of the intelligence providers share: photographs, and how a picture is written."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.plugin.testing import MemoryFile
from secure_delivery_intelligence import models

models.numpy()  # before a test imports it: with a pool of threads the networks take twenty times as long on a busy machine

PHOTOS = Path(__file__).parent / "photos"
#: Where the face is in `astronaut.jpg`, in pixels.
FACE = {"x": 58, "y": 43, "width": 90, "height": 114, "score": 0.9}


@pytest.fixture(scope="session")
def photo() -> Callable[[str], MemoryFile]:
    """A photograph by its name (photos/SOURCES.md)."""
    return lambda name: MemoryFile((PHOTOS / f"{name}.jpg").read_bytes(), "image/jpeg", f"{name}.jpg")


@pytest.fixture(scope="session")
def written() -> Callable[..., MemoryFile]:
    """An image as a file."""

    def write(image: Image.Image, form: str = "PNG", **options: Any) -> MemoryFile:
        out = BytesIO()
        image.save(out, form, **options)
        return MemoryFile(out.getvalue(), f"image/{form.lower()}", f"picture.{form.lower()}")

    return write


@pytest.fixture
def face() -> dict[str, float]:
    return dict(FACE)
