"""What pages of other sites may do: preflights and answers follow the whitelist of the application that is asked."""

from __future__ import annotations

import time

import pytest
from live import Server

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application
from secure_delivery.gate.whitelist import Whitelist

GOOD, OTHER = "https://app.example.org", "https://evil.example.net"
#: Headers that the official clients add to each request; a preflight that does not name them stops them in browsers.
SDK = (
    "filestack-source",
    "filestack-trace-id",
    "filestack-trace-span",
    "filestack-upload-region",
    "content-md5",
    "content-type",
)


@pytest.fixture(scope="module")
def open_file(server: Server) -> FileLink:
    return server.put(server.application(), b"x")


@pytest.fixture(scope="module")
def listed(server: Server) -> Application:
    """Uploads from one site, delivery to another."""
    return server.application(
        upload_whitelist=Whitelist(["upload.example.org"]),
        delivery_whitelist=Whitelist(["app.example.org", "*.cdn.example.org"]),
    )


@pytest.fixture(scope="module")
def listed_file(server: Server, listed: Application) -> FileLink:
    return server.put(listed, b"x")


def preflight(server: Server, target: str, origin: str, method: str = "GET") -> dict[str, str]:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-anything"}
    reply = server.request("OPTIONS", target, headers=headers)
    return {"status": str(reply.status), **reply.headers}


def test_without_a_whitelist_any_page_may_ask_with_the_headers_of_the_clients(every_server: Server) -> None:
    application = every_server.application()
    link = every_server.put(application, b"x")
    for target in (f"/{link.handle}", f"/api/file/{link.handle}", f"/api/store/S3?key={application.api_key}", "/", "/nothing"):
        found = preflight(every_server, target, OTHER, "POST")
        assert (found["status"], found["access-control-allow-origin"]) == ("204", "*")
        assert set(SDK) <= set(found["access-control-allow-headers"].lower().split(", "))
        assert {"GET", "HEAD", "POST", "PUT", "DELETE"} <= set(found["access-control-allow-methods"].split(", "))
        assert "access-control-allow-credentials" not in found
        assert "Origin" in found["vary"]


@pytest.mark.parametrize(
    ("target", "origin", "allowed"),
    [
        ("/{handle}", GOOD, True),
        ("/{handle}", "http://a.cdn.example.org", True),
        ("/{handle}", OTHER, False),
        ("/{handle}", "https://upload.example.org", False),
        ("/{key}/resize=width:3/{handle}", GOOD, True),
        ("/{key}/resize=width:3/{handle}", OTHER, False),
        ("/resize=width:3/{handle}", OTHER, False),
        ("/api/file/{handle}", GOOD, True),
        ("/api/file/{handle}", OTHER, False),
        ("/api/file/{handle}+jpg", OTHER, False),
        ("/{handle}/metadata", OTHER, False),
        ("/api/file/{handle}/metadata", OTHER, False),
        ("/api/store/S3?key={key}", "https://upload.example.org", True),
        ("/api/store/S3?key={key}", GOOD, False),
        ("/api/store/S3?key={key}", OTHER, False),
        ("/{handle}", "null", False),
        ("/{handle}", f"{GOOD}.evil.example.net", False),
        ("/{handle}", f"{GOOD}/path", False),
        ("/{handle}", f"{GOOD}, {OTHER}", False),
        ("/{handle}", "https://app.example.org@evil.example.net", False),
        ("/{handle}", "", False),
        ("/{handle}", "\xff", False),
    ],
)
def test_a_preflight_obeys_the_list_that_concerns_the_path(
    server: Server, listed: Application, listed_file: FileLink, target: str, origin: str, allowed: bool
) -> None:
    found = preflight(server, target.format(handle=listed_file.handle, key=listed.api_key), origin)
    if allowed:
        assert (found["status"], found["access-control-allow-origin"]) == ("204", origin)
    else:
        assert found["status"] == "403" and "access-control-allow-origin" not in found
    assert "Origin" in found["vary"]


