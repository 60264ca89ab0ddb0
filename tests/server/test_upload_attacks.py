"""Attacks on the ways in: each test is one, and passes when the attacker gets nothing."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from live import Reply, Server, file_part, multipart, picture, running
from outside import Outside, answer, ok

from secure_delivery.engine import tables
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.uploads import MAX_PARTS
from secure_delivery.gate.errors import Busy, SecureDeliveryError
from secure_delivery.gate.model import Application
from secure_delivery.gate.policy import SignedPolicy
from secure_delivery.gate.whitelist import Whitelist

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "s3" / "tests"))

from s3_server import S3Server

JSON = {"Content-Type": "application/json"}
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}
KEY_ID, SECRET = "AKIAMARKERMARKERMARK", "marker/secret+marker/secret+marker/secret="
QUOTA = 3_000_000
MOST = 20_000_000
PICTURE = picture(40, 20)


web_released = threading.Event()


def stuck(connection: Any) -> None:
    """The head, and never a body."""
    connection.sendall(answer("200 OK", "Content-Length: 100"))
    web_released.wait(30)


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    scripts: dict[str, Any] = {"/a.jpg": ok(PICTURE), "/big": ok(bytes(5000)), "/stuck": stuck}
    scripts |= {f"/stuck{number}": stuck for number in range(60)}
    with Outside(scripts) as outside:
        yield outside
        web_released.set()


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1", "other": "us-east-1"}) as server:
        yield server


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disk") / "media"
    root.mkdir()
    (root / "a.txt").write_text("the server's own")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside, bucket: S3Server, disk: Path) -> Iterator[Server]:
    settings = {
        "fetch_allow": web.at,
        "storage_allow": "127.0.0.1",
        "storage_ports": str(bucket.port),
        "folders": f"media={disk}",
        "development_bytes": QUOTA,
        "max_bytes": MOST,
        "fetch_keep": 0,
    }
    with running(tmp_path_factory.mktemp("attacked"), settings=settings) as server:
        yield server


@pytest.fixture
def victim(place: Server) -> Application:
    return place.application(require_policy=True)


@pytest.fixture
def attacker(place: Server) -> Application:
    return place.application()


def sign(application: Application, *call: str, **limits: Any) -> SignedPolicy:
    return application.sign(expires_in=60, now=time.time(), call=list(call) or None, **limits)


def beside(signed: SignedPolicy | None) -> dict[str, str]:
    return {} if signed is None else {"policy": signed.encoded, "signature": signed.signature}


def meta(**values: str) -> dict[str, str]:
    return {"Upload-Metadata": ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in values.items())}


def path_of(url: str) -> str:
    return "/" + url.split("://", 1)[1].split("/", 1)[1]


def call(server: Server, path: str, application: Application | None = None, **values: Any) -> Reply:
    named = {} if application is None else {"apikey": application.api_key}
    return server.post(path, json.dumps(named | values).encode(), JSON)


def weight(server: Server) -> int:
    """Bytes on the server's disk of uploads and files."""
    return sum(
        path.stat().st_size for name in ("files", "uploads") for path in (server.data / name).rglob("*") if path.is_file()
    )


@dataclass
class Parts:
    """An upload by the multipart protocol."""

    server: Server
    application: Application
    token: str = ""

    def call(self, path: str, **values: Any) -> Reply:
        return call(self.server, f"/multipart/{path}", self.application, **({"upload_id": self.token} | values))

    def start(self, size: int, **values: Any) -> Reply:
        reply = self.call("start", **({"filename": "a.bin", "size": size} | values))
        if reply.status == 200:
            self.token = reply.json()["upload_id"]
        return reply

    def put(self, data: bytes, number: int = 1) -> Reply:
        asked = self.call("upload", part=number, size=len(data))
        if asked.status != 200:
            return asked
        return self.server.request("PUT", path_of(asked.json()["url"]), body=data)

    def complete(self, data: bytes, **values: Any) -> Reply:
        etag = hashlib.md5(data).hexdigest()
        return self.call("complete", **({"parts": [{"part_number": 1, "etag": etag}]} | values))

    def whole(self, data: bytes, **values: Any) -> Reply:
        assert self.start(len(data), **values).status == 200
        assert self.put(data).status == 200
        return self.complete(data)


