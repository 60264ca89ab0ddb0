"""The previews API against callers, sources and neighbours who mean ill: no request is a 500, nothing of a stranger's name acts
anywhere, nobody sees what is another's, and the database holds nothing of a file's content."""

from __future__ import annotations

import base64
import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import pytest
from live import Reply, Server, picture, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.engine.names import clean_name
from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.whitelist import Whitelist

PHOTO = picture(80, 60)
PAGE = "https://www.example.org"
LATE = 90.0  # seconds after which a job is not going to end
ARTIST = "Artist-7d1f-in-the-content"

NAMES = {
    "traversal": "../../../etc/passwd.jpg",
    "backslashes": "..\\..\\boot.jpg",
    "markup": "<script>alert(1)</script>.jpg",
    "quotes": "a\"b'c`d.jpg",
    "long": "x" * 300 + ".jpg",
    "long and wide": "文" * 120 + ".jpg",
    "blank": "   .jpg",
    "dots": "....jpg",
    "device": "CON.jpg",
    "percent": "%2e%2e%2f%00%0d%0aSet-Cookie:x.jpg",
    "turned": "\u202egpj.exe.jpg",
    "another result": "metadata.json",
    "token": "attached:0123456789abcdef:0.jpg",
}


def disposition(name: str) -> str:
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    return f"Content-Disposition: attachment; filename*=UTF-8''{encoded}"


def tagged() -> bytes:
    """A photograph that says who took it."""
    exif = Image.Exif()
    exif[315] = ARTIST
    exif[33432] = "Holder"
    buffer = BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    scripts: dict[str, Any] = {
        "/photo.jpg": ok(PHOTO, "Content-Type: image/jpeg"),
        "/tagged.jpg": ok(tagged(), "Content-Type: image/jpeg"),
    }
    scripts |= {f"/named/{number}": ok(PHOTO, disposition(name)) for number, name in enumerate(NAMES.values())}
    with Outside(scripts) as outside:
        yield outside


@pytest.fixture(scope="module")
def server(world: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "fetch_allow": "127.0.0.1",
        "fetch_ports": str(world.port),
        "webhook_allow": "127.0.0.1",
        "webhook_ports": str(world.port),
        "job_workers": "2",
    }
    with running(tmp_path_factory.mktemp("hostile"), settings=settings) as server:
        yield server


class Client:
    """An application, asked for with its secret or, as a page, with its key alone."""

    def __init__(self, server: Server, *, page: bool = False, application: Application | None = None, **switches: Any) -> None:
        self.server = server
        self.application = application or server.application(upload_whitelist=Whitelist(["www.example.org"]), **switches)
        secret = "" if page else self.application.secrets.signing.value.decode()
        token = base64.b64encode(f"{self.application.api_key}:{secret}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json", "Origin": PAGE}

    @property
    def page(self) -> Client:
        return Client(self.server, page=True, application=self.application)

    def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        return self.server.request("POST", "/v2/previews/", body=body, headers={**self.headers, **(headers or {})})

    def ask(self, url: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        return self.send(json.dumps({"url": url, **fields}).encode(), headers)

    def get(self, path: str) -> Reply:
        return self.server.request("GET", path, headers=self.headers)

    def preview(self, url: str, **fields: Any) -> dict[str, Any]:
        made = self.ask(url, **fields)
        assert made.status == 201, made.body
        ends = time.monotonic() + LATE
        while time.monotonic() < ends:
            answer = self.get(f"/v2/previews/{made.json()['id']}/").json()
            if answer["status"] not in ("pending", "started"):
                return dict(answer)
            time.sleep(0.02)
        raise AssertionError("it did not end")


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server)


def named(reply: Reply) -> str:
    """The name that a file is offered under."""
    found = re.fullmatch(
        r"""inline; filename="([^"\\\r\n]+)"(?:; filename\*=UTF-8''([A-Za-z0-9%._~-]+))?""",
        reply.headers["content-disposition"],
    )
    assert found is not None, reply.headers["content-disposition"]
    return unquote(found[2] or found[1])


def refused(reply: Reply) -> None:
    """A refusal in the words of the API: never a fault of ours, never markup."""
    assert 400 <= reply.status < 500, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]


