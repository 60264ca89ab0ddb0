"""The File API through the client: against the real server where that is enough, and a failing one where it is not."""

from __future__ import annotations

import hashlib
import io
import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from live import Server, picture
from outside import Outside, answer, moved, ok
from PIL import Image
from recorder import HANDLE, KEY, Recorder, Shop

from secure_delivery.client import (
    Client,
    Denied,
    NetworkError,
    NotFound,
    ProtocolError,
    ResponseError,
    Retry,
    ServerError,
    TransformError,
    UploadError,
    transform,
)
from secure_delivery.client.core import Core
from secure_delivery.client.signing import Signer
from secure_delivery.client.testing import InProcess
from secure_delivery.engine.settings import Settings
from secure_delivery.server import create_app

Connect = Callable[..., Any]
PICTURE = picture(60, 40)
PNG = picture(30, 30, "PNG")
NOBODY = "nobodynobodynobody01"


# -------------------------------------------------------------------------------------------------------- the real server


def test_a_file_is_stored_read_described_overwritten_and_deleted(connect: Connect, server: Server, shop: Shop) -> None:
    client = connect(server.url, **shop._asdict())
    file = client.upload(PICTURE, filename="ü, & x+y %20.jpg", path="/a/b/")
    assert (file.filename, file.size, file.mimetype) == ("ü, & x+y %20.jpg", len(PICTURE), "image/jpeg")
    assert client.read(file.handle) == PICTURE
    facts = client.metadata(file.handle, "width", "height", "md5")
    assert facts == {"width": 60, "height": 40, "md5": hashlib.md5(PICTURE).hexdigest()}
    assert {"size", "mimetype", "filename"} <= set(client.metadata(file.handle))
    said = client.overwrite(file.handle, PNG)
    assert (said["size"], said["mimetype"]) == (len(PNG), "image/png")
    assert client.read(file.handle) == PNG
    client.delete(file.handle)
    with pytest.raises(NotFound) as caught:
        client.read(file.handle)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_path_a_stream_and_bytes_store_the_same(connect: Connect, server: Server, shop: Shop, tmp_path: Path) -> None:
    client = connect(server.url, **shop._asdict())
    path = tmp_path / "photo.jpg"
    path.write_bytes(PICTURE)
    with path.open("rb") as stream:
        files = [client.store(path), client.store(str(path)), client.store(stream), client.store(PICTURE, filename="photo.jpg")]
    assert {file.filename for file in files} == {"photo.jpg"}
    assert {client.read(file.handle) for file in files} == {PICTURE}


def test_json_and_form_bodies_are_files_like_any_other(connect: Connect, server: Server, shop: Shop) -> None:
    client = connect(server.url, **shop._asdict())
    for name, data in {"a.json": b'{"url": "http://127.0.0.1/"}', "form.txt": b"url=http://127.0.0.1/"}.items():
        file = client.upload(data, filename=name)
        assert client.read(file.handle) == data


def test_exif_is_asked_for_with_a_policy_that_names_it(connect: Connect, server: Server, shop: Shop) -> None:
    client = connect(server.url, **shop._asdict())
    file = client.upload(PICTURE, filename="a.jpg")
    assert client.metadata(file.handle, "exif", "size") == {"exif": {}, "size": len(PICTURE)}


def test_a_result_is_kept_as_a_new_file(connect: Connect, server: Server, shop: Shop) -> None:
    client = connect(server.url, **shop._asdict())
    file = client.upload(PICTURE, filename="a.jpg")
    kept = client.keep(file.handle, transform.resize(width=30).output(format="png"), filename="small.png")
    assert kept.handle != file.handle
    assert (kept.filename, kept.mimetype) == ("small.png", "image/png")
    with Image.open(io.BytesIO(client.read(kept.handle))) as image:
        assert image.size == (30, 20)


