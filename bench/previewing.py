"""Previews: each previewer beside the bare library, a job beside its previewer, two workers beside one, a thousand files.

Knows: rounds and ratios. Must not know: how a previewer works.

The bare call is what a program would write that trusts its files: open, draw the page at the size, write a JPEG. Ours is the
previewer with scaling and encoding, in the same process; the sandbox is measured apart.
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import samples
from measure import BENCH, CACHE, Effort, Row, Tick, in_turns, ratio, spread, tree

from secure_delivery.engine import build
from secure_delivery.engine.files import Target
from secure_delivery.engine.local_previews import opened
from secure_delivery.engine.page_work import PREVIEW, tasks
from secure_delivery.engine.preview_order import PreviewOrder, Size
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.media import MemoryFile
from secure_delivery.plugin.testing import SimpleWorkshop

NAME = "previewing"
_SIDE = 800


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return effort.load_rounds * len(samples.BARE) + effort.load_rounds + 5


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    CACHE.mkdir(exist_ok=True)
    rows = _bare(effort, tick)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        rows += _generator(folder, effort)
        tick()
        rows += _overhead(folder, effort, tick)
        rows += _two(folder, effort)
        tick()
        rows += _thousand(folder, effort)
        tick()
    return rows


def _bare(effort: Effort, tick: Tick) -> list[Row]:
    """Each previewer, and what its library takes alone."""
    known = tasks(load())
    rows = []
    for name, sample in samples.BARE.items():
        task = known.get(PREVIEW + sample.previewer)
        if task is None:
            continue
        data = sample.make()
        media = MemoryFile(data, sample.mimetype, sample.filename)
        for one in getattr(task, "providers", (task,)):
            one.warm()  # type: ignore[union-attr]
        size = [[_SIDE, 0, False, str(_SIDE)]]
        options = {
            "pages": "1", "sizes": size, "format": "jpg", "hint": (_SIDE, 0), "address": None, "most_pages": 1, "readers": (),
        }  # fmt: skip

        def ours(task: Any = task, media: MemoryFile = media, options: Any = options) -> float:
            began = time.process_time()
            with task.apply(media, options, SimpleWorkshop()).open() as stream:
                while stream.read(1 << 20):
                    pass
            return time.process_time() - began

        def theirs(sample: Any = sample, data: bytes = data) -> float:
            began = time.process_time()
            sample.bare(data, _SIDE)
            return time.process_time() - began

        ours(), theirs()
        taken = in_turns({"ours": ours, "theirs": theirs}, max(5, effort.load_rounds), tick)
        value, low, high = ratio(taken["theirs"], taken["ours"])
        told = {each: f"{statistics.median(taken[each]) * 1e3:.1f} ms" for each in taken}
        rows.append(
            Row(
                suite=NAME,
                name=f"{name}, page 1 at {_SIDE} px: speed / {sample.library} alone",
                value=value,
                low=low,
                high=high,
                ours=told["ours"],
                theirs=told["theirs"],
                at_least=0.9,
            )
        )
    return rows


def _generator(folder: Path, effort: Effort) -> list[Row]:
    """preview-generator on the families that both have, one file after the other; left out where it cannot be installed.

    Ours includes the confined processes; it calls libraries and programs as they are.
    """
    python = _installed()
    if python is None:
        return []
    source, target = folder / "shared", folder / "shared-out"
    source.mkdir()
    target.mkdir()
    rows = []
    for family, make in samples.SHARED.items():
        paths = []
        for number in range(max(3, effort.load_rounds)):
            paths.append(source / f"{number}-{family}")
            paths[-1].write_bytes(make(number))
        with opened(Settings(quiet=True), size=1) as previews:
            order = PreviewOrder(url="http://local/", sizes=(Size(width=_SIDE, height=_SIDE, name=str(_SIDE)),), format="jpg")
            previews.make(paths[0], order, target)  # decoders are warm
            ours = []
            for path in paths:
                began = time.perf_counter()
                assert previews.make(path, order, target).fault is None
                ours.append(time.perf_counter() - began)
        command = [str(python), str(BENCH / "peer_generator.py"), str(_SIDE), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            continue
        theirs = [float(line) for line in done.stdout.split()]
        value, low, high = ratio(theirs, ours)
        rows.append(
            Row(
                suite=NAME,
                name=f"{family}, page 1 into {_SIDE} px: files/s / preview-generator",
                value=value,
                low=low,
                high=high,
                ours=f"{statistics.median(ours) * 1e3:.0f} ms",
                theirs=f"{statistics.median(theirs) * 1e3:.0f} ms",
                at_least=1.5,
            )
        )
    return rows


def _installed() -> Path | None:
    """The interpreter of an environment with preview-generator in it, made now or earlier."""
    place = BENCH / ".preview-generator"
    python = place / "bin" / "python"
    if not python.exists():
        for command in (
            [sys.executable, "-m", "venv", str(place)],
            [str(python), "-m", "pip", "install", "--quiet", "preview-generator", "pillow"],
        ):
            if subprocess.run(command, capture_output=True).returncode:
                return None
    return python


def _overhead(folder: Path, effort: Effort, tick: Tick) -> list[Row]:
    """What a job takes besides its previewer: table, scratch folder, handing over, deleting. One at a time."""
    settings = Settings.read({"data": str(folder / "jobs"), "quiet": "true", "job_workers": "1"})
    engine = build(settings)
    application = engine.records.create_application("bench", storage="server")[0]
    with engine.files.begin(application, Target(filename="photo.jpg")) as upload:
        upload.write(samples.photo(400, 300))
        link = engine.files.add(application, upload)
    order = PreviewOrder(handle=link.handle, url="http://local/", sizes=(Size(width=64, name="64"),), format="jpg")
    engine.jobs.start()
    spent: list[float] = []
    try:
        for number in range(effort.load_rounds * 5 + 5):
            job, _ = engine.jobs.submit(application.api_key, "preview", order.plain())
            ends = time.monotonic() + 60
            while (found := engine.jobs.jobs.get(job.id)).purged is None and time.monotonic() < ends:
                time.sleep(0.001)
            assert found.state == "success", found.error
            assert found.result is not None
            if number >= 5:
                # From the record: begun to deleted, without what the previewer took.
                drawn = found.result["seconds"]["generate"] * 1000
                spent.append(float(found.purged or 0) - float(found.started or 0) - drawn)
            if number % 5 == 4:
                tick()
    finally:
        engine.close()
    value, low, high = spread(spent)
    return [
        Row(
            suite=NAME,
            name="a preview job of a small picture, SQLite at synchronous=FULL: besides the previewer",
            value=value,
            low=low,
            high=high,
            unit=" ms",
            ours=f"{value:.1f} ms",
            at_most=5,
        )
    ]


def _two(folder: Path, effort: Effort) -> list[Row]:
    """As many previews by one worker process and by two."""
    count = 48 if effort.rounds > 20 else 24
    values = {"data": str(folder / "two"), "quiet": "true", "job_workers": "1"}
    engine = build(Settings.read(values))
    application = engine.records.create_application("bench", storage="server")[0]
    with engine.files.begin(application, Target(filename="page.png")) as upload:
        upload.write(samples.drawing(3000, 2200))
        link = engine.files.add(application, upload)
    order = PreviewOrder(handle=link.handle, url="http://local/", sizes=(Size(width=_SIDE, name=str(_SIDE)),), format="png")
    environment = {**os.environ, **{PREFIX + name.upper(): value for name, value in values.items()}}
    command = [sys.executable, "-m", "secure_delivery", "worker", "--concurrency", "1"]

    def taken(workers: int) -> float:
        with ExitStack() as stack:
            running = [
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                )
                for _ in range(workers)
            ]
            for process in running:
                stack.callback(_end, process)
            drain(2 * workers)  # the processes are up, their decoders warm
            began = time.perf_counter()
            drain(count)
            return count / (time.perf_counter() - began)

    def drain(jobs: int) -> None:
        done = engine.jobs.jobs.counts().get("success", 0)
        for _ in range(jobs):
            engine.jobs.jobs.submit(application.api_key, "preview", order.plain())
        ends = time.monotonic() + 300
        while engine.jobs.jobs.counts().get("success", 0) < done + jobs:
            assert time.monotonic() < ends, "the workers do not end their jobs"
            time.sleep(0.01)

    try:
        rates = in_turns({"two": lambda: taken(2), "one": lambda: taken(1)}, max(2, effort.load_rounds // 3), lambda: None)
    finally:
        engine.close()
    value, low, high = ratio(rates["two"], rates["one"])
    told = {each: f"{statistics.median(rates[each]):.1f}/s" for each in rates}
    return [
        Row(
            suite=NAME,
            name="previews of a large drawing: two worker processes / one",
            value=value,
            low=low,
            high=high,
            ours=told["two"],
            theirs=told["one"],
            at_least=1.8,
        )
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _thousand(folder: Path, effort: Effort) -> list[Row]:
    """A thousand mixed files through one pool: memory of all processes after a hundred and at the end, what is left behind."""
    count = 1_000 if effort.rounds > 20 else 300
    source, target = folder / "mixed", folder / "out"
    source.mkdir()
    target.mkdir()
    kinds: Sequence[tuple[str, Callable[[], bytes]]] = samples.MIXED
    made = [(name, make()) for name, make in kinds]
    order = PreviewOrder(url="http://local/", sizes=(Size(width=200, name="200"),), format="jpg")
    before = set(tree(os.getpid()))
    sizes: dict[int, float] = {}
    began = time.perf_counter()
    with opened(Settings(quiet=True), size=2) as previews:
        for number in range(count):
            name, data = made[number % len(made)]
            path = source / f"{number}-{name}"
            path.write_bytes(data)
            found = previews.make(path, order, target)
            assert found.fault is None, found.fault
            path.unlink()
            for left in target.iterdir():
                left.unlink()
            if number in (count // 10, count - 1):
                sizes[number] = _resident(set(tree(os.getpid())) - before | {os.getpid()})
    spent = time.perf_counter() - began
    first, last = sizes[count // 10], sizes[count - 1]
    orphans = set(tree(os.getpid())) - before
    left = list(source.iterdir()) + list(target.iterdir())
    assert not orphans, f"processes were left: {orphans}"
    assert not left, f"files were left: {left}"
    return [
        Row(
            suite=NAME,
            name=f"{count:,} mixed files, no process and no file left: memory of all processes at the end / after a tenth",
            value=last / first,
            low=last / first,
            high=last / first,
            ours=f"{last:.0f} MB, {count / spent:.1f} files/s",
            theirs=f"{first:.0f} MB",
            at_most=1.1,
        )
    ]


def _resident(processes: set[int]) -> float:
    """MB of memory that these processes have for themselves."""
    pages = 0
    for process in processes:
        with suppress(OSError, ValueError):
            resident, shared = Path(f"/proc/{process}/statm").read_text().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * resource.getpagesize() / 1e6
