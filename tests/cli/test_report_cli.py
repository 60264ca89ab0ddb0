"""`app create|set --require --report`, `app show` and `app report`: policies by kind of request, and whom they would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run, commands

from secure_delivery.engine import build
from secure_delivery.engine.reports import MOST
from secure_delivery.engine.settings import Settings

KEY = "AshopShopShopShopShop1"
NOW = 1_800_000_000.5


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process, on a data folder of the test's own."""
    return commands(monkeypatch, capsys, tmp_path)


def counted(*requests: tuple[str, str]) -> None:
    """Requests of these kinds and hosts, as a server counts and writes them down."""
    engine = build(Settings.load(), clock=lambda: NOW)
    for kind, who in requests:
        engine.reports.add(KEY, kind, who)
    engine.close()


def test_kinds_are_required_and_reported_from_the_start_changed_and_cleared(run: Run) -> None:
    create = ("app", "create", "shop", "--api-key", KEY, "--require", "upload", "--require", "upload", "--report", "delivery")
    made = run(*create, "--json").json()
    assert (made["require_policy"], made["required"], made["reported"]) == (False, ["upload"], ["delivery"])
    shown = run("app", "show", KEY)
    assert "required:             upload" in shown.out and "reported:             delivery" in shown.out
    changed = run("app", "set", KEY, "--require", "metadata", "--require", "conversion", "--json").json()
    assert (changed["required"], changed["reported"]) == (["metadata", "conversion"], ["delivery"])
    cleared = run("app", "set", KEY, "--require", "", "--report", "", "--json").json()
    assert (cleared["required"], cleared["reported"]) == ([], [])
    assert run("app", "show", KEY, "--json").json()["required"] == []


def test_every_change_of_kinds_is_in_the_log(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY)
    run("app", "set", KEY, "--report", "upload")
    run("app", "set", KEY, "--require", "upload")
    entries = [each for each in run("audit", "list", "--json").json()["entries"] if each["action"] == "application.change"]
    assert [(each["before"], each["after"]) for each in entries] == [
        ({"required": []}, {"required": ["upload"]}),
        ({"reported": []}, {"reported": ["upload"]}),
    ]


def test_the_list_says_in_few_words_what_needs_a_policy(run: Run) -> None:
    kinds = ("upload", "delivery", "conversion", "metadata")
    for name, words in {
        "alpha": (),
        "beta": ("--require", "upload"),
        "gamma": [word for kind in kinds for word in ("--require", kind)],
        "delta": ("--secured",),
    }.items():
        assert run("app", "create", name, *words).status == 0
    lines = {line.split("│")[2].strip(): line for line in run("app", "list").out.splitlines() if line.count("│") > 3}
    assert {name: line.split("│")[3].strip() for name, line in lines.items()} == {
        "alpha": "open",
        "beta": "secured: upload",
        "gamma": "secured",
        "delta": "secured",
    }


@pytest.mark.parametrize("option", ["--require", "--report"])
def test_a_kind_that_there_is_not_is_refused_and_changes_nothing(run: Run, option: str) -> None:
    before = run("app", "create", "shop", "--api-key", KEY, "--json").json()
    said = run("app", "set", KEY, "--name", "other", option, "uploads")
    assert said.status == 2 and "there are upload, delivery, conversion, metadata" in said.err
    assert run("app", "show", KEY, "--json").json() == {name: value for name, value in before.items() if name != "secret"}


def test_the_report_tells_who_asked_how_often_and_when(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY, "--report", "upload", "--report", "delivery")
    counted(("delivery", "www.example.org"), ("delivery", "www.example.org"), ("upload", ""))
    said = run("app", "report", KEY, "--json").json()
    moment = "2027-01-15T08:00:00Z"
    assert said == {
        "api_key": KEY,
        "require_policy": False,
        "required": [],
        "reported": ["upload", "delivery"],
        "would_refuse": [
            {"kind": "delivery", "who": "www.example.org", "count": 2, "first": moment, "last": moment},
            {"kind": "upload", "who": "", "count": 1, "first": moment, "last": moment},
        ],
    }
    shown = run("app", "report", KEY)
    assert shown.status == 0
    for words in ("upload, delivery", "www.example.org", "(no Origin or Referer)", moment):
        assert words in shown.out


def test_hosts_beyond_the_bound_are_told_together(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY, "--report", "delivery")
    counted(*(("delivery", f"h{number}.example") for number in range(MOST + 20)))
    assert "(other hosts)" in run("app", "report", KEY).out


def test_a_report_begins_anew(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY, "--report", "delivery")
    counted(("delivery", "a.example"), ("delivery", "b.example"))
    said = run("app", "report", KEY, "--clear", "--json").json()
    assert (said["cleared"], said["would_refuse"]) == (2, [])
    assert run("app", "report", KEY, "--json").json()["would_refuse"] == []
    assert "cleared:" in run("app", "report", KEY, "--clear").out


def test_without_a_reported_kind_the_report_says_how_to_choose_one(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY)
    assert "app set --report KIND" in run("app", "report", KEY).out
    assert run("app", "report", "Anobody").status == 2


def test_the_doctor_names_what_is_open(run: Run) -> None:
    run("app", "create", "shop", "--api-key", KEY, "--require", "upload", "--require", "delivery")
    (found,) = [each for each in run("doctor", "--json").json() if each["subject"] == "application shop"]
    assert found["says"] == "open: no policy is needed for conversion, metadata"
    run("app", "set", KEY, "--require", "upload", "--require", "delivery", "--require", "conversion", "--require", "metadata")
    (found,) = [each for each in run("doctor", "--json").json() if each["subject"] == "application shop"]
    assert (found["grade"], found["says"]) == ("good", "every request needs a policy")
