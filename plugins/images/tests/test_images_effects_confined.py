"""Effects in the place where they really run: a worker that may open no file, start no thread and take 2 GB."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import TooLarge, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind
from secure_delivery_images.tasks import transformations

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
TASKS = transformations()

#: Every effect once, with options that take its longest way.
ONCE: list[tuple[str, dict[str, Any]]] = [
    ("blackwhite", {}),
    ("blur", {}),
    ("border", {}),
    ("circle", {}),
    ("enhance", {"preset": "auto"}),
    ("enhance", {"preset": "beautify_plus"}),
    ("enhance", {"preset": "fireworks"}),
    ("modulate", {"h": "90"}),
    ("monochrome", {}),
    ("negative", {}),
    ("oil_paint", {"a": "30"}),
    ("partial_blur", {"o": (("4", "4", "20", "20"),), "t": "oval"}),
    ("partial_pixelate", {"o": (("4", "4", "20", "20"),)}),
    ("pixelate", {}),
    ("polaroid", {}),
    ("rounded_corners", {"r": "max", "l": "5"}),
    ("sepia", {}),
    ("shadow", {}),
    ("sharpen", {}),
    ("smart_crop", {"width": "30", "height": "40"}),
    ("torn_edges", {}),
    ("upscale", {"n": "high"}),
    ("vignette", {}),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    plugins = PluginChoice(extra=["secure_delivery_images"], blocked=["images"])
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def _run(sandbox: Sandbox, media: MemoryFile, *tasks: tuple[str, dict[str, Any]]) -> MemoryFile:
    with ExitStack() as files:
        file, output = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        file.write(media.data)
        file.flush()
        outcome = sandbox.run(
            Chain(
                tasks=[(name, dict(bind(TASKS[name], **options))) for name, options in tasks],
                sources=[ChainSource(file.fileno(), media.mimetype, media.filename)],
                output=output.fileno(),
            )
        )
        output.seek(0)
        return MemoryFile(output.read(), outcome.mimetype, outcome.filename)


def test_every_effect_works_in_confinement(sandbox: Sandbox, scene: Any, saved: Any, opened: Any, chain: Any) -> None:
    """None needs a right that a worker does not have, and results are what they are outside."""
    media = saved(scene(mode="RGBA"))
    for task in ONCE:
        assert _run(sandbox, media, task).data == chain(media, task).open().read(), task
    page = _run(sandbox, media, ("ascii", {"c": "true"}))
    assert (page.mimetype, page.filename) == ("text/html", "drawing.html")
    box = json.loads(_run(sandbox, media, ("smart_crop", {"coords": "true"})).data)
    assert set(box["coords"]) == {"x", "y", "width", "height"}


def test_a_hundred_megapixels_fit_into_a_worker(sandbox: Sandbox, saved: Any, opened: Any) -> None:
    """The largest legal picture gets a shape and a filter within memory and time; what would grow it is refused."""
    media = saved(Image.new("RGB", (10_000, 10_000), "navy"), "JPEG")
    small = ("resize", {"w": "100"})
    for task in (("circle", {"b": "gold"}), ("pixelate", {"a": "100"}), ("torn_edges", {"s": ("50", "500")})):
        assert opened(_run(sandbox, media, task, small)).size == (100, 100)
    for task in (("upscale", {}), ("border", {}), ("shadow", {}), ("polaroid", {})):
        with pytest.raises(TooLarge):
            _run(sandbox, media, task)


def test_effects_open_no_file_once_warm(scene: Any, saved: Any) -> None:
    """After `warm` no effect imports a module or opens a path."""
    script = f"""
import sys
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.tasks import transformations
tasks = transformations()
tasks["resize"].warm(), tasks["blur"].warm()
content(MemoryFile(b""))
media = MemoryFile(sys.stdin.buffer.read(), "image/png", "drawing.png")
content(tasks["flip"].apply(media, bind(tasks["flip"]), SimpleWorkshop()))
opened = []
def hook(event, args):
    if event in ("open", "import", "ctypes.dlopen", "socket.__new__", "subprocess.Popen"): opened.append((event, str(args[0])))
sys.addaudithook(hook)
for name, options in {[*ONCE, ("ascii", {"c": "true"})]!r}:
    content(tasks[name].apply(media, bind(tasks[name], **options), SimpleWorkshop()))
print(opened)
"""
    done = subprocess.run([sys.executable, "-c", script], input=saved(scene()).data, capture_output=True, timeout=60)
    assert done.stderr.decode() == ""
    assert done.stdout.decode().strip() == "[]"
