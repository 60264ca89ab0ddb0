"""Queues for the tests of their suite: two honest ones, and others that break the contract in single ways.

They are made in a process of their own, by the names of the functions at the end.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Threads:
    """An honest queue for one process: threads that take ids from a list."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.told = threading.Event()

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        if delay:
            timer = threading.Timer(delay, self.waiting.put, (job_id,))
            timer.daemon = True
            timer.start()
        else:
            self.waiting.put(job_id)

    def work(self, run: Callable[[str], None]) -> None:
        while (job_id := self.waiting.get()) is not None:
            try:
                run(job_id)
            except Exception:
                continue

    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.told.set())
        workers = [threading.Thread(target=self.work, args=(run,), daemon=True) for _ in range(concurrency)]
        for worker in workers:
            worker.start()
        self.told.wait()
        for _ in workers:
            self.waiting.put(None)
        for worker in workers:
            worker.join()


class Folder(Threads):
    """An honest queue for many processes: a file for each id, which whoever renames it may run."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = Path(place)
        self.place.mkdir(exist_ok=True)

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        new = self.place / f".{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        new.write_text(str(time.time() + delay))
        new.rename(self.place / f"{job_id}.job")

    def work(self, run: Callable[[str], None]) -> None:
        while not self.told.wait(0.01):
            for found in sorted(self.place.glob("*.job")):
                try:
                    if float(found.read_text()) > time.time():
                        continue
                    found.rename(found.with_suffix(f".{threading.get_ident()}"))
                except OSError:
                    continue
                try:
                    run(found.stem)
                except Exception:
                    continue


class Silent:
    """Only announces."""

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Light(Threads):
    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        if cost == "light":
            super().announce(job_id, cost=cost, delay=delay)


class Shouting(Threads):
    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        super().announce(job_id if job_id.startswith("ready") else job_id.upper(), cost=cost, delay=delay)


class Lossy(Threads):
    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        if not job_id.endswith("7"):
            super().announce(job_id, cost=cost, delay=delay)


class Greedy(Threads):
    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        super().serve(run, concurrency=concurrency + 1)


class Single(Threads):
    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        super().serve(run, concurrency=1)


class Fragile(Threads):
    def work(self, run: Callable[[str], None]) -> None:
        while (job_id := self.waiting.get()) is not None:
            try:
                run(job_id)
            except Exception:
                return


class Hasty(Threads):
    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        super().announce(job_id, cost=cost)


class Once(Threads):
    """Believes that an id that came twice is a mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[str] = set()

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        if job_id in self.known:
            raise ValueError(f"{job_id} was announced before")
        self.known.add(job_id)
        super().announce(job_id, cost=cost, delay=delay)


class Abandoning(Threads):
    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        for _ in range(concurrency):
            threading.Thread(target=self.work, args=(run,), daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.told.set())
        self.told.wait()


class Dying(Threads):
    """Leaves signals to the system."""

    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        for _ in range(concurrency):
            threading.Thread(target=self.work, args=(run,), daemon=True).start()
        self.told.wait()


class Stubborn(Threads):
    """Hears nothing."""

    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        for _ in range(concurrency):
            threading.Thread(target=self.work, args=(run,), daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self.told.wait()


def threads(settings: Mapping[str, Any]) -> Any:
    return Threads()


def folder(settings: Mapping[str, Any]) -> Any:
    return Folder(settings["place"])


def broken(settings: Mapping[str, Any]) -> Any:
    return globals()[settings["kind"]]()