def test_a_download_appears_whole_under_its_name_with_progress(
    connect: Connect, server: Server, shop: Shop, tmp_path: Path
) -> None:
    client = connect(server.url, **shop._asdict())
    data = bytes(range(256)) * 4000
    file = client.upload(data, filename="a.bin")
    seen: list[tuple[int, int | None]] = []
    path = client.download(file.handle, tmp_path / "copy.bin", progress=lambda *step: seen.append(step))
    assert path.read_bytes() == data
    assert seen[-1] == (len(data), len(data))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == stat.S_IMODE((tmp_path / "copy.bin").stat().st_mode) & 0o077
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_that_is_refused_leaves_what_was_there(connect: Connect, server: Server, shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "copy.bin"
    target.write_bytes(b"older")
    with pytest.raises(NotFound):
        connect(server.url, **shop._asdict()).download(NOBODY, target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_refusals_carry_the_servers_code_and_sentence(connect: Connect, server: Server, shop: Shop) -> None:
    file = connect(server.url, **shop._asdict()).upload(PICTURE, filename="a.jpg")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"api_key": shop.api_key}, "policy_required"),
        ({"api_key": shop.api_key, "secret": "another secret"}, "signature_invalid"),
        ({**shop._asdict(), "clock": lambda: 1000.0}, "policy_expired"),
    ]
    for options, code in cases:
        with pytest.raises(Denied) as caught:
            connect(server.url, **options).read(file.handle)
        assert (caught.value.status, caught.value.code) == (403, code)
        assert caught.value.message.endswith(".")
    with pytest.raises(Denied) as caught:
        connect(server.url, api_key="AunknownUnknownUnknow1").store(b"x")
    assert (caught.value.status, caught.value.code) == (401, "unknown_application")


def test_a_policy_given_by_a_backend_is_enough_for_what_it_names(connect: Connect, server: Server, shop: Shop) -> None:
    backend = connect(server.url, **shop._asdict())
    file, other = (backend.upload(PICTURE, filename="a.jpg") for _ in range(2))
    client = connect(server.url, api_key=shop.api_key, signed=backend.sign(expires_in=60, call=["read"], handle=file.handle))
    assert client.read(file.handle) == PICTURE
    for refused in (lambda: client.read(other.handle), lambda: client.delete(file.handle)):
        with pytest.raises(Denied) as caught:
            refused()
        assert caught.value.code == "not_permitted"


def test_an_open_application_needs_no_policy(connect: Connect, server: Server) -> None:
    client = connect(server.url, api_key=server.application().api_key)
    assert client.read(client.upload(PICTURE, filename="a.jpg").handle) == PICTURE


def test_an_object_is_kept_in_a_storage_of_its_application_only(connect: Connect, server: Server, shop: Shop) -> None:
    """What the server lends goes with its file: nobody else could ever delete it."""
    client = connect(server.url, **shop._asdict())
    data = hashlib.sha256(str(connect).encode()).digest() * 50
    before = server.blobs()
    file = client.upload(data, filename="a.bin")
    (blob,) = server.blobs() - before
    client.delete(file.handle, keep_object=True)
    with pytest.raises(NotFound):
        client.read(file.handle)
    assert not blob.exists()


def test_an_empty_file_is_refused_by_the_server(connect: Connect, server: Server, shop: Shop) -> None:
    with pytest.raises(ResponseError) as caught:
        connect(server.url, **shop._asdict()).upload(b"", filename="a.bin")
    assert caught.value.status == 400


def test_a_handle_that_is_none_is_refused_before_anything_is_sent(connect: Connect, recorder: Recorder) -> None:
    client = connect(recorder.url, api_key=KEY)
    for call in (client.read, client.metadata, client.delete):
        with pytest.raises(ValueError, match="handle"):
            call("../../admin")
    with pytest.raises(ValueError, match="names"):
        client.metadata(HANDLE, "a&b")
    with pytest.raises(TransformError):
        client.keep("ftp://x", transform.flip())
    assert recorder.asked == []


def test_the_server_in_the_same_process_is_enough_for_tests_of_ones_own(tmp_path: Path) -> None:
    app = create_app(Settings.read({"data": str(tmp_path / "data"), "decoders": 1}))
    engine = app.state.engine
    application, _ = engine.records.create_application("test", require_policy=True)
    try:
        with httpx.Client(transport=InProcess(app)) as http:
            client = Client(
                "http://files.test", api_key=application.api_key, secret=application.secrets.signing.value, http=http
            )
            file = client.upload(PICTURE, filename="a.jpg")
            assert client.read(file.handle) == PICTURE
            assert file.url == f"http://files.test/{file.handle}"
            client.close()
            assert not http.is_closed
    finally:
        engine.close()


# ------------------------------------------------------------------------------------------------------- a failing server


