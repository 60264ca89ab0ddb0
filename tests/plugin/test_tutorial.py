"""A stranger follows the tutorial of docs/previewers.md, word by word, and gets a picture.

A fresh virtual environment; secure-delivery and the plugin for pictures from wheels that are built here; everything else from
the index of this machine. Nothing of the checkout is on the path. Without an index: a visible skip, and a failure where CI
promises one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from PIL import Image

from secure_delivery.plugin.testing import PreviewerContract

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "previewers.md"
_BLOCK = re.compile(r"^<!-- (tutorial|write: (?P<file>\S+)) -->\n```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ALONE = ("PYTHON", "VIRTUAL_ENV", "SECURE_DELIVERY_", "PYTEST_", "COV_")


def _environment(place: Path, wheels: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_ALONE)}
    path = f"{place / 'venv' / 'bin'}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin"
    links = " ".join(filter(None, (str(wheels), kept.get("PIP_FIND_LINKS"))))
    return kept | {"PATH": path, "HOME": str(place), "PIP_FIND_LINKS": links, "COLUMNS": "200"}


def _run(command: list[str], place: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=600, check=False)


def _script(place: Path) -> str:
    """The page as one session of a shell: its commands, and its files written from where the session is at that moment."""
    lines = ["set -e"]
    for number, block in enumerate(_BLOCK.finditer(PAGE.read_text("utf-8"))):
        if block["file"]:
            text = place / f"block-{number}"
            text.write_text(block["text"], "utf-8")
            lines.append(f'mkdir -p "$(dirname {block["file"]})" && cp {text} {block["file"]}')
        else:
            commands = [line.removeprefix("$ ") for line in block["text"].splitlines() if line.startswith("$ ")]
            lines += [line for command in commands for line in (f"echo '=== {command}'", command)]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the server and of the plugin for pictures."""
    place = tmp_path_factory.mktemp("wheels")
    for folder in (ROOT, ROOT / "plugins" / "images"):
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(place),
            str(folder),
        ]
        done = _run(command, place, dict(os.environ))
        assert done.returncode == 0, done.stderr
    return place


def test_a_stranger_builds_a_previewer_from_the_tutorial(tmp_path: Path, wheels: Path) -> None:
    assert len(list(wheels.glob("*.whl"))) == 2
    environment = _environment(tmp_path, wheels)
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    reached = _run(["pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "reached"), "pluggy"], tmp_path, environment)
    if reached.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no package index for the tutorial: {reached.stderr}")
        pytest.skip("no package index to install the dependencies from")
    done = _run(["bash", "-c", _script(tmp_path)], tmp_path, environment)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    where = _run(
        ["python", "-c", "import secure_delivery, secure_delivery_images; print(secure_delivery.__file__)"],
        tmp_path,
        environment,
    )
    assert where.stdout.startswith(str(tmp_path / "venv")), "what was tried is the wheel, not the checkout"

    claims = sum(name.startswith("test_") for name in dir(PreviewerContract))
    assert f"{claims + 1} passed" in done.stdout, "the contract and the test of one's own"
    listed = done.stdout.partition("=== secure-delivery plugins")[2]
    assert "palette" in listed and "application/x-gimp-palette, .gpl" in listed

    folder = tmp_path / "secure-delivery-gpl"
    (picture,) = (folder / "pictures").glob("*.png")
    image = Image.open(picture).convert("RGB")
    assert image.width <= 400 and image.height <= 300
    corners = [image.getpixel((x, y)) for x in (20, image.width - 20) for y in (20, image.height - 20)]
    assert corners == [(250, 128, 60), (60, 20, 90), (180, 40, 80), (20, 20, 50)], "orange, violet, wine, night"
    (document,) = (folder / "pictures").glob("*.json")
    assert '"gpl"' in json.dumps(json.loads(document.read_text())), "and the result says which previewer made it"


def test_the_tutorial_covers_a_format_that_nobody_else_does() -> None:
    """Otherwise the picture might be somebody else's."""
    from secure_delivery.plugin.manager import load

    for name, previewer in load().previewers.items():
        assert "gpl" not in previewer.extensions, name
