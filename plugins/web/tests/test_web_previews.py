"""Pages as previews: visited through the real guard where they live, drawn from their files without a network."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.proxy import GuardProxy
from secure_delivery.engine.sandbox import Chain, ChainSource, Sandbox
from secure_delivery.plugin import MemoryFile, MissingDependency, TooLarge
from secure_delivery.plugin.testing import previewed
from secure_delivery_web import driver
from secure_delivery_web.pages import Webpage, visitable
from secure_delivery_web.screenshot import PROGRAMS

BROWSER = any(os.access(path, os.X_OK) for path in driver.BROWSERS)
needs_browser = pytest.mark.skipif(not BROWSER and not os.environ.get("CI"), reason="no Chromium on this machine")
RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


def html(body: str, head: str = "") -> MemoryFile:
    text = f"<!doctype html>{head}<body style='margin:0;background:blue'>{body}</body>"
    return MemoryFile(text.encode(), "text/html", "page.html")


@pytest.fixture
def drawn(sandbox: Sandbox) -> Callable[..., Image.Image]:
    """The picture that a confined worker makes of a page."""

    def draw(media: MemoryFile, *, address: str | None = None, port: int | None = None, hint: Any = None) -> Image.Image:
        options = {"pages": "1", "sizes": [[0, 0, False, "original"]], "format": "png", "hint": hint, "address": address}
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(media.data)
            source.flush()
            chain = Chain(
                tasks=[("preview:webpage", options | {"most_pages": 10, "readers": []})],
                sources=[ChainSource(source.fileno(), media.mimetype, media.filename)],
                output=output.fileno(),
                proxy_port=port,
            )
            place, length = sandbox.run(chain).extra["document"]
            output.seek(0)
            data = output.read()
        document = json.loads(data[place : place + length])
        assert document["total"] == 1
        (picture,) = document["pages"][0]["pictures"]
        image = Image.open(BytesIO(data[picture["offset"] :][: picture["length"]]))
        image.load()
        return image.convert("RGB")

    return draw


@pytest.fixture
def guard(site: Any) -> Iterator[GuardProxy]:
    with GuardProxy(OutboundGuard(allow=[f"127.0.0.1:{site.port}"]), budget_bytes=1 << 24, seconds=60) as proxy:
        yield proxy


@needs_browser
def test_a_page_with_an_address_is_visited(site: Any, guard: GuardProxy, drawn: Any) -> None:
    """The live page is seen, with its script and its pictures, and not the file that was fetched of it."""
    site.pages["/red.css"] = ("text/css", b"div { height: 50px; background: red }")
    site.pages["/"] = (
        "text/html",
        b"<!doctype html><link rel=stylesheet href=/red.css><body style='margin:0'><div></div>"
        b"<script>document.body.style.background = 'green'</script>",
    )
    image = drawn(html("the file"), address=site.url("/"), port=guard.port)
    assert image.size == (1280, 800)
    assert (image.getpixel((600, 20)), image.getpixel((600, 700))) == (RED, GREEN)


@needs_browser
@pytest.mark.parametrize("why", ["no guard", "refused", "gone", "no address of the web"])
def test_a_page_that_cannot_be_visited_is_drawn_from_its_file(why: str, site: Any, guard: GuardProxy, drawn: Any) -> None:
    """No guard, a server it does not let through, one that is gone, another scheme: there is a picture all the same."""
    site.pages["/"] = ("text/html", b"<!doctype html><body style='background:red'>")
    address = {"refused": "http://169.254.169.254/", "gone": "http://127.0.0.1:9/", "no guard": site.url("/")}.get(why)
    image = drawn(html(""), address=address or "ftp://127.0.0.1/", port=None if why == "no guard" else guard.port)
    assert image.getpixel((600, 400)) == BLUE
    assert site.asked == []


@needs_browser
def test_a_file_loads_nothing_and_runs_nothing(site: Any, guard: GuardProxy, drawn: Any) -> None:
    """No script, picture, frame, style, font or redirect of a handed-in page reaches anything, a file of this machine neither;
    what it carries in itself is seen."""
    pixel = BytesIO()
    Image.new("RGB", (2, 2), "red").save(pixel, "PNG")
    inside = "data:image/png;base64," + base64.b64encode(pixel.getvalue()).decode()
    away = site.url("/x")
    page = html(
        f"<img src='{inside}' style='width:200px;height:100px;display:block'>"
        f"<img src='{away}'><iframe src='{away}'></iframe><iframe src='file:///etc/passwd' style='width:300px'></iframe>"
        f"<iframe srcdoc=\"<meta http-equiv=refresh content='0;url={away}'>\"></iframe><object data='{away}'></object>"
        f"<video src='{away}' autoplay></video><style>@import '{away}'; @font-face {{font-family: x; src: url({away})}}"
        f"p {{font-family: x}}</style><p>words</p><script>document.body.style.background = 'red'</script>"
        f"<svg><image href='{away}'/></svg><input autofocus onfocus=\"document.body.style.background='red'\">",
        head=f"<base href='{site.url('/')}'><meta http-equiv=refresh content='0;url={away}'><link rel=stylesheet href='{away}'>"
        f"<link rel=prefetch href='{away}'><link rel=dns-prefetch href='{away}'>",
    )
    image = drawn(page, port=guard.port)
    assert image.getpixel((100, 50)) == RED
    assert (image.getpixel((1200, 50)), image.getpixel((600, 790))) == (BLUE, BLUE)
    assert site.asked == []


@needs_browser
def test_a_redirect_of_a_file_leads_nowhere(drawn: Any) -> None:
    """Not to another page, not to a file, and not to the browser's own page of errors."""
    for target in ("http://127.0.0.1:9/", "file:///etc/passwd", "chrome://version"):
        head = f"<meta http-equiv=refresh content='0;url={target}'>"
        image = drawn(html("<div style='height:50px;background:red'></div>", head=head))
        assert (image.getpixel((5, 5)), image.getpixel((600, 700))) == (RED, BLUE)


