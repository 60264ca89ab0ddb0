"""`secure-delivery user …`, `token …`, `audit …`: people let in and out, tokens shown once, changes written down."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from secure_delivery import cli
from secure_delivery.engine import Engine, build
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.engine.totp import code_at, from_base32

GOOD, OTHER = "seven quiet lamps walk home", "nine loud kettles stay here"
ANN = "ann@example.org"


class Said(NamedTuple):
    """What one command printed, and its exit status."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process, on a data folder of the test's own; `typed` is their standard input."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(PREFIX + "DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)

    def command(*words: str, typed: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["secure-delivery", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert not typed or typed.strip() not in said.out + said.err, "a password is never printed"
        return Said(status, said.out, said.err)

    return command


def opened(tmp_path: Path) -> Engine:
    return build(Settings(data=tmp_path / "data"))


def test_the_first_owner_and_an_invited_developer_come_in_by_what_is_printed(run: Run, tmp_path: Path) -> None:
    setup = run("user", "setup-link", "--json").json()
    engine = opened(tmp_path)
    engine.people.accounts.set_up(setup["setup"], ANN, GOOD, address="192.0.2.7")
    assert run("user", "setup-link").status == 2
    invited = run("user", "add", "bob@example.org", "--json").json()
    assert (invited["state"], invited["role"]) == ("invited", "developer")
    engine.people.accounts.accept(invited["invitation"], GOOD, address="192.0.2.7")
    listed = run("user", "list", "--json").json()["accounts"]
    assert [(each["login"], each["role"], each["state"]) for each in listed] == [
        (ANN, "owner", "active"),
        ("bob@example.org", "developer", "active"),
    ]
    assert "bob@example.org" in run("user", "list").out
    engine.close()


def test_accounts_are_changed_from_the_command_line(run: Run, tmp_path: Path) -> None:
    assert run("user", "add", ANN, "--role", "owner", "--password", typed=GOOD + "\n").status == 0
    assert run("user", "add", "bob@example.org", "--password", typed=GOOD + "\n").status == 0
    assert run("user", "role", "bob@example.org", "viewer", "--json").json()["role"] == "viewer"
    assert run("user", "disable", "bob@example.org", "--json").json()["state"] == "disabled"
    assert run("user", "enable", "bob@example.org", "--json").json()["state"] == "active"
    assert run("user", "password", "bob@example.org", typed=OTHER + "\n").status == 0
    engine = opened(tmp_path)
    assert engine.people.sign_in.password("bob@example.org", OTHER, address="x").account.role == "viewer"
    link = run("user", "password", "bob@example.org", "--link", "--json").json()["invitation"]
    engine.people.accounts.accept(link, GOOD, address="x")
    engine.close()
    assert run("user", "remove", "bob@example.org", "--yes", "--json").json() == {"removed": "bob@example.org"}
    actions = [each["action"] for each in run("audit", "list", "--actor", "cli", "--json").json()["entries"]]
    assert actions[::-1] == [
        *("account.add", "account.add", "account.role", "account.disable", "account.enable", "account.password"),
        *("account.invite_again", "account.remove"),
    ]


def test_links_are_addresses_of_the_portal_and_bare_tokens_where_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setup = run("user", "setup-link", "--json").json()
    assert setup["url"] == f"http://portal.localhost:8000/setup/{setup['setup']}"
    monkeypatch.setenv(PREFIX + "PORTAL_URL", "https://portal.example.org")
    assert "https://portal.example.org/setup/" in run("user", "setup-link").out
    invited = run("user", "add", ANN, "--json").json()
    assert invited["url"] == f"https://portal.example.org/invitation/{invited['invitation']}"
    monkeypatch.setattr("secure_delivery.cli.output.out._width", 40)
    said = run("user", "password", ANN, "--link").out
    assert "https://portal.example.org/invitation/" in said
    link = said.rsplit("/invitation/", 1)[1].strip()
    monkeypatch.delenv(PREFIX + "PORTAL_URL")
    monkeypatch.setenv(PREFIX + "PORTAL_HOST", "")
    engine = opened(tmp_path)
    engine.people.accounts.accept(link, GOOD, address="192.0.2.7")
    engine.close()
    bare = run("user", "setup-link", "--json").json()
    assert bare["url"] is None
    said = run("user", "setup-link").out
    assert "://" not in said
    assert run("user", "show", ANN, "--json").json()["state"] == "active"
    assert run("user", "show", "nobody@example.org").status == 2


@pytest.mark.parametrize(
    "words",
    [
        ("user", "add", "ann"),
        ("user", "add", ANN, "--role", "root"),
        ("user", "add", ANN, "--password"),
        ("user", "role", "nobody@example.org", "owner"),
        ("user", "remove", "nobody@example.org", "--yes"),
        ("token", "create", "nobody@example.org", "x"),
        ("token", "revoke", "tk_nothing"),
        ("audit", "list", "--since", "yesterday"),
        ("audit", "list", "--after", "au_nothing"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words, typed="password1\n" if "--password" in words else "")
    assert said.status == 2
    assert said.err.startswith("error: ")
    assert not said.out


def test_the_last_owner_stays(run: Run) -> None:
    run("user", "add", ANN, "--role", "owner", "--password", typed=GOOD + "\n")
    for words in (("role", ANN, "viewer"), ("disable", ANN), ("remove", ANN, "--yes")):
        said = run("user", *words)
        assert (said.status, "last owner" in said.err) == (2, True)


def test_a_token_is_printed_once_and_listed_by_how_it_begins(run: Run, tmp_path: Path) -> None:
    run("user", "add", ANN, "--role", "owner", "--password", typed=GOOD + "\n")
    made = run("token", "create", ANN, "deploy", "--scope", "read", "--scope", "write", "--json").json()
    assert made["scopes"] == ["read", "write"]
    (listed,) = run("token", "list", "--login", ANN, "--json").json()["tokens"]
    assert made["token"].startswith(listed["begins"])
    assert made["token"] not in run("token", "list").out + run("audit", "list", "--json").out
    engine = opened(tmp_path)
    assert engine.people.tokens.find(made["token"]) is not None
    run("token", "revoke", made["id"])
    assert engine.people.tokens.find(made["token"]) is None
    engine.close()


def test_what_other_commands_change_is_in_the_log_without_secrets(run: Run) -> None:
    made = run("app", "create", "shop", "--json").json()
    key = made["api_key"]
    run("app", "set", key, "--secured")
    rotated = run("app", "rotate-secret", key, "--json").json()
    hook = run("webhook", "add", key, "https://example.org/hook", "--json").json()
    run("webhook", "set", key, hook["id"], "--off")
    run("webhook", "rotate", key, hook["id"])
    run("webhook", "remove", key, hook["id"], "--yes")
    run("app", "delete", key, "--yes")
    said = run("audit", "list", "--app", key, "--json")
    entries = said.json()["entries"][::-1]
    assert [each["action"] for each in entries] == [
        *("application.create", "application.change", "secret.rotate"),
        *("webhook.add", "webhook.change", "webhook.rotate", "webhook.remove", "application.delete"),
    ]
    assert {each["actor"] for each in entries} == {"cli"}
    assert entries[1]["before"] == {"require_policy": False}
    assert entries[1]["after"] == {"require_policy": True}
    for secret in (made["secret"], rotated["secret"], hook["secret"]):
        assert secret not in said.out
    first = run("audit", "list", "--app", key, "--limit", "3", "--json").json()
    second = run("audit", "list", "--app", key, "--limit", "500", "--after", first["next"], "--json").json()
    assert [each["id"] for each in (first["entries"] + second["entries"])[::-1]] == [each["id"] for each in entries]
    assert second["next"] is None
    assert "webhook.rotate" in run("audit", "list", "--action", "webhook.").out


def test_a_lost_second_factor_is_taken_off_and_its_secret_is_rotated_with_the_vault(run: Run, tmp_path: Path) -> None:
    run("user", "add", ANN, "--role", "owner", "--password", typed=GOOD + "\n")
    engine = opened(tmp_path)
    account = engine.people.accounts.named(ANN).id
    secret = from_base32(engine.people.second_factor.offer(account)[0])
    codes = engine.people.second_factor.confirm(_cli(), account, code_at(secret, int(engine.clock() // 30)))
    assert run("vault", "status", "--json").json()["accounts"] == 1
    run("vault", "rotate")
    assert len(run("vault", "prune", "--json").json()["dropped"]) == 1
    engine.close()
    engine = opened(tmp_path)
    half = engine.people.sign_in.password(ANN, GOOD, address="x")
    assert engine.people.sign_in.code(half.token, codes[0], address="x").stage == "full"
    assert run("user", "list", "--json").json()["accounts"][0]["second_factor"] is True
    run("user", "password", ANN, "--no-second-factor", typed=OTHER + "\n")
    assert engine.people.sign_in.password(ANN, OTHER, address="x").stage == "full"
    engine.close()


def _cli() -> Any:
    from secure_delivery.engine.audit import CLI

    return CLI
