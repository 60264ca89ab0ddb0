"""The door of the portal under attack: forged requests, pages of somebody else, what pages let browsers do."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from guests import ACTIONS, FORM, RAWS, VIEWS, Guest, entries, filled, signed_in, site_token
from live import Server
from portal_site import PASSWORD, VIEWER, Site

from secure_delivery.engine.sessions import csrf_token
from secure_delivery.server.portal.frame import Action, View
from secure_delivery.server.portal.wire import FORM_COOKIE, SESSION_COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOWN = [view for view in VIEWS if set(re.findall(r"\{(\w+)", view.path)) <= {"key"}]
CHANGING = [each for each in RAWS if each.method not in ("GET", "HEAD")]


@pytest.fixture(scope="module")
def guest(server: Server) -> Guest:
    """Somebody who is signed in, and changes nothing in these tests."""
    return signed_in(Site(server))


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """An application that is there."""
    return server.application().api_key


# -------------------------------------------------------------------------------------------------------------- forgery


def forgeries(site: Site, guest: Guest) -> Iterator[tuple[str, dict[str, str], str]]:
    """What is sent that a page of ours would not send: its name, headers, and the token against forgery."""
    other = csrf_token("A" * 43)
    port = site.server.port
    yield "no token", {"Origin": site.url}, ""
    yield "another session's token", {"Origin": site.url}, other
    yield "half a token", {"Origin": site.url}, guest.token[:32]
    yield "odd token", {"Origin": site.url}, "ü" + guest.token[1:]
    yield "no origin", {}, guest.token
    for origin in (
        "null",
        "",
        "http://evil.example",
        f"http://localhost:{port}",
        f"http://127.0.0.1:{port}",
        f"http://portal.localhost:{port + 1}",
        f"https://portal.localhost:{port}",
        "http://portal.localhost",
        f"http://portal.localhost:{port}.evil.example",
        f"http://portal.localhost:{port}, http://evil.example",
        f"{site.url}/",
        f"{site.url}@evil.example",
    ):
        yield f"from {origin}", {"Origin": origin}, guest.token


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.path)
def test_a_forged_form_does_nothing(site: Site, guest: Guest, action: Action) -> None:
    """Security promise 64: what a browser with a session sends, but not from a page of ours with its token."""
    before, path = entries(site), filled(action.path)
    cookie = {"Cookie": f"{SESSION_COOKIE}={guest.session}"}
    for name, headers, token in forgeries(site, guest):
        body = urlencode({"csrf": token, "name": "forged"}).encode()
        sent = {"Host": site.host, "Content-Type": FORM, **cookie, **headers}
        reply = site.server.request("POST", path, body=body, headers=sent)
        assert (reply.status, b"forged_request" in reply.body) == (403, True), name
        assert "__Host-sd-session" not in reply.headers.get("set-cookie", "")
    if action.api:
        for name, headers, token in forgeries(site, guest):
            if token.isascii():
                sent = cookie | headers | {"X-CSRF-Token": token}
                assert site.call("POST", path, {"name": "forged"}, headers=sent).code == "forged_request", name
        assert site.call("POST", path, {"name": "forged"}, headers=cookie).code == "forged_request"
        two = {**cookie, "Origin": site.url}
        assert site.call("POST", path, {"csrf": ["a"]}, headers=two).code == "forged_request"
    assert entries(site) == before


@pytest.mark.parametrize("raw", CHANGING, ids=lambda raw: f"{raw.method} {raw.path}")
def test_a_forged_upload_does_nothing(site: Site, guest: Guest, key: str, raw: Any) -> None:
    before = entries(site)
    for name, headers, token in forgeries(site, guest):
        sent = {"Cookie": f"{SESSION_COOKIE}={guest.session}", **headers}
        if token.isascii():
            for path in (filled(raw.path, key=key), filled(raw.path, key=key) + f"?csrf={token}"):
                reply = site.call(raw.method, path, headers=sent | {"X-CSRF-Token": token})
                assert reply.code == "forged_request", name
    assert entries(site) == before


@pytest.mark.parametrize("path", ["/sign-in", "/code", "/setup/{token}", "/invitation/{token}"])
def test_who_is_not_signed_in_needs_the_token_of_a_page_as_well(site: Site, path: str) -> None:
    """Signing somebody in as somebody else is a forgery too."""
    site.person()
    fields = {"login": "owner@example.org", "password": PASSWORD, "new_password": PASSWORD, "again": PASSWORD}
    nobody = Guest(site)
    assert nobody.post(filled(path), fields).status == 403
    nobody = Guest(site, {FORM_COOKIE: ""}, csrf_token(""))
    assert nobody.post(filled(path), fields).status == 403, "a token of nothing"
    guest = Guest(site)
    guest.open("/sign-in")
    assert guest.post(filled(path), fields | {"csrf": csrf_token("A" * 43)}).status == 403
    assert guest.post(filled(path), fields, {"Origin": "null"}).status == 403
    assert SESSION_COOKIE not in guest.cookies


def test_a_program_needs_no_token_against_forgery_and_its_cookie_does_not_count(site: Site) -> None:
    token, cookie = site.token(VIEWER), f"{SESSION_COOKIE}={signed_in(site).session}"
    reply = site.call("POST", "/applications", {"name": "x"}, token=token, headers={"Cookie": cookie})
    assert reply.code == "not_allowed", "the token is a viewer's, whatever the cookie is"
    reply = site.call("GET", "/applications", headers={"Cookie": cookie, "Authorization": "Bearer nothing"})
    assert reply.code == "token_refused"
    page = site.call("GET", "//applications", headers={"Authorization": f"Bearer {token}"})
    assert page.status == 303, "pages are for people"
    twice = b"".join(
        (
            b"GET /api/v1/applications HTTP/1.1\r\nHost: " + site.host.encode() + b"\r\nConnection: close\r\n",
            f"Authorization: Bearer {token}\r\nAuthorization: Bearer {site.token()}\r\n\r\n".encode(),
        )
    )
    assert site.server.exchange(twice).split(b" ")[1] in (b"400", b"401")


@contextmanager
def pages_elsewhere(body: str) -> Iterator[int]:
    """A site of somebody else with one page; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=elsewhere.serve_forever)
    thread.start()
    try:
        yield elsewhere.server_port
    finally:
        elsewhere.shutdown()
        elsewhere.server_close()
        thread.join()


