"""Thumbnails of a camera picture, in several forms, and a longer chain on one core: our transformations next to sharp.

Knows: two worker processes, their memory, npm. Must not know: how either decodes.

Both decode from the file and encode into memory, JPEG quality 80, 300 pixels wide, each in one process on the same core,
in turns. Memory is what the first picture adds, at its peak, to a process that has only imported its libraries.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from measure import BENCH, Effort, Row, Tick, UnavailableError, in_rate, in_turns, pinned, ratio, spread
from picture import FORMS, converted, mark, photograph, thumbnail

NAME = "images"
NODE = BENCH / ".node"
SHARP = "sharp@0.35"
WIDTH = 300
_OURS = [sys.executable, str(BENCH / "worker.py")]
_SHARP = ["node", str(BENCH / "sharp_worker.mjs"), str(NODE)]


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return effort.load_rounds * (2 + len(FORMS)) + 3


class Worker:
    """A process that makes pictures smaller, on the first core."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [*pinned(0), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.name = Path(command[1]).name
        self.walls: list[float] = []
        self._line()

    def warm_up(self) -> None:
        """Make what is only loaded with the first picture be loaded."""
        self.ask(2, thumbnail(), 32)

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            said = self.process.stderr.read().strip().splitlines()
            raise UnavailableError(f"{self.name}: {said[-1] if said else 'ended'}")
        return line

    def ask(self, count: int, path: Path, work: int | Path) -> float:
        """Pictures per second of processor time: the speed of one core, without what others took of it.

        Notes in `walls` the pictures per second of the clock on the wall.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count} {path} {work}\n")
        self.process.stdin.flush()
        wall, seconds, size = self._line().split()
        if int(size) < 200:
            raise RuntimeError("the result is no picture")
        self.walls.append(count / float(wall))
        return count / float(seconds)

    def peak(self, path: Path) -> float:
        """Megabytes that one picture adds at its peak, by the kernel's own mark."""
        folder = Path("/proc") / str(self.process.pid)
        (folder / "clear_refs").write_text("5")  # 5 sets the high-water mark back to what is resident now
        before = self._status(folder, "VmRSS")
        self.ask(1, path, WIDTH)
        return (self._status(folder, "VmHWM") - before) / 1024

    @staticmethod
    def _status(folder: Path, name: str) -> int:
        lines = (folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def install_sharp() -> None:
    """sharp with its own libvips."""
    install("sharp", SHARP)


def install(name: str, wanted: str) -> None:
    """A package of the npm registry, into `bench/.node`. Done once."""
    if (NODE / "node_modules" / name).exists():
        return
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    NODE.mkdir(exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix", str(NODE), wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"npm could not install {name}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")


def _peaks(command: Sequence[str], path: Path) -> float:
    worker = Worker(command)
    try:
        return worker.peak(path)
    finally:
        worker.close()


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    install_sharp()
    path = photograph()
    peaks: dict[str, list[float]] = {"ours": [], "sharp": []}
    for _ in range(3):
        peaks["ours"].append(_peaks(_OURS, path))
        peaks["sharp"].append(_peaks(_SHARP, path))
        tick()
    ours, sharp = Worker(_OURS), Worker(_SHARP)
    try:
        for worker in (ours, sharp):
            worker.warm_up()
            worker.ask(2, path, WIDTH)
            worker.walls.clear()
        taken = in_turns(
            {
                "ours": lambda: ours.ask(effort.pictures, path, WIDTH),
                "sharp": lambda: sharp.ask(effort.pictures, path, WIDTH),
            },
            effort.load_rounds,
            tick,
        )
        walls = _speed("the same by the clock on the wall / sharp", ours.walls, sharp.walls)
        others = _forms(ours, sharp, effort, tick)
    finally:
        ours.close()
        sharp.close()
    name = f"300 px from 12 megapixels ({path.stat().st_size / 1e6:.1f} MB JPEG), one core / sharp"
    middle, least, most = spread(peaks["ours"])
    other, _, _ = spread(peaks["sharp"])
    return [
        _speed(name, taken["ours"], taken["sharp"], at_least=1.0),
        walls,
        *others,
        Row(
            suite=NAME,
            name="memory the first such picture adds",
            value=middle,
            low=least,
            high=most,
            unit="MB",
            ours=f"{middle:.0f} MB",
            theirs=f"{other:.0f} MB",
            at_most=40,
        ),
    ]


def _forms(ours: Worker, sharp: Worker, effort: Effort, tick: Tick) -> list[Row]:
    """Thumbnails of the other forms, and the chain of several steps."""
    count = max(1, effort.pictures // 4)  # these take several times as long
    asked: list[tuple[str, Path, int | Path, float]] = [
        (f"{WIDTH} px from 12 megapixels of {form} / sharp", converted(form), WIDTH, 1.0) for form in FORMS
    ]
    asked.append(("crop, resize, rotate, watermark, WebP / sharp", photograph(), mark(), 1.2))
    rows = []
    for name, path, work, wanted in asked:
        for worker in (ours, sharp):
            worker.ask(1, path, work)
        contenders = {
            "ours": lambda path=path, work=work: ours.ask(count, path, work),
            "sharp": lambda path=path, work=work: sharp.ask(count, path, work),
        }
        taken = in_turns(contenders, effort.load_rounds, tick)
        rows.append(_speed(name, taken["ours"], taken["sharp"], at_least=wanted))
    return rows


def _speed(name: str, ours: list[float], sharp: list[float], at_least: float | None = None) -> Row:
    value, low, high = ratio(ours, sharp)
    return Row(
        suite=NAME,
        name=name,
        value=value,
        low=low,
        high=high,
        ours=in_rate(ours),
        theirs=in_rate(sharp),
        at_least=at_least,
    )
