"""The page on official clients says what is so: its rows are the methods that the clients have, every one of them was run, and
what is said to work did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sdk_dialects import DIALECTS
from sdk_requests import TABLE
from sdk_world import HELPERS, Said, needs_ffmpeg

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sdks.md").read_text("utf-8")
SaidOf = Callable[[str], Said]
MODES = ("open", "secured")


class Row(NamedTuple):
    works: str
    since: str
    remarks: str


def rows(client: str, section: str) -> dict[str, Row]:
    """The table of a section of the page."""
    part = PAGE.split(f"\n## {client}")[1].split("\n## ")[0].split(f"\n### {section}\n")[1].split("\n### ")[0]
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| (\S+) \| (.*) \|$", part, re.MULTILINE)
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    assert len(found) == len(lines) == len({name for name, *_ in found}), "every line is a row, none is there twice"
    return {name: Row(*rest) for name, *rest in found}


SECTIONS = [
    *(("filestack-js 4.3.8", section) for section in ("Client", "Client.cloud", "Functions", "Filelink")),
    *(("filestack-python 4.0.0", section) for section in ("Client", "Filelink and Transformation", "AudioVisual")),
    ("filestack-python 4.0.0", "Security and helpers"),
]


def _hidden(sdk: Path, file: str) -> set[str]:
    """What the declarations of the JavaScript client call private."""
    text = (sdk / "filestack-js" / "build" / "main" / "lib" / f"{file}.d.ts").read_text()
    return set(re.findall(r"^    private (?:get )?(\w+)", text, re.MULTILINE))


# ------------------------------------------------------------------------------------------------------------- what there is


@pytest.mark.parametrize(
    ("section", "thing", "file"),
    [("Client", "Client", "client"), ("Client.cloud", "CloudClient", "api/cloud"), ("Filelink", "Filelink", "filelink")],
)
def test_the_rows_of_the_javascript_client_are_its_public_methods(
    js_said: SaidOf, node_sdk: Path, section: str, thing: str, file: str
) -> None:
    has = set(js_said("open").end["has"][thing]) - _hidden(node_sdk, file)
    assert rows("filestack-js", section).keys() == has


def test_the_functions_of_the_javascript_client_are_there(js_said: SaidOf) -> None:
    assert rows("filestack-js", "Functions").keys() <= set(js_said("open").end["exports"])


def test_the_rows_of_the_python_client_are_its_public_methods(python_said: SaidOf) -> None:
    has = set(python_said("open").end["has"])
    listed = {f"Client.{name}" for name in rows("filestack-python", "Client")}
    listed |= {f"AudioVisual.{name}" for name in rows("filestack-python", "AudioVisual")}
    chains = rows("filestack-python", "Filelink and Transformation")
    listed |= {f"{thing}.{name}" for name in chains for thing in ("Filelink", "Transformation") if f"{thing}.{name}" in has}
    helpers = rows("filestack-python", "Security and helpers")
    listed |= {name if name in has else f"Security.{name}" for name in helpers}
    assert listed == has
    assert all(f"Filelink.{name}" in has for name in chains)


# -------------------------------------------------------------------------------------------------------------- what was run


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("section", "thing"), [("Client", "Client"), ("Client.cloud", "CloudClient"), ("Filelink", "Filelink")]
)
def test_every_method_of_the_javascript_client_ran(js_said: SaidOf, mode: str, section: str, thing: str) -> None:
    """V8 counted the calls. What needs a page is run in one."""
    ran = set(js_said(mode).end["ran"])
    in_pages = set(re.findall(r"client\.(\w+)\(", (HELPERS / "drive_browser.js").read_text()))
    for name, row in rows("filestack-js", section).items():
        if name not in ("utils", "token"):  # properties, which V8 calls `get`; below it is seen that they gave something
            assert f"{thing}.{name}" in ran or (row.works == "browser" and name in in_pages), name


@pytest.mark.parametrize("mode", MODES)
def test_every_method_of_the_python_client_ran(python_said: SaidOf, mode: str) -> None:
    """The interpreter's profiler saw the calls."""
    end = python_said(mode).end
    missing = {name for name, code in end["has"].items() if code not in end["ran"]}
    assert missing == set()


