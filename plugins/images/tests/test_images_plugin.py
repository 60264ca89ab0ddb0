"""The plugin as the server meets it: found, declared without Pillow, run in a confined worker."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

import secure_delivery_images
from secure_delivery.plugin import Checked, ConfigurationError, Transformation, Warm
from secure_delivery.plugin.manager import load
from secure_delivery_images.tasks import transformations

NAMES = {
    *("animate", "ascii", "auto_image", "blackwhite", "blur", "border", "circle", "collage", "compress", "crop", "enhance"),
    *("flip", "flop", "imagesize", "modulate", "monochrome", "negative", "no_metadata", "oil_paint", "output", "partial_blur"),
    *("partial_pixelate", "pixelate", "pjpg", "polaroid", "quality", "resize", "rotate", "round_corners", "rounded_corners"),
    *("sepia", "shadow", "sharpen", "smart_crop", "torn_edges", "upscale", "vignette", "watermark"),
}


def test_the_plugin_registers_its_tasks() -> None:
    """The manager takes the module as it is, and every task is a transformation that can be warmed."""
    registry = load(extra={"drawn": secure_delivery_images}, blocked=["images"])
    (report,) = [report for report in registry.reports if report.name == "drawn"]
    assert report.problem is None
    assert set(report.offers["transformations"]) >= NAMES
    for transformation in transformations().values():
        assert isinstance(transformation, Transformation)
        assert isinstance(transformation, Warm)


def test_tasks_with_dependent_options_are_checked_before_work() -> None:
    """`resize` and `rotate` can refuse options that do not go together while binding."""
    assert {name for name, task in transformations().items() if isinstance(task, Checked)} == {"resize", "rotate"}


def test_declaring_tasks_does_not_load_pillow() -> None:
    """The server process knows every parameter and has no decoder in it; a worker that was warmed has them all."""
    script = """
import json, sys
import secure_delivery_images
tasks = secure_delivery_images.register_transformations({})
secure_delivery_images.self_test({})
for task in tasks.values():
    for param in task.params:
        assert param.kind.allowed
before = sorted(name for name in sys.modules if name.split(".")[0] == "PIL")
for task in tasks.values():
    task.warm()
from PIL import features
decoders = all(map(features.check, ("jpg", "webp", "avif", "littlecms2")))
print(json.dumps([before, "PIL.AvifImagePlugin" in sys.modules, decoders]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == [[], True, True]


@pytest.mark.parametrize(("found", "says"), [("11.3.0", "too old"), (None, "not installed")])
def test_the_self_test_says_what_is_missing(found: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow, or with an old one, the plugin reports why it is not available."""

    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(secure_delivery_images, "version", version)
    with pytest.raises(ConfigurationError, match=says):
        secure_delivery_images.self_test({})


def test_a_chain_opens_no_file_once_warm(saved: Any, quadrants: Any) -> None:
    """After `warm` neither reading nor writing any format imports a module or opens a path: a confined worker may not."""
    script = """
import sys
from io import BytesIO
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.tasks import transformations
tasks = transformations()
tasks["resize"].warm()
content(MemoryFile(b""))
opened = []
def hook(event, args):
    if event in ("open", "import", "ctypes.dlopen", "socket.__new__", "subprocess.Popen"): opened.append((event, str(args[0])))
sys.addaudithook(hook)
media = MemoryFile(sys.stdin.buffer.read(), "image/png", "drawing.png")
for form in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
    made = tasks["output"].apply(media, bind(tasks["output"], format=form), SimpleWorkshop())
    again = MemoryFile(content(made), made.mimetype, made.filename)
    for name, options in (("resize", {"w": "20"}), ("rotate", {"d": "20"}), ("compress", {"m": "true"}), ("imagesize", {})):
        content(tasks[name].apply(again, bind(tasks[name], **options), SimpleWorkshop()))
print(opened)
"""
    sample = saved(quadrants(64, 48, "RGBA"))
    done = subprocess.run([sys.executable, "-c", script], input=sample.data, capture_output=True, timeout=60)
    assert done.stderr.decode() == ""
    assert done.stdout.decode().strip() == "[]"
