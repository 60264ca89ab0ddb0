"""URLs that somebody else uses: with a plain HTTP client, and changed ones."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest
from s3_bench import SECRET, TOKEN, Bench, get, put

from secure_delivery.plugin import BadRequest

Reply = tuple[int, Mapping[str, str], bytes]


def ask(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_a_signed_url_delivers_one_object_with_the_headers_it_was_made_for(bench: Bench) -> None:
    storage = bench.storage()
    put(storage.place("bucket/a b/ä.txt", mimetype="text/html"), b"content")
    asked = {
        "content-type": "text/plain; charset=utf-8",
        "Content-Disposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A4.txt",
        "cache-control": "private, max-age=60",
    }
    before = len(bench.dial.asked)
    url = storage.presigned_url("bucket/a b/ä.txt", seconds=60, headers=asked)
    assert len(bench.dial.asked) == before
    status, headers, body = ask("GET", url)
    assert (status, body) == (200, b"content")
    assert {name.lower(): headers[name.title()] for name in asked} == {name.lower(): value for name, value in asked.items()}
    assert ask("GET", url, headers={"Range": "bytes=1-3"})[::2] == (206, b"ont")


def test_a_signed_url_that_was_changed_is_refused(bench: Bench) -> None:
    storage = bench.storage()
    for key in ("bucket/a", "bucket/b"):
        put(storage.place(key, mimetype="text/plain"), b"content")
    url = storage.presigned_url("bucket/a", seconds=60, headers={"content-type": "text/plain"})
    changed = {
        "another object": url.replace("/bucket/a?", "/bucket/b?"),
        "a longer life": url.replace("X-Amz-Expires=60", "X-Amz-Expires=600000"),
        "another type": url.replace("text%2Fplain", "text%2Fhtml"),
        "another header": url + "&response-content-encoding=gzip",
        "no signature": url.partition("&X-Amz-Signature")[0],
    }
    assert ask("GET", url)[0] == 200
    for what, other in changed.items():
        assert other != url and ask("GET", other)[0] == 403, what
    assert ask("DELETE", url)[0] == 403
    assert ask("PUT", url, b"x")[0] == 403
    assert ask("HEAD", url)[0] == 403


def test_a_signed_url_ends_when_it_should(bench: Bench) -> None:
    storage = bench.storage()
    put(storage.place("bucket/a", mimetype="text/plain"), b"content")
    url = storage.presigned_url("bucket/a", seconds=60, headers={})
    bench.server.clock_ahead = 62
    assert ask("GET", url)[0] == 403
    week = storage.presigned_url("bucket/a", seconds=10**9, headers={})
    assert parse_qs(urlsplit(week).query)["X-Amz-Expires"] == [str(7 * 24 * 3600)]
    with pytest.raises(ValueError, match="ended"):
        storage.presigned_url("bucket/a", seconds=0, headers={})


def test_a_signed_url_says_only_what_it_may(bench: Bench) -> None:
    for headers in ({"set-cookie": "a=b"}, {"content-type": "a\r\nb: c"}, {"content-encoding": "gzip"}):
        with pytest.raises(ValueError, match="can be given"):
            bench.storage().presigned_url("bucket/a", seconds=60, headers=headers)


def test_a_url_never_holds_the_secret_and_holds_the_token_where_there_is_one(bench: Bench) -> None:
    url = bench.storage(session_token=TOKEN).presigned_url("bucket/a", seconds=60, headers={})
    assert parse_qs(urlsplit(url).query)["X-Amz-Security-Token"] == [TOKEN]
    assert SECRET not in url and SECRET not in str(parse_qs(urlsplit(url).query))


def test_parts_sent_by_others_become_one_object(bench: Bench) -> None:
    storage = bench.storage()
    key, parts = "bucket/folder/big file.bin", [b"1" * (5 << 20), b"2" * (5 << 20), b"end"]
    upload = storage.begin_parts(key, mimetype="video/mp4", access="public")
    etags = []
    for number, data in reversed(list(enumerate(parts, 1))):
        url, headers = storage.part_url(key, upload, number, size=len(data), md5=_md5(data), seconds=60)
        assert headers == {"Content-MD5": _md5(data)}
        status, answered, _ = ask("PUT", url, data, headers)
        assert status == 200
        etags.append((number, answered["ETag"]))
    assert not bench.server.objects
    storage.finish_parts(key, upload, etags)
    assert get(storage, key) == b"".join(parts)
    kept = bench.server.objects["bucket", "folder/big file.bin"].headers
    assert (kept["content-type"], kept["x-amz-acl"]) == ("video/mp4", "public-read")


def test_a_part_other_than_announced_is_refused(bench: Bench) -> None:
    storage = bench.storage()
    upload = storage.begin_parts("bucket/a", mimetype="text/plain")
    data = b"announced"
    url, headers = storage.part_url("bucket/a", upload, 1, size=len(data), md5=_md5(data), seconds=60)
    other = b"different"
    assert ask("PUT", url, other, headers)[0] == 400
    assert ask("PUT", url, other, {"Content-MD5": _md5(other)})[0] == 403
    assert ask("PUT", url, data)[0] == 403
    assert ask("PUT", url, data + b"more", headers)[0] == 403
    assert ask("PUT", url.replace("partNumber=1", "partNumber=2"), data, headers)[0] == 403
    assert ask("GET", url)[0] == 403
    assert not bench.server.uploads[upload].parts
    assert ask("PUT", url, data, headers)[0] == 200


def test_the_length_is_bound_without_a_checksum_too(bench: Bench) -> None:
    storage = bench.storage()
    upload = storage.begin_parts("bucket/a", mimetype="text/plain")
    url, headers = storage.part_url("bucket/a", upload, 1, size=4, md5=None, seconds=60)
    assert headers == {}
    assert ask("PUT", url, b"12345")[0] == 403
    assert ask("PUT", url, b"1234")[0] == 200


def test_finishing_needs_the_parts_that_were_sent(bench: Bench) -> None:
    storage = bench.storage()
    upload = storage.begin_parts("bucket/a", mimetype="text/plain")
    etags = []
    for number in (1, 2):
        url, headers = storage.part_url("bucket/a", upload, number, size=5, md5=None, seconds=60)
        etags.append((number, ask("PUT", url, b"small", headers)[1]["ETag"]))
    for parts, sentence in (([(1, '"0"')], "part is missing"), ([*etags, (3, '"0"')], "part is missing"), (etags, "smaller")):
        with pytest.raises(BadRequest) as caught:
            storage.finish_parts("bucket/a", upload, parts)
        assert sentence in caught.value.public
    storage.abort_parts("bucket/a", upload)
    assert not bench.server.uploads
    storage.abort_parts("bucket/a", upload)
    with pytest.raises(BadRequest):
        storage.finish_parts("bucket/a", upload, etags)
    assert not bench.server.objects


def test_finishing_survives_a_lost_answer(bench: Bench) -> None:
    storage = bench.storage()
    upload = storage.begin_parts("bucket/a", mimetype="text/plain")
    url, headers = storage.part_url("bucket/a", upload, 1, size=5, md5=None, seconds=60)
    etag = ask("PUT", url, b"small", headers)[1]["ETag"]
    bench.server.fail("CompleteMultipartUpload", how="lost")
    storage.finish_parts("bucket/a", upload, [(1, etag)])
    assert get(storage, "bucket/a") == b"small"


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_part_numbers_are_those_of_s3(bench: Bench, number: int) -> None:
    with pytest.raises(BadRequest):
        bench.storage().part_url("bucket/a", "upload", number, size=5, md5=None, seconds=60)
