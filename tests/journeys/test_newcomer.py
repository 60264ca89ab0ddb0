"""Somebody who has read nothing: from `serve --demo` to a picture of their own, signed and resized, and a finished preview with
its webhook, in a browser and by what the pages say alone."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from live import free_port, picture
from PIL import Image
from widget import payload, watched_pages

from secure_delivery.engine.settings import PREFIX

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PASSWORD = "three brown owls at noon"


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[str]:
    """What `serve --demo` prints up to the moment when it serves, with a server behind it."""
    env = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    argv = [
        sys.executable,
        "-m",
        "secure_delivery",
        "serve",
        "--demo",
        "--port",
        str(free_port()),
        "--data",
        str(tmp_path / "data"),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=tmp_path)
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "Started worker" in line:
            break
    try:
        yield "".join(said)
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(20)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched_pages(browser) as begin:
        yield begin(viewport={"width": 1280, "height": 900})


def test_a_newcomer_gets_a_picture_of_their_own_and_a_preview_with_its_webhook(begun: str, page: Page) -> None:
    set_up(begun, page)
    page.get_by_role("link", name="demo").first.click()
    page.get_by_role("heading", name="First steps").wait_for()
    start = page.url
    upload(page)
    url = transform(page, start)
    assert resized(page, url) == (120, 90)
    webhook(page, start)
    preview(page, start)
    page.goto(start)
    done = page.get_by_role("listitem").filter(has_text="done").all_inner_texts()
    assert len(done) == 4, "uploaded, transformed, told, previewed"


def set_up(begun: str, page: Page) -> None:
    link = re.search(r"http://portal\.localhost:\d+/setup/\S+", begun)
    assert link is not None, begun
    page.goto(link[0])
    page.get_by_label("Name").fill("new@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Begin").click()


def upload(page: Page) -> None:
    page.get_by_role("link", name="Upload a file").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([payload("my owl.jpg", picture(400, 300), "image/jpeg")])
    page.get_by_role("link", name="my owl.jpg").wait_for()


def transform(page: Page, start: str) -> str:
    page.goto(start)
    page.get_by_role("link", name="See it transformed").click()
    page.get_by_text("my owl.jpg").click()
    page.get_by_role("button", name="resize", exact=True).click()
    page.get_by_label("width").first.fill("120")
    page.locator("[data-slot=pixels]", has_text="120 × 90").wait_for()
    return page.locator("[data-slot=url]").inner_text()


def resized(page: Page, url: str) -> tuple[int, int]:
    """The size of the picture that the copied address gives, asked for by who has nothing but the address."""
    assert "security=policy:" in url and urlsplit(url).hostname == "localhost"
    answer = page.context.request.get(url, headers={"cookie": ""})
    assert answer.status == 200
    return Image.open(io.BytesIO(answer.body())).size


def webhook(page: Page, start: str) -> None:
    page.goto(start)
    page.get_by_role("link", name="Name a webhook").click()
    page.get_by_role("link", name="Use the demo receiver of this server").click()
    page.get_by_role("button", name="Add the webhook").click()
    page.get_by_text("This is the only time").wait_for()


def preview(page: Page, start: str) -> None:
    page.goto(start)
    page.get_by_role("link", name="Make a preview").click()
    page.get_by_role("button", name="Order a preview").click()
    page.get_by_text("done", exact=False).first.wait_for()
    page.goto(f"{start}/webhooks/deliveries")
    rows = page.get_by_role("row").filter(has_text="preview")
    reload_until(page, lambda: rows.filter(has_text="204").count() > 0)
    rows.first.get_by_role("link").first.click()
    page.get_by_role("region", name="Tries").get_by_text("204").wait_for()
    page.locator("dd a[href*='/jobs/']").click()
    page.get_by_text("my owl.jpg").first.wait_for()


def reload_until(page: Page, seen: Callable[[], bool]) -> None:
    """Look again, as people do. A page of the log does not change by itself."""
    for _ in range(400):
        if seen():
            return
        page.reload()
    pytest.fail(page.inner_text("main"))