@dataclass
class Tus:
    """An upload by tus."""

    server: Server
    application: Application
    query: str = ""

    def create(self, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        return self.server.post(f"/tus/{self.application.api_key}{self.query}", body, TUS | dict(headers))

    def begun(self, size: int, **more: str) -> str:
        reply = self.create({"Upload-Length": str(size), **more})
        assert reply.status == 201, reply.body
        return path_of(reply.headers["location"])

    def patch(self, path: str, offset: int, data: bytes, **more: str) -> Reply:
        return self.server.request("PATCH", path, body=data, headers=TUS | OCTETS | {"Upload-Offset": str(offset)} | more)


def with_bucket(server: Server, bucket: S3Server, **options: str) -> Application:
    """An application with a bucket of its own."""
    application = server.application(storage="")
    given = {
        "bucket": "bucket",
        "endpoint": bucket.endpoint,
        "insecure": "true",
        "path_style": "true",
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
        **options,
    }
    server.engine.storages.add(application.api_key, "mine", "s3", given)
    return server.engine.records.update_application(application.api_key, storage="mine")


# ------------------------------------------------------------------------------------------------- one tenant and another


def test_the_token_of_an_upload_is_of_no_use_with_another_key(
    place: Server, victim: Application, attacker: Application
) -> None:
    signed = {"security": beside(sign(victim, "pick", "store"))}
    theirs = Parts(place, victim)
    assert theirs.start(5, **signed).status == 200
    thief = Parts(place, attacker, theirs.token)
    for path, values in (
        ("upload", {"part": 1, "size": 5}),
        ("commit", {"part": 1}),
        ("complete", {"parts": [{"part_number": 1, "etag": "a"}]}),
        ("abort", {}),
    ):
        assert thief.call(path, **values).status == 404, path
    for method in ("HEAD", "PATCH", "DELETE"):
        reply = place.request(method, f"/tus/{attacker.api_key}/{theirs.token}", headers=TUS | OCTETS | {"Upload-Offset": "0"})
        assert reply.status == 404
    assert theirs.put(b"12345").status == 200


def test_pieces_of_others_and_whole_uploads_of_others_cannot_be_joined(
    place: Server, victim: Application, attacker: Application
) -> None:
    shown = sign(victim, "pick", "store").as_query()
    theirs, mine = Tus(place, victim, f"?{shown}"), Tus(place, attacker)
    piece = theirs.begun(5, **{"Upload-Concat": "partial"})
    theirs.patch(piece, 0, b"their")
    token = piece.rpartition("/")[2]
    for address in (piece, f"/tus/{attacker.api_key}/{token}", f"{place.url}{piece}", f"/tus/{attacker.api_key}/../{token}"):
        reply = mine.create({"Upload-Concat": f"final;{address}"})
        assert reply.status == 400, address
        assert b"their" not in reply.body


@pytest.mark.parametrize("how", ["provider", "multipart", "tus", "task", "alias"])
def test_storages_of_others_cannot_be_named(place: Server, bucket: S3Server, attacker: Application, how: str) -> None:
    owner = with_bucket(place, bucket)
    (row,) = place.engine.storages.of(owner.api_key)
    for name in (row.name, row.id.lower(), row.id):
        if how == "alias" and name == row.id:
            continue  # no name of a storage in an alias
        before = place.engine.records.count_files(owner.api_key)
        if how == "provider":
            reply = place.post(f"/api/store/{quote(name)}?key={attacker.api_key}", b"x")
        elif how == "multipart":
            reply = Parts(place, attacker).start(5, store={"location": name})
        elif how == "tus":
            reply = Tus(place, attacker).create({"Upload-Length": "5"} | meta(location=name))
        elif how == "task":
            link = place.put(attacker, b"words")
            reply = place.post(f"/store=location:{name.lower()}/{link.handle}")
        else:
            spy = place.application(aliases={"a": f"storage:{name}"})
            reply = place.get(f"/{spy.api_key}/src://a/x")
        assert 400 <= reply.status < 500, (name, reply.body)
        assert row.id.encode() not in reply.body
        assert place.engine.records.count_files(owner.api_key) == before


def test_no_answer_shows_what_the_server_calls_a_storage(place: Server, bucket: S3Server) -> None:
    owner = with_bucket(place, bucket)
    (row,) = place.engine.storages.of(owner.api_key)
    stored = place.post(f"/api/store/s3?key={owner.api_key}&filename=a.txt", b"words")
    assert stored.status == 200, stored.body
    handle = stored.json()["handle"]
    told = [stored, place.get(f"/api/file/{handle}/metadata?location=true&path=true&container=true&key=true")]
    told += [Parts(place, owner).start(5), Tus(place, owner).create({"Upload-Length": "5"})]
    told.append(Parts(place, owner).start(5, store={"container": "nobody's"}))
    bucket.fail("GetObject", how="error", status=403, code="AccessDenied", times=3)
    told.append(place.get(f"/{handle}?dl=true"))
    bucket.faults.clear()
    for reply in told:
        everything = reply.body + repr(sorted(reply.headers.items())).encode()
        assert row.id.encode() not in everything and SECRET.encode() not in everything
        assert str(place.data).encode() not in everything and f":{bucket.port}".encode() not in everything


def test_a_credential_of_one_application_opens_no_upload_of_another(
    place: Server, victim: Application, attacker: Application
) -> None:
    mine = sign(attacker, "pick", "store", "write", "remove", "read")
    link = place.put(victim, b"theirs")
    assert Parts(place, victim).start(5, security=beside(mine)).status == 403
    assert Tus(place, victim, f"?{mine.as_query()}").create({"Upload-Length": "5"}).status == 403
    assert call(place, "/process", victim, sources=[link.handle], tasks=[{"name": "store"}], **beside(mine)).status == 403
    assert call(place, "/process", attacker, sources=[link.handle], tasks=[{"name": "store"}], **beside(mine)).status in (
        403,
        404,
    )
    for method, path in (("DELETE", ""), ("POST", ""), ("PUT", ""), ("POST", "/restore"), ("DELETE", "/renditions")):
        reply = place.request(method, f"/api/file/{link.handle}{path}?key={attacker.api_key}&{mine.as_query()}", body=b"x")
        assert reply.status in (403, 404), (method, path)
    found = place.engine.records.file(link.handle)
    assert found is not None and found.sha256 == hashlib.sha256(b"theirs").hexdigest()


# ------------------------------------------------------------------------------------------------------ around the policy


def test_a_picker_asks_the_url_pattern_of_a_policy_for_folders_of_the_server_too(place: Server) -> None:
    application = place.application(require_policy=True, aliases={"media": "folder:media"})
    bound = sign(application, "pick", "store", url="https://trusted\\.example/.*")
    task = call(place, "/process", application, sources=["src://media/a.txt"], tasks=[{"name": "store"}], **beside(bound))
    assert task.status == 403
    picked = call(
        place, "/store/", application, clouds={"customsource": {"path": "/media/a.txt", "store": {}}}, **beside(bound)
    )
    assert picked.status == 403, "a policy that is bound to addresses took a file of the server's disk"


def test_a_partial_upload_takes_no_more_than_the_policy_admits(place: Server) -> None:
    application = place.application(require_policy=True)
    client = Tus(place, application, f"?{sign(application, 'pick', 'store', max_size=1000).as_query()}")
    created = client.create({"Upload-Length": "1000000", "Upload-Concat": "partial"})
    if created.status == 201:
        client.patch(path_of(created.headers["location"]), 0, bytes(1_000_000))
        held = max(path.stat().st_size for path in (place.data / "uploads").rglob("body"))
        assert held <= 1000 + 65_536, f"{held} bytes were taken under a policy of at most 1000"


@pytest.mark.parametrize("how", ["raw", "chunked", "base64", "form", "parts", "tus", "deferred", "url", "process", "picker"])
@pytest.mark.parametrize("bound", [{"max_size": 4999}, {"min_size": 5001}])
def test_no_way_in_takes_more_or_less_than_the_policy_admits(
    place: Server, web: Outside, disk: Path, how: str, bound: dict[str, int]
) -> None:
    (disk / "big.bin").write_bytes(bytes(5000))
    application = place.application(require_policy=True, aliases={"media": "folder:media"})
    signed = sign(application, "pick", "store", **bound)
    data, query = bytes(5000), f"key={application.api_key}&{signed.as_query()}"
    if how == "raw":
        reply = place.post(f"/api/store/s3?{query}", data)
    elif how == "chunked":
        body = b"1388\r\n" + data + b"\r\n0\r\n\r\n"
        reply = place.post(f"/api/store/s3?{query}", body, {"Transfer-Encoding": "chunked"})
    elif how == "base64":
        reply = place.post(f"/api/store/s3?{query}&base64decode=true", base64.b64encode(data))
    elif how == "form":
        body, headers = multipart(file_part(data))
        reply = place.post(f"/api/store/s3?{query}", body, headers)
    elif how == "parts":
        reply = Parts(place, application).start(5000, security=beside(signed))
    elif how == "tus":
        reply = Tus(place, application, f"?{signed.as_query()}").create({"Upload-Length": "5000"})
    elif how == "deferred":
        client = Tus(place, application, f"?{signed.as_query()}")
        path = path_of(client.create({"Upload-Defer-Length": "1"}).headers["location"])
        reply = client.patch(path, 0, data)
        if reply.status == 204:
            reply = client.patch(path, 5000, b"", **{"Upload-Length": "5000"})
    elif how == "url":
        reply = place.post(f"/api/store/s3?{query}", f"url={quote(web.url('/big'), safe='')}".encode(),
            {"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    elif how == "process":
        reply = call(place, "/process", application, sources=[web.url("/big")], tasks=[{"name": "store"}], **beside(signed))
    else:
        wanted = {"customsource": {"path": "/media/big.bin", "store": {}}}
        reply = call(place, "/store/", application, clouds=wanted, **beside(signed))
    assert reply.status in (400, 403, 413), reply.body
    assert place.engine.records.count_files(application.api_key) == 0


def test_a_minimum_size_is_asked_of_the_file_and_not_of_the_form_that_names_it(place: Server, web: Outside) -> None:
    application = place.application(require_policy=True)
    signed = sign(application, "pick", "store", min_size=1000)
    body = f"url={quote(web.url('/big'), safe='')}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = place.post(f"/api/store/s3?key={application.api_key}&{signed.as_query()}", body, headers)
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("left_out", ["pick", "store"])
def test_a_bucket_of_the_customer_needs_both_calls_by_every_way(place: Server, bucket: S3Server, left_out: str) -> None:
    owner = with_bucket(place, bucket)
    owner = place.engine.records.update_application(owner.api_key, require_policy=True)
    link = place.put(owner, b"words")
    some = sign(owner, "store" if left_out == "pick" else "pick", "convert", "read")
    shown = some.as_query()
    replies = [
        place.post(f"/api/store/s3?key={owner.api_key}&{shown}", b"x"),
        Parts(place, owner).start(5, security=beside(some)),
        Tus(place, owner, f"?{shown}").create({"Upload-Length": "5"}),
        call(place, "/process", owner, sources=[link.handle], tasks=[{"name": "store"}], **beside(some)),
        place.post(f"/{owner.api_key}/store/{link.handle}?{shown}"),
    ]
    assert [reply.status for reply in replies] == [403] * len(replies)


@pytest.mark.parametrize(
    "path", ["/private/../public/a", "/public//a", "/public/\u202ea", "/public/./a", "\\public\\a", "/publi\u0063/../b"]
)
def test_a_path_that_two_readers_take_differently_is_refused_by_every_way(place: Server, bucket: S3Server, path: str) -> None:
    owner = with_bucket(place, bucket)
    replies = [
        place.post(f"/api/store/s3?key={owner.api_key}&path={quote(path, safe='')}", b"x"),
        Parts(place, owner).start(5, store={"path": path}),
        Tus(place, owner).create({"Upload-Length": "5"} | meta(path=path)),
        call(
            place,
            "/process",
            owner,
            sources=[place.put(owner, b"y").handle],
            tasks=[{"name": "store", "params": {"path": path}}],
        ),
    ]
    assert [reply.status for reply in replies] == [400] * len(replies), [reply.body for reply in replies]


def test_parts_that_went_to_the_bucket_are_no_more_than_the_policy_admits(place: Server, bucket: S3Server) -> None:
    """The same part is asked for twice: sent large under the first address, counted small under the second."""
    owner = with_bucket(place, bucket)
    owner = place.engine.records.update_application(owner.api_key, require_policy=True)
    large, small = 8 << 20, 5 << 20
    signed = sign(owner, "pick", "store", max_size=large)
    bucket.objects[("bucket", "shared/report.bin")] = bucket.objects.get(("bucket", "none"), None) or _blob(b"what was there")
    client = Parts(place, owner)
    reply = client.start(large, security=beside(signed), store={"path": "/shared/"})
    assert reply.status == 200, reply.body

    def sent(number: int, size: int) -> str:
        asked = client.call("upload", part=number, size=size)
        assert asked.status == 200, asked.body
        target = asked.json()["url"]
        host = target.split("://")[1].split("/")[0]
        assert host == f"127.0.0.1:{bucket.port}", "parts of this upload go to the bucket"
        connection = http.client.HTTPConnection(host)
        connection.request("PUT", path_of(target), body=bytes(size))
        answered = connection.getresponse()
        answered.read()
        connection.close()
        assert answered.status == 200
        return str(answered.headers["etag"])

    first = sent(1, large)
    assert client.call("upload", part=1, size=small).status == 200  # not sent: only counted
    second = sent(2, large - small)
    parts = [{"part_number": 1, "etag": first}, {"part_number": 2, "etag": second}]
    done = client.call("complete", parts=parts)
    assert done.status >= 400
    left = {key: blob.data for key, blob in bucket.objects.items() if key[1].startswith("shared/")}
    assert left == {("bucket", "shared/report.bin"): b"what was there"}, "nothing of a refused upload stays in the bucket"


def test_parts_for_a_path_of_its_own_never_go_straight_to_the_bucket(place: Server, bucket: S3Server) -> None:
    """What arrives is known when it is there: then it would be in the place of what was there."""
    owner = with_bucket(place, bucket)
    client = Parts(place, owner)
    assert client.start(8 << 20, store={"path": "/alone/report.bin"}).status == 200
    url = client.call("upload", part=1, size=8 << 20).json()["url"]
    assert url.startswith(place.url)


def test_a_path_that_is_asked_for_again_replaces_no_file_without_the_right_to_overwrite(
    place: Server, bucket: S3Server
) -> None:
    """Overwriting always needs authentication (security promise 22), by its handle or by its path."""
    owner = with_bucket(place, bucket)
    link = place.engine.files.add(owner, begun(place, owner, b"the contract", path="/contracts/one.txt"))
    told = place.get(f"/api/file/{link.handle}/metadata?path=true").json()["path"]
    place.post(f"/api/store/s3?key={owner.api_key}&path={quote(told, safe='')}", b"another contract")
    assert place.get(f"/{link.handle}").body == b"the contract", "a stranger replaced a file by its path"


def _blob(data: bytes) -> Any:
    from s3_server import Blob

    return Blob(data, f'"{hashlib.md5(data).hexdigest()}"', {}, len(data))


# ------------------------------------------------------------------------------- files that nobody may read, or that are gone


@pytest.mark.parametrize("state", ["held", "removed", "expired"])
def test_a_file_that_may_not_be_read_is_not_read_by_any_way_even_after_it_was_remembered(place: Server, state: str) -> None:
    application = place.application(aliases={})
    link, good = place.put(application, PICTURE, "a.jpg"), place.put(application, picture(30, 30), "b.jpg")
    handle = link.handle
    chains = [
        ("GET", f"/{handle}"),
        ("GET", f"/api/file/{handle}"),
        ("GET", f"/api/file/{handle}/metadata"),
        ("GET", f"/api/file/{handle}/metadata?md5=true"),
        ("GET", f"/resize=width:10/{handle}"),
        ("GET", f"/imagesize/{handle}"),
        ("GET", f"/watermark=file:{handle}/{good.handle}"),
        ("GET", f"/collage=files:[{handle}],width:50,height:50/{good.handle}"),
        ("GET", f"/zip/[{good.handle},{handle}]"),
        ("GET", f"/resize=width:9/{place.url}/{handle}"),
        ("GET", f"/fallback=file:{handle}/resize=width:10/aaaaaaaaaaaaaaaaaaaaa"),
        ("POST", f"/{application.api_key}/store/{handle}"),
        ("POST", f"/{application.api_key}/resize=width:10/store/{handle}"),
        ("GET", f"/api/file/{handle}/convert?w=10"),
    ]
    for method, target in chains * 2:
        place.request(method, target)
    now = int(time.time() * 1000)
    marks = {"held": {"held": now}, "removed": {"removed": now, "expires": now + 60_000}, "expired": {"expires": now - 1}}
    place.engine.records.mark_file(handle, application=application.api_key, **marks[state])
    before = place.engine.records.count_files(application.api_key)
    for method, target in chains:
        reply = place.request(method, target)
        assert 400 <= reply.status < 500, (method, target, reply.status)
        assert PICTURE not in reply.body
    assert place.engine.records.count_files(application.api_key) <= before
    gone = call(place, "/process", application, sources=[handle], tasks=[{"name": "store"}])
    assert 400 <= gone.status < 500


def test_an_answer_from_memory_does_not_outlive_the_file(place: Server, attacker: Application) -> None:
    stored = place.post(f"/api/store/s3?key={attacker.api_key}&expires_in=2", PICTURE).json()
    targets = [f"/{stored['handle']}", f"/resize=width:10/{stored['handle']}"]
    deadline = time.time() + 2.2
    while time.time() < deadline:
        for target in targets:
            place.get(target)
    assert [place.get(target).status for target in targets] == [404, 404]


@pytest.mark.parametrize("how", ["tus", "parts"])
def test_who_uploaded_a_file_cannot_bring_its_handle_back_with_other_bytes(
    place: Server, attacker: Application, how: str
) -> None:
    """Handles are never used again (security promise 56): what others link to is not to become something else."""
    if how == "tus":
        tus = Tus(place, attacker)
        path = tus.begun(5)
        handle = tus.patch(path, 0, b"first").headers["filestack-handle"]
    else:
        parts = Parts(place, attacker)
        handle = parts.whole(b"first").json()["handle"]
    link = place.engine.records.file(handle)
    assert link is not None
    place.engine.files.remove(link)
    assert place.get(f"/{handle}").status == 404
    if how == "tus":
        again = tus.patch(path, 0, b"other")
    else:
        parts.complete(b"first")  # makes the folder of the upload anew
        parts.put(b"other")
        again = parts.complete(b"other")
    assert place.get(f"/{handle}").status == 404, "a deleted handle is there again with other content"
    assert 400 <= again.status < 500


@pytest.mark.parametrize("how", ["tus", "parts"])
def test_finishing_again_after_a_deletion_that_can_be_undone_is_no_fault_of_the_server(place: Server, how: str) -> None:
    application = place.application(undo=600)
    if how == "tus":
        tus = Tus(place, application)
        path = tus.begun(5)
        handle = tus.patch(path, 0, b"first").headers["filestack-handle"]
    else:
        parts = Parts(place, application)
        handle = parts.whole(b"first").json()["handle"]
    link = place.engine.records.file(handle)
    assert link is not None
    place.engine.files.remove(link, undo=600)
    if how == "tus":
        again = tus.patch(path, 0, b"other")
    else:
        parts.complete(b"first")
        parts.put(b"other")
        again = parts.complete(b"other")
    assert 400 <= again.status < 500, again.body


def test_an_upload_that_is_a_file_takes_no_more_parts(place: Server, attacker: Application) -> None:
    parts = Parts(place, attacker)
    assert parts.whole(b"first").status == 200
    assert parts.complete(b"first").status == 200
    assert parts.put(b"other").status in (404, 409)


def test_a_time_to_live_outlasts_overwriting_and_undoing(place: Server) -> None:
    """The uploader said when the file goes; nobody said since that it stays."""
    application = place.application(undo=600, storage="server")
    secret = application.sign(expires_in=60, now=time.time()).as_query()
    stored = place.post(f"/api/store/s3?key={application.api_key}&expires_in=3600", b"words").json()
    found = place.engine.records.file(stored["handle"])
    assert found is not None and found.expires is not None
    assert place.request("DELETE", f"/api/file/{stored['handle']}?{secret}").status == 200
    assert place.post(f"/api/file/{stored['handle']}/restore?{secret}").status == 200
    restored = place.engine.records.file(stored["handle"])
    assert restored is not None and restored.expires is not None, "deleted and restored, it stays for ever"


def test_a_time_to_live_holds_for_what_is_fetched(place: Server, web: Outside) -> None:
    application = place.application(storage="server")
    body = f"url={quote(web.url('/a.jpg'), safe='')}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    stored = place.post(f"/api/store/s3?key={application.api_key}&expires_in=3600", body, headers)
    assert stored.status == 200, stored.body
    found = place.engine.records.file(stored.json()["handle"])
    assert found is not None and found.expires is not None, "expires_in was dropped without a word"


# ------------------------------------------------------------------------------------------------------- disk and threads


def test_unfinished_uploads_count_against_the_quota_of_the_development_storage(place: Server, attacker: Application) -> None:
    before, taken = weight(place), 0
    tus = Tus(place, attacker)
    piece = bytes(1_000_000)
    for _ in range(8):
        created = tus.create({"Upload-Length": str(len(piece) + 1)})
        if created.status == 201 and tus.patch(path_of(created.headers["location"]), 0, piece).status == 204:
            taken += 1
    for _ in range(8):
        parts = Parts(place, attacker)
        if parts.start(len(piece) + 1).status == 200:
            taken += parts.put(piece).status == 200
    grown = weight(place) - before
    assert grown <= QUOTA + len(piece), f"{grown} bytes on the disk, {QUOTA} are lent"


def test_a_partial_upload_is_not_larger_than_what_is_left_of_the_quota(place: Server, attacker: Application) -> None:
    tus = Tus(place, attacker)
    created = tus.create({"Upload-Defer-Length": "1"})
    assert created.status == 201
    path = path_of(created.headers["location"])
    tus.patch(path, 0, bytes(QUOTA + 2_000_000))
    token = path.rpartition("/")[2]
    body = place.data / "uploads" / hashlib.sha256(token.encode()).hexdigest() / "body"
    assert not body.exists() or body.stat().st_size <= QUOTA + 65_536


def test_skip_storage_leaves_nothing_on_storage_that_is_only_lent(place: Server) -> None:
    """What stays is counted nowhere: stored and deleted again and again, it fills the disk beyond every quota."""
    application = place.application()
    signed = sign(application, "remove")
    before = weight(place)
    for number in range(5):
        data = os.urandom(2_000_000) + bytes([number])
        handle = place.post(f"/api/store/s3?key={application.api_key}", data).json()["handle"]
        assert place.request("DELETE", f"/api/file/{handle}?skip_storage=true&{signed.as_query()}").status == 200
    assert weight(place) - before <= QUOTA


def test_an_application_cannot_begin_uploads_without_end(place: Server, attacker: Application) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: Parts(place, attacker).start(5).status, range(1500)))
    assert 429 in statuses, "1,500 unfinished uploads of one application, each with a row and a folder for a day"


def test_chunks_of_one_byte_do_not_make_rows_without_end(place: Server, attacker: Application) -> None:
    """Each is a file, a row, and a sum over all rows before it while the database is locked for writing."""
    parts = Parts(place, attacker)
    assert parts.start(1_000_000, fii=True).status == 200
    session = place.engine.uploads.get(parts.token)
    row = {"upload": session.id, "number": 1, "size": 1, "md5": "", "name": ""}
    with place.engine.database.write() as connection:  # what ten thousand requests leave, in one step
        connection.execute(sa.insert(tables.upload_part), [{**row, "start": 2 * number} for number in range(MAX_PARTS)])
        counted = {"received": MAX_PARTS, "pieces": MAX_PARTS}
        connection.execute(sa.update(tables.upload).where(tables.upload.c.id == session.id).values(**counted))
    asked = parts.call("upload", part=1, size=1, offset=2 * MAX_PARTS)
    refused = asked.status
    if asked.status == 200:
        refused = place.request("PUT", path_of(asked.json()["url"]), body=b"x").status
    assert 400 <= refused < 500, "another byte, another row"


def test_a_bucket_that_does_not_answer_holds_up_nobody_else(place: Server, bucket: S3Server) -> None:
    owner = with_bucket(place, bucket)
    bucket.seen.clear()
    bucket.fail("CreateMultipartUpload", how="hold", times=1)
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(place.request, "POST", f"/api/store/s3?key={owner.api_key}", body=bytes(18 << 20), timeout=60)
        deadline = time.monotonic() + 15
        while "CreateMultipartUpload" not in bucket.operations() and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            status = place.request("GET", "/health/live", timeout=4).status
        except TimeoutError:
            status = 0
        finally:
            bucket.released.set()
            bucket.faults.clear()
        stuck.exception(60)
    bucket.released.clear()
    assert status == 200, "the whole server waits for one tenant's bucket"


def test_sources_that_never_come_hold_up_no_delivery(place: Server, web: Outside, attacker: Application) -> None:
    big, before = place.put(attacker, os.urandom(600_000)), web.connections
    with ThreadPoolExecutor(60) as pool:
        waiting = [
            pool.submit(
                place.request,
                "POST",
                "/process",
                body=json.dumps(
                    {"apikey": attacker.api_key, "sources": [web.url(f"/stuck{number}")], "tasks": [{"name": "store"}]}
                ).encode(),
                headers=JSON,
                timeout=60,
            )
            for number in range(55)
        ]
        deadline = time.monotonic() + 5
        while web.connections < before + 40 and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            status = place.request("GET", f"/{big.handle}", timeout=5).status
        except TimeoutError:
            status = 0
        web_released.set()
        for each in waiting:
            each.exception(60)
    web_released.clear()
    assert status == 200, "nobody gets a file while 40 sources do not answer"


# ---------------------------------------------------------------------------------------------------------- 5xx and headers

BAD = "\ud800"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/multipart/start", {"filename": BAD, "size": 5}),
        ("/multipart/start", {"filename": "a", "size": 5, "store": {"region": BAD}}),
        ("/multipart/start", {"filename": "a", "size": 5, "mimetype": BAD}),
        ("/multipart/start", {"filename": "a", "size": 5, "store": {"container": BAD}}),
        ("/multipart/start", {"filename": "a", "size": 5, "store": {"path": BAD}}),
        ("/multipart/start", {"filename": "a", "size": 5, "store": {"location": BAD}}),
        ("/multipart/start", {"filename": "a", "size": 5, "store": {"workflows": [BAD]}}),
        ("/multipart/start", {"filename": "a", "size": 5, "policy": BAD, "signature": BAD}),
        ("/multipart/complete", {"upload_id": BAD * 43}),
        ("/process", {BAD: 1}),
        ("/process", {"sources": [BAD], "tasks": []}),
        ("/process", {"sources": ["https://a.example/" + BAD], "tasks": [{"name": "store"}]}),
        ("/process", {"sources": ["src://" + BAD], "tasks": [{"name": "store"}]}),
        ("/process", {"sources": ["https://a.example/"], "tasks": [{"name": BAD}]}),
        ("/process", {"sources": ["https://a.example/"], "tasks": [{"name": "store", "params": {BAD: "x"}}]}),
        ("/process", {"sources": ["https://a.example/"], "tasks": [{"name": "store", "params": {"path": BAD}}]}),
        ("/process", {"sources": [{"source": "https://a.example/", "headers": {BAD: BAD}}], "tasks": [{"name": "store"}]}),
        ("/prefetch", {"permissions": [BAD]}),
        ("/prefetch", {"permissions": {BAD: True}, "settings": [BAD]}),
        ("/folder/list", {"clouds": {BAD: {"path": "/"}}}),
        ("/folder/list", {"clouds": {"customsource": {"path": "/media/" + BAD}}}),
        ("/folder/list", {"clouds": {"customsource": {"path": "/media/" + "a" * 300}}}),
        ("/folder/list", {"clouds": {"customsource": {"path": "/media/a.txt/b"}}}),
        ("/folder/list", {"clouds": {"customsource": {"path": "/"}}, "token": json.dumps({"a": BAD})}),
        ("/store/", {"clouds": {"customsource": {"path": "/media/a.txt", "store": {"filename": BAD}}}}),
        ("/store/", {"clouds": {"customsource": {"path": "/media/a.txt", "store": {}}}, "upload_tags": {BAD: BAD}}),
        ("/store/", {"clouds": {"customsource": {"path": "/media/" + "a" * 300, "store": {}}}}),
        ("/metadata", {"url": "https://a.example/" + BAD}),
        ("/metadata", {"url": "https://a.example/", "headers": {BAD: "x"}}),
        ("/metadata", {"url": "https://a.example/", "headers": {"X-A": "a\r\nHost: b"}}),
        ("/auth/logout", {"clouds": {BAD: {}}}),
    ],
)
def test_texts_that_are_none_are_the_clients_fault(
    every_server_with_media: tuple[Server, Application], path: str, values: Any
) -> None:
    server, application = every_server_with_media
    reply = call(server, path, application, **values)
    assert reply.status < 500, reply.body
    if reply.status >= 400:
        assert not reply.code.startswith("no JSON"), reply.body


