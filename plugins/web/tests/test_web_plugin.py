"""The plugin as the server meets it: found, declared without its libraries, with one program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import secure_delivery_web
from secure_delivery.plugin import Checked, ConfigurationError, Gathering, Transformation, Visiting, Warm
from secure_delivery.plugin.manager import load

NAMES = ["minify_css", "minify_js", "qr", "urlscreenshot", "zip"]


def test_the_plugin_registers_its_tasks_and_its_program() -> None:
    """The manager takes the module as it is; what a task needs besides a file it says by an ability."""
    registry = load(extra={"ours": secure_delivery_web}, blocked=["web"])
    (report,) = [report for report in registry.reports if report.name == "ours"]
    assert report.problem is None
    assert sorted(report.offers["transformations"]) == NAMES
    assert sorted(report.offers["programs"]) == ["page_of_file", "screenshot"]
    assert (list(report.offers["previewers"]), list(report.offers["extractors"])) == (["webpage"], ["webpage"])
    tasks = secure_delivery_web.transformations()
    assert all(isinstance(task, Transformation) for task in tasks.values())
    for ability, names in (
        (Checked, {"minify_js", "urlscreenshot"}),
        (Gathering, {"zip"}),
        (Visiting, {"urlscreenshot"}),
        (Warm, {"minify_css", "minify_js", "qr", "urlscreenshot"}),
    ):
        assert {name for name, task in tasks.items() if isinstance(task, ability)} == names


def test_declaring_tasks_loads_no_library() -> None:
    """The server process knows every parameter and has none of the libraries in it; a warmed worker has, and no thread more."""
    script = """
import json, os, sys
import secure_delivery_web
tasks = secure_delivery_web.register_transformations({})
secure_delivery_web.self_test({})
heavy = {"PIL", "zxingcpp", "segno", "lightningcss", "minify_html", "rcssmin", "zipfile"}
before = sorted(heavy & {name.split(".")[0] for name in sys.modules} - {"zipfile"})
for task in tasks.values():
    getattr(task, "warm", lambda: None)()
print(json.dumps([before, sorted(heavy & set(sys.modules)), len(os.listdir("/proc/self/task"))]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == [
        [],
        ["PIL", "lightningcss", "minify_html", "rcssmin", "segno", "zipfile", "zxingcpp"],
        1,
    ]


def test_the_self_test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is the reason that the plugin reports."""
    monkeypatch.setitem(sys.modules, "zxingcpp", None)
    with pytest.raises(ConfigurationError, match="zxing-cpp"):
        secure_delivery_web.self_test({})
