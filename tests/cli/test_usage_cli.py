"""`secure-delivery usage`: what was counted, for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from commands import Run, commands

from secure_delivery.cli.usage import bar
from secure_delivery.engine import build
from secure_delivery.engine.files import Target
from secure_delivery.engine.settings import Settings

SHOP, CLUB = "AshopShopShopShopShop1", "AclubClubClubClubClub1"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process, on a data folder of the test's own, with two applications that were used."""
    command = commands(monkeypatch, capsys, tmp_path)

    for name, key in (("shop", SHOP), ("club", CLUB)):
        assert command("app", "create", name, "--api-key", key).status == 0
    engine = build(Settings.load())
    for application, name, label, number in (
        (SHOP, "requests", "delivery", 1200),
        (SHOP, "requests", "upload", 34),
        (SHOP, "bytes", "out", 5_600_000),
        (SHOP, "results", "made", 1),
        (SHOP, "results", "hot", 3),
        (SHOP, "jobs", "preview/success", 8),
        (SHOP, "jobs", "preview/failure", 2),
        (SHOP, "webhooks", "delivered", 9),
        (CLUB, "requests", "delivery", 66),
        (CLUB, "refusals", "expired", 5),
    ):
        engine.usage.add((application, name, label), number)
    shop = engine.records.application(SHOP)
    assert shop is not None
    with engine.files.begin(shop, Target(filename="a.bin")) as upload:
        upload.write(b"x" * 2500)
        engine.files.add(shop, upload)
    engine.close()
    return command


def test_a_table_shows_the_sums_of_all_with_bars(run: Run) -> None:
    said = run("usage")
    assert said.status == 0
    assert len([line for line in said.out.splitlines() if ":00 " in line]) == 24
    (row,) = [line for line in said.out.splitlines() if "1,300" in line]
    for cell in ("█" * 20, "5.6 MB", "75 %", "8 / 2", "9 / 0", " 5 "):
        assert cell in row
    assert SHOP in said.out and "2.5 kB" in said.out


def test_one_application_is_shown_alone(run: Run) -> None:
    said = run("usage", "--app", CLUB, "--by", "day", "--last", "2")
    assert " 66 " in said.out and "1,300" not in said.out and SHOP not in said.out
    assert len([line for line in said.out.splitlines() if "0 / 0" in line]) == 2


def test_csv_has_every_figure_of_every_application(run: Run) -> None:
    said = run("usage", "--by", "month", "--csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert list(rows[0]) == ["time", "application", "figure", "label", "value"]
    assert {(row["application"], row["figure"], row["label"]): int(row["value"]) for row in rows} == {
        (SHOP, "requests", "delivery"): 1200,
        (SHOP, "requests", "upload"): 34,
        (SHOP, "bytes", "out"): 5_600_000,
        (SHOP, "results", "made"): 1,
        (SHOP, "results", "hot"): 3,
        (SHOP, "jobs", "preview/success"): 8,
        (SHOP, "jobs", "preview/failure"): 2,
        (SHOP, "webhooks", "delivered"): 9,
        (CLUB, "requests", "delivery"): 66,
        (CLUB, "refusals", "expired"): 5,
    }
    assert {row["time"][7:] for row in rows} == {"-01T00:00:00Z"}


def test_json_has_the_same_and_what_is_stored(run: Run) -> None:
    said = run("usage", "--json").json()
    assert said["by"] == "hour"
    assert sum(one["value"] for one in said["figures"] if one["name"] == "requests") == 1300
    assert said["stored"] == [{"application": SHOP, "files": 1, "size": 2500}]


def test_wrong_use_is_told(run: Run) -> None:
    assert run("usage", "--app", "Anobody").status == 2
    assert run("usage", "--csv", "--json").status == 2
    assert run("usage", "--by", "year").status == 2


def test_bars_are_as_long_as_their_values() -> None:
    assert bar(0, 10) == bar(5, 0) == ""
    assert bar(10, 10) == "█" * 20
    assert bar(5, 10) == "█" * 10
    assert bar(1, 1_000_000) == "▏", "something is not nothing"