def test_a_download_that_breaks_is_taken_up_where_it_broke(connect: Connect, recorder: Recorder, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    recorder.files[HANDLE] = data
    recorder.fail("file", kind="short", times=6)  # more often than one request is tried: each time it gets further
    path = connect(recorder.url, api_key=KEY).download(HANDLE, tmp_path / "copy")
    assert path.read_bytes() == data
    starts = [int(asked.headers["range"][6:-1]) for asked in recorder.asked[1:]]
    assert starts == sorted(set(starts))
    assert len(starts) == 6


def test_a_download_of_a_file_that_changed_meanwhile_starts_again(connect: Connect, recorder: Recorder, tmp_path: Path) -> None:
    recorder.files[HANDLE] = b"old" * 500_000
    recorder.fail("file", kind="short")
    new = b"new!" * 1000  # shorter than what has come of the old

    def change(done: int, total: int | None) -> None:
        recorder.files[HANDLE] = new

    path = connect(recorder.url, api_key=KEY).download(HANDLE, tmp_path / "copy", progress=change)
    assert path.read_bytes() == new


def test_a_download_that_never_ends_well_leaves_nothing(connect: Connect, recorder: Recorder, tmp_path: Path) -> None:
    recorder.files[HANDLE] = b"x" * 1000
    recorder.fail("file", kind="reset", times=99)
    with pytest.raises(NetworkError):
        connect(recorder.url, api_key=KEY).download(HANDLE, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.read(HANDLE),
        lambda client: client.overwrite(HANDLE, io.BytesIO(b"new")),
        lambda client: client.delete(HANDLE),
        lambda client: client.store(b"x"),
    ],
    ids=["read", "overwrite", "delete", "store"],
)
def test_every_call_is_repeated_while_the_server_is_busy(connect: Connect, recorder: Recorder, call: Any) -> None:
    recorder.files[HANDLE] = b"x"
    for step in ("file", "store"):
        recorder.fail(step, status=503, times=2)
    call(connect(recorder.url, api_key=KEY))
    assert len(recorder.asked) == 3


def test_a_store_whose_answer_was_lost_is_not_repeated(connect: Connect, recorder: Recorder) -> None:
    """There might be two files otherwise."""
    recorder.fail("store", kind="reset", late=True)
    with pytest.raises(NetworkError):
        connect(recorder.url, api_key=KEY).store(b"x")
    assert len(recorder.asked) == 1


def test_a_delete_whose_answer_was_lost_is_a_success(connect: Connect, recorder: Recorder) -> None:
    recorder.files[HANDLE] = b"x"
    recorder.fail("file", kind="reset", late=True)
    connect(recorder.url, api_key=KEY).delete(HANDLE)
    assert [asked.method for asked in recorder.asked] == ["DELETE", "DELETE"]


def test_a_delete_of_nothing_is_told_as_such(connect: Connect, recorder: Recorder) -> None:
    with pytest.raises(NotFound):
        connect(recorder.url, api_key=KEY).delete(HANDLE)


def test_5xx_that_stay_are_raised(connect: Connect, recorder: Recorder) -> None:
    recorder.fail("file", status=500, times=99)
    with pytest.raises(ServerError) as caught:
        connect(recorder.url, api_key=KEY).read(HANDLE)
    assert (caught.value.code, caught.value.message) == ("broken", "It broke.")


def test_nobody_there_is_a_network_error_without_an_address_or_policy(connect: Connect, recorder: Recorder) -> None:
    client = connect("http://127.0.0.1:9", api_key=KEY, secret="s")
    with pytest.raises(NetworkError) as caught:
        client.read(HANDLE)
    assert caught.value.unsent
    assert caught.value.message == "No answer while reading the file: ConnectError."


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}", b'{"url": "https://x.test/short"}', b'{"handle": 5}'])
def test_an_answer_that_names_no_file_is_a_protocol_error(connect: Connect, body: bytes) -> None:
    store = f"/api/store/S3?key={KEY}&mimetype=application%2Foctet-stream"
    with Outside({store: ok(body)}) as web, pytest.raises(ProtocolError):
        connect(web.url("").rstrip("/"), api_key=KEY).store(b"x")


READ = f"/api/file/{HANDLE}?key={KEY}"


