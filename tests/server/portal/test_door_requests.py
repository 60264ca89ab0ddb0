"""Requests that no browser sends to the portal: other hosts, odd paths, names and queries, bodies that are none.

Each is answered with a refusal, never with a fault of the server or the portal of somebody else.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guests import ACTIONS, FORM, RAWS, VIEWS, Guest, entries, filled, signed_in, site_token
from live import Reply, Server, running
from portal_site import Site

from secure_delivery.engine import tables
from secure_delivery.engine.sessions import csrf_token
from secure_delivery.server import portal
from secure_delivery.server.portal.fields import BadField, Fields
from secure_delivery.server.portal.frame import Action, View
from secure_delivery.server.portal.wire import SESSION_COOKIE


@pytest.fixture(scope="module")
def guest(server: Server) -> Guest:
    """Somebody who is signed in, and changes nothing in these tests."""
    return signed_in(Site(server))


# ---------------------------------------------------------------------------------------------------------------- hosts

HOSTS = [
    "localhost:{port}",
    "127.0.0.1:{port}",
    "evil.example",
    "portal.localhost.evil.example:{port}",
    "xportal.localhost:{port}",
    "portal.localhost:{port}@evil.example",
    "portal.localhost:[",
    "portal.localhost:evil",
    "portal.localhost:99999999",
    "portal.localhost:-1",
    "portal.localhost:{port}/x",
    "portal.localhost:{port}?x",
    "portal.localhost:{port}, evil.example",
    "user@portal.localhost:{port}",
    "portal.localhost\xa0",
    "portal.localhost:\xb9",
    "",
]


@pytest.mark.parametrize("host", HOSTS, ids=[f"host {number}" for number in range(len(HOSTS))])
def test_another_host_is_never_the_portal(site: Site, guest: Guest, host: str) -> None:
    """DNS rebinding, and whatever a proxy or a library makes of a Host header that is none (security promise 54)."""
    named = host.format(port=site.server.port)
    for path in ("/sign-in", "/applications", "/api/v1/applications"):
        reply = site.server.get(path, {"Host": named, "Cookie": f"{SESSION_COOKIE}={guest.session}"})
        assert 400 <= reply.status < 500
        assert "set-cookie" not in reply.headers
        assert b"csrf" not in reply.body
        assert b"evil" not in reply.body
        assert "evil" not in reply.headers.get("location", "")
    assert "Traceback" not in site.server.log.read_text(errors="replace")


def test_no_header_makes_the_portal_of_another_host_or_another_host_of_the_portal(site: Site, guest: Guest) -> None:
    told = {
        "X-Forwarded-Host": "evil.example",
        "X-Host": "evil.example",
        "X-Original-URL": "/applications",
        "X-Rewrite-URL": "/applications",
        "X-HTTP-Method-Override": "POST",
    }
    page = guest.get("/sign-in", {name: value for name, value in told.items() if name != "X-Forwarded-Host"})
    assert (page.status, b"evil" in page.body) == (200, False)
    reply = guest.get("/sign-in?a=b", told)
    assert reply.status == 308, "what was passed on by nobody we know is answered by https only"
    assert reply.headers["location"] == f"https://{site.host}/sign-in?a=b"
    other = site.server.get("/sign-in", {"X-Forwarded-Host": site.host, "Host": f"127.0.0.1:{site.server.port}"})
    assert other.status in (400, 404)
    assert b"csrf" not in other.body
    two = f"GET /sign-in HTTP/1.1\r\nHost: {site.host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    said = site.server.exchange(two.encode())
    assert said.split(b" ")[1].startswith(b"4")
    whole = f"GET http://evil.example/sign-in HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n"
    assert b"evil" not in site.server.exchange(whole.encode())


# ---------------------------------------------------------------------------------------------------------------- paths

PATHS = [
    "//applications",
    "/applications/",
    "//evil.example/applications",
    "/./applications",
    "/../applications",
    "/%2e%2e/applications",
    "/%2Fapplications",
    "/applications%2F",
    "/applications%00",
    "/applications;x",
    "/APPLICATIONS",
    "/applications%20",
    "/static/../applications",
    "/static/..%2f..%2fdoor.py",
    "/static/x/portal.css",
    "/static/%00/%00",
    "/api/v1//applications",
    "/api/v1/../../applications",
    "/api/v2/applications",
    "/api/v1",
    "/\\evil.example",
    "/%5cevil.example",
    "/applications?%00=%ff",
    "/\xff",
    "/sign-in/../applications",
    "*",
    "/" + "x" * 6000,
]


@pytest.mark.parametrize("path", PATHS, ids=[f"path {number}" for number in range(len(PATHS))])
def test_an_odd_path_is_nothing_and_leads_nowhere(site: Site, guest: Guest, path: str) -> None:
    for asked in (site.call("GET", "/" + path), guest.get(path), guest.post(path, {"name": "x"})):
        assert 400 <= asked.status < 500
        assert "location" not in asked.headers
    log = site.server.log.read_text(errors="replace")
    assert "Traceback" not in log


@pytest.mark.parametrize("query", ["\xff\xfe", "to=\xe9", "%ff", "to=%00", "a&" * 600, "=", "to=/%2f", "%"])
def test_an_odd_query_is_read_or_refused(every_server: Server, query: str) -> None:
    site = Site(every_server)
    guest = signed_in(site)
    for path in ("/sign-in", "/applications", "/usage", "/audit", "/nothing", "/api/v1/audit"):
        for reply in (guest.get(f"{path}?{query}"), site.call("GET", f"/{path}?{query}")):
            assert reply.status < 500
            assert not reply.headers.get("location", "").startswith(("//", "http"))
    assert "Traceback" not in site.server.log.read_text(errors="replace")


NAMES = ["%00", "a%00b", "%ff", "%ed%a0%80", "%F0%9F%A6%89", "..", "%2e%2e", "'", "%22%3E%3Cimg%20src=x%3E", "%0d%0aX-A:b"]
NAMES += ["x" * 5000]


@pytest.mark.postgres
@pytest.mark.parametrize("entry", [*VIEWS, *ACTIONS, *RAWS], ids=lambda entry: f"{type(entry).__name__} {entry.path}")
def test_no_name_in_a_path_is_more_than_a_name(uvicorn_server: Server, entry: Any) -> None:
    """On PostgreSQL, which takes no NUL. Each name by itself, beside an application that is there."""
    if "{" not in entry.path:
        return
    site = Site(uvicorn_server)
    key = application_of(site)
    method = "GET" if isinstance(entry, View) else "POST" if isinstance(entry, Action) else entry.method
    bases = {re.sub(r"\{\w+(:\w+)?\}", "@", entry.path), re.sub(r"\{\w+(:\w+)?\}", "@", entry.path.replace("{key}", key))}
    for base in filter(lambda base: "@" in base, bases):
        for name in NAMES:
            path = base.replace("@", name)
            fields = {} if method not in ("GET", "HEAD") else None
            api = "" if getattr(entry, "api", True) else "/"
            reply = site.call(method, api + path, fields, token=site_token(site), headers={"Origin": site.url})
            assert reply.status < 500, path[:200]
            assert b"<img src=x" not in reply.body
            assert "x-a" not in reply.headers


def application_of(site: Site, known: dict[int, str] = {}) -> str:  # noqa: B006 - kept on purpose
    if site.server.port not in known:
        known[site.server.port] = site.server.application().api_key
    return known[site.server.port]


# --------------------------------------------------------------------------------------------------------------- bodies


def sends(site: Site, guest: Guest) -> Callable[..., Reply]:
    def send(body: bytes, kind: str | None, path: str = "/api/v1/applications", **more: str) -> Reply:
        # Of the session itself: the last page that was seen may have been one for strangers, as faults of the door are.
        headers = {"Host": site.host, "Origin": site.url, "X-CSRF-Token": csrf_token(guest.session)}
        headers |= {"Cookie": f"{SESSION_COOKIE}={guest.session}"} | ({} if kind is None else {"Content-Type": kind}) | more
        return site.server.request("POST", path, body=body, headers=headers)

    return send


@pytest.mark.parametrize("path", ["/api/v1/applications", "/applications", "/sign-in"])
def test_a_body_that_is_none_is_refused(site: Site, guest: Guest, path: str) -> None:
    send, before = sends(site, guest), entries(site)
    json_kind, big = "application/json", b"x" * ((1 << 20) + 1)
    for body, kind, statuses in (
        (b"name=" + big, FORM, {413}),
        (b'{"name": "' + big + b'"}', json_kind, {413}),
        (b"&".join(b"a%d=1" % number for number in range(501)), FORM, {400}),
        (b"name=%ff", FORM, {400}),
        (b"name=\xff", FORM, {400}),
        (b"name=%ed%a0%80", FORM, {400}),
        (b"name=%00", FORM, {400}),
        (b'{"name": "\\u0000"}', json_kind, {400}),
        (b'{"name": "\\ud800"}', json_kind, {400}),
        (b'{"\\ud800": 1}', json_kind, {400}),
        (b'{"name": "a", "name": "b"}', json_kind, {400}),
        (b'{"name": NaN}', json_kind, {400}),
        (b'{"name": 1e999}', json_kind, {400}),
        (b'{"name": ' + b"9" * 5000 + b"}", json_kind, {400}),
        (b"[" * 100_000, json_kind, {400}),
        (b'{"a":' * 30 + b"1" + b"}" * 30, json_kind, {400}),
        (b"[]", json_kind, {400}),
        (b"null", json_kind, {400}),
        (b'"csrf"', json_kind, {400}),
        (b"\xff\xfe{}", json_kind, {400}),
        (b"{}", "text/plain", {415}),
        (b"{}", "text/json", {415}),
        (b"{}", None, {415}),
        (b"<a/>", "application/xml", {415}),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", {415}),
        (b"{}", "application/json, text/plain", {400, 415}),
    ):
        reply = send(body.replace(b"name", b"login") if path == "/sign-in" else body, kind, path)
        assert reply.status in statuses, (body[:60], kind, reply.status)
        if path.startswith("/api"):
            assert reply.json()["error"]["message"]
    assert entries(site) == before
    assert "Traceback" not in site.server.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of its own for what fills it with nonsense."""
    with running(tmp_path_factory.mktemp("apart")) as server:
        yield Site(server)


