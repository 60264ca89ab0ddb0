"""A customer's own bucket from end to end: a server process, and a provider that speaks S3 and writes down what it is asked."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from buckets import KEY_ID, READING, SECRET, Blob, S3Server, bucket_server, bucket_settings, options, spellings
from live import Reply, Server, file_part, multipart, picture, running
from outside import Outside, ok

from secure_delivery.engine import open_vault
from secure_delivery.engine.vault import fresh_key_id, new_master_key
from secure_delivery.gate.model import Application

JSON = {"Content-Type": "application/json"}
TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = os.urandom(3000)


class House:
    """An application with a bucket of its own, on a running server."""

    def __init__(self, server: Server, bucket: S3Server, web: Outside, **switches: Any) -> None:
        self.server, self.bucket, self.web = server, bucket, web
        self.application: Application = server.application(**switches)
        self.key = self.application.api_key

    def own(self, name: str = "assets", *, usual: bool = True, **more: str) -> House:
        self.server.engine.storages.add(self.key, name, "s3", options(self.bucket, **more))
        if usual:
            self.application = self.server.engine.records.update_application(self.key, storage=name)
        return self

    def signed(self, **limits: Any) -> str:
        signed = self.application.sign(expires_in=600, now=time.time(), **limits)
        return f"&policy={signed.encoded}&signature={signed.signature}"

    def beside(self, **limits: Any) -> dict[str, str]:
        signed = self.application.sign(expires_in=600, now=time.time(), **limits)
        return {"policy": signed.encoded, "signature": signed.signature}

    def store(self, data: bytes = CONTENT, query: str = "", provider: str = "S3") -> Reply:
        return self.server.post(f"/api/store/{provider}?key={self.key}&filename=a.bin{query}", data)

    def stored(self, data: bytes = CONTENT, query: str = "", provider: str = "S3") -> dict[str, Any]:
        reply = self.store(data, query, provider)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json()
        return found

    def uploads(self) -> list[Path]:
        """Bytes of uploads that the server holds."""
        return [path for path in (self.server.data / "uploads").rglob("*") if path.is_file() and path.name != "lock"]

    def files(self) -> int:
        return self.server.engine.records.count_files(self.key)


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server(smallest_part=1) as server:
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside({"/a.bin": ok(CONTENT, "Content-Type: application/octet-stream")}) as web:
        yield web


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, provider: S3Server, web: Outside) -> Iterator[Server]:
    settings = bucket_settings(provider) | {"fetch_allow": "127.0.0.1", "fetch_ports": str(web.port)}
    with running(tmp_path_factory.mktemp("own"), settings=settings) as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()


@pytest.fixture
def house(place: Server, bucket: S3Server, web: Outside) -> House:
    return House(place, bucket, web)


# ------------------------------------------------------------------------------------------------------- all ways in


def _query(place: dict[str, str]) -> str:
    return "".join(f"&{name}={quote(value, safe='')}" for name, value in place.items())


def raw(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    return house.store(query=_query(place | shown))


def form(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    body, kind = multipart(file_part(CONTENT, "a.bin"))
    return house.server.post(f"/api/store/S3?key={house.key}{_query(place | shown)}", body, kind)


def encoded(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    query = f"&filename=a.bin&base64decode=true{_query(place | shown)}"
    return house.server.post(f"/api/store/S3?key={house.key}{query}", base64.b64encode(CONTENT))


def by_url(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    body = f"url={quote(house.web.url('/a.bin'), safe='')}".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return house.server.post(f"/api/store/S3?key={house.key}&filename=a.bin{_query(place | shown)}", body, kind)


class Parts:
    """The multipart protocol, part by part; straight to the bucket where the server says so."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.started: dict[str, Any] = {}
        self.addresses: list[str] = []

    def call(self, name: str, **values: Any) -> Reply:
        body = {"apikey": self.house.key} | self.started | values
        return self.house.server.post(f"/multipart/{name}", json.dumps(body).encode(), JSON)

    def start(self, place: dict[str, str], shown: dict[str, str], size: int = len(CONTENT)) -> Reply:
        store = {"location": "s3"} | place
        reply = self.call("start", filename="a.bin", mimetype="x/y", size=size, store=store, **shown)
        if reply.status == 200:
            self.started = {name: reply.json()[name] for name in ("uri", "region", "upload_id")}
        return reply

    def put(self, number: int, piece: bytes) -> str:
        md5 = base64.b64encode(hashlib.md5(piece).digest()).decode()
        told = self.call("upload", part=number, size=len(piece), md5=md5)
        assert told.status == 200, told.body
        self.addresses.append(told.json()["url"])
        address = urlsplit(told.json()["url"])
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        try:
            connection.request("PUT", f"{address.path}?{address.query}", body=piece, headers=told.json()["headers"])
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            return str(reply.headers["ETag"])
        finally:
            connection.close()

    def complete(self, etags: dict[int, str]) -> Reply:
        parts = [{"part_number": number, "etag": etag} for number, etag in etags.items()]
        return self.call("complete", filename="a.bin", size=len(CONTENT), mimetype="x/y", parts=parts, store={})


