"""How the tasks look that are no effects: each against a kept picture, on a drawn scene.

The kept pictures were looked at by a person. `SECURE_DELIVERY_TEST_GOLDEN=write` keeps new ones: look at them too.
"""

from __future__ import annotations

from typing import Any

import pytest

from secure_delivery_images.tasks import transformations

#: Name of the kept picture, tasks.
LOOKS: list[tuple[str, list[Any]]] = [
    ("resize_clip", [("resize", {"w": "48", "h": "48"})]),
    ("resize_crop", [("resize", {"w": "48", "h": "48", "f": "crop", "a": "right"})]),
    ("resize_scale", [("resize", {"w": "40", "h": "64", "f": "scale"})]),
    ("resize_clip", [("resize", {"w": "48", "h": "48", "f": "max"})]),
    ("resize_up", [("resize", {"w": "120"})]),
    ("resize_nearest", [("resize", {"w": "60", "filter": "nearest"})]),
    ("crop", [("crop", {"d": ("20", "20", "60", "40")})]),
    ("rotate", [("rotate", {"d": "30", "b": "salmon"})]),
    ("rotate_quarter", [("rotate", {"d": "90"})]),
    ("flip", ["flip"]),
    ("flop", ["flop"]),
    ("scene", [("output", {"f": "jpg"})]),
    ("scene", [("output", {"f": "tiff"})]),
    ("scene", [("output", {"f": "avif"})]),
    ("scene", ["compress"]),
    ("scene", ["no_metadata"]),
    ("auto_image", [("auto_image", {"format": "webp"})]),
    ("output_gif", [("output", {"f": "gif"})]),
    ("quality", [("output", {"f": "jpg"}), ("quality", {"v": "12"})]),
    ("quality", [("pjpg", {"quality": "12"})]),
]


@pytest.mark.parametrize(("name", "tasks"), LOOKS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(LOOKS)])
def test_a_task_looks_as_it_did(
    name: str, tasks: list[Any], chain: Any, saved: Any, opened: Any, scene: Any, golden: Any
) -> None:
    """On a landscape with a house and a face."""
    golden(name, opened(chain(saved(scene()), *tasks)))


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("clear_rotate", [("rotate", {"d": "30", "b": "none"})]),
        ("clear_on_white", [("output", {"f": "jpg", "q": "95"})]),
        ("clear_on_plum", [("output", {"f": "png", "b": "plum"})]),
        ("clear_gif", [("output", {"f": "gif"})]),
    ],
)
def test_a_task_on_a_transparent_picture_looks_as_it_did(
    name: str, tasks: list[Any], chain: Any, saved: Any, opened: Any, scene: Any, golden: Any
) -> None:
    """On the same, which fades towards its foot."""
    golden(name, opened(chain(saved(scene(60, 40, "RGBA")), *tasks)))


def test_every_task_has_a_kept_picture() -> None:
    """But for `imagesize` and `exif`, which make none, and those that are looked at beside their own tests."""
    looked_at = {task if isinstance(task, str) else task[0] for _, tasks in LOOKS for task in tasks}
    elsewhere = {"watermark", "collage", "animate", "imagesize", "exif"}
    from secure_delivery_images.effects import transformations as effects

    assert set(transformations()) - set(effects()) == looked_at | elsewhere
