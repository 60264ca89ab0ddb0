"""Preview requests of any shape are understood or refused by the name of a field, and mean the same after they were kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.engine.names import effective_path
from secure_delivery.engine.preview_job import cost_of, encoding, without_credentials
from secure_delivery.engine.preview_order import FORMATS, MOST_SIZES, FieldError, PreviewOrder, read_order
from secure_delivery.engine.previews import LocalFile, hint
from secure_delivery.gate.errors import BadRequest, CredentialConflict
from secure_delivery.plugin.previewing import PageRange
from secure_delivery.server.basic import read_basic

URL = "https://example.com/a.png"
FIELDS = ("url", "sizes", "size", "format", "metadata", "metadata_options", "pages", "data", "uploader", "callback_url")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=10
)
numbers = st.integers(0, 10_001).map(str)
sizes = st.one_of(
    numbers,
    st.builds("{}x{}{}".format, numbers | st.just(""), numbers | st.just(""), st.sampled_from(["", ">", ">>", " "])),
    st.integers(-2, 10_001),
    st.floats(),
    st.sampled_from(["", "original", "ORIGINAL", ">", "x", None, True]),
)
uploaders = st.fixed_dictionaries(
    {},
    optional={
        "destination": st.text(st.sampled_from("ab/.\\ \n\x00\u202e%é"), max_size=12) | anything,
        "public": st.booleans() | scalars,
        "headers": st.dictionaries(
            st.sampled_from(["Cache-Control", "x-amz-acl", "Content-Type", "Set-Cookie", "expires", "\ud800"]),
            st.text(st.characters(max_codepoint=0x101), max_size=8) | st.sampled_from(["public-read", "private"]),
        ),
    },
)
orders = st.fixed_dictionaries(
    {"url": st.sampled_from([URL, "http://user:p%20w@example.com/x"])},
    optional={
        "sizes": st.lists(sizes, max_size=40) | anything,
        "size": st.fixed_dictionaries({}, optional={"width": anything, "height": anything}) | anything,
        "format": st.sampled_from([*FORMATS, "JPG", ".png", "gif", ""]) | anything,
        "metadata": st.lists(st.sampled_from(["ocr", "exif", "all", "x-y", " "]) | anything, max_size=4) | anything,
        "metadata_options": st.dictionaries(st.text(max_size=5), anything, max_size=3) | anything,
        "pages": st.text(st.sampled_from("0123456789,- al"), max_size=12) | anything,
        "data": anything,
        "uploader": uploaders | anything,
        "callback_url": st.sampled_from(["https://example.com/hook", "ftp://a", "http://a\r\nb"]) | anything,
    },
)


def understood(body: Any) -> tuple[PreviewOrder, Any] | None:
    try:
        return read_order(body, base="https://here.example")
    except FieldError as fault:
        assert fault.param in FIELDS
        assert fault.status == 400
    except BadRequest:
        assert not isinstance(body, dict)
    return None


@settings(max_examples=600, deadline=None)
@given(orders | anything)
def test_any_body_is_understood_or_a_field_of_it_is_named(body: Any) -> None:
    found = understood(body)
    if found is None:
        return
    order, data = found
    assert 1 <= len(order.sizes) <= MOST_SIZES
    assert len({size.name for size in order.sizes}) == len(order.sizes), "results are told apart by the names of sizes"
    assert all(0 <= side <= 10_000 for size in order.sizes for side in (size.width, size.height))
    assert order.format in FORMATS
    assert PageRange.parse(order.pages)
    assert all(name.isprintable() and value.isprintable() and value.isascii() for name, value in order.headers.items())
    assert order.access in (None, "public", "private")
    if order.destination is not None:
        assert effective_path(order.destination) == f"/{order.destination}" or not order.destination.isascii()
    json.dumps([data, order.plain()], ensure_ascii=False, allow_nan=False).encode()
    hint(order.sizes)


@settings(max_examples=300, deadline=None)
@given(orders)
def test_what_is_kept_of_an_order_says_the_same(body: Any) -> None:
    found = understood(body)
    if found is None:
        return
    kept = json.loads(json.dumps({**found[0].plain(), "trusted": True, "unknown": 1}))
    assert PreviewOrder.restored(kept) == found[0]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sizes": [float("inf")]}, "sizes"),
        ({"sizes": float("-inf")}, "sizes"),
        ({"sizes": [float("nan")]}, "sizes"),
        ({"sizes": ["1x1"] * 31}, "sizes"),
        ({"sizes": ["10001x1"]}, "sizes"),
        ({"data": float("inf")}, "data"),
        ({"data": {"a": [float("nan")]}}, "data"),
        ({"data": "x" * 70_000}, "data"),
        ({"data": "\x00"}, "data"),
        ({"metadata_options": {"a": {"b": float("inf")}}}, "metadata_options"),
        ({"metadata_options": {"a": {"b": "x" * 70_000}}}, "metadata_options"),
        ({"uploader": {"destination": "a\nb"}}, "uploader"),
        ({"uploader": {"destination": "a\\..\\b"}}, "uploader"),
        ({"uploader": {"destination": "../a"}}, "uploader"),
        ({"uploader": {"destination": "a//b"}}, "uploader"),
        ({"uploader": {"destination": "\u202e"}}, "uploader"),
        ({"uploader": {"destination": "ä" * 301}}, "uploader"),
        ({"uploader": {"headers": {"Expires": "a\r\nb: c"}}}, "uploader"),
        ({"pages": "1-999999," * 300}, "pages"),
        ({"pages": "0"}, "pages"),
        ({"pages": "9-1"}, "pages"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FieldError) as found:
        read_order({"url": URL, **fields})
    assert found.value.param == param


def test_nesting_without_end_is_refused() -> None:
    deep: Any = "x"
    for _ in range(200_000):
        deep = [deep]
    for fields in ({"data": deep}, {"metadata_options": {"a": {"b": deep}}}):
        with pytest.raises(FieldError):
            read_order({"url": URL, **fields})
    while isinstance(deep, list):  # so that it does not go away by recursion
        deep = deep.pop()


# ------------------------------------------------------------------------------------------------------- pages and sizes


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 999_999), st.integers(0, 999_999)), min_size=1, max_size=200),
    st.integers(0, 10_000_000),
    st.integers(1, 100),
)
def test_pages_are_never_more_than_an_application_may_have(spans: list[tuple[int, int]], total: int, most: int) -> None:
    text = ",".join(f"{first}-{min(999_999, first + more)}" for first, more in spans)
    found = PageRange.parse(text).of(total, most)
    assert len(found) <= most
    assert list(found) == sorted(set(found))
    assert all(1 <= number <= total for number in found)


# ------------------------------------------------------------------------------------------------------------ addresses


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_name_and_a_password_leave_the_address_and_nothing_breaks(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}@example.com/a?b=c@d"):
        try:
            clean, headers = without_credentials(url)
        except BadRequest:
            continue
        assert set(headers) <= {"Authorization"}
        assert all(value.isascii() and value.isprintable() for value in headers.values())
        if url.startswith("http://") and not set(text) & set("/?#\\[]@\t\r\n") and "@example" in url:
            assert clean.startswith("http://example.com")


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_credentials_in_an_address_are_those_in_the_header(name: str, password: str) -> None:
    url = f"https://{quote(name, safe='')}:{quote(password, safe='')}@example.com/a.png?x=1"
    clean, headers = without_credentials(url)
    assert clean == "https://example.com/a.png?x=1"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"{name}:{password}"


def test_costs_are_told_by_names() -> None:
    assert cost_of(PreviewOrder(url="https://example.com/a.DOCX?x=.png")) == "heavy"
    assert cost_of(PreviewOrder(url="https://example.com/a.png")) == "light"
    assert cost_of(PreviewOrder(url="https://example.com/a.png", metadata=("ocr",))) == "heavy"
    assert cost_of(PreviewOrder(url="https://example.com/")) == "heavy"


# ---------------------------------------------------------------------------------------------------------- HTTP Basic


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda data: "Basic " + base64.b64encode(data).decode()))
def test_any_header_is_two_texts_or_a_conflict(header: str) -> None:
    try:
        name, password = read_basic(header)
    except CredentialConflict:
        assert "," in header
        return
    assert ":" not in name
    if header[:6].lower() != "basic ":
        assert (name, password) == ("", "")


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":"), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_was_encoded_is_read(name: str, password: str) -> None:
    assert read_basic("Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()) == (name, password)
    bent = base64.b64encode(name.encode()).decode() + ":"
    assert read_basic(f"bAsIc {bent}") == (name, "")


# ------------------------------------------------------------------------------------------------------------ encodings


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(65_530, 65_540))
def test_every_text_has_an_encoding_that_reads_its_beginning(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, pad: int
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "text"
    for data in (tail, b"a" * pad + tail):
        path.write_bytes(data)
        found = encoding(LocalFile(path=path, mimetype="text/plain", filename="a.txt", size=len(data)))
        assert found in ("us-ascii", "utf-8", "iso-8859-1", "utf-16le", "utf-16be")
        if found in ("us-ascii", "iso-8859-1"):
            data[:65_536].decode(found)
        if found == "utf-8":
            data[:65_536].decode("utf-8", "ignore" if len(data) > 65_533 else "strict")
        assert encoding(LocalFile(path=path, mimetype="image/png", filename="a", size=1)) == "binary"


@pytest.mark.parametrize("letter", ["ä", "€", "🎈"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_letter_that_the_look_ends_in_is_no_reason_against_utf_8(tmp_path: Path, letter: str, cut: int) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a" * (65_536 - min(cut, len(letter.encode()) - 1)) + letter.encode() + b"b")
    assert encoding(LocalFile(path=path, mimetype="text/plain", filename="a", size=1)) == "utf-8"
