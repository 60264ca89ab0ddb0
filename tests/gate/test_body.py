"""What the gate reads of bodies: a credential at the beginning, and how many bytes are really uploaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secure_delivery.gate.body import PEEK, Peek, SizeMeter
from secure_delivery.gate.errors import BadRequest, CredentialConflict, Reason, SecureDeliveryError, TooLarge
from secure_delivery.gate.model import Decision
from secure_delivery.gate.policy import SignedPolicy

POLICY = "eyJleHBpcnkiOjE5MDAwMDAwMDB9IA=="
STANDARD = "ab+/cd=="
SIGNATURE = "5f" * 32
SIGNED = SignedPolicy(POLICY, SIGNATURE)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=frontier"

relaxed = settings(deadline=None)


def pieces(body: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
    """The body in pieces of *size* bytes, each with whether more follow."""
    starts = range(0, max(len(body), 1), size)
    for start in starts:
        yield body[start : start + size], start + size < len(body)


def peek(content_type: str | None, body: bytes, size: int = 1 << 30) -> SignedPolicy | None:
    """What is found in a body that comes in pieces, read only for as long as more is wanted."""
    found = Peek(content_type)
    for piece, more in pieces(body, size):
        if not found.feed(piece, more=more):
            break
    return found.signed()


def part(name: str, value: bytes | str, *, filename: str | None = None, extra: str = "") -> bytes:
    text = value.encode() if isinstance(value, str) else value
    file = "" if filename is None else f'; filename="{filename}"'
    return f'--frontier\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{extra}\r\n'.encode() + text + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--frontier--\r\n"


def meter(
    content_type: str | None, body: bytes, *, low: int | None = None, high: int | None = None, size: int = 1 << 30
) -> Any:
    """The reason to refuse a body that comes in pieces, or None."""
    counting = SizeMeter(Decision(allowed=True, reason=Reason.OK, min_size=low, max_size=high), content_type)
    for piece, _ in pieces(body, size):
        reason = counting.feed(piece)
        if reason is not None:
            return reason
    return counting.end()


# ---------------------------------------------------------------------------------------------------- finding credentials

_FOUND = [
    ("json", JSON, json.dumps({"policy": POLICY, "signature": SIGNATURE}).encode()),
    ("json in security", JSON, json.dumps({"a": [1], "security": {"policy": POLICY, "signature": SIGNATURE}}).encode()),
    ("json with charset", "Application/JSON; charset=utf-8", json.dumps(SIGNED.as_fields()).encode()),
    ("form", FORM, urlencode(SIGNED.as_fields()).encode()),
    ("form among others", FORM, b"a=1&" + urlencode(SIGNED.as_fields()).encode() + b"&policys=2"),
    ("form unescaped", FORM, f"policy={POLICY}&signature={SIGNATURE}".encode()),
    ("multipart", MULTIPART, multipart(part("policy", POLICY), part("signature", SIGNATURE))),
    (
        "multipart before a file",
        MULTIPART,
        multipart(part("x", "y"), part("signature", SIGNATURE), part("policy", POLICY), part("f", b"\0" * 5000, filename="f")),
    ),
    (
        "multipart quoted boundary",
        'multipart/form-data; boundary="frontier"',
        multipart(part("policy", POLICY), part("signature", SIGNATURE)),
    ),
    ("multipart with a preamble", MULTIPART, b"hello\r\n" + multipart(part("policy", POLICY), part("signature", SIGNATURE))),
]


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 30])
@pytest.mark.parametrize(("kind", "content_type", "body"), _FOUND, ids=[each[0] for each in _FOUND])
def test_a_credential_is_found_however_the_body_is_cut(kind: str, content_type: str, body: bytes, size: int) -> None:
    """JSON, form or multipart, in pieces of any size."""
    assert peek(content_type, body, size) == SIGNED


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b'{"policy":"a","signature":"b"}'),
        ("", b"policy=a&signature=b"),
        ("text/plain", b"policy=a&signature=b"),
        ("application/octet-stream", b"policy=a&signature=b"),
        ("multipart/form-data", b"policy=a&signature=b"),
        ("multipart/mixed; boundary=frontier", multipart(part("policy", "a"))),
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b'["policy"]'),
        (JSON, b'"policy"'),
        (JSON, b"[" * 60_000),
        (JSON, b"9" * 6000),
        (JSON, b'{"a":{"policy":"a","signature":"b"}}'),
        (JSON, b'{"security":"policy"}'),
        (JSON, b'{"policy":null,"signature":null,"security":null}'),
        (JSON, b"\xff\xfe{}"),
        (JSON, '{"policy":"a","signature":"b"}'.encode("utf-16")),
        (FORM, b""),
        (FORM, b"Policy=a&signatures=b"),
        (MULTIPART, multipart()),
        (MULTIPART, multipart(part("file", b"policy", filename="policy"))),
        (MULTIPART, b"no multipart at all"),
        (MULTIPART, multipart(part("f", b"1", filename="a"), part("policy", "a"), part("signature", "b"))),
    ],
)
def test_nothing_is_found_where_nothing_is_shown(content_type: str | None, body: bytes) -> None:
    """Other types, other names, broken bodies: the app gets them as they are and will say what is wrong."""
    assert peek(content_type, body) is None


@pytest.mark.parametrize(
    ("content_type", "body", "found"),
    [
        (JSON, b'{"policy":"a"}', SignedPolicy("a", "")),
        (JSON, b'{"security":{"signature":"b"}}', SignedPolicy("", "b")),
        (JSON, b'{"policy":5,"signature":7}', SignedPolicy("", "")),
        (JSON, b'{"policy":["a"],"signature":"b"}', SignedPolicy("", "b")),
        (JSON, b'{"policy":false}', SignedPolicy("", "")),
        (JSON, b'{"policy":"a","signature":null}', SignedPolicy("a", "")),
        (FORM, b"policy=a", SignedPolicy("a", "")),
        (FORM, b"policy", SignedPolicy("", "")),
        (MULTIPART, multipart(part("policy", "a")), SignedPolicy("a", "")),
        (MULTIPART, multipart(part("policy", "")), SignedPolicy("", "")),
    ],
)
def test_half_a_credential_is_a_bad_one(content_type: str, body: bytes, found: SignedPolicy) -> None:
    """Security promise 8: what is shown and cannot be right is refused later, never taken for nothing."""
    assert peek(content_type, body) == found


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"policy":"a","signature":"b","policy":"a"}'),
        (JSON, b'{"policy":"a","signature":"b","security":{"policy":"a","signature":"b"}}'),
        (JSON, b'{"security":{"policy":"a","policy":"b"}}'),
        (JSON, b'{"security":{},"security":{"policy":"a"}}'),
        (JSON, b'{"\\u0070olicy":"a","policy":"b"}'),
        (FORM, b"policy=a&signature=b&policy=a"),
        (FORM, b"signature=a&signature=b"),
        (MULTIPART, multipart(part("policy", "a"), part("policy", "b"))),
        (MULTIPART, multipart(part("policy", ""), part("policy", ""))),
    ],
)
def test_two_credentials_are_a_conflict(content_type: str, body: bytes) -> None:
    """Security promise 7: none is chosen over another."""
    with pytest.raises(CredentialConflict) as caught:
        peek(content_type, body)
    assert caught.value.status == 400


def test_a_plus_survives_a_form() -> None:
    """A policy of the standard alphabet arrives whole, escaped or not."""
    assert peek(FORM, f"policy={STANDARD}&signature=5f".encode()) == SignedPolicy(STANDARD, "5f")
    assert peek(FORM, f"policy={quote_plus(STANDARD)}&signature=5f".encode()) == SignedPolicy(STANDARD, "5f")


def test_values_with_bytes_outside_ascii_are_kept_apart() -> None:
    """They can be in no credential; they are passed on as some text that verifies nothing, and do not raise."""
    assert peek(FORM, b"policy=\xff&signature=%ff") is not None
    assert peek(MULTIPART, multipart(part("policy", b"\xff\xfe"), part("signature", b"\xff"))) is not None


@pytest.mark.parametrize("content_type", [JSON, FORM])
@pytest.mark.parametrize("size", [1000, PEEK, 1 << 30])
def test_json_and_forms_are_bounded(content_type: str, size: int) -> None:
    """64 KiB are read, and one byte more is refused as soon as it is seen."""
    body = b'{"policy":"a","signature":"b"' + b" " * (PEEK - 30) + b"}"
    assert len(body) == PEEK
    if content_type == JSON:
        assert peek(content_type, body, size) == SignedPolicy("a", "b")
    else:
        assert peek(content_type, b"x=" + b"y" * (PEEK - 2), size) is None
    with pytest.raises(TooLarge):
        peek(content_type, body + b" ", size)


@pytest.mark.parametrize("size", [100, 65_536, 1 << 30])
def test_a_large_file_is_not_peeked_into(size: int) -> None:
    """The first file ends the search: no more pieces are wanted, however large the piece in which it begins."""
    body = multipart(part("policy", POLICY), part("signature", SIGNATURE), part("file", b"x" * 1_000_000, filename="big"))
    found, fed = Peek(MULTIPART), 0
    for piece, more in pieces(body, size):
        fed += 1
        if not found.feed(piece, more=more):
            break
    assert found.signed() == SIGNED
    assert fed <= 5
    assert not found.feed(b"more", more=True)


def test_long_fields_end_the_search() -> None:
    """64 KiB of other fields are enough: what comes later was put too late."""
    body = multipart(part("a", b"x" * 2 * PEEK), part("policy", "a"), part("signature", "b"))
    assert peek(MULTIPART, body, 4096) is None


_FIELD = b'--frontier\r\nContent-Disposition: form-data; name="a"'
_FILE = b'--frontier\r\nContent-Disposition: form-data; name="f"; filename="f"'


@pytest.mark.parametrize("size", [1, 1 << 30])
@pytest.mark.parametrize(
    "body",
    [
        b"--frontier\r\nNo-Disposition: x\r\n\r\nhello\r\n--frontier--\r\n",
        b"--frontier\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\nContent-Disposition: form-data; filename=x\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b";\r\n filename=x\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\n\nhello\r\n--frontier--\r\n\r\n",
        _FIELD + b"\r\nnocolon\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\n: x\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\nX : x\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\nX: a\0b\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\nX: --frontier\r\n\r\nhello\r\n--frontier--\r\n",
        _FIELD + b"\r\n\r\nhello\n--frontier--\r\n",
        _FIELD + b"\r\n\r\nhello\r--frontier--\r\n",
        _FIELD + b"\r\n\r\nhello--frontier--\r\n",
        _FIELD + b"\r\n\r\n--frontier--\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier \r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier\t\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier\n\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier\r\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier-\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier2\r\n",
        _FIELD + b"\r\n\r\nhello\r\n--frontier--\r\n" + _FILE + b"\r\n\r\nuncounted\r\n--frontier--",
        b"text" + _FIELD + b"\r\n\r\nhello\r\n--frontier--\r\n",
        b"\n" + _FIELD + b"\r\n\r\nhello\r\n--frontier--\r\n",
    ],
)
def test_what_two_parsers_read_differently_is_refused(body: bytes, size: int) -> None:
    """The app has a parser of its own: a delimiter or header that only one of them sees would hide a file from counting."""
    for work in (lambda: peek(MULTIPART, body, size), lambda: meter(MULTIPART, body, high=50, size=size)):
        with pytest.raises(BadRequest) as caught:
            work()
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; BOUNDARY =b",
        "multipart/form-data; boundary=a; boundary*=utf-8''b",
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="é"',
        'multipart/form-data; boundary="a\\"b"',
    ],
)
def test_doubtful_boundaries_are_refused(content_type: str) -> None:
    """One boundary, as RFC 2046 spells them."""
    for work in (lambda: Peek(content_type), lambda: meter(content_type, b"any", high=5)):
        with pytest.raises(BadRequest):
            work()


@pytest.mark.parametrize(
    "boundary", ["----WebKitFormBoundary7MA4YWxkTrZu0gW", "------------------------d74496d66958873e", "=_x", "a" * 70]
)
def test_boundaries_of_the_field_are_read(boundary: str) -> None:
    """Browsers, curl and mail libraries."""
    body = multipart(part("f", b"x" * 10, filename="f")).replace(b"frontier", boundary.encode())
    for size in (1, 1 << 30):
        assert meter(f'multipart/form-data; boundary="{boundary}"', body, low=10, high=10, size=size) is None
        assert meter(f'multipart/form-data; boundary="{boundary}"', body, high=9, size=size) is Reason.TOO_BIG


@pytest.mark.parametrize(
    "head",
    [
        'form-data; name="f"; filename=""',
        'form-data; name="f"; FileName=x',
        "form-data; name=f; filename*=utf-8''x",
        "form-data; name=f; filename*0=x",
        'form-data; name="f; filename=x"',
        "attachment; filename=x",
    ],
)
def test_whatever_may_be_a_file_is_counted(head: str) -> None:
    """Parsers differ in which parts they call files: one that any of them could is counted."""
    body = f"--frontier\r\nContent-Disposition: {head}\r\n\r\n{'x' * 100}\r\n--frontier--\r\n".encode()
    assert meter(MULTIPART, body, high=99) is Reason.TOO_BIG
    assert meter(MULTIPART, body, high=100) is None


@pytest.mark.parametrize("size", [1000, 1 << 30])
@pytest.mark.parametrize("kind", ["field", "fields", "preamble", "epilogue"])
def test_what_is_no_file_is_bounded(kind: str, size: int) -> None:
    """An app that keeps the body as it came does not get more than 64 KiB past the bound of the policy."""
    large = b"x" * (PEEK + 1)
    body = {
        "field": multipart(part("a", large)),
        "fields": multipart(*(part(f"f{index}", b"x" * 1000) for index in range(80))),
        "preamble": large + b"\r\n" + multipart(part("a", "b")),
        "epilogue": multipart(part("a", "b")) + large + b"\r\n" * 20,
    }[kind]
    with pytest.raises(TooLarge):
        meter(MULTIPART, body, high=5, size=size)


def test_many_parts_are_too_many() -> None:
    """Security promise 41: a hundred fields."""
    hundred = [part(f"f{index}", "x") for index in range(100)]
    assert peek(MULTIPART, multipart(*hundred)) is None
    for work in (
        lambda: peek(MULTIPART, multipart(*hundred, hundred[0])),
        lambda: meter(MULTIPART, multipart(*hundred, hundred[0])),
    ):
        with pytest.raises(TooLarge):
            work()


def test_endless_headers_are_too_long() -> None:
    """Headers of a part are kept while they are read: 16 KiB at the most."""
    for tail in (b"", b"\r\n\r\nx\r\n--frontier--"):
        for size in (500, 1 << 30):
            with pytest.raises(TooLarge):
                meter(MULTIPART, b"--frontier\r\nX-Long: " + b"x" * 20_000 + tail, high=10, size=size)


# --------------------------------------------------------------------------------------------------------- counting bytes


@pytest.mark.parametrize("size", [1, 3, 1 << 30])
@pytest.mark.parametrize(
    ("length", "reason"),
    [(9, Reason.TOO_SMALL), (10, None), (15, None), (20, None), (21, Reason.TOO_BIG), (0, Reason.TOO_SMALL)],
)
@pytest.mark.parametrize("wrap", ["raw", "multipart"])
def test_sizes_are_exact_and_inclusive(wrap: str, length: int, reason: Reason | None, size: int) -> None:
    """Security promise 17: of a raw body every byte counts, of a multipart one exactly those of the file."""
    content = (b"\r\n--frontie" * 5)[:length]
    if wrap == "raw":
        assert meter("image/png", content, low=10, high=20, size=size) is reason
    else:
        body = multipart(part("before", b"x" * 100), part("f", content, filename="f"), part("after", b"x" * 100))
        assert meter(MULTIPART, body, low=10, high=20, size=size) is reason


def test_each_file_counts_by_itself() -> None:
    """Bounds are per file: two that fit are fine, and one that does not is enough."""
    fits, over, under = part("f", b"x" * 15, filename="a"), part("g", b"x" * 25, filename="b"), part("h", b"x", filename="c")
    assert meter(MULTIPART, multipart(fits, fits), low=10, high=20) is None
    assert meter(MULTIPART, multipart(fits, over), low=10, high=20) is Reason.TOO_BIG
    assert meter(MULTIPART, multipart(under, fits), low=10, high=20) is Reason.TOO_SMALL


def test_a_form_without_a_file_has_no_size() -> None:
    """Fields alone upload nothing that could be too small."""
    assert meter(MULTIPART, multipart(part("a", "b")), low=10) is None


@pytest.mark.parametrize(
    ("length", "reason"), [(9, Reason.TOO_SMALL), (10, None), (20, None), (21, Reason.TOO_BIG), (0, Reason.TOO_SMALL)]
)
def test_a_file_that_is_cut_off_counts_as_it_is(length: int, reason: Reason | None) -> None:
    """Some parsers take the end of the body for the end of the file; the bounds hold for what they then keep."""
    body = _FILE + b"\r\n\r\n" + b"x" * length
    for size in (1, 1 << 30):
        assert meter(MULTIPART, body, low=10, high=20, size=size) is reason


def test_too_much_is_known_before_the_end() -> None:
    """The bound is broken in the piece that breaks it, and everything after it is refused for the same reason."""
    counting = SizeMeter(Decision(allowed=True, reason=Reason.OK, max_size=5), "image/png")
    assert [counting.feed(b"xxxx"), counting.feed(b"x"), counting.feed(b"x"), counting.feed(b"")] == [
        None,
        None,
        Reason.TOO_BIG,
        Reason.TOO_BIG,
    ]
    assert counting.end() is Reason.TOO_BIG


@pytest.mark.parametrize("size", [1000, 65_536, 100_000, 1 << 30])
def test_large_uploads_in_large_pieces(size: int) -> None:
    """Servers hand over pieces of any size; a megabyte in one piece is no different from many small ones."""
    body = multipart(part("policy", POLICY), part("f", b"\n-x" * 400_000, filename="f"))
    assert meter(MULTIPART, body, high=1_200_000, size=size) is None
    assert meter(MULTIPART, body, high=1_199_999, size=size) is Reason.TOO_BIG


@pytest.mark.parametrize("size", [1, 1000, 1 << 30])
def test_what_surrounds_the_parts_does_not_count(size: int) -> None:
    """A preamble or an epilogue is no file."""
    body = b"preamble\r\n" + multipart(part("f", b"x" * 10, filename="f")) + b"epilogue " * 50
    assert meter(MULTIPART, body, low=10, high=10, size=size) is None
    fields = multipart(part("policy", POLICY), part("signature", SIGNATURE)) + b"epilogue " * 50
    assert peek(MULTIPART, fields, size) == SIGNED


# ------------------------------------------------------------------------------------------------------------ properties

_types = st.sampled_from([None, "", JSON, FORM, MULTIPART, "multipart/form-data; boundary=", "text/plain"]) | st.text(
    max_size=40
)
_fragments = st.lists(
    st.sampled_from(
        [
            b"--frontier\r\n",
            b"--frontier--",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"--",
            b"-",
            b"policy",
            b"signature",
            b"=",
            b"&",
            b'Content-Disposition: form-data; name="policy"',
            b'; filename="x"',
            b"{",
            b'"',
            b":",
            b"x" * 100,
            b"\xff",
            b"\0",
        ]
    )
    | st.binary(max_size=8),
    max_size=25,
).map(b"".join)


@relaxed
@given(content_type=_types, body=_fragments, size=st.integers(1, 60))
@example(content_type=MULTIPART, body=b"--frontier\r\n\r\n", size=1)
@example(content_type=MULTIPART, body=b"--frontier\r\n: \r\n\r\n\r\n--frontier", size=3)
def test_any_body_is_answered(content_type: str | None, body: bytes, size: int) -> None:
    """Whatever is sent as whatever: an answer, or one of the faults that clients are told about."""
    for work in (lambda: peek(content_type, body, size), lambda: meter(content_type, body, low=3, high=9, size=size)):
        try:
            work()
        except SecureDeliveryError as fault:
            assert 400 <= fault.status < 500


@relaxed
@given(
    contents=st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=4),
    size=st.integers(1, 80),
    low=st.integers(0, 40),
    high=st.integers(0, 60),
)
def test_counting_agrees_with_the_files(contents: list[tuple[bool, bytes]], size: int, low: int, high: int) -> None:
    """For any files and fields, cut anywhere, the verdict is that of the first file that breaks a bound."""
    parts = [part("n", content, filename="f" if is_file else None) for is_file, content in contents]
    expected: Reason | None = None
    for is_file, content in contents:
        if is_file and expected is None:
            expected = Reason.TOO_BIG if len(content) > high else Reason.TOO_SMALL if len(content) < low else None
    assert meter(MULTIPART, multipart(*parts), low=low, high=high, size=size) is expected


@relaxed
@given(
    fields=st.dictionaries(st.sampled_from(["policy", "signature", "other"]), st.text("abc+/=-_ 5&%é", max_size=20)),
    size=st.integers(1, 50),
    encode=st.sampled_from(["json", "form", "multipart"]),
)
def test_all_three_ways_carry_the_same_credential(fields: dict[str, str], size: int, encode: str) -> None:
    """JSON, form and multipart differ in nothing: a blank in a form stands for a plus, which is all a policy can hold."""
    ways: dict[str, Callable[[], tuple[str, bytes]]] = {
        "json": lambda: (JSON, json.dumps(fields).encode()),
        "form": lambda: (FORM, urlencode(fields).encode()),
        "multipart": lambda: (MULTIPART, multipart(*(part(name, value.encode("latin-1")) for name, value in fields.items()))),
    }
    found = peek(*ways[encode](), size)
    if not {"policy", "signature"} & set(fields):
        assert found is None
    else:
        shown = [fields.get("policy", ""), fields.get("signature", "")]
        assert found == SignedPolicy(*([each.replace(" ", "+") for each in shown] if encode == "form" else shown))
