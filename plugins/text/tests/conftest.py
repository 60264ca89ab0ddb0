"""The short way to a preview: in this process, and where it really runs."""

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
from secure_delivery.plugin import MemoryFile, Page, WorkLimits
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import previewed
from secure_delivery_text.previewers import previewers

PREVIEWERS = previewers()


def _shown(name: str, data: bytes | str, filename: str, mimetype: str = "text/plain", **more: Any) -> list[Page]:
    content = data.encode() if isinstance(data, str) else data
    return previewed(PREVIEWERS[name], MemoryFile(content, mimetype, filename), **more)


@pytest.fixture(scope="session")
def shown() -> Callable[..., list[Page]]:
    """Pages of a file: `shown("source", "x = 1", "a.py")`."""
    return _shown


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    everything = [report.name for report in load().reports]
    plugins = PluginChoice(
        extra=["secure_delivery_text"], blocked=[name for name in everything if name not in ("builtin", "images")]
    )
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture
def confined(sandbox: Sandbox) -> Callable[..., dict[str, Any]]:
    """What a previewer or extractor says from a confined worker, its pictures as `images`."""

    def run(name: str, media: MemoryFile, *, hint: Any = None, options: Any = None) -> dict[str, Any]:
        wanted: dict[str, Any] = {"pages": "1-2", "address": None, "options": options or {}}
        if name.startswith("preview:"):
            sizes = [[*(hint or (0, 0)), False, "wanted"]]
            wanted |= {"sizes": sizes, "format": "png", "hint": hint, "most_pages": 10, "readers": []}
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(media.data)
            source.flush()
            sources = [ChainSource(source.fileno(), media.mimetype, media.filename)]
            outcome = sandbox.run(Chain(tasks=[(name, wanted)], sources=sources, output=output.fileno()))
            output.seek(0)
            data = output.read()
        place, length = outcome.extra["document"]
        told: dict[str, Any] = json.loads(data[place : place + length])
        made = [picture for page in told.get("pages", ()) for picture in page["pictures"]]
        told["images"] = [
            Image.open(BytesIO(data[one["offset"] : one["offset"] + one["length"]])).convert("RGB") for one in made
        ]
        return told

    return run
