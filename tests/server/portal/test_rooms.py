"""All rooms together: each view and action is told of, has a command beside it, and is nowhere a second time."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import typer
from portal_site import Site

from secure_delivery.cli import cli
from secure_delivery.engine.account_rows import SCOPES
from secure_delivery.server.portal import ROOMS
from secure_delivery.server.portal.frame import Action, Raw, View
from secure_delivery.server.portal.statics import STATICS

VIEWS = [view for room in ROOMS for view in room.views]
ACTIONS = [action for room in ROOMS for action in room.actions]
RAWS = [raw for room in ROOMS for raw in room.raws]
EVERYTHING: list[tuple[str, View | Action | Raw]] = [
    *((f"GET {view.path}", view) for view in VIEWS),
    *((f"POST {action.path}", action) for action in ACTIONS),
    *((f"{raw.method} {raw.path}", raw) for raw in RAWS),
]


def known_commands(group: Any, path: str = "") -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        whole = f"{path} {name}".strip()
        found |= known_commands(command, whole) if hasattr(command, "commands") else {whole}
    return found


COMMANDS = known_commands(typer.main.get_command(cli))


@pytest.mark.parametrize(("name", "entry"), EVERYTHING, ids=[name for name, _ in EVERYTHING])
def test_everything_is_told_of_in_a_sentence_and_exists_as_a_command(name: str, entry: View | Action | Raw) -> None:
    if isinstance(entry, Raw) or entry.api:
        assert entry.says.endswith("."), "one sentence for the table of the API"
        assert entry.scope in SCOPES
        if entry.command:
            assert entry.command in COMMANDS
    else:
        assert entry.path.split("/")[1] in ("", "sign-in", "sign-out", "again", "code", "setup", "invitation", "me"), (
            "all else is in the API"
        )


#: What people do in a browser only: about themselves, or about what a page looks like.
ONLY_HERE = re.compile(
    r"/(me|audit)\b|/picture$|/playground|/live$|/check$|/samples$|/tus|\.csv$|/export|/demo|/upload$|/security$|/health$"
)


@pytest.mark.parametrize(("name", "entry"), EVERYTHING, ids=[name for name, _ in EVERYTHING])
def test_what_has_no_command_says_why(name: str, entry: View | Action | Raw) -> None:
    told = isinstance(entry, Raw) or entry.api
    assert not told or entry.command or ONLY_HERE.search(entry.path), f"{name} has no command"


def test_nothing_is_there_twice() -> None:
    assert [name for name, count in Counter(name for name, _ in EVERYTHING).items() if count > 1] == []


def test_forms_that_were_refused_are_shown_again_on_a_view_of_the_same_names() -> None:
    views = {view.path: view for view in VIEWS}
    for action in ACTIONS:
        if action.on:
            names = set(re.findall(r"\{(\w+)", action.path))
            assert set(re.findall(r"\{(\w+)", views[action.on].path)) <= names, action.path


def test_what_a_browser_loads_is_small() -> None:
    scripts = sum(len(each.body) for name, each in STATICS.items() if name.endswith(".js"))
    assert scripts <= 100_000


@pytest.mark.parametrize("view", [view for view in VIEWS if "{" not in view.path and view.scope], ids=lambda view: view.path)
def test_a_stranger_is_sent_to_sign_in_and_a_program_is_told(site: Site, view: View) -> None:
    page = site.call("GET", f"/{view.path}")
    assert (page.status, page.headers["location"].partition("?")[0]) == (303, "/sign-in")
    if view.api:
        answer = site.call("GET", view.path)
        assert (answer.status, answer.code) == (401, "not_signed_in")
