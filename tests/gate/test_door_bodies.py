"""Bodies through both doors, over real sockets: they reach the app as they were sent, or nothing of them remains."""

from __future__ import annotations

import gc
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from door_apps import basic, sign

# A form parser that is stopped half-way leaves its temporary file to the garbage collector, here as for any client that
# goes away; in this process that is a warning, which belongs to no test but these.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

APPROVED = "https://app.example.com"
BIG = random.Random(7).randbytes(5_000_000)
BOUNDARY = "----frontier"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
MULTIPART = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
BINARY = ("Content-Type", "application/octet-stream")


def pieces(body: bytes, size: int = 70_001) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A form of (name, filename, content), where no filename makes a field."""
    body = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def folder(published: Path) -> Path:
    """The folder that uploads are published in, empty at first."""
    for path in published.iterdir():
        path.unlink()
    return published


# ------------------------------------------------------------------------------------------------------- they get there


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_five_megabytes_pass_byte_exact_while_they_are_counted(stack: Any, folder: Path, chunked: bool) -> None:
    """A bounded policy makes the door count; the app gets the very bytes, and its `read(n)` loop works."""
    if chunked and not stack.dechunks:
        pytest.skip("Django under WSGI takes a body without a length for empty")
    target = f"/store/a/b?{sign(max_size=len(BIG)).as_query()}"
    answer = stack("secured", "PUT", target, headers=[BINARY], **({"chunks": pieces(BIG)} if chunked else {"body": BIG}))

    assert (answer.status, answer.json["sha256"]) == (201, digest(BIG))
    assert [path.read_bytes() == BIG for path in folder.iterdir()] == [True]


@pytest.mark.parametrize("counted", [False, True], ids=["unbounded", "counted"])
def test_a_policy_in_a_json_body_is_found_and_the_body_arrives_whole(stack: Any, folder: Path, counted: bool) -> None:
    """The rule lets the policy travel in the body, of which the door reads the beginning and gives it back."""
    signed = sign(call=["pick"], max_size=100_000 if counted else None)
    body = json.dumps({**signed.as_fields(), "note": "ü" * 20_000}, ensure_ascii=False).encode()
    answer = stack("secured", "POST", "/upload", headers=[("Content-Type", "application/json; charset=utf-8")], body=body)

    assert (answer.status, answer.json["sha256"]) == (201, digest(body))


@pytest.mark.parametrize("counted", [False, True], ids=["unbounded", "counted"])
def test_a_policy_in_a_form_is_found_and_the_framework_still_parses_it(stack: Any, counted: bool) -> None:
    """A urlencoded form with the credential among its fields."""
    signed = sign(call=["pick"], max_size=100_000 if counted else None)
    answer = stack("secured", "POST", "/form", headers=[FORM], body=f"{signed.as_query()}&name=a+b%26c".encode())

    assert answer.status == 200
    assert answer.json["fields"] == {**signed.as_fields(), "name": "a b&c"}


@pytest.mark.parametrize("counted", [False, True], ids=["unbounded", "counted"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_policy_before_the_file_of_a_multipart_form_is_found(stack: Any, counted: bool, chunked: bool) -> None:
    """The framework's own parser gets the form, larger than what the door looked at."""
    if chunked and stack.framework == "django":
        pytest.skip("Django parses no form without a length")
    file = BIG[:300_000]
    signed = sign(call=["pick"], max_size=len(file) if counted else None)
    fields = [(name, None, value.encode()) for name, value in signed.as_fields().items()]
    body = multipart(*fields, ("file", "a.bin", file))
    sent = {"chunks": pieces(body)} if chunked else {"body": body}
    answer = stack("secured", "POST", "/form", headers=[MULTIPART], **sent)

    assert answer.status == 200
    assert answer.json == {"view": "form", "fields": signed.as_fields(), "files": {"file": digest(file)}}


