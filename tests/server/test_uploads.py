"""Taking files in: every encoding that clients send, every way in which a body can lie, and nothing left of what failed."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from buckets import bucket_server, bucket_settings, options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Reply, Server, file_part, make_server, multipart, picture, running

from secure_delivery.engine import tables
from secure_delivery.gate.model import Application, Limits

LIMIT = 200_000  # bytes; of the application that the tests of limits use


@pytest.fixture(scope="module")
def application(server: Server) -> Application:
    return server.application(limits=Limits(max_bytes=LIMIT))


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the storage holds nothing new that the records do not name: no draft, no orphan."""
    if "server" not in request.fixturenames:
        yield
        return
    server: Server = request.getfixturevalue("server")
    before = unrecorded(server)
    yield
    wait_until(lambda: unrecorded(server) <= before, lambda: f"left behind: {unrecorded(server) - before}")


def unrecorded(server: Server) -> set[str]:
    """What lies in the storage and is named by no record."""
    named = sa.select(tables.file.c.key)
    with server.engine.database.read() as connection:
        return {path.name for path in server.blobs()} - set(connection.execute(named).scalars())


def wait_until(holds: object, says: object, seconds: float = 5) -> None:
    assert callable(holds) and callable(says)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, says()


def store(
    server: Server, application: Application, body: bytes, headers: dict[str, str] | None = None, more: str = ""
) -> Reply:
    return server.post(f"/api/store/S3?key={application.api_key}{more}", body, headers)


def content(server: Server, reply: Reply) -> bytes:
    assert reply.status == 200, reply.body
    return server.get(f"/{reply.json()['handle']}").body


# ------------------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "text/html; charset=utf-8", "nonsense", ""])
def test_a_raw_body_is_the_file_and_its_type_is_found_by_content(server: Server, application: Application, kind: str) -> None:
    data = picture(12, 8, "PNG")
    reply = store(server, application, data, {"Content-Type": kind} if kind else {}, "&filename=a.exe&mimetype=text/html")
    assert content(server, reply) == data
    assert (reply.json()["type"], reply.json()["filename"]) == ("image/png", "a.exe")


def test_a_body_in_chunks_is_taken_like_any_other(every_server: Server) -> None:
    key = every_server.application().api_key
    head = f"POST /api/store/S3?key={key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    said = every_server.exchange(head.encode() + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200") and b'"size":4' in said


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b" aGVs bG8 =\n", b"hello"),
        (b"_-__", b"\xff\xef\xff"),
        (b"/+//", b"\xff\xef\xff"),
        (base64.encodebytes(b"line breaks " * 100), b"line breaks " * 100),
    ],
)
def test_base64_comes_in_either_alphabet_padded_or_not_with_or_without_breaks(
    server: Server, application: Application, text: bytes, data: bytes
) -> None:
    assert content(server, store(server, application, text, more="&base64decode=true")) == data
    body, kind = multipart(file_part(text))
    assert content(server, store(server, application, body, kind, "&base64decode=true")) == data


@pytest.mark.parametrize(
    "text", [b"aGVsbG8=aGVsbG8=", b"aGV*bG8=", b"a", b"aGVsbG8=\nx", b"====", b"\xff\xfe", b"data:;base64,aGVs"]
)
def test_what_is_not_base64_is_refused(server: Server, application: Application, text: bytes) -> None:
    assert store(server, application, text, more="&base64decode=true").code == "bad_request"