# --------------------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "members",
    [
        '"sizes": [1e999]',
        '"sizes": -1e999',
        '"data": 1e999',
        '"data": {"a": [-1e999]}',
        '"data": "\\u0000"',
        '"data": "\\ud800"',
        '"data": ' + "[" * 5000 + "]" * 5000,
        '"data": ' + '{"a":' * 100 + "1" + "}" * 100,
        '"data": "' + "x" * 70_000 + '"',
        '"metadata_options": {"ocr": {"x": 1e999}}',
        '"metadata_options": {"ocr": {"x": "' + "x" * 70_000 + '"}}',
        '"metadata": ["' + "x" * 65 + '"]',
        '"metadata": ["../../etc"]',
        '"pages": "' + "1-999999," * 250 + '"',
        '"pages": 1e3',
        '"pages": ' + "9" * 4000,
        '"uploader": {"destination": "a\\nb"}',
        '"uploader": {"destination": "a\\\\..\\\\b"}',
        '"uploader": {"destination": "../../x"}',
        '"uploader": {"headers": {"\\ud800": "x"}}',
        '"uploader": {"headers": {"Cache-Control": "a\\r\\nSet-Cookie: b=c"}}',
        '"uploader": {"headers": {"Set-Cookie": "b=c"}}',
        '"callback_url": "http://127.0.0.1:1/\\r\\nX: y"',
        '"callback_url": "http://[::1"',
        '"callback_url": "http://169.254.169.254/latest/meta-data"',
        '"format": "<script>"',
    ],
    ids=lambda text: text[:40],
)
def test_no_body_is_a_fault_of_ours(client: Client, members: str) -> None:
    refused(client.send(b'{"url": "http://example.com/a.png", ' + members.encode() + b"}"))


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://a@[/x", "http://a:b@[::1/x", "http://a@", "http://user:p@h:99999/x", "http://a@b/\r\nX: y",
     "javascript:alert(1)", "file:///etc/passwd", "http://", "http://\u2100@a/", "http://x\u0000/", "a" * 9000],
)  # fmt: skip
def test_no_address_is_a_fault_of_ours(client: Client, url: str) -> None:
    refused(client.ask(url))


@pytest.mark.parametrize(
    "query",
    ["limit=" + "0" * 5000 + "1", "limit=1e3", "limit=-1", "limit=%D9%A3", "cursor=x", "status=%3Cb%3E", "limit=1&limit=2"],
)
def test_no_question_is_a_fault_of_ours(client: Client, query: str) -> None:
    reply = client.get(f"/v2/previews/?{query}")
    if query != "limit=1&limit=2":
        refused(reply)
    assert reply.status < 500


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "%00",
        "%0d%0aSet-Cookie:a=b",
        "%3Cscript%3E",
        "..%2f..",
        "%ff%fe",
        "{6f9619ff-8b86-d011-b42d-00cf4fc964ff}",
        "x" * 3000,
    ],
)
def test_no_id_is_a_fault_of_ours(client: Client, name: str) -> None:
    reply = client.get(f"/v2/previews/{name}/")
    assert reply.status in (400, 404)
    assert "set-cookie" not in reply.headers
    assert reply.headers["content-type"].startswith("application/json")


def basic(data: bytes) -> str:
    return "Basic " + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "value",
    ["Basic", "Basic ", "Basic :", "Basic ====", "Basic a,b", "Basic " + "A" * 20_000, "Bearer x", basic(b"\0:\0"),
     basic(b"a\0b"), basic(b"\xff\xfe:x"), basic(b"x" * 64 + b":"), "\xe9\xe9", "Basic \xa0YTpi"],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_no_credential_is_a_fault_of_ours(client: Client, value: str) -> None:
    reply = client.server.request("POST", "/v2/previews/", body=b"{}", headers={**client.headers, "Authorization": value})
    assert reply.status in (400, 401), reply.body
    refused(reply)


# ---------------------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize("what", NAMES)
def test_what_a_source_is_called_acts_nowhere(client: Client, world: Outside, what: str) -> None:
    number = list(NAMES).index(what)
    answer = client.preview(world.url(f"/named/{number}"), sizes=["20x20>", "30"], metadata=["checksum"])
    assert answer["status"] == "success"
    urls = [one["url"] for one in answer["thumbnails"]]
    assert len(set(urls)) == 2
    assert [one["size"]["width"] for one in answer["thumbnails"]] == ["20", "30"]
    for url in (*urls, answer["original_file"]["metadata_url"]):
        reply = client.server.get(url.removeprefix(client.server.url))
        assert reply.status == 200
        assert reply.headers["content-type"] in ("image/png", "application/json; charset=utf-8")
        assert "set-cookie" not in reply.headers
        assert named(reply) == clean_name(named(reply))
    original = answer["original_file"]
    said = original["name"] + (f".{original['extension']}" if original["extension"] else "")
    assert said == clean_name(said)