@needs_browser
def test_a_wider_picture_gets_a_wider_window(drawn: Any) -> None:
    assert drawn(html(""), hint=(300, 0)).size == (1280, 800)
    assert drawn(html(""), hint=(1600, 0)).size == (1600, 1000)
    assert drawn(html(""), hint=(9000, 10)).size == (1920, 1200)


@needs_browser
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "windows-1251", "shift_jis"])
def test_a_page_in_any_encoding_is_read(encoding: str, drawn: Any) -> None:
    """A page without latin letters is not a page of replacement marks: it looks the same as in UTF-8."""
    text = "<!doctype html><meta charset='{}'><body style='margin:0;font:40px sans-serif'>{}"
    words = "日本" if encoding == "shift_jis" else "мир"
    same = drawn(MemoryFile(text.format("utf-8", words).encode(), "text/html", "a.html"))
    other = drawn(MemoryFile(text.format(encoding, words).encode(encoding), "text/html", "a.html"))
    assert other.tobytes() == same.tobytes()


@needs_browser
@pytest.mark.parametrize(
    "data", [b"", b"\0" * 999, b"<", bytes(range(256)) * 40, b"<div>" * 30_000, b"<!--", b"<table><p>" * 5_000]
)
def test_rubbish_is_a_page_too(data: bytes, drawn: Any) -> None:
    """Browsers show whatever they are given."""
    assert drawn(MemoryFile(data, "text/html", "page.html")).size == (1280, 800)


def test_without_a_browser_the_fault_says_so() -> None:
    """A workshop without programs: the next previewer is asked, and the result names what is missing."""
    with pytest.raises(MissingDependency):
        previewed(Webpage(), html(""))


def test_other_pages_than_the_first_are_none() -> None:
    assert previewed(Webpage(), html(""), pages="2-9") == []


def test_a_page_of_many_megabytes_is_refused() -> None:
    with pytest.raises(TooLarge):
        previewed(Webpage(), MemoryFile(b"x" * 16_000_001, "text/html", "page.html"))


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@a/",
        "http://a b/",
        "http://[",
        "http://ä/",
        "x" * 9_000,
    ],
)
def test_only_addresses_of_the_web_are_visited(address: str | None) -> None:
    assert visitable(address) is None


def test_what_draws_files_has_no_network() -> None:
    """The program is declared without one, so the confinement gives it none."""
    assert PROGRAMS["page_of_file"].network is False
    assert not any("{proxy}" in word or "{uri}" in word for word in PROGRAMS["page_of_file"].arguments)