def parts(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    client = Parts(house)
    reply = client.start(place, shown)
    if reply.status != 200:
        return reply
    return client.complete({1: client.put(1, CONTENT[:2000]), 2: client.put(2, CONTENT[2000:])})


def tus(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    told = {"filename": "a.bin"} | place
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
    headers = TUS | {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata}
    query = _query(shown).replace("&", "?", 1)
    reply = house.server.post(f"/tus/{house.key}{query}", b"", headers)
    if reply.status != 201:
        return reply
    path, offset = reply.headers["location"].removeprefix(house.server.url), 0
    for piece in (CONTENT[:1000], CONTENT[1000:]):
        kind = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        reply = house.server.request("PATCH", path, body=piece, headers=kind)
        offset += len(piece)
    if reply.status != 204:
        return reply
    link = house.server.engine.files.find(reply.headers["filestack-handle"])
    answer = {"handle": link.handle, "size": link.size, "container": link.container}
    return Reply(200, reply.headers, json.dumps(answer).encode())


def task(house: House, place: dict[str, str], shown: dict[str, str]) -> Reply:
    chosen = "".join(f",{name}:%22{quote(value, safe='')}%22" for name, value in place.items())
    security = f"security=p:{shown['policy']},s:{shown['signature']}/" if shown else ""
    source = quote(house.web.url("/a.bin"), safe="")
    return house.server.get(f"/{house.key}/{security}store=filename:%22a.bin%22{chosen}/{source}")


WAYS: dict[str, Callable[[House, dict[str, str], dict[str, str]], Reply]] = {
    "raw": raw,
    "form": form,
    "base64": encoded,
    "url": by_url,
    "parts": parts,
    "tus": tus,
    "task": task,
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_every_way_in_puts_the_object_into_the_bucket_and_reads_it_back(house: House, way: str) -> None:
    house.own()
    reply = WAYS[way](house, {}, {})
    assert reply.status == 200, reply.body
    ((where, key), blob) = next(iter(house.bucket.objects.items()))
    assert len(house.bucket.objects) == 1 and where == "bucket" and re.fullmatch(r"[0-9a-z]{20}_a\.bin", key)
    assert blob.data == CONTENT
    answer = reply.json()
    assert answer["size"] == len(CONTENT) and answer["container"] == "bucket"
    assert answer.get("key", key) == key and "notice" not in answer
    assert house.server.get(f"/{answer['handle']}").body == CONTENT
    part = house.server.get(f"/{answer['handle']}", {"Range": "bytes=1000-1999"})
    assert part.status == 206 and part.body == CONTENT[1000:2000]
    assert house.uploads() == [] and house.server.engine.files.find(answer["handle"]).expires is None
    removed = house.server.request("DELETE", f"/api/file/{answer['handle']}?key={house.key}{house.signed(call=['remove'])}")
    assert removed.status == 200, removed.body
    assert house.bucket.objects == {} and house.server.get(f"/{answer['handle']}").status == 404


@every_way
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"path": "x/"}, r"x/[0-9a-z]{20}_a\.bin"),
        ({"path": "/x/y/"}, r"x/y/[0-9a-z]{20}_a\.bin"),
        ({"path": "x/exact.dat"}, r"x/exact\.dat"),
        ({}, r"default/[0-9a-z]{20}_a\.bin"),
    ],
)
def test_the_path_that_was_asked_for_is_where_the_object_lies(
    house: House, way: str, asked: dict[str, str], expected: str
) -> None:
    house.own(path="default/")
    reply = WAYS[way](house, asked, {})
    assert reply.status == 200, reply.body
    ((_, key),) = house.bucket.objects
    assert re.fullmatch(expected, key), key
    assert house.server.get(f"/{reply.json()['handle']}").body == CONTENT


