"""Runs the examples as their READMEs say, on free ports with a folder of their own, and a real browser beside them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "kT4vWq9zL2mXr7Yb1NcD8sGf5HjP0aEu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A running example: its address, the other site's, its upload folder, what it printed at start and its log."""

    name: str
    own: str
    other: str
    folder: Path
    said: str
    log: Path

    @property
    def refusals(self) -> list[str]:
        """The guard's log so far: the reasons of what it refused."""
        return re.findall(r"^refused .*: (\w+)$", self.log.read_text(), re.MULTILINE)

    @property
    def kept(self) -> set[str]:
        """The names in its folder, unfinished files included."""
        return {path.name for path in self.folder.iterdir()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """What differs between the examples, for tests that hold for both."""

    field: str
    files: str
    max_bytes: int
    sample: str


TRAITS = {
    "flask_app": Trait(field="picture", files="/photos", max_bytes=1_000_000, sample="misty-lake.webp"),
    "starlette_app": Trait(field="document", files="/files", max_bytes=2_000_000, sample="floor-plan.png"),
}


def _announced(stdout: IO[str]) -> str:
    said = ""
    while "Ctrl+C" not in said:
        line = stdout.readline()
        if not line:
            pytest.fail(f"the example ended before it listened; it said {said!r}")
        said += line
    return said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Example]]:
    """Start an example: `start(name)`, from another source folder or without a secret in the environment on request."""
    processes: list[subprocess.Popen[str]] = []

    def begin(name: str, *, source: Path | None = None, secret: str | None = SECRET) -> Example:
        folder = tmp_path / f"uploads-{len(processes)}"
        environment = {key: value for key, value in os.environ.items() if key != "SECURE_DELIVERY_SECRET"}
        environment |= {"SECURE_DELIVERY_SECRET": secret} if secret else {}
        command = [sys.executable, str((source or EXAMPLES / name) / "app.py"), "--folder", str(folder)]
        log = tmp_path / f"log-{len(processes)}"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*command, "--port", "0", "--foreign-port", "0"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
            )
        processes.append(process)
        assert process.stdout is not None
        said = _announced(process.stdout)
        own, other = re.findall(r"http://\S+?(?=/\s)", said)
        return Example(name=name, own=own, other=other, folder=folder, said=said, log=log)

    yield begin
    for process in processes:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(params=list(TRAITS))
def example(request: pytest.FixtureRequest, start: Callable[..., Example]) -> Example:
    """Each example in turn."""
    return start(request.param)


@pytest.fixture
def trait(example: Example) -> Trait:
    return TRAITS[example.name]


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def gallery(start: Callable[..., Example]) -> Example:
    return start("flask_app")


@pytest.fixture
def store(start: Callable[..., Example]) -> Example:
    return start("starlette_app")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """New pages of one browser profile each: `open_page(viewport=…, color_scheme=…)`."""
    contexts = []

    def begin(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        return context.new_page()

    yield begin
    for context in contexts:
        context.close()
