"""What may be asked of a previewer: ranges of pages are read as documented, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secure_delivery.gate.errors import BadRequest
from secure_delivery.plugin import MemoryFile, PageRange, Work, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop

_NUMBERS = st.integers(1, 999_999)
_SPANS = st.lists(st.tuples(_NUMBERS, _NUMBERS).map(lambda pair: (min(pair), max(pair))), min_size=1, max_size=200)
_RANGES = st.one_of(st.just(PageRange(((1, None),))), _SPANS.map(lambda spans: PageRange(tuple(spans))))


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("1", (1,)),
        ("4-6", (4, 5, 6)),
        ("1,3,5", (1, 3, 5)),
        ("5,1,3", (1, 3, 5)),
        ("2-4,3-5,4", (2, 3, 4, 5)),
        ("all", (1, 2, 3, 4, 5, 6, 7)),
        (" ALL ", (1, 2, 3, 4, 5, 6, 7)),
        (" 2 , 4-5 ", (2, 4, 5)),
        ("6-900", (6, 7)),
        ("8", ()),
        ("007", (7,)),
    ],
)
def test_a_range_names_the_pages_that_a_file_has(text: str, pages: tuple[int, ...]) -> None:
    assert PageRange.parse(text).of(7, 100) == pages


_PARTS = ["0", "0-3", "3-1", "-1", "1-", "-", "1,,2", ",", "1,", "1-2-3", "1234567", "1.5", "1e3", "+1"]
_WRONG = [*_PARTS, "every", "all,1", "1;2", "[1]", "\u0661", "\uff11"]


@pytest.mark.parametrize("text", ["", " ", "al l", "1 2", "1\x002", *_WRONG])
def test_anything_else_is_refused_with_a_sentence_for_the_client(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        PageRange.parse(text)
    assert refused.value.public.startswith("pages: ")
    assert refused.value.public.isascii(), "the sentence is ours, whatever was sent"


def test_a_range_of_too_many_parts_is_refused() -> None:
    assert len(PageRange.parse(",".join(["1"] * 200)).spans) == 200
    with pytest.raises(BadRequest, match="200"):
        PageRange.parse(",".join(["1"] * 201))


@given(_RANGES)
def test_a_range_that_is_written_and_read_again_is_the_same(wanted: PageRange) -> None:
    assert PageRange.parse(str(wanted)) == wanted


@given(st.one_of(st.text(max_size=30), st.text("0123456789-, al", max_size=40)))
@example("all")
@example("1-3,7")
def test_any_text_is_a_range_or_a_bad_request(text: str) -> None:
    try:
        wanted = PageRange.parse(text)
    except BadRequest:
        return
    assert PageRange.parse(str(wanted)) == wanted
    assert all(1 <= first <= (last or first) for first, last in wanted.spans)


@given(_RANGES, st.integers(0, 400), st.integers(0, 120))
def test_pages_are_in_order_each_once_and_only_those_that_there_are(wanted: PageRange, total: int, most: int) -> None:
    pages = wanted.of(total, most)
    everything = [
        number
        for number in range(1, total + 1)
        if any(first <= number and (last is None or number <= last) for first, last in wanted.spans)
    ]
    assert list(pages) == everything[:most]


def test_a_range_that_names_millions_of_pages_often_is_counted_once() -> None:
    """Two hundred times 999,999 pages: this ends at once because only what comes out is counted."""
    wanted = PageRange.parse(",".join(["1-999999"] * 200))
    assert wanted.of(2_000_000_000, 5) == (1, 2, 3, 4, 5)
    assert PageRange.parse("all").of(2_000_000_000, 2) == (1, 2)


def test_work_asks_for_no_more_pages_than_it_may_have() -> None:
    work = Work(media=MemoryFile(b""), shop=SimpleWorkshop(limits=WorkLimits(pixels=9)), wanted=PageRange.parse("all"))
    assert len(work.pages(1_000)) == 100
    assert work.limits.pixels == 9
    few = Work(media=MemoryFile(b""), shop=SimpleWorkshop(), wanted=PageRange.parse("2-9"), most_pages=3)
    assert few.pages(1_000) == (2, 3, 4)


def test_work_that_nobody_collects_pictures_for_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Work(media=MemoryFile(b""), shop=SimpleWorkshop()).attach(MemoryFile(b""), "layer")
