"""Headers that results are to answer with: which are taken, and which values are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import BadRequest
from secure_delivery.plugin.answers import answer_headers


def test_names_have_no_case_and_what_is_not_of_the_four_is_left_out() -> None:
    given = {"CACHE-control": " no-store ", "expires": "0", "x-amz-acl": "public-read", "Content-Type": "a/b\r\nc"}
    assert answer_headers(given) == {"cache-control": "no-store", "expires": "0"}
    assert answer_headers({"Content-Language": "", "Content-Disposition": "  "}) == {}


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\tb", "é", "\x00", "\x7f", "\ud800", "x" * 2001])
def test_a_value_that_is_none_is_named(value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        answer_headers({"Content-Language": value})
    assert "content-language" in caught.value.public


@given(st.text(max_size=40))
def test_any_value_arrives_as_one_line_of_ascii_or_is_refused(value: str) -> None:
    try:
        kept = answer_headers({"Cache-Control": value})
    except BadRequest:
        return
    assert kept.get("cache-control", "") == value.strip(" ")
    assert value.isascii() and all(32 <= ord(letter) < 127 for letter in value)
