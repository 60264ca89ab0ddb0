"""Usage figures: nothing that was counted is lost or counted twice, on both kinds of database and from several processes."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from secure_delivery.engine import build, tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.figures import NAMES, REQUESTS, Figure, Figures, Stored, starts
from secure_delivery.engine.health import WAITING, depth, health, process
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.usage import DAY_MS, DAYS_KEPT, HOUR_MS, HOURS_KEPT, Usage
from secure_delivery.plugin.protocols import Event

NOON = dt.datetime(2026, 3, 15, 12, 30, tzinfo=dt.UTC).timestamp()
KEY = ("Aone", REQUESTS, "delivery")

#: Counts the same keys as every other such process, in another order, and writes them down again and again.
COUNT = """
import sys
from secure_delivery.engine.database import Database
from secure_delivery.engine.usage import Usage
database = Database(sys.argv[1])
usage = Usage(database, lambda: float(sys.argv[2]))
for turn in range(20):
    for number in range(30) if sys.argv[3] == "up" else reversed(range(30)):
        usage.add((f"A{number}", "requests", "delivery"))
    usage.flush()
database.close()
"""
#: Writes down 3, counts 4 more, says so and waits to be killed.
KILLED = """
import sys, time
from secure_delivery.engine.database import Database
from secure_delivery.engine.usage import Usage
usage = Usage(Database(sys.argv[1]), time.time)
usage.add(("Aone", "requests", "delivery"), 3)
usage.flush()
usage.add(("Aone", "requests", "delivery"), 4)
print("counted", flush=True)
time.sleep(60)
"""


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(database: Database, clock: Clock) -> Usage:
    return Usage(database, clock)


def total(database: Database) -> int:
    return sum(figure.value for figure in Figures(database).totals())


def test_what_is_counted_is_of_its_hour_its_day_and_of_ever(usage: Usage, database: Database) -> None:
    usage.add(KEY)
    usage.add(KEY, 4)
    assert usage.flush() == 1
    with database.read() as connection:
        found = sorted(connection.execute(sa.select(tables.figure)).all())
    day, hour = int(NOON * 1000) // DAY_MS * DAY_MS, int(NOON * 1000) // HOUR_MS * HOUR_MS
    assert found == [("day", day, *KEY, 5), ("ever", 0, *KEY, 5), ("hour", hour, *KEY, 5)]


def test_writing_down_twice_counts_once_and_nothing_new_writes_nothing(usage: Usage, database: Database) -> None:
    usage.add(KEY, 2)
    assert (usage.flush(), usage.flush()) == (1, 0)
    usage.add(KEY, 3)
    assert usage.flush() == 1
    assert total(database) == 5


def test_threads_that_count_while_others_write_down_lose_nothing(usage: Usage, database: Database) -> None:
    over = threading.Event()

    def count(name: str) -> None:
        for _ in range(20_000):
            usage.add(KEY)
            usage.add(("", REQUESTS, name), 2)

    def write() -> None:
        while not over.is_set():
            usage.flush()

    counting = [threading.Thread(target=count, args=(f"kind{number}",)) for number in range(3)]
    writing = [threading.Thread(target=write) for _ in range(2)]
    for thread in counting + writing:
        thread.start()
    for thread in counting:
        thread.join()
    over.set()
    for thread in writing:
        thread.join()
    usage.flush()
    assert total(database) == 3 * 20_000 * 3


def test_threads_that_have_ended_leave_their_counts_and_nothing_else(usage: Usage, database: Database) -> None:
    for _ in range(50):
        thread = threading.Thread(target=usage.add, args=(KEY,))
        thread.start()
        thread.join()
    usage.flush()
    assert total(database) == 50
    assert usage._sheets == []


def test_two_processes_that_count_the_same_at_once_add_up(database: Database, database_url: str) -> None:
    argv = [sys.executable, "-c", COUNT, database_url, str(NOON)]
    running = [subprocess.Popen([*argv, way]) for way in ("up", "down")]
    assert [one.wait(120) for one in running] == [0, 0]
    found = Figures(database).series("hour", since=NOON - 3600, until=NOON + 1, each=True)
    assert {figure.application: figure.value for figure in found} == {f"A{number}": 40 for number in range(30)}


def test_a_killed_process_loses_only_what_it_had_not_written_down(database: Database, database_url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, database_url], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "counted\n"
        killed.send_signal(signal.SIGKILL)
    assert total(database) == 3


def test_a_database_that_fails_for_a_while_costs_no_count(usage: Usage, database: Database) -> None:
    usage.add(KEY, 7)
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE figure RENAME TO away"))
    with pytest.raises(SQLAlchemyError):
        usage.flush()
    usage.add(KEY)
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO figure"))
    usage.flush()
    assert total(database) == 8


def test_closing_writes_down_what_is_left(database: Database, clock: Clock) -> None:
    usage = Usage(database, clock, pause=3600)
    usage.start()
    usage.start()
    usage.add(KEY)
    usage.close()
    usage.close()
    assert total(database) == 1


def test_the_thread_writes_down_by_itself(database: Database, clock: Clock) -> None:
    usage = Usage(database, clock, pause=0.01)
    usage.add(KEY)
    written = threading.Event()

    def watch() -> None:
        while not total(database):
            pass
        written.set()

    usage.start()
    threading.Thread(target=watch, daemon=True).start()
    assert written.wait(30)
    usage.close()


def test_hours_go_after_ninety_days_and_days_after_two_years_and_ever_stays(
    usage: Usage, database: Database, clock: Clock
) -> None:
    def periods() -> list[str]:
        with database.read() as connection:
            return sorted(connection.execute(sa.select(tables.figure.c.period)).scalars())

    usage.add(KEY)
    usage.flush()
    clock.now = NOON + HOURS_KEPT / 1000 - 3600
    assert usage.forget() == 0 and periods() == ["day", "ever", "hour"]
    clock.now = NOON + HOURS_KEPT / 1000 + 3600
    assert usage.forget() == 1 and periods() == ["day", "ever"]
    assert usage.forget() == 0, "once an hour is enough"
    clock.now = NOON + DAYS_KEPT / 1000 + 86_400
    assert usage.forget() == 1 and periods() == ["ever"]


def test_series_are_of_one_application_of_each_or_of_all_and_months_are_sums_of_days(
    usage: Usage, database: Database, clock: Clock
) -> None:
    for days, application in ((0, "Aone"), (0, "Atwo"), (1, "Aone"), (20, "Aone")):
        clock.now = NOON + days * 86_400
        usage.add((application, REQUESTS, "delivery"), 10 + days)
        usage.flush()
    figures = Figures(database)
    midnight = int(NOON) // 86_400 * 86_400
    day, march = midnight, int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp())
    april = int(dt.datetime(2026, 4, 1, tzinfo=dt.UTC).timestamp())
    window = {"since": march, "until": NOON + 30 * 86_400}
    assert figures.series("day", **window) == [
        Figure(day, "", *KEY[1:], 20), Figure(day + 86_400, "", *KEY[1:], 11), Figure(day + 20 * 86_400, "", *KEY[1:], 30),
    ]  # fmt: skip
    assert figures.series("month", **window) == [Figure(march, "", *KEY[1:], 31), Figure(april, "", *KEY[1:], 30)]
    assert figures.series("month", application="Atwo", **window) == [Figure(march, "Atwo", *KEY[1:], 10)]
    assert [figure.application for figure in figures.series("month", each=True, **window)] == ["Aone", "Atwo", "Aone"]
    assert figures.series("hour", since=NOON - 1800, until=NOON) == [Figure(int(NOON) - 1800, "", *KEY[1:], 20)]
    assert figures.series("hour", application="Anobody", **window) == []
    assert figures.totals() == [Figure(0, "", *KEY[1:], 61)]


def test_times_of_a_plot_are_whole_hours_days_and_months_across_years() -> None:
    now = dt.datetime(2026, 2, 10, 5, 59, tzinfo=dt.UTC).timestamp()

    def told(by: str, count: int) -> list[str]:
        return [dt.datetime.fromtimestamp(at, dt.UTC).strftime("%y-%m-%d %H:%M") for at in starts(by, count, now)]  # type: ignore[arg-type]

    assert told("hour", 7)[0] == "26-02-09 23:00" and told("hour", 7)[-1] == "26-02-10 05:00"
    assert told("day", 11)[:2] == ["26-01-31 00:00", "26-02-01 00:00"] and told("day", 11)[-1] == "26-02-10 00:00"
    assert told("month", 4) == ["25-11-01 00:00", "25-12-01 00:00", "26-01-01 00:00", "26-02-01 00:00"]


def test_figures_outlive_their_application_so_that_sums_never_shrink(usage: Usage, database: Database) -> None:
    with database.write() as connection:
        row = {"api_key": "Aone", "name": "n", "settings": {}, "created": 0}
        connection.execute(sa.insert(tables.application).values(**row))
        stored = {"application": "Aone", "storage": "local", "files": 2, "bytes": 300}
        connection.execute(sa.insert(tables.usage).values(**stored))
    usage.add(KEY)
    usage.flush()
    assert Figures(database).stored() == [Stored("Aone", 2, 300)]
    with database.write() as connection:
        connection.execute(sa.delete(tables.application))
    assert total(database) == 1
    assert Figures(database).stored() == []


def test_an_engine_counts_webhooks_and_is_healthy(tmp_path: Path) -> None:
    engine = build(Settings.read({"data": str(tmp_path / "data"), "webhook_allow": ["127.0.0.1"], "webhook_delays": [9]}))
    try:
        application = engine.records.create_application("shop")[0]
        endpoint, _ = engine.webhooks.endpoints.add(application.api_key, "http://127.0.0.1:80/nobody-is-here")
        engine.webhooks.on_event(Event(name="fp.delete", application=application.api_key, data={"handle": "HANDLE"}))
        waiting = [one.id for one in engine.webhooks.log.page(application=application.api_key)]
        assert [engine.webhooks.deliver(name) for name in waiting] == [False]
        assert engine.webhooks.test(application.api_key, endpoint.id).finished is not None
        engine.usage.flush()
        assert {(one.name, one.label): one.value for one in engine.figures.totals()} == {
            ("webhooks", "failed"): 1,
            ("webhooks", "given_up"): 1,
        }
        now = health(engine)
        assert set(now.pools) == {"transformations", "jobs", "video"}
        assert now.pools["jobs"].running is False and now.pools["jobs"].layers == {}
        assert now.plugins["builtin"] is True
    finally:
        engine.close()


def test_the_depth_of_the_queue_is_of_jobs_that_have_not_ended(database: Database) -> None:
    assert depth(database) == dict.fromkeys(WAITING, 0)


def test_a_process_knows_its_memory_and_time() -> None:
    now = process()
    assert now.resident is not None and now.resident > 2**20
    assert now.files is not None and now.files > 2
    assert now.cpu > 0


def test_every_figure_says_what_it_counts() -> None:
    assert all(len(says) > 10 for says in NAMES.values())
