"""What a decoder says of its pages is believed only as far as it can be: a valid result, or `Corrupt`, and never more bytes
than there are."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.engine.conversion_job import _statistics
from secure_delivery.engine.page_results import Drawn, read_drawn, read_files, read_section, replaced
from secure_delivery.engine.page_work import MOST_PICTURES
from secure_delivery.gate.errors import Corrupt
from secure_delivery.plugin.previewing import PageRange

PICTURES = b"0123456789"
Result = tuple[io.BytesIO, dict[str, Any]]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def result(document: Any, pictures: bytes = PICTURES) -> Result:
    return raw(json.dumps(document).encode(), pictures)


def raw(document: bytes, pictures: bytes = PICTURES) -> Result:
    return io.BytesIO(pictures + document), {"document": [len(pictures), len(document)]}


def drawn(told: Result, pages: str = "1-3", most: int = 100) -> Drawn:
    wanted = PageRange.parse(pages)
    return read_drawn(*told, names=["a", "b"], readers=["ocr"], wanted=lambda total: wanted.of(total, most))


def honest() -> dict[str, Any]:
    def picture(name: str, offset: int) -> dict[str, Any]:
        return {"size": name, "offset": offset, "length": 2, "width": 3, "height": 4}

    return {
        "total": 2,
        "format": "png",
        "pages": [
            {"page": 1, "width": 30, "height": 40, "pictures": [picture("a", 0), picture("b", 2)]},
            {"page": 2, "width": 30, "height": 40, "pictures": [picture("a", 4), picture("b", 6)]},
        ],
        "sections": {"ocr": [{"page": 1, "text": "Grüße 🎈"}]},
        "faults": {},
    }


def section() -> dict[str, Any]:
    token = "attached:0123456789abcdef:0"
    return {"value": {"url": token}, "attached": [{"token": token, "name": "a.png", "offset": 0, "length": 10}]}


def files() -> dict[str, Any]:
    kinds = ("a.mp4", "video/mp4", 0, 4), ("b.ts", "video/mp2t", 4, 6)
    told = [dict(zip(("name", "mimetype", "offset", "length"), kind, strict=True)) for kind in kinds]
    return {"files": told, "extra": {"metadata": {"source": {"width": 1}, "result": {}}}}


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A document with another value at one place."""
    if not path:
        return value
    copy = list(document) if isinstance(document, list) else dict(document)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Mapping[Any, Any] = dict(enumerate(document)) if isinstance(document, list) else document
    if not isinstance(document, list | dict):
        return [path]
    return [path, *(found for key, value in inner.items() for found in places(value, (*path, key)))]


def inside(spans: list[tuple[int, int]], end: int = len(PICTURES)) -> bool:
    """Whether parts lie within the pictures and one after the other."""
    begin = 0
    for offset, length in spans:
        if not begin <= offset or length < 1 or offset + length > end:
            return False
        begin = offset + length
    return True


# ----------------------------------------------------------------------------------------------------------------- honest


def test_what_an_honest_decoder_says_is_taken_as_it_is() -> None:
    found = drawn(result(honest()))
    assert found.pages == {1: (30, 40), 2: (30, 40)}
    assert [(piece.page, piece.size, piece.offset, piece.length) for piece in found.pieces] == [
        (1, "a", 0, 2), (1, "b", 2, 2), (2, "a", 4, 2), (2, "b", 6, 2),
    ]  # fmt: skip
    assert found.sections == {"ocr": [{"page": 1, "text": "Grüße 🎈"}]}
    assert read_section(*result(section()))[1][0].length == 10
    assert [one.name for one in read_files(*result(files()))[0]] == ["a.mp4", "b.ts"]


def test_a_file_without_pages_has_none() -> None:
    found = drawn(result({**honest(), "total": 0, "pages": []}))
    assert (found.total, found.pieces) == (0, ())


# ---------------------------------------------------------------------------------------------------------------- mutants


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_document_is_corrupt_or_stays_within_the_file(data: st.DataObject) -> None:
    document = honest()
    value = data.draw(st.integers(-2, 20) | json_values)
    told = result(changed(document, data.draw(st.sampled_from(places(document))), value))
    try:
        found = drawn(told)
    except Corrupt:
        return
    assert inside([(piece.offset, piece.length) for piece in found.pieces])
    assert {piece.page for piece in found.pieces} <= {1, 2, 3}
    assert len(found.pieces) == 2 * len(found.pages)
    assert found.sections.keys() <= {"ocr"}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_sections_and_files_are_corrupt_or_stay_within_the_file(data: st.DataObject) -> None:
    for document, read in ((section(), read_section), (files(), read_files)):
        value = data.draw(st.integers(-2, 20) | json_values)
        told = result(changed(document, data.draw(st.sampled_from(places(document))), value))
        try:
            found: Any = read(*told)
        except Corrupt:
            continue
        parts = found[1] if read is read_section else found[0]
        assert inside([(part.offset, part.length) for part in parts])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(-5, 300) | st.booleans(), max_size=3) | json_values)
def test_any_bytes_and_any_place_of_the_document_are_corrupt(data: bytes, place: Any) -> None:
    for extra in ({"document": place}, {}, {"document": [0, len(data)]}):
        for read in (drawn, lambda told: read_section(*told), lambda told: read_files(*told)):
            try:
                read((io.BytesIO(data), dict(extra)))
            except Corrupt:
                continue
            json.loads(data)  # it happened to be a document