def test_an_upload_that_shows_the_secret_is_not_bounded(stack: Any, folder: Path) -> None:
    """HTTP Basic carries no bounds."""
    answer = stack(
        "secured", "PUT", "/photos/x", headers=[basic("k3y-of-the-doors-Zq7Lw2Xv9Bn4Tf6Yh1Rm8Jd5Gs0Pc")], body=BIG[:9]
    )

    assert (answer.status, answer.json["size"]) == (201, 9)


# -------------------------------------------------------------------------------------------------------- or they do not


#: Bytes beyond which a refused body may be cut off: a server reads about so many ahead of the app.
MUCH = 50_000


class Sized(NamedTuple):
    """A body of so many bytes under bounds, and what becomes of it."""

    size: int
    bounds: dict[str, int]
    status: int
    code: str | None


SIZES = [
    Sized(40_000, {"max_size": 40_000}, 201, None),
    Sized(40_001, {"max_size": 40_000}, 413, "too_large"),
    Sized(100, {"min_size": 100}, 201, None),
    Sized(99, {"min_size": 100}, 403, "too_small"),
    Sized(0, {"max_size": 0}, 201, None),
    Sized(1, {"max_size": 0}, 413, "too_large"),
    Sized(5_000_000, {"max_size": 40_000}, 413, "too_large"),
]


@pytest.mark.parametrize("case", SIZES, ids=lambda case: f"{case.size} within {case.bounds}")
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_bounds_are_inclusive_and_nothing_of_a_refused_upload_remains(
    stack: Any, folder: Path, case: Sized, chunked: bool
) -> None:
    """A raw body is judged on its length before it is read, or counted while it comes (security promise 17)."""
    if chunked and not stack.dechunks:
        pytest.skip("Django under WSGI takes a body without a length for empty")
    body = BIG[: case.size]
    target = f"/store/a?{sign(**case.bounds).as_query()}"
    sent = {"chunks": pieces(body)} if chunked else {"body": body}
    answer = (stack.or_cut if case.size > MUCH else stack)("secured", "PUT", target, headers=[BINARY], **sent)

    assert answer is None or (answer.status, answer.code) == (case.status, case.code)
    assert [path.stat().st_size for path in folder.iterdir()] == ([case.size] if case.status == 201 else [])


@pytest.mark.parametrize("case", SIZES[:4] + SIZES[6:], ids=lambda case: f"{case.size} within {case.bounds}")
@pytest.mark.parametrize("view", ["/upload", "/form"])
def test_a_file_in_a_form_is_counted_by_itself(stack: Any, folder: Path, case: Sized, view: str) -> None:
    """Of a multipart body the file counts, not the form around it; exactly, at both ends."""
    body = multipart(("note", None, b"n" * 500), ("file", "a.bin", BIG[: case.size]))
    target = f"{view}?{sign(call=['pick'], **case.bounds).as_query()}"
    answer = (stack.or_cut if case.size > MUCH else stack)("secured", "POST", target, headers=[MULTIPART], body=body)

    if answer is not None:
        assert answer.status == (case.status if case.status > 300 or view == "/upload" else 200)
        assert answer.code == case.code
    assert bool(list(folder.iterdir())) == (case.status == 201 and view == "/upload")


@pytest.mark.parametrize("request_line", ["POST /upload", "PUT /store/a"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (f"--{BOUNDARY}\r\nno header\r\n\r\n".encode() * 2, 400, "bad_request"),
        (multipart(*[(f"f{index}", None, b"") for index in range(200)]), 413, "too_large"),
    ],
    ids=["malformed", "too many parts"],
)
def test_a_form_that_cannot_be_counted_is_refused(
    stack: Any, folder: Path, request_line: str, body: bytes, status: int, code: str
) -> None:
    """Under a bounded policy, whether the door looks for a policy in it or only counts."""
    method, path = request_line.split()
    answer = stack("secured", method, f"{path}?{sign(max_size=1000).as_query()}", headers=[MULTIPART], body=body)

    assert (answer.status, answer.code) == (status, code)
    assert list(folder.iterdir()) == []


