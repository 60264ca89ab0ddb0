"""The plugin as the server meets it: found, set up strictly, silent where nothing is set up."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import secure_delivery_clamav
from secure_delivery.plugin import ConfigurationError, Scanner
from secure_delivery.plugin.manager import PluginReport, Registry, load
from secure_delivery_clamav import ClamavScanner

SOCKET = "/run/clamav/clamd.ctl"

GOOD: list[dict[str, Any]] = [
    {"socket": SOCKET},
    {"socket": Path(SOCKET)},
    {"socket": "/" + "s" * 106},
    {"socket": SOCKET, "timeout": 1, "max_bytes": 1},
    {"socket": SOCKET, "timeout": 3600.0, "max_bytes": 2_000_000_000},
    {"host": "127.0.0.1"},
    {"host": "clamd.internal", "port": 1},
    {"host": "::1", "port": 65_535, "timeout": 0.5},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"sokcet": SOCKET}, "no setting called sokcet"),
    ({"socket": SOCKET, "max_size": 1, "Timeout": 1}, "Timeout, max_size"),
    ({"socket": ""}, "socket:"),
    ({"socket": "clamd.ctl"}, "socket:"),
    ({"socket": "/a\0b"}, "socket:"),
    ({"socket": "/" + "s" * 107}, "longer"),
    ({"socket": 3310}, "socket:"),
    ({"socket": SOCKET, "host": "127.0.0.1"}, "either"),
    ({"socket": SOCKET, "port": 3310}, "either"),
    ({"port": 3310}, "host"),
    ({"host": ""}, "host:"),
    ({"host": "clamd:3310/x"}, "host:"),
    ({"host": "[::1]"}, "host:"),
    ({"host": "a b"}, "host:"),
    ({"host": "a\nb"}, "host:"),
    ({"host": ["clamd"]}, "host:"),
    ({"host": "h" * 256}, "host:"),
    *(({"host": "clamd", "port": port}, "port:") for port in (0, -1, 65_536, "3310", True, 3310.0, None)),
    *(({"socket": SOCKET, "timeout": value}, "timeout:") for value in (0, -1, 3601, "5", True, math.nan, math.inf)),
    *(({"socket": SOCKET, "max_bytes": value}, "max_bytes:") for value in (0, -1, 2_000_000_001, "25M", True, 1.5, None)),
    ({"timeout": 0}, "timeout:"),
]  # fmt: skip


def loaded(settings: dict[str, Any]) -> tuple[Registry, PluginReport]:
    registry = load(settings={"clamav": settings})
    (report,) = [report for report in registry.reports if report.name == "clamav"]
    return registry, report


@pytest.mark.parametrize("settings", GOOD, ids=repr)
def test_settings_that_say_where_clamd_is_make_a_scanner(settings: dict[str, Any]) -> None:
    """By the entry point, as installed. No clamd is asked: there is none at these places."""
    registry, report = loaded(settings)
    assert (report.problem, report.distribution) == (None, "secure-delivery-clamav")
    assert list(registry.scanners) == ["clamav"]
    assert isinstance(registry.scanners["clamav"], Scanner)


@pytest.mark.parametrize("settings", [{}, {"timeout": 5, "max_bytes": 1000}], ids=repr)
def test_without_a_clamd_nothing_is_offered_and_nothing_is_wrong(settings: dict[str, Any]) -> None:
    registry, report = loaded(settings)
    assert report.problem is None
    assert not report.offers
    assert not registry.scanners
    assert secure_delivery_clamav.register_scanners(settings) is None


@pytest.mark.parametrize(("settings", "words"), BAD, ids=lambda value: repr(value)[:60])
def test_settings_that_make_no_sense_are_told_and_make_no_scanner(settings: dict[str, Any], words: str) -> None:
    registry, report = loaded(settings)
    assert report.problem is not None
    assert words in report.problem
    assert not registry.scanners
    with pytest.raises(ConfigurationError):
        secure_delivery_clamav.register_scanners(settings)


def test_the_defaults_are_those_of_the_readme() -> None:
    (scanner,) = (secure_delivery_clamav.register_scanners({"host": "clamd"}) or {}).values()
    assert isinstance(scanner, ClamavScanner)
    options = scanner._options
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    assert options.address == ("clamd", 3310)
    rows = {line.split("|")[1].strip(" `"): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| `")}
    assert {name: float(rows[name]) for name in ("port", "timeout", "max_bytes")} == {
        "port": options.address[1], "timeout": options.timeout, "max_bytes": options.max_bytes,
    }  # fmt: skip
    assert set(rows) >= {"socket", "host"}


def test_without_clamd_its_tests_fail_where_ci_promises_one_and_are_skipped_elsewhere(tmp_path: Path) -> None:
    """Nobody believes that a real clamd was asked when none was."""
    script = """
import pytest, sys
sys.path.insert(0, sys.argv[1])
import clamd_servers
clamd_servers._PATH = sys.argv[2]
try:
    clamd_servers.program()
except pytest.skip.Exception:
    print("skipped")
except pytest.fail.Exception:
    print("failed")
"""
    helpers = str(Path(__file__).parent / "helpers")
    for ci, outcome in (("true", "failed"), ("", "skipped")):
        done = subprocess.run(
            [sys.executable, "-c", script, helpers, str(tmp_path)],
            check=True, capture_output=True, text=True, timeout=60, env={**os.environ, "CI": ci},
        )  # fmt: skip
        assert done.stdout.strip() == outcome
