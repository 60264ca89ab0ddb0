"""Who would be refused: counted without loss, bounded whatever strangers call themselves, on both kinds of database."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from secure_delivery.engine import build, tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.figures import NAMES, WOULD_REFUSE, Figures
from secure_delivery.engine.records import Records
from secure_delivery.engine.reports import KEPT, MOST, OTHERS, Reports, WouldRefuse
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.usage import Usage
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.model import KINDS

ONE, TWO = "AoneoneoneoneoneoneonZ", "AtwotwotwotwotwotwotwZ"
NOW = 1_800_000_000.0
NOW_MS = int(NOW * 1000)
HOSTS = MOST - len(KINDS)

#: Counts its own and shared hosts of two applications, more than there is room for, and writes them down again and again.
COUNT = """
import sys
from secure_delivery.engine.database import Database
from secure_delivery.engine.reports import Reports
from secure_delivery.engine.usage import Usage
database = Database(sys.argv[1])
reports = Reports(database, lambda: 1_800_000_000.0, Usage(database, lambda: 1_800_000_000.0), pause=3600)
for turn in range(10):
    for number in range(80):
        for application in sys.argv[3:]:
            reports.add(application, "delivery", f"{sys.argv[2]}-{turn}-{number}.example")
            reports.add(application, "upload", "shared.example")
    reports.flush()
database.close()
"""
#: Writes down 3, counts 4 more, says so and waits to be killed.
KILLED = """
import sys, time
from secure_delivery.engine.database import Database
from secure_delivery.engine.reports import Reports
from secure_delivery.engine.usage import Usage
database = Database(sys.argv[1])
reports = Reports(database, time.time, Usage(database, time.time), pause=3600)
for _ in range(3):
    reports.add(sys.argv[2], "upload", "a.example")
reports.flush()
for _ in range(4):
    reports.add(sys.argv[2], "upload", "a.example")
