"""How the upload page and its widget look, sound and are handed out: accessibility, screens, other sites' pages, headers."""

from __future__ import annotations

import hashlib
import http.server
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_core import violations
from live import Server, picture, running
from slow_proxy import SlowProxy
from widget import MB, checksum, choose, drop_on, payload, reaches, stored, visitor, watched_pages

from secure_delivery.gate.model import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("widget")) as server:
        yield server


@pytest.fixture(scope="module")
def opened(place: Server) -> Application:
    return place.application()


@pytest.fixture
def proxy(place: Server) -> Iterator[SlowProxy]:
    with SlowProxy(place.port) as proxy:
        yield proxy


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    with watched_pages(browser) as begin:
        yield begin


@pytest.fixture
def visit(open_page: Callable[..., Page], opened: Application) -> Callable[..., Page]:
    return visitor(open_page, opened)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(secrets.token_bytes(6 * MB + 12345))
    return path


# ------------------------------------------------------------------------------------------------- accessibility and looks


def every_state(page: Page, proxy: SlowProxy, big: Path, tmp_path: Path) -> None:
    """A list with a finished picture, a refused, a paused, a running and a waiting file."""
    photo = tmp_path / "A picture with a rather long name, as telephones make them 2024-05-17.jpg"
    photo.write_bytes(picture(400, 300))
    choose(page, photo)
    reaches(page, "done")
    drop_on(page, "drop", ("program.exe", "application/x-msdownload", b"MZ"))
    reaches(page, "failed")
    proxy.hold_after(5 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").click()
    for name in ("video.bin", "sound.bin", "later.bin"):
        big.with_name(name).write_bytes(secrets.token_bytes(2 * MB))
    choose(page, *(big.with_name(name) for name in ("video.bin", "sound.bin", "later.bin")))
    reaches(page, "paused")
    reaches(page, "waiting")


LOOKS: dict[str, dict[str, Any]] = {
    "phone light": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "light"},
    "wide light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "wide dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "reduced_motion": "reduce"},
    "very wide dark": {"viewport": {"width": 2560, "height": 1200}, "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_is_accessible_and_fits_on_every_screen(
    visit: Callable[..., Page],
    open_page: Callable[..., Page],
    proxy: SlowProxy,
    big: Path,
    axe: str,
    tmp_path: Path,
    look: str,
) -> None:
    page = open_page(**LOOKS[look])
    visit(proxy, page=page, accept=".jpg,.bin")
    page.screenshot(path=tmp_path / f"{look} empty.png")
    assert violations(page, axe) == []
    every_state(page, proxy, big, tmp_path)
    page.keyboard.press("Tab")
    page.screenshot(path=tmp_path / f"{look}.png", full_page=True)
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        """() => [...document.querySelectorAll("secure-upload button:not([hidden])")].map(b => b.getBoundingClientRect())
            .filter(b => b.width < 44 || b.height < 44).length"""
    )
    assert small == 0, "every button is large enough for a finger"


def test_the_focus_is_visible_on_every_control(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    choose(page, payload("a.txt", b"a"))
    reaches(page, "done")
    page.keyboard.press("Shift+Tab")
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(({ outlineStyle, outlineWidth }) => outlineStyle + outlineWidth)(getComputedStyle(document.activeElement))"
            )
        )
    assert seen == ["solid3px"] * 4


def test_nothing_moves_for_those_who_asked_for_less_motion(
    visit: Callable[..., Page], open_page: Callable[..., Page], place: Server
) -> None:
    moving = "[...document.querySelectorAll('.su *')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
    page = visit(place, page=open_page(reduced_motion="reduce"))
    assert page.evaluate(moving) == 0
    assert visit(place).evaluate(moving) > 0


