"""For all tests, those of plugins too: a real browser, a confined worker, and names that are the same in every process.

The browser lasts for one file of tests: while Playwright runs, its event loop is the running one of its thread, and no other
can run.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from PIL import Image
    from playwright.sync_api import Browser

    from secure_delivery.engine.sandbox import Sandbox
    from secure_delivery.plugin import MemoryFile

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


# ------------------------------------------------------------------------------------ previews in a confined worker


@pytest.fixture(scope="session")
def previews_sandbox() -> Iterator[Sandbox]:
    """A confined worker, which loads what a task needs with its first job. A skip where there is no confinement."""
    from secure_delivery.engine import confine
    from secure_delivery.engine.sandbox import PluginChoice, Sandbox
    from secure_delivery.plugin import WorkLimits

    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    with Sandbox(1, plugins=PluginChoice(warm=("resize", "output")), limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def done(previews_sandbox: Sandbox) -> Callable[..., tuple[dict[str, Any], bytes]]:
    """Run one task of previews in the worker: its document, and all bytes."""
    from secure_delivery.engine.sandbox import Chain, ChainSource

    def run(task: str, media: MemoryFile, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(media.data)
            source.flush()
            sources = [ChainSource(source.fileno(), media.mimetype, media.filename)]
            outcome = previews_sandbox.run(Chain(tasks=[(task, options)], sources=sources, output=output.fileno()))
            output.seek(0)
            data = output.read()
        place, length = outcome.extra["document"]
        return json.loads(data[place : place + length]), data

    return run


@pytest.fixture(scope="session")
def drawn(done: Any) -> Callable[..., list[Image.Image]]:
    """The pictures that a confined worker makes of a file, one for each page."""
    from PIL import Image

    def draw(name: str, media: MemoryFile, pages: str = "1", hint: Any = None) -> list[Image.Image]:
        options = {"pages": pages, "sizes": [[0, 0, False, "original"]], "format": "png", "hint": hint, "address": None}
        document, data = done(f"preview:{name}", media, options | {"most_pages": 100, "readers": []})
        images = []
        for page in document["pages"]:
            (picture,) = page["pictures"]
            images.append(Image.open(BytesIO(data[picture["offset"] :][: picture["length"]])))
            images[-1].load()
        return images

    return draw


@pytest.fixture(scope="session")
def described(done: Any) -> Callable[..., Any]:
    """The section that a confined worker makes of a file."""

    def describe(name: str, media: MemoryFile) -> Any:
        return done(f"extract:{name}", media, {"options": {}, "pages": "1", "address": None})[0]["value"]

    return describe