def test_a_name_that_is_told_is_told_as_json(client: Client, world: Outside) -> None:
    made = client.ask(world.url("/photo.jpg"), data={"html": "</script><b>"})
    reply = client.get(f"/v2/previews/{made.json()['id']}/")
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"


# ------------------------------------------------------------------------------------------------------------- neighbours


def test_a_page_says_neither_where_results_go_nor_what_a_server_named(client: Client, world: Outside) -> None:
    url = world.url("/photo.jpg")
    reply = client.page.ask(url, uploader={"destination": "assets"})
    refused(reply)
    assert reply.json()["error"]["param"] == "uploader"
    assert client.ask(url, uploader={"destination": "assets"}).status == 201
    named = {"Idempotency-Key": "order-1"}
    first = client.ask(url, named)
    other = client.page.ask(url, named)
    assert (first.status, other.status) == (201, 201)
    assert first.json()["id"] != other.json()["id"], "whoever guesses the key of a server is not given its preview"
    assert client.page.ask(url, named).json()["id"] == other.json()["id"]


def test_a_page_gets_of_sections_what_the_profile_of_the_application_lets_out(server: Server, world: Outside) -> None:
    for profile, author in (("none", None), ("all", ARTIST)):
        client = Client(server, metadata_profile=profile)
        url = world.url("/tagged.jpg")
        told = client.preview(url, sizes=["10"], metadata=["exif"])["original_file"]["metadata"]
        assert ARTIST in json.dumps(told), "its owner is told all"
        told = client.page.preview(url, sizes=["10"], metadata=["exif"])["original_file"]["metadata"]
        assert (ARTIST in json.dumps(told)) is (author is not None)


def test_a_page_is_told_no_sections_of_what_a_server_asked_for(client: Client, world: Outside) -> None:
    told = client.preview(world.url("/tagged.jpg"), sizes=["10"], metadata=["exif"])
    shown = client.page.get(f"/v2/previews/{told['id']}/").json()
    assert shown["thumbnails"] == told["thumbnails"]
    assert shown["original_file"]["metadata"] == {"exif": None}
    assert "metadata_url" not in shown["original_file"]
    own = client.page.preview(world.url("/tagged.jpg"), sizes=["10"], metadata=["checksum"])
    assert len(own["original_file"]["metadata"]["checksum"]) == 32


def test_a_page_cannot_have_secured_files_previewed_by_their_addresses(server: Server) -> None:
    client = Client(server, require_policy=True)
    link = server.put(client.application, PHOTO, "secured.jpg")
    host, name = server.url.removeprefix("http://"), link.handle
    paths = (f"/{name}", f"/api/file/{name}", f"/{name}?x=y", f"//{name}")
    signed_in = (f"http://x@{host}/{name}", f"http://x:y@{host.upper()}/{name}")
    for url in (*(f"{server.url}{path}" for path in paths), *signed_in):
        reply = client.page.ask(url)
        if reply.status == 201:  # an address like any other, fetched as by anybody
            assert client.page.preview(url)["status"] == "failure"
        else:
            refused(reply)
    assert client.page.ask(f"{server.url}/{link.handle}").status == 403
    assert client.preview(f"{server.url}/{link.handle}", sizes=["10"])["status"] == "success", "its owner can"


def test_conversions_of_a_secured_neighbour_are_not_told_of(server: Server) -> None:
    owner = server.application(require_policy=True)
    request = {"task": "video_convert", "options": {}, "sources": [], "url_pattern": None, "base": ""}
    job, _ = server.engine.jobs.jobs.submit(owner.api_key, "conversion", request, delay=3600)
    for path in (
        f"/video_convert/{job.id.replace('-', '')}",
        f"/{server.application().api_key}/video_convert/{job.id.replace('-', '')}",
    ):
        reply = server.get(path)
        assert reply.status in (400, 403, 404), reply.body
        assert "uuid" not in reply.json()


def test_the_jobs_of_a_neighbour_are_not_there_in_any_way(server: Server, client: Client, world: Outside) -> None:
    other = Client(server)
    job = client.preview(world.url("/photo.jpg"), sizes=["10"])["id"]
    for spelling in (job, job.upper(), job.replace("-", ""), f"urn:uuid:{job}", f"%7B{job}%7D"):
        for who in (other, other.page):
            assert who.get(f"/v2/previews/{spelling}/").status == 404
    assert other.get(f"/v2/previews/?cursor={job}").status in (400, 404)
    assert other.get("/v2/previews/").json()["results"] == []
    for verb in ("cancel", "retry"):
        for who in (other, client.page):
            reply = server.request("POST", f"/v2/previews/{job}/{verb}/", headers=who.headers)
            assert reply.status in (401, 404)


