"""tus 1.0.0: what resumes, what is refused, and that what came before a break is never lost or doubled."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import Reply, Server, running

from secure_delivery.gate.errors import BadRequest
from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server.tus import metadata_of

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}


def meta(**values: str) -> dict[str, str]:
    return {"Upload-Metadata": ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in values.items())}


@dataclass
class Client:
    """An uploader that knows one application."""

    server: Server
    application: Application
    query: str = ""

    def create(self, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        return self.server.post(f"/tus/{self.application.api_key}{self.query}", body, TUS | dict(headers))

    def begun(self, size: int, **more: str) -> str:
        reply = self.create({"Upload-Length": str(size)} | meta(filename="a b.bin") | more)
        assert reply.status == 201, reply.body
        return self.path(reply)

    def path(self, reply: Reply) -> str:
        location = reply.headers["location"]
        assert location.startswith(f"{self.server.url}/tus/{self.application.api_key}/")
        return location.removeprefix(self.server.url)

    def patch(self, path: str, offset: int, data: bytes, **more: str) -> Reply:
        headers = TUS | OCTETS | {"Upload-Offset": str(offset)} | more
        return self.server.request("PATCH", path, body=data, headers=headers)

    def head(self, path: str) -> Reply:
        return self.server.request("HEAD", path, headers=TUS)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server, server.application())


def content(server: Server, reply: Reply) -> bytes:
    return server.get(f"/{reply.headers['filestack-handle']}").body


# ------------------------------------------------------------------------------------------------------------ good ways


def test_a_file_in_pieces_is_stored_whole_under_its_name(every_server: Server) -> None:
    client = Client(every_server, every_server.application())
    data = os.urandom(100_000)
    path = client.begun(len(data))
    at = 0
    for size in (1, 49_999, 0, 50_000):
        reply = client.patch(path, at, data[at : at + size])
        at += size
        assert (reply.status, reply.headers["upload-offset"], reply.headers["tus-resumable"]) == (204, str(at), "1.0.0")
    assert content(every_server, reply) == data
    assert reply.headers["filestack-url"] == f"{every_server.url}/{reply.headers['filestack-handle']}"
    told = every_server.get(f"/{reply.headers['filestack-handle']}/metadata").json()
    assert (told["filename"], told["size"]) == ("a b.bin", len(data))
    head = client.head(path)
    assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(data))
    assert head.headers["filestack-handle"] == reply.headers["filestack-handle"]
    assert head.headers["cache-control"] == "no-store"


def test_creation_with_upload_needs_one_request(client: Client) -> None:
    data = b"all at once"
    reply = client.create({"Upload-Length": str(len(data))} | OCTETS | meta(filename="a.txt"), data)
    assert (reply.status, reply.headers["upload-offset"]) == (201, str(len(data)))
    assert content(client.server, reply) == data
    part = client.create({"Upload-Length": "20"} | OCTETS, b"half of it")
    assert (part.status, part.headers["upload-offset"]) == (201, "10")
    assert content(client.server, client.patch(client.path(part), 10, b"and the  2")) == b"half of itand the  2"


def test_the_size_can_be_told_later(client: Client) -> None:
    reply = client.create({"Upload-Defer-Length": "1"})
    path = client.path(reply)
    assert client.head(path).headers["upload-defer-length"] == "1"
    assert client.patch(path, 0, b"first").headers["upload-offset"] == "5"
    assert "upload-length" not in client.head(path).headers
    done = client.patch(path, 5, b"second", **{"Upload-Length": "11"})
    assert content(client.server, done) == b"firstsecond"
    other = client.path(client.create({"Upload-Defer-Length": "1"}))
    assert client.patch(other, 0, b"x", **{"Upload-Length": "2"}).status == 204
    assert client.patch(other, 1, b"y", **{"Upload-Length": "3"}).code == "bad_request"


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_a_piece_whose_checksum_is_wrong_does_not_count(client: Client, name: str) -> None:
    path = client.begun(10)
    right = base64.b64encode(hashlib.new(name, b"01234").digest()).decode()
    assert client.patch(path, 0, b"01234", **{"Upload-Checksum": f"{name} {right}"}).status == 204
    wrong = client.patch(path, 5, b"56789", **{"Upload-Checksum": f"{name} {right}"})
    assert (wrong.status, wrong.code) == (460, "checksum_mismatch")
    assert client.head(path).headers["upload-offset"] == "5"
    assert content(client.server, client.patch(path, 5, b"56789")) == b"0123456789"


def test_an_unknown_checksum_is_refused_before_anything_is_taken(client: Client) -> None:
    path = client.begun(5)
    for header in ("crc99 AAAA", "sha1 ***", "sha1"):
        assert client.patch(path, 0, b"01234", **{"Upload-Checksum": header}).status in (400, 460)
        assert client.head(path).headers["upload-offset"] == "0"


def test_an_upload_can_be_terminated(client: Client) -> None:
    path = client.begun(10)
    client.patch(path, 0, b"01234")
    assert client.server.request("DELETE", path, headers=TUS).status == 204
    assert client.head(path).status == 404
    assert client.patch(path, 5, b"56789").code == "not_found"
    assert client.server.request("DELETE", path, headers=TUS).code == "not_found"


def test_partial_uploads_become_one_file(client: Client) -> None:
    data = os.urandom(30_000)
    cuts = [data[:10_000], data[10_000:25_000], data[25_000:]]
    paths = []
    for cut in cuts:
        reply = client.create({"Upload-Length": str(len(cut)), "Upload-Concat": "partial"})
        paths.append(client.path(reply))
        done = client.patch(paths[-1], 0, cut)
        assert "filestack-handle" not in done.headers, "a part is no file"
        assert client.head(paths[-1]).headers["upload-concat"] == "partial"
    urls = " ".join(client.server.url + path if number else path for number, path in enumerate(paths))
    reply = client.create({"Upload-Concat": f"final;{urls}"} | meta(filename="whole.bin"))
    assert reply.status == 201, reply.body
    assert content(client.server, reply) == data
    assert client.head(client.path(reply)).headers["upload-length"] == str(len(data))
    assert client.head(paths[0]).status == 404, "what it was made of is gone"


def test_a_final_upload_of_what_is_not_there_or_not_finished_is_refused(client: Client, server: Server) -> None:
    whole = client.path(client.create({"Upload-Length": "3", "Upload-Concat": "partial"} | OCTETS, b"abc"))
    half = client.path(client.create({"Upload-Length": "3", "Upload-Concat": "partial"} | OCTETS, b"a"))
    plain = client.begun(3)
    other = Client(server, server.application())
    foreign = other.path(other.create({"Upload-Length": "3", "Upload-Concat": "partial"} | OCTETS, b"abc"))
    for addresses in ("", half, plain, foreign, f"{whole} {half}", "/tus/x/y", f"/tus/{client.application.api_key}/{'A' * 43}"):
        assert client.create({"Upload-Concat": f"final;{addresses}"}).status in (400, 404), addresses
    assert client.create({"Upload-Concat": f"final;{whole}", "Upload-Length": "3"}).code == "bad_request"
    assert client.create({"Upload-Concat": "maybe", "Upload-Length": "3"}).code == "bad_request"
    assert client.create({"Upload-Concat": f"final;{whole}"}).status == 201


def test_methods_can_be_named_in_a_header(client: Client) -> None:
    path = client.begun(5)
    headers = TUS | OCTETS | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.server.post(path, b"01234", headers).status == 204
    assert client.server.post(path, b"", TUS | {"X-HTTP-Method-Override": "DELETE"}).status == 204
    assert client.server.post(path, b"", TUS).status == 405


def test_options_say_what_the_server_can(client: Client) -> None:
    reply = client.server.request("OPTIONS", f"/tus/{client.application.api_key}", headers={"Origin": "https://a.example"})
    assert reply.status == 204
    assert reply.headers["tus-version"] == "1.0.0"
    assert set(reply.headers["tus-extension"].split(",")) >= {
        "creation", "creation-with-upload", "creation-defer-length", "checksum", "expiration", "termination", "concatenation"
    }  # fmt: skip
    assert int(reply.headers["tus-max-size"]) == client.server.engine.settings.max_bytes
    for name in ("Upload-Offset", "Tus-Resumable", "Upload-Metadata", "Upload-Checksum", "Upload-Concat"):
        assert name in reply.headers["access-control-allow-headers"]
    assert "PATCH" in reply.headers["access-control-allow-methods"]
    made = client.create({"Upload-Length": "5"})
    for name in ("Location", "Upload-Offset", "Upload-Expires", "Filestack-Handle"):
        assert name in made.headers["access-control-expose-headers"]
    assert made.headers["upload-expires"].endswith("GMT")


# ------------------------------------------------------------------------------------------------------------- refusals


def test_another_offset_is_a_conflict_and_changes_nothing(client: Client) -> None:
    path = client.begun(10)
    client.patch(path, 0, b"01234")
    for offset in (0, 4, 6, 10, 10**12):
        assert client.patch(path, offset, b"xxxxx").code == "conflict"
    for offset in ("", "-1", "five", "5.0", "0x5", "9" * 30):
        headers = TUS | OCTETS | {"Upload-Offset": offset}
        assert client.server.request("PATCH", path, body=b"x", headers=headers).code == "bad_request"
    assert client.head(path).headers["upload-offset"] == "5"


def test_more_than_was_announced_is_refused(client: Client) -> None:
    path = client.begun(5)
    assert client.patch(path, 0, b"0123456").code == "size_mismatch"
    assert int(client.head(path).headers["upload-offset"]) <= 5


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "0"}, 400),
        ({"Upload-Length": "-5"}, 400),
        ({"Upload-Length": "many"}, 400),
        ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Length": "999999999999"}, 413),
        ({"Upload-Length": "5", "Upload-Metadata": "filename %%%"}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "filename gICA"}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "x " + "A" * 20_000}, 400),
        ({"Upload-Length": "5"} | meta(access="everybody"), 400),
        ({"Upload-Length": "5"} | meta(path="a/../b"), 400),
        ({"Upload-Length": "5"} | meta(location="floppy"), 400),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(client: Client, headers: dict[str, str], status: int) -> None:
    reply = client.create(headers)
    assert reply.status == status, reply.body
    assert not reply.code.startswith("no JSON")


def test_another_version_of_the_protocol_is_refused(client: Client) -> None:
    path = client.begun(5)
    for headers in ({}, {"Tus-Resumable": "0.2.2"}):
        reply = client.server.request("PATCH", path, body=b"01234", headers=OCTETS | {"Upload-Offset": "0"} | headers)
        assert (reply.status, reply.headers["tus-version"]) == (412, "1.0.0")
    wrong = client.server.request("PATCH", path, body=b"01234", headers=TUS | {"Upload-Offset": "0"})
    assert wrong.status == 415


@given(st.text(max_size=200))
def test_metadata_is_read_or_refused(text: str) -> None:
    try:
        found = metadata_of(text)
    except BadRequest:
        return
    assert all(isinstance(value, str) for value in found.values())


@given(st.dictionaries(st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True), st.text(max_size=50), max_size=6))
def test_metadata_comes_back_as_it_was_sent(values: dict[str, str]) -> None:
    usable = {key: text for key, text in values.items() if text.isprintable() or text == ""}
    assert metadata_of(meta(**usable)["Upload-Metadata"]) == usable


def test_creating_is_judged_and_going_on_is_not(server: Server) -> None:
    application = server.application(require_policy=True)
    client = Client(server, application)
    assert client.create({"Upload-Length": "5"}).code == "policy_required"
    client.query = "?" + application.sign(expires_in=60, now=time.time(), call=["read"]).as_query()
    assert client.create({"Upload-Length": "5"}).code == "not_permitted"
    client.query = "?" + application.sign(expires_in=60, now=time.time(), call=["pick"], max_size=4).as_query()
    assert client.create({"Upload-Length": "5"}).code == "too_large"
    later = client.path(client.create({"Upload-Defer-Length": "1"}))
    assert client.patch(later, 0, b"012345").status in (400, 413), "the bound holds for what was not announced"
    client.query = "?" + application.sign(expires_in=60, now=time.time(), call=["pick"]).as_query()
    path = client.begun(5)
    server.engine.records.rotate_secret(application.api_key)
    assert client.patch(path, 0, b"01234").status == 204, "the address of the upload is its own credential"
    other = Client(server, server.application())
    stolen = path.replace(application.api_key, other.application.api_key)
    assert other.head(stolen).status == 404


def test_the_upload_whitelist_is_asked_when_an_upload_is_created(server: Server) -> None:
    client = Client(server, server.application(upload_whitelist=Whitelist(["good.example.com"])))
    assert client.create({"Upload-Length": "5", "Origin": "https://bad.example.com"}).status == 403
    assert client.create({"Upload-Length": "5"}).status == 403
    good = client.create({"Upload-Length": "5", "Origin": "https://good.example.com"})
    assert good.headers["access-control-allow-origin"] == "https://good.example.com"
    asked = {"Origin": "https://bad.example.com", "Access-Control-Request-Method": "PATCH"}
    assert client.server.request("OPTIONS", f"/tus/{client.application.api_key}/x", headers=asked).status == 403


def test_a_type_that_is_not_allowed_is_refused_at_the_end_and_forgotten(server: Server) -> None:
    client = Client(server, server.application(allowed_types=("image/*",)))
    reply = client.create({"Upload-Length": "11"} | OCTETS, b"hello world")
    assert reply.code == "unsupported" and "text/plain" in reply.json()["error"]["message"]
    assert server.engine.records.count_files(client.application.api_key) == 0


def test_a_limit_of_the_application_holds(server: Server) -> None:
    client = Client(server, server.application(limits=Limits(max_bytes=100)))
    assert client.create({"Upload-Length": "101"}).code == "too_large"
    path = client.path(client.create({"Upload-Defer-Length": "1"}))
    assert client.patch(path, 0, b"x" * 101).status in (400, 413)


# ---------------------------------------------------------------------------------------------------- breaks and kills


def cut(server: Server, path: str, offset: int, announced: int, data: bytes) -> None:
    """A PATCH whose connection breaks after some bytes."""
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.encode() + data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def settled(client: Client, path: str) -> int:
    """The offset once nobody is writing any more: two looks that agree, with the lock free."""
    last, deadline = -1, time.monotonic() + 10
    while time.monotonic() < deadline:
        offset = int(client.head(path).headers["upload-offset"])
        probe = client.patch(path, offset, b"")
        if probe.status == 204 and offset == last:
            return offset
        last = offset
    raise AssertionError("the upload does not settle")


def test_what_came_before_a_break_is_kept_and_going_on_gives_the_same_bytes(client: Client) -> None:
    data = os.urandom(400_000)
    path = client.begun(len(data))
    chance, at = random.Random(5), 0
    while at < len(data):
        sent = data[at : at + chance.randint(1, 120_000)]
        if chance.random() < 0.6 and len(sent) < len(data) - at:
            cut(client.server, path, at, len(data) - at, sent)
            now = settled(client, path)
            assert at <= now <= at + len(sent)
            at = now
        else:
            reply = client.patch(path, at, sent)
            assert reply.status == 204, reply.body
            at += len(sent)
    assert content(client.server, reply) == data


def test_two_writers_at_once_do_not_mix(client: Client) -> None:
    path = client.begun(20)
    connection = http.client.HTTPConnection("127.0.0.1", client.server.port, timeout=20)
    connection.putrequest("PATCH", path)
    for name, value in (TUS | OCTETS | {"Upload-Offset": "0", "Content-Length": "10"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"01234")
    deadline = time.monotonic() + 10
    while client.head(path).headers["upload-offset"] != "5":  # the first writer is at work
        assert time.monotonic() < deadline
    for offset in (0, 5):
        assert client.patch(path, offset, b"xxxxxxxxxx").code == "locked"
    connection.send(b"56789")
    assert connection.getresponse().status == 204
    connection.close()
    assert content(client.server, client.patch(path, 10, b"abcdefghij")) == b"0123456789abcdefghij"


def test_a_server_that_is_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client = Client(server, server.application())
        data = os.urandom(300_000)
        path = client.begun(len(data))
        assert client.patch(path, 0, data[:100_000]).status == 204
        cut(server, path, 100_000, 200_000, data[100_000:150_000])
        server.stop(signal.SIGKILL)
        server.start()
        at = int(client.head(path).headers["upload-offset"])
        assert 100_000 <= at <= 150_000
        assert content(server, client.patch(path, at, data[at:])) == data


def test_no_request_is_a_fault_of_the_server(client: Client) -> None:
    chance = random.Random(8)
    names = ["Upload-Length", "Upload-Offset", "Upload-Concat", "Upload-Metadata", "Upload-Checksum", "Upload-Defer-Length"]
    odd = ["", "0", "-1", "1", "5", "final;", "partial", "a b c", "\xff", "sha1 AAAA", "9" * 400, "final;" + "/tus/a/b " * 50]
    path = client.begun(5)
    for _ in range(150):
        headers = TUS | {name: chance.choice(odd) for name in chance.sample(names, chance.randint(1, 4))}
        headers |= OCTETS if chance.random() < 0.7 else {}
        method, target = chance.choice(
            [
                ("POST", f"/tus/{client.application.api_key}"),
                ("PATCH", path),
                ("HEAD", path),
                ("POST", path),
                ("PATCH", path + "x"),
            ]
        )
        body = chance.choice([b"", b"x", b"01234"]) if method != "HEAD" else None
        reply: Any = client.server.request(method, target, body=body, headers=headers)
        assert reply.status < 500, (method, target, headers, reply.body)


def test_an_answer_about_an_upload_is_json(client: Client) -> None:
    reply = client.server.request("PATCH", f"/tus/{client.application.api_key}/{'A' * 43}", body=b"", headers=TUS | OCTETS)
    assert reply.status == 404 and json.loads(reply.body)["error"]["code"] == "not_found"


def test_a_time_to_live_can_be_asked_for(client: Client) -> None:
    reply = client.create({"Upload-Length": "5"} | OCTETS | meta(expires_in="60"), b"01234")
    link = client.server.engine.records.file(reply.headers["filestack-handle"])
    assert link is not None and link.expires is not None
    assert 0 < link.expires - link.uploaded <= 60_000
    assert client.create({"Upload-Length": "5"} | meta(expires_in="soon")).code == "bad_request"