def test_the_spoken_status_names_events_and_not_each_percent(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    page.evaluate(
        """() => { window.said = []; const status = document.querySelector("[role=status]");
            new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true }); }"""
    )
    assert page.get_by_role("status").count() == 1
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").click()
    proxy.release()
    page.get_by_role("button", name="Resume: big.bin").click()
    reaches(page, "done")
    said = [text for text in page.evaluate("said") if "trying again" not in text]
    assert said[0] == "big.bin: Uploading"
    assert said[-1] == "big.bin: Uploaded · 1 of 1 uploaded"
    assert "big.bin: Paused" in said
    assert len(said) <= 6
    bar = page.locator("progress")
    assert bar.get_attribute("aria-label") == "big.bin"


# ---------------------------------------------------------------------------------------------------- in somebody's own page


EMBEDDING = """<!doctype html><html lang="de"><head><meta charset="utf-8"><title>Shop</title>
<link rel="stylesheet" href="{server}/static/upload.css"><script type="module" src="/page.js"></script></head>
<body><form action="/order" method="get"><div id="here"></div>
<secure-upload endpoint="{server}/tus" apiKey="{key}" maxFiles="1" name="second"></secure-upload>
<button>Order</button></form></body></html>"""
SCRIPT = """import {{ SecureUpload }} from "{server}/static/upload.js";
SecureUpload.texts = {{ ...SecureUpload.texts, hint: "oder hierher ziehen" }};
window.events = [];
addEventListener("upload:done", ({{ detail }}) => events.push("done " + detail.file.name));
addEventListener("upload:error", ({{ detail }}) => events.push("error " + detail.code));
SecureUpload.mount(document.getElementById("here"), {{
  endpoint: "{server}/tus", apiKey: "{key}", name: "handles", accept: ".txt",
  texts: {{ choose: "Dateien wählen", done: "Hochgeladen", total: "{{done}} von {{all}} fertig", kind: "Nicht diese Art." }},
  onDone: (result) => {{ window.result = {{ ...result, file: result.file.name }}; }},
  onError: (error) => {{ window.failure = error.message; }} }});
"""
#: What docs/upload-widget.md tells such a page to allow, and no more.
EMBEDDING_POLICY = "default-src 'none'; script-src 'self' {server}; style-src {server}; connect-src {server}"


@pytest.fixture
def shop(place: Server, opened: Application) -> Iterator[str]:
    """Another site, with a strict policy, whose page holds the widget twice. Its address."""
    names = {"server": place.url, "key": opened.api_key}
    files = {"/": ("text/html", EMBEDDING.format(**names)), "/page.js": ("text/javascript", SCRIPT.format(**names))}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = files.get(self.path.partition("?")[0], ("text/plain", "ordered"))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", EMBEDDING_POLICY.format(**names))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


def test_a_page_of_another_site_uploads_under_a_strict_policy_and_sends_the_handles_with_its_form(
    open_page: Callable[..., Page], place: Server, shop: str
) -> None:
    page = open_page()
    page.goto(shop)
    page.get_by_text("oder hierher ziehen").nth(1).wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Dateien wählen").click()
    chooser.value.set_files([payload("a.txt", b"first", "text/plain"), payload("b.txt", b"second", "text/plain")])  # type: ignore[list-item]
    done = page.locator("#here li[data-state=done]")
    done.nth(1).wait_for()
    handles = done.locator("a").all_inner_texts()
    assert sorted(stored(place, handle) for handle in handles) == sorted(map(checksum, (b"first", b"second")))
    assert sorted(page.evaluate("events")) == ["done a.txt", "done b.txt"]
    result = page.evaluate("result")
    assert result["handle"] in handles and result["url"] == f"{place.url}/{result['handle']}"
    assert "Hochgeladen · 2 von 2 fertig" in page.locator("#here [role=status]").inner_text()
    page.get_by_role("button", name="Order").click()
    page.wait_for_url("**/order*")
    query = page.url.partition("?")[2].split("&")
    assert sorted(query) == sorted(f"handles={handle}" for handle in handles)


def test_a_page_hears_of_failures(open_page: Callable[..., Page], shop: str) -> None:
    page = open_page()
    page.goto(shop)
    page.locator("#here input[type=file]").set_input_files([payload("a.exe", b"first")])  # type: ignore[list-item]
    page.locator("#here li[data-state=failed]").wait_for()
    assert page.evaluate("[events, failure]") == [["error kind"], "Nicht diese Art."]


# ------------------------------------------------------------------------------------------------------------ pages.py itself


def test_the_page_is_the_same_bytes_for_everybody_under_a_strict_policy(place: Server, opened: Application) -> None:
    plain = place.get(f"/upload/{opened.api_key}")
    signed = place.get(f"/upload/{opened.api_key}?policy=abc&signature=%22%3E%3Cscript%3E")
    assert (plain.status, plain.body) == (200, signed.body)
    policy = dict(part.strip().partition(" ")[::2] for part in plain.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in plain.headers["content-security-policy"]
    assert plain.headers["content-type"] == "text/html; charset=utf-8"
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert plain.headers["referrer-policy"] == "no-referrer"
    assert plain.headers["cache-control"] == "no-cache"
    assert b"style=" not in plain.body and not re.search(rb"<script(?![^>]* src=)|<style| on\w+=", plain.body)


def test_a_key_that_nobody_has_gets_no_page(place: Server) -> None:
    reply = place.get("/upload/AnobodyNobodyNobodyNobo")
    assert reply.status == 401 and "html" not in reply.headers["content-type"]


@pytest.mark.parametrize(
    ("name", "kind"), [("upload.js", "text/javascript"), ("upload.css", "text/css"), ("signed-urls.js", "text/javascript")]
)
def test_static_files_are_public_typed_and_revalidated(place: Server, name: str, kind: str) -> None:
    reply = place.get(f"/static/{name}")
    assert (reply.status, reply.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["cache-control"] == "public, max-age=300"
    tag = reply.headers["etag"]
    assert tag.startswith('"') and tag.strip('"') == hashlib.sha256(reply.body).hexdigest()[:32]
    again = place.get(f"/static/{name}", {"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert place.get(f"/static/{name}", {"If-None-Match": '"other"'}).status == 200
    head = place.request("HEAD", f"/static/{name}")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(reply.body)))


@pytest.mark.parametrize(
    "name",
    ["", "upload.html", "__init__.py", "..%2fpages.py", "%2e%2e/pages.py", "UPLOAD.JS", "upload.js/", "upload.js%00", "x"],
)
def test_only_the_closed_list_is_served(place: Server, name: str) -> None:
    reply = place.get(f"/static/{name}")
    assert reply.status in (400, 403, 404)
    assert b"import" not in reply.body and b"<html" not in reply.body


def test_the_script_is_small_and_needs_nothing_else(place: Server) -> None:
    body = place.get("/static/upload.js").body
    assert len(body) <= 16 * 1024
    text = body.decode()
    assert not re.search(
        r"^\s*import\s|import\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\.style\b", text, re.MULTILINE
    )
