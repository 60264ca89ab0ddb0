"""The upload widget in a real browser, against the real server, with good and bad connections between them."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from live import Server, picture, running
from slow_proxy import SlowProxy
from widget import MB, Sent, checksum, choose, drop_on, handle_of, payload, reaches, stored, visitor, watched_pages

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
        """data => {
            const clipboardData = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
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
    page.get_by_role("status").filter(has_text="keys.txt: Handle copied").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove: keys.txt"
    page.keyboard.press("Enter")
    assert page.locator("li").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Choose files"


def test_the_focus_goes_to_the_next_control_when_the_upload_ends(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.hold_after(6 * MB)
    choose(page, big)
    proxy.wait_until_spent()
    page.get_by_role("button", name="Pause: big.bin").focus()
    proxy.release()
    reaches(page, "done")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove: big.bin"


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
    sent = Sent(page)
    proxy.release()
    page.get_by_role("button", name="Resume: big.bin").click()
    assert stored(place, handle_of(page)) == checksum(big)
    assert min(sent.taken) >= 2 * MB, "what had arrived was not sent again"
    assert proxy.sent - stopped < big.stat().st_size - 2 * MB + (1 + sent.refused) * MB


def test_a_cut_connection_is_taken_up_again_without_help(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy)
    proxy.cut_after(7 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    sent = Sent(page)
    assert stored(place, handle_of(page)) == checksum(big)
    assert min(sent.taken) >= 3 * MB, "what had arrived was not sent again"


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
    sent = Sent(page)
    choose(page, big)
    assert stored(place, handle_of(page)) == checksum(big)
    assert min(sent.taken) >= 4 * MB, "the four parts that had arrived were not sent again"
    assert proxy.sent - before < (3 + sent.refused) * MB
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
    page.clock.install()
    proxy.hold_after(3 * MB // 2)
    choose(page, big)
    proxy.wait_until_spent()
    page.context.set_offline(True)
    proxy.refuse = True
    proxy.reset()
    item = reaches(page, "offline")
    assert "No connection, waiting for it" in item.inner_text()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.method))
    page.clock.run_for(600_000)
    assert (asked, item.count()) == ([], 1), "it does not try while there is no use in it"
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
    sent, troubles = Sent(page), iter([502] * 3)

    def answer(route: Any) -> None:
        trouble = next(troubles, None) if route.request.method == "PATCH" else None
        route.continue_() if trouble is None else route.fulfill(status=trouble, body="")

    page.route("**/tus/**", answer)
    choose(page, file)
    assert stored(place, handle_of(page)) == checksum(file)
    quarter = MB // 4
    assert sent.taken == [0, quarter, 3 * quarter, 7 * quarter, 11 * quarter, 15 * quarter]


def test_after_the_last_try_it_says_so_and_can_be_told_to_try_again(
    visit: Callable[..., Page], place: Server, proxy: SlowProxy, big: Path
) -> None:
    page = visit(proxy, retries=2)
    proxy.refuse = True
    proxy.reset()
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


def test_a_plus_in_the_address_stays_a_plus(open_page: Callable[..., Page], place: Server, opened: Application) -> None:
    """Policies in the standard alphabet of Base64 have it, and not every site that makes links escapes it."""
    page = open_page()
    page.goto(f"{place.url}/upload/{opened.api_key}?policy=a+b%2Fc==&signature=d+e")
    with page.expect_request(lambda one: one.method == "POST") as begun:
        choose(page, payload("a.txt", b"a"))
    assert begun.value.url.partition("?")[2] == "policy=a%2Bb%2Fc%3D%3D&signature=d%2Be"
    reaches(page, "failed")


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
    page.evaluate(
        """() => { const box = document.querySelector("[role=status]"); window.said = [];
        const told = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => said.push(box.textContent)).observe(box, told) }"""
    )
    drop_on(page, "drop", ("a.txt", "text/plain", b"a"), ("b.txt", "text/plain", b"b"))
    reaches(page, "done")
    said = page.evaluate("said")
    assert any(text.startswith("b.txt: At most 1 files are accepted.") for text in said), said
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
