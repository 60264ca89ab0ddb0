"""The intelligence tasks answer in the documented shape, whatever provider stands behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery import builtin
from secure_delivery.builtin.intelligence import LANGUAGES, transformations
from secure_delivery.gate.errors import NotProvided, SecureDeliveryError, Unsupported
from secure_delivery.plugin import (
    Asking,
    Authenticated,
    Media,
    MemoryFile,
    Sourceless,
    Transformation,
    WorkLimits,
    Workshop,
)
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import SimpleWorkshop, TransformationContract, bind, content

TASKS = transformations()
PHOTO = MemoryFile(b"\xff\xd8\xff\xe0 stands for a photograph", "image/jpeg", "photo.jpg")
SQUARE = [{"x": 0, "y": 0}, {"x": 9, "y": 0}, {"x": 9, "y": 9}, {"x": 0, "y": 9}]


@dataclass(slots=True)
class Says:
    """A detector that says one thing, and remembers what it was asked."""

    answer: Any
    asked: list[tuple[Media, Mapping[str, Any]]] = field(default_factory=list)
    version: str = "1"

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> Any:
        self.asked.append((media, dict(options)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answered(task: str, said: Any, **options: Any) -> Any:
    """The JSON of a task whose provider says `said`."""
    if task == "text_sentiment":
        options.setdefault("text", "This is good.")
    shop = SimpleWorkshop(detectors={task: Says(said), "faces": Says({"faces": []})})
    result = TASKS[task].apply(PHOTO, bind(TASKS[task], **options), shop)
    assert (result.mimetype, result.filename) == ("application/json", f"{task}.json")
    return json.loads(content(result))


# ------------------------------------------------------------------------------------------------------- the documented


NAMES = ["caption", "copyright", "image_sentiment", "ocr", "sfw", "tags", "text_sentiment"]
WORD = {"bounding_box": SQUARE, "text": "Hello"}
LINE = {"bounding_box": SQUARE, "text": "Hello", "words": [WORD]}
PAGE = {"document": {"text_areas": [{"bounding_box": SQUARE, "lines": [LINE]}]}, "text": "Hello"}

DOCUMENTED: dict[str, tuple[Any, Any]] = {
    "tags": ({"cat": 97, "animal": 99.5}, {"tags": {"auto": {"animal": 99.5, "cat": 97}, "user": None}}),
    "sfw": ({"sfw": True}, {"sfw": True}),
    "caption": ({"caption": "A cat on a sofa"}, {"caption": "A cat on a sofa"}),
    "ocr": (PAGE, PAGE),
    "image_sentiment": ({"emotions": {"HAPPY": 99.7, "SAD": 0.3}}, {"emotions": {"HAPPY": 99.7, "SAD": 0.3}}),
    "text_sentiment": (
        {"emotions": {"Positive": 0.5, "Negative": 0.25, "Neutral": 0.25, "Mixed": 0.0}},
        {"emotions": {"Positive": 0.5, "Negative": 0.25, "Neutral": 0.25, "Mixed": 0.0}},
    ),
    "copyright": (
        {"copyright": True, "licenses": [{"name": "Editorial", "urls": ["https://example.com"]}]},
        {"copyright": True, "licenses": [{"name": "Editorial", "urls": ["https://example.com"]}]},
    ),
}


@pytest.mark.parametrize("task", NAMES)
def test_a_good_answer_is_handed_on_as_documented(task: str) -> None:
    said, wanted = DOCUMENTED[task]
    got = answered(task, said)
    assert got == wanted
    assert json.dumps(got) == json.dumps(wanted), "in the documented order too"


@pytest.mark.parametrize("task", NAMES)
def test_each_task_needs_a_signed_policy_and_names_its_detector(task: str) -> None:
    transformation = TASKS[task]
    assert isinstance(transformation, Transformation)
    assert isinstance(transformation, Authenticated) and transformation.authenticated
    wanted = {"image_sentiment": ["faces", "image_sentiment"]}.get(task, [task])
    assert isinstance(transformation, Asking) and list(transformation.asks({})) == wanted
    assert (isinstance(transformation, Sourceless) and transformation.sourceless) == (task == "text_sentiment")


def test_the_builtin_plugin_offers_them_and_nothing_else_does_yet() -> None:
    registry = load(extra={"defaults": builtin}, blocked=["builtin"])
    (report,) = [report for report in registry.reports if report.name == "defaults"]
    assert report.problem is None
    assert set(NAMES) <= set(report.offers["transformations"])
    assert sorted(TASKS) == NAMES


@pytest.mark.parametrize("task", NAMES)
def test_without_a_provider_the_answer_is_501_and_says_which_hook_is_missing(task: str) -> None:
    options = {"text": "good"} if task == "text_sentiment" else {}
    with pytest.raises(NotProvided) as caught:
        TASKS[task].apply(PHOTO, bind(TASKS[task], **options), SimpleWorkshop())
    assert caught.value.status == 501
    assert task in caught.value.public and "register_detectors" in caught.value.public


@pytest.mark.parametrize("task", NAMES)
def test_a_fault_of_the_detector_is_the_fault_of_the_task(task: str) -> None:
    with pytest.raises(Unsupported, match="not a picture"):
        answered(task, Unsupported("not a picture"))


def test_the_detector_gets_the_file_and_the_bound_options() -> None:
    says = Says({"cat": 1})
    TASKS["tags"].apply(PHOTO, bind(TASKS["tags"], v="1"), SimpleWorkshop(detectors={"tags": says}))
    assert says.asked == [(PHOTO, {"version": 1})]
    says = Says({"emotions": {"Neutral": 1}})
    bound = bind(TASKS["text_sentiment"], text="bon", language="FR")
    TASKS["text_sentiment"].apply(PHOTO, bound, SimpleWorkshop(detectors={"text_sentiment": says}))
    assert says.asked == [(PHOTO, {"text": "bon", "language": "fr"})]


def test_faces_go_along_with_the_question_about_emotions() -> None:
    faces, mood = Says({"faces": [{"x": 1}]}), Says({"emotions": {}})
    shop: Workshop = SimpleWorkshop(detectors={"faces": faces, "image_sentiment": mood})
    TASKS["image_sentiment"].apply(PHOTO, bind(TASKS["image_sentiment"]), shop)
    assert faces.asked == [(PHOTO, {})]
    assert mood.asked == [(PHOTO, {"faces": {"faces": [{"x": 1}]}})]


def test_emotions_without_anybody_who_finds_faces_are_501_too() -> None:
    with pytest.raises(NotProvided) as caught:
        TASKS["image_sentiment"].apply(PHOTO, {}, SimpleWorkshop(detectors={"image_sentiment": Says({"emotions": {}})}))
    assert "image_sentiment" in caught.value.public and "'faces'" in caught.value.public


# -------------------------------------------------------------------------------------------------------------- options

ADMITTED = [
    ("tags", {}, {"version": 2}),
    ("tags", {"version": "1"}, {"version": 1}),
    ("tags", {"v": "2"}, {"version": 2}),
    ("text_sentiment", {"text": "good"}, {"text": "good", "language": "auto"}),
    ("text_sentiment", {"text": "two\nlines,\ttoo\r\n"}, {"text": "two\nlines,\ttoo\r\n", "language": "auto"}),
    ("text_sentiment", {"text": "g" * 5_000}, {"text": "g" * 5_000, "language": "auto"}),
    ("text_sentiment", {"text": "好", "language": "ZH-tw"}, {"text": "好", "language": "zh-TW"}),
]
REFUSED = [
    ("tags", {"version": "0"}),
    ("tags", {"version": "3"}),
    ("tags", {"version": "two"}),
    ("tags", {"version": ("1",)}),
    ("text_sentiment", {"text": ""}),
    ("text_sentiment", {"text": " \n"}),
    ("text_sentiment", {"text": "g" * 5_001}),
    ("text_sentiment", {"text": "a\0b"}),
    ("text_sentiment", {"text": "a\x1b[2J"}),
    ("text_sentiment", {"text": ("a", "b")}),
    ("text_sentiment", {"text": "good", "language": "tlh"}),
    ("text_sentiment", {"text": "good", "language": ""}),
    ("text_sentiment", {"text": "good", "language": ("en",)}),
]


@pytest.mark.parametrize(("task", "options", "bound"), ADMITTED)
def test_what_a_url_may_say(task: str, options: dict[str, Any], bound: dict[str, Any]) -> None:
    assert dict(bind(TASKS[task], **options)) == bound


@pytest.mark.parametrize(("task", "options"), REFUSED)
def test_what_a_url_may_not_say(task: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        bind(TASKS[task], **options)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_documented_language_is_admitted_in_any_case(language: str) -> None:
    for spelled in (language, language.lower(), language.upper()):
        assert bind(TASKS["text_sentiment"], text="x", language=spelled)["language"] == language


def test_a_text_is_required() -> None:
    with pytest.raises(TypeError, match="text is required"):
        bind(TASKS["text_sentiment"], language="en")


@pytest.mark.parametrize("task", sorted(set(NAMES) - {"tags", "text_sentiment"}))
def test_the_others_have_no_options(task: str) -> None:
    assert TASKS[task].params == ()


# ----------------------------------------------------------------------------------------------------- sloppy providers


class OfNumpy:
    """Stands for a number of numpy: converts like one, is none of Python's."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