@every_way
@pytest.mark.parametrize(
    ("limits", "asked", "allowed"),
    [
        ({"container": "bucket"}, {}, True),
        ({"container": "other"}, {}, False),
        ({"container": "other"}, {"container": "other"}, True),
        ({"container": "bucket"}, {"container": "other"}, False),
        ({"path": "/default/"}, {}, True),
        ({"path": "/mine/.*"}, {}, False),
        ({"path": "/mine/.*"}, {"path": "mine/x"}, True),
        ({"path": "/"}, {}, False),
    ],
)
def test_policies_judge_where_the_file_would_really_go(
    house: House, way: str, limits: dict[str, str], asked: dict[str, str], allowed: bool
) -> None:
    house.own(path="default/", buckets="other")
    house.application = house.server.engine.records.update_application(house.key, require_policy=True)
    calls = ["pick", "store", "convert"]
    reply = WAYS[way](house, asked, house.beside(call=calls, **limits))
    assert (reply.status == 200) is allowed, reply.body
    if not allowed:
        assert reply.code == "not_permitted" and house.bucket.objects == {} and house.uploads() == []
    else:
        assert [where for where, _ in house.bucket.objects] == [asked.get("container", "bucket")]


@every_way
def test_an_upload_to_a_bucket_needs_store_besides_pick(house: House, way: str) -> None:
    house.own()
    house.application = house.server.engine.records.update_application(house.key, require_policy=True)
    assert WAYS[way](house, {}, house.beside(call=["pick", "convert"])).code == "not_permitted"
    assert house.bucket.seen == []


@every_way
def test_a_container_that_the_storage_does_not_have_is_refused(house: House, way: str) -> None:
    house.own()
    for container in ("other", "far", "Bucket", "../bucket"):
        reply = WAYS[way](house, {"container": container}, {})
        assert (reply.status, reply.code) == (400, "bad_request"), reply.body
    assert house.bucket.seen == [] and house.files() == 0


@every_way
@pytest.mark.parametrize("path", ["a/../b", "a//b", "./a", "a/\u0007b", "x" * 1100])
def test_a_path_that_could_mean_two_places_is_refused(house: House, way: str, path: str) -> None:
    house.own()
    reply = WAYS[way](house, {"path": path}, {})
    assert reply.status in (400, 404), reply.body
    assert house.bucket.objects == {} and house.files() == 0


# --------------------------------------------------------------------------------------------------- straight, or not


def test_parts_go_straight_to_the_bucket_and_no_byte_of_them_to_the_server(house: House) -> None:
    house.own(path="in/")
    client = Parts(house)
    assert client.start({}, {}).status == 200
    pieces = {1: CONTENT[:1500], 2: CONTENT[1500:]}
    etags = {number: client.put(number, piece) for number, piece in pieces.items()}
    assert all(address.startswith(house.bucket.endpoint) for address in client.addresses)
    assert all(spelled.decode("latin-1") not in "".join(client.addresses) for spelled in spellings(SECRET))
    assert list((house.server.data / "uploads").iterdir()) == [] or house.uploads() == []
    reply = client.complete(etags)
    assert reply.status == 200 and house.server.get(f"/{reply.json()['handle']}").body == CONTENT
    seen = [(one.operation, one.size) for one in house.bucket.seen]
    assert ("UploadPart", 1500) in seen and ("UploadPart", len(CONTENT) - 1500) in seen
    assert "PutObject" not in house.bucket.operations()
    assert client.complete(etags).json()["handle"] == reply.json()["handle"], "asked again, the same answer"