@pytest.fixture
def every_server_with_media(place: Server) -> tuple[Server, Application]:
    return place, place.application(aliases={"media": "folder:media"})


@pytest.mark.parametrize("member", ["upload_tags", "workflows"])
def test_what_an_answer_repeats_is_no_fault_of_the_server_after_the_file_was_stored(
    place: Server, attacker: Application, member: str
) -> None:
    parts, data = Parts(place, attacker), b"12345"
    store = {"workflows": [BAD]} if member == "workflows" else {}
    if parts.start(5, store=store).status == 200:
        assert parts.put(data).status == 200
        reply = parts.complete(data, **({"upload_tags": {"a": BAD}} if member == "upload_tags" else {}))
        assert reply.status < 500, reply.body


@pytest.mark.parametrize(
    "name",
    ["a\r\nX-Evil: 1.txt", 'a"; filename=b.txt', "\u202egpj.exe", "a\0b", "é" * 3000, "../../etc/passwd", "a\x85b\u2028c"],
)
def test_a_name_breaks_out_of_no_header_by_any_way(place: Server, attacker: Application, name: str) -> None:
    handles = []
    parts = Parts(place, attacker)
    handles.append(parts.whole(b"12345", filename=name).json()["handle"])
    tus = Tus(place, attacker)
    done = tus.patch(tus.begun(5, **meta(filename=name)), 0, b"12345")
    handles.append(done.headers["filestack-handle"])
    stored = place.post(f"/api/store/s3?key={attacker.api_key}&filename={quote(name, safe='')}", b"12345")
    handles.append(stored.json()["handle"])
    for handle in handles:
        reply = place.get(f"/{handle}")
        assert reply.status == 200 and "x-evil" not in reply.headers and not reply.repeated
        assert "/" not in reply.headers["x-file-name"] and "\u202e" not in reply.headers["content-disposition"]