#: Every field that any room reads, found in their code: what is not known to one of them is refused or passed over.
FIELDS = sorted(
    {
        name
        for path in Path(portal.__file__).parent.glob("*.py")
        for name in re.findall(r'(?:given|query|values)\.\w+\(\s*"(\w+)"', path.read_text("utf-8"))
    }
    - {"csrf"}
)
VALUES: list[Any] = [
    *([], {}, [[]], [None], {"a": {"b": [1]}}, None, True, -1, 2**63, 1e300, 1e-9),
    *("", " ", "x" * 5000, "\u202eabc", "-1", "1e999", "\x7f", "\ud7ff\uffff", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 3000),
    *(["x" * 600], ["a\x00b"], "a\x00b", "a\r\nb: c"),
]


def own_fields(action: Action) -> list[str]:
    """The fields that an action reads itself, or hands to a function beside it."""
    text = inspect.getsource(action.do)
    beside = inspect.getmodule(action.do)
    for name in set(re.findall(r"\b(_\w+)\(", text)):
        if inspect.isfunction(function := getattr(beside, name, None)):
            text += inspect.getsource(function)
    return sorted(set(re.findall(r'"(\w+)"', text)) & set(FIELDS))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.path)
def test_no_value_of_a_field_is_a_fault_of_the_server(apart: Site, action: Action) -> None:
    """Every action with every value in every field at once, in an application of its own; not what the fields mean."""
    site, application = apart, apart.server.application()
    with site.server.engine.database.write() as connection:
        connection.execute(sa.delete(tables.attempt))  # what wrong passwords of the action before have brought
    guest, path = signed_in(site), filled(action.path, key=application.api_key)
    own = own_fields(action)
    tries = [dict.fromkeys(own, value) for value in VALUES]
    tries += [{name: value} for name in own for value in ({}, 2**63, "x" * 5000)]
    for number, fields in enumerate([*tries, dict.fromkeys(FIELDS, "x"), {name: [] for name in FIELDS}]):
        if action.api:
            reply = site.call("POST", path, fields, token=site_token(site))
            assert reply.status < 500, (number, reply.code)
            assert reply.status != 200 or json.loads(reply.body) is not None
        if all(isinstance(value, str) for value in fields.values()) and action.path != "/sign-out":
            page = guest.post(path, {"csrf": guest.token, **fields})
            assert page.status < 500, (number, page.status)


def test_the_fields_of_the_rooms_are_found() -> None:
    assert {"name", "login", "password", "code", "scopes", "grace"} <= set(FIELDS)
    assert len(FIELDS) > 40


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}', '{"a":' * 30 + "1" + "}" * 30, "[1]", "1", "{", "9" * 5000]
)
def test_an_object_in_a_field_is_read_as_strictly_as_a_body(text: str) -> None:
    with pytest.raises(BadField, match="an object of JSON"):
        Fields({"options": text}, form=True).table("options")
    assert Fields({"options": '{"a": "b"}'}).table("options") == {"a": "b"}