def test_a_refusal_during_the_body_can_be_read_by_the_page_that_sent_it(stack: Any) -> None:
    """It varies and names the approved origin, as a refusal of the head does."""
    if not stack.dechunks:
        pytest.skip("Django under WSGI takes a body without a length for empty")
    headers = [("Origin", APPROVED), BINARY]
    answer = stack("listed", "PUT", f"/store/a?{sign(max_size=9).as_query()}", headers=headers, chunks=[b"0123456789"])

    assert (answer.status, answer.one("access-control-allow-origin"), answer.one("vary")) == (413, APPROVED, "Origin")


def test_the_owner_renders_refusals_during_the_body_too(stack: Any, folder: Path) -> None:
    """`on_denied` is asked whenever a request is refused."""
    body = multipart(("file", "a.bin", b"0123456789"))
    answer = stack("custom", "POST", f"/upload?{sign(max_size=9).as_query()}", headers=[MULTIPART], body=body)

    assert (answer.status, answer.one("x-reason"), answer.body) == (418, "too_big", b"/upload")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fault", ["too_big", "malformed", "conflict", "too_long"])
def test_a_guard_that_reports_lets_bodies_through_whole(stack: Any, folder: Path, fault: str) -> None:
    """Whatever it would have refused in or about the body, the app gets every byte."""
    body, query, header = multipart(("file", "a.bin", BIG[:200_000])), f"?{sign(max_size=9).as_query()}", MULTIPART
    if fault == "malformed":
        body = f"--{BOUNDARY}\r\nno header\r\n\r\n".encode() * 9_000
    elif fault == "conflict":
        body, header = f"{sign().as_query()}&{sign().as_query()}".encode(), FORM
    elif fault == "too_long":
        body, query, header = b'{"note": "' + b"n" * 200_000 + b'"}', "", ("Content-Type", "application/json")
    answer = stack("report", "POST", f"/upload{query}", headers=[header], body=body)

    assert (answer.status, answer.json["sha256"]) == (201, digest(body))


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"policy": "a", "policy": "b"}', ("Content-Type", "application/json")),
        (f"{sign().as_query()}&{sign().as_query()}".encode(), FORM),
        (multipart(("policy", None, b"a"), ("policy", None, b"b")), MULTIPART),
    ],
    ids=["json", "form", "multipart"],
)
def test_a_policy_twice_in_a_body_is_a_conflict(stack: Any, folder: Path, body: bytes, header: tuple[str, str]) -> None:
    """400, whichever of the two would have been good (security promise 7)."""
    answer = stack("secured", "POST", "/upload", headers=[header], body=body)

    assert (answer.status, answer.code) == (400, "credential_conflict")
    assert list(folder.iterdir()) == []


def test_a_policy_in_query_and_body_is_a_conflict(stack: Any) -> None:
    """Two places, one of them the body."""
    target = f"/upload?{sign().as_query()}"
    answer = stack("secured", "POST", target, headers=[FORM], body=sign().as_query().encode())

    assert (answer.status, answer.code) == (400, "credential_conflict")


@pytest.mark.parametrize("size", [30_000, len(BIG)])
def test_a_refused_upload_is_answered_although_its_body_was_not_read(stack: Any, folder: Path, size: int) -> None:
    """A body behind an expired policy: the client gets the 403; of a long one it may only see the connection close."""
    target = f"/store/a?{sign(expires_in=-9).as_query()}"
    answer = (stack.or_cut if size > MUCH else stack)("secured", "PUT", target, headers=[BINARY], body=BIG[:size])

    assert answer is None or (answer.status, answer.code) == (403, "policy_expired")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999"])
def test_a_length_that_is_none_reaches_no_app(stack: Any, folder: Path, length: str) -> None:
    """The server or the door refuses it: no answer, or one of the 4xx."""
    target = f"/store/a?{sign(max_size=9).as_query()}"
    request = (
        f"PUT {target} HTTP/1.1\r\nHost: secured.{stack.framework}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\nx"
    )
    try:
        status = stack.server.raw(request.encode()).status
    except OSError:
        status = 400

    assert 400 <= status < 500
    assert list(folder.iterdir()) == []
