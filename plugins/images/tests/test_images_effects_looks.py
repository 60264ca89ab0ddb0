"""How effects look: each against a kept picture, on a drawn scene.

The kept pictures were looked at by a person. `SECURE_DELIVERY_TEST_GOLDEN=write` keeps new ones: look at them too.
"""

from __future__ import annotations

from typing import Any

import pytest

HOUSE = (("24", "22", "28", "36"),)
PRESETS = ["auto", "vivid", "beautify", "beautify_plus", "fix_dark", "fix_noise", "fix_tint", "outdoor", "fireworks"]

_SMALLER = {"upscale": (45, 30), "polaroid": (60, 40)}

#: Name of the kept picture, task, options.
LOOKS: list[tuple[str, str, dict[str, Any]]] = [
    ("monochrome", "monochrome", {}),
    ("blackwhite", "blackwhite", {}),
    ("sepia", "sepia", {}),
    ("sepia_full", "sepia", {"tone": "100"}),
    ("negative", "negative", {}),
    ("modulate", "modulate", {"b": "110", "h": "120", "s": "150"}),
    ("blur", "blur", {}),
    ("sharpen", "sharpen", {"a": "4"}),
    ("pixelate", "pixelate", {"a": "6"}),
    ("oil_paint", "oil_paint", {"a": "4"}),
    ("oil_paint_wide", "oil_paint", {"a": "12"}),
    ("partial_pixelate", "partial_pixelate", {"o": HOUSE, "a": "6", "l": "2"}),
    ("partial_pixelate_oval", "partial_pixelate", {"o": HOUSE, "a": "6", "l": "0", "t": "oval"}),
    ("partial_blur", "partial_blur", {"o": (*HOUSE, ("60", "20", "40", "40")), "a": "5", "l": "2", "t": "oval"}),
    ("rounded_corners", "rounded_corners", {}),
    ("rounded_corners_max", "round_corners", {"r": "max", "l": "3", "b": "navy"}),
    ("circle", "circle", {}),
    ("vignette", "vignette", {}),
    ("vignette_black", "vignette", {"a": "80", "b": "black"}),
    ("vignette_linear", "vignette", {"a": "80", "m": "linear", "b": "black"}),
    ("torn_edges", "torn_edges", {}),
    ("torn_edges_blue", "torn_edges", {"s": ("4", "9"), "b": "steelblue"}),
    ("border", "border", {"w": "6", "c": "tomato"}),
    ("shadow", "shadow", {}),
    ("shadow_white", "shadow", {"l": "2", "o": "90", "v": ("-6", "5"), "c": "navy", "b": "white"}),
    ("polaroid", "polaroid", {"r": "8"}),
    ("polaroid_default", "polaroid", {"b": "wheat"}),
    ("upscale", "upscale", {}),
    ("upscale_artwork", "upscale", {"s": "artwork", "n": "low"}),
    ("denoise", "upscale", {"u": "false", "n": "high"}),
    ("smart_crop", "smart_crop", {"width": "40", "height": "40"}),
    ("smart_crop_fit", "smart_crop", {"mode": "fit", "width": "60", "height": "60", "fill_color": "gold"}),
    *((f"enhance_{preset}", "enhance", {"preset": preset}) for preset in PRESETS),
]


@pytest.mark.parametrize(("name", "task", "options"), LOOKS, ids=[look[0] for look in LOOKS])
def test_an_effect_looks_as_it_did(
    name: str, task: str, options: dict[str, Any], scene: Any, saved: Any, chain: Any, opened: Any, golden: Any
) -> None:
    """On an opaque picture in colour, smaller where the result is large or has grain."""
    golden(name, opened(chain(saved(scene(*_SMALLER.get(task, (96, 64)))), (task, options))))


#: What behaves differently where a picture is transparent.
ON_TRANSPARENT: list[tuple[str, str, dict[str, Any]]] = [
    ("clear_blur", "blur", {}),
    ("clear_border", "border", {"w": "4"}),
    ("clear_shadow", "shadow", {"v": ("6", "6"), "b": "white"}),
    ("clear_circle", "circle", {}),
    ("clear_torn", "torn_edges", {"b": "tomato"}),
    ("clear_polaroid", "polaroid", {"r": "350"}),
    ("clear_upscale", "upscale", {}),
    ("clear_vivid", "enhance", {"preset": "vivid"}),
]


@pytest.mark.parametrize(("name", "task", "options"), ON_TRANSPARENT, ids=[look[0] for look in ON_TRANSPARENT])
def test_an_effect_on_a_transparent_picture_looks_as_it_did(
    name: str, task: str, options: dict[str, Any], scene: Any, saved: Any, chain: Any, opened: Any, golden: Any
) -> None:
    """Transparency stays, or shows the background, and invisible colours do not bleed."""
    golden(name, opened(chain(saved(scene(*_SMALLER.get(task, (96, 64)), "RGBA")), (task, options))))


def test_every_preset_is_another_picture(scene: Any, saved: Any, chain: Any, opened: Any, distance: Any) -> None:
    """The nine presets of `enhance` differ from each other to the eye, on a scene that has something for each to do."""
    dim = scene().point([level * 6 // 10 for level in range(256)] * 3)
    seen = {preset: opened(chain(saved(dim), ("enhance", {"preset": preset}))) for preset in PRESETS}
    for place, preset in enumerate(PRESETS):
        for other in PRESETS[place + 1 :]:
            assert distance(seen[preset], seen[other]) > 0.4, f"{preset} and {other}"