def test_base64_that_is_cut_anywhere_decodes_to_the_same(server: Server, application: Application) -> None:
    data = os.urandom(1000)
    text = base64.encodebytes(data)
    head = f"POST /api/store/S3?key={application.api_key}&base64decode=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(text[at : at + 7]), text[at : at + 7]) for at in range(0, len(text), 7))
    said = server.exchange(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200"), said
    link = server.engine.records.files(application.api_key)[0]
    assert link.sha256 == hashlib.sha256(data).hexdigest()


# ----------------------------------------------------------------------------------------------------------- multipart


FIELD = 'Content-Disposition: form-data; name="note"'


@pytest.mark.parametrize(
    ("parts", "data", "name"),
    [
        ([file_part(b"one", "a.txt")], b"one", "a.txt"),
        ([(FIELD, b"field"), file_part(b"one", "a.txt"), (FIELD, b"field")], b"one", "a.txt"),
        ([file_part(b"one", "a.txt"), file_part(b"two", "b.txt")], b"one", "a.txt"),
        ([('Content-Disposition: form-data; name="fileUpload"', b"nameless")], b"nameless", "file"),
        ([file_part(b"one", "a.txt", name="upload")], b"one", "a.txt"),
        ([file_part(b"one", "", name="fileUpload")], b"one", "file"),
        ([file_part(b"one", "safe.txt", more="; filename*=UTF-8''evil.html")], b"one", "safe.txt"),
        ([("Content-Disposition: form-data; name=\"fileUpload\"; filename*=UTF-8''evil.html", b"one")], b"one", "file"),
        ([file_part(b"one", "..\\..\\a.txt")], b"one", "a.txt"),
        ([file_part(b"one", "C:\\Users\\a.txt")], b"one", "a.txt"),
        ([file_part(b"one", "../../etc/passwd")], b"one", "passwd"),
        ([file_part(b"one", 'say \\"hi\\".txt')], b"one", "say _hi_.txt"),
        ([file_part(b"one", "semi;colon.txt")], b"one", "semi;colon.txt"),
        ([file_part(b"one", "ünï.txt")], b"one", "ünï.txt"),
        ([file_part(b"one", "\udcff.txt")], b"one", "\N{REPLACEMENT CHARACTER}.txt"),
        ([("content-disposition:form-data;name=fileUpload;filename=bare.txt", b"one")], b"one", "bare.txt"),
        ([file_part(b"with\r\n--b0undar", "a.txt")], b"with\r\n--b0undar", "a.txt"),
        ([file_part(b"\r\n\r\n--\r\n", "a.txt")], b"\r\n\r\n--\r\n", "a.txt"),
    ],
)
def test_the_first_file_of_a_form_is_taken_under_its_plain_name(
    server: Server, application: Application, parts: list[tuple[str, bytes]], data: bytes, name: str
) -> None:
    body, kind = multipart(*parts)
    reply = store(server, application, body, kind)
    assert content(server, reply) == data
    assert reply.json()["filename"] == name


def test_a_name_in_the_query_goes_before_the_one_of_the_part(server: Server, application: Application) -> None:
    body, kind = multipart(file_part(b"one", "part.txt"))
    assert store(server, application, body, kind, "&filename=query%20name.txt").json()["filename"] == "query name.txt"


GOOD, KIND = multipart(file_part(b"one", "a.txt"))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (GOOD, "multipart/form-data", 400),
        (GOOD, "multipart/form-data; boundary=", 400),
        (GOOD, "multipart/form-data; boundary=other", 400),
        (GOOD, "multipart/form-data; boundary=" + "b" * 71, 400),
        (GOOD, "multipart/form-data; boundary=b\xff", 400),
        (GOOD, "multipart/mixed; boundary=b0undary", 200),  # not a form, so it is the file itself
        (multipart((FIELD, b"x"))[0], KIND["Content-Type"], 400),
        (b"--b0undary--\r\n", KIND["Content-Type"], 400),
        (b"", KIND["Content-Type"], 400),
        (b"no form at all", KIND["Content-Type"], 400),
        (GOOD[:-4], KIND["Content-Type"], 400),
        (GOOD[:60], KIND["Content-Type"], 400),
        (GOOD + b"epilogue" * 100, KIND["Content-Type"], 200),
        (multipart(*[(FIELD, b"x")] * 99, file_part(b"one"))[0], KIND["Content-Type"], 200),
        (multipart(*[(FIELD, b"x")] * 100, file_part(b"one"))[0], KIND["Content-Type"], 413),
        (multipart(file_part(b"one"), *[(FIELD, b"x")] * 100)[0], KIND["Content-Type"], 413),
        (multipart(file_part(b"one", "a" * 20_000))[0], KIND["Content-Type"], 413),
        (multipart(("X-Long: " + "a" * 20_000, b"x"), file_part(b"one"))[0], KIND["Content-Type"], 413),
        (multipart(("\r\n".join(f"X-{n}: y" for n in range(4000)), b"x"))[0], KIND["Content-Type"], 413),
        (multipart(("broken header line", b"x"), file_part(b"one"))[0], KIND["Content-Type"], 400),
        (multipart(file_part(b""))[0], KIND["Content-Type"], 400),
        (b"a=b&url=https%3A%2F%2Fexample.org", "application/x-www-form-urlencoded", 422),
    ],
)
def test_a_form_that_is_no_form_or_too_much_of_one_is_refused(
    server: Server, application: Application, body: bytes, kind: str, status: int
) -> None:
    reply = store(server, application, body, {"Content-Type": kind})
    assert reply.status == status, reply.body
    assert status == 200 or not reply.code.startswith("no JSON")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_of_a_form_is_answered_and_never_with_a_fault(
    server: Server, application: Application, data: st.DataObject
) -> None:
    body = bytearray(multipart((FIELD, b"x"), file_part(b"content", "a.txt"))[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        change = data.draw(st.sampled_from(["delete", "insert", "replace", "double"]))
        piece = data.draw(
            st.sampled_from([b"\r\n", b"--", b'"', b"\0", b"\xff", b":", b";", b"--b0undary", b"filename=", b"\n"])
        )
        if change == "delete":
            del body[at : at + len(piece)]
        elif change == "double":
            body[at:at] = body[at : at + 20]
        else:
            body[at : at + (len(piece) if change == "replace" else 0)] = piece
    reply = store(server, application, bytes(body), KIND)
    assert reply.status in (200, 400, 413, 415), (reply.status, bytes(body))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
def test_any_content_type_is_answered_and_never_with_a_fault(server: Server, application: Application, kind: str) -> None:
    for value in (kind, "multipart/form-data" + kind, "multipart/form-data;" + kind, "multipart/form-data; boundary=" + kind):
        reply = store(server, application, GOOD, {"Content-Type": value})
        assert reply.status in (200, 400, 413, 415), (reply.status, value)


# --------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_is_inclusive_for_every_encoding(server: Server, application: Application, size: int) -> None:
    data = b"x" * size
    body, kind = multipart(file_part(data))
    replies = [
        store(server, application, data),
        store(server, application, body, kind),
        store(server, application, base64.b64encode(data), more="&base64decode=true"),
    ]
    assert [reply.status for reply in replies] == [200 if size == LIMIT else 413] * 3
    assert size == LIMIT or {reply.code for reply in replies} == {"too_large"}


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(every_server: Server) -> None:
    for application, size in (
        (every_server.application(limits=Limits(max_bytes=10)), 11),
        (every_server.application(), 2**28 + 1),
    ):
        head = f"POST /api/store/S3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        with every_server.connect() as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_policy_bounds_what_is_read_of_a_body_that_tells_no_length(server: Server) -> None:
    application = server.application(require_policy=True)
    signed = application.sign(expires_in=60, now=time.time(), max_size=1000).as_query()
    head = f"POST /api/store/S3?key={application.api_key}&{signed} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + b"ff\r\n" + b"x" * 255 + b"\r\n")
        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")  # over it now, and the body is not at its end
        said = connection.recv(1000)
    assert said.startswith(b"HTTP/1.1 413")


def test_the_limit_of_the_server_holds_whatever_an_application_allows(tmp_path: Path) -> None:
    with running(tmp_path, settings={"max_bytes": "1000"}) as small:
        application = small.application(limits=Limits(max_bytes=10**9))
        for size, status in ((1000, 200), (1001, 413)):
            body, kind = multipart(file_part(b"x" * size))
            assert store(small, application, b"x" * size).status == status
            assert store(small, application, body, kind).status == status
        link = small.put(application, b"x")
        signed = application.sign(expires_in=60, now=time.time()).as_query()
        assert small.post(f"/api/file/{link.handle}?{signed}", b"x" * 1001).status == 413


# ------------------------------------------------------------------------------------------------ lengths that are lies


@pytest.mark.parametrize("kind", ["text/plain", KIND["Content-Type"]])
@pytest.mark.parametrize("half_closed", [True, False], ids=["half closed", "gone"])
@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_client_that_goes_away_in_the_middle_leaves_nothing(
    every_server: Server, kind: str, half_closed: bool, length: str
) -> None:
    application = every_server.application()
    head = f"POST /api/store/S3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{length}\r\n\r\n"
    piece = GOOD + b"x" * 500 if kind != "text/plain" else b"x" * 500
    body = b"%x\r\n%s\r\n" % (len(piece), piece) if "chunked" in length else piece
    before = every_server.blobs()
    if half_closed:
        said = every_server.exchange(head.encode() + body, shut=True)
        assert b"200 OK" not in said and b" 500 " not in said
    else:
        with every_server.connect() as connection:
            connection.sendall(head.encode() + body)
            wait_until(lambda: every_server.blobs() != before, lambda: "the upload did not begin")
    wait_until(lambda: every_server.blobs() == before, lambda: f"left behind: {every_server.blobs() - before}")
    assert every_server.engine.records.count_files(application.api_key) == 0


def test_a_client_that_goes_away_is_no_fault_of_the_server(server: Server, application: Application) -> None:
    at = server.log.stat().st_size
    head = f"POST /api/store/S3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"
    server.exchange(head.encode(), shut=True)
    server.get("/health/live")
    said = server.log.read_bytes()[at:]
    assert b"Traceback" not in said and b"ERROR" not in said and b"went away" in said


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 3",
        "Content-Length: -1",
        "Content-Length: 0x3",
        "Content-Length: +3",
        "Content-Length: 3\r\nTransfer-Encoding: identity, chunked, x",
    ],
)
def test_a_length_that_can_be_read_in_two_ways_stores_nothing(every_server: Server, lengths: str) -> None:
    application = every_server.application()
    head = f"POST /api/store/S3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lengths}\r\n\r\nabc"
    said = every_server.exchange(head.encode(), shut=True)
    assert b" 200 " not in said[:20]
    assert every_server.engine.records.count_files(application.api_key) == 0


