"""A promise without a test is not claimed: docs/security.md against the tests that are there."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
CLAIMED, LATER = (
    part.split("\n## ")[0] for part in re.split(r"^## (?:Claimed|Not claimed yet)$", PAGE, flags=re.MULTILINE)[1:]
)

_ROW = re.compile(r"^\| ([0-9][0-9, ]*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(\w+)::(\w+)`")


@lru_cache(maxsize=1)
def _tests() -> dict[str, set[str]]:
    """The names of all tests by the name of their file, without running anything."""
    found: dict[str, set[str]] = {}
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "plugins").glob("*/tests/**/test_*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        found[path.stem] = {function.name for function in functions if function.name.startswith("test_")}
    return found


CLAIMS = [(number, words, tests) for number, words, tests in _ROW.findall(CLAIMED)]


@pytest.mark.parametrize(("number", "words", "tests"), CLAIMS, ids=[number for number, _, _ in CLAIMS])
def test_every_test_that_a_promise_names_is_there(number: str, words: str, tests: str) -> None:
    """A test that is renamed or removed takes its promise off the page, or fails this one."""
    named = _TEST.findall(tests)
    assert named, f"promise {number} names no test"
    assert tests == ", ".join(f"`{file}::{name}`" for file, name in named), "nothing but tests stands in the last column"
    there = _tests()
    missing = [f"{file}::{name}" for file, name in named if name not in there.get(file, set())]
    assert missing == [], f"promise {number}: {words}"


def test_every_promise_is_claimed_or_listed_as_later() -> None:
    """The hundred numbers are all accounted for, none twice."""
    listed = [int(number) for number, _, _ in CLAIMS]
    later = [int(number) for numbers, _, _ in _ROW.findall(LATER) for number in numbers.split(",")]
    assert sorted(listed + later) == list(range(1, 101))


def test_every_decision_of_the_open_questions_is_told() -> None:
    section = PAGE.split("## Decided where the documentation is silent")[1].split("\n## ")[0]
    assert [int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)] == list(range(1, 15))


def test_no_file_of_tests_shares_its_name_with_another() -> None:
    """Promises name tests by file and function, so a name must lead to one file."""
    names = [path.name for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "plugins").glob("*/tests/**/test_*.py")]]
    assert len(names) == len(set(names))
