"""Pictures of pages, taken by a real browser in the real confinement, through the real address guard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.proxy import GuardProxy
from secure_delivery.plugin import MemoryFile, SourceFault, Unsupported
from secure_delivery.plugin.testing import bind
from secure_delivery_web import driver, transformations
from secure_delivery_web.screenshot import PROGRAMS, _choices

SHOT = transformations()["urlscreenshot"]
BROWSER = any(os.access(path, os.X_OK) for path in driver.BROWSERS)
needs_browser = pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
TALL = b"""<!doctype html><meta name=viewport content="width=device-width"><body style="margin:0;background:blue">
<div style="height:100vh;background:red"></div><div style="height:900px;background:green"></div></body>"""


def page(body: str, script: str = "") -> tuple[str, bytes]:
    text = f"<!doctype html><body style='margin:0;background:blue'>{body}<script>{script}</script></body>"
    return "text/html", text.encode()


def address(url: str) -> MemoryFile:
    return MemoryFile(url.encode(), "text/uri-list", "page")


@pytest.fixture
def guard(site: Any) -> Iterator[GuardProxy]:
    """A guard that lets only this one server through."""
    with GuardProxy(OutboundGuard(allow=[f"127.0.0.1:{site.port}"]), budget_bytes=1 << 24, seconds=60) as proxy:
        yield proxy


@pytest.fixture
def shot(guard: GuardProxy, confined: Any) -> Callable[..., Image.Image]:
    """Take a picture through the guard."""

    def take(url: str, **options: str) -> Image.Image:
        made, _ = confined("urlscreenshot", [address(url)], guard.port, **({"delay": "0"} | options))
        assert made.mimetype == "image/png"
        image = Image.open(BytesIO(made.data))
        image.load()
        return image.convert("RGB")

    return take


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("name", "alias", "good", "bad", "default"),
    [
        ("agent", "a", ["desktop", "mobile", "MOBILE"], ["tablet", ""], "desktop"),
        ("mode", "m", ["all", "window"], ["full"], "all"),
        ("width", "w", ["1", "1920"], ["0", "1921", "-5", "1e3", "10.5"], 1024),
        ("height", "h", ["1", "8000"], ["0", "8001"], 768),
        ("delay", "d", ["0", "20000"], ["-1", "20001"], 1000),
        ("orientation", None, ["portrait", "landscape"], ["upside"], "portrait"),
        ("device", None, ["iphone", "iPad", "pixel", "galaxy"], ["toaster"], None),
    ],
)
def test_options_have_their_bounds_names_and_defaults(name: str, alias: str | None, good: Any, bad: Any, default: Any) -> None:
    """Each documented value is taken by name and by alias, the next one beyond is refused."""
    assert bind(SHOT)[name] == default
    for value in good:
        read = bind(SHOT, **{name: value})[name]
        assert str(read) == value.lower()
        assert alias is None or bind(SHOT, **{alias: value})[name] == read
    for value in bad:
        with pytest.raises(ValueError):
            bind(SHOT, **{name: value})


def test_what_reaches_the_program_is_always_a_declared_choice() -> None:
    """Whatever options are bound, each word handed to the program is one that its declaration lists."""
    program = PROGRAMS["screenshot"]
    for device in (None, "iphone", "ipad", "pixel", "galaxy"):
        for orientation in ("portrait", "landscape"):
            for agent in ("desktop", "mobile"):
                bound = dict(bind(SHOT, agent=agent, orientation=orientation)) | {"device": device}
                choices = _choices(bound)
                assert all(choices[name] in allowed for name, allowed in program.choices.items())


def test_a_window_on_its_side_keeps_to_the_bounds() -> None:
    """A mobile window that would be wider than any window may be is refused while the URL is bound."""
    with pytest.raises(ValueError, match="1920"):
        bind(SHOT, agent="mobile", orientation="landscape", height="1921")
    assert bind(SHOT, agent="mobile", orientation="landscape", height="1920")["height"] == 1920
    assert _choices(bind(SHOT, agent="mobile", orientation="landscape", w="400", h="800"))["width"] == 800


# ------------------------------------------------------------------------------------------------------------ pictures


@needs_browser
def test_the_whole_page_and_the_window_have_their_sizes(site: Any, shot: Any) -> None:
    """`all` is as tall as the page, with parts sized by the window as tall as that window; `window` is the window."""
    site.pages["/tall"] = ("text/html", TALL)
    whole = shot(site.url("/tall"), w="400", h="300")
    assert whole.size == (400, 1200)
    assert [whole.getpixel((200, y)) for y in (10, 290, 310, 1190)] == [RED, RED, GREEN, GREEN]
    window = shot(site.url("/tall"), mode="window", w="400", h="300")
    assert window.size == (400, 300)
    assert window.getpixel((200, 290)) == RED


@needs_browser
def test_a_page_that_never_ends_is_cut_off(site: Any, shot: Any) -> None:
    """However tall a page is, its picture has at most 16,384 rows."""
    site.pages["/endless"] = page("<div style='height:900000px;background:red'></div>")
    assert shot(site.url("/endless"), w="100").size == (100, 16_384)


@needs_browser
def test_a_telephone_is_a_telephone(site: Any, shot: Any) -> None:
    """`agent:mobile` says so to the server and to the page, and `device` brings its own window."""
    site.pages["/agent"] = page(
        "<div id=a style='height:50px'></div>",
        "document.getElementById('a').style.background = matchMedia('(pointer:coarse)').matches ? 'red' : 'green'",
    )
    assert shot(site.url("/agent"), mode="window").getpixel((5, 5)) == GREEN
    assert "Headless" not in site.agents[0] and "Mobile" not in site.agents[0]
    phone = shot(site.url("/agent"), mode="window", device="iphone", orientation="landscape")
    assert phone.size == (844, 390)
    assert phone.getpixel((5, 5)) == RED
    assert any("Mobile" in agent for agent in site.agents)


@needs_browser
def test_the_delay_lets_a_page_finish(site: Any, shot: Any) -> None:
    """What a script does after a while is seen when there was time for it."""
    site.pages["/too-late"] = page("", "setTimeout(() => document.body.style.background = 'red', 60000)")
    assert shot(site.url("/too-late"), mode="window", w="50", h="50", delay="0").getpixel((5, 5)) == BLUE
    site.pages["/late"] = page("", "setTimeout(() => document.body.style.background = 'red', 300)")
    assert shot(site.url("/late"), mode="window", w="50", h="50", delay="4000").getpixel((5, 5)) == RED


@needs_browser
def test_dialogues_and_windows_do_not_hold_a_page_up(site: Any, shot: Any) -> None:
    """A page that asks questions and opens windows has its picture taken all the same."""
    site.pages["/asks"] = page("", "alert(1); confirm(2); prompt(3); open('/other'); document.body.style.background = 'red'")
    assert shot(site.url("/asks"), mode="window", w="50", h="50").getpixel((5, 5)) == RED


@needs_browser
def test_a_redirect_is_followed(site: Any, shot: Any) -> None:
    """The picture is that of the page where the address leads."""
    site.pages["/from"] = ("redirect", b"/to")
    site.pages["/to"] = page("<div style='height:20px;background:red'></div>")
    assert shot(site.url("/from"), w="50").getpixel((5, 5)) == RED


# -------------------------------------------------------------------------------------------------------- out of reach


@needs_browser
def test_a_page_reaches_nothing_but_what_the_guard_lets_through(site: Any, shot: Any) -> None:
    """No picture, frame, request of a script or redirect gets to another server."""
    with type(site)() as other:
        other.pages["/x.png"] = ("image/png", b"")
        away = other.url("/x.png")
        site.pages["/nosy"] = page(
            f"<img src='{away}'><iframe src='{away}'></iframe><iframe src='file:///etc/passwd'></iframe>"
            f"<link rel=stylesheet href='{away}'><video src='{away}'></video>",
            f"fetch('{away}', {{mode: 'no-cors'}}); new WebSocket('{away}'.replace('http', 'ws'));"
            f"navigator.sendBeacon('{away}');"
            f"new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{other.port}'}}]}}).createDataChannel('x')",
        )
        shot(site.url("/nosy"), delay="1500")
        site.pages["/sent"] = ("redirect", away.encode())
        with pytest.raises(SourceFault):
            shot(site.url("/sent"))
        assert other.asked == []


@needs_browser
def test_no_page_is_told_and_no_picture_of_an_error(site: Any, shot: Any, confined: Any) -> None:
    """An address without a server, one that the guard refuses, and one without a guard at all end in a fault."""
    site.pages["/fine"] = page("")
    for url in (
        "http://127.0.0.1:9/",
        "http://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "http://no.such.invalid/",
    ):
        with pytest.raises(SourceFault) as caught:
            shot(url)
        assert caught.value.public == "urlscreenshot: there is no page at this address."
    with pytest.raises(Unsupported):
        confined("urlscreenshot", [address(site.url("/fine"))], None)
    for text in ("file:///etc/passwd", "--version", "http://a b/", "javascript:alert(1)", ""):
        with pytest.raises(Unsupported):
            shot(text)


@needs_browser
def test_the_browser_asks_nobody_but_the_page(site: Any, shot: Any, guard: GuardProxy) -> None:
    """Chromium's own services are not called: the guard has nothing to refuse."""
    site.pages["/quiet"] = page("")
    shot(site.url("/quiet"), mode="window", w="50", h="50", delay="3000")
    assert set(site.asked) <= {"/quiet", "/favicon.ico"}
    assert guard.refused == 0
