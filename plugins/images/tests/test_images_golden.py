"""The helper for golden pictures itself: what it lets pass and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageChops


def test_the_scene_is_always_the_same(scene: Any, golden: Any) -> None:
    """The drawing that effects are shown on looks like the kept one, with and without transparency."""
    golden("scene", scene())
    golden("scene_transparent", scene(mode="RGBA"))


def test_small_differences_pass_and_visible_ones_do_not(scene: Any, golden: Any) -> None:
    """One level is rounding; ten levels everywhere, a moved picture, a lost corner or another size are changes."""
    image = scene()
    golden("scene", image.point([min(255, level + 1) for level in range(256)] * 3))
    moved = ImageChops.offset(image, 3, 0)
    lost = image.copy()
    lost.paste("black", (0, 0, 8, 8))
    for other in (image.point([min(255, level + 10) for level in range(256)] * 3), moved, lost, image.resize((48, 32))):
        with pytest.raises(AssertionError, match="scene"):
            golden("scene", other)
    assert isinstance(image, Image.Image)
