"""Imports go down only: the floors of docs/architecture.md, read from the code itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "secure_delivery"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: The height of each room. A module may import what is lower, and its neighbours within the same package. The longest
#: prefix counts.
HEIGHT = {
    "secure_delivery.gate.errors": 0.0,
    "secure_delivery.gate.policy": 0.1,
    "secure_delivery.gate.hosts": 0.05,
    "secure_delivery.gate.whitelist": 0.1,
    "secure_delivery.gate.model": 0.2,
    "secure_delivery.gate.reading": 0.3,
    "secure_delivery.gate.decide": 1.0,
    "secure_delivery.gate.taskvalues": 1.0,
    "secure_delivery.gate.tasksource": 1.1,
    "secure_delivery.gate.taskurl": 1.2,
    "secure_delivery.gate.credentials": 1.3,
    "secure_delivery.gate.body": 1.3,
    "secure_delivery.gate.rules": 1.3,
    "secure_delivery.gate.heads": 1.4,
    "secure_delivery.gate.guard": 2.0,
    "secure_delivery.gate.outgoing": 2.1,
    "secure_delivery.gate.wsgi": 2.2,
    "secure_delivery.gate.asgi": 2.2,
    "secure_delivery.gate.require": 2.2,
    "secure_delivery.gate.config": 2.2,
    "secure_delivery.plugin.params": 1.0,
    "secure_delivery.plugin.protocols": 1.1,
    "secure_delivery.plugin.previewing": 1.15,
    "secure_delivery.plugin.installed": 1.1,
    "secure_delivery.plugin.media": 1.1,
    "secure_delivery.plugin.selection": 1.2,
    "secure_delivery.plugin.hookspecs": 2.0,
    "secure_delivery.plugin.manager": 2.1,
    "secure_delivery.plugin.testing_helpers": 2.15,
    "secure_delivery.plugin.testing_pictures": 2.15,
    "secure_delivery.plugin.testing_scanners": 2.2,
    "secure_delivery.plugin.testing_queues": 2.2,
    "secure_delivery.plugin.testing_previews": 2.2,
    "secure_delivery.plugin.testing_extractors": 2.22,
    "secure_delivery.plugin.tries": 2.0,
    "secure_delivery.plugin.reader": 2.0,
    "secure_delivery.plugin.dialled": 2.0,
    "secure_delivery.plugin.testing": 2.25,
    "secure_delivery.plugin": 2.3,
    "secure_delivery.builtin": 2.4,
    "secure_delivery.wsgi": 2.5,
    "secure_delivery.asgi": 2.5,
    "secure_delivery.contrib": 2.5,
    "secure_delivery.client": 2.5,
    "secure_delivery.engine": 3.0,
    "secure_delivery.server": 4.0,
    "secure_delivery.cli": 4.1,
    "secure_delivery.__main__": 4.2,
    "secure_delivery": 2.9,
}

#: Imports that only these rooms may do, at any depth.
ONLY = {
    "pluggy": ("secure_delivery.plugin",),
    "cryptography": ("secure_delivery.engine.vault",),
    "argon2": ("secure_delivery.engine.passwords",),
    "sqlalchemy": ("secure_delivery.engine", "secure_delivery.server"),
    "alembic": ("secure_delivery.engine",),
    "starlette.routing": ("secure_delivery.server",),
    "starlette.applications": ("secure_delivery.server",),
    "granian": ("secure_delivery.cli",),
    "typer": ("secure_delivery.cli",),
    "rich": ("secure_delivery.cli",),
    "wcmatch": ("secure_delivery.gate.whitelist",),
    "re2": ("secure_delivery.gate.policy",),
    "httpx": ("secure_delivery.client",),
}
NEVER = ("PIL", "pyvips", "boto3", "secure_delivery_images")

#: What an embedder has to install: the gate imports nothing else when it is loaded.
GATE_NEEDS = {"wcmatch", "re2", "idna", "werkzeug"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every module a file imports, absolute, and whether that happens when the file is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    late = {id(node) for outer in ast.walk(tree) if _is_late(outer) for node in ast.walk(outer)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(_module(module, alias.name), id(node) not in late) for alias in node.names]
    return found


def _is_late(node: ast.AST) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _module(module: str, name: str) -> str:
    """`from package import module` imports the module, `from module import thing` the thing's module."""
    path = SOURCE / Path(*module.split("."), name)
    return f"{module}.{name}" if path.with_suffix(".py").exists() or (path / "__init__.py").exists() else module


def height(module: str) -> float:
    while module:
        if module in HEIGHT:
            return HEIGHT[module]
        module = module.rpartition(".")[0]
    raise AssertionError("outside the package")


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    name = name_of(path)
    for imported, at_load in imports_of(path):
        if not within(imported, "secure_delivery") or imported == name:
            continue
        # A late import may go up one step where two modules of one package lean on each other; never out of the package.
        if height(imported) == height(name) or (not at_load and room(imported) == room(name)):
            continue
        assert height(imported) < height(name), f"{name} imports {imported}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_library_is_imported_only_where_it_belongs(path: Path) -> None:
    name = name_of(path)
    for imported, _ in imports_of(path):
        for library, rooms in ONLY.items():
            if within(imported, library):
                assert any(within(name, room) for room in rooms), f"{name} imports {imported}"
        assert not any(within(imported, library) for library in NEVER), f"{name} imports {imported}"


@pytest.mark.parametrize("path", [path for path in MODULES if "gate" in path.parts], ids=name_of)
def test_the_gate_needs_nothing_but_its_few_libraries(path: Path) -> None:
    import sys

    for imported, at_load in imports_of(path):
        top = imported.partition(".")[0]
        if at_load and top != "secure_delivery":
            assert top in sys.stdlib_module_names or top in GATE_NEEDS, f"{name_of(path)} imports {imported}"


def test_every_module_says_what_it_knows() -> None:
    """Modules open with a docstring; packages that are only a folder may be empty."""
    written = [path for path in MODULES if path.stat().st_size]
    silent = [name_of(path) for path in written if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent
