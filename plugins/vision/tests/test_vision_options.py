"""What the options of the tasks admit, and what they choose of the faces that were found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import Asking, Authenticated, Checked, Corrupt
from secure_delivery.plugin.testing import bind
from secure_delivery_vision import options
from secure_delivery_vision.options import Face
from secure_delivery_vision.tasks import transformations

TASKS = transformations()
SIZE = ("0.01", "10000", "0", "0.001", "10000.1", "-1", "big", "")
BLUR = ("0", "20", "-0.1", "20.1", "soft")

#: Task, option, alias; two values that are admitted, then values that are not.
BOUNDS: list[tuple[str, str, str | None, tuple[Any, ...], tuple[Any, ...]]] = [
    *[
        (task, name, alias, SIZE[:2], SIZE[2:])
        for task in ("detect_faces", "crop_faces", "pixelate_faces", "blur_faces")
        for name, alias in (("minsize", "n"), ("maxsize", "x"))
    ],
    ("detect_faces", "color", "c", ("red", "ff000080"), ("#ff0000", "reddish", "12345", ("red",))),
    ("detect_faces", "export", "e", ("true", "False"), ("yes", "1", "")),
    ("crop_faces", "mode", "m", ("thumb", "FILL"), ("face", "", ("thumb",))),
    ("crop_faces", "width", "w", ("1", "10000"), ("0", "10001", "1.5", "auto")),
    ("crop_faces", "height", "h", ("1", "10000"), ("0", "10001", "1.5", "auto")),
    ("crop_faces", "buffer", "b", ("0", "10000"), ("-1", "10001", "1.5")),
    *[
        (task, "faces", "f", ("all", ("1", "1000")), ("0", "1001", "none", "1.5", "", ("all",), ("1", "0"), (("1",),)))
        for task in ("crop_faces", "pixelate_faces", "blur_faces")
    ],
    ("pixelate_faces", "amount", "a", ("2", "100"), ("1", "101", "2.5", "")),
    ("blur_faces", "amount", "a", ("0", "20"), ("-1", "20.1", "much")),
    *[
        entry
        for task in ("pixelate_faces", "blur_faces")
        for entry in (
            (task, "buffer", "b", ("0", "1000"), ("-1", "1001", "1.5")),
            (task, "blur", "l", BLUR[:2], BLUR[2:]),
            (task, "type", "t", ("rect", "Oval"), ("circle", "")),
        )
    ],
    ("doc_detection", "coords", None, ("true", "false"), ("1", "")),
    ("doc_detection", "preprocess", None, ("true", "false"), ("1", "")),
]


@pytest.mark.parametrize(("task", "name", "alias", "good", "bad"), BOUNDS)
def test_options_admit_what_is_documented_and_nothing_else(
    task: str, name: str, alias: str | None, good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    """Bounds are inclusive, the short name reads the same, everything beyond is refused."""
    for value in good:
        read = bind(TASKS[task], **{name: value})[name]
        if alias:
            assert bind(TASKS[task], **{alias: value})[name] == read
    for value in bad:
        with pytest.raises((ValueError, TypeError)):
            bind(TASKS[task], **{name: value})


def test_every_option_is_in_the_table_of_bounds() -> None:
    """None was forgotten above."""
    declared = {(name, param.name) for name, task in TASKS.items() for param in task.params}
    assert declared == {(task, name) for task, name, *_ in BOUNDS}


@pytest.mark.parametrize(
    ("task", "defaults"),
    [
        ("detect_faces", {"minsize": None, "maxsize": None, "color": (105, 105, 105, 255), "export": False}),
        (
            "crop_faces",
            {"mode": "thumb", "width": None, "height": None, "faces": 1, "buffer": 0, "minsize": None, "maxsize": None},
        ),
        (
            "pixelate_faces",
            {"faces": "all", "minsize": None, "maxsize": None, "buffer": 0, "amount": 10, "blur": 4, "type": "rect"},
        ),
        (
            "blur_faces",
            {"faces": "all", "minsize": None, "maxsize": None, "buffer": 0, "amount": 10, "blur": 4, "type": "rect"},
        ),
        ("redeye", {}),
        ("doc_detection", {"coords": False, "preprocess": True}),
    ],
)
def test_defaults_are_the_documented_ones(task: str, defaults: Mapping[str, Any]) -> None:
    """What a URL leaves out."""
    assert dict(bind(TASKS[task])) == defaults


def test_tasks_say_whom_they_ask_and_who_may_use_them() -> None:
    """Face tasks need `faces`; `doc_detection` needs its detector and a signed policy, as all intelligence does."""
    for name, task in TASKS.items():
        assert isinstance(task, Asking)
        assert list(task.asks({})) == ["doc_detection" if name == "doc_detection" else "faces"]
        assert isinstance(task, Authenticated) == (name == "doc_detection")
    assert {name for name, task in TASKS.items() if isinstance(task, Checked)} == set(TASKS) - {"doc_detection"}


def test_bounds_that_exclude_each_other_are_refused_before_any_work() -> None:
    """Both in pixels or both in shares; a share and a number of pixels can only be compared on a picture."""
    for low, high in (("0.5", "0.2"), ("200", "100")):
        with pytest.raises(ValueError, match="minsize"):
            bind(TASKS["blur_faces"], minsize=low, maxsize=high)
    bind(TASKS["blur_faces"], minsize="20", maxsize="0.5")


# ------------------------------------------------------------------------------------------------------------- choosing


def _faces(*sizes: int) -> list[Face]:
    return [Face(left=0, top=0, width=size, height=size - 1) for size in sizes]


def _kept(low: float | None, high: float | None) -> list[int]:
    seen = options.within(_faces(400, 200, 100, 20), {"minsize": low, "maxsize": high}, 1000, 600)
    return [face.size for face in seen]


def test_sizes_below_one_are_shares_of_the_middle_dimension() -> None:
    """(1000 + 600) / 2 = 800: a quarter of it is 200. Bounds are inclusive; the longer side counts."""
    assert _kept(0.25, None) == [400, 200]
    assert _kept(None, 0.25) == [200, 100, 20]
    assert _kept(0.125, 0.25) == [200, 100]


def test_sizes_from_one_on_are_pixels() -> None:
    """Either unit may stand with the other."""
    assert _kept(100, None) == [400, 200, 100]
    assert _kept(1, 100) == [100, 20]
    assert _kept(21, 0.49) == [200, 100]


def test_no_bounds_and_the_documented_defaults_admit_every_face() -> None:
    """0.35 for both, spelled out by a client, would leave out nearly everything and cannot be meant."""
    assert _kept(None, None) == _kept(0.35, 0.35) == [400, 200, 100, 20]


def test_the_selector_counts_from_one_and_from_the_largest() -> None:
    """`all`, one, several; named twice is there once; numbers without a face name nothing."""
    faces = _faces(9, 8, 7)
    assert options.chosen(faces, "all") == faces
    assert options.chosen(faces, 2) == [faces[1]]
    assert options.chosen(faces, (3, 1, 3)) == options.chosen(faces, [3, 1]) == [faces[2], faces[0]]
    assert options.chosen(faces, 4) == options.chosen([], "all") == []


def test_a_face_is_grown_by_a_share_of_itself() -> None:
    """Buffer 100 doubles it: half its width and height on each side."""
    assert Face(left=100, top=50, width=20, height=40).grown(100) == (90, 30, 130, 110)


def test_an_answer_is_put_in_order_and_made_whole() -> None:
    """Another plugin's detector may give fractions, no eyes, no order, and faces without extent."""
    answer = {"faces": [{"x": 1.6, "y": 2, "width": 3, "height": 4}, {"x": 0, "y": 0, "width": 9, "height": 9}], "width": 50}
    answer |= {"height": 40.0}
    answer["faces"].append({"x": 1, "y": 1, "width": 0, "height": 5})  # type: ignore[attr-defined]
    faces, width, height = options.found(answer)
    assert [face.rectangle() for face in faces] == [
        {"x": 0, "y": 0, "width": 9, "height": 9},
        {"x": 2, "y": 2, "width": 3, "height": 4},
    ]
    assert (width, height) == (50, 40)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["faces", "width", "height", "x", "y", "eyes"]), inner, max_size=6)
        ),
        max_leaves=12,
    )
)
def test_an_answer_in_another_shape_is_a_fault_of_the_tree(answer: Any) -> None:
    """Whatever a detector says: faces, or `Corrupt`."""
    try:
        faces, _, _ = options.found(answer)
    except Corrupt:
        return
    assert all(face.width > 0 for face in faces)
