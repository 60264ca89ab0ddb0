"""`secure-delivery security`: what is worth attention, for people and for programs, with an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from buckets import SECRET, bucket_server, bucket_settings, options
from commands import Run, commands

from secure_delivery.engine import build
from secure_delivery.engine.audit import CLI
from secure_delivery.engine.security_report import SEVERITIES
from secure_delivery.engine.settings import PREFIX, Settings

SHOP, CLUB = "AshopShopShopShopShop1", "AclubClubClubClubClub1"
FIELDS = {"code", "severity", "application", "subject", "what", "why", "fix", "link", "command"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process, on a data folder of the test's own, with an open application and a secured one."""
    command = commands(monkeypatch, capsys, tmp_path)

    assert command("app", "create", "shop", "--api-key", SHOP).status == 0
    assert command("app", "create", "club", "--api-key", CLUB, "--secured", "--storage", "server").status == 0
    return command


def test_people_are_told_the_most_urgent_first_with_why_fix_and_command(run: Run) -> None:
    said = run("security")
    assert said.status == 1, "something is high"
    places = [said.out.index(f"{severity} (") for severity in SEVERITIES]
    assert places == sorted(places)
    first = said.out.split("medium (")[0]
    for text in ("unsigned_upload", SHOP, "why:", "fix:", f"run: secure-delivery app set {SHOP} --require upload"):
        assert text in first
    assert CLUB not in first and CLUB in said.out


def test_programs_are_told_the_same_as_json(run: Run) -> None:
    said = run("security", "--json")
    assert said.status == 1
    found = said.json()
    assert all(set(each) == FIELDS for each in found)
    assert {each["application"] for each in found} == {None, SHOP, CLUB}
    text = run("security").out
    assert all(each["what"] in text and each["code"] in text for each in found)


def test_one_application_is_told_alone_and_without_anything_high_the_status_is_0(run: Run) -> None:
    said = run("security", CLUB, "--json")
    assert said.status == 0
    assert {each["application"] for each in said.json()} == {CLUB}
    assert run("security", SHOP).status == 1
    assert run("app", "set", SHOP, "--require", "upload").status == 0
    assert run("security", SHOP).status == 0


def test_an_application_that_does_not_exist_is_wrong_use(run: Run) -> None:
    said = run("security", "Anobody")
    assert (said.status, said.out) == (2, "")
    assert "no such application" in said.err


def test_where_there_is_nothing_to_say_that_is_said(run: Run) -> None:
    words = ("--upload-domain", "www.example.org", "--delivery-domain", "www.example.org", "--delivery-missing", "deny")
    more = ("--no-standard-base64", "--allow-type", "image/*", "--retention-days", "30")
    assert run("app", "set", CLUB, *words, *more).status == 0
    assert run("security", CLUB).out.strip() == "Nothing was found."
    assert run("security", CLUB, "--json").json() == []


def test_storages_are_only_tried_out_when_that_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with bucket_server() as bucket:
        for name, value in bucket_settings(bucket).items():
            monkeypatch.setenv(PREFIX + name.upper(), value)
        engine = build(Settings.load())
        engine.administration.add_storage(CLI, CLUB, "assets", "s3", options(bucket), usual=True)
        engine.close()
        bucket.denied.add("PutObject")
        assert "storage_unusable" not in run("security", CLUB).out and bucket.seen == []
        said = run("security", CLUB, "--check")
        assert "storage_unusable" in said.out and bucket.seen
        assert SECRET not in said.out + said.err


def test_what_somebody_called_something_does_nothing_to_a_terminal_and_is_no_markup(run: Run) -> None:
    engine = build(Settings.load())
    people = engine.people
    people.accounts.add(CLI, "[red]x[/red]'$(id)@example.org", "owner", "seven quiet lamps walk home")
    owner = people.accounts.all()[0]
    people.tokens.create(CLI, owner.id, "[link=x]t[/link]\N{RIGHT-TO-LEFT MARK}"[:-1], scopes=["read"], days=None)
    engine.close()
    said = run("security")
    assert "[red]x[/red]'$(id)@example.org" in said.out and "[link=x]t[/link]" in said.out
    assert all(letter.isprintable() for letter in said.out if letter != "\n")
