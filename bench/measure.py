"""How things are timed here: side by side, in turns, as ratios.

Knows: clocks, cores, medians. Must not know: what is measured.

A shared machine gets faster and slower by a third from one minute to the next. Two figures taken one after the other
therefore say nothing about each other; two taken in turns do. Every comparison here runs in short rounds, each contender
once per round and in another order each time, and what is reported is the median of the ratios *within* the rounds,
with their quartiles.
"""

from __future__ import annotations

import gc
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
CACHE = BENCH / ".cache"

Tick = Callable[[], None]


class UnavailableError(Exception):
    """A suite cannot run on this machine; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    `value` is what the target is about: a ratio (`unit` "x") or an absolute figure (`unit` "us", "MB"). `low` and `high`
    are its quartiles over the rounds. `ours` and `theirs` are medians with their unit, for orientation only.
    `at_most` or `at_least` is the target; neither means that the line is for information.
    """

    suite: str
    name: str
    value: float
    low: float
    high: float
    unit: str = "x"
    ours: str = ""
    theirs: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; `None` without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def target(self) -> str:
        """The target in words, or nothing."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to try: rounds of the timed loops, rounds and seconds of load, pictures per round; bytes of the large upload in
    MiB, uploads at once, rows of the large table of files."""

    rounds: int = 61
    load_rounds: int = 9
    load_seconds: int = 3
    pictures: int = 8
    megabytes: int = 1024
    uploads: int = 200
    rows: int = 1_000_000

    @classmethod
    def quick(cls) -> Effort:
        """Enough to see that everything runs, and roughly where it stands."""
        return cls(rounds=15, load_rounds=3, load_seconds=1, pictures=3, megabytes=256, rows=200_000)


def in_turns(contenders: Mapping[str, Callable[[], object]], rounds: int, tick: Tick) -> dict[str, list[float]]:
    """What each contender returned in each round, called in turns and in another order every round."""
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            taken[name].append(float(contenders[name]()))  # type: ignore[arg-type]
        tick()
    return taken


def timed(function: Callable[[], object], seconds: float = 0.01) -> Callable[[], float]:
    """A contender for `in_turns`: the mean time of one call in seconds, over a loop of about `seconds`.

    Time of the processor, not of the clock on the wall: what other processes take is not counted.
    """
    function()
    started = time.perf_counter()
    for _ in range(20):
        function()
    number = max(20, int(seconds / max(1e-9, (time.perf_counter() - started) / 20)))
    turns = range(number)

    def once() -> float:
        was_on = gc.isenabled()
        gc.disable()
        try:
            begun = time.process_time()
            for _ in turns:
                function()
            return (time.process_time() - begun) / number
        finally:
            if was_on:
                gc.enable()

    return once


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """The median of the ratios of each round, and their quartiles."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def in_us(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e6:.2f} us"


def in_rate(per_second: Sequence[float]) -> str:
    rate = statistics.median(per_second)
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.1f}/s"


# ------------------------------------------------------------------------------------------------------------ processes


def pinned(core: int) -> list[str]:
    """The beginning of a command line that keeps a process on one of our cores (counted from 0), where there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if core < len(cores) else []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def processor_time(pid: int) -> float:
    """Seconds of processor that a process and its children have used so far, in all their threads."""
    used = 0.0
    folder = Path("/proc") / str(pid) / "task"
    for task in folder.iterdir():
        try:
            used += int((task / "schedstat").read_text().split()[0]) / 1e9
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            continue
        used += sum(processor_time(int(child)) for child in children)
    return used


def tree(pid: int) -> list[int]:
    """A process and all of its descendants."""
    found = [pid]
    for task in (Path("/proc") / str(pid) / "task").glob("*/children"):
        try:
            found += [each for child in task.read_text().split() for each in tree(int(child))]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return found


def tree_time(pid: int) -> float:
    """Seconds of processor that a process and its descendants have used so far, those included that have ended since."""
    ticks = 0
    for each in tree(pid):
        try:
            fields = (Path("/proc") / str(each) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def tree_memory(pid: int) -> float:
    """Megabytes that a process and its descendants hold; what several share is counted once."""
    total = 0
    for each in tree(pid):
        try:
            lines = (Path("/proc") / str(each) / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def forget_peak(pid: int) -> float:
    """Begin to note anew the most memory that the processes of a tree hold; megabytes that they hold now."""
    held = 0.0
    for each in tree(pid):
        (Path("/proc") / str(each) / "clear_refs").write_text("5")
        held += _status(each, "VmRSS")
    return held


def peak(pid: int) -> float:
    """The most megabytes that each process of a tree has held since `forget_peak`, summed up."""
    return sum(_status(each, "VmHWM") for each in tree(pid))


def _status(pid: int, name: str) -> float:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


@contextmanager
def running(command: Sequence[str], *, port: int, environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """A server process for as long as the block lasts, waited for until it accepts connections. Gives its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 30
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(f"{' '.join(command[:6])} did not start; see {log.relative_to(BENCH.parent)}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
