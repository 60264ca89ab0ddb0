"""The pictures of the portal in the documentation: `python docs/make_portal.py` makes them anew, of a server of its own.

Knows: which pages are shown. Must not know: anything that is explained in prose. Needs Chromium, and the packages of the tests.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = Path(__file__).parent / "portal"
PASSWORD = "three brown owls at noon"  # noqa: S105 - of a server that lasts some seconds
WIDE = {"width": 1360, "height": 860}


def main() -> None:
    """Start a server with a demonstration, set it up as a person would, and take the pictures."""
    OUT.mkdir(exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [sys.executable, "-m", "secure_delivery", "serve", "--demo", "--port", "0", "--data", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport=WIDE)
            key = _begin(page, _setup_link(server))
            _pictures(page, key)
        finally:
            server.terminate()
            server.wait()


def _setup_link(server: subprocess.Popen[str]) -> str:
    said = ""
    for line in server.stdout or ():
        said += line
        if "Started worker" in line and (found := re.search(r"http://\S+/setup/\S+", said)):
            return found[0]
    raise SystemExit(said)


def _begin(page: Page, link: str) -> str:
    page.goto(link)
    page.get_by_label("Name").fill("you@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("link", name="demo").first.click()
    page.get_by_role("heading", name="First steps").wait_for()
    return page.url.rsplit("/", 1)[1]


def _pictures(page: Page, key: str) -> None:
    base = page.url.partition("/applications")[0] + f"/applications/{key}"
    _take(page, "start")
    page.goto(f"{base}/playground")
    page.get_by_text("sample.jpg").click()
    page.get_by_role("link", name="Rounded with shadow").click()
    page.locator("[data-slot=pixels]").filter(has_text=re.compile(r"\d")).wait_for()
    page.wait_for_load_state("networkidle")
    _take(page, "playground")
    page.goto(f"{base}/policies")
    page.wait_for_load_state("networkidle")
    _take(page, "policies")
    page.goto(f"{base}/files")
    page.wait_for_load_state("networkidle")
    _take(page, "files")


def _take(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(OUT / f"{name}.jpg", quality=82, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