bool_ = type("bool_", (), {"__bool__": lambda self: True})

NORMALISED = [
    ("tags", {"cat": 250, "dog": -4, "owl": 0.5}, {"auto": {"cat": 100, "owl": 0.5, "dog": 0}, "user": None}),
    (
        "tags",
        {"cat": True, "dog": "99", "owl": None, "": 5, 7: 8, "emu": math.nan, "hen": math.inf},
        {"auto": {}, "user": None},
    ),
    ("tags", {"cat": OfNumpy(12.5), "b\x00ad\x1b": 3}, {"auto": {"cat": 12.5, "bad": 3}, "user": None}),
    ("tags", {}, {"auto": {}, "user": None}),
    ("sfw", {"sfw": False, "score": 0.93, "classes": ["x"]}, False),
    ("sfw", {"sfw": bool_()}, True),
    ("caption", {"caption": " two\ud800 cats\x00 ", "confidence": 1}, "two cats"),
    ("image_sentiment", {"emotions": {"happy": 120, "Sad": 0.25, "odd": "x"}}, {"HAPPY": 100, "SAD": 0.25}),
    ("image_sentiment", {"emotions": {}, "faces": 0}, {}),
    ("copyright", {"copyright": False, "licenses": [{"name": "x"}]}, False),
]