def test_a_signed_address_takes_exactly_the_part_that_was_announced(house: House) -> None:
    house.own()
    client = Parts(house)
    client.start({}, {})
    md5 = base64.b64encode(hashlib.md5(b"announced").digest()).decode()
    told = client.call("upload", part=1, size=9, md5=md5).json()
    address = urlsplit(told["url"])
    for body in (b"different", b"longer than announced"):
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        connection.request("PUT", f"{address.path}?{address.query}", body=body, headers=told["headers"])
        assert connection.getresponse().status in (400, 403)
        connection.close()
    assert all(not upload.parts for upload in house.bucket.uploads.values())


@pytest.mark.parametrize("why", ["setting", "write_only"])
def test_parts_go_through_the_server_where_the_bucket_cannot_take_them(
    tmp_path: Path, house: House, bucket: S3Server, web: Outside, why: str
) -> None:
    if why == "write_only":
        house.own(write_only="true")
        check_through(house)
        return
    settings = bucket_settings(bucket) | {"direct_uploads": "false"}
    with running(tmp_path, settings=settings) as server:
        check_through(House(server, bucket, web).own())


def check_through(house: House) -> None:
    client = Parts(house)
    assert client.start({}, {}).status == 200 and house.bucket.seen == []
    etags = {1: client.put(1, CONTENT[:2000]), 2: client.put(2, CONTENT[2000:])}
    assert all(address.startswith(house.server.url) for address in client.addresses)
    assert len(house.uploads()) == 2 and house.bucket.seen == []
    assert client.complete(etags).status == 200
    assert house.uploads() == [] and house.bucket.operations() == ["PutObject"]
    assert [blob.data for blob in house.bucket.objects.values()] == [CONTENT]


def test_a_start_that_is_given_up_leaves_nothing_in_the_bucket(house: House) -> None:
    house.own()
    client = Parts(house)
    client.start({}, {})
    client.put(1, CONTENT[:10])
    assert len(house.bucket.uploads) == 1
    assert client.call("abort").status == 200
    assert house.bucket.uploads == {} and house.bucket.objects == {}


# ------------------------------------------------------------------------------------------------- overwrite, delete


def test_an_overwrite_keeps_handle_and_key_and_readers_see_the_new_content(house: House) -> None:
    house.own()
    answer = house.stored()
    signed = house.signed(call=["write"])
    for method, content in (("POST", b"second"), ("PUT", b"third time")):
        reply = house.server.request(
            method, f"/api/file/{answer['handle']}?key={house.key}{signed}", body=content, headers={"Content-Type": "x/y"}
        )
        assert reply.status == 200, reply.body
        assert [key for _, key in house.bucket.objects] == [answer["key"]]
        assert house.server.get(f"/{answer['handle']}").body == content
    assert house.server.engine.records.used(house.key) == (1, len(b"third time"))


@pytest.mark.parametrize("skip", [False, True])
def test_a_deleted_file_takes_its_object_along_unless_it_is_to_stay(house: House, skip: bool) -> None:
    house.own()
    answer = house.stored()
    more = "&skip_storage=true" if skip else ""
    reply = house.server.request("DELETE", f"/api/file/{answer['handle']}?key={house.key}{more}{house.signed(call=['remove'])}")
    assert reply.status == 200 and reply.body == b"success"
    assert (len(house.bucket.objects) == 1) is skip
    assert house.server.get(f"/{answer['handle']}").status == 404 and house.files() == 0
    assert house.server.engine.records.blobs_to_delete() == []