# ------------------------------------------------------------------------------------------------------------- what is left


def cells(server: Server) -> Iterator[tuple[str, str]]:
    """Everything that is in the database, by table and column."""
    with sqlite3.connect(f"file:{server.data / 'secure-delivery.sqlite'}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield from ((f"{table}.{name}", str(row[name])) for name in row.keys())  # noqa: SIM118 - a row yields values
    connection.close()


def test_nothing_of_a_file_is_in_the_database_not_even_by_a_receiver_that_repeats_it(server: Server, world: Outside) -> None:
    def echo(connection: Any) -> None:
        ends = time.monotonic() + 5
        while not any(ARTIST.encode() in body for body in world.bodies) and time.monotonic() < ends:
            time.sleep(0.01)
        connection.sendall(ok(b"".join(world.bodies), "Content-Type: application/json"))

    world.scripts["/echo"] = echo
    client = Client(server)
    password = "hunter2-in-the-address"
    url = world.url("/tagged.jpg").replace("http://", f"http://user:{password}@")
    answer = client.preview(url, sizes=["40"], metadata=["exif", "checksum"], callback_url=world.url("/echo"))
    assert answer["status"] == "success"
    assert ARTIST in json.dumps(answer["original_file"]["metadata"]), "the section does hold it"
    ends = time.monotonic() + LATE
    while time.monotonic() < ends and not [
        1 for where, text in cells(server) if where == "webhook_delivery.answer" and text != "None"
    ]:
        time.sleep(0.02)
    places = {where for where, text in cells(server) if ARTIST in text or password in text}
    assert places == set()
    assert [1 for where, text in cells(server) if where == "job.result" and "checksum" in text], "it was looked at"


def test_an_application_that_is_deleted_takes_its_jobs_with_it(server: Server, world: Outside) -> None:
    held: list[Any] = []
    client = Client(server, limits=Limits(max_jobs=2))
    other = Client(server)

    def slow(connection: Any) -> None:
        held.append(connection)
        time.sleep(2)
        connection.sendall(ok(PHOTO))

    world.scripts["/slow.jpg"] = slow
    for _ in range(6):
        assert client.ask(world.url("/slow.jpg")).status == 201
    ends = time.monotonic() + LATE
    while len(held) < 2 and time.monotonic() < ends:
        time.sleep(0.02)
    before = server.log.read_text()
    server.engine.files.remove_application(client.application.api_key)
    assert other.preview(world.url("/photo.jpg"), sizes=["10"])["status"] == "success", "others go on"
    key = client.application.api_key
    ends = time.monotonic() + LATE
    while time.monotonic() < ends and any((server.data / "jobs").iterdir()):
        time.sleep(0.05)
    assert not any((server.data / "jobs").iterdir()), "folders of jobs that ran are gone"
    # What was counted stays counted: figures hold numbers by key, and nothing of anybody's.
    assert [where for where, text in cells(server) if text == key and not where.startswith("figure.")] == []
    assert "Traceback" not in server.log.read_text().removeprefix(before)
    assert client.ask(world.url("/photo.jpg")).status == 401


def test_many_jobs_of_one_do_not_starve_another(server: Server, world: Outside) -> None:
    go_on = threading.Event()

    def held(connection: socket.socket) -> None:
        go_on.wait(LATE)
        connection.sendall(ok(PHOTO, "Content-Type: image/jpeg"))

    world.scripts["/held.jpg"] = held
    greedy, modest = Client(server, limits=Limits(max_jobs=50, max_queue=500)), Client(server)
    for _ in range(2):  # as many as are worked on at a time
        assert greedy.ask(world.url("/held.jpg"), sizes=["10"]).status == 201
    jobs = [greedy.ask(world.url("/photo.jpg"), sizes=["10"]).json()["id"] for _ in range(100)]
    late = modest.ask(world.url("/photo.jpg"), sizes=["10"]).json()["id"]
    go_on.set()
    record = server.engine.jobs.jobs
    ends = time.monotonic() + LATE
    while record.get(late).state != "success":
        assert time.monotonic() < ends, record.get(late)
        time.sleep(0.02)
    begun = record.get(late).started
    assert begun is not None
    before = [job for job in jobs if (one := record.get(job).started) is not None and one < begun]
    assert len(before) < 50, "it was begun as soon as what was taken in advance was done, not when all of the others were"