@pytest.mark.parametrize(
    "text", ["\xa0a YQ==", "a\xa0YQ==", "a YQ==\xa0", "a YQ==,\x85b YQ==", "a \xe9\xe9", "a", "a ,b ", "a\tYQ=="]
)
def test_metadata_of_tus_comes_back_in_no_form_that_breaks_an_answer(every_server: Server, text: str) -> None:
    tus = Tus(every_server, every_server.application())
    created = tus.create({"Upload-Length": "5", "Upload-Metadata": text})
    assert created.status in (201, 400)
    if created.status == 201:
        assert every_server.request("HEAD", path_of(created.headers["location"]), headers=TUS).status == 200


def test_addresses_inside_are_not_fetched_by_pickers_and_process(place: Server, attacker: Application) -> None:
    for url in (
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        f"http://127.0.0.1:{place.port}/health/live",
        "http://2852039166/",
        "file:///etc/passwd",
        "http://localhost/",
        "gopher://127.0.0.1/",
    ):
        for path, values in (
            ("/metadata", {"url": url, "headers": {"Metadata-Flavor": "Google"}}),
            (
                "/process",
                {"sources": [{"source": url, "headers": {"Metadata-Flavor": "Google"}}], "tasks": [{"name": "store"}]},
            ),
        ):
            reply = call(place, path, attacker, **values)
            assert 400 <= reply.status < 500, (url, path, reply.body)
            assert b"127.0.0.1" not in reply.body.replace(url.encode(), b"") and b"169.254" not in reply.body