def test_two_files_of_the_same_path_are_one_object_for_both_handles(house: House) -> None:
    house.own()
    first = house.stored(b"first", "&path=docs/report.txt")
    assert house.server.get(f"/{first['handle']}").body == b"first"
    assert house.store(b"second one", "&path=/docs/report.txt").status == 403, "it is overwriting, which needs a policy"
    pick = house.signed(call=["pick", "store"])
    assert house.store(b"second one", f"&path=docs/report.txt{pick}").status == 403
    assert [blob.data for blob in house.bucket.objects.values()] == [b"first"]
    second = house.stored(b"second one", f"&path=/docs/report.txt{house.signed(call=['pick', 'store', 'write'])}")
    assert first["handle"] != second["handle"] and first["key"] == second["key"] == "docs/report.txt"
    assert [blob.data for blob in house.bucket.objects.values()] == [b"second one"]
    for handle in (first["handle"], second["handle"]):
        reply = house.server.get(f"/{handle}")
        assert reply.body == b"second one" and reply.headers["content-length"] == "10"
    assert house.server.engine.records.used(house.key) == (2, 20)
    signed = house.signed(call=["remove"])
    house.server.request("DELETE", f"/api/file/{first['handle']}?key={house.key}{signed}")
    assert house.server.get(f"/{first['handle']}").status == 404
    assert house.server.get(f"/{second['handle']}").body == b"second one"
    house.server.request("DELETE", f"/api/file/{second['handle']}?key={house.key}{signed}")
    assert house.bucket.objects == {}


def test_deleting_an_application_leaves_the_customers_objects(house: House) -> None:
    house.own()
    answer = house.stored()
    house.server.engine.files.remove_application(house.key)
    assert len(house.bucket.objects) == 1 and house.server.get(f"/{answer['handle']}").status == 404


# ----------------------------------------------------------------------------------------------------------- write-only


@every_way
def test_rights_to_write_are_enough_to_write_and_nothing_else_is_ever_asked(house: House, way: str) -> None:
    house.own(write_only="true")
    house.bucket.denied |= READING
    reply = WAYS[way](house, {}, {})
    assert reply.status == 200, reply.body
    assert not READING & set(house.bucket.operations()), house.bucket.operations()
    handle = reply.json()["handle"]
    for target in (f"/{handle}", f"/resize=width:10/{handle}", f"/api/file/{handle}", f"/api/file/{handle}/metadata?md5=true"):
        refused = house.server.get(target)
        assert (refused.status, refused.code) == (424, "storage_refused"), (target, refused.body)
    assert not READING & set(house.bucket.operations())
    again = house.server.get(f"/api/file/{handle}/metadata")
    assert again.status == 200 and again.json()["size"] == len(CONTENT)


def test_a_failed_upload_to_a_write_only_bucket_reads_and_deletes_nothing(house: House) -> None:
    house.own(write_only="true")
    house.bucket.denied |= READING
    house.bucket.fail("PutObject", status=400, code="InvalidRequest", times=99)
    assert house.store().status == 424
    assert not READING & set(house.bucket.operations()) and house.files() == 0


# ------------------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize("way", ["raw", "form", "tus", "parts", "task"])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 503, "code": "SlowDown", "times": 1}, 200, ""),
        ({"how": "silent", "times": 1}, 200, ""),
        ({"status": 503, "code": "SlowDown", "times": 99}, 503, "storage_fault"),
        ({"status": 403, "code": "AccessDenied", "times": 99}, 424, "storage_refused"),
        ({"status": 403, "code": "SignatureDoesNotMatch", "times": 99}, 424, "storage_refused"),
        ({"status": 404, "code": "NoSuchBucket", "times": 99}, 424, "storage_refused"),
        ({"status": 400, "code": "EntityTooLarge", "times": 99}, 4, ""),
    ],
    ids=["slow once", "reset once", "slow", "denied", "signature", "no bucket", "too large"],
)
def test_what_the_bucket_says_no_to_is_told_as_what_it_is_and_records_nothing(
    house: House, way: str, fault: dict[str, Any], status: int, code: str
) -> None:
    house.own()
    house.bucket.fail("CreateMultipartUpload" if way == "parts" else "PutObject", **fault)
    reply = WAYS[way](house, {}, {})
    if status == 200:
        assert reply.status == 200, reply.body
        assert house.server.get(f"/{reply.json()['handle']}").body == CONTENT
        return
    assert reply.status == status or (status == 4 and 400 <= reply.status < 500), reply.body
    assert not code or reply.code == code
    assert house.files() == 0 and house.bucket.objects == {}
    for secret in (SECRET, KEY_ID, "127.0.0.1", "words of the provider"):
        assert secret.encode() not in reply.body


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"status": 403, "code": "AccessDenied", "times": 99}, 424),
        ({"status": 503, "code": "SlowDown", "times": 99}, 503),
        ({"status": 404, "code": "NoSuchKey", "times": 99}, 404),
        ({"status": 503, "code": "SlowDown", "times": 1}, 200),
    ],
    ids=["denied", "slow", "missing", "slow once"],
)
def test_reading_what_the_bucket_does_not_give_is_told_as_what_it_is(house: House, fault: dict[str, Any], status: int) -> None:
    house.own()
    handle = house.stored()["handle"]
    house.bucket.fail("GetObject", **fault)
    for target in (f"/{handle}", f"/api/file/{handle}/metadata?sha1=true"):
        house.bucket.faults[:] = []
        house.bucket.fail("GetObject", **fault)
        assert house.server.get(target).status == status, target