@pytest.mark.parametrize(("task", "said", "wanted"), NORMALISED)
def test_a_sloppy_answer_is_put_into_shape(task: str, said: Any, wanted: Any) -> None:
    got = answered(task, said)
    (first, *_), documented = got, DOCUMENTED[task][1]
    assert got[first] == wanted
    assert list(got) == list(documented), "no other members"


def test_sentiments_are_shares_of_one_whatever_scale_a_provider_uses() -> None:
    assert answered("text_sentiment", {"emotions": {"positive": 75, "NEGATIVE": 25, "surprise": 50}})["emotions"] == {
        "Positive": 0.75,
        "Negative": 0.25,
        "Neutral": 0,
        "Mixed": 0,
    }


def test_licenses_are_plain_objects_and_there_are_none_without_copyright() -> None:
    deep: Any = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    said = {"copyright": True, "licenses": [{"name": "A", "price": math.nan, 3: 4, "deep": deep}, "free", None, {}]}
    assert answered("copyright", said) == {
        "copyright": True,
        "licenses": [{"name": "A", "price": None, "deep": {"a": {"b": {"c": None}}}}, {}],
    }
    assert answered("copyright", {"copyright": False, "licenses": [{"name": "A"}]}) == {"copyright": False, "licenses": []}
    assert answered("copyright", {"copyright": True}) == {"copyright": True, "licenses": []}


def test_ocr_keeps_what_has_a_box_and_drops_the_rest() -> None:
    pairs = [(0, 0), (9, 0), (9, 9), (0, 9)]
    said = {
        "document": {
            "text_areas": [
                {
                    "bounding_box": pairs,
                    "angle": 3,
                    "lines": [
                        LINE | {"score": 0.5, "words": [WORD | {"score": 1}, {"text": "lost"}, "Hello", None]},
                        {"bounding_box": SQUARE[:3], "text": "three corners"},
                        {"bounding_box": SQUARE, "text": None},
                        {"bounding_box": SQUARE, "text": "bare"},
                    ],
                },
                {"bounding_box": [1, 2, 3, 4], "lines": [LINE]},
                {"lines": [LINE]},
                "area",
            ],
            "language": "en",
        },
        "text_area_percentage": 140,
        "version": 3,
    }
    assert answered("ocr", said) == {
        "document": {
            "text_areas": [{"bounding_box": SQUARE, "lines": [LINE, {"bounding_box": SQUARE, "text": "bare", "words": []}]}]
        },
        "text": "Hello\nbare",
        "text_area_percentage": 100,
    }
    assert answered("ocr", {"text": "only text"}) == {"document": {"text_areas": []}, "text": "only text"}
    assert answered("ocr", {"document": {"text_areas": []}}) == {"document": {"text_areas": []}, "text": ""}


