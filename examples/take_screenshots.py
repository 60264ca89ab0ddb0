"""Takes the pictures in the examples' READMEs: each page on a desktop, on a phone and in the dark.

Knows: how the examples are started and which pages are worth showing. Needs Playwright's Python package, Pillow and an
installed Chromium. Run it after a page changed.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
DESKTOP, PHONE = {"width": 1180, "height": 760}, {"width": 390, "height": 760}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def running(app: Path) -> Iterator[tuple[str, str]]:
    """The example on free ports with a fresh folder: its address and that of the other site."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(app / "app.py"), "--port", "0", "--foreign-port", "0", "--folder", f"{folder}/uploads"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            said = ""
            while "Ctrl+C" not in said:
                line = process.stdout.readline() if process.stdout else ""
                if not line:
                    raise SystemExit(f"{app.name} did not start")
                said += line
            own, other = re.findall(r"http://\S+", said)
            yield own, other
        finally:
            process.terminate()
            process.wait()


def save(page: Page, target: Path, *, whole: bool = True) -> None:
    """The page, as tall as it is, as a PNG; one that is full of pictures in 256 dithered colours, for its size."""
    page.wait_for_load_state("networkidle")
    if whole:  # a taller window rather than a stitched picture: frames below the edge are not drawn in the latter
        height = page.evaluate("Math.ceil(document.body.getBoundingClientRect().height)")
        page.set_viewport_size({"width": (page.viewport_size or DESKTOP)["width"], "height": height})
    page.wait_for_timeout(300)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    target.parent.mkdir(exist_ok=True)
    shot.save(target, optimize=True)
    if target.stat().st_size > 150_000:
        shot.quantize(palette=shot.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)
    print(target.relative_to(HERE))


def refuse_upload(page: Page, limit: int) -> None:
    """Upload more than the form's policy admits and wait for the refusal."""
    content = b"\xff\xd8\xff" + bytes(limit)
    page.set_input_files("input[type=file]", {"name": "panorama.jpg", "mimeType": "image/jpeg", "buffer": content})
    page.get_by_role("button", name="Upload").click()
    page.wait_for_selector("#notice.refused")


def shoot(browser: Browser, app: Path, name: str, limit: int) -> None:
    shots = app / "screenshots"
    with running(app) as (own, other):
        for kind, size, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "light"), ("dark", DESKTOP, "dark")):
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.goto(own)
            save(page, shots / f"{name}-{kind}.png")
            page.set_viewport_size(size)
            if name == "documents":
                page.get_by_role("link", name="Letter to the council").click()
                save(page, shots / f"document-{kind}.png", whole=False)
            page.goto(other)
            save(page, shots / f"refused-{kind}.png")
            page.close()
        page = browser.new_page(viewport=DESKTOP)
        page.goto(own)
        refuse_upload(page, limit)
        save(page, shots / "too-large.png", whole=False)
        page.reload()
        page.get_by_role("button", name="Delete").first.click()
        save(page, shots / "delete.png", whole=False)


def main() -> None:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        shoot(browser, HERE / "flask_app", "gallery", 1_500_000)
        shoot(browser, HERE / "starlette_app", "documents", 3_000_000)
        browser.close()


if __name__ == "__main__":
    main()
