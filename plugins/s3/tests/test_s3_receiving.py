"""Results handed over: their addresses, their headers, and the rights that are enough for them."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from s3_bench import KEY_ID, SECRET, TOKEN, Bench, put

from secure_delivery.plugin import BadRequest, Receiving, StorageRefused
from secure_delivery_s3.draft import part_size
from secure_delivery_s3.options import S3Options
from secure_delivery_s3.storage import S3Storage, ServerStorage

PART = part_size(1)
ODD = "results/400x300> été+1?#&=%41~'(日本).png"
QUOTED = "results/400x300%3E%20%C3%A9t%C3%A9%2B1%3F%23%26%3D%2541~%27%28%E6%97%A5%E6%9C%AC%29.png"
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Disposition": "attachment; filename=\"a b.png\"; filename*=UTF-8''%C3%A9t%C3%A9.png",
    "Content-Language": "fr, en",
    "Expires": "Wed, 21 Oct 2065 07:28:00 GMT",
}
#: The rights of a policy, by the requests they cover.
RIGHTS = {
    "s3:PutObject": {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"},
    "s3:PutObjectAcl": {"PutObjectAcl"},
    "s3:AbortMultipartUpload": {"AbortMultipartUpload"},
    "s3:GetObject": {"GetObject", "HeadObject"},
    "s3:DeleteObject": {"DeleteObject"},
    "s3:ListBucket": {"GETBucket", "HEADBucket", "ListParts"},
}


def hand_over(storage: Any, key: str, data: bytes = b"x", access: str | None = None, **headers: str) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    put(storage.hand_over(key, mimetype="image/png", access=access, headers=given), data)


def ask(url: str) -> tuple[int, dict[str, str], bytes]:
    """As anybody asks who was told the address. It goes out as it is: nothing is quoted or taken apart on the way."""
    origin, path = url[: url.index("/", 8)], url[url.index("/", 8) :]
    connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_buckets_of_customers_receive_and_those_of_the_server_do_not(bench: Bench) -> None:
    assert isinstance(bench.storage(), Receiving)
    assert not isinstance(ServerStorage(bench.options(), bench.dial), Receiving)


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({}, "https://bucket.s3.us-east-1.amazonaws.com/"),
        ({"region": "eu-central-1"}, "https://bucket.s3.eu-central-1.amazonaws.com/"),
        ({"region": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn/"),
        ({"path_style": True}, "https://s3.us-east-1.amazonaws.com/bucket/"),
        ({"endpoint": "https://s3.example.com:8443", "path_style": True}, "https://s3.example.com:8443/bucket/"),
        ({"endpoint": "https://s3.example.com/below", "path_style": True}, "https://s3.example.com/below/bucket/"),
        ({"endpoint": "https://s3.example.com"}, "https://bucket.s3.example.com/"),
        ({"endpoint": "https://e.r2.cloudflarestorage.com", "region": "auto"}, "https://bucket.e.r2.cloudflarestorage.com/"),
        ({"session_token": TOKEN}, "https://bucket.s3.us-east-1.amazonaws.com/"),
        ({"write_only": True, "public": True}, "https://bucket.s3.us-east-1.amazonaws.com/"),
    ],
)
def test_an_address_is_plain_and_quoted_and_in_the_style_of_the_options(options: dict[str, Any], begins: str) -> None:
    def dial(*_: Any) -> Any:
        raise AssertionError("nothing is asked")

    storage = S3Storage(
        S3Options(**{"buckets": ("bucket",), "access_key_id": KEY_ID, "secret_access_key": SECRET, **options}), dial
    )
    assert storage.address(f"bucket/{ODD}") == begins + QUOTED
    assert unquote(begins + QUOTED) == begins + ODD


def test_a_bucket_that_certificates_of_amazon_do_not_cover_is_in_the_path() -> None:
    options = S3Options(buckets=("my.bucket",), region="eu-west-1", access_key_id=KEY_ID, secret_access_key=SECRET)
    assert S3Storage(options, None).address("my.bucket/a") == "https://s3.eu-west-1.amazonaws.com/my.bucket/a"  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "fault"), [("far/a", StorageRefused), ("bucket/", BadRequest), ("bucket/a/../b", BadRequest)])
def test_there_are_addresses_for_keys_of_this_storage_only(bench: Bench, key: str, fault: type[Exception]) -> None:
    storage = bench.storage()
    with pytest.raises(fault):
        storage.address(key)
    with pytest.raises(fault):
        storage.hand_over(key, mimetype="image/png", access=None, headers={})
    assert bench.dial.asked == []


@pytest.mark.parametrize("size", [5, PART + 5])
def test_a_public_result_opens_at_its_address_with_its_headers(bench: Bench, size: int) -> None:
    storage = bench.storage(write_only="true")
    put(storage.hand_over(f"bucket/{ODD}", mimetype="image/png", access="public", headers=HEADERS), bytes(size))
    status, said, body = ask(storage.address(f"bucket/{ODD}"))
    assert (status, body) == (200, bytes(size))
    assert {name: said[name] for name in HEADERS} == HEADERS and said["Content-Type"] == "image/png"
    hand_over(storage, "bucket/private")
    assert ask(storage.address("bucket/private"))[0] == 403


def test_names_of_headers_have_no_case_and_strange_ones_are_left_out(bench: Bench) -> None:
    hand_over(bench.storage(), "bucket/a", cache_CONTROL=" no-store ", X_Amz_Acl="public-read", Content_Type="a/b", Expires="")
    stored = bench.server.objects["bucket", "a"].headers
    assert stored["cache-control"] == "no-store" and stored["content-type"] == "image/png"
    assert not {"x-amz-acl", "expires"} & stored.keys()


@pytest.mark.parametrize("value", ["a\r\nx-amz-acl: public-read", "été", "a\x00", "a\x7f", "x" * 2001])
def test_a_value_that_cannot_be_a_header_is_refused_before_anything_is_sent(bench: Bench, value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        hand_over(bench.storage(), "bucket/a", Cache_Control=value)
    assert "cache-control" in caught.value.public and bench.dial.asked == []


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Sun, 06 Nov 1994 10:49:37 +0200", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("0", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("-1", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("tomorrow", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("Fri, 31 Dec 9999 23:59:59 -1200", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Sat, 01 Jan 2000 00:00:00 +9999", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Sat, 99 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)
def test_an_end_is_sent_as_the_date_it_means(bench: Bench, given: str, sent: str) -> None:
    hand_over(bench.storage(), "bucket/a", Expires=given)
    assert bench.server.objects["bucket", "a"].headers["expires"] == sent


@pytest.mark.parametrize("public", [False, True])
def test_the_policy_that_is_advised_is_enough_to_hand_results_over(bench: Bench, public: bool) -> None:
    storage = bench.storage(write_only="true", access="public" if public else "private")
    granted = set(json.loads(storage.advice()["policy"])["Statement"][0]["Action"])
    assert granted == {"s3:PutObject", "s3:AbortMultipartUpload"} | ({"s3:PutObjectAcl"} if public else set())
    bench.server.denied |= set().union(*(requests for right, requests in RIGHTS.items() if right not in granted))
    for name, data in (("small", b"x"), ("large", bytes(PART + 1)), ("small", b"once more")):
        put(storage.hand_over(f"bucket/{name}", mimetype="image/png", access=None, headers=HEADERS), data)
        storage.address(f"bucket/{name}")
    draft = storage.hand_over("bucket/gone", mimetype="image/png", access=None, headers=HEADERS)
    draft.write(bytes(PART + 1))
    draft.discard()
    assert set(bench.server.objects) == {("bucket", "small"), ("bucket", "large")} and not bench.server.uploads
    assert bench.server.objects["bucket", "small"].data == b"once more"
    assert {one.status for one in bench.server.seen} <= {200, 204}


def test_a_public_result_needs_the_right_to_set_an_acl(bench: Bench) -> None:
    bench.server.denied.add("PutObjectAcl")
    with pytest.raises(StorageRefused):
        hand_over(bench.storage(), "bucket/a", access="public")
    hand_over(bench.storage(), "bucket/a", access="private")
    assert "x-amz-acl" not in bench.server.objects["bucket", "a"].headers
