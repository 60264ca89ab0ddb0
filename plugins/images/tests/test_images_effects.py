"""What effects take: options, short names, defaults and ranges are those of the documentation."""

from __future__ import annotations

from typing import Any

import pytest

from secure_delivery.plugin import REQUIRED
from secure_delivery.plugin.testing import bind
from secure_delivery_images.effects import transformations

TASKS = transformations()

#: Of section 3.3: task, option, short name, default, the ends of its range, what lies beyond.
RANGES: list[tuple[str, str, str | None, Any, list[Any], list[Any]]] = [
    ("smart_crop", "width", None, 0, ["0", "10000"], ["-1", "10001"]),
    ("smart_crop", "height", None, 0, ["0", "10000"], ["-1", "10001"]),
    ("smart_crop", "mode", None, "auto", ["auto", "face", "object", "fit"], ["faces", ""]),
    ("smart_crop", "object", None, None, ["dog", "a" * 100], ["a" * 101]),
    ("smart_crop", "coords", None, False, ["true", "false"], ["1", "yes"]),
    ("rounded_corners", "radius", "r", 10, ["1", "10000", "max"], ["0", "10001", "min"]),
    ("rounded_corners", "blur", "l", 0.3, ["0", "0.3", "20"], ["-0.1", "20.1"]),
    ("round_corners", "radius", "r", 10, ["1", "10000", "max"], ["0", "10001"]),
    ("round_corners", "blur", "l", 0.3, ["0", "20"], ["-1", "21"]),
    ("vignette", "amount", "a", 20, ["0", "100"], ["-1", "101"]),
    ("vignette", "blurmode", "m", "gaussian", ["gaussian", "linear"], ["radial"]),
    ("polaroid", "rotate", "r", 45, ["0", "359"], ["-1", "360"]),
    ("torn_edges", "spread", "s", (1, 10), [("1", "1"), ("10000", "10000")], [("0", "10"), ("1", "10001"), ("1",), "5"]),
    ("shadow", "blur", "l", 4, ["0", "20"], ["-1", "21"]),
    ("shadow", "opacity", "o", 60, ["0", "100"], ["-1", "101"]),
    ("shadow", "vector", "v", (4, 4), [("-1000", "1000"), ("1000", "-1000")], [("-1001", "0"), ("0", "1001"), ("4",)]),
    ("border", "width", "w", 2, ["0", "1000"], ["-1", "1001"]),
    ("sharpen", "amount", "a", 2, ["0", "20"], ["-1", "20.5"]),
    ("blur", "amount", "a", 2, ["0", "20"], ["-1", "20.5"]),
    ("blackwhite", "threshold", "t", 50, ["0", "100"], ["-1", "101"]),
    ("sepia", "tone", "t", 80, ["0", "100"], ["-1", "101"]),
    ("pixelate", "amount", "a", 2, ["2", "100"], ["1", "101"]),
    ("oil_paint", "amount", "a", 2, ["1", "100"], ["0", "101"]),
    ("modulate", "brightness", "b", 100, ["0", "10000"], ["-1", "10001"]),
    ("modulate", "hue", "h", 0, ["0", "359"], ["-1", "360"]),
    ("modulate", "saturation", "s", 100, ["0", "10000"], ["-1", "10001"]),
    ("partial_pixelate", "amount", "a", 10, ["2", "100"], ["1", "101"]),
    ("partial_pixelate", "blur", "l", 4, ["0", "20"], ["-1", "21"]),
    ("partial_pixelate", "type", "t", "rect", ["rect", "oval"], ["circle"]),
    ("partial_blur", "amount", "a", 10, ["0", "20"], ["-1", "21"]),
    ("partial_blur", "blur", "l", 4, ["0", "20"], ["-1", "21"]),
    ("partial_blur", "type", "t", "rect", ["rect", "oval"], ["circle"]),
    ("upscale", "upscale", "u", True, ["true", "false"], ["2"]),
    ("upscale", "noise", "n", "none", ["none", "low", "medium", "high"], ["some"]),
    ("upscale", "style", "s", "photo", ["photo", "artwork"], ["drawing"]),
    (
        "enhance",
        "preset",
        None,
        "auto",
        ["auto", "vivid", "beautify", "beautify_plus", "fix_dark", "fix_noise", "fix_tint", "outdoor", "fireworks"],
        ["best"],
    ),
    ("ascii", "colored", "c", False, ["true", "false"], ["1"]),
    ("ascii", "size", "s", 100, ["10", "100"], ["9", "101"]),
    ("ascii", "reverse", "r", False, ["true", "false"], ["0"]),
]

WHITE, BLACK, CLEAR = (255, 255, 255, 255), (0, 0, 0, 255), (0, 0, 0, 0)