@pytest.mark.parametrize(
    "name", ["Host", "host", "Content-Length", "Transfer-Encoding", "Proxy-Authorization", "A b", "X\r\nY"]
)
def test_a_header_for_a_source_cannot_change_the_request_itself(
    place: Server, web: Outside, attacker: Application, name: str
) -> None:
    source = {"source": web.url("/a.jpg"), "headers": {name: "x"}}
    assert call(place, "/process", attacker, sources=[source], tasks=[{"name": "store"}]).status == 400


def test_tokens_of_uploads_are_in_no_log_no_error_and_no_table(place: Server, attacker: Application) -> None:
    parts = Parts(place, attacker)
    parts.start(5)
    tus = Tus(place, attacker).begun(5)
    tokens = [parts.token, tus.rpartition("/")[2]]
    asked = []
    for token in tokens:
        for target in (
            f"/multipart/part/{token}/1/whole?size=5",
            f"/multipart/part/{token}%2f/x/y",
            f"/tus/{attacker.api_key}/{token}",
            f"/tus/{attacker.api_key}/{token}?a={token}&upload_id={token}",
            f"/resize=width:{token}/{token}",
            f"//tus//{token}",
        ):
            named = TUS | {"Referer": f"https://a.example/{token}"}
            asked += [
                place.request(method, target, body=b"123456", headers=named) for method in ("GET", "PUT", "PATCH", "OPTIONS")
            ]
        asked.append(call(place, "/multipart/complete", attacker, upload_id=token, parts=[{"part_number": 7, "etag": token}]))
    for reply in asked:
        assert not any(token.encode() in reply.body for token in tokens), reply.body
    for path, data in place.written():
        assert not any(token.encode() in data for token in tokens), path


