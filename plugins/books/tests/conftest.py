"""A confined worker with this plugin, and the short ways to preview and describe a file in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import MemoryFile, WorkLimits


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    warm = ["preview:book", "extract:book", "resize", "output"]
    with Sandbox(1, plugins=PluginChoice(warm=warm), limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def done(sandbox: Sandbox) -> Callable[..., tuple[dict[str, Any], bytes]]:
    """Run one task of previews in the worker: its document, and all bytes."""

    def run(task: str, media: MemoryFile, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(media.data)
            source.flush()
            sources = [ChainSource(source.fileno(), media.mimetype, media.filename)]
            outcome = sandbox.run(Chain(tasks=[(task, options)], sources=sources, output=output.fileno()))
            output.seek(0)
            data = output.read()
        place, length = outcome.extra["document"]
        return json.loads(data[place : place + length]), data

    return run


@pytest.fixture(scope="session")
def drawn(done: Any) -> Callable[..., list[Image.Image]]:
    """The pictures that a confined worker makes of a file, one for each page."""

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
