"""The official clients, installed from their registries, and what they are driven against. All of it once per session.

A client that cannot be installed is a visible skip, and a failure on CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from sdk_world import HELPERS, Place, Said, drive, encoded, order_for, standing

PYTHON_CLIENT = "filestack-python==4.0.0"
NODE_CLIENT = ("filestack-js@4.3.8", "tslib@2")  # it needs tslib without saying so
PYTHON_PREVIEWS = "filepreviews==2.0.2"  # with click 4: in a folder of its own
NODE_PREVIEWS = "filepreviews@2.0.1"
INSTALL = 180  # seconds an installation may take; measured: 25


def _unavailable(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _run(folder: Path, command: list[str]) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL, cwd=folder, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        _unavailable(f"{command[0]}: {error}")
    if ran.returncode != 0:
        _unavailable(f"the client could not be installed: {ran.stderr[-300:]}")


def _installed(folder: Path, *commands: list[str]) -> Path:
    """A folder in which commands installed something, now or in an earlier run."""
    done = folder / "installed"
    if not done.exists() or done.read_text() != json.dumps(commands):
        for command in commands:
            _run(folder, command)
        done.write_text(json.dumps(commands))
    return folder


@pytest.fixture(scope="session")
def python_sdk(request: pytest.FixtureRequest) -> Path:
    """The folder to put on `PYTHONPATH`."""
    folder = Path(request.config.cache.mkdir("sdk-python"))  # type: ignore[union-attr]
    target = ["--target", str(folder / "lib"), "--upgrade", "--quiet", "--disable-pip-version-check", "--no-compile"]
    return _installed(folder, [sys.executable, "-m", "pip", "install", *target, PYTHON_CLIENT]) / "lib"


@pytest.fixture(scope="session")
def node_sdk(request: pytest.FixtureRequest) -> Path:
    """The folder to call `NODE_PATH`. Beside it lies the archive of the registry."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        _unavailable("node and npm are not installed")
    folder = Path(request.config.cache.mkdir("sdk-js"))  # type: ignore[union-attr]
    quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    pack = [npm, "pack", "--silent", "--pack-destination", str(folder), NODE_CLIENT[0]]
    return _installed(folder, [npm, "install", *quiet, *NODE_CLIENT], pack) / "node_modules"


@pytest.fixture(scope="session")
def python_previews(request: pytest.FixtureRequest) -> Path:
    """The FilePreviews client: the folder to put on `PYTHONPATH`. Its command is in `bin` there."""
    folder = Path(request.config.cache.mkdir("previews-python"))  # type: ignore[union-attr]
    target = ["--target", str(folder / "lib"), "--upgrade", "--quiet", "--disable-pip-version-check", "--no-compile"]
    return _installed(folder, [sys.executable, "-m", "pip", "install", *target, PYTHON_PREVIEWS]) / "lib"


@pytest.fixture(scope="session")
def node_previews(request: pytest.FixtureRequest) -> Path:
    """The FilePreviews client: the folder to call `NODE_PATH`. Its command is in `.bin` there."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        _unavailable("node and npm are not installed")
    folder = Path(request.config.cache.mkdir("previews-js"))  # type: ignore[union-attr]
    quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    return _installed(folder, [npm, "install", *quiet, NODE_PREVIEWS]) / "node_modules"


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="sdk") as folder, standing(Path(folder)) as place:
        yield place


@pytest.fixture(scope="session", params=["open", "secured"])
def mode(request: pytest.FixtureRequest) -> str:
    """Whether the application asks for policies."""
    return str(request.param)


# ------------------------------------------------------------------------------------------------------------- the drives


def _once(run: Callable[[str], Said]) -> Callable[[str], Said]:
    """A drive for each mode, once, whatever came of it."""
    kept: dict[str, Said | AssertionError] = {}

    def said(mode: str) -> Said:
        if mode not in kept:
            try:
                kept[mode] = run(mode)
            except AssertionError as error:
                kept[mode] = error
        found = kept[mode]
        if isinstance(found, AssertionError):
            pytest.fail(f"the client could not be driven: {found}", pytrace=False)
        return found

    return said


@pytest.fixture(scope="session")
def js_said(place: Place, node_sdk: Path) -> Callable[[str], Said]:
    """What came of every call of the JavaScript client, by whether the application asks for policies."""
    command = ["node", "--require", str(HELPERS / "sdk_loopback.cjs"), str(HELPERS / "drive_node.cjs")]
    environment = place.environment() | {"NODE_PATH": str(node_sdk)}
    return _once(lambda mode: drive(command, order_for(place, mode, encoded), environment))


@pytest.fixture(scope="session")
def python_said(place: Place, python_sdk: Path) -> Callable[[str], Said]:
    """What came of every call of the Python client, by whether the application asks for policies."""
    command = [sys.executable, str(HELPERS / "drive_python.py")]
    environment = place.environment() | {"PYTHONPATH": os.pathsep.join([str(python_sdk), str(HELPERS)])}
    return _once(lambda mode: drive(command, order_for(place, mode, lambda made: made), environment))