def test_a_token_where_a_handle_should_be_is_cut_in_the_log_too(place: Server, attacker: Application) -> None:
    parts = Parts(place, attacker)
    parts.start(5)
    place.get(f"/{parts.token}")
    place.get(f"/api/file/{parts.token}")
    assert parts.token.encode() not in place.log.read_bytes()


def test_a_whitelist_answers_no_page_of_others_on_the_ways_in(place: Server) -> None:
    application = place.application(upload_whitelist=Whitelist(["good.example"]))
    evil = {"Origin": "https://evil.example"}
    key = application.api_key
    replies = [
        place.post(f"/tus/{key}", b"", TUS | evil | {"Upload-Length": "5"}),
        place.post("/multipart/start", json.dumps({"apikey": key, "filename": "a", "size": 5}).encode(), JSON | evil),
        place.post(
            "/process",
            json.dumps({"apikey": key, "sources": ["https://a.example/"], "tasks": [{"name": "store"}]}).encode(),
            JSON | evil,
        ),
        place.post(
            "/folder/list", json.dumps({"apikey": key, "clouds": {"customsource": {"path": "/"}}}).encode(), JSON | evil
        ),
        place.post(
            "/store/", json.dumps({"apikey": key, "clouds": {"customsource": {"path": "/media/a.txt"}}}).encode(), JSON | evil
        ),
        place.post("/metadata", json.dumps({"apikey": key, "url": "https://a.example/"}).encode(), JSON | evil),
        place.post(f"/api/store/s3?key={key}", b"x", evil),
    ]
    assert [reply.status for reply in replies] == [403] * len(replies)
    assert [number for number, reply in enumerate(replies) if "access-control-allow-origin" in reply.headers] == []
    assert place.request("OPTIONS", f"/tus/{key}", headers=evil).status == 403


