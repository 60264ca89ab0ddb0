"""What the job engine costs, and what it keeps: beside a bare table, huey and Celery.

Knows: rounds and ratios. Must not know: how an engine is fed (`desks`), what a preview is (`previewing`).

Every engine ends as many jobs that do nothing; each commit of ours, of the table and of huey waits for the disk.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import desks
import sqlalchemy as sa
from desks import Desk, Table, until, worker
from measure import CACHE, Effort, Row, Tick, UnavailableError, in_rate, in_turns, ratio, spread

from secure_delivery.engine import tables

NAME = "jobs"
_MANY = 100_000


def _count(effort: Effort) -> int:
    return 2_000 if effort.rounds > 20 else 1_000


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return effort.load_rounds + 3


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    desks.install()
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        rows = _throughput(folder, effort, tick)
        rows += _pick_up(folder, effort)
        tick()
        rows += _crowded(folder, effort)
        tick()
        rows += _killed(folder)
        tick()
    return rows


def _throughput(folder: Path, effort: Effort, tick: Tick) -> list[Row]:
    count = _count(effort)
    rounds = iter(range(10_000))

    def ours() -> float:
        desk = Desk(folder / f"ours-{next(rounds)}")
        try:
            began = time.perf_counter()
            desk.pool.start()
            for _ in range(count):
                desk.submit()
            until(lambda: desk.ended() >= count)
            return count / (time.perf_counter() - began)
        finally:
            desk.close()

    def table() -> float:
        bare = Table(folder / f"table-{next(rounds)}.sqlite")
        began = time.perf_counter()
        bare.run(count)
        spent = time.perf_counter() - began
        bare.close()
        return count / spent

    with ExitStack() as stack:
        contenders: dict[str, Callable[[], float]] = {"ours": ours, "table": table}
        contenders["huey"] = stack.enter_context(_Huey(folder / "huey", count))
        celery = _celery(stack, folder, count)
        contenders |= celery
        taken = in_turns(contenders, effort.load_rounds, tick)
    value, low, high = spread(taken["ours"])
    rows = [
        Row(
            suite=NAME,
            name=f"SQLite, synchronous=FULL: {count:,} empty jobs, submitted and ended by one process",
            value=value,
            low=low,
            high=high,
            unit="/s",
            ours=in_rate(taken["ours"]),
            at_least=800,
        )
    ]
    for name, target in (("table", None), ("huey", None)):
        value, low, high = ratio(taken["ours"], taken[name])
        against = {"table": "a bare leased table, one thread", "huey": "huey on SQLite, durable"}[name]
        rows.append(
            Row(
                suite=NAME,
                name=f"empty jobs/s / {against}",
                value=value,
                low=low,
                high=high,
                ours=in_rate(taken["ours"]),
                theirs=in_rate(taken[name]),
                at_least=target,
            )
        )
    if "ours behind Celery" in taken:
        value, low, high = ratio(taken["ours behind Celery"], taken["Celery"])
        rows.append(
            Row(
                suite=NAME,
                name="Celery and Redis as the queue: empty jobs/s / a plain Celery task",
                value=value,
                low=low,
                high=high,
                ours=in_rate(taken["ours behind Celery"]),
                theirs=in_rate(taken["Celery"]),
                at_least=0.5,
            )
        )
    return rows


class _Huey:
    """A contender: a consumer in a process of its own, tasks told by this one."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        folder.mkdir()

    def __enter__(self) -> Callable[[], float]:
        import os

        os.environ["BENCH_FOLDER"] = str(self._folder)
        sys.path.append(str(desks.PEERS))
        import peer_huey

        self._tell = peer_huey.nothing
        self._worker = worker(
            ["huey.bin.huey_consumer", "peer_huey.huey", "-w", "4", "-q"], {"BENCH_FOLDER": str(self._folder)}, lambda: True
        )
        self._worker.__enter__()
        return self.once

    def once(self) -> float:
        done = _marks(self._folder)
        began = time.perf_counter()
        for number in range(self._count):
            self._tell(str(number))
        until(lambda: _marks(self._folder) >= done + self._count)
        return self._count / (time.perf_counter() - began)

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(None, None, None)


