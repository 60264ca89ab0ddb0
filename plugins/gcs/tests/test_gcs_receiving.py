"""Results handed over to Google Cloud Storage: their addresses, their headers, and the rights that are enough for them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from gcs_fake import FakeGcs, WayOut, emulator

from secure_delivery.plugin import BadRequest, Receiving, StorageRefused
from secure_delivery.plugin.tries import Patience
from secure_delivery_gcs import GcsProvider, options
from secure_delivery_gcs.kept import KeptBlobs
from secure_delivery_gcs.storage import GcsStorage

Connect = Callable[..., GcsStorage]
MEGABYTE = 1 << 20
ODD = "results/400x300> été+1?#&=%41~'(日本).png"
QUOTED = "results/400x300%3E%20%C3%A9t%C3%A9%2B1%3F%23%26%3D%2541~%27%28%E6%97%A5%E6%9C%AC%29.png"
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Disposition": "attachment; filename=\"a b.png\"; filename*=UTF-8''%C3%A9t%C3%A9.png",
    "Content-Language": "fr, en",
}
END = {"Expires": "Wed, 21 Oct 2065 07:28:00 GMT"}


def hand_over(storage: GcsStorage, key: str, data: bytes = b"x", access: Any = None, **headers: str) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    draft = storage.hand_over(key, mimetype="image/png", access=access, headers=given)
    draft.write(data)
    draft.publish()


def ask(url: str, port: int) -> tuple[int, dict[str, str], bytes]:
    """As anybody asks who was told the address, which leads to this port. It goes out as it is."""
    origin, path = url[: url.index("/", 8)], url[url.index("/", 8) :]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": origin.partition("//")[2]})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_buckets_of_customers_receive_and_those_of_the_server_do_not(connect: Connect) -> None:
    assert isinstance(connect(), Receiving)
    assert not isinstance(KeptBlobs(connect(), ""), Receiving)


def test_an_address_is_plain_and_quoted_and_nothing_is_asked(connect: Connect, way_out: WayOut, fake: FakeGcs) -> None:
    given = {"endpoint": "https://storage.googleapis.com"}
    assert connect(**given).address(f"files/{ODD}") == f"https://storage.googleapis.com/files/{QUOTED}"
    assert connect().address("other/a/b") == f"http://storage.test:{fake.port}/other/a/b"
    assert connect(write_only="true").address("files/a") == connect().address("files/a")
    assert unquote(QUOTED) == ODD and way_out.calls == []


def test_without_an_endpoint_the_address_is_googles(fake: FakeGcs) -> None:
    credentials = fake.credentials() | {"token_uri": "https://oauth2.googleapis.com/token"}
    bound = options.bind({"bucket": "my.files_1", "credentials": json.dumps(credentials)})
    storage = GcsProvider().connect(bound, WayOut({}))
    assert storage.address("my.files_1/a") == "https://storage.googleapis.com/my.files_1/a"


@pytest.mark.parametrize(("key", "fault"), [("far/a", StorageRefused), ("files/", BadRequest), ("files/a/../b", BadRequest)])
def test_there_are_addresses_for_keys_of_this_storage_only(
    connect: Connect, way_out: WayOut, key: str, fault: type[Exception]
) -> None:
    storage = connect()
    with pytest.raises(fault):
        storage.address(key)
    with pytest.raises(fault):
        storage.hand_over(key, mimetype="image/png", access=None, headers={})
    assert way_out.calls == []


@pytest.mark.parametrize("size", [5, 9 * MEGABYTE])
def test_a_public_result_opens_at_its_address_with_its_headers(connect: Connect, fake: FakeGcs, size: int) -> None:
    storage = connect(write_only="true")
    draft = storage.hand_over(f"files/{ODD}", mimetype="image/png", access="public", headers=HEADERS | END)
    draft.write(bytes(size))
    draft.publish()
    status, said, body = ask(storage.address(f"files/{ODD}"), fake.port)
    assert (status, body) == (200, bytes(size))
    assert {name: said.get(name) for name in HEADERS} == HEADERS and said["Content-Type"] == "image/png"
    hand_over(storage, "files/private", access="private")
    assert ask(storage.address("files/private"), fake.port)[0] == 403


@pytest.mark.parametrize("size", [5, 9 * MEGABYTE])
def test_what_google_keeps_no_metadata_for_is_left_out(connect: Connect, fake: FakeGcs, size: int) -> None:
    hand_over(connect(), "files/a", bytes(size), cache_CONTROL=" no-store ", Expires="0", X_Goog_Acl="public-read", Etag="x")
    meta = fake.buckets["files"]["a"].meta
    given = {name: value for name, value in meta.items() if name not in ("md5Hash", "crc32c", "name", "contentType")}
    assert given == {"cacheControl": "no-store"} and fake.buckets["files"]["a"].acl is None


@pytest.mark.parametrize("value", ["a\r\nx-goog-acl: public-read", "été", "a\x00", "a\x7f", "x" * 2001])
def test_a_value_that_cannot_be_a_header_is_refused_before_anything_is_sent(
    connect: Connect, way_out: WayOut, value: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        hand_over(connect(), "files/a", Content_Disposition=value)
    assert "content-disposition" in caught.value.public and way_out.calls == []


@pytest.mark.parametrize("access", [None, "public"])
def test_the_role_that_is_advised_is_enough_to_hand_results_over(connect: Connect, fake: FakeGcs, access: str | None) -> None:
    storage = connect(write_only="true", **({"access": access} if access else {}))
    granted = set(re.findall(r"^- storage\.objects\.(\w+)", storage.advice()["policy"], re.MULTILINE))
    assert granted == {"create", "delete"} | ({"setIamPolicy"} if access else set())
    fake.denied |= {"get"} | (set() if access else {"acl"})
    for name, data in (("small", b"x"), ("large", bytes(9 * MEGABYTE)), ("small", b"once more")):
        hand_over(storage, f"files/{name}", data, **HEADERS)
        storage.address(f"files/{name}")
    assert {name: len(stored.data) for name, stored in fake.buckets["files"].items()} == {"small": 9, "large": 9 * MEGABYTE}
    assert fake.methods() == ["POST", "POST", "PUT", "PUT", "POST"]


def test_a_public_result_needs_the_right_to_set_an_access(connect: Connect, fake: FakeGcs) -> None:
    fake.denied.add("acl")
    with pytest.raises(StorageRefused):
        hand_over(connect(), "files/a", access="public")
    hand_over(connect(), "files/a")
    assert fake.buckets["files"]["a"].acl is None


@pytest.mark.parametrize("size", [5, 9 * MEGABYTE])
def test_an_address_is_where_the_emulator_has_the_result(fake: FakeGcs, size: int) -> None:
    with emulator("files") as port:
        texts = {
            "bucket": "files",
            "credentials": json.dumps(fake.credentials()),
            "endpoint": f"http://emulator.test:{port}",
            "insecure": "true",
        }
        ways = WayOut({fake.HOST: fake.port, "emulator.test": port})
        storage = GcsProvider(Patience()).connect(options.bind(texts), ways)
        hand_over(storage, f"files/{ODD}", bytes(size), access="public", **HEADERS)
        status, _, body = ask(storage.address(f"files/{ODD}"), port)
        assert (status, body) == (200, bytes(size))