def test_bytes_behind_a_body_are_not_part_of_it(every_server: Server) -> None:
    application = every_server.application()
    head = (
        f"POST /api/store/S3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.0\r\n\r\n"
    )
    with every_server.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert [link.size for link in every_server.engine.records.files(application.api_key)] == [2]


def test_an_overwrite_that_ends_early_leaves_the_old_content(server: Server) -> None:
    application = server.application()
    link = server.put(application, b"old content")
    signed = application.sign(expires_in=60, now=time.time()).as_query()
    head = f"POST /api/file/{link.handle}?{signed} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nnew"
    server.exchange(head.encode(), shut=True)
    assert server.get(f"/{link.handle}").body == b"old content"
    for body in (b"", b"\xff not base64"):
        assert server.post(f"/api/file/{link.handle}?{signed}&base64decode=true", body).status == 400
    assert server.engine.records.file(link.handle) == link


# ------------------------------------------------------------------------------------------------------- slow storages


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_a_bucket_that_does_not_answer_holds_up_its_own_upload_and_nobody_else(tmp_path: Path, form: bool) -> None:
    data = os.urandom(20 << 20)
    body, kind = multipart(file_part(data)) if form else (data, {})
    with bucket_server() as bucket, running(tmp_path, settings=bucket_settings(bucket)) as server, ThreadPoolExecutor() as pool:
        application, other = server.application(), server.put(server.application(), b"content of others")
        server.engine.storages.add(application.api_key, "assets", "s3", options(bucket))
        bucket.fail("CreateMultipartUpload", how="hold")
        try:
            upload = pool.submit(server.post, f"/api/store/s3?key={application.api_key}", body, kind)
            wait_until(lambda: "CreateMultipartUpload" in bucket.operations(), lambda: bucket.operations(), 20)
            assert server.get(f"/{other.handle}").body == b"content of others"
            assert (upload.done(), bucket.operations()) == (False, ["CreateMultipartUpload"])
        finally:
            bucket.released.set()
        link = server.engine.records.file(upload.result().json()["handle"])
        assert link is not None
        assert link.sha256 == hashlib.sha256(data).hexdigest()
        assert server.get(f"/{link.handle}").body == data


