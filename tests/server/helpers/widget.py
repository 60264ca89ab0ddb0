"""The upload widget in a browser, for its tests: giving it files, waiting for what becomes of them, seeing what it sends."""

from __future__ import annotations

import contextlib
import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from live import Server
from slow_proxy import SlowProxy

from secure_delivery.gate.model import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Response

MB = 1 << 20
#: Small parts and short waits, so that every rule is met with small files.
SMALL: dict[str, Any] = {"partSize": MB, "minPart": MB // 4, "retryDelay": 20}


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


@contextlib.contextmanager
def watched_pages(browser: Browser) -> Iterator[Callable[..., Page]]:
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
    faults = [fault for one in watched for fault in one.faults]
    assert faults == [], faults


def visitor(open_page: Callable[..., Page], application: Application) -> Callable[..., Page]:
    """Opens the upload page of an application, at a server or a proxy."""

    def go(at: Server | SlowProxy, *, page: Page | None = None, **options: Any) -> Page:
        page = page or open_page()
        page.goto(f"{at.url}/upload/{application.api_key}?{urlencode(SMALL | options)}")
        page.get_by_role("button", name="Choose files").wait_for()
        return page

    return go


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


class Sent:
    """The parts that a page sent from now on: where those began that the server took, and how many it did not take."""

    def __init__(self, page: Page) -> None:
        self.taken: list[int] = []
        self.refused = 0
        page.on("response", self._note)

    def _note(self, answer: Response) -> None:
        if answer.request.method == "PATCH":
            if answer.status == 204:
                self.taken.append(int(answer.request.headers["upload-offset"]))
            else:  # 423, as long as the server still has the request that was broken off
                self.refused += 1


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