def test_the_answer_obeys_the_same_list_as_the_preflight(every_server: Server) -> None:
    application = every_server.application(
        upload_whitelist=Whitelist(["upload.example.org"]), delivery_whitelist=Whitelist(["app.example.org"])
    )
    link = every_server.put(application, b"x")
    store = f"/api/store/S3?key={application.api_key}"
    for target, method, origin in (
        (f"/{link.handle}", "GET", GOOD),
        (f"/api/file/{link.handle}", "GET", GOOD),
        (f"/{link.handle}/metadata", "GET", GOOD),
        (store, "POST", "https://upload.example.org"),
    ):
        body = b"x" if method == "POST" else None
        reply = every_server.request(method, target, body=body, headers={"Origin": origin})
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, origin), target
        assert "ETag" in reply.headers["access-control-expose-headers"]
        wrong = OTHER if method == "GET" else GOOD
        reply = every_server.request(method, target, body=body, headers={"Origin": wrong})
        assert (reply.status, reply.code) == (403, "origin_not_allowed"), target
        assert "access-control-allow-origin" not in reply.headers
    assert every_server.post(store, b"x").code == "origin_not_allowed", "an upload without an Origin"
    assert every_server.get(f"/{link.handle}").status == 200, "delivery without Origin and Referer"


def test_a_list_for_uploads_says_nothing_about_reading(server: Server) -> None:
    # It once took the header away from readers of other sites, and only from them, in an answer that caches shared.
    application = server.application(upload_whitelist=Whitelist(["upload.example.org"]))
    link = server.put(application, b"x")
    for origin in (OTHER, "https://upload.example.org"):
        assert server.get(f"/{link.handle}", {"Origin": origin}).headers["access-control-allow-origin"] == "*"


def test_an_answer_that_caches_may_keep_does_not_depend_on_an_origin_it_does_not_name(
    server: Server, open_file: FileLink
) -> None:
    # A picture in a page is asked for without an Origin; the copy that is kept of it must do for a script as well.
    replies = [server.get(f"/{open_file.handle}", headers) for headers in ({}, {"Origin": GOOD}, {"Origin": OTHER})]
    assert {reply.headers["access-control-allow-origin"] for reply in replies} == {"*"}
    assert all("vary" not in reply.headers for reply in replies)


def test_a_page_may_read_why_it_was_refused_where_its_site_is_approved(server: Server) -> None:
    application = server.application(require_policy=True, delivery_whitelist=Whitelist(["app.example.org"]))
    link = server.put(application, b"x")
    reply = server.get(f"/{link.handle}", {"Origin": GOOD})
    assert (reply.code, reply.headers["access-control-allow-origin"]) == ("policy_required", GOOD)


def test_a_good_referer_does_not_outweigh_a_bad_origin(server: Server, listed_file: FileLink) -> None:
    target = f"/{listed_file.handle}"
    assert server.get(target, {"Referer": f"{GOOD}/page"}).status == 200
    assert server.get(target, {"Referer": f"{OTHER}/page"}).status == 403
    assert server.get(target, {"Referer": f"{GOOD}/page", "Origin": OTHER}).status == 403
    assert server.get(target, {"Referer": f"{OTHER}/page", "Origin": GOOD}).status == 200


def test_an_origin_that_comes_twice_is_not_approved(server: Server, listed_file: FileLink) -> None:
    head = f"GET /{listed_file.handle} HTTP/1.1\r\nHost: x\r\nOrigin: {GOOD}\r\nOrigin: {GOOD}\r\nConnection: close\r\n\r\n"
    assert server.exchange(head.encode()).startswith(b"HTTP/1.1 403")


def test_a_policy_does_not_stand_in_for_an_approved_site(server: Server, listed: Application, listed_file: FileLink) -> None:
    signed = listed.sign(expires_in=60, now=time.time()).as_query()
    assert server.get(f"/{listed_file.handle}?{signed}", {"Origin": OTHER}).code == "origin_not_allowed"


def test_options_without_an_origin_names_the_methods_and_nothing_else(server: Server, listed_file: FileLink) -> None:
    reply = server.request("OPTIONS", f"/{listed_file.handle}")
    assert (reply.status, reply.body) == (204, b"")
    assert "GET" in reply.headers["allow"] and "access-control-allow-origin" not in reply.headers
