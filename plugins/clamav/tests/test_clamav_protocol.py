"""What is said to clamd and what its answers mean, byte for byte."""

from __future__ import annotations

import struct
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.gate.errors import Busy
from secure_delivery.plugin import TooLarge
from secure_delivery_clamav import protocol

pieces = st.lists(st.binary(min_size=1, max_size=300), max_size=20)
answers = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda name: b"stream: " + name + b" FOUND"),
    st.sampled_from([b"stream: OK", b"INSTREAM size limit exceeded. ERROR"]),
)
#: Nearly "clean", in all the ways that come to mind.
NEARLY = [
    b"", b"OK", b"stream: ok", b"stream:OK", b" stream: OK", b"stream: OK ", b"stream: OK\n", b"stream: OK\r", b"1: stream: OK",
    b"stream: OK OK", b"stream: OKAY", b"stream: NOT OK", b"stream: FOUND OK", b"Stream: OK", b"stream: \xefOK", b"PONG",
    b"UNKNOWN COMMAND", b"stream: Can't allocate memory ERROR", b"COMMAND READ TIMED OUT", b"stream: X found", b"X FOUND",
    b"stream: FOUND", b"stream: X FOUND ", b"stream: X FOUND\n", b"INSTREAM size limit exceeded. ERROR. stream: OK",
]  # fmt: skip


def whole(data: bytes) -> bytes:
    answer = protocol.AnswerReader().feed(data)
    assert answer is not None
    return answer


# --------------------------------------------------------------------------------------------------------- what is said


@given(pieces)
def test_what_is_framed_reads_back_as_the_file(parts: list[bytes]) -> None:
    sent = b"".join(map(protocol.framed, parts)) + protocol.END
    found, place = [], 0
    while length := struct.unpack_from("!I", sent, place)[0]:
        found.append(sent[place + 4 : place + 4 + length])
        place += 4 + length
    assert found == parts
    assert place + 4 == len(sent), "the end is the end"


def test_a_piece_without_bytes_cannot_end_a_file_by_accident() -> None:
    with pytest.raises(ValueError, match="at least"):
        protocol.framed(b"")


# ------------------------------------------------------------------------------------------------------ what is answered


@given(st.binary(max_size=200).filter(lambda data: b"\0" not in data), st.lists(st.integers(0, 200), max_size=6))
def test_an_answer_is_the_same_however_it_arrives(answer: bytes, cuts: list[int]) -> None:
    data = answer + b"\0"
    places = sorted({cut for cut in cuts if 0 < cut < len(data)})
    parts = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    reader = protocol.AnswerReader()
    *before, last = [reader.feed(part) for part in parts]
    assert before == [None] * len(before)
    assert last == answer


@pytest.mark.parametrize("data", [b"stream: OK\0stream: X FOUND\0", b"stream: OK\0\0", b"stream: OK\0\n", b"\0\0"])
def test_two_answers_are_none(data: bytes) -> None:
    with pytest.raises(Busy, match="more than its answer"):
        protocol.AnswerReader().feed(data)


@pytest.mark.parametrize("before", [b"", b"stream: OK", b"stream: OK\n"])
def test_an_answer_that_is_cut_off_is_none(before: bytes) -> None:
    reader = protocol.AnswerReader()
    if before:
        assert reader.feed(before) is None
    with pytest.raises(Busy, match="closed the connection"):
        reader.feed(b"")


def test_an_answer_without_an_end_is_not_collected_for_ever() -> None:
    reader = protocol.AnswerReader()
    with pytest.raises(Busy, match="without an end"):
        for _ in range(5):
            reader.feed(b"x" * 1024)
    with pytest.raises(Busy, match="without an end"):
        protocol.AnswerReader().feed(b"x" * 5000 + b"\0")


# -------------------------------------------------------------------------------------------------------- what it means


def test_clean_is_what_clamd_calls_clean() -> None:
    assert protocol.judge(whole(b"stream: OK\0"), complete=True) is None


def test_clean_before_the_end_of_the_file_is_not_clean() -> None:
    with pytest.raises(Busy, match="before it had the whole file"):
        protocol.judge(b"stream: OK", complete=False)


@pytest.mark.parametrize("answer", NEARLY)
@pytest.mark.parametrize("complete", [True, False])
def test_nearly_clean_and_nearly_found_are_faults(answer: bytes, complete: bool) -> None:
    with pytest.raises(Busy):
        protocol.judge(answer, complete=complete)


@given(answers, st.booleans())
def test_no_answer_but_the_one_is_clean(answer: bytes, complete: bool) -> None:
    try:
        verdict = protocol.judge(answer, complete=complete)
    except (Busy, TooLarge):
        return
    if verdict is None:
        assert (answer, complete) == (b"stream: OK", True)
    else:
        assert answer.startswith(b"stream: ")
        assert answer.endswith(b" FOUND")
        assert 1 <= len(verdict) <= 200
        assert verdict == verdict.strip()
        assert all(unicodedata.category(one)[0] != "C" for one in verdict)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"stream: Win.Test.EICAR_HDB-1 FOUND", "Win.Test.EICAR_HDB-1"),
        (b"stream: Own.Marker.UNOFFICIAL FOUND", "Own.Marker.UNOFFICIAL"),
        (b"stream: Eicar(44d88612fea8a8f36de82e1278abb02f:68) FOUND", "Eicar(44d88612fea8a8f36de82e1278abb02f:68)"),
        (b"stream: OK FOUND", "OK"),
        (b"stream: a FOUND FOUND", "a FOUND"),
        (b"stream:  FOUND", "a signature without a name"),
        (b"stream: \x1b[2J\x07\x7f FOUND", "[2J"),
        (b"stream: one\r\ntwo\tthree FOUND", "one two three"),
        ("stream: a\u202egpj.exe\u200b\u2028b FOUND".encode(), "agpj.exe b"),
        (b"stream: \xff\xfe FOUND", "\ufffd\ufffd"),
        (b"stream: " + b"n" * 3000 + b" FOUND", "n" * 200),
    ],
)
def test_a_name_is_told_as_one_harmless_line(answer: bytes, name: str, complete: bool) -> None:
    """Found is found, also before the end."""
    assert protocol.judge(answer, complete=complete) == name


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        b"INSTREAM size limit exceeded. ERROR",
        b"stream: Heuristics.Limits.Exceeded FOUND",
        b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND",
        b"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND",
    ],
)
def test_a_file_that_was_not_looked_through_is_too_large_and_not_infected(answer: bytes, complete: bool) -> None:
    with pytest.raises(TooLarge) as caught:
        protocol.judge(answer, complete=complete)
    assert caught.value.status == 413
    assert caught.value.public == "The file is larger than what can be checked for viruses here."


def test_what_clamd_says_reaches_the_log_and_no_client() -> None:
    with pytest.raises(Busy) as caught:
        protocol.judge(b"stream: /var/tmp/secret: lstat() failed. ERROR", complete=True)
    assert "/var/tmp/secret" in str(caught.value)
    assert caught.value.public == Busy.sentence
    assert caught.value.status == 503