def test_a_bucket_that_does_not_answer_when_an_upload_is_given_up_holds_up_nobody(tmp_path: Path) -> None:
    with bucket_server() as bucket, running(tmp_path, settings=bucket_settings(bucket)) as server:
        application, other = server.application(), server.put(server.application(), b"content of others")
        server.engine.storages.add(application.api_key, "assets", "s3", options(bucket))
        bucket.fail("AbortMultipartUpload", how="hold")
        try:
            with server.connect() as connection:
                head = f"POST /api/store/s3?key={application.api_key} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
                connection.sendall(head.encode() + os.urandom(20 << 20))
                wait_until(lambda: "UploadPart" in bucket.operations(), lambda: bucket.operations(), 20)
            wait_until(lambda: "AbortMultipartUpload" in bucket.operations(), lambda: bucket.operations(), 20)
            assert server.get(f"/{other.handle}").body == b"content of others"
            assert bucket.operations().count("AbortMultipartUpload") == 1
        finally:
            bucket.released.set()
        assert server.engine.records.count_files(application.api_key) == 0


# --------------------------------------------------------------------------------------------------------------- crash


def test_a_server_killed_in_the_middle_of_uploads_shows_nothing_of_them_and_starts_again(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    try:
        server.start()
        application = server.application()
        signed = application.sign(expires_in=600, now=time.time()).as_query()
        kept = server.put(application, b"kept content")
        open_sockets: list[socket.socket] = []
        before = len(server.blobs())
        for target in (f"/api/store/S3?key={application.api_key}", f"/api/file/{kept.handle}?{signed}"):
            connection = server.connect()
            connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode() + b"x" * 5000)
            open_sockets.append(connection)
        wait_until(lambda: len(server.blobs()) == before + 2, lambda: "the uploads did not begin")
        server.stop(signal.SIGKILL)
        for connection in open_sockets:
            connection.close()
        server.start()
        assert [link.handle for link in server.engine.records.files(application.api_key)] == [kept.handle]
        assert server.get(f"/{kept.handle}").body == b"kept content"
        assert store(server, application, b"after").status == 200
        # Drafts keep a day, in case another process of ours is still writing; then a start sweeps them up.
        for path in (server.data / "files" / "tmp").iterdir():
            os.utime(path, (1, 1))
        server.stop()
        server.start()
        assert list((server.data / "files" / "tmp").iterdir()) == []
        assert unrecorded(server) == set()
    finally:
        server.stop()
        server.engine.close()
