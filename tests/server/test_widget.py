"""The upload page and its widget, in a real browser, against the real server, with good and bad connections between them."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlencode

import pytest
from live import Server, picture, running
from slow_proxy import SlowProxy

from secure_delivery.gate.model import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

MB = 1 << 20
STATIC = "/static/upload.js"
AXE = "axe-core@4.14.1"
INSTALL = 180  # seconds
#: Small parts and short waits, so that every rule is met with small files.
SMALL: dict[str, Any] = {"partSize": MB, "minPart": MB // 4, "retryDelay": 20}


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


class Watched:
    """A page, and what went wrong in it without anybody seeing."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self._console(message.text))
        page.on("filechooser", lambda _: None)  # so that choosers are caught from the start, not from some moment on
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI))"
        )

    def _console(self, text: str) -> None:
        if not text.startswith("Failed to load resource"):  # the browser's note of every refusal and cut
            self.faults.append(text)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """New pages of one browser profile each. None of them may have raised an error or broken its own policy."""
    contexts, watched = [], []

    def begin(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        watched.append(Watched(context.new_page()))
        return watched[-1].page

    yield begin
    for context in contexts:
        context.close()
    assert [fault for one in watched for fault in one.faults] == []


@pytest.fixture
def visit(open_page: Callable[..., Page], opened: Application) -> Callable[..., Page]:
    """The upload page of the open application, at a server or a proxy."""

    def go(at: Server | SlowProxy, *, page: Page | None = None, **options: Any) -> Page:
        page = page or open_page()
        page.goto(f"{at.url}/upload/{opened.api_key}?{urlencode(SMALL | options)}")
        page.get_by_role("button", name="Choose files").wait_for()
        return page

    return go


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(secrets.token_bytes(6 * MB + 12345))
    return path


def choose(page: Page, *files: Path | dict[str, Any]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(list(files))  # type: ignore[arg-type]


def payload(name: str, data: bytes, kind: str = "") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


def reaches(page: Page, state: str, count: int = 1) -> Locator:
    """Waits until so many files are in a state."""
    found = page.locator(f"secure-upload li[data-state={state}]")
    found.nth(count - 1).wait_for()
    assert found.count() == count
    return found


def handle_of(page: Page) -> str:
    return reaches(page, "done").locator("a").inner_text()


def stored(place: Server, handle: str) -> str:
    """The checksum of what the server gives out under a handle."""
    reply = place.get(f"/{handle}")
    assert reply.status == 200
    return hashlib.sha256(reply.body).hexdigest()


def checksum(source: Path | bytes) -> str:
    return hashlib.sha256(source if isinstance(source, bytes) else source.read_bytes()).hexdigest()


def drop_on(page: Page, event: str, *files: tuple[str, str, bytes]) -> None:
    """A drag event of the browser with files."""
    listed = [[name, kind, b64encode(data).decode()] for name, kind, data in files]
    transfer = page.evaluate_handle(
        """files => { const transfer = new DataTransfer();
            for (const [name, type, data] of files)
                transfer.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name, { type }));
            return transfer; }""",
        listed,
    )
    page.dispatch_event(".su-zone", event, {"dataTransfer": transfer})


# ---------------------------------------------------------------------------------------------------- ways to give a file


def test_a_chosen_file_is_stored_byte_for_byte_and_its_handle_shown(
    visit: Callable[..., Page], place: Server, tmp_path: Path
) -> None:
    file = tmp_path / "Ein Föto 写真.jpg"
    file.write_bytes(picture(300, 200))
    page = visit(place)
    choose(page, file)
    handle = handle_of(page)
    assert stored(place, handle) == checksum(file)
    link = place.engine.records.file(handle)
    assert link is not None
    assert (link.filename, link.mimetype) == (file.name, "image/jpeg")
    assert page.locator("li a").get_attribute("href") == f"{place.url}/{handle}"
    assert page.get_by_role("status").inner_text() == f"{file.name}: Uploaded · 1 of 1 uploaded"


def test_a_file_of_many_parts_is_stored_byte_for_byte(visit: Callable[..., Page], place: Server, big: Path) -> None:
    page = visit(place)
    sizes: list[int] = []
    page.on("request", lambda one: sizes.append(int(one.headers.get("upload-offset", 0))) if one.method == "PATCH" else None)
    choose(page, big)
    assert stored(place, handle_of(page)) == checksum(big)
    assert sizes == [n * MB for n in range(7)]


def test_files_are_dropped_onto_the_zone_which_shows_that_it_takes_them(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    files = [("one.txt", "text/plain", b"the first"), ("two.txt", "text/plain", b"the second")]
    zone = page.locator(".su-zone")
    before = zone.evaluate("e => getComputedStyle(e).borderStyle")
    drop_on(page, "dragover", *files)
    assert (before, zone.evaluate("e => getComputedStyle(e).borderStyle")) == ("dashed", "solid")
    drop_on(page, "dragleave", *files)
    assert zone.evaluate("e => getComputedStyle(e).borderStyle") == "dashed"
    drop_on(page, "dragover", *files)
    drop_on(page, "drop", *files)
    done = reaches(page, "done", 2)
    handles = done.locator("a").all_inner_texts()
    assert [stored(place, handle) for handle in handles] == [checksum(b"the first"), checksum(b"the second")]
    assert zone.evaluate("e => getComputedStyle(e).borderStyle") == "dashed"


def test_something_that_is_not_a_file_may_be_dragged_over_it(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    transfer = page.evaluate_handle("() => { const t = new DataTransfer(); t.setData('text/plain', 'words'); return t; }")
    page.dispatch_event(".su-zone", "dragover", {"dataTransfer": transfer})
    assert page.locator("secure-upload").get_attribute("data-over") is None


def test_a_picture_is_pasted(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    data = picture(50, 40, "PNG")
    page.evaluate(
        """data => { const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], "image.png", { type: "image/png" }));
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })); }""",
        b64encode(data).decode(),
    )
    assert stored(place, handle_of(page)) == checksum(data)


def test_everything_works_by_keyboard_alone(visit: Callable[..., Page], place: Server, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(b"typed")
    page = visit(place)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Choose files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    handle = handle_of(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.href") == f"{place.url}/{handle}"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Copy handle: keys.txt"
    page.keyboard.press("Space")
    assert page.evaluate("String(getSelection())") == handle
    assert page.get_by_role("status").inner_text().startswith("keys.txt: Handle copied")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove: keys.txt"
    page.keyboard.press("Enter")
    assert page.locator("li").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Choose files"


def test_copying_puts_the_handle_onto_the_clipboard(
    visit: Callable[..., Page], open_page: Callable[..., Page], place: Server
) -> None:
    page = visit(place, page=open_page(permissions=["clipboard-read", "clipboard-write"]))
    choose(page, payload("a.txt", b"a"))
    handle = handle_of(page)
    page.get_by_role("button", name="Copy handle").click()
    assert page.evaluate("navigator.clipboard.readText()") == handle


def test_a_picture_has_a_thumbnail_and_another_file_its_extension(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    choose(page, payload("p.png", picture(640, 320, "PNG"), "image/png"), payload("notes.txt", b"words", "text/plain"))
    reaches(page, "done", 2)
    canvas = page.locator("li canvas")
    assert canvas.count() == 1
    assert canvas.evaluate("c => [c.width, c.height]") == [224, 112]
    corner = canvas.evaluate("c => [...c.getContext('2d').getImageData(5, 5, 1, 1).data]")
    assert corner[0] > 150 and corner[1] < 80, "the red corner of the picture"
    assert page.locator("li").nth(1).locator(".su-picture").inner_text().lower() == "txt"


def test_a_file_that_only_claims_to_be_a_picture_is_uploaded_without_a_thumbnail(
    visit: Callable[..., Page], place: Server
) -> None:
    page = visit(place)
    choose(page, payload("fake.png", b"not a picture", "image/png"))
    assert stored(place, handle_of(page)) == checksum(b"not a picture")
    assert page.locator("li canvas").count() == 0


def test_the_same_file_twice_is_uploaded_once(visit: Callable[..., Page], place: Server, tmp_path: Path) -> None:
    file = tmp_path / "once.txt"
    file.write_bytes(b"once")
    page = visit(place)
    choose(page, file)
    reaches(page, "done")
    choose(page, file)
    assert page.get_by_role("status").inner_text().startswith("once.txt: It is in the list already.")
    assert page.locator("li").count() == 1


# ------------------------------------------------------------------------------------------ pause, cuts, reload, cancelling


def test_a_paused_upload_stops_and_goes_on_where_it_was(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(5 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").click()
    item = reaches(page, "paused")
    assert "Paused · " in item.inner_text()
    stopped = proxy.sent
    assert page.evaluate("document.activeElement.ariaLabel") == "Resume: big.bin", "the focus stays on the button"
    proxy.release()
    page.get_by_role("button", name="Resume: big.bin").click()
    assert stored(place, handle_of(page)) == checksum(big)
    assert proxy.sent - stopped < big.stat().st_size - MB, "what had arrived was not sent again"


def test_a_cut_connection_is_taken_up_again_without_help(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.cut_after(7 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    assert stored(place, handle_of(page)) == checksum(big)
    assert proxy.sent < big.stat().st_size + 2 * MB


def test_a_reloaded_page_sends_only_the_rest_of_the_same_file(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(9 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.goto("about:blank")
    proxy.release()
    before = proxy.sent
    visit(proxy, page=page)
    choose(page, big)
    assert stored(place, handle_of(page)) == checksum(big)
    assert proxy.sent - before < 3 * MB, "the four parts that had arrived were not sent again"
    assert page.evaluate("localStorage.length") == 0, "nothing is remembered of what is done"


def test_a_remembered_upload_that_the_server_forgot_begins_anew(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.goto("about:blank")
    proxy.release()
    visit(proxy, page=page)
    address = page.evaluate("Object.values(localStorage)[0]")
    _gone(place, address)
    choose(page, big)
    assert stored(place, handle_of(page)) == checksum(big)


def _gone(place: Server, address: str) -> None:
    """Ends an upload on the server; a request that still holds it is waited for."""
    path, deadline = address.partition(str(place.port))[2] or "/" + address.split("/", 3)[3], time.monotonic() + 20
    while place.request("DELETE", path, headers={"Tus-Resumable": "1.0.0"}).status == 423:
        assert time.monotonic() < deadline
    assert place.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"}).status in (404, 410)


def test_a_cancelled_upload_leaves_the_list_and_the_server(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").click()
    reaches(page, "paused")
    address = page.evaluate("Object.values(localStorage)[0]")
    path = "/" + address.split("/", 3)[3]
    proxy.release()
    assert place.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"}).status == 200
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel: big.bin").click()
    assert page.locator("li").count() == 0
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.activeElement.textContent") == "Choose files"
    assert place.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"}).status in (404, 410)


def test_without_remembering_nothing_is_kept_in_the_browser(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy, remember=0)
    proxy.hold_after(MB)
    choose(page, big)
    proxy.wait_until_spent()
    assert page.evaluate("localStorage.length") == 0
    proxy.release()
    assert stored(place, handle_of(page)) == checksum(big)


def test_two_files_go_at_once_and_the_others_wait(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, tmp_path: Path
) -> None:
    files = [tmp_path / f"{n}.bin" for n in range(4)]
    for file in files:
        file.write_bytes(secrets.token_bytes(MB))
    page = visit(proxy)
    proxy.hold_after(MB // 2)
    choose(page, *files)
    proxy.wait_until_spent()
    reaches(page, "uploading", 2)
    waiting = reaches(page, "waiting", 2)
    assert waiting.locator("bdi").all_inner_texts() == ["2.bin", "3.bin"]
    page.get_by_role("button", name="Pause: 0.bin").click()
    assert page.locator("li[data-state=uploading] bdi").all_inner_texts() == ["1.bin", "2.bin"], "a pause makes room"
    proxy.release()
    page.get_by_role("button", name="Resume: 0.bin").click()
    done = reaches(page, "done", 4)
    assert [stored(place, handle) for handle in done.locator("a").all_inner_texts()] == [checksum(file) for file in files]


def test_it_waits_while_the_browser_is_offline_and_goes_on_by_itself(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.context.set_offline(True)
    proxy.cut_after(0)
    proxy.refuse = True
    proxy._reset_all()
    item = reaches(page, "offline")
    assert "No connection, waiting for it" in item.inner_text()
    proxy.refuse = False
    proxy.release()
    page.context.set_offline(False)
    assert stored(place, handle_of(page)) == checksum(big)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(visit: Callable[..., Page], place: Server, big: Path, status: int) -> None:
    page = visit(place)
    troubles = iter([{"status": status, "headers": {"Retry-After": "0"}, "body": "busy"}] * 3)

    def answer(route: Any) -> None:
        trouble = next(troubles, None) if route.request.method == "PATCH" else None
        route.continue_() if trouble is None else route.fulfill(**trouble)

    page.route("**/tus/**", answer)
    choose(page, big)
    assert stored(place, handle_of(page)) == checksum(big)
    assert next(troubles, None) is None


def test_it_waits_as_long_as_the_server_asks_for(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    page.clock.install()
    first = {"status": 503, "headers": {"Retry-After": "120"}, "body": ""}
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.method)
        route.fulfill(**first) if len(asked) == 1 else route.continue_()

    page.route("**/tus/**", answer)
    choose(page, payload("a.txt", b"patience"))
    reaches(page, "retrying")
    page.clock.run_for(110_000)
    assert asked == ["POST"]
    page.clock.run_for(11_000)
    assert stored(place, handle_of(page)) == checksum(b"patience")


def test_parts_shrink_with_failures_and_grow_again(visit: Callable[..., Page], place: Server, tmp_path: Path) -> None:
    file = tmp_path / "parts.bin"
    file.write_bytes(secrets.token_bytes(4 * MB))
    page = visit(place)
    sizes: list[int] = []

    def answer(route: Any) -> None:
        if route.request.method == "PATCH":
            sizes.append(int(route.request.header_value("content-length") or 0))
            if len(sizes) <= 3:
                return route.fulfill(status=502, body="")
        return route.continue_()

    page.route("**/tus/**", answer)
    choose(page, file)
    assert stored(place, handle_of(page)) == checksum(file)
    if any(sizes):
        quarter = MB // 4
        assert sizes[:7] == [MB, MB // 2, quarter, quarter, MB // 2, MB, MB]


def test_after_the_last_try_it_says_so_and_can_be_told_to_try_again(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy, retries=2)
    proxy.refuse = True
    proxy._reset_all()
    choose(page, big)
    item = reaches(page, "failed")
    assert "The server cannot be reached." in item.inner_text()
    proxy.refuse = False
    page.get_by_role("button", name="Try again: big.bin").click()
    assert stored(place, handle_of(page)) == checksum(big)


def test_a_file_that_vanished_is_told_in_words(visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path) -> None:
    page = visit(proxy)
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").click()
    reaches(page, "paused")
    big.write_bytes(b"another file")
    proxy.release()
    page.get_by_role("button", name="Resume: big.bin").click()
    assert "The file cannot be read any more." in reaches(page, "failed").inner_text()


# ----------------------------------------------------------------------------------------------------------------- refusals


REFUSED = {
    "expired": ({"expires_in": 60, "now": 1_000_000.0, "call": ["pick", "store"]}, "The policy has expired."),
    "another call": ({"expires_in": 600, "call": ["read"]}, "The policy does not permit this request."),
    "too large": ({"expires_in": 600, "call": ["pick", "store"], "max_size": 10}, "larger than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_by_policy_is_told_in_words(open_page: Callable[..., Page], place: Server, case: str) -> None:
    terms, sentence = REFUSED[case]
    secured = place.application(require_policy=True)
    signed = secured.sign(**{"now": time.time(), **terms})
    page = open_page()
    page.goto(f"{place.url}/upload/{secured.api_key}?policy={signed.encoded}&signature={signed.signature}")
    choose(page, payload("no.txt", b"twenty bytes of text"))
    item = reaches(page, "failed")
    assert sentence in item.inner_text()
    assert sentence in page.get_by_role("status").inner_text()
    page.get_by_role("button", name="Try again: no.txt").click()
    reaches(page, "failed")
    page.get_by_role("button", name="Remove: no.txt").click()
    assert page.locator("li").count() == 0


def test_a_policy_in_the_address_is_passed_on(open_page: Callable[..., Page], place: Server) -> None:
    secured = place.application(require_policy=True)
    signed = secured.sign(expires_in=600, now=time.time(), call=["pick", "store"], path="/from/.*")
    page = open_page()
    query = urlencode({"policy": signed.encoded, "signature": signed.signature, "path": "/from/page/"})
    page.goto(f"{place.url}/upload/{secured.api_key}?{query}")
    choose(page, payload("yes.txt", b"allowed"))
    link = place.engine.records.file(handle_of(page))
    assert link is not None
    assert (link.sha256, link.application) == (checksum(b"allowed"), secured.api_key)


def test_a_running_upload_outlives_its_policy(
    open_page: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    """What was begun in time may be finished: the page asks for no new policy."""
    secured = place.application(require_policy=True)
    signed = secured.sign(expires_in=600, now=time.time(), call=["pick", "store"])
    page = open_page()
    page.goto(f"{proxy.url}/upload/{secured.api_key}?policy={signed.encoded}&signature={signed.signature}&partSize={MB}")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.method in ("PATCH", "HEAD") else None)
    choose(page, big)
    handle = handle_of(page)
    assert asked and not any("policy" in url or "signature" in url for url in asked)
    link = place.engine.records.file(handle)
    assert link is not None
    assert link.sha256 == checksum(big)


@pytest.mark.parametrize(
    ("options", "name", "sentence"),
    [
        ({"accept": "image/*,.pdf"}, "a.txt", "Files of this kind are not accepted."),
        ({"maxSize": 5}, "a.txt", "The file is larger than 5 B."),
    ],
)
def test_what_the_page_does_not_take_is_never_sent(
    visit: Callable[..., Page], place: Server, options: dict[str, Any], name: str, sentence: str
) -> None:
    page = visit(place, **options)
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.method))
    drop_on(page, "drop", (name, "text/plain", b"more than five bytes"))
    assert sentence in reaches(page, "failed").inner_text()
    assert page.get_by_role("button", name="Try again").count() == 0
    assert sent == []


def test_no_more_files_are_taken_than_the_page_allows(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place, maxFiles=1, accept="text/plain")
    drop_on(page, "drop", ("a.txt", "text/plain", b"a"), ("b.txt", "text/plain", b"b"))
    assert page.get_by_role("status").inner_text().startswith("b.txt: At most 1 files are accepted.")
    reaches(page, "done")
    assert page.locator("li bdi").all_inner_texts() == ["a.txt"]
    page.get_by_role("button", name="Remove").click()
    drop_on(page, "drop", ("b.txt", "text/plain", b"b"))
    reaches(page, "done")


HOSTILE = (
    '<img src=x onerror="document.title=1">.txt',
    "<script>document.title=1</script>",
    "</bdi></li><h2>mine</h2>",
    "{size} {name} &lt;b&gt; $& $1",
    "\u202egpj.exe",
    "javascript:alert(1)",
    "__proto__",
    "a" * 250 + ".txt",
)


def test_hostile_file_names_are_shown_as_text(visit: Callable[..., Page], place: Server) -> None:
    page = visit(place)
    tags = "[...document.querySelectorAll('main *')].map(e => e.tagName).filter(t => !/-/.test(t))"
    choose(page, *[payload(name, name.encode()) for name in HOSTILE])
    done = reaches(page, "done", len(HOSTILE))
    assert done.locator("bdi").all_text_contents() == list(HOSTILE)
    known = {"H1", "DIV", "BUTTON", "SPAN", "INPUT", "P", "UL", "LI", "BDI", "PROGRESS", "A", "CANVAS"}
    assert set(page.evaluate(tags)) <= known
    assert page.title() == "Upload files"
    assert page.evaluate("document.querySelectorAll('h2, img, main script').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long name does not widen the page"


# ------------------------------------------------------------------------------------------------- accessibility and looks


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The checker's script. Where it cannot be installed: a visible skip, and a failure on CI."""
    npm = shutil.which("npm")
    if npm is None:
        unavailable("npm is not installed")
    folder = Path(request.config.cache.mkdir("axe-core"))  # type: ignore[union-attr]
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL, cwd=folder, check=False)
        if ran.returncode != 0:
            unavailable(f"axe-core could not be installed: {ran.stderr[-300:]}")
    return script.read_text("utf-8")


def unavailable(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]


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
window.events = [];
addEventListener("upload:done", ({{ detail }}) => events.push("done " + detail.file.name));
addEventListener("upload:error", ({{ detail }}) => events.push("error " + detail.code));
SecureUpload.mount(document.getElementById("here"), {{ endpoint: "{server}/tus", apiKey: "{key}", name: "handles", accept: ".txt",
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

        def log_message(self, format: str, *args: Any) -> None:
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
    body = place.get(STATIC).body
    assert len(body) <= 16 * 1024
    text = body.decode()
    assert not re.search(
        r"^\s*import\s|import\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\.style\b", text, re.MULTILINE
    )
    assert json.dumps(text)  # plain text, no stray bytes