NOTHING: list[tuple[str, Any]] = [
    *[(task, said) for task in NAMES for said in (None, [], "yes", 7, True)],
    ("sfw", {}),
    ("sfw", {"sfw": 1}),
    ("sfw", {"sfw": "true"}),
    ("caption", {"caption": None}),
    ("copyright", {"copyright": "no"}),
    ("image_sentiment", {"emotions": [("HAPPY", 1)]}),
    ("text_sentiment", {"emotions": {}}),
    ("text_sentiment", {"emotions": {"Positive": 0}}),
    ("text_sentiment", {"emotions": {"Positive": math.nan}}),
    ("ocr", {"document": {}}),
]


@pytest.mark.parametrize(("task", "said"), NOTHING)
def test_an_answer_about_something_else_is_the_fault_of_the_provider(task: str, said: Any) -> None:
    """Nothing is made up: least of all that a picture is harmless."""
    with pytest.raises(SecureDeliveryError, match=f"the detector '{task}' answered without") as caught:
        answered(task, said)
    assert caught.value.status == 500
    assert task not in caught.value.public


_ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["tags", "sfw", "caption", "emotions", "copyright", "licenses", "document", "text_areas", "lines"])
            | st.sampled_from(["words", "bounding_box", "text", "x", "y", "text_area_percentage", "Positive", "Mixed", "HAPPY"])
            | st.text(max_size=3)
            | st.integers(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=40,
)


@given(said=_ANY, task=st.sampled_from(NAMES))
def test_whatever_a_provider_says_ends_in_the_documented_shape_or_its_fault(said: Any, task: str) -> None:
    try:
        got = answered(task, said)
    except SecureDeliveryError:
        return
    wanted = DOCUMENTED[task][1]
    assert set(got) - {"text_area_percentage"} == set(wanted)
    for name, value in wanted.items():
        assert isinstance(got[name], type(value))
    if task == "tags":
        assert all(0 <= rating <= 100 for rating in got["tags"]["auto"].values())
    if task == "text_sentiment":
        assert math.isclose(math.fsum(got["emotions"].values()), 1)


# --------------------------------------------------------------------------------------------------------- the contract


class _Contract(TransformationContract):
    name: str

    def sample_media(self) -> Media:
        return PHOTO

    def _apply(self, media: Media, options: Mapping[str, Any] | None = None) -> Media:
        bound = bind(self.transformation, **self.sample_options()) if options is None else options
        return self.transformation.apply(media, bound, SimpleWorkshop(detectors={self.name: Says(DOCUMENTED[self.name][0])}))


class TestTagsHoldsTheContract(_Contract):
    name, transformation = "tags", TASKS["tags"]


class TestSfwHoldsTheContract(_Contract):
    name, transformation = "sfw", TASKS["sfw"]


class TestOcrHoldsTheContract(_Contract):
    name, transformation = "ocr", TASKS["ocr"]


class TestTextSentimentHoldsTheContract(_Contract):
    name, transformation = "text_sentiment", TASKS["text_sentiment"]

    def sample_options(self) -> Mapping[str, Any]:
        return {"text": "It works, and it is a joy.", "language": "en"}


def test_a_number_of_words_that_no_page_has_is_cut() -> None:
    words: Sequence[Any] = [WORD] * 60_000
    said = {"document": {"text_areas": [{"bounding_box": SQUARE, "lines": [LINE | {"words": words}] * 3}]}, "text": "x"}
    lines = answered("ocr", said)["document"]["text_areas"][0]["lines"]
    assert [len(line["words"]) for line in lines] == [60_000, 40_000, 0]
