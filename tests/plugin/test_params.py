"""What a URL may say: each kind of parameter reads exactly what its words for "allowed" say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import REQUIRED, Kind, Param, boolean, choice, either, integer, listing, number, text
from secure_delivery.plugin.testing import bind

KINDS: dict[str, Kind] = {
    "integer": integer(-5, 10_000),
    "number": number(0.5, 20),
    "boolean": boolean(),
    "choice": choice("clip", "crop"),
    "either": either(integer(1, 100), choice("input")),
    "listing": listing(integer(0, 9), choice("a", "b")),
    "text": text(8),
}

READ: list[tuple[str, Any, Any]] = [
    ("integer", "0", 0),
    ("integer", "-5", -5),
    ("integer", "10000", 10_000),
    ("integer", "007", 7),
    ("number", "0.5", 0.5),
    ("number", ".75", 0.75),
    ("number", "20", 20.0),
    ("boolean", "true", True),
    ("boolean", "False", False),
    ("choice", "CLIP", "clip"),
    ("either", "100", 100),
    ("either", "Input", "input"),
    ("listing", ("9", "b"), (9, "b")),
    ("text", "", ""),
    ("text", "é" * 8, "é" * 8),
]

REFUSED: list[tuple[str, Any]] = [
    ("integer", "-6"),
    ("integer", "10001"),
    ("integer", ""),
    ("integer", "+1"),
    ("integer", " 1"),
    ("integer", "1\n"),
    ("integer", "1.0"),
    ("integer", "1_000"),
    ("integer", "\u0663"),
    ("integer", "9" * 5_000),
    ("integer", ("1",)),
    ("number", "0.49"),
    ("number", "20.01"),
    ("number", "nan"),
    ("number", "inf"),
    ("number", "1e1"),
    ("number", "1."),
    ("number", "."),
    ("number", ("1",)),
    ("boolean", "1"),
    ("boolean", "yes"),
    ("boolean", ""),
    ("boolean", ("true",)),
    ("choice", "scale"),
    ("choice", "clip "),
    ("choice", ("clip",)),
    ("either", "101"),
    ("either", "output"),
    ("listing", "9"),
    ("listing", ("9",)),
    ("listing", ("9", "b", "b")),
    ("listing", ("b", "9")),
    ("listing", ()),
    ("text", "nine char"),
    ("text", "a\0b"),
    ("text", "a\nb"),
    ("text", "a\x7fb"),
    ("text", ("a",)),
]


@pytest.mark.parametrize(("kind", "spelled", "value"), READ)
def test_what_is_allowed_is_read_as_its_type(kind: str, spelled: Any, value: Any) -> None:
    result = KINDS[kind].read(spelled)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(("kind", "spelled"), REFUSED)
def test_what_is_not_allowed_is_a_value_error(kind: str, spelled: Any) -> None:
    with pytest.raises(ValueError):
        KINDS[kind].read(spelled)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("integer", "a whole number from -5 to 10000"),
        ("number", "a number from 0.5 to 20"),
        ("boolean", "true or false"),
        ("choice", "one of clip, crop"),
        ("either", "a whole number from 1 to 100, or one of input"),
        ("listing", "a list [a whole number from 0 to 9, one of a, b]"),
        ("text", "text of at most 8 characters"),
    ],
)
def test_the_words_for_what_is_allowed_name_the_bounds(kind: str, words: str) -> None:
    assert KINDS[kind].allowed == words


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=20), lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8
)


@given(kind=st.sampled_from(sorted(KINDS)), value=VALUES)
def test_no_value_of_the_grammar_does_anything_but_read_or_be_refused(kind: str, value: Any) -> None:
    try:
        KINDS[kind].read(value)
    except ValueError:
        pass


@given(value=st.integers(-20_000, 20_000))
def test_an_integer_is_read_exactly_within_its_bounds(value: int) -> None:
    if -5 <= value <= 10_000:
        assert KINDS["integer"].read(str(value)) == value
    else:
        with pytest.raises(ValueError):
            KINDS["integer"].read(str(value))


class Shrink:
    """A transformation with one parameter of each sort, and a rule that joins two of them."""

    version = "1"
    params = (
        Param("width", integer(1, 100), aliases=("w",), default=REQUIRED),
        Param("fit", choice("clip", "crop"), aliases=("f",), default="clip"),
        Param("align", listing(choice("top"), choice("left"))),
    )

    def apply(self, media: Any, options: Any, shop: Any) -> Any:
        return media

    def check(self, options: Any) -> None:
        if options["align"] and options["fit"] != "crop":
            raise ValueError("align needs fit crop")


def test_bind_reads_by_name_or_alias_and_fills_in_defaults() -> None:
    assert dict(bind(Shrink(), w="7")) == {"width": 7, "fit": "clip", "align": None}
    assert dict(bind(Shrink(), width=7, f="CROP", align=("top", "left"))) == {
        "width": 7,
        "fit": "crop",
        "align": ("top", "left"),
    }


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, TypeError),
        ({"w": "1", "width": "1"}, TypeError),
        ({"w": "1", "height": "1"}, TypeError),
        ({"w": "0"}, ValueError),
        ({"w": "1", "align": ("top", "left")}, ValueError),
    ],
    ids=["a required one is missing", "given twice", "unknown", "out of bounds", "against the rule of check"],
)
def test_bind_refuses_what_the_engine_would_refuse(options: dict[str, Any], fault: type[Exception]) -> None:
    with pytest.raises(fault):
        bind(Shrink(), **options)