@pytest.mark.parametrize(
    "path",
    ["/multipart/start", "/multipart/complete", "/multipart/part/x/1/whole", "/tus/x", "/process", "/store/", "/folder/list"],
)
def test_methods_that_a_way_in_does_not_have_are_405(place: Server, path: str) -> None:
    wrong = (
        ("TRACE", "DELETE", "PROPFIND", "HEAD", "GET", "POST")
        if "part/x" in path
        else ("TRACE", "DELETE", "PROPFIND", "HEAD", "GET")
    )
    for method in wrong:
        reply = place.request(method, path)
        assert reply.status == 405 and "allow" in reply.headers, (method, reply.status)
    assert place.request("OPTIONS", path).status == 204


# ------------------------------------------------------------------------------------------------------------------- races


def begun(server: Server, application: Application, data: bytes, **named: Any) -> Any:
    over = named.pop("over", None)
    upload = server.engine.files.begin(application, Target(filename="a.bin", **named), over=over)
    upload.write(data)
    return upload


def read(server: Server, link: FileLink) -> bytes:
    with server.engine.files.open(link) as stream:
        return stream.read()


def test_an_overwrite_that_came_second_leaves_nothing_in_the_bucket(place: Server, bucket: S3Server) -> None:
    owner = with_bucket(place, bucket)
    link = place.engine.files.add(owner, begun(place, owner, b"old", path="/races/overwrite"))
    first, second = begun(place, owner, b"first", over=link), begun(place, owner, b"second one", over=link)
    place.engine.files.overwrite(link, first)
    with pytest.raises(Busy):
        place.engine.files.overwrite(link, second)
    now = place.engine.records.file(link.handle)
    assert now is not None
    assert hashlib.sha256(read(place, now)).hexdigest() == now.sha256, "the refused content is what is delivered"