#: Options that are colours: task, option, short name, default.
COLOURS = [
    ("smart_crop", "fill_color", None, None),
    ("rounded_corners", "background", "b", CLEAR),
    ("round_corners", "background", "b", CLEAR),
    ("vignette", "background", "b", CLEAR),
    ("polaroid", "color", "c", (255, 250, 250, 255)),
    ("polaroid", "background", "b", CLEAR),
    ("torn_edges", "background", "b", CLEAR),
    ("shadow", "color", "c", BLACK),
    ("shadow", "background", "b", CLEAR),
    ("circle", "background", "b", CLEAR),
    ("border", "color", "c", BLACK),
    ("border", "background", "b", WHITE),
    ("ascii", "background", "b", WHITE),
    ("ascii", "foreground", "f", BLACK),
]

WITHOUT_OPTIONS = ["monochrome", "negative"]
OBJECTS = (("10", "20", "30", "40"),)


def _needed(task: str) -> dict[str, Any]:
    return {"objects": OBJECTS} if task.startswith("partial_") else {}


@pytest.mark.parametrize(("task", "option", "short", "default", "inside", "beyond"), RANGES)
def test_a_range_ends_where_the_documentation_says(
    task: str, option: str, short: str | None, default: Any, inside: list[Any], beyond: list[Any]
) -> None:
    """Both ends are accepted under both names, one beyond is refused, and the default is the documented one."""
    transformation, needed = TASKS[task], _needed(task)
    bound = bind(transformation, **needed)
    assert bound[option] == default
    for name in filter(None, (option, short)):
        for value in inside:
            assert bind(transformation, **needed, **{name: value})[option] is not None
        for value in beyond:
            with pytest.raises(ValueError):
                bind(transformation, **needed, **{name: value})


@pytest.mark.parametrize(("task", "option", "short", "default"), COLOURS)
def test_a_colour_has_its_documented_default(task: str, option: str, short: str | None, default: Any) -> None:
    """A colour is a name or digits, under both names of its option; anything else is refused."""
    assert bind(TASKS[task])[option] == default
    for name in filter(None, (option, short)):
        assert bind(TASKS[task], **{name: "tomato"})[option] == (255, 99, 71, 255)
        assert bind(TASKS[task], **{name: "00ff0080"})[option] == (0, 255, 0, 128)
        with pytest.raises(ValueError):
            bind(TASKS[task], **{name: "no-colour"})


@pytest.mark.parametrize("task", ["partial_pixelate", "partial_blur"])
def test_parts_are_one_to_fifty_rectangles(task: str) -> None:
    """`objects` is required; places reach from 0 and sides from 1 to 10000, and fifty are the most."""
    transformation = TASKS[task]
    with pytest.raises(TypeError, match="required"):
        bind(transformation)
    assert bind(transformation, objects=OBJECTS)["objects"] == ((10, 20, 30, 40),)
    assert len(bind(transformation, o=OBJECTS * 50)["objects"]) == 50
    assert bind(transformation, o=(("0", "0", "1", "1"), ("10000", "10000", "10000", "10000")))["objects"]
    refused = [OBJECTS * 51, (("10", "20", "30"),), (("-1", "0", "1", "1"),), (("0", "0", "0", "1"),), "10"]
    refused += [(("10001", "0", "1", "1"),), (("0", "0", "10001", "1"),), ("10", "20", "30", "40")]
    for value in refused:
        with pytest.raises(ValueError):
            bind(transformation, objects=value)
    (param,) = [param for param in transformation.params if param.name == "objects"]
    assert param.default is REQUIRED
    with pytest.raises(ValueError):
        param.kind.read(())


def test_nothing_else_is_an_option() -> None:
    """The tables above are complete: no task takes more, none takes less."""
    declared = {(task, param.name) for task, transformation in TASKS.items() for param in transformation.params}
    documented = {row[:2] for row in RANGES} | {row[:2] for row in COLOURS}
    documented |= {(task, "objects") for task in ("partial_pixelate", "partial_blur")}
    assert declared == documented
    assert set(TASKS) == {task for task, _ in documented} | set(WITHOUT_OPTIONS)
    short = {(row[0], row[1]): row[2] for row in [*RANGES, *COLOURS]} | {
        (task, "objects"): "o" for task in ("partial_pixelate", "partial_blur")
    }
    for task, transformation in TASKS.items():
        for param in transformation.params:
            assert param.aliases == tuple(filter(None, [short[task, param.name]]))


def test_smart_crop_says_which_detector_it_needs() -> None:
    """Faces for `face`, objects for `object`, none otherwise: the engine can refuse before it fetches anything."""
    task: Any = TASKS["smart_crop"]
    asked = {mode: tuple(task.asks(bind(task, mode=mode))) for mode in ("auto", "face", "object", "fit")}
    assert asked == {"auto": (), "face": ("faces",), "object": ("objects",), "fit": ()}
