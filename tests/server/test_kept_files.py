"""How long and under what conditions files are kept, over HTTP: the development storage, types, scanners, undoing deletions."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from live import Reply, Server, file_part, make_server, multipart, picture, running
from outside import Outside, ok

from secure_delivery.engine import build
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Application, Limits

JSON = {"Content-Type": "application/json"}
TUS = {"Tus-Resumable": "1.0.0"}
QUOTA = 20_000
PNG = picture(20, 20, "PNG")
PDF = b"%PDF-1.7\n" + b"x" * 500


class House:
    def __init__(self, server: Server, web: Outside, **switches: Any) -> None:
        self.server, self.web = server, web
        self.application: Application = server.application(**switches)
        self.key = self.application.api_key

    def signed(self, **limits: Any) -> str:
        signed = self.application.sign(expires_in=600, now=time.time(), **limits)
        return f"&policy={signed.encoded}&signature={signed.signature}"

    def store(self, data: bytes = b"content", query: str = "") -> Reply:
        return self.server.post(f"/api/store/S3?key={self.key}&filename=a.bin{query}", data)

    def delete(self, handle: str) -> Reply:
        return self.server.request("DELETE", f"/api/file/{handle}?key={self.key}{self.signed(call=['remove'])}")

    def restore(self, handle: str, **limits: Any) -> Reply:
        signed = self.signed(**({"call": ["remove"]} | limits))
        return self.server.post(f"/api/file/{handle}/restore?key={self.key}{signed}")

    def traces(self) -> set[Path]:
        """Bytes of files and uploads."""
        uploads = (path for path in (self.server.data / "uploads").rglob("*") if path.is_file() and path.name != "lock")
        return self.server.blobs() | set(uploads)


# ------------------------------------------------------------------------------------------------------- all ways in


def raw(house: House, data: bytes) -> Reply:
    return house.store(data)


def chunked(house: House, data: bytes) -> Reply:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    return house.server.request(
        "POST", f"/api/store/S3?key={house.key}&filename=a.bin", body=body, headers={"Transfer-Encoding": "chunked"}
    )


def form(house: House, data: bytes) -> Reply:
    body, kind = multipart(file_part(data, "a.bin"))
    return house.server.post(f"/api/store/S3?key={house.key}", body, kind)


def encoded(house: House, data: bytes) -> Reply:
    return house.server.post(f"/api/store/S3?key={house.key}&base64decode=true", base64.b64encode(data))


def published(house: House, data: bytes) -> str:
    """An address outside that nobody has asked for yet."""
    path = f"/n{time.time_ns()}"
    house.web.scripts[path] = ok(data, "Content-Type: application/octet-stream")
    return house.web.url(path)


def by_url(house: House, data: bytes) -> Reply:
    body = f"url={quote(published(house, data), safe='')}".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return house.server.post(f"/api/store/S3?key={house.key}", body, kind)


def task(house: House, data: bytes) -> Reply:
    return house.server.get(f"/{house.key}/store/{quote(published(house, data), safe='')}")


def parts(house: House, data: bytes) -> Reply:
    def call(name: str, **values: Any) -> Reply:
        return house.server.post(f"/multipart/{name}", json.dumps({"apikey": house.key} | values).encode(), JSON)

    reply = call("start", filename="a.bin", mimetype="x/y", size=len(data), store={})
    if reply.status != 200:
        return reply
    begun = {"upload_id": reply.json()["upload_id"]}
    url = call("upload", part=1, size=len(data), **begun).json()["url"]
    put = house.server.request("PUT", url.removeprefix(house.server.url), body=data)
    if put.status != 200:
        return put
    named = [{"part_number": 1, "etag": put.headers["etag"]}]
    return call("complete", filename="a.bin", size=len(data), mimetype="x/y", parts=named, store={}, **begun)


def tus(house: House, data: bytes) -> Reply:
    headers = TUS | {"Upload-Length": str(len(data)), "Content-Type": "application/offset+octet-stream"}
    reply = house.server.post(f"/tus/{house.key}", data, headers)
    if "filestack-handle" not in reply.headers:
        return reply
    answer = {"handle": reply.headers["filestack-handle"]}
    answer |= {"notice": reply.headers["secure-delivery-notice"]} if "secure-delivery-notice" in reply.headers else {}
    return Reply(200, reply.headers, json.dumps(answer).encode())


WAYS: dict[str, Callable[[House, bytes], Reply]] = {
    "raw": raw,
    "chunked": chunked,
    "form": form,
    "base64": encoded,
    "url": by_url,
    "task": task,
    "parts": parts,
    "tus": tus,
}
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside({}) as web:
        yield web


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside) -> Iterator[Server]:
    settings = {"development_bytes": QUOTA, "fetch_allow": "127.0.0.1", "fetch_ports": str(web.port)}
    with running(tmp_path_factory.mktemp("keeping"), settings=settings) as server:
        yield server


@pytest.fixture
def house(place: Server, web: Outside) -> House:
    return House(place, web)


# ------------------------------------------------------------------------------------------------ development storage


@every_way
def test_every_answer_about_a_file_that_is_only_lent_a_place_says_so_and_until_when(house: House, way: str) -> None:
    before = time.time()
    reply = WAYS[way](house, b"content")
    assert reply.status == 200, reply.body
    answer = reply.json()
    link = house.server.engine.files.find(answer["handle"])
    assert link.expires is not None and before + 7 * 86_400 <= link.expires / 1000 + 1 <= time.time() + 7 * 86_400 + 2
    day = time.strftime("%Y-%m-%d", time.gmtime(link.expires / 1000))
    assert "development storage" in answer["notice"] and day in answer["notice"]


@every_way
def test_an_application_that_is_kept_for_good_has_no_notice_no_end_and_no_quota(place: Server, web: Outside, way: str) -> None:
    house = House(place, web, storage="server")
    reply = WAYS[way](house, b"x" * (QUOTA + 1000))
    assert reply.status == 200, reply.body
    assert "notice" not in reply.json() and "secure-delivery-notice" not in reply.headers
    assert house.server.engine.files.find(reply.json()["handle"]).expires is None


def test_the_log_speaks_once_of_an_application_without_a_storage(house: House) -> None:
    for _ in range(3):
        house.store()
    said = [line for line in house.server.log.read_text().splitlines() if house.key in line and "no storage of its own" in line]
    assert len(said) == 1


@every_way
def test_the_quota_holds_for_every_way_in_to_the_byte_and_leaves_nothing_of_what_is_over(house: House, way: str) -> None:
    assert house.store(b"x" * (QUOTA - 5000)).status == 200
    before = house.traces()
    reply = WAYS[way](house, b"y" * 5001)
    assert (reply.status, reply.code) == (413, "quota_exceeded"), reply.body
    assert house.traces() == before
    fits = WAYS[way](house, b"z" * 5000)
    assert fits.status == 200, fits.body
    assert house.server.engine.records.used(house.key) == (2, QUOTA)
    assert WAYS[way](house, b"1").code == "quota_exceeded"


def test_an_overwrite_keeps_the_quota_too(house: House) -> None:
    handle = house.store(b"x" * QUOTA).json()["handle"]
    target = f"/api/file/{handle}?key={house.key}{house.signed(call=['write'])}"
    assert house.server.post(target, b"y" * (QUOTA + 1)).code == "quota_exceeded"
    assert house.server.get(f"/{handle}").body == b"x" * QUOTA
    assert house.server.post(target, b"z" * QUOTA).status == 200


def test_a_limit_of_the_application_is_told_as_that(place: Server, web: Outside) -> None:
    house = House(place, web, limits=Limits(max_bytes=100))
    assert house.store(b"x" * 101).code == "too_large"


def test_deleting_makes_room(house: House) -> None:
    handle = house.store(b"x" * QUOTA).json()["handle"]
    assert house.store(b"1").code == "quota_exceeded"
    assert house.delete(handle).status == 200
    assert house.store(b"1").status == 200


# ------------------------------------------------------------------------------------------------------------- expiry


def test_a_file_ends_at_the_moment_that_was_asked_for_also_when_it_is_asked_for_all_the_time(house: House) -> None:
    reply = house.store(b"short-lived", "&expires_in=2")
    assert reply.status == 200
    handle = reply.json()["handle"]
    ends = house.server.engine.files.find(handle).expires
    assert ends is not None
    while (got := house.server.get(f"/{handle}")).status == 200:
        assert got.body == b"short-lived"
        assert time.time() * 1000 < ends + 1500, "it is served after its end"
    assert got.status == 404 and time.time() * 1000 >= ends
    house.server.engine.files.tend()
    assert house.server.engine.records.file(handle) is None


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "", "9" * 30, "\u0661"])
def test_a_time_that_is_none_is_refused(house: House, value: str) -> None:
    before = house.traces()
    assert house.store(query=f"&expires_in={quote(value)}").status == 400
    assert house.traces() == before


def test_an_expired_file_is_gone_everywhere_and_its_bytes_with_it(house: House) -> None:
    before = house.traces()
    handle = house.store(picture()).json()["handle"]
    assert house.server.get(f"/resize=width:10/{handle}").status == 200
    house.server.engine.records.mark_file(handle, application=house.key, expires=1)
    gone_everywhere(house, handle)
    house.server.engine.files.tend()
    assert house.traces() == before


def gone_everywhere(house: House, handle: str) -> None:
    signed = house.signed(call=["write", "remove"])
    for method, target in (
        ("GET", f"/{handle}"),
        ("HEAD", f"/{handle}"),
        ("GET", f"/resize=width:10/{handle}"),
        ("GET", f"/resize=width:11/{handle}"),
        ("GET", f"/store/{handle}"),
        ("GET", f"/metadata/{handle}"),
        ("GET", f"/api/file/{handle}"),
        ("GET", f"/api/file/{handle}/metadata"),
        ("POST", f"/api/file/{handle}?key={house.key}{signed}"),
        ("DELETE", f"/api/file/{handle}?key={house.key}{signed}"),
    ):
        reply = house.server.request(method, target, body=b"new" if method == "POST" else None)
        assert reply.status == 404, (method, target, reply.status, reply.body)


# -------------------------------------------------------------------------------------------------------------- types


@every_way
def test_a_type_that_the_application_does_not_take_is_refused_by_its_content_and_nothing_is_left(
    place: Server, web: Outside, way: str
) -> None:
    house = House(place, web, allowed_types=("image/*",))
    before = house.traces()
    reply = WAYS[way](house, PDF)
    assert reply.status == 415, reply.body
    assert house.traces() == before and house.server.engine.records.count_files(house.key) == 0
    good = WAYS[way](house, PNG)
    assert good.status == 200 and house.server.get(f"/{good.json()['handle']}").body == PNG


def test_an_overwrite_with_another_type_is_refused_and_the_old_content_stays(place: Server, web: Outside) -> None:
    house = House(place, web, allowed_types=("image/*",))
    handle = house.store(PNG).json()["handle"]
    reply = house.server.post(f"/api/file/{handle}?key={house.key}{house.signed(call=['write'])}", PDF)
    assert reply.status == 415 and house.server.get(f"/{handle}").body == PNG


# --------------------------------------------------------------------------------------------------------------- undo


def test_a_deleted_file_is_gone_everywhere_until_it_is_restored_as_it_was(place: Server, web: Outside) -> None:
    house = House(place, web, undo=3600)
    content = picture()
    handle = house.store(content).json()["handle"]
    first = house.server.get(f"/{handle}")
    assert house.delete(handle).body == b"success"
    gone_everywhere(house, handle)
    assert house.restore(handle, call=["read"]).status == 403
    assert house.server.post(f"/api/file/{handle}/restore?key={house.key}").status == 403
    reply = house.restore(handle)
    assert reply.status == 200 and reply.json()["handle"] == handle
    again = house.server.get(f"/{handle}")
    assert again.body == content and again.headers["etag"] == first.headers["etag"]
    assert house.server.get(f"/resize=width:10/{handle}").status == 200
    assert house.restore(handle).status == 404, "there is nothing to undo"


def test_after_its_time_a_deletion_cannot_be_undone_and_the_bytes_are_gone(place: Server, web: Outside) -> None:
    house = House(place, web, undo=3600)
    before = house.traces()
    handle = house.store().json()["handle"]
    house.delete(handle)
    assert house.traces() != before
    house.server.engine.records.mark_file(handle, application=house.key, expires=1)
    assert house.restore(handle).status == 404
    house.server.engine.files.tend()
    assert house.restore(handle).status == 404 and house.traces() == before


def test_without_the_option_a_deletion_is_final(house: House) -> None:
    before = house.traces()
    handle = house.store().json()["handle"]
    house.delete(handle)
    assert house.restore(handle).status == 404 and house.traces() == before


# ----------------------------------------------------------------------------------------------------------- scanners


class Clamd:
    """What speaks like clamd on a port of this machine: finds a marker, or hangs up without an answer."""

    def __init__(self) -> None:
        self.broken = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Clamd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as said:
                try:
                    self._answer(connection, said)
                except OSError:
                    pass

    def _answer(self, connection: socket.socket, said: Any) -> None:
        word = b""
        while not word.endswith((b"\0", b"\n")):
            byte = said.read(1)
            if not byte:
                return
            word += byte
        if b"INSTREAM" not in word:
            connection.sendall(b"PONG\0")
            return
        data = b""
        while size := int.from_bytes(said.read(4), "big"):
            data += said.read(size)
        if not self.broken:
            connection.sendall(b"stream: Eicar-Test FOUND\0" if b"EICAR" in data else b"stream: OK\0")


@pytest.fixture(scope="module")
def clamd() -> Iterator[Clamd]:
    with Clamd() as clamd:
        yield clamd


@contextmanager
def later(place: Server, clamd: Clamd) -> Iterator[Any]:
    """The files of another process of the same service, whose clock is two minutes ahead."""
    plugins = {"clamav": {"host": "127.0.0.1", "port": clamd.port}}
    settings = Settings.read({"data": str(place.data), "plugins": plugins})
    engine = build(settings, clock=lambda: time.time() + 120)
    try:
        yield engine.files
    finally:
        engine.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, web: Outside, clamd: Clamd) -> Iterator[Server]:
    """A server with the ClamAV plugin."""
    pytest.importorskip("secure_delivery_clamav")
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "settings.toml"
    config.write_text(f'[plugins.clamav]\nhost = "127.0.0.1"\nport = {clamd.port}\n')
    server = make_server(folder, settings={"fetch_allow": "127.0.0.1", "fetch_ports": str(web.port)})
    server.env = {**server.env, "SECURE_DELIVERY_CONFIG": str(config)}
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.engine.close()


@pytest.fixture
def scanned(guarded: Server, web: Outside, clamd: Clamd) -> Iterator[House]:
    yield House(guarded, web, scan=True, undo=0)
    clamd.broken = False


@every_way
def test_what_a_scanner_finds_is_refused_and_gone_and_what_is_clean_is_stored(scanned: House, way: str) -> None:
    before = scanned.traces()
    reply = WAYS[way](scanned, b"here is EICAR, they say")
    assert (reply.status, reply.code) == (422, "infected"), reply.body
    assert b"Eicar-Test" not in reply.body
    assert scanned.traces() == before and scanned.server.engine.records.count_files(scanned.key) == 0
    clean = WAYS[way](scanned, b"here is nothing")
    assert clean.status == 200, clean.body
    assert scanned.server.get(f"/{clean.json()['handle']}").body == b"here is nothing"


@every_way
def test_what_no_scanner_judged_is_held_from_every_reader_until_one_did(scanned: House, clamd: Clamd, way: str) -> None:
    clamd.broken = True
    reply = WAYS[way](scanned, PNG)
    assert reply.status == 200, reply.body
    assert way == "tus" or reply.json()["status"] == "InTransit"
    handle = reply.json()["handle"]
    signed = scanned.signed(call=["read", "stat", "convert"]).replace("&", "?", 1)
    for target in (
        f"/{handle}",
        f"/resize=width:10/{handle}",
        f"/{scanned.key}/rotate=deg:90/{handle}",
        f"/api/file/{handle}",
        f"/api/file/{handle}/metadata",
        f"/metadata/{handle}",
        f"/store/{handle}",
        f"/{handle}{signed}",
    ):
        held = scanned.server.get(target)
        assert (held.status, held.code) == (423, "held"), (target, held.body)
        assert PNG not in held.body
    assert scanned.server.request("HEAD", f"/{handle}").status == 423
    clamd.broken = False
    with later(scanned.server, clamd) as files:
        assert files.tend() >= 1
    assert scanned.server.get(f"/{handle}").body == PNG


def test_what_is_found_later_is_gone_then(scanned: House, clamd: Clamd) -> None:
    before = scanned.traces()
    clamd.broken = True
    handle = scanned.store(b"EICAR").json()["handle"]
    assert scanned.server.get(f"/{handle}").status == 423
    clamd.broken = False
    with later(scanned.server, clamd) as files:
        assert files.tend() >= 1
    assert scanned.server.get(f"/{handle}").status == 404 and scanned.traces() == before


def test_a_held_file_can_be_deleted(scanned: House, clamd: Clamd) -> None:
    before = scanned.traces()
    clamd.broken = True
    handle = scanned.store().json()["handle"]
    assert scanned.delete(handle).status == 200
    assert scanned.server.get(f"/{handle}").status == 404 and scanned.traces() == before


def test_an_overwrite_is_judged_like_any_upload(scanned: House, clamd: Clamd) -> None:
    handle = scanned.store(b"clean").json()["handle"]
    assert scanned.server.get(f"/{handle}").body == b"clean"
    clamd.broken = True
    target = f"/api/file/{handle}?key={scanned.key}{scanned.signed(call=['write'])}"
    assert scanned.server.post(target, b"unknown").status == 503, "to be tried again when a scanner answers"
    assert scanned.server.get(f"/{handle}").body == b"clean"
    clamd.broken = False
    assert scanned.server.post(target, b"EICAR").code == "infected"
    assert scanned.server.get(f"/{handle}").body == b"clean"
    assert scanned.server.post(target, b"clean again").status == 200
    assert scanned.server.get(f"/{handle}").body == b"clean again"


@every_way
def test_where_scanners_are_wanted_and_none_is_installed_nothing_is_taken_in(place: Server, web: Outside, way: str) -> None:
    house = House(place, web, scan=True)
    before = house.traces()
    reply = WAYS[way](house, b"content")
    assert (reply.status, reply.code) == (501, "not_provided"), reply.body
    assert house.traces() == before