def test_a_path_that_is_written_again_while_its_old_file_is_deleted_keeps_the_new_one(place: Server, bucket: S3Server) -> None:
    owner = with_bucket(place, bucket)
    lost = 0
    for number in range(5):
        path = f"/races/again{number}"
        old = place.engine.files.add(owner, begun(place, owner, b"old", path=path))
        bucket.seen.clear()
        bucket.fail("DeleteObject", how="late", times=1)
        deleting = threading.Thread(target=place.engine.files.remove, args=(old,))
        deleting.start()
        deadline = time.monotonic() + 5
        while "DeleteObject" not in bucket.operations() and time.monotonic() < deadline:
            time.sleep(0.001)
        new = place.engine.files.add(owner, begun(place, owner, b"new", path=path))
        deleting.join()
        try:
            lost += read(place, new) != b"new"
        except SecureDeliveryError:
            lost += 1
    bucket.faults.clear()
    assert not lost, "a file that was stored and acknowledged is gone"


def test_the_last_of_two_copies_and_a_new_third_one_never_lose_their_bytes(place: Server, attacker: Application) -> None:
    files = place.engine.files
    for number in range(15):
        data = f"the same {number}".encode()
        first = files.add(attacker, begun(place, attacker, data))
        barrier = threading.Barrier(2)

        def delete(link: FileLink = first, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            files.remove(link)

        def store(data: bytes = data, barrier: threading.Barrier = barrier) -> FileLink:
            upload = begun(place, attacker, data)
            barrier.wait()
            return files.add(attacker, upload)

        with ThreadPoolExecutor(2) as pool:
            kept, gone = pool.submit(store), pool.submit(delete)
            gone.result()
            assert read(place, kept.result()) == data


def test_two_completes_and_an_abort_at_once_leave_one_file_or_none(place: Server, attacker: Application) -> None:
    for _ in range(6):
        parts, data = Parts(place, attacker), os.urandom(50_000)
        parts.start(len(data))
        parts.put(data)
        doing: list[Callable[[], Reply]] = [lambda p=parts, d=data: p.complete(d)] * 2 + [lambda p=parts: p.call("abort")]  # type: ignore[misc]
        with ThreadPoolExecutor(3) as pool:
            replies = [each.result() for each in [pool.submit(one) for one in doing]]
        assert all(reply.status < 500 for reply in replies), [reply.body for reply in replies]
        handles = {reply.json()["handle"] for reply in replies[:2] if reply.status == 200}
        assert len(handles) <= 1
        for handle in handles:
            assert place.get(f"/{handle}").body == data


def test_a_picker_that_is_refused_by_a_minimum_leaves_what_was_at_its_path(place: Server, bucket: S3Server) -> None:
    owner = with_bucket(place, bucket)
    owner = place.engine.records.update_application(owner.api_key, require_policy=True, aliases={"media": "folder:media"})
    link = place.engine.files.add(owner, begun(place, owner, b"what was there", path="/picked"))
    signed = sign(owner, "pick", "store", min_size=1000)
    wanted = {"customsource": {"path": "/media/a.txt", "store": {"path": "/picked"}}}
    assert call(place, "/store/", owner, clouds=wanted, **beside(signed)).status == 403
    now = place.engine.records.file(link.handle)
    assert now is not None and read(place, now) == b"what was there"
