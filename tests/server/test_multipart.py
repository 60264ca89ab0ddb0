"""The multipart protocol: every way in which official clients send parts, every way in which parts can be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Reply, Server, make_server, multipart, running

from secure_delivery.engine.uploads import Uploads
from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.whitelist import Whitelist

JSON = {"Content-Type": "application/json"}
MEMBERS = ["apikey", "filename", "mimetype", "size", "store", "fii", "upload_id", "part", "md5", "parts", "offset"]
DEEP = b'{"a":' * 40 + b"1" + b"}" * 40


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def path_of(url: str) -> str:
    return "/" + url.split("://", 1)[1].split("/", 1)[1]


@dataclass
class Client:
    """An uploader that speaks the protocol as the JavaScript client does, one call at a time."""

    server: Server
    application: Application
    started: dict[str, Any] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def post(self, call: str, **values: Any) -> Reply:
        body = {"apikey": self.application.api_key, **self.started, **self.extra, **values}
        return self.server.post(f"/multipart/{call}", json.dumps(body).encode(), JSON)

    def start(self, size: int, **values: Any) -> Reply:
        given = {"filename": "a.bin", "mimetype": "x/y", "size": size, "store": {"location": "s3"}, **values}
        reply = self.post("start", **given)
        if reply.status == 200:
            self.started = {name: reply.json()[name] for name in ("uri", "region", "upload_id")}
        return reply

    def ask(self, number: int, data: bytes, **values: Any) -> Reply:
        return self.post("upload", **{"part": number, "size": len(data), "md5": md5(data), "store": {}, **values})

    def put(self, number: int, data: bytes, **values: Any) -> Reply:
        asked = self.ask(number, data, **values)
        assert asked.status == 200, asked.body
        reply = self.server.request("PUT", path_of(asked.json()["url"]), body=data, headers=asked.json()["headers"])
        if reply.status == 200:
            self.etags[number] = reply.headers["etag"]
        return reply

    def complete(self, **values: Any) -> Reply:
        parts = [{"part_number": number, "etag": etag} for number, etag in sorted(self.etags.items())]
        return self.post("complete", **{"filename": "a.bin", "mimetype": "x/y", "parts": parts, "store": {}, **values})


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server, server.application())


def upload(client: Client, data: bytes, part: int, **values: Any) -> Reply:
    assert client.start(len(data), **values).status == 200
    for number, at in enumerate(range(0, len(data), part), 1):
        assert client.put(number, data[at : at + part]).status == 200
    return client.complete()


def held(server: Server) -> list[Path]:
    """What lies in the folder of uploads, but for locks."""
    return [path for path in (server.data / "uploads").rglob("*") if path.is_file() and path.name != "lock"]


# ------------------------------------------------------------------------------------------------------------ good ways


def test_a_file_in_parts_is_stored_whole_and_answers_all_that_clients_read(every_server: Server) -> None:
    client = Client(every_server, every_server.application())
    data = os.urandom(250_001)
    started = client.start(len(data))
    assert started.status == 200, started.body
    answer = started.json()
    assert all(answer[name] for name in ("uri", "region", "upload_id", "location_url")) and "upload_type" not in answer
    assert answer["uri"].startswith("/") and len(answer["upload_id"]) == 43
    for number, at in enumerate(range(0, len(data), 100_000), 1):
        reply = client.put(number, data[at : at + 100_000])
        assert reply.status == 200
        assert reply.headers["etag"] == f'"{hashlib.md5(data[at : at + 100_000]).hexdigest()}"'
        assert "ETag" in reply.headers["access-control-expose-headers"]
    done = client.complete(upload_tags={"a": "b"}, size=len(data)).json()
    assert {name: done[name] for name in ("filename", "size", "mimetype", "status", "upload_tags", "workflows")} == {
        "filename": "a.bin",
        "size": len(data),
        "mimetype": "application/octet-stream",
        "status": "Stored",
        "upload_tags": {"a": "b"},
        "workflows": {},
    }
    assert done["handle"] and done["url"] == f"{every_server.url}/{done['handle']}" and done["container"] and done["key"]
    read = every_server.get(f"/{done['handle']}")
    assert read.body == data and hashlib.sha256(data).hexdigest().startswith(read.headers["etag"].strip('"'))


def test_intelligent_ingestion_takes_chunks_in_any_order_and_sizes_and_sent_again(client: Client) -> None:
    data = os.urandom(90_000)
    assert client.start(len(data), fii=True).json()["upload_type"] == "intelligent_ingestion"
    first, second = data[:60_000], data[60_000:]
    for part, of in ((2, second), (1, first)):
        for offset, size in ((20_000, 10_000), (0, 20_000)):
            assert client.put(part, of[offset : offset + size], offset=offset, fii=True).status == 200
    # The network was bad: what was sent in one piece comes again in two, and the other way round.
    assert client.put(2, second[0:10_000], offset=0).status == 200
    assert client.put(2, second[10_000:20_000], offset=10_000).status == 200
    assert client.put(1, first[0:30_000], offset=0).status == 200
    assert client.put(1, first[40_000:], offset=40_000).status == 200
    assert client.post("commit", part=1, size=len(data)).code == "parts_missing"
    assert client.put(1, first[30_000:40_000], offset=30_000).status == 200
    for part in (1, 2):
        assert client.post("commit", part=part, size=len(data), fii=True).status == 200
    reply = client.complete(parts=[], fii=True, size=len(data))
    assert reply.status == 200, reply.body
    assert client.server.get(f"/{reply.json()['handle']}").body == data


def test_falling_back_to_regular_parts_in_the_middle_works_and_parts_count(client: Client) -> None:
    data = os.urandom(50_000)
    assert client.start(len(data), fii=True).status == 200
    assert client.put(1, data[5_000:9_000], offset=5_000, fii=True).status == 200
    assert client.put(1, data[:30_000]).status == 200
    assert client.put(2, data[30_000:]).status == 200
    reply = client.complete(fii=True)
    assert reply.status == 200, reply.body
    assert client.server.get(f"/{reply.json()['handle']}").body == data


def test_forms_say_the_same_as_json(server: Server) -> None:
    """The PHP and Java clients send multipart/form-data, with the store options as fields of their own."""
    application, data = server.application(), os.urandom(3_000)

    def call(name: str, values: dict[str, str]) -> Any:
        fields = [(f'Content-Disposition: form-data; name="{key}"', value.encode()) for key, value in values.items()]
        body, kind = multipart(*fields)
        reply = server.post(f"/multipart/{name}", body, kind)
        assert reply.status == 200, reply.body
        return reply.json()

    named = {"apikey": application.api_key, "store_location": "s3", "store_path": "php/", "store_region": "eu-west-1"}
    started = call("start", {**named, "filename": "b.bin", "mimetype": "x/y", "size": str(len(data))})
    assert started["region"] == "eu-west-1"
    named |= {name: started[name] for name in ("uri", "region", "upload_id")}
    etags = []
    for number, piece in enumerate((data[:2_000], data[2_000:]), 1):
        told = call("upload", {**named, "part": str(number), "size": str(len(piece)), "md5": md5(piece)})
        etags.append(server.request("PUT", path_of(told["url"]), body=piece).headers["etag"])
    parts = ";".join(f"{number}:{etag}" for number, etag in enumerate(etags, 1))
    done = call("complete", {**named, "filename": "b.bin", "mimetype": "x/y", "size": str(len(data)), "parts": parts})
    assert server.get(f"/{done['handle']}").body == data


def test_parts_out_of_order_at_once_and_again_make_the_same_file(client: Client) -> None:
    data = os.urandom(320_000)
    pieces = {number: data[(number - 1) * 40_000 : number * 40_000] for number in range(1, 9)}
    assert client.start(len(data)).status == 200
    order = [*pieces, *pieces, *pieces]
    random.Random(4).shuffle(order)
    with ThreadPoolExecutor(6) as pool:
        assert {reply.status for reply in pool.map(lambda number: client.put(number, pieces[number]), order)} == {200}
    reply = client.complete()
    assert client.server.get(f"/{reply.json()['handle']}").body == data
    wanted = hashlib.sha256(data).hexdigest()
    assert client.server.get(f"/{reply.json()['handle']}/metadata?sha256=true").json() == {"sha256": wanted}


def test_a_part_that_is_sent_again_with_other_bytes_counts_as_it_was_sent_last(client: Client) -> None:
    assert client.start(6).status == 200
    client.put(1, b"wrong!")
    client.put(1, b"right!")
    assert client.server.get(f"/{client.complete().json()['handle']}").body == b"right!"


def test_completing_again_gives_the_same_answer_and_stores_nothing_twice(client: Client) -> None:
    first = upload(client, b"once" * 1000, 1500).json()
    again = client.complete().json()
    assert again["handle"] == first["handle"]
    assert client.server.engine.records.count_files(client.application.api_key) == 1


def test_completing_at_the_same_moment_stores_once(client: Client) -> None:
    data = os.urandom(200_000)
    assert client.start(len(data)).status == 200
    client.put(1, data)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: client.complete(), range(6)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json()["handle"] for reply in replies}) == 1
    assert client.server.engine.records.count_files(client.application.api_key) == 1


def test_what_lay_here_of_an_upload_goes_when_it_is_a_file(client: Client) -> None:
    before = len(held(client.server))
    upload(client, os.urandom(9_000), 4_000)
    assert len(held(client.server)) <= before


def test_an_upload_can_be_given_up(client: Client) -> None:
    assert client.start(10).status == 200
    client.put(1, b"0123456789")
    assert client.post("abort").status == 200
    assert client.ask(1, b"0123456789").code == "not_found"
    assert client.complete().code == "not_found"


# ------------------------------------------------------------------------------------------------------------- policies


def test_a_policy_is_judged_at_the_start_and_may_end_while_the_upload_runs(server: Server) -> None:
    application = server.application(require_policy=True)
    client = Client(server, application)
    assert client.start(4).code == "policy_required"
    short = application.sign(expires_in=2, now=time.time(), call=["pick"])
    assert client.start(4, policy=short.encoded, signature=short.signature).status == 200
    deadline = time.monotonic() + 10
    while Client(server, application).start(4, policy=short.encoded, signature=short.signature).status == 200:
        assert time.monotonic() < deadline, "the policy does not end"
    assert client.put(1, b"late").status == 200
    assert client.complete().status == 200


@pytest.mark.parametrize(
    ("limits", "store", "size", "code"),
    [
        ({"call": ["read"]}, {}, 5, "not_permitted"),
        ({"max_size": 4}, {}, 5, "too_large"),
        ({"min_size": 6}, {}, 5, "too_small"),
        ({"path": "/mine/.*"}, {"path": "theirs/"}, 5, "not_permitted"),
        ({"path": "/mine/.*"}, {"path": "mine/a"}, 5, "ok"),
        ({"container": "mine"}, {"container": "theirs"}, 5, "not_permitted"),
        ({"container": "local"}, {}, 5, "ok"),
        ({"handle": "B" * 20}, {}, 5, "not_permitted"),
    ],
)
def test_a_policy_bounds_what_an_upload_may_be(
    server: Server, limits: dict[str, Any], store: dict[str, str], size: int, code: str
) -> None:
    application = server.application(require_policy=True)
    signed = application.sign(expires_in=60, now=time.time(), **limits)
    reply = Client(server, application).start(size, policy=signed.encoded, signature=signed.signature, store=store)
    assert (reply.code if reply.status != 200 else "ok") == code


def test_an_upload_belongs_to_its_application_and_its_token(server: Server, client: Client) -> None:
    assert client.start(4).status == 200
    other = Client(server, server.application(), dict(client.started))
    assert other.ask(1, b"mine").code == "not_found"
    for token in ("", "x", "A" * 43, client.started["upload_id"][:-1] + "_", "A" * 500, "\u0660" * 43):
        assert client.post("upload", upload_id=token, part=1, size=4).code in ("not_found", "bad_request")
    assert client.post("upload", apikey="", part=1, size=4).code == "unknown_application"


def test_the_upload_whitelist_is_asked_at_the_start(server: Server) -> None:
    application = server.application(upload_whitelist=Whitelist(["good.example.com"]))
    body = json.dumps({"apikey": application.api_key, "filename": "a", "mimetype": "b", "size": 1, "store": {}}).encode()
    for origin, status in (("https://good.example.com", 200), ("https://bad.example.com", 403), (None, 403)):
        headers = JSON | ({"Origin": origin} if origin else {})
        assert server.post("/multipart/start", body, headers).status == status


# ------------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "values",
    [
        {"size": 0},
        {"size": -1},
        {"size": "ten"},
        {"size": 1.5},
        {"size": True},
        {"size": None},
        {"size": 10**20},
        {"store": {"access": "everybody"}},
        {"store": {"location": "floppy"}},
        {"store": {"path": "a/../b"}},
        {"store": {"workflows": [1]}},
        {"store": {"workflows": ["x"] * 30}},
        {"filename": 7},
        {"filename": "x" * 30_000},
        {"mimetype": ["a"]},
    ],
)
def test_a_start_that_makes_no_sense_is_refused(client: Client, values: dict[str, Any]) -> None:
    reply = client.start(5, **values) if "size" not in values else client.post("start", **{"filename": "a", **values})
    assert reply.status in (400, 413), reply.body
    assert not reply.code.startswith("no JSON")


def test_more_than_may_be_stored_is_refused_at_the_start(server: Server) -> None:
    client = Client(server, server.application(limits=Limits(max_bytes=1000)))
    assert client.start(1001).code == "too_large"
    assert client.start(1000).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"[" * 5000, DEEP])
def test_a_body_that_is_no_object_is_refused(server: Server, body: bytes) -> None:
    for call in ("start", "upload", "commit", "complete", "abort"):
        reply = server.post(f"/multipart/{call}", body, JSON)
        assert reply.status in (400, 401), (call, reply.body)
        assert not reply.code.startswith("no JSON")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(
        st.sampled_from(MEMBERS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
    ),
    call=st.sampled_from(["start", "upload", "commit", "complete", "abort"]),
)
def test_no_body_is_a_fault_of_the_server(server: Server, client: Client, values: dict[str, Any], call: str) -> None:
    body = json.dumps({"apikey": client.application.api_key} | values).encode()
    reply = server.post(f"/multipart/{call}", body, JSON)
    assert reply.status < 500, reply.body


def test_bytes_that_are_not_what_was_announced_are_refused_and_do_not_count(client: Client) -> None:
    assert client.start(8).status == 200
    url = path_of(client.ask(1, b"announce").json()["url"])
    for body, code in ((b"anything", "checksum_mismatch"), (b"short", "size_mismatch"), (b"far too long", "size_mismatch")):
        assert client.server.request("PUT", url, body=body).code == code
    assert client.server.request("PUT", url, body=b"").code == "size_mismatch"
    wrong = client.server.request("PUT", url, body=b"announce", headers={"Content-MD5": md5(b"other")})
    assert wrong.code == "checksum_mismatch"
    assert client.complete(parts=[{"part_number": 1, "etag": '"x"'}]).code in ("parts_missing", "checksum_mismatch")
    assert client.put(1, b"announce").status == 200
    assert client.complete().status == 200


def test_an_integrity_check_can_be_left_out(client: Client) -> None:
    """`disableIntegrityCheck` of the JavaScript client sends no MD5."""
    assert client.start(4).status == 200
    reply = client.post("upload", part=1, size=4)
    assert client.server.request("PUT", path_of(reply.json()["url"]), body=b"data").status == 200


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "bad_request"),
        (None, "bad_request"),
        ("", "bad_request"),
        ("nonsense", "bad_request"),
        ([{"part_number": 1}], "bad_request"),
        ([{"etag": "x"}], "bad_request"),
        ([["1", "x"]], "bad_request"),
        ([{"part_number": 0, "etag": "x"}], "bad_request"),
        ([{"part_number": 1, "etag": '"' + "0" * 32 + '"'}], "parts_missing"),
        ([{"part_number": 3, "etag": "x"}], "parts_missing"),
        ([{"part_number": 1, "etag": "x"}, {"part_number": 1, "etag": "x"}], "bad_request"),
    ],
)
def test_completing_with_parts_that_are_not_those_is_refused(client: Client, parts: Any, code: str) -> None:
    assert client.start(8).status == 200
    client.put(1, b"half")
    client.put(2, b"full")
    assert client.complete(parts=parts).code == code
    good = client.complete()
    assert good.status == 200, "what was refused did no harm"


def test_an_etag_of_other_bytes_is_refused(client: Client) -> None:
    assert client.start(4).status == 200
    client.put(1, b"data")
    other = f'"{hashlib.md5(b"atad").hexdigest()}"'
    assert client.complete(parts=[{"part_number": 1, "etag": other}]).code == "checksum_mismatch"


def test_parts_with_a_gap_or_of_another_size_in_all_are_refused(client: Client) -> None:
    assert client.start(8).status == 200
    client.put(1, b"half")
    client.put(3, b"full")
    assert client.complete().code == "parts_missing"
    other = Client(client.server, client.application)
    assert other.start(9).status == 200
    other.put(1, b"half")
    assert other.complete().code == "size_mismatch"
    assert other.complete(size=10).code == "size_mismatch"


def test_more_than_the_announced_size_does_not_fit(client: Client) -> None:
    assert client.start(10).status == 200
    assert client.ask(1, b"x" * 11).code == "size_mismatch"
    assert client.put(1, b"x" * 10).status == 200
    assert client.put(2, b"x" * 10).code == "too_large"
    assert client.complete(parts=[{"part_number": 1, "etag": client.etags[1]}]).status == 200


@pytest.mark.parametrize("target", ["0/whole", "10001/whole", "x/whole", "1/-1", "1/x", "1/99999999999999999999"])
def test_an_address_of_a_part_that_cannot_be_is_refused(client: Client, target: str) -> None:
    assert client.start(4).status == 200
    reply = client.server.request("PUT", f"/multipart/part/{client.started['upload_id']}/{target}", body=b"data")
    assert reply.status in (400, 404) and not reply.code.startswith("no JSON")


def test_a_connection_that_breaks_in_a_part_leaves_nothing_of_it(client: Client) -> None:
    assert client.start(1000).status == 200
    before = set(held(client.server))
    url = path_of(client.ask(1, b"x" * 1000).json()["url"])
    with client.server.connect() as connection:
        connection.sendall(f"PUT {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode() + b"x" * 500)
    deadline = time.monotonic() + 10
    while set(held(client.server)) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(held(client.server)) - before
    assert client.put(1, b"y" * 1000).status == 200
    assert client.complete().status == 200


# ---------------------------------------------------------------------------------------------------- restarts and time


def test_uploads_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client = Client(server, server.application())
        data = os.urandom(40_000)
        assert client.start(len(data)).status == 200
        assert client.put(1, data[:15_000]).status == 200
        server.stop(signal.SIGKILL)
        server.start()
        assert client.put(2, data[15_000:]).status == 200
        server.stop()
        server.start()
        assert server.get(f"/{client.complete().json()['handle']}").body == data


def test_killed_at_any_moment_of_completing_there_is_the_whole_file_or_none_and_asking_again_gives_one(tmp_path: Path) -> None:
    """The server is killed while it makes the file; afterwards the same request gives one file, whole."""
    server = make_server(tmp_path)
    chance = random.Random(11)
    try:
        server.start()
        for _ in range(6):
            client = Client(server, server.application())
            data = os.urandom(3_000_000)
            assert client.start(len(data)).status == 200
            for number in (1, 2, 3):
                assert client.put(number, data[(number - 1) * 1_000_000 : number * 1_000_000]).status == 200
            threading.Timer(chance.uniform(0.0, 0.03), server.stop, [signal.SIGKILL]).start()
            try:
                client.complete()
            except OSError:
                pass
            deadline = time.monotonic() + 10
            while server.process is not None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert server.process is None
            server.start()
            for link in server.engine.records.files(client.application.api_key):
                assert server.get(f"/{link.handle}").body == data, "what is there is whole"
            assert server.get(f"/{client.complete().json()['handle']}").body == data
            assert server.engine.records.count_files(client.application.api_key) == 1
    finally:
        server.stop()
        server.engine.close()


def test_unfinished_uploads_are_forgotten_after_their_time(tmp_path: Path) -> None:
    """The rows and bytes of expired uploads go; those of others stay. Seen by the engine, whose clock can be turned."""
    server = make_server(tmp_path)
    engine = server.engine
    now = [time.time()]
    uploads = Uploads(engine.database, engine.files, server.data / "uploads", clock=lambda: now[0], hours=24)
    try:
        application = server.application()
        from secure_delivery.engine.files import Target

        room = engine.files.room(application, Target())
        old = uploads.begin(application, Target(), room, mode="parts", size=3)
        now[0] += 23 * 3600
        young = uploads.begin(application, Target(), room, mode="parts", size=3)
        assert uploads.get(old.token).id == old.id
        now[0] += 2 * 3600
        with pytest.raises(Exception, match="no such upload"):
            uploads.get(old.token)
        assert uploads.sweep() == 1
        assert not uploads.place(old.id).exists() and uploads.place(young.id).exists()
        assert uploads.get(young.token).id == young.id
    finally:
        engine.close()


def test_the_token_is_nowhere_but_with_its_uploader(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client = Client(server, server.application())
        upload(client, b"some bytes", 4)
        token = client.started["upload_id"].encode()
        for path, written in server.written():
            assert token not in written, path


def test_two_hundred_uploads_at_once_are_all_stored_whole(server: Server) -> None:
    application = server.application(limits=Limits(max_bytes=10_000_000), storage="server")
    seeds = range(200)

    def one(seed: int) -> tuple[str, str]:
        data = random.Random(seed).randbytes(200_000)
        client = Client(server, application)
        reply = upload(client, data, 100_000)
        assert reply.status == 200, reply.body
        return reply.json()["handle"], hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(32) as pool:
        found = dict(pool.map(one, seeds))
    assert len(found) == 200
    for handle, digest in found.items():
        assert hashlib.sha256(server.get(f"/{handle}").body).hexdigest() == digest