def test_a_failed_overwrite_leaves_the_old_content(house: House) -> None:
    house.own()
    handle = house.stored()["handle"]
    house.bucket.denied.add("PutObject")
    target = f"/api/file/{handle}?key={house.key}{house.signed(call=['write'])}"
    assert house.server.post(target, b"new").status == 424
    assert house.server.get(f"/{handle}").body == CONTENT


def test_an_object_that_the_bucket_does_not_delete_is_deleted_at_the_next_start(
    tmp_path: Path, bucket: S3Server, web: Outside
) -> None:
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        house = House(server, bucket, web).own()
        handle = house.stored()["handle"]
        bucket.denied.add("DeleteObject")
        reply = server.request("DELETE", f"/api/file/{handle}?key={house.key}{house.signed(call=['remove'])}")
        assert reply.status == 200 and server.get(f"/{handle}").status == 404, "for the client it is gone"
        assert len(bucket.objects) == 1
        server.stop()
        bucket.denied.clear()
        server.start()
        assert bucket.objects == {}


# ---------------------------------------------------------------------------------------------- more than one, aliases


def test_an_application_with_two_storages_has_its_files_where_it_asks_for_them(house: House) -> None:
    house.own().own("archive", usual=False, bucket="other", path="old/")
    usual, named = house.stored(), house.stored(provider="archive")
    assert (usual["container"], named["container"]) == ("bucket", "other")
    assert named["key"].startswith("old/")
    assert {where for where, _ in house.bucket.objects} == {"bucket", "other"}
    reply = house.server.get(f"/store=location:archive/{usual['handle']}")
    assert reply.status == 200 and reply.json()["container"] == "other", reply.body
    for handle in (usual["handle"], named["handle"], reply.json()["handle"]):
        assert house.server.get(f"/{handle}").body == CONTENT
    assert house.store(provider="gcs").status == 400
    assert house.store(provider="local").status == 400, "the server's own is not meant for it any more"


def test_the_storage_of_another_application_cannot_be_named(
    house: House, place: Server, bucket: S3Server, web: Outside
) -> None:
    house.own("theirs")
    other = House(place, bucket, web).own("mine")
    assert other.store(provider="theirs").status == 400
    assert other.server.get(f"/{other.key}/store=location:theirs/{quote(web.url('/a.bin'), safe='')}").status == 400
    assert bucket.objects == {}


def test_an_alias_reads_objects_of_the_bucket_below_its_prefix(house: House) -> None:
    house.own()
    house.server.engine.records.update_application(
        house.key, aliases={"media": "storage:assets/prefix", "all": "storage:assets"}
    )
    house.bucket.objects["bucket", "prefix/photo.png"] = Blob(picture(40, 30, "PNG"), '"x"')
    house.bucket.objects["bucket", "secret.png"] = Blob(picture(10, 10, "PNG"), '"y"')
    reply = house.server.get(f"/{house.key}/resize=width:20/src://media/photo.png")
    assert reply.status == 200 and reply.headers["content-type"] == "image/png", reply.body
    for climbing in ("../secret.png", "%2e%2e/secret.png", "x/../../secret.png", "missing.png"):
        refused = house.server.get(f"/{house.key}/resize=width:20/src://media/{climbing}")
        assert refused.status in (400, 404), (climbing, refused.body)
    assert house.server.get(f"/{house.key}/resize=width:5/src://all/secret.png").status == 200
    house.bucket.denied.add("GetObject")
    assert house.server.get(f"/{house.key}/resize=width:21/src://media/photo.png").status == 424


