"""The program behind `urlscreenshot` and previews: starts a headless Chromium and has it take a picture of a page.

Knows: the DevTools protocol, spoken over a pipe; nothing but the standard library. Must not know: the rest of this package. It
runs as a program of its own, in the same confinement as the browser, from a copy of this file.

Words: address, folder for results, scratch folder, proxy, desktop|mobile, all|window, width, height, milliseconds. Where the
proxy is `-`, the address is the path of an HTML file in UTF-8, which is shown without scripts and without a network.
It leaves `page.png`, or `trouble.json` with a word for what was wrong.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

#: The browser itself where it is known, since some are started by scripts that read settings this confinement has not.
BROWSERS = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

LOADING = 20.0  # seconds for a page to load; what is there then is taken
ANSWER = 15.0  # seconds for an answer of the browser
TALLEST = 16_384  # pixels of a whole page; more is cut off
LONGEST = 400_000_000  # bytes of one message: a picture in Base64

NO_PROXY = "http://127.0.0.1:9"  # where nobody listens; the program has no network anyway
MOBILE = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Mobile Safari/537.36"

#: What would ask somebody other than the page.
UNWANTED = (
    "AutofillServerCommunication",
    "DialMediaRouteProvider",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "Translate",
    "WebBluetooth",
)

FLAGS = (
    "--headless",
    "--no-sandbox",  # the whole program is confined; Chromium's own sandbox needs rights that it does not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-field-trial-config",
    "--disable-quic",
    "--disable-sync",
    "--disable-features=" + ",".join(UNWANTED),
    "--enable-automation",
    "--disable-component-extensions-with-background-pages",
    "--allow-browser-signin=false",
    "--incognito",
    "--gaia-url=http://localhost:9",
    "--google-apis-url=http://localhost:9",
    "--check-for-update-interval=31536000",
    "--simulate-outdated-no-au=Tue, 31 Dec 2199 23:59:59 GMT",
    "--component-updater=url-source=http://localhost:9",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-color-profile=srgb",
    "--metrics-recording-only",
    "--password-store=basic",
    "--use-mock-keychain",
    "--lang=en-US",
    "--proxy-bypass-list=<-loopback>",  # not even this machine is reached past the proxy
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # names are the proxy's business
)


class Trouble(Exception):
    """What goes into `trouble.json`: a word for the kind, and details for whoever debugs this."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Wish(NamedTuple):
    """What is to be taken."""

    url: str
    mobile: bool
    whole: bool
    width: int
    height: int
    delay: float
    text: str | None = None  # of a page that is no address


class Browser:
    """A Chromium with a pipe to it. Messages are JSON, each closed by a NUL."""

    def __init__(self, scratch: Path, proxy: str) -> None:
        program = next((path for path in BROWSERS if os.access(path, os.X_OK)), None)
        program = program or next((path for name in NAMES if (path := shutil.which(name))), None)
        if program is None:
            raise Trouble("no_browser")
        words = [program, *FLAGS, f"--proxy-server={proxy}", f"--user-data-dir={scratch / 'profile'}", "about:blank"]
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads from descriptor 3 and writes to 4, whatever those are here: so they are moved out of the way first.
        high = [os.dup2(descriptor, number) for number, descriptor in ((60, theirs_in), (61, theirs_out))]
        self._out, self._in = os.dup2(self._out, 62, inheritable=False), os.dup2(self._in, 63, inheritable=False)
        for number, descriptor in zip((3, 4), high, strict=True):
            os.dup2(descriptor, number)
        self.process = subprocess.Popen(  # noqa: S603 - fixed words and what the broker checked
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(3, 4)
        )
        for descriptor in (3, 4, 60, 61):
            os.close(descriptor)
        self._waiting = bytearray()
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None

    def ask(self, method: str, wait: float = ANSWER, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self._number += 1
        number = self._number
        self.tell(number, method, params)
        end = time.monotonic() + wait
        while True:
            message = self.next(end)
            if message is None:
                raise Trouble("silent", method)
            if message.get("id") == number:
                if "error" in message:
                    raise Trouble("refused", f"{method}: {message['error']}")
                result = message.get("result", {})
                return result if isinstance(result, dict) else {}

    def tell(self, number: int, method: str, params: dict[str, Any]) -> None:
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]

    def next(self, end: float) -> dict[str, Any] | None:
        """The next message, None when none has come in time. Events are kept, dialogues closed."""
        while b"\0" not in self._waiting:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                return None
            piece = os.read(self._in, 1 << 20)
            if not piece or len(self._waiting) > LONGEST:
                raise Trouble("gone")
            self._waiting += piece
        text, _, rest = bytes(self._waiting).partition(b"\0")
        self._waiting = bytearray(rest)
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
            if message["method"] == "Page.javascriptDialogOpening":
                self._number += 1
                self.tell(self._number, "Page.handleJavaScriptDialog", {"accept": False})
            elif message["method"] == "Fetch.requestPaused":  # asked for only where nothing may be fetched
                self._number += 1
                refused = {"requestId": message["params"]["requestId"], "errorReason": "Aborted"}  # and the page stays
                self.tell(self._number, "Fetch.failRequest", refused)
        return message if isinstance(message, dict) else {}

    def wait_for(self, method: str, end: float) -> bool:
        """Wait for an event; False when it has not come in time."""
        while not any(event["method"] == method for event in self.events):
            if self.next(end) is None:
                return False
        return True


