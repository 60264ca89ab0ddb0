"""Webhooks over HTTP: what an application's own programs ask, and that a file's whole life is told to who wants to know."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hooks import Post, posts
from live import Reply, Server, file_part, multipart, picture, running
from outside import Outside, ok

from secure_delivery.gate.model import Application

API = "/api/v1/webhooks"


@pytest.fixture(scope="module")
def listening() -> Iterator[Outside]:
    with Outside({}) as web:
        yield web


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, listening: Outside) -> Iterator[Server]:
    """A server that may send to this machine, and that tries again soon."""
    settings = {
        "webhook_allow": "127.0.0.1",
        "webhook_ports": str(listening.port),
        "webhook_delays": "0.05,0.05,60",
        "workers": 2,
    }
    with running(tmp_path_factory.mktemp("hooks"), settings=settings) as server:
        yield server


@pytest.fixture
def web(listening: Outside) -> Outside:
    """The receiver, as if it had heard nothing yet."""
    listening.seen.clear()
    listening.bodies.clear()
    listening.scripts = {"/hook": ok(b"thanks")}
    return listening


class Caller:
    """An application's own program."""

    def __init__(self, server: Server, application: Application | None = None) -> None:
        self.server = server
        self.application = application or server.application()
        self.secret = self.application.secrets.signing.value.decode()

    @property
    def credential(self) -> str:
        return "Basic " + base64.b64encode(f"{self.application.api_key}:{self.secret}".encode()).decode()

    def ask(self, method: str, path: str, values: Any = None, **headers: str) -> Reply:
        body = None if values is None else json.dumps(values).encode()
        named = (
            {"Authorization": self.credential} | ({"Content-Type": "application/json"} if body is not None else {}) | headers
        )
        return self.server.request(method, API + path, body=body, headers=named)

    def add(self, url: str, **more: Any) -> dict[str, Any]:
        reply = self.ask("POST", "", {"url": url, **more})
        assert reply.status == 201, reply.body
        return dict(reply.json())


@pytest.fixture
def caller(server: Server) -> Caller:
    return Caller(server)


def arrived(web: Outside, number: int = 1) -> list[Post]:
    pause = threading.Event()
    for _ in range(4000):
        if len(web.bodies) >= number:
            return posts(web)
        pause.wait(0.01)
    raise AssertionError(f"{len(web.bodies)} of {number} arrived")


