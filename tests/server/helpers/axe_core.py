"""Accessibility as axe-core finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = "axe-core@4.14.1"
INSTALL = 180  # seconds


def script_of(folder: Path) -> str:
    """The checker's script, kept in a folder. Where it cannot be installed: a visible skip, and a failure on CI."""
    npm = shutil.which("npm")
    if npm is None:
        _unavailable("npm is not installed")
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL, cwd=folder, check=False)
        if ran.returncode != 0:
            _unavailable(f"axe-core could not be installed: {ran.stderr[-300:]}")
    return script.read_text("utf-8")


def _unavailable(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def violations(page: Page, axe: str) -> list[str]:
    """What is wrong with a page as it stands now."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]
