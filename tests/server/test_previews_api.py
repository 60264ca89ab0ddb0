"""The previews API over real sockets: what clients send in the wild, and the exact shape of what comes back."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from live import Reply, Server, picture, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.whitelist import Whitelist

PHOTO = picture(800, 600)
PAGES = ("id", "url", "status", "preview", "thumbnails", "original_file", "user_data")
LATE = 60.0  # seconds after which a job is not going to end


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    held = threading.Event()
    scripts: dict[str, Any] = {
        "/photo.jpg": ok(PHOTO, "Content-Type: image/jpeg"),
        "/broken.jpg": ok(PHOTO[:400], "Content-Type: image/jpeg"),
        "/empty.bin": ok(b"\x00\x01\x02 nothing anybody knows \xff\xfe"),
        "/notes.txt": ok("Grüße\n".encode()),
        "/hook": ok(b"", status="204 No Content"),
    }
    with Outside(scripts) as outside:
        outside.scripts["/slow.jpg"] = lambda connection: (held.wait(30), connection.sendall(ok(PHOTO)))
        outside.held = held  # type: ignore[attr-defined]
        yield outside
        held.set()


@pytest.fixture(scope="module")
def server(world: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "fetch_allow": "127.0.0.1",
        "fetch_ports": str(world.port),
        "webhook_allow": "127.0.0.1",
        "webhook_ports": str(world.port),
        "job_workers": "2",
    }
    with running(tmp_path_factory.mktemp("previews"), settings=settings) as server:
        yield server


class Client:
    """An application that knows its secret."""

    def __init__(self, server: Server, **switches: Any) -> None:
        self.server = server
        self.application: Application = server.application(**switches)
        secret = self.application.secrets.signing.value.decode()
        token = base64.b64encode(f"{self.application.api_key}:{secret}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        return self.server.request(method, path, body=data, headers=headers or self.headers)

    def create(self, url: str, **fields: Any) -> dict[str, Any]:
        reply = self.call("POST", "/v2/previews/", {"url": url, **fields})
        assert reply.status == 201, reply.body
        return dict(reply.json())

    def ended(self, job: str) -> dict[str, Any]:
        ends = time.monotonic() + LATE
        while time.monotonic() < ends:
            reply = self.call("GET", f"/v2/previews/{job}/")
            assert reply.status == 200, "every state is a 200"
            if reply.json()["status"] not in ("pending", "started"):
                return dict(reply.json())
            time.sleep(0.02)
        raise AssertionError(f"{job} did not end")

    def preview(self, url: str, **fields: Any) -> dict[str, Any]:
        return self.ended(self.create(url, **fields)["id"])


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server)


def opened(reply: Reply) -> Image.Image:
    return Image.open(BytesIO(reply.body))


def path_of(server: Server, url: str) -> str:
    assert url.startswith(server.url)
    return url.removeprefix(server.url)


# ------------------------------------------------------------------------------------------------------------- the object


def test_a_request_is_answered_at_once_with_the_pending_object(client: Client, world: Outside) -> None:
    reply = client.call("POST", "/v2/previews/", {"url": world.url("/photo.jpg"), "data": {"order": 17, "tags": ["ä"]}})
    answer = reply.json()
    assert reply.status == 201
    assert set(PAGES) == set(answer), "all seven, and no error"
    assert answer["status"] == "pending"
    assert str(uuid.UUID(answer["id"])) == answer["id"]
    assert answer["url"] == reply.headers["location"] == f"{client.server.url}/v2/previews/{answer['id']}/"
    assert answer["preview"] is answer["thumbnails"] is answer["original_file"] is None
    assert answer["user_data"] == {"order": 17, "tags": ["ä"]}


def test_a_success_has_every_field_in_its_type(client: Client, world: Outside) -> None:
    answer = client.preview(
        world.url("/photo.jpg"), sizes=["250x200", 100, "x60", "5000>", "original"], format="jpg", metadata=["checksum"]
    )
    assert answer["status"] == "success"
    assert "error" not in answer
    assert answer["preview"] == answer["thumbnails"][0]
    assert answer["previewer"] == "picture"
    sizes = [(one["requested_size"], one["size"], one["resized"], one["page"]) for one in answer["thumbnails"]]
    assert sizes == [
        ("250x200", {"width": "250", "height": "188"}, True, 1),
        ("100", {"width": "100", "height": "75"}, True, 1),
        ("x60", {"width": "80", "height": "60"}, True, 1),
        ("5000>", {"width": "800", "height": "600"}, False, 1),
        ("original", {"width": "800", "height": "600"}, False, 1),
    ]
    assert all(one["original_size"] == {"width": "800", "height": "600"} for one in answer["thumbnails"])
    original = answer["original_file"]
    checksum = hashlib.md5(PHOTO).hexdigest()
    assert {name: original[name] for name in original if name != "metadata_url"} == {
        "name": "photo",
        "extension": "jpg",
        "mimetype": "image/jpeg",
        "type": "image",
        "encoding": "binary",
        "size": len(PHOTO),
        "total_pages": 1,
        "metadata": {"checksum": checksum},
    }
    for one in answer["thumbnails"]:
        reply = client.server.get(path_of(client.server, one["url"]))
        assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
        assert opened(reply).size == (int(one["size"]["width"]), int(one["size"]["height"]))
    kept = client.server.get(path_of(client.server, original["metadata_url"])).json()
    assert kept["original_file"]["metadata"] == {"checksum": checksum}


@pytest.mark.parametrize("form", ["jpg", "jpeg", "png", "webp", "avif"])
def test_every_format_is_made(client: Client, world: Outside, form: str) -> None:
    answer = client.preview(world.url("/photo.jpg"), sizes=["64"], format=form)
    reply = client.server.get(path_of(client.server, answer["preview"]["url"]))
    assert opened(reply).format == {"jpg": "JPEG", "jpeg": "JPEG"}.get(form, form.upper())
    assert reply.headers["x-file-name"].endswith(f"_64-1.{form}")


def test_a_text_says_its_encoding_and_an_unknown_file_gets_a_stand_in(client: Client, world: Outside) -> None:
    text = client.preview(world.url("/notes.txt"), sizes=["200"])
    assert (text["status"], text["original_file"]["encoding"]) == ("success", "utf-8")
    unknown = client.preview(world.url("/empty.bin"), sizes=["200"], metadata=["checksum", "sketch"])
    assert (unknown["status"], unknown["previewer"]) == ("success", "icon")
    assert unknown["original_file"]["metadata"]["sketch"] is None
    assert unknown["original_file"]["mimetype"] == "application/octet-stream"


def test_a_damaged_picture_is_a_stand_in_that_says_so(client: Client, world: Outside) -> None:
    answer = client.preview(world.url("/broken.jpg"), sizes=["100"])
    assert answer["previewer"] == "icon"
    assert ("picture", "corrupt") in [(one["previewer"], one["code"]) for one in answer["problems"]["previewers"]]


def test_a_failure_has_an_error_of_code_and_message(client: Client, world: Outside) -> None:
    answer = client.preview(world.url("/missing.jpg"), data="kept")
    assert answer["status"] == "failure"
    assert set(answer) == {*PAGES, "error"}
    assert answer["error"]["code"] == "not_found"
    assert answer["error"]["message"]
    assert answer["original_file"] is answer["preview"] is answer["thumbnails"] is None
    assert answer["user_data"] == "kept"


def test_addresses_inside_are_refused(client: Client) -> None:
    for url in ("http://127.0.0.1:9/x.png", "http://169.254.169.254/latest/meta-data", "http://[::1]/a", "http://localhost/a"):
        answer = client.preview(url)
        assert answer["status"] == "failure", url
        assert answer["error"]["code"] in ("source_unavailable", "bad_request"), url


def test_credentials_in_the_address_go_to_the_origin_alone(client: Client, world: Outside) -> None:
    before = len(world.seen)
    url = world.url("/photo.jpg").replace("http://", "http://us%65r:pa%3Ass@")
    assert client.preview(url, sizes=["50"])["status"] == "success"
    head = next(one for one in world.seen[before:] if b"GET /photo.jpg" in one)
    assert b"Authorization: Basic " + base64.b64encode(b"user:pa:ss") in head


# ------------------------------------------------------------------------------------------------------------ spellings


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"sizes": [250]}, ["250"]),
        ({"sizes": ["250"], "size": {"width": 9, "height": 9}}, ["250"]),
        ({"sizes": [""]}, ["original"]),
        ({"sizes": []}, ["original"]),
        ({"sizes": None}, ["original"]),
        ({"sizes": ["original"]}, ["original"]),
        ({"sizes": "40x30"}, ["40x30"]),
        ({"sizes": ["40", "30"]}, ["40", "30"]),
        ({"sizes": ["40", "40"]}, ["40"]),
        ({"metadata": []}, ["original"]),
        ({"pages": 1}, ["original"]),
        ({"pages": "all"}, ["original"]),
        ({"cookies": {"a": 1}}, ["original"]),
        ({"uploader": {"public": True, "headers": {"x-amz-acl": "public-read", "Cache-Control": "max-age=60"}}}, ["original"]),
    ],
    ids=str,
)
def test_what_clients_really_send_is_understood(
    client: Client, world: Outside, fields: dict[str, Any], sizes: list[str]
) -> None:
    answer = client.preview(world.url("/photo.jpg"), **fields)
    assert [one["requested_size"] for one in answer["thumbnails"]] == sizes


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": "ftp://a/b"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://a/b", "sizes": ["0x0"]}, "sizes"),
        ({"url": "http://a/b", "sizes": ["wide"]}, "sizes"),
        ({"url": "http://a/b", "sizes": ["99999999x1"]}, "sizes"),
        ({"url": "http://a/b", "sizes": [True]}, "sizes"),
        ({"url": "http://a/b", "sizes": [{"width": 5}]}, "sizes"),
        ({"url": "http://a/b", "sizes": [str(n) for n in range(1, 99)]}, "sizes"),
        ({"url": "http://a/b", "format": "exe"}, "format"),
        ({"url": "http://a/b", "pages": "3-1"}, "pages"),
        ({"url": "http://a/b", "pages": "0"}, "pages"),
        ({"url": "http://a/b", "pages": [1]}, "pages"),
        ({"url": "http://a/b", "metadata": [1]}, "metadata"),
        ({"url": "http://a/b", "metadata": ["../x"]}, "metadata"),
        ({"url": "http://a/b", "uploader": "x"}, "uploader"),
        ({"url": "http://a/b", "uploader": {"destination": "a/../b"}}, "uploader"),
        ({"url": "http://a/b", "uploader": {"headers": {"Cache-Control": "a\r\nSet-Cookie: b"}}}, "uploader"),
        ({"url": "http://a/b", "uploader": {"headers": {"x-amz-grant-full-control": "id=1"}}}, "uploader"),
        ({"url": "http://a/b", "callback_url": "http://127.0.0.1:1/x"}, "callback_url"),
        ({"url": "http://a/b", "callback_url": "gopher://x"}, "callback_url"),
        ({"url": "http://a/b", "data": "x" * 70_000}, "data"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_field_at_fault_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    reply = client.call("POST", "/v2/previews/", body)
    error = reply.json()["error"]
    assert reply.status == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"url":"http://a","url":"http://b"}', b"\xff\xfe", b'{"url":NaN}']
)
def test_a_body_that_is_no_object_is_a_400(client: Client, body: bytes) -> None:
    reply = client.server.request("POST", "/v2/previews", body=body, headers=client.headers)
    assert reply.status == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_both_slashes_are_served_directly(client: Client, world: Outside) -> None:
    without = client.call("POST", "/v2/previews", {"url": world.url("/photo.jpg"), "sizes": ["20"]})
    assert without.status == 201
    for path in (f"/v2/previews/{without.json()['id']}", f"/v2/previews/{without.json()['id']}/"):
        assert client.call("GET", path).status == 200


def test_an_unknown_id_and_no_id_at_all_are_the_same_404(client: Client) -> None:
    for job in ("123", "no-id", str(uuid.uuid4()), "%00", "x" * 300):
        reply = client.call("GET", f"/v2/previews/{job}/")
        assert reply.status == 404
        assert reply.json()["error"]["param"] == "task_id"
    assert "123" in client.call("GET", "/v2/previews/123/").json()["error"]["message"]


# -------------------------------------------------------------------------------------------------------------- who asks


def test_without_a_right_secret_nothing_is_answered(client: Client, world: Outside) -> None:
    key = client.application.api_key
    body = {"url": world.url("/photo.jpg")}
    for shown in (None, f"{key}:wrong", f"{key}:", "nobody:x", f"app:{key}", ":", ""):
        headers = {"Content-Type": "application/json"}
        if shown is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(shown.encode()).decode()
        for reply in (
            client.call("POST", "/v2/previews/", body, headers),
            client.call("GET", "/v2/previews/123/", headers=headers),
        ):
            assert reply.status == 401, shown
            assert reply.json()["error"]["type"] == "invalid_request_error"
            assert reply.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("colon", ["", ":"], ids=["as RFC 7617 has it", "with the colon of the browser library"])
@pytest.mark.parametrize("inside", [":", ""], ids=["key and colon", "key alone"])
def test_a_listed_page_asks_with_the_key_alone(server: Server, world: Outside, colon: str, inside: str) -> None:
    page = Client(server, upload_whitelist=Whitelist(["www.example.org"]))
    token = base64.b64encode(f"{page.application.api_key}{inside}".encode()).decode() + colon
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json", "Origin": "https://www.example.org"}
    made = page.call("POST", "/v2/previews/", {"url": world.url("/photo.jpg"), "sizes": ["20"]}, headers)
    assert made.status == 201
    assert made.headers["access-control-allow-origin"] == "https://www.example.org"
    assert page.ended(made.json()["id"])["status"] == "success"
    assert page.call("GET", f"/v2/previews/{made.json()['id']}/", headers=headers).status == 200
    assert page.call("GET", "/v2/previews/", headers=headers).status == 401, "lists are for the secret"
    assert page.call("DELETE", f"/v2/previews/{made.json()['id']}/", headers=headers).status == 401
    other = {**headers, "Origin": "https://evil.example"}
    assert page.call("POST", "/v2/previews/", {"url": "http://a/b"}, other).status == 403
    nowhere = {name: value for name, value in headers.items() if name != "Origin"}
    assert page.call("POST", "/v2/previews/", {"url": "http://a/b"}, nowhere).status == 401


def test_a_browser_may_ask_beforehand(server: Server) -> None:
    headers = {
        "Origin": "https://www.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-filepreviews-client-user-agent",
    }
    reply = server.request("OPTIONS", "/v2/previews/", headers=headers)
    assert reply.status == 204
    allowed = reply.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "x-filepreviews-client-user-agent" in allowed


def test_previews_of_others_are_not_there(server: Server, world: Outside, client: Client) -> None:
    other = Client(server)
    job = client.create(world.url("/photo.jpg"))["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "cancel/"), ("POST", "retry/")):
        assert other.call(method, f"/v2/previews/{job}/{path}").status == 404
    assert other.call("GET", f"/v2/previews/?cursor={job}").status in (400, 404)


@pytest.mark.parametrize("switches", [{"require_policy": True}, {"required": ("delivery",)}], ids=["all", "deliveries"])
def test_results_of_a_secured_application_open_by_their_addresses(
    server: Server, world: Outside, switches: dict[str, Any]
) -> None:
    secured = Client(server, **switches)
    answer = secured.preview(world.url("/photo.jpg"), sizes=["30"])
    path = path_of(server, answer["preview"]["url"])
    assert server.get(path).status == 200
    assert server.get(path.partition("?")[0]).status == 403


def test_results_that_are_only_lent_a_place_say_until_when(server: Server, world: Outside) -> None:
    lent, kept = Client(server), Client(server, storage="server")
    for client, said in ((lent, True), (kept, False)):
        job = client.preview(world.url("/photo.jpg"), sizes=["30"])["id"]
        notice = client.call("GET", f"/v2/previews/{job}/").headers.get("secure-delivery-notice", "")
        assert (" UTC" in notice) is said, notice


def test_a_stored_file_is_previewed_by_its_own_address(server: Server, client: Client) -> None:
    link = server.put(client.application, PHOTO, "stored.jpg")
    answer = client.preview(f"{server.url}/{link.handle}", sizes=["40"])
    assert (answer["status"], answer["original_file"]["name"]) == ("success", "stored")
    other = Client(server)
    assert other.preview(f"{server.url}/{link.handle}")["status"] == "failure"


# ------------------------------------------------------------------------------------------------------- beyond version 2


def test_an_idempotency_key_gives_the_same_job(client: Client, world: Outside) -> None:
    headers = {**client.headers, "Idempotency-Key": "order-17"}
    body = {"url": world.url("/photo.jpg"), "sizes": ["20"]}
    first = client.call("POST", "/v2/previews/", body, headers)
    second = client.call("POST", "/v2/previews/", body, headers)
    assert (first.status, second.status) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    client.ended(first.json()["id"])
    other = client.call("POST", "/v2/previews/", {**body, "sizes": ["30"]}, headers)
    assert (other.status, other.json()["error"]["code"]) == (422, "key_reused")
    bad = client.call("POST", "/v2/previews/", body, {**client.headers, "Idempotency-Key": "a b"})
    assert bad.status == 400


def test_a_list_goes_from_page_to_page(server: Server, world: Outside) -> None:
    client = Client(server)
    made = [client.create(world.url("/photo.jpg"), sizes=["10"])["id"] for _ in range(5)]
    for job in made:
        client.ended(job)
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.call("GET", f"/v2/previews/?limit=2{cursor}").json()
        seen += [one["id"] for one in page["results"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == made[::-1]
    assert client.call("GET", "/v2/previews/?status=failure").json()["results"] == []
    for query in ("limit=0", "limit=x", "status=odd", "cursor=odd"):
        assert client.call("GET", f"/v2/previews/?{query}").status == 400


def test_a_running_job_is_cancelled_tried_again_and_deleted(server: Server, world: Outside) -> None:
    client = Client(server)
    job = client.create(world.url("/slow.jpg"), sizes=["10"])["id"]
    assert client.call("DELETE", f"/v2/previews/{job}/").status == 409, "it runs, or is about to"
    assert client.call("POST", f"/v2/previews/{job}/cancel/").status == 200
    world.held.set()  # type: ignore[attr-defined]
    ended = client.ended(job)
    assert (ended["status"], ended["error"]["code"]) == ("failure", "cancelled")
    assert client.call("POST", f"/v2/previews/{job}/cancel").status == 409
    assert client.call("POST", f"/v2/previews/{job}/retry").json()["status"] == "pending"
    assert client.ended(job)["status"] == "success"
    assert client.call("POST", f"/v2/previews/{job}/retry/").status == 409
    assert client.call("DELETE", f"/v2/previews/{job}").json() == {"id": job, "deleted": True}
    assert client.call("GET", f"/v2/previews/{job}").status == 404


def test_a_job_that_is_cancelled_while_it_waits_is_told_of(server: Server, world: Outside) -> None:
    client = Client(server, limits=replace(Limits(), max_jobs=1))
    world.held.clear()  # type: ignore[attr-defined]
    try:
        first = client.create(world.url("/slow.jpg"), sizes=["10"])["id"]
        second = client.create(world.url("/photo.jpg"), sizes=["10"], callback_url=world.url("/hook"))["id"]
        answer = client.call("POST", f"/v2/previews/{second}/cancel/").json()
        assert (answer["status"], answer["error"]["code"]) == ("failure", "cancelled")
        ends = time.monotonic() + LATE
        told: list[Any] = []
        while not told and time.monotonic() < ends:
            told = [json.loads(body) for body in world.bodies if second.encode() in body]
            time.sleep(0.02)
        assert told == [answer]
    finally:
        world.held.set()  # type: ignore[attr-defined]
    assert client.ended(first)["status"] == "success"


def test_a_full_queue_is_a_429(server: Server, world: Outside) -> None:
    client = Client(server, limits=replace(Limits(), max_queue=2, max_jobs=1))
    world.held.clear()  # type: ignore[attr-defined]
    made = []
    try:
        for _ in range(8):
            reply = client.call("POST", "/v2/previews/", {"url": world.url("/slow.jpg"), "sizes": ["10"]})
            if reply.status != 201:
                break
            made.append(reply.json()["id"])
        assert reply.status == 429
        assert reply.json()["error"]["code"] == "queue_full"
        assert int(reply.headers["retry-after"]) > 0
        assert len(made) <= 4
    finally:
        world.held.set()  # type: ignore[attr-defined]
    for job in made:
        assert client.ended(job)["status"] == "success"


# --------------------------------------------------------------------------------------------------------------- webhooks


def test_the_webhook_says_what_the_object_says(client: Client, world: Outside) -> None:
    before = len(world.seen)
    job = client.create(
        world.url("/photo.jpg"), sizes=["30"], metadata=["checksum"], data={"n": 1}, callback_url=world.url("/hook")
    )["id"]
    shown = client.ended(job)
    ends = time.monotonic() + LATE
    told: list[dict[str, Any]] = []
    while not told and time.monotonic() < ends:
        heads = list(zip(world.seen, world.bodies, strict=False))[before:]
        told = [json.loads(body) for head, body in heads if head.startswith(b"POST /hook") and job.encode() in body]
        time.sleep(0.02)
    assert told[0] == shown
    with contextlib.suppress(StopIteration):
        head = next(one for one in world.seen[before:] if one.startswith(b"POST /hook"))
        assert b"application/json" in head.lower()
