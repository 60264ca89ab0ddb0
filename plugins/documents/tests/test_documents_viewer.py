"""The viewer and the slide show, in a real browser, under the policy that goes with them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from secure_delivery.plugin import MemoryFile
from secure_delivery.plugin.testing import content
from secure_delivery_documents.options import origin, style_sheet

pytestmark = pytest.mark.browser
WORDS = ["alpha beta", "gamma alpha", "delta"]


@pytest.fixture
def served() -> Iterator[Callable[[MemoryFile], str]]:
    """Hand a result out as the server does: with its policy, from a real socket."""
    results: list[MemoryFile] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/0":
                self.send_error(404)
                return
            result = results[0]
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", result.extra["csp"])
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(result.data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(result: MemoryFile) -> str:
        results[:] = [result]
        return f"http://127.0.0.1:{server.server_address[1]}/0"

    yield serve
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(browser: Any, served: Callable[[MemoryFile], str]) -> Iterator[Callable[..., Any]]:
    """A page that shows a result; whatever the browser complains about, or asks for elsewhere, fails the test."""
    contexts, complaints = [], []

    def begin(result: MemoryFile, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        address = served(result)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if not _own(request.url, address) else None)
        page.goto(address)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert [text for text in complaints if "favicon" not in text] == []


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "data:")) or url.endswith("/favicon.ico")


@pytest.fixture
def viewer(make: Any, apply: Any) -> MemoryFile:
    result: MemoryFile = apply(make.file("pdf", make.pdf(*WORDS), "three <pages>.pdf"), ("preview", {}))
    return result


@pytest.fixture
def show(make: Any, apply: Any) -> MemoryFile:
    result: MemoryFile = apply(make.file("pdf", make.pdf(*WORDS, size=(400, 300))), ("slide", {"theme": "white"}))
    return result


def place(page: Any) -> str:
    text: str = page.locator("#place").inner_text()
    return text


# --------------------------------------------------------------------------------------------------------------- viewer


def test_the_viewer_shows_every_page(viewer: MemoryFile, open_page: Any) -> None:
    """Pictures are decoded, named for those who cannot see them, and the text over them can be read."""
    page = open_page(viewer)
    assert page.title() == "three <pages>.pdf"
    assert page.locator(".page img").count() == 3
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 600)")
    assert page.locator(".page").nth(1).get_attribute("aria-label") == "Page 2 of 3"
    assert page.locator(".text span").nth(1).inner_text() == "gamma alpha"
    for button in page.locator("button").all():
        assert button.get_attribute("aria-label")
    assert page.get_by_label("Search the document").count() == 1


def test_words_lie_over_their_pictures(viewer: MemoryFile, open_page: Any) -> None:
    """The text layer has the place and width that the words have on the page, at any zoom."""
    page = open_page(viewer)
    for _ in range(2):
        span, paper = page.locator(".text span").first.bounding_box(), page.locator(".paper").first.bounding_box()
        assert abs((span["x"] - paper["x"]) / paper["width"] - 20 / 300) < 0.01
        assert abs((span["y"] - paper["y"]) / paper["height"] - 46 / 400) < 0.02
        assert abs(span["width"] / paper["width"] - 0.28) < 0.04
        page.keyboard.press("+")


def test_the_viewer_is_driven_by_keys(viewer: MemoryFile, open_page: Any) -> None:
    """Next, previous, first, last, larger, smaller."""
    page = open_page(viewer)
    for key, where in [("n", "2 / 3"), ("ArrowRight", "3 / 3"), ("p", "2 / 3"), ("Home", "1 / 3"), ("End", "3 / 3")]:
        page.keyboard.press(key)
        assert place(page) == where
    assert page.locator("#next").is_disabled()
    width = page.locator(".paper").first.bounding_box()["width"]
    page.keyboard.press("+")
    assert page.locator("#fit").inner_text() == "125%"
    assert page.locator(".paper").first.bounding_box()["width"] == pytest.approx(width * 1.25, rel=0.02)
    page.keyboard.press("0")
    page.keyboard.press("-")
    assert page.locator("#fit").inner_text() == "75%"


def test_the_viewer_is_driven_by_pointer(viewer: MemoryFile, open_page: Any) -> None:
    """The same by buttons, and the place follows scrolling."""
    page = open_page(viewer)
    page.get_by_label("Next page").click()
    assert place(page) == "2 / 3"
    page.get_by_label("Zoom in").click()
    assert page.locator("#fit").inner_text() == "125%"
    page.get_by_label("Fit width").click()
    assert page.locator("#fit").inner_text() == "100%"
    page.evaluate("document.getElementById('pages').scrollTop = 0")
    page.wait_for_function("document.getElementById('place').textContent === '1 / 3'")


def test_words_are_found_on_all_pages(viewer: MemoryFile, open_page: Any) -> None:
    """`/` begins, Enter goes on, with Shift back, Escape ends; the page with the match comes into view."""
    page = open_page(viewer)
    page.keyboard.press("/")
    page.keyboard.type("ALPHA")
    assert page.locator("mark").count() == 2
    assert page.locator("#found").inner_text() == "1 / 2"
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "2 / 2"
    page.wait_for_function("document.getElementById('place').textContent === '2 / 3'")
    assert page.locator("mark.current").inner_text().lower() == "alpha"
    page.keyboard.press("Shift+Enter")
    assert page.locator("#found").inner_text() == "1 / 2"
    page.keyboard.press("Escape")
    assert page.locator("mark").count() == 0
    page.keyboard.press("Control+f")
    page.keyboard.type("nowhere")
    assert page.locator("#found").inner_text() == "None"


def test_the_viewer_prints_its_pages(viewer: MemoryFile, open_page: Any) -> None:
    """On paper there is nothing but pages, one to a sheet."""
    page = open_page(viewer)
    page.evaluate("window.print = () => { window.printed = true; }")
    page.get_by_label("Print").click()
    assert page.evaluate("window.printed")
    page.emulate_media(media="print")
    assert not page.locator("header").is_visible()
    assert page.locator(".page img").nth(2).is_visible()
    assert page.pdf(format="A4").count(b"/Type /Page\n") == 3


def test_the_viewer_fits_a_phone(viewer: MemoryFile, open_page: Any) -> None:
    """Nothing sticks out sideways, buttons are large enough for a finger."""
    page = open_page(viewer, viewport={"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 34
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 360


def test_the_viewer_is_dark_where_the_reader_is(viewer: MemoryFile, open_page: Any) -> None:
    """Around the pages, which stay as they are."""
    shades = {}
    for scheme in ("light", "dark"):
        page = open_page(viewer, color_scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = {scheme: sum(map(int, re.findall(r"\d+", shade)[:3])) for scheme, shade in shades.items()}
    assert brightness["light"] > 600
    assert brightness["dark"] < 120


def test_a_viewer_that_shows_not_all_says_so(make: Any, apply: Any, open_page: Any) -> None:
    """Of forty-one pages forty are shown, and the reader is told."""
    page = open_page(apply(make.file("pdf", make.pdf(*["x"] * 41, size=(60, 80))), ("preview", {})))
    assert page.locator(".page").count() == 40
    assert page.locator("p[role=status]").inner_text() == "This preview shows the first 40 of 41 pages."


def test_documents_cannot_write_into_the_viewer(make: Any, apply: Any, open_page: Any) -> None:
    """Names and words that look like markup are shown as what they are."""
    nasty = "</script><script>window.bad = 1</script><!-- <img src=x onerror=window.bad=1>"
    media = make.file("txt", nasty.encode(), f"{nasty}.txt")
    page = open_page(apply(media, ("preview", {})))
    assert page.evaluate("window.bad") is None
    assert page.title() == f"{nasty}.txt"
    assert "window.bad" in page.locator(".text").first.inner_text()


def test_a_picture_is_a_document_of_one_page(make: Any, apply: Any, open_page: Any) -> None:
    """Pictures can be looked at in the same viewer."""
    page = open_page(apply(make.picture(), ("preview", {})))
    assert page.locator(".page img").count() == 1
    assert place(page) == "1 / 1"


# -------------------------------------------------------------------------------------------------------------- policy


def test_the_policy_names_what_is_there_and_nothing_else(viewer: MemoryFile) -> None:
    """One script and one style by digest; no attribute acts, no address leads elsewhere."""
    policy = viewer.extra["csp"]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]{44}'; script-src 'sha256-[\w+/=]{44}'; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )
    text = viewer.data.decode()
    assert re.search(r"\son[a-z]+\s*=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)) is None
    assert " style=" not in text
    assert "http" not in text.replace("https://", "http://").replace("http://www.w3.org", "")


def test_a_style_sheet_of_ones_own_is_linked_and_allowed(make: Any, apply: Any) -> None:
    """Its origin, and no other, joins the policy."""
    address = "https://cdn.example:8443/a/b.css?v=1&w=2"
    result = apply(make.file("txt", b"x"), ("preview", {"css": address}))
    assert b'<link rel="stylesheet" href="https://cdn.example:8443/a/b.css?v=1&amp;w=2">' in content(result)
    assert re.search(r"style-src 'sha256-[^']+' https://cdn\.example:8443;", result.extra["csp"])
    assert origin(address) == "https://cdn.example:8443"


@pytest.mark.parametrize(
    "address",
    [
        "http://cdn.example/a.css",
        "//cdn.example/a.css",
        "data:text/css,a",
        "javascript:alert(1)",
        "https://user:pw@cdn.example/a.css",
        'https://cdn.example/a.css" onload="x',
        "https://cdn.example/a.css'",
        "https://cdn.example;script-src *//a.css",
        "https://cdn.example, https://evil.example/a.css",
        "https://cdn.example/a b.css",
        "https://*/a.css",
        "https://",
        "https://a.example\\@b.example/",
        "https://cdn.example:99999/a.css",
        "https://cdn.example:x/a.css",
        "https://cdn.example/" + "a" * 2_000,
        "https://cdn.exampl\u00e9/a.css",
        "https://[::1]/a.css",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    """Nothing that is not plainly an https address, or that could mean more than one thing in a policy."""
    with pytest.raises(ValueError):
        style_sheet().read(address)


# ---------------------------------------------------------------------------------------------------------- slide show


def test_the_slide_show_is_driven_by_keys(show: MemoryFile, open_page: Any) -> None:
    """One slide at a time, with every key that presenters have."""
    page = open_page(show)
    assert page.locator(".slide:visible").count() == 1
    for key, where in [
        ("ArrowRight", 2), (" ", 3), ("ArrowRight", 3), ("ArrowLeft", 2), ("PageUp", 1), ("End", 3), ("Home", 1), ("n", 2),
    ]:  # fmt: skip
        page.keyboard.press("Space" if key == " " else key)
        assert place(page) == f"{where} / 3"
        assert page.locator(".slide:visible").get_attribute("id") == f"slide-{where}"
        assert page.evaluate("location.hash") == f"#{where}"
    assert "gamma alpha" in str(page.locator(".slide:visible img").get_attribute("alt"))


def test_the_slide_show_is_driven_by_pointer_and_address(show: MemoryFile, open_page: Any) -> None:
    """Buttons, a click beside the middle, a swipe, and a number in the address."""
    page = open_page(show, viewport={"width": 800, "height": 600})
    page.get_by_label("Next slide").click()
    assert place(page) == "2 / 3"
    page.mouse.click(700, 300)
    assert place(page) == "3 / 3"
    page.mouse.click(50, 300)
    assert place(page) == "2 / 3"
    page.mouse.move(200, 300)
    page.mouse.down()
    page.mouse.move(600, 300)
    page.mouse.up()
    assert place(page) == "1 / 3"
    page.evaluate("location.hash = '#3'")
    page.wait_for_function("document.getElementById('place').textContent === '3 / 3'")


@pytest.mark.parametrize("size", [(1280, 720), (390, 800)])
def test_a_slide_fits_its_window(size: tuple[int, int], show: MemoryFile, open_page: Any) -> None:
    """Whole, in its proportions, without scrolling."""
    page = open_page(show, viewport={"width": size[0], "height": size[1]})
    box = page.locator(".slide:visible img").bounding_box()
    assert box["width"] <= size[0]
    assert box["height"] <= size[1]
    assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_print_is_kept_sharp_and_pictures_smooth(make: Any, apply: Any) -> None:
    """Pages of print are PNG without loss of what matters, pages with colour or shades are WebP."""
    for media, kind in [
        (make.file("pdf", make.pdf("words")), b"data:image/png"),
        (make.file("pdf", make.pdf("words", colour="1 0 0 rg")), b"data:image/webp"),
        (make.picture(), b"data:image/webp"),
    ]:
        assert kind in content(apply(media, ("preview", {})))