def test_a_picture_that_counts_twice_is_corrupt() -> None:
    """A small file is not to become thousands of uploads of the whole of it."""
    document = honest()
    document["pages"][1]["pictures"][0]["offset"] = 0
    with pytest.raises(Corrupt):
        drawn(result(document))


def test_pages_that_nobody_asked_for_are_corrupt() -> None:
    for pages in ("1", "2", "3-9"):
        with pytest.raises(Corrupt):
            drawn(result(honest()), pages)
    with pytest.raises(Corrupt):
        drawn(result(honest()), "all", most=1)


def test_more_pictures_than_a_job_may_have_are_corrupt() -> None:
    size = {"size": "a", "length": 1, "width": 1, "height": 1}
    pages = [
        {"page": number + 1, "width": 1, "height": 1, "pictures": [{**size, "offset": number}]}
        for number in range(MOST_PICTURES + 1)
    ]
    told = result({"total": len(pages), "pages": pages, "sections": {}, "faults": {}}, bytes(len(pages)))
    with pytest.raises(Corrupt):
        read_drawn(*told, names=["a"], readers=[], wanted=lambda total: range(1, total + 1))


@pytest.mark.parametrize(
    "text",
    [
        b'{"value": 1e999, "attached": []}',
        b'{"value": [-1e999], "attached": []}',
        b'{"value": NaN, "attached": []}',
        b'{"value": Infinity, "attached": []}',
        b'{"value": ' + b"[" * 100 + b"]" * 100 + b', "attached": []}',
        b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b', "attached": []}',
        b'{"value": ' + b"[[]," * 300 + b"1" + b"]" * 300 + b', "attached": []}',
        b'{"value": [' + b"[]," * 1_500_000 + b'1], "attached": []}',
        b'{"value": ' + b"9" * 5000 + b', "attached": []}',
        '{"value": "ä", "attached": []}'.encode("utf-16"),
        b'{"value": "\xed\xa0\x80", "attached": []}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b"",
    ],
    ids=lambda text: str(text[:24]),
)
def test_what_could_not_be_written_down_or_sent_is_corrupt(text: bytes) -> None:
    with pytest.raises(Corrupt):
        read_section(*raw(text))


def test_halves_of_characters_are_replaced_and_whole_ones_stay() -> None:
    value, _ = read_section(*raw(b'{"value": {"\\ud800": "a\\udfffb", "c": "\\ud83c\\udf88"}, "attached": []}'))
    assert value == {"?": "a?b", "c": "🎈"}
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a\nb", "a\x00b", "x" * 301, "\u202egpj.exe", 1, None])
def test_a_made_file_has_a_name_that_can_be_one(name: Any) -> None:
    document = files()
    document["files"][1]["name"] = name
    with pytest.raises(Corrupt):
        read_files(*result(document))


def test_an_attachment_is_named_once() -> None:
    document = section()
    document["attached"] *= 2
    document["attached"] = [{**one, "offset": number, "length": 1} for number, one in enumerate(document["attached"])]
    with pytest.raises(Corrupt):
        read_section(*result(document))


# ----------------------------------------------------------------------------------------------------------------- tokens


def test_texts_of_a_file_that_look_like_tokens_stay_what_they_are() -> None:
    addresses = {"attached:0123456789abcdef:0": "https://example.com/1"}
    value = {
        "attached:0123456789abcdef:0": ["attached:0123456789abcdef:0", "attached:0123456789abcdef:1"],
        "text": "see attached:0123456789abcdef:0",
        "other": {"deep": "attached:ffffffffffffffff:0", "number": 1},
    }
    assert replaced(value, addresses) == {
        "attached:0123456789abcdef:0": ["https://example.com/1", "attached:0123456789abcdef:1"],
        "text": "see attached:0123456789abcdef:0",
        "other": {"deep": "attached:ffffffffffffffff:0", "number": 1},
    }


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_replacing_nothing_changes_nothing(value: Any) -> None:
    assert replaced(value, {}) == value


# ------------------------------------------------------------------------------------------------------------- statistics


def test_of_a_conversion_numbers_and_codecs_are_recorded_and_tags_are_not() -> None:
    told = {
        "source": {
            "container": "mp4", "duration": 1.5, "tags": {"title": "secret"}, "note": "a\nsecret", "long": "x" * 41,
            "streams": [{"type": "video", "codec": "h264", "tags": {"artist": "secret"}}, "secret"],
        },
        "result": {"width": 100},
        "more": "secret",
    }  # fmt: skip
    assert _statistics(told) == {
        "source": {"container": "mp4", "duration": 1.5, "streams": [{"type": "video", "codec": "h264"}, {}]},
        "result": {"width": 100},
    }


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_statistics_of_anything_can_be_told(value: Any) -> None:
    found = _statistics({"source": value, "result": value})
    assert found.keys() == {"source", "result"}
    assert _statistics(value).keys() == {"source", "result"}
    json.dumps(found, allow_nan=False)


def test_numbers_that_json_has_are_numbers() -> None:
    value, _ = read_section(*raw(b'{"value": [1.5, -2e10, 1e-999, 12], "attached": []}'))
    assert value == [1.5, -2e10, 0.0, 12]
    assert all(math.isfinite(number) for number in value)
