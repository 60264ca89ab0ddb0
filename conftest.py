"""For all tests, those of plugins too: a real browser, and names that are the same in every process.

It lasts for one file of tests: while Playwright runs, its event loop is the running one of its thread, and no other can run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: No sandbox of its own, because tests run as root; nothing in the background, because tests have no network.
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Longer bytes are told by their place in the list: processes that share the tests must agree on their names.

    Bytes made at import may hold the second they were made in, as the head of every gzip file does, and with it another length.
    """
    return f"{argname}-bytes" if isinstance(val, bytes) and len(val) > 12 else None


@pytest.fixture(autouse=True, scope="module")
def pillow_as_it_was() -> Iterator[None]:
    """Plugins set Pillow's limit for all of their process, which is a decoder's. Tests of the next file are other ones."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Without one: a visible skip, and a failure where CI promises one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium for the page tests")
        pytest.skip("no Chromium: install one to run the page tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, headless=True, args=list(_FLAGS))
        yield launched
        launched.close()