def take(browser: Browser, wish: Wish) -> bytes:
    """The picture, as PNG."""
    version = browser.ask("Browser.getVersion", wait=25.0)
    browser.ask("Browser.setDownloadBehavior", behavior="deny")
    target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.ask("Page.enable")
    screen = {"width": wish.width, "height": wish.height, "deviceScaleFactor": 1, "mobile": wish.mobile}
    browser.ask("Emulation.setDeviceMetricsOverride", **screen)
    if wish.mobile:
        major = str(version.get("product", "/120")).partition("/")[2].partition(".")[0]
        browser.ask("Emulation.setTouchEmulationEnabled", enabled=True)
        browser.ask("Emulation.setUserAgentOverride", userAgent=MOBILE.format(major=major), platform="Android")
    else:  # some pages are not themselves for a browser that calls itself headless
        agent = str(version.get("userAgent", "")).replace("HeadlessChrome", "Chrome")
        browser.ask("Emulation.setUserAgentOverride", userAgent=agent)
    browser.events.clear()
    visit(browser, wish) if wish.text is None else show(browser, wish)
    clip = {"x": 0, "y": 0, "width": wish.width, "height": wish.height, "scale": 1}
    if wish.whole:
        content = browser.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip["height"] = max(1, min(TALLEST, int(content["height"])))
    picture = browser.ask("Page.captureScreenshot", wait=30.0, format="png", clip=clip, captureBeyondViewport=wish.whole)
    return base64.b64decode(picture["data"])


def visit(browser: Browser, wish: Wish) -> None:
    """Go to the page and wait until it is there, and for the time that was asked for.

    What the proxy refuses, it answers with an error and no text, and that is no page to the browser.
    """
    try:
        answer = browser.ask("Page.navigate", wait=LOADING, url=wish.url)
    except Trouble as trouble:
        raise Trouble("no_page", trouble.detail) from None  # whoever is there does not answer
    if answer.get("errorText"):
        raise Trouble("no_page", str(answer["errorText"]))
    browser.wait_for("Page.loadEventFired", time.monotonic() + LOADING)
    end = time.monotonic() + wish.delay
    while browser.next(end) is not None:
        pass


def show(browser: Browser, wish: Wish) -> None:
    """Put a text into an empty page. Its address is none, so relative ones lead nowhere and files are out of reach; every
    request is refused, scripts are off."""
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.ask("Fetch.enable", patterns=[{"urlPattern": "*"}])
    frame = browser.ask("Page.getFrameTree")["frameTree"]["frame"]["id"]
    browser.ask("Page.setDocumentContent", wait=LOADING, frameId=frame, html=wish.text)
    browser.wait_for("Page.loadEventFired", time.monotonic() + LOADING / 4)
    end = time.monotonic() + wish.delay
    while browser.next(end) is not None:
        pass


def main(words: list[str]) -> None:
    """Do what the words say."""
    url, out, scratch, proxy, agent, mode, width, height, delay = words
    offline = proxy == "-"
    text = Path(url).read_text("utf-8", "replace") if offline else None
    wish = Wish(url, agent == "mobile", mode == "all", int(width), int(height), int(delay) / 1000, text)
    folder = Path(out)
    try:
        browser = Browser(Path(scratch), NO_PROXY if offline else proxy)
        try:
            picture = take(browser, wish)
        finally:
            browser.process.kill()
            browser.process.wait()
    except Trouble as trouble:
        (folder / "trouble.json").write_text(json.dumps({"kind": trouble.kind, "detail": trouble.detail[:500]}))
        return
    (folder / "page.png").write_bytes(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
