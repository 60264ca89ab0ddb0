"""A package that `plugin new` writes installs, passes its own tests, and is typed and clean, before anybody touches it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from secure_delivery import cli
from secure_delivery.cli.plugin_new import Kind, License

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in this process, in a folder of the test's own."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["secure-delivery", *words])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def _tool(folder: Path, *words: str, site: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SECURE_DELIVERY_"))}
    environment |= {"PYTHONPATH": str(site)} if site else {}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def types_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all kinds: most of the time goes into reading secure_delivery itself."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_new_package_installs_and_passes_its_own_tests(run: Run, tmp_path: Path, kind: Kind, types_cache: Path) -> None:
    """As after `pip install`: a wheel is built from it, and found by its entry point."""
    status, out, err = run("plugin", "new", "palette", "--kind", str(kind), "--json")
    assert (status, err) == (0, "")
    folder, site = tmp_path / "secure-delivery-palette", tmp_path / "site"
    assert json.loads(out)["folder"] == "secure-delivery-palette"
    _tool(folder, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), ".")
    assert (site / "secure_delivery_palette" / "py.typed").exists()
    assert re.search(r"\b[1-9][0-9]* passed", _tool(folder, "pytest", "-q", "-p", "no:cacheprovider", site=site))
    _tool(folder, "ruff", "check", "--no-cache", ".")
    _tool(folder, "ruff", "format", "--check", "--no-cache", ".")
    _tool(folder, "mypy", "--cache-dir", str(types_cache), "--python-executable", sys.executable)


@pytest.mark.parametrize("licence", list(License))
def test_a_licence_is_written_and_declared(run: Run, tmp_path: Path, licence: License) -> None:
    run("plugin", "new", "palette", "--license", str(licence), "--author", "Ada Example")
    folder = tmp_path / "secure-delivery-palette"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    if licence is License.none:
        assert "license" not in project and not (folder / "LICENSE").exists()
    else:
        assert project["license"] == str(licence)
        text = (folder / "LICENSE").read_text()
        assert "Ada Example" in text or licence is License.apache
        assert "<<" not in text


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("name", ["x", "class", "secure-delivery-two-words", "a1-b2-c3", "a" * 24])
def test_any_name_that_is_allowed_gives_code_that_is_clean(run: Run, tmp_path: Path, kind: Kind, name: str) -> None:
    status, _, err = run("plugin", "new", name, "-k", str(kind), "--into", "made")
    assert (status, err) == (0, "")
    (folder,) = (tmp_path / "made").iterdir()
    assert folder.name == f"secure-delivery-{name.removeprefix('secure-delivery-')}"
    tomllib.loads((folder / "pyproject.toml").read_text())
    for path in folder.rglob("*.py"):
        compile(path.read_text(), str(path), "exec")
        assert re.search("<<[a-z]", path.read_text()) is None
    _tool(folder, "ruff", "check", "--no-cache", ".")


@pytest.mark.parametrize(
    "name", ["", "-x", "Palette", "a_b", "../escape", "a/b", "9lives", "a--b", "a" * 25, "secure-delivery-", "é"]
)
def test_a_name_that_cannot_be_a_package_is_refused_and_nothing_is_written(run: Run, tmp_path: Path, name: str) -> None:
    status, _, err = run("plugin", "new", "--", name)
    assert status == 2 and "cannot be the name" in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(run: Run, tmp_path: Path) -> None:
    assert run("plugin", "new", "palette")[0] == 0
    readme = tmp_path / "secure-delivery-palette" / "README.md"
    readme.write_text("mine")
    status, _, err = run("plugin", "new", "palette", "--kind", "storage")
    assert status == 2 and "there already" in err
    assert readme.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = run("plugin", "new", "palette", "--into", "file")
    assert status == 2 and "cannot be written" in err and "Traceback" not in err


def test_every_template_is_used(run: Run, tmp_path: Path) -> None:
    """A template that nobody writes out is one that nobody tests."""
    templates = Path(str(files("secure_delivery.cli") / "templates"))
    kinds = {path.name for path in templates.iterdir()} - {"all", "licenses"}
    assert kinds == {str(kind) for kind in Kind}
    assert {path.stem for path in (templates / "licenses").iterdir()} == {str(one) for one in License} - {"none"}
    assert all(len(list((templates / kind).iterdir())) == 3 for kind in kinds)
    said = run("plugin", "new", "palette")[1]
    assert "pip install -e ." in said and "pyproject.toml" in said