def _marks(folder: Path) -> int:
    try:
        return (folder / "done").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _celery(stack: ExitStack, folder: Path, count: int) -> dict[str, Callable[[], float]]:
    """A plain task on Redis, and our table with Celery as its queue; nothing where there is no Redis."""
    try:
        from bench_celery import behind, plain
    except ImportError:
        return {}
    try:
        return {
            "Celery": stack.enter_context(plain(folder, count)),
            "ours behind Celery": stack.enter_context(behind(folder, count)),
        }
    except UnavailableError:
        return {}


def _pick_up(folder: Path, effort: Effort) -> list[Row]:
    """How long a job waits that comes to an idle worker, in this process and in another one on the same file."""
    desk = Desk(folder / "idle")
    desk.pool.start()
    try:
        waits = []
        for _ in range(300 if effort.rounds > 20 else 100):
            job = desk.submit()
            until(lambda job=job: desk.jobs.get(job).state == "success")
            found = desk.jobs.get(job)
            waits.append(float((found.started or 0) - found.created))
            time.sleep(0.01)
    finally:
        desk.close()
    ranked = sorted(waits)
    return [
        Row(
            suite=NAME,
            name="a job that comes to an idle worker: 99 of 100 are begun within",
            value=ranked[int(len(ranked) * 0.99)],
            low=ranked[len(ranked) // 4],
            high=ranked[len(ranked) * 3 // 4],
            unit=" ms",
            ours=f"{statistics.median(waits):.1f} ms",
            at_most=100,
        )
    ]


def _crowded(folder: Path, effort: Effort) -> list[Row]:
    """Whether jobs are taken as fast from a hundred thousand as from a thousand."""
    places = {}
    for name, count in (("few", 1_000), ("many", _MANY)):
        desk = Desk(folder / name)
        row = {
            "application": desk.application, "kind": "nothing", "state": "queued", "step": "queued", "urgency": 100,
            "cost": "light", "run_at": 0, "attempts": 0, "fence": 0, "cancelling": 0, "told": 0, "created": 0,
        }  # fmt: skip
        with desk.engine.database.write() as connection:
            for start in range(0, count, 10_000):
                rows = [{**row, "id": str(uuid.uuid4())} for _ in range(min(10_000, count - start))]
                connection.execute(sa.insert(tables.job), rows)
        places[name] = desk

    def claimed(desk: Desk) -> Callable[[], float]:
        def once() -> float:
            began = time.perf_counter()
            taken = 0
            for _ in range(40):
                taken += len(desk.leases.claim("bench", 1))
            assert taken == 40, "there is enough for every round"
            return 40 / (time.perf_counter() - began)

        return once

    try:
        taken = in_turns({name: claimed(desk) for name, desk in places.items()}, min(15, effort.rounds), lambda: None)
    finally:
        for desk in places.values():
            desk.close()
    value, low, high = ratio(taken["many"], taken["few"])
    return [
        Row(
            suite=NAME,
            name=f"jobs taken, one at a time: {_MANY:,} queued / 1,000 queued",
            value=value,
            low=low,
            high=high,
            ours=in_rate(taken["many"]),
            theirs=in_rate(taken["few"]),
            at_least=0.8,
        )
    ]


# -------------------------------------------------------------------------------------------------- what kill -9 loses


def _killed(folder: Path) -> list[Row]:
    """How many of twenty jobs that run or wait are ever done after the worker was killed -9 and started again."""
    rows = []
    for name, lost in _losses(folder).items():
        rows.append(
            Row(
                suite=NAME,
                name=f"{name}: of 8 running jobs, lost when the worker is killed -9",
                value=float(lost),
                low=float(lost),
                high=float(lost),
                unit=" lost",
                at_most=0 if name == "ours" else None,
            )
        )
    return rows


def _losses(folder: Path) -> dict[str, int]:
    from losses import celery, huey, ours

    found = {"ours": ours(folder / "killed-ours")}
    for name, lose in (("huey, durable", huey), ("Celery and Redis, defaults", celery)):
        try:
            found[name] = lose(folder / f"killed-{lose.__name__}")
        except (UnavailableError, TimeoutError, subprocess.SubprocessError):
            continue
    return found