# ------------------------------------------------------------------------------------------------------------- what came of it


def _outcomes(cases: Mapping[str, Any], *names: str) -> dict[str, bool]:
    """Cases of a method: its name, alone or with words behind it that tell one case from another."""
    return {
        case: outcome["ok"]
        for case, outcome in cases.items()
        if any(case == name or case.startswith((f"{name} ", f"{name},")) for name in names)
    }


#: Methods of which nothing comes without ffmpeg.
_FFMPEG = ("videoConvert", "status", "to_filelink")


def _expect(name: str, row: Row, found: Mapping[str, Mapping[str, bool]]) -> None:
    if name in _FFMPEG:
        needs_ffmpeg()
    assert all(found.values()), f"{name}: no case"
    first = {mode: next(iter(cases.values())) for mode, cases in found.items()}  # the plain use of the method
    worked = {mode: any(cases.values()) for mode, cases in found.items()}
    wanted = {"yes": (True, True), "local": (True, True), "open": (True, False), "no": (False, False)}[row.works]
    assert (worked["open"], worked["secured"]) == wanted, (name, found)
    if row.works == "yes":
        assert all(first.values()), (name, found)


#: Methods of links that are no task, and the case that uses each.
_AROUND = {
    "getValidationSchema": "bookkeeping",
    "getTransformations": "bookkeeping",
    "getTasks": "bookkeeping",
    "toString": "resize",
}


@pytest.mark.parametrize("name", rows("filestack-js", "Filelink"))
def test_what_is_said_of_a_link_of_the_javascript_client_is_so(js_said: SaidOf, name: str) -> None:
    case = f"Filelink {_AROUND.get(name, name)}"
    _expect(name, rows("filestack-js", "Filelink")[name], {mode: _outcomes(js_said(mode).cases, case) for mode in MODES})


@pytest.mark.parametrize(
    "name",
    [
        *(name for name, row in rows("filestack-js", "Client").items() if row.works != "browser"),
        *(f"cloud.{name}" for name in rows("filestack-js", "Client.cloud") if name != "logout"),  # `Client.logout` is this
        *rows("filestack-js", "Functions"),
    ],
)
def test_what_is_said_of_a_method_of_the_javascript_client_is_so(js_said: SaidOf, name: str) -> None:
    sections = {"": rows("filestack-js", "Client") | rows("filestack-js", "Functions")}
    sections["cloud"] = rows("filestack-js", "Client.cloud")
    section, _, method = name.rpartition(".")
    _expect(name, sections[section][method], {mode: _outcomes(js_said(mode).cases, name) for mode in MODES})


@pytest.mark.parametrize(("client", "section"), SECTIONS[4:])
def test_what_is_said_of_the_python_client_is_so(python_said: SaidOf, client: str, section: str) -> None:
    for name, row in rows(client, section).items():
        cases = [name] if section in ("Filelink and Transformation", "Security and helpers") else []
        cases += [f"{thing}.{name}" for thing in section.removesuffix(" and helpers").split(" and ")]
        _expect(name, row, {mode: _outcomes(python_said(mode).cases, *cases) for mode in MODES})


def test_every_client_whose_requests_are_replayed_has_its_row() -> None:
    listed = re.findall(r"^\| (\w+) \|", PAGE.split("\n## Other clients")[1].split("\n## ")[0], re.MULTILINE)
    spoken = {row[0].partition(" ")[0] for row in TABLE} | {re.split(r"[ ,]", dialect.name)[0] for dialect in DIALECTS}
    assert set(listed) - {"client"} == spoken


@pytest.mark.parametrize(("client", "section"), SECTIONS)
def test_since_is_a_version_that_there_is(client: str, section: str) -> None:
    versions = set(re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE))
    for name, row in rows(client, section).items():
        assert (row.since == "–") if row.works == "no" else (row.since in versions), name
        assert row.works in ("yes", "open", "browser", "local", "no"), name
        assert row.remarks.strip() or row.works in ("yes", "local"), f"{name}: what comes instead?"
