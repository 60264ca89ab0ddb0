"""What is said to be possible here is what plugins declare and the machine has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from secure_delivery.engine.capabilities import Lack, capabilities, lacks, of_file, published
from secure_delivery.plugin import Needs, Page, Program, Work, hookimpl
from secure_delivery.plugin.manager import Registry, load

HERE = Program(executables=("sh",), arguments=("{inputs}",))
GONE = Program(executables=("no-such-program-here",), arguments=("{inputs}",), install="the package no-such")
NEEDY = Program(executables=("sh",), arguments=(), needs=("no-such-browser",), install="the package browser")


class Drawer:
    def __init__(self, family: str, priority: int = 50, *, types: Any = (), extensions: Any = (), needs: Any = None) -> None:
        self.family, self.priority, self.mimetypes, self.extensions = family, priority, types, extensions
        self.needs = needs or Needs()

    def preview(self, work: Work) -> Iterator[Page]:
        yield from ()


class Teller:
    call = "stat"

    def __init__(self, section: str, *, types: Any = ("*/*",), needs: Any = None) -> None:
        self.section, self.mimetypes, self.extensions, self.needs = section, types, (), needs or Needs()
        self.schema: Mapping[str, Any] = {"type": "object", "required": ("a", "b")}

    def extract(self, work: Work) -> Any:
        return None


def registry(previewers: Mapping[str, Any], extractors: Mapping[str, Any] | None = None) -> Registry:
    """A registry of these things alone."""
    plugin = SimpleNamespace(
        register_previewers=hookimpl(lambda: previewers, specname="register_previewers"),
        register_extractors=hookimpl(lambda: extractors or {}, specname="register_extractors"),
        register_programs=hookimpl(lambda: {"here": HERE, "gone": GONE, "needy": NEEDY}, specname="register_programs"),
    )
    names = [report.name for report in load().reports]
    found = load(extra={"mine": plugin}, blocked=names)
    assert [report.problem for report in found.reports if report.name == "mine"] == [None]
    return found


FACES = registry(
    {
        "best": Drawer("face", 50, types=("image/x-face",), extensions=("face",), needs=Needs(programs=("gone",))),
        "quick": Drawer("face", 30, types=("image/x-face",), extensions=("fac",)),
        "pages": Drawer(
            "paper", 50, types=("text/x-paper",), extensions=("paper",), needs=Needs(libraries=("no-such-library",))
        ),
        "icon": Drawer("icon", -100, types=("*/*",)),
    },
    {"facts": Teller("facts"), "faces": Teller("faces", types=("image/*",), needs=Needs(programs=("gone",)))},
)


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        (Needs(), ()),
        (Needs(programs=("here",), libraries=("pytest",)), ()),
        (Needs(programs=("gone",)), (Lack("program", "no-such-program-here", "the package no-such"),)),
        (Needs(programs=("gone",), install="brew install x"), (Lack("program", "no-such-program-here", "brew install x"),)),
        (Needs(programs=("needy",)), (Lack("program", "no-such-browser", "the package browser"),)),
        (Needs(programs=("undeclared",)), (Lack("program", "undeclared", ""),)),
        (Needs(libraries=("no-such-library",)), (Lack("library", "no-such-library", "pip install no-such-library"),)),
        (Needs(libraries=("a-b-c", "pytest"), install="pip install x[a]"), (Lack("library", "a-b-c", "pip install x[a]"),)),
    ],
)
def test_what_is_missing_has_the_command_that_brings_it(needs: Needs, found: tuple[Lack, ...]) -> None:
    assert lacks(needs, FACES.programs) == found


def test_a_family_has_its_types_and_its_previewers_in_the_order_of_trying() -> None:
    face, icon, paper = capabilities(FACES)["families"]
    assert (face["family"], face["mimetypes"], face["extensions"]) == ("face", ["image/x-face"], ["fac", "face"])
    assert [(one["name"], one["available"]) for one in face["previewers"]] == [("best", False), ("quick", True)]
    assert (face["available"], icon["available"], paper["available"]) == (True, True, False)


def test_what_is_missing_is_listed_once_with_all_that_want_it() -> None:
    wanted = {item["name"]: item for item in capabilities(FACES)["missing"]}
    assert wanted["no-such-program-here"]["for"] == ["best", "faces"]
    assert wanted["no-such-library"]["install"] == "pip install no-such-library"
    programs = {item["name"]: item for item in capabilities(FACES)["programs"]}
    assert (programs["gone"]["available"], programs["gone"]["for"]) == (False, ["best", "faces"])
    assert programs["here"]["available"] is True


def test_a_family_that_only_an_installed_package_could_cover_is_named_with_it() -> None:
    missing = [item for item in capabilities(FACES)["missing"] if item["kind"] == "plugin"]
    assert {"kind": "plugin", "name": "secure-delivery-images", "install": "pip install secure-delivery-images"}.items() <= (
        next(item for item in missing if item["for"] == ["family picture"]).items()
    )


def test_everything_is_json_and_schemas_are_as_declared() -> None:
    told = capabilities(FACES)
    assert json.loads(json.dumps(told)) == told
    assert told["extractors"][1]["schema"] == {"type": "object", "required": ["a", "b"]}


def test_strangers_learn_what_works_and_nothing_of_the_machine() -> None:
    told = published(capabilities(FACES))
    text = json.dumps(told)
    for word in ("no-such", "lacks", "install", "program", "pip", "/bin", "best"):
        assert word not in text, word
    face, _, paper = told["families"]
    assert face["extensions"] == ["fac"], "an extension that only a previewer without its program knows is not covered"
    assert paper == {"family": "paper", "mimetypes": [], "extensions": [], "available": False, "previewers": []}


@pytest.mark.parametrize(
    ("mimetype", "filename", "previewers", "metadata"),
    [
        ("image/x-face", "", ["quick", "icon"], ["facts"]),
        ("image/x-face", "a.face", ["quick", "icon"], ["facts"]),
        (None, "a.fac", ["quick", "icon"], ["facts"]),
        (None, "a.FAC", ["quick", "icon"], ["facts"]),
        ("application/octet-stream", "a.fac", ["quick", "icon"], ["facts"]),
        ("video/mp4", "a.fac", ["quick", "icon"], ["facts"]),
        ("audio/mpeg", "a.fac", ["icon"], ["facts"]),
        (None, "a.paper", ["icon"], ["facts"]),
        (None, "noname", ["icon"], ["facts"]),
        (None, "data:text/html,x.fac", ["quick", "icon"], ["facts"]),
    ],
)
def test_one_file_is_answered_as_the_engine_would_try(
    mimetype: str | None, filename: str, previewers: list[str], metadata: list[str]
) -> None:
    told = of_file(FACES, mimetype, filename)
    assert (told["previewers"], told["metadata"]) == (previewers, metadata)
    assert told["preview"] is ("quick" in previewers)
    assert told["icon"] is True
    assert told["family"] == ("face" if told["preview"] else None)


@pytest.mark.parametrize(
    "filename", ["", ".", "..", "a" * 255, "\0", "\ud800.x", "http://x/a.png", "a.b/c.png", "data:;base64"]
)
def test_any_name_gets_an_answer(filename: str) -> None:
    assert of_file(FACES, None, filename)["icon"] is True