def test_an_answer_about_a_file_in_a_bucket_says_nothing_of_the_servers_own_names(house: House) -> None:
    house.own(path="in/")
    answer = house.stored()
    (row,) = house.server.engine.storages.of(house.key)
    names = "container=true&key=true&path=true&location=true"
    facts = house.server.get(f"/api/file/{answer['handle']}/metadata?{names}")
    assert facts.status == 200
    assert row.id not in json.dumps(answer) + facts.body.decode()
    assert facts.json()["container"] == "bucket" and facts.json()["key"] == answer["key"]


def test_a_picture_in_a_bucket_is_transformed_like_any(house: House) -> None:
    house.own()
    handle = house.stored(picture())["handle"]
    reply = house.server.get(f"/resize=width:100/{handle}")
    assert reply.status == 200 and reply.headers["content-type"] == "image/jpeg"


def test_large_files_go_to_the_bucket_in_parts_and_come_back_whole(house: House) -> None:
    house.own()
    data = os.urandom(20_000_000)
    answer = house.stored(data)
    assert "CompleteMultipartUpload" in house.bucket.operations()
    reply = house.server.get(f"/{answer['handle']}")
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(data).digest()
    tail = house.server.get(f"/{answer['handle']}", {"Range": "bytes=-1000000"})
    assert tail.status == 206 and tail.body == data[-1_000_000:]


# --------------------------------------------------------------------------------------------------------- keys, dumps


def test_keys_are_rotated_while_the_server_runs_and_goes_on_using_bucket_and_secrets(
    tmp_path: Path, bucket: S3Server, web: Outside
) -> None:
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        house = House(server, bucket, web, require_policy=True).own()
        store = house.signed(call=["pick", "store"])
        handle = house.stored(query=store)["handle"]
        read = house.signed(call=["read"]).replace("&", "?", 1)
        vault = server.data / "master.key"
        before = vault.read_text().strip()
        entry = new_master_key(fresh_key_id(open_vault(server.engine.settings)))
        vault.write_text(f"{before}\n{entry}\n")
        server.engine.records.rewrap_secrets()
        server.engine.storages.rewrap()
        vault.write_text(f"{entry}\n")  # the old key is taken out
        server.engine.storages.change(house.key, "assets", {"path": "after/"})  # so that every process reads the rows again
        assert server.get(f"/{handle}{read}").body == CONTENT
        assert server.get(f"/{handle}{read}x").code == "signature_invalid"
        assert house.stored(b"new", store)["key"].startswith("after/")
        server.stop()
        server.start()
        assert server.get(f"/{handle}{read}").body == CONTENT, "and with the new key alone"


def test_nothing_that_the_server_writes_holds_a_credential(tmp_path: Path, bucket: S3Server, web: Outside) -> None:
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        house = House(server, bucket, web).own(session_token="marker-session-token-marker")
        answers = [house.store(), WAYS["parts"](house, {}, {}), WAYS["tus"](house, {}, {})]
        bucket.denied |= {"PutObject", "CreateMultipartUpload", "GetObject"}
        answers += [house.store(), WAYS["parts"](house, {}, {}), server.get(f"/{answers[0].json()['handle']}")]
        assert [reply.status for reply in answers] == [200, 200, 200, 424, 424, 424]
        said = [("answer", reply.body + repr(reply.headers).encode()) for reply in answers]
        for name, written in (*said, *((str(path), data) for path, data in server.written())):
            for secret in (SECRET, "marker-session-token-marker"):
                assert not [spelled for spelled in spellings(secret) if spelled in written], name