def eventually(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if what():
            return
        pause.wait(0.02)
    raise AssertionError("it never came")


# -------------------------------------------------------------------------------------------------------------- endpoints


def test_an_endpoint_is_made_seen_changed_and_removed(caller: Caller, web: Outside) -> None:
    made = caller.add(web.url("/hook"), events=["fp.upload", "fp.delete"])
    secret = made.pop("secret")
    assert len(secret) >= 20
    assert made == {
        "id": made["id"], "url": web.url("/hook"), "events": ["fp.upload", "fp.delete"], "state": "active",
        "created": made["created"], "previous_secret_until": None,
    }  # fmt: skip
    assert abs(made["created"] - time.time()) < 60
    one = caller.ask("GET", f"/{made['id']}")
    assert (one.status, one.json(), one.headers["cache-control"]) == (200, made, "no-store")
    everything = caller.ask("GET", "").json()
    assert everything["webhooks"] == [made] and "fp.preview" in everything["events"]
    changed = caller.ask("PATCH", f"/{made['id']}", {"events": [], "active": False})
    assert changed.json() == made | {"events": [], "state": "off"}
    assert caller.ask("PATCH", f"/{made['id']}", {"url": web.url("/other")}).json()["url"] == web.url("/other")
    gone = caller.ask("DELETE", f"/{made['id']}")
    assert (gone.status, gone.body) == (204, b"")
    assert caller.ask("GET", f"/{made['id']}").code == "not_found"
    assert caller.ask("GET", "").json()["webhooks"] == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "url"),
        ({"url": "https://hooks.example.org:99/"}, "port"),
        ({"url": "http://hooks.example.org/"}, "https"),
        ({"url": "https://a:b@hooks.example.org/"}, "password"),
        ({"url": ["https://hooks.example.org/"]}, "url"),
        ({"url": "https://hooks.example.org/", "events": ["fp.nothing"]}, "fp.nothing"),
        ({"url": "https://hooks.example.org/", "events": {"fp.upload": 1}}, "events"),
        ({"url": "https://hooks.example.org/", "events": [1]}, "events"),
        ({"url": "https://hooks.example.org/", "active": "perhaps"}, "active"),
        ({"url": "https://hooks.example.org/", "secret": "short"}, "secret"),
        ({"url": "https://hooks.example.org/", "evnts": []}, "evnts"),
        ([], "object"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_with_the_reason(caller: Caller, values: Any, says: str) -> None:
    reply = caller.ask("POST", "", values)
    assert (reply.status, reply.code) == (400, "bad_request")
    assert says in reply.json()["error"]["message"]
    assert caller.ask("GET", "").json()["webhooks"] == []


def test_a_form_says_the_same_as_json(caller: Caller) -> None:
    body = b"url=https%3A%2F%2Fhooks.example.org%2F&events=fp.upload,fp.delete&active=false"
    headers = {"Authorization": caller.credential, "Content-Type": "application/x-www-form-urlencoded"}
    made = caller.server.post(API, body, headers).json()
    assert (made["events"], made["state"]) == (["fp.upload", "fp.delete"], "off")


def test_a_rotation_shows_the_new_secret_once_and_both_sign_for_a_while(caller: Caller, web: Outside) -> None:
    made = caller.add(web.url("/hook"))
    rotated = caller.ask("POST", f"/{made['id']}/rotate", {"grace": 600}).json()
    assert rotated["secret"] != made["secret"]
    assert abs(rotated["previous_secret_until"] - time.time() - 600) < 60
    assert caller.ask("POST", f"/{made['id']}/test").json()["state"] == "delivered"
    (post,) = posts(web)
    post.verified(rotated["secret"])
    assert len(post.signatures) == 2
    assert caller.ask("POST", f"/{made['id']}/rotate", {"grace": 10**7}).code == "bad_request"
    for path in ("", f"/{made['id']}", "/deliveries"):
        told = caller.ask("GET", path).body.decode()
        assert made["secret"] not in told and rotated["secret"] not in told


# ------------------------------------------------------------------------------------------------------------------ who asks


PATHS = [
    ("GET", ""), ("POST", ""), ("GET", "/ID"), ("PATCH", "/ID"), ("DELETE", "/ID"), ("POST", "/ID/rotate"),
    ("POST", "/ID/test"), ("GET", "/deliveries"), ("GET", "/deliveries/DELIVERY"), ("POST", "/deliveries/DELIVERY/redeliver"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_the_right_secret_nothing_is_answered(caller: Caller, web: Outside, method: str, path: str) -> None:
    made = caller.add(web.url("/hook"))
    delivery = caller.ask("POST", f"/{made['id']}/test").json()["id"]
    path = path.replace("ID", made["id"]).replace("DELIVERY", delivery)
    key = caller.application.api_key
    wrong = [f"{key}:wrong", f"{key}:", f"{key}", f"unknown:{caller.secret}", f":{caller.secret}", f"app:{caller.secret}"]
    for credential in [None, "Bearer x", "Basic !!", *("Basic " + base64.b64encode(each.encode()).decode() for each in wrong)]:
        headers = {} if credential is None else {"Authorization": credential}
        reply = caller.server.request(method, API + path, body=b"{}" if method != "GET" else None, headers=headers)
        assert (reply.status, reply.code) == (401, "unauthorized"), credential
        assert reply.headers["www-authenticate"].startswith("Basic ")
    assert caller.ask("GET", f"/{made['id']}").json()["state"] == "active", "nothing was changed"


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in PATHS if "ID" in path or "DELIVERY" in path])
def test_to_another_application_it_looks_as_if_there_was_nothing(caller: Caller, web: Outside, method: str, path: str) -> None:
    made = caller.add(web.url("/hook"))
    delivery = caller.ask("POST", f"/{made['id']}/test").json()["id"]
    other = Caller(caller.server)
    path = path.replace("DELIVERY", delivery).replace("ID", made["id"])
    foreign, none = (other.ask(method, each, {} if method != "GET" else None) for each in (path, "/deliveries/wd_none"))
    if method == "GET":
        none = other.ask("GET", "/deliveries/wd_none" if "deliveries" in path else "/wh_none")
        assert foreign.json() == none.json()
    assert (foreign.status, foreign.code) == (404, "not_found")
    assert other.ask("GET", f"/deliveries?webhook={made['id']}").json() == {"deliveries": [], "next": None}
    assert other.ask("GET", f"/deliveries?after={delivery}").code == "not_found"
    assert caller.ask("GET", f"/{made['id']}").json()["state"] == "active"


def test_a_method_that_a_path_does_not_have_is_a_405(caller: Caller) -> None:
    for method, path in (("PUT", ""), ("DELETE", ""), ("POST", "/wh_x"), ("GET", "/wh_x/test"), ("POST", "/deliveries")):
        assert caller.ask(method, path).code == "method_not_allowed", (method, path)


# ------------------------------------------------------------------------------------------------------------------- the log


def test_the_log_shows_every_try_and_what_is_sent_again_has_the_same_id(caller: Caller, web: Outside) -> None:
    web.scripts["/hook"] = ok(b"not now", status="503 Later")
    made = caller.add(web.url("/hook"))
    link = caller.server.put(caller.application, b"some text", "a.txt")
    arrived(web, 3)  # the schedule of this server: at once, and twice very soon; then a minute

    def waiting() -> dict[str, Any]:
        return dict(caller.ask("GET", "/deliveries").json()["deliveries"][0])

    eventually(lambda: waiting()["attempts"] == 3 and waiting()["state"] == "waiting")
    listed = waiting()
    assert (listed["event"], listed["status"], listed["answer"], listed["webhook"]) == ("fp.upload", 503, "not now", made["id"])
    one = caller.ask("GET", f"/deliveries/{listed['id']}").json()
    assert [(each["number"], each["status"], each["answer"]) for each in one["tries"]] == [
        (number, 503, "not now") for number in (1, 2, 3)
    ]
    web.scripts["/hook"] = ok(b"thanks")
    again = caller.ask("POST", f"/deliveries/{listed['id']}/redeliver")
    assert (again.status, again.json()["event_id"]) == (202, listed["event_id"])
    eventually(lambda: waiting()["state"] == "delivered")
    assert {post.event_id for post in posts(web)} == {listed["event_id"]}
    assert json.loads(posts(web)[-1].body)["text"]["url"].endswith(link.handle)


def test_the_log_is_read_page_by_page(caller: Caller, web: Outside) -> None:
    made = caller.add(web.url("/hook"))
    for _ in range(5):
        caller.ask("POST", f"/{made['id']}/test")
    found, path = [], "/deliveries?limit=2"
    while True:
        page = caller.ask("GET", path).json()
        found += [each["id"] for each in page["deliveries"]]
        if page["next"] is None:
            break
        path = f"/deliveries?limit=2&after={page['next']}"
    assert len(found) == len(set(found)) == 5
    assert caller.ask("GET", "/deliveries?state=failed").json()["deliveries"] == []
    assert len(caller.ask("GET", "/deliveries?event=webhook.test&state=delivered").json()["deliveries"]) == 5
    for wrong in ("state=lost", "limit=0", "limit=many", "page=2"):
        assert caller.ask("GET", f"/deliveries?{wrong}").code == "bad_request", wrong


def test_a_test_says_what_came_of_it_although_it_did_not_arrive(caller: Caller, web: Outside) -> None:
    web.scripts["/hook"] = ok(b"no", status="404 No")
    made = caller.add(web.url("/hook"), active=False)
    done = caller.ask("POST", f"/{made['id']}/test").json()
    assert (done["state"], done["status"], done["answer"], done["attempts"]) == ("failed", 404, "no", 1)


# ------------------------------------------------------------------------------------------------------------ what is told


def test_the_life_of_a_file_is_told_in_the_words_of_the_documentation(caller: Caller, web: Outside) -> None:
    server, application = caller.server, caller.application
    secret = caller.add(web.url("/hook"))["secret"]
    body, headers = multipart(file_part(picture(), "photo.jpg"))
    handle = server.post(f"/api/store/S3?key={application.api_key}", body, headers).json()["url"].rpartition("/")[2]
    uploaded = arrived(web, 1)[0].verified(secret)
    assert uploaded.action == "fp.upload"
    assert uploaded.text == {
        "container": "local", "url": f"{server.url}/{handle}", "filename": "photo.jpg", "client": "Computer",
        "key": uploaded.text["key"], "type": "image/jpeg", "status": "Stored", "size": len(picture()),
    }  # fmt: skip

    signed = application.sign(expires_in=600, now=time.time(), call=["store", "pick", "convert", "read", "remove", "write"])
    task = f"/{application.api_key}/{signed.as_task()}/resize=width:50/store/{handle}"
    stored = server.get(task).json()
    converted = arrived(web, 2)[1].verified(secret)
    assert (converted.action, converted.text["url"]) == ("fp.converse", f"/resize=width:50/store/{handle}")
    assert converted.text["link"] == {
        "url": stored["url"], "handle": stored["handle"], "filename": stored["filename"], "mimetype": "image/jpeg",
        "path": converted.text["link"]["path"], "provider": "internal_v2", "size": stored["size"],
    }  # fmt: skip

    other = picture(30, 30)
    headers = {"Content-Type": "image/jpeg"}
    assert server.post(f"/api/file/{handle}?{signed.as_query()}", other, headers).status == 200
    overwritten = arrived(web, 3)[2].verified(secret)
    assert (overwritten.action, overwritten.text) == (
        "fp.overwrite",
        {
            "mimetype": "image/jpeg", "url": f"{server.url}/{handle}", "isWriteable": True, "filename": "photo.jpg",
            "client": "Computer", "size": len(other),
        },
    )  # fmt: skip

    assert server.request("DELETE", f"/api/file/{handle}?{signed.as_query()}").status == 200
    deleted = arrived(web, 4)[3].verified(secret)
    assert (deleted.action, deleted.text) == ("fp.delete", {"url": f"{server.url}/{handle}"})
    told = [each["event"] for each in caller.ask("GET", "/deliveries").json()["deliveries"]]
    assert told == ["fp.delete", "fp.overwrite", "fp.converse", "fp.upload"]


def test_tags_of_an_upload_in_parts_are_told_with_it(caller: Caller, web: Outside) -> None:
    server, key = caller.server, caller.application.api_key
    caller.add(web.url("/hook"), events=["fp.upload"])
    content = b"in parts"

    def say(step: str, **values: Any) -> Any:
        body = json.dumps({"apikey": key, **values}).encode()
        return server.post(f"/multipart/{step}", body, {"Content-Type": "application/json"}).json()

    begun = say("start", filename="a.txt", mimetype="text/plain", size=len(content), store={"location": "s3"})
    named = {"uri": begun["uri"], "region": begun["region"], "upload_id": begun["upload_id"]}
    digest = base64.b64encode(hashlib.md5(content).digest()).decode()
    place = say("upload", **named, part=1, size=len(content), md5=digest)
    target = place["url"].removeprefix(server.url)
    etag = server.request("PUT", target, body=content, headers=place["headers"]).headers["etag"]
    done = say(
        "complete", **named, size=len(content), parts=[{"part_number": 1, "etag": etag}], upload_tags={"kind": "invoice"}
    )
    assert done["upload_tags"] == {"kind": "invoice"}
    told = json.loads(arrived(web)[0].body)["text"]
    assert (told["upload_tags"], told["filename"]) == ({"kind": "invoice"}, "a.txt")


def test_credentials_in_a_transformation_are_not_told_on(caller: Caller, web: Outside) -> None:
    server, application = caller.server, caller.application
    caller.add(web.url("/hook"), events=["fp.converse"])
    link = server.put(application, picture(), "photo.jpg")
    signed = application.sign(expires_in=600, now=time.time(), call=["store", "pick", "convert", "read"])
    assert server.get(f"/{application.api_key}/{signed.as_task()}/rotate=deg:90/store/{link.handle}").status == 200
    body = arrived(web)[0].body.decode()
    assert signed.signature not in body and signed.encoded not in body


def test_no_secret_is_in_anything_that_the_server_wrote(caller: Caller, web: Outside) -> None:
    made = caller.add(web.url("/hook?token=MARKER-token"))
    rotated = caller.ask("POST", f"/{made['id']}/rotate").json()
    web.scripts["/hook?token=MARKER-token"] = ok(b"", status="500 No")
    caller.ask("POST", f"/{made['id']}/test")
    for path, content in caller.server.written():
        for secret in (made["secret"], rotated["secret"]):
            assert secret.encode() not in content, path
        if path.suffix == ".log":
            assert b"MARKER-token" not in content
