"""What the doctor says of confinement, programs, detectors, and of what the server may reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from secure_delivery.cli import examine
from secure_delivery.engine import Engine, build, confine, programs
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.plugin.protocols import Program


def doctor(folder: Path, settings: str = "") -> tuple[int, list[dict[str, str]]]:
    """Exit status and findings of the installed command, with a settings file."""
    file = folder / "secure-delivery.toml"
    file.write_text(f'data = "{folder / "data"}"\n{settings}')
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    words = [sys.executable, "-m", "secure_delivery", "doctor", "--json", "--config", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=folder, check=False, timeout=120)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    status, found = doctor(tmp_path_factory.mktemp("healthy"))
    assert status == 0, found
    return {item["subject"]: item for item in found}


def engine_of(folder: Path, **values: Any) -> Engine:
    return build(Settings.read({"data": str(folder / "data"), **values}))


def test_the_layers_of_confinement_are_told_with_their_versions(healthy: dict[str, dict[str, str]]) -> None:
    says = healthy["decoders"]["says"]
    for layer, there in confine.available().items():
        if there:
            assert layer in says
            assert there is True or str(there) in says
        else:
            assert healthy[f"confinement {layer}"]["grade"] == "note"


def test_every_declared_program_is_told_with_its_place(healthy: dict[str, dict[str, str]], tmp_path: Path) -> None:
    engine = engine_of(tmp_path)
    try:
        declared = engine.registry.programs
    finally:
        engine.close()
    assert declared
    for name, program in declared.items():
        finding = healthy[f"program {name}"]
        if programs.missing(program) is None:
            assert finding["grade"] == "good"
            assert str(programs.find(program)) in finding["says"]
        else:
            assert finding["grade"] == "note"
            assert program.install in finding["says"]


@pytest.mark.parametrize(
    ("program", "missing"),
    [
        (Program(executables=("no-such-office", "nor-this"), arguments=(), install="build it"), "no-such-office"),
        (Program(executables=("python3",), arguments=(), needs=("no-such-browser",), install="build it"), "no-such-browser"),
        (Program(executables=("python3",), arguments=(), needs=("no-such-browser", "sh")), None),
        (Program(executables=("no-such-python", "python3"), arguments=()), None),
    ],
)
def test_what_is_missing_for_a_program_is_named_with_how_to_get_it(
    program: Program, missing: str | None, tmp_path: Path
) -> None:
    engine = engine_of(tmp_path)
    try:
        changed = replace(engine, registry=replace(engine.registry, programs=MappingProxyType({"tool": program})))
        found = {item.subject: item for item in examine.work(changed)}["program tool"]
    finally:
        engine.close()
    if missing is None:
        assert (found.grade, found.says) == ("good", programs.find(program))
    else:
        assert (found.grade, found.says) == ("note", f"{missing} is not installed: build it")


def test_detectors_are_told_and_those_that_tasks_ask_for_in_vain(tmp_path: Path) -> None:
    engine = engine_of(tmp_path)
    try:
        kept = {name: one for name, one in engine.registry.detectors.items() if name != "sfw"}
        changed = replace(engine, registry=replace(engine.registry, detectors=MappingProxyType(kept)))
        found = {item.subject: item for item in examine.work(changed)}
    finally:
        engine.close()
    assert found["detector sfw"].grade == "note"
    assert "sfw answer 501" in found["detector sfw"].says
    for name in kept:
        assert name in found["detectors"].says


def test_what_may_be_fetched_is_told_and_by_default_it_is_what_is_public(healthy: dict[str, dict[str, str]]) -> None:
    assert healthy["fetching"] == {"subject": "fetching", "grade": "good", "says": "public addresses, ports 80, 443"}


def test_everything_that_is_allowed_besides_is_told(tmp_path: Path) -> None:
    for name in ("pictures", "data/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data").chmod(0o700)
    status, found = doctor(
        tmp_path,
        f"""
fetch_allow = ["10.1.0.0/16", "files.internal"]
fetch_ports = [8443]
fetch_https_only = true
[folders]
pictures = "{tmp_path / "pictures"}"
gone = "{tmp_path / "gone"}"
all = "{tmp_path}"
inner = "{tmp_path / "data" / "inner"}"
""",
    )
    grades = {(item["subject"], item["grade"]) for item in found}
    says = "\n".join(item["says"] for item in found if item["subject"] == "fetching")
    assert "by https only, ports 80, 443, 8443" in says
    assert "10.1.0.0/16, files.internal" in says
    assert {("fetching", "note"), ("folder pictures", "note")} <= grades
    assert {("folder gone", "bad"), ("folder all", "bad"), ("folder inner", "bad")} <= grades
    assert status == 1