print("counted", flush=True)
time.sleep(60)
"""


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(database: Database, clock: Clock) -> Records:
    """Two applications."""
    made = Records(database, Vault({"k": bytes(range(32))}, current="k"), clock)
    for key in (ONE, TWO):
        made.create_application("test", api_key=key)
    return made


@pytest.fixture
def usage(database: Database, clock: Clock) -> Usage:
    return Usage(database, clock)


@pytest.fixture
def reports(database: Database, clock: Clock, usage: Usage, records: Records) -> Iterator[Reports]:
    """Its own rounds are an hour apart: tests write down when they want to."""
    made = Reports(database, clock, usage, pause=3600)
    yield made
    made.close()


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(tables.would_refuse)).scalar_one()


def told(reports: Reports, api_key: str = ONE) -> dict[tuple[str, str], int]:
    return {(one.kind, one.who): one.count for one in reports.of(api_key)}


# ------------------------------------------------------------------------------------------------------------ counting


def test_requests_are_told_by_kind_and_host_with_their_first_and_last_moment(reports: Reports, clock: Clock) -> None:
    for late, who in ((0, "a.example"), (60, "a.example"), (90, ""), (120, "a.example")):
        clock.now = NOW + late
        reports.add(ONE, "upload", who)
    reports.add(ONE, "delivery", "a.example")
    assert reports.of(ONE) == [], "nothing is written by whoever counts"
    reports.flush()
    assert reports.of(ONE) == [
        WouldRefuse(kind="upload", who="a.example", count=3, first=NOW_MS, last=NOW_MS + 120_000),
        WouldRefuse(kind="delivery", who="a.example", count=1, first=NOW_MS + 120_000, last=NOW_MS + 120_000),
        WouldRefuse(kind="upload", who="", count=1, first=NOW_MS + 90_000, last=NOW_MS + 90_000),
    ]
    assert reports.of(TWO) == []


def test_later_rounds_add_to_earlier_ones_and_nothing_new_writes_nothing(reports: Reports, clock: Clock) -> None:
    reports.add(ONE, "upload", "a.example")
    reports.flush()
    reports.flush()
    clock.now = NOW - 50  # a process whose clock is behind
    reports.add(ONE, "upload", "a.example")
    clock.now = NOW + 50
    reports.add(ONE, "upload", "a.example")
    reports.flush()
    assert reports.of(ONE) == [
        WouldRefuse(kind="upload", who="a.example", count=3, first=NOW_MS - 50_000, last=NOW_MS + 50_000)
    ]


def test_how_many_of_each_kind_is_a_usage_figure_too(reports: Reports, usage: Usage, database: Database) -> None:
    for kind in ("upload", "upload", "metadata"):
        reports.add(ONE, kind, "a.example")
    usage.flush()
    found = {(one.application, one.name, one.label): one.value for one in Figures(database).totals(each=True)}
    assert found == {(ONE, WOULD_REFUSE, "upload"): 2, (ONE, WOULD_REFUSE, "metadata"): 1}
    assert all(kind in NAMES[WOULD_REFUSE] for kind in KINDS)


def test_threads_that_count_while_others_write_down_lose_nothing(reports: Reports) -> None:
    over = threading.Event()

    def count(name: str) -> None:
        for number in range(3000):
            reports.add(ONE, "delivery", "shared.example")
            reports.add(ONE, "upload", f"{name}-{number % 20}.example")

    def write() -> None:
        while not over.is_set():
            reports.flush()

    counting = [threading.Thread(target=count, args=(f"t{number}",)) for number in range(3)]
    writing = [threading.Thread(target=write) for _ in range(2)]
    for thread in counting + writing:
        thread.start()
    for thread in counting:
        thread.join()
    over.set()
    for thread in writing:
        thread.join()
    reports.flush()
    found = told(reports)
    assert found["delivery", "shared.example"] == 9000
    assert sum(found.values()) == 18_000
    assert len(found) == 61


# -------------------------------------------------------------------------------------------------------------- bounds


def test_hosts_beyond_the_bound_are_counted_together(reports: Reports, database: Database) -> None:
    """In one round, over rounds, and with those known before still told by themselves."""
    for number in range(HOSTS - 1):
        reports.add(ONE, "delivery", f"h{number}.example")
    reports.flush()
    for number in range(HOSTS + 300):
        for kind in KINDS:
            reports.add(ONE, kind, f"more{number}.example")
    reports.flush()
    for kind in KINDS:
        reports.add(ONE, kind, "late.example")
    reports.add(ONE, "delivery", "h3.example")
    reports.add(TWO, "delivery", "h3.example")
    reports.flush()
    found = told(reports)
    assert len(found) <= MOST
    assert found["delivery", "h3.example"] == 2
    assert {who for kind, who in found if kind != "delivery"} <= {OTHERS, "more0.example"}
    assert sum(found.values()) == HOSTS - 1 + 4 * (HOSTS + 300) + 4 + 1
    assert told(reports, TWO) == {("delivery", "h3.example"): 1}, "the room of one application is not that of another"
    assert rows(database) == len(found) + 1


def test_what_waits_is_bounded_too_while_the_database_is_away(reports: Reports, database: Database) -> None:
    """Nothing that was counted is lost when it comes back."""
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE would_refuse RENAME TO elsewhere"))
    for turn in range(3):
        for number in range(2 * MOST):
            reports.add(ONE, "upload", f"h{turn}-{number}.example")
        with pytest.raises(SQLAlchemyError):
            reports.flush()
    assert len(reports._waiting[ONE]) <= MOST
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO would_refuse"))
    reports.flush()
    found = told(reports)
    assert (sum(found.values()), len(found)) == (6 * MOST, HOSTS + 1)


def test_two_processes_do_not_both_take_the_last_room(reports: Reports, database: Database) -> None:
    """Who writes at the same moment waits, and then finds the room taken."""
    for number in range(10):
        reports.add(ONE, "upload", f"late{number}.example")
    writing = threading.Thread(target=reports.flush)
    owner = tables.application.c.api_key
    row = {"application": ONE, "kind": "delivery", "count": 1, "first": NOW_MS, "last": NOW_MS}
    with database.write() as connection:  # as another process does it
        connection.execute(sa.select(owner).where(owner == ONE).with_for_update(key_share=True))
        taken = [row | {"who": f"h{number}.example"} for number in range(HOSTS)]
        connection.execute(sa.insert(tables.would_refuse), taken)
        writing.start()
        while writing.is_alive() and not waits(database):
            pass
    writing.join()
    found = told(reports)
    assert len(found) == HOSTS + 1
    assert found["upload", OTHERS] == 10


def waits(database: Database) -> bool:
    """Whether a writer waits for another. On SQLite there is only ever one, so there is nothing to look for."""
    if database.sqlite:
        return True
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    with database.read() as connection:
        return connection.execute(waiting).scalar_one() > 0


def test_processes_that_write_side_by_side_lose_nothing_and_keep_the_bound(reports: Reports, database_url: str) -> None:
    order = {"a": (ONE, TWO), "b": (TWO, ONE)}
    running = [subprocess.Popen([sys.executable, "-c", COUNT, database_url, name, *keys]) for name, keys in order.items()]
    assert [process.wait(120) for process in running] == [0, 0]
    for api_key in (ONE, TWO):
        found = told(reports, api_key)
        assert found["upload", "shared.example"] == 2 * 800
        assert sum(found.values()) == 2 * 1600
        assert len([who for _, who in found if who != OTHERS]) == HOSTS


# ------------------------------------------------------------------------------------------------------ going and ending


def test_rows_go_with_their_application_and_none_come_after_it(reports: Reports, records: Records, database: Database) -> None:
    reports.add(ONE, "upload", "a.example")
    reports.add(TWO, "upload", "a.example")
    reports.flush()
    reports.add(ONE, "upload", "b.example")
    reports.add(TWO, "upload", "b.example")
    records.delete_application(ONE)
    reports.flush()
    assert reports.of(ONE) == []
    assert told(reports, TWO) == {("upload", "a.example"): 1, ("upload", "b.example"): 1}
    assert rows(database) == 2


def test_what_was_not_seen_for_thirty_days_goes(reports: Reports, clock: Clock) -> None:
    for late, who in ((0, "old.example"), (0, "both.example"), (KEPT / 1000, "both.example"), (0.002, "edge.example")):
        clock.now = NOW + late
        reports.add(ONE, "upload", who)
    reports.flush()
    clock.now = NOW + KEPT / 1000 + 0.001
    assert reports.forget() == 1
    assert {one.who for one in reports.of(ONE)} == {"both.example", "edge.example"}
    clock.now += 60
    assert reports.forget() == 0, "it is looked for once an hour"
    clock.now += 3600
    assert reports.forget() == 1
    assert {one.who for one in reports.of(ONE)} == {"both.example"}


def test_a_report_begins_anew_for_one_application(reports: Reports) -> None:
    reports.add(ONE, "upload", "a.example")
    reports.add(TWO, "upload", "a.example")
    reports.flush()
    reports.add(ONE, "upload", "b.example")
    assert reports.clear(ONE) == 1
    assert reports.clear(ONE) == 0
    reports.flush()
    assert (told(reports), told(reports, TWO)) == ({}, {("upload", "a.example"): 1})
    reports.add(ONE, "upload", "c.example")
    reports.flush()
    assert told(reports) == {("upload", "c.example"): 1}


def test_closing_writes_down_what_is_left(database: Database, clock: Clock, usage: Usage, records: Records) -> None:
    made = Reports(database, clock, usage, pause=3600)
    made.add(ONE, "upload", "a.example")
    made.close()
    assert told(made) == {("upload", "a.example"): 1}
    before = threading.active_count()
    made.add(ONE, "upload", "a.example")
    assert threading.active_count() == before, "nothing begins again after the end"


def test_the_thread_writes_down_by_itself(database: Database, clock: Clock, usage: Usage, records: Records) -> None:
    made = Reports(database, clock, usage, pause=0.01)
    made.add(ONE, "upload", "a.example")
    ends = time.monotonic() + 30
    while not made.of(ONE):
        assert time.monotonic() < ends, "the thread wrote nothing down"
    made.close()
    assert told(made) == {("upload", "a.example"): 1}


def test_a_database_that_is_away_is_a_line_in_the_log(
    reports: Reports, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE would_refuse RENAME TO elsewhere"))
    reports.add(ONE, "upload", "a.example")
    with caplog.at_level(logging.WARNING, "secure_delivery.engine"):
        reports._rounds.once()
    (line,) = caplog.messages
    assert line.startswith("who would be refused is not written down: ")
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO would_refuse"))


def test_a_killed_process_loses_only_what_was_not_written_down(reports: Reports, database: Database, database_url: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, database_url, ONE], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"counted\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert told(reports) == {("upload", "a.example"): 3}


def test_an_engine_reports_into_its_own_database_and_writes_down_when_it_ends(tmp_path: Path) -> None:
    settings = Settings.read({"data": str(tmp_path / "data")})
    engine = build(settings)
    application, _ = engine.records.create_application("test", reported=("upload",))
    engine.reports.add(application.api_key, "upload", "a.example")
    engine.close()
    engine = build(settings)
    assert [one.who for one in engine.reports.of(application.api_key)] == ["a.example"]
    assert [(one.name, one.label, one.value) for one in engine.figures.totals()] == [(WOULD_REFUSE, "upload", 1)]
    engine.close()
