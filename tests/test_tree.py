"""What the whole tree must and must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import secure_delivery

ROOT = Path(__file__).parent.parent
UNSAFE = ("pickle", "marshal", "shelve", "yaml", "xml")
_CLOSED = ("XML_PARAM_ENTITY_PARSING_NEVER", "EntityDeclHandler", "ExternalEntityRefHandler")
#: The places that read XML with the standard library's parser, and what they must say to it.
CLOSED_TO_ENTITIES = {
    "plugins/images/src/secure_delivery_images/xmp.py": _CLOSED,
    "plugins/svg/src/secure_delivery_svg/clean.py": _CLOSED,
}
SHIPPED = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")])


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _dangers(path: Path) -> list[str]:
    """Calls and imports that turn data into code or escape a folder."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if isinstance(node.func, ast.Name) and name in ("eval", "exec", "__import__"):
                found.append(f"{name}() at line {node.lineno}")
            if name in ("extractall", "extract", "mktemp") and not _of_an_extractor(node):
                found.append(f"{name}() at line {node.lineno}")
            if any(keyword.arg == "shell" and getattr(keyword.value, "value", True) for keyword in node.keywords):
                found.append(f"shell= at line {node.lineno}")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] if (node.module or "").partition(".")[0] in UNSAFE else []
        elif isinstance(node, ast.Assert):
            found.append(f"assert at line {node.lineno}")
    return found


def _of_an_extractor(call: ast.Call) -> bool:
    """`extractor.extract(work)` reads a section of metadata; an archive's `extract` takes the name of a member."""
    first = call.args[0] if len(call.args) == 1 and not call.keywords else None
    return "work" in getattr(getattr(first, "func", first), "id", "")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_shipped_turns_data_into_code_or_checks_by_assert(path: Path) -> None:
    """XML is read by what has no entities: by defusedxml, or by expat with every way to them closed."""
    found = _dangers(path)
    guards = CLOSED_TO_ENTITIES.get(str(path.relative_to(ROOT)))
    if guards is not None:
        text = path.read_text("utf-8")
        assert all(guard in text for guard in guards)
        found = [danger for danger in found if not danger.startswith("xml.")]
    assert found == []


def test_the_search_itself_finds_what_it_looks_for(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import pickle\neval('1')\nassert True\nrun('x', shell=True)\nz.extractall('.')\n")
    assert len(_dangers(bad)) == 5


def test_no_file_carries_a_path_of_a_machine() -> None:
    places = re.compile(r"(?:^|[\s\"'(=])/(?:work|farm|root|home/[a-z])/")
    texts = [path for path in _tracked() if path.suffix in (".py", ".md", ".toml", ".sh", ".html", ".js", ".json", "")]
    carrying = [str(path.relative_to(ROOT)) for path in texts if places.search(path.read_text("utf-8", "replace"))]
    assert [name for name in carrying if name != "tests/test_tree.py"] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == secure_delivery.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_security_policy_keeps_its_three_promises() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    for promise in ("within 24 hours", "within 48 hours", "at least every five days", "public key", "coordinator", "back-up"):
        assert promise in text
    for placeholder in ("SECURITY_CONTACT", "SECURITY_KEY_FINGERPRINT", "SECURITY_COORDINATOR", "SECURITY_BACKUP"):
        assert text.count(placeholder) >= 2, f"{placeholder} is used and listed"


def test_default_installs_are_permissive() -> None:
    """Every distribution of this repository is Apache-2.0, and says so."""
    for manifest in (ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")):
        assert tomllib.loads(manifest.read_text())["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