def test_a_redirect_to_the_storage_is_followed_without_what_was_meant_for_the_server(connect: Connect) -> None:
    with Outside({"/bucket/object?X-Signature=a%2Fb": ok(b"content")}) as bucket:
        with Outside({READ: moved(bucket.url("/bucket/object?X-Signature=a%2Fb"))}) as front:
            client = connect(front.url("").rstrip("/"), api_key=KEY)
            assert client.read(HANDLE) == b"content"
        assert b"filestack-source" not in bucket.seen[0].lower()


@pytest.mark.parametrize("location", ["ftp://x.test/", "file:///etc/passwd", "http://", "http://[", ""])
def test_a_redirect_to_nowhere_is_not_followed(connect: Connect, location: str) -> None:
    with Outside({READ: moved(location)}) as front, pytest.raises(ProtocolError):
        connect(front.url("").rstrip("/"), api_key=KEY).read(HANDLE)


def test_nothing_leads_from_https_to_plain_http() -> None:
    core = Core("https://files.test/deep", KEY, Signer(None, None), Retry())
    for place in ("http://storage.test/x", "http://files.test:8080/x", "HTTP://storage.test/x"):
        with pytest.raises(ProtocolError, match="plain HTTP"):
            core.pointed(place)
    assert core.pointed("https://storage.test/x?y=%2F") == "https://storage.test/x?y=%2F"
    assert core.pointed("http://files.test/deep/x?y=%2F") == "https://files.test/deep/x?y=%2F", "its own TLS is in front of it"
    assert core.pointed("part/1", relative_to="https://files.test/deep/x") == "https://files.test/deep/part/1"


def test_redirects_without_end_end(connect: Connect) -> None:
    with Outside({READ: moved(READ)}) as front, pytest.raises(ProtocolError, match="without end"):
        connect(front.url("").rstrip("/"), api_key=KEY).read(HANDLE)
    assert len(front.seen) == 5


def test_credentials_of_a_proxy_in_front_are_not_sent_on_to_the_storage() -> None:
    with Outside({"/object": ok(b"content")}) as bucket, Outside({READ: moved(bucket.url("/object"))}) as front:
        with httpx.Client(auth=("user", "password")) as http:
            assert Client(front.url("").rstrip("/"), api_key=KEY, http=http).read(HANDLE) == b"content"
        assert b"authorization: basic" in front.seen[0].lower()
        assert b"authorization" not in bucket.seen[0].lower()


def test_a_range_that_was_not_asked_for_is_not_written(connect: Connect, tmp_path: Path) -> None:
    wrong = answer("206 Partial Content", "Content-Length: 3", "Content-Range: bytes 5-7/8", body=b"abc")
    with Outside({READ: wrong}) as front, pytest.raises(ProtocolError):
        connect(front.url("").rstrip("/"), api_key=KEY).download(HANDLE, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------- /process


def test_a_url_is_taken_in_with_headers_tags_and_a_policy(connect: Connect, recorder: Recorder) -> None:
    client = connect(recorder.url, api_key=KEY, secret="s")
    file = client.upload_url("https://elsewhere.test/x.png", headers={"Cookie": "a=b"}, tags={"a": "b"}, path="/x/")
    (asked,) = recorder.asked
    assert (asked.method, asked.path) == ("POST", "/process")
    store, security = asked.json["tasks"]
    assert store == {"name": "store", "params": {"path": "/x/"}}
    assert set(security["params"]) == {"policy", "signature"}
    assert asked.json["sources"] == [{"source": "https://elsewhere.test/x.png", "headers": {"Cookie": "a=b"}}]
    assert asked.json["upload_tags"] == {"a": "b"}
    assert (file.handle, file.mimetype, file.tags) == (HANDLE, "image/png", {"a": "b"})


def test_the_log_of_the_package_itself_says_nothing(
    connect: Connect, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        connect(recorder.url, api_key=KEY, secret="the-secret").upload_url("https://elsewhere.test/x.png")
    assert not [record for record in caplog.records if record.name.startswith("secure_delivery")]
    assert "the-secret" not in caplog.text


def test_an_error_of_an_upload_is_a_client_error_with_its_cause(connect: Connect, recorder: Recorder) -> None:
    recorder.fail("complete", status=413, body=b'{"error": {"code": "too_large", "message": "Too large."}}')
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(b"x", tags={"a": "b"})
    assert (caught.value.status, caught.value.code) == (413, "too_large")