EVIL = """<!doctype html><title>evil</title>
<form id=f method=post action="{url}/applications"><input name=name value=forged-by-form><button>go</button></form>
<iframe src="{url}/applications" name=framed></iframe>
<script>
const plain = kind => ({{ method: "POST", mode: "no-cors", credentials: "include", body: '{{"name":"forged-by-fetch"}}',
  headers: {{ "content-type": kind }} }});
const tries = [
  fetch("{url}/api/v1/applications", plain("text/plain")),
  fetch("{url}/applications", plain("application/x-www-form-urlencoded")),
  fetch("{url}/api/v1/applications", {{ ...plain("application/json"), mode: "cors" }}),
  fetch("{url}/api/v1/applications", {{ credentials: "include" }}).then(answer => answer.text()),
];
const read = all => all.filter(one => one.value && one.value.length).length;
Promise.allSettled(tries).then(all => {{ document.title = "read " + read(all); }});
</script>"""


@pytest.mark.browser
@pytest.mark.parametrize("host", ["127.0.0.1", "portal.localhost"])
def test_a_page_of_somebody_else_changes_reads_and_frames_nothing(browser: Browser, site: Site, host: str) -> None:
    """In a real browser that is signed in: from another site, and from another port of the same host, which cookies reach."""
    context = browser.new_context()
    page = context.new_page()
    site.sign_in(page)
    before = entries(site)
    with pages_elsewhere(EVIL.format(url=site.url)) as port:
        page.goto(f"http://{host}:{port}/")
        page.wait_for_function("document.title.startsWith('read')")
        assert page.title() == "read 0"
        framed = page.frame("framed")
        assert framed is not None
        assert not framed.url.startswith("http"), "nothing of ours is shown in a frame"
        with page.expect_navigation():
            page.get_by_role("button", name="go").click()
        page.get_by_role("heading", name="Sign in" if host == "127.0.0.1" else "This did not work").wait_for()
    assert entries(site) == before
    page.goto(f"{site.url}/applications")
    page.get_by_role("button", name="Sign out").wait_for()
    assert page.get_by_text("forged-by").count() == 0
    context.close()


# -------------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize("view", SHOWN, ids=lambda view: view.path)
def test_pages_say_what_browsers_may_do_with_them(site: Site, guest: Guest, key: str, view: View) -> None:
    """No frames, no scripts but ours, nothing kept: pages, errors and redirects alike."""
    path = filled(view.path, key=key)
    for reply in (guest.get(path), site.call("GET", f"/{path}"), guest.get(path + "/nothing/here"), guest.post("/sign-in")):
        policy = reply.headers["content-security-policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ):
            assert part in policy
        assert "unsafe" not in policy
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in reply.headers
        assert b"<script>" not in reply.body
        assert b" style=" not in reply.body
        assert not re.search(rb" on[a-z]+=", re.sub(rb">[^<]*<", b"><", reply.body))
    if view.api and view.scope:
        answer = site.call("GET", path, token=site_token(site))
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
