"""The conformance suite of queues, and the process in which it lets one serve.

Knows: the protocols of queues, processes, signals. Must not know: any implementation, what a job is.

    class TestMine(QueueContract):
        queue = "mine"                          # as registered; or "module:function", or "file.py:function"
        settings = {"mine": {"broker": "..."}}  # the tables [plugins.NAME]; what a function gets as its argument

Workers of a queue listen to signals, so each test serves in a process of its own. What is announced is announced there, by
another thread; with `shared` also from here. The suite waits for something to happen: `patience` is how long that may take on a
slow machine before it counts as never.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

from . import manager
from .protocols import Queue, Serving
from .testing_helpers import claim

_READY = "ready-"  # ids that only ask whether anybody serves yet
_GONE = "gone"  # what is heard of a process that has ended
_START = 30.0  # seconds that a process may take to load everything and serve, at the least
_GLANCE = 0.5  # seconds in which a worker that drops what it holds would have done so


def made(queue: str, settings: Mapping[str, Any]) -> Any:
    """The queue that a suite names: what a function of a module or file makes of the settings, or a registered one."""
    place, colon, name = queue.rpartition(":")
    if not colon:
        return manager.load(settings=settings).queues[queue]
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, name)(settings)


# ------------------------------------------------------------------------------------------------------------ the suite


class QueueContract:
    """What every queue holds that serves. Subclass it as `Test...`; say which queue, with which settings.

    `shared`: an announcement of one process reaches a worker of another. `make_settings` may be overridden for settings that
    need a folder of the test's own.
    """

    queue: str
    settings: ClassVar[Mapping[str, Any]] = {}
    shared = False
    patience = 30.0

    def make_settings(self, tmp_path: Path) -> Mapping[str, Any]:
        """The settings of one test."""
        return self.settings

    @contextmanager
    def _serving(self, tmp_path: Path, concurrency: int = 2) -> Iterator[_Worker]:
        with _worker(self.queue, self.make_settings(tmp_path), concurrency, self.patience) as worker:
            worker.begin()
            yield worker

    def test_it_announces_and_serves(self, tmp_path: Path) -> None:
        with _worker(self.queue, self.make_settings(tmp_path), 1, self.patience) as worker:
            first = worker.next("made")
            claim(first["announces"], "it is a Queue")
            claim(first["serves"], "it is Serving")

    def test_an_announced_id_is_run(self, tmp_path: Path) -> None:
        with self._serving(tmp_path) as worker:
            for cost in ("light", "heavy"):
                worker.announce(f"one-{cost}", cost=cost)
                worker.next("ended", f"one-{cost}")
            claim(worker.ids() <= {"one-light", "one-heavy"}, "run gets the ids that were announced, and no others")

    def test_many_ids_are_all_run(self, tmp_path: Path) -> None:
        with self._serving(tmp_path, concurrency=4) as worker:
            many = [f"many-{number:03}" for number in range(200)]
            for number, one in enumerate(many):
                worker.announce(one, cost="heavy" if number % 3 else "light")
            for one in many:
                worker.next("ended", one)
            claim(worker.ids() == set(many), "run gets each of the ids, and no others")

    def test_as_many_run_at_once_as_may_and_no_more(self, tmp_path: Path) -> None:
        with self._serving(tmp_path, concurrency=2) as worker:
            held = [f"wait-{number}" for number in range(6)]
            for one in held:
                worker.announce(one)
            open_ = set(held)
            for count in range(len(held)):
                while len(worker.running()) < min(2, len(held) - count):
                    worker.next("began")
                one = sorted(worker.running())[0]
                worker.release(one)
                worker.next("ended", one)
                open_.discard(one)
            claim(not open_, "each is run")
            claim(worker.most <= 2, "no more than concurrency run at the same time")

    def test_a_run_that_raises_stops_no_other(self, tmp_path: Path) -> None:
        with self._serving(tmp_path) as worker:
            for number in range(5):
                worker.announce(f"raise-{number}")
                worker.next("raised", f"raise-{number}")
            for number in range(5):
                worker.announce(f"after-{number}")
            for number in range(5):
                worker.next("ended", f"after-{number}")

    def test_a_delay_is_kept(self, tmp_path: Path) -> None:
        with self._serving(tmp_path) as worker:
            announced = worker.announce("late", delay=1.0)
            worker.announce("soon")
            worker.next("ended", "soon")
            began = worker.next("began", "late")
            # A lower bound: a slow machine cannot break it. Brokers count in whole milliseconds.
            claim(began["at"] - announced >= 0.99, "what has a delay begins no earlier")

    def test_the_same_id_may_be_announced_twice(self, tmp_path: Path) -> None:
        with self._serving(tmp_path) as worker:
            for _ in range(2):
                worker.announce("twice")
            worker.next("ended", "twice")
            worker.announce("last")
            worker.next("ended", "last")

    def test_told_to_stop_it_finishes_what_it_began(self, tmp_path: Path) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with self._serving(tmp_path) as worker:
                for one in ("wait-a", "wait-b"):
                    worker.announce(one)
                    worker.next("began", one)
                worker.stop(number)
                claim(worker.quiet(), f"{number.name} does not end a worker that has something to finish")
                for one in ("wait-a", "wait-b"):
                    worker.release(one)
                worker.next("returned")
                claim(worker.finished() >= {"wait-a", "wait-b"}, f"{number.name}: serve returns when what it began is over")
                claim(worker.status() == 0, f"{number.name}: the process ends by itself, and well")

    def test_told_to_stop_while_idle_it_returns(self, tmp_path: Path) -> None:
        with self._serving(tmp_path) as worker:
            worker.stop(signal.SIGTERM)
            worker.next("returned")
            claim(worker.status() == 0, "the process ends by itself, and well")

    def test_an_announcement_of_another_process_arrives(self, tmp_path: Path) -> None:
        if not self.shared:
            return
        with self._serving(tmp_path) as worker:
            queue = made(self.queue, self.make_settings(tmp_path))
            for number in range(10):
                queue.announce(f"elsewhere-{number}", cost="light")
            for number in range(10):
                worker.next("ended", f"elsewhere-{number}")
            if callable(close := getattr(queue, "close", None)):
                close()


@contextmanager
def _worker(queue: str, settings: Mapping[str, Any], concurrency: int, patience: float) -> Iterator[_Worker]:
    command = [sys.executable, "-m", __name__, queue, json.dumps(settings), str(concurrency)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # noqa: S603 - this module, in a process of its own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, env=environment, start_new_session=True
        )
        try:
            yield _Worker(process, patience)
        except AssertionError as error:
            complaints.seek(0)
            said = complaints.read()[-2_000:].decode("utf-8", "replace")
            raise AssertionError(f"{error}\n{said}".strip()) from error
        finally:
            process.kill()
            process.communicate()


class _Worker:
    """A process that serves: what it is told, and what it tells."""

    def __init__(self, process: subprocess.Popen[bytes], patience: float) -> None:
        self._process = process
        self._patience = patience
        self._heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._told: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        output = self._process.stdout
        for line in output if output is not None else ():
            self._heard.put(json.loads(line))
        self._heard.put({"what": _GONE, "id": ""})

    def begin(self) -> None:
        """Wait until it serves: ids that stand for nothing are announced until one of them is run."""
        end = time.monotonic() + max(_START, self._patience)
        number = 0
        while not any(message["id"].startswith(_READY) for message in self._told if message["what"] == "ended"):
            claim(time.monotonic() < end and not self._of(_GONE), "serve takes ids")
            self.announce(f"{_READY}{number}")
            number += 1
            self._hear(1.0)

    def announce(self, one: str, *, cost: str = "light", delay: float = 0.0) -> float:
        """Have it announce an id; the moment before, on the clock of both processes."""
        at = time.monotonic()
        self._say({"announce": one, "cost": cost, "delay": delay})
        return at

    def release(self, one: str) -> None:
        """Let a run that waits go on."""
        self._say({"release": one})

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which is heard next

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        try:
            message = self._heard.get(timeout=max(0.0, seconds))
        except Empty:
            return None
        self._told.append(message)
        return message

    def next(self, what: str, one: str | None = None) -> dict[str, Any]:
        """The message of this kind about this id, or the next one of this kind about any; fails when none comes."""
        if one is not None:
            for message in self._told:
                if message["what"] == what and message["id"] == one:
                    return message
        end = time.monotonic() + self._patience
        while (heard := self._hear(end - time.monotonic())) is not None and heard["what"] != _GONE:
            if heard["what"] == what and one in (None, heard["id"]):
                return heard
        instead = "the process ended instead" if heard else f"not within {self._patience:g} s"
        raise AssertionError(f"does not hold: {what} {one or ''} comes ({instead})")

    def quiet(self) -> bool:
        """Whether, for a moment, nothing more is told: neither that something ended nor that all is over."""
        return self._hear(_GLANCE) is None

    def ids(self) -> set[str]:
        """What was begun so far."""
        return {one for one in self._of("began") if not one.startswith(_READY)}

    def running(self) -> set[str]:
        """What was begun and has not ended."""
        return {one for one in self._of("began") - self._of("ended") - self._of("raised") if one.startswith("wait-")}

    def finished(self) -> set[str]:
        """What had ended by the time the last message came."""
        return self._of("ended")

    def _of(self, what: str) -> set[str]:
        return {message["id"] for message in self._told if message["what"] == what}

    @property
    def most(self) -> int:
        """How many ran at the same time, at the most."""
        return max((int(message["now"]) for message in self._told if message["what"] == "began"), default=0)

    def stop(self, number: int) -> None:
        self._process.send_signal(number)

    def status(self) -> int:
        try:
            return self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            raise AssertionError("does not hold: the process ends after serve has returned") from None


# ------------------------------------------------------------------------------------------------- the serving process


class _Runs:
    """What `run` does in the serving process: it tells, waits where the id says so, raises where the id says so."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._now = 0
        self._gates: dict[str, threading.Event] = {}

    def gate(self, one: str) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(one, threading.Event())

    def __call__(self, one: str) -> None:
        with self._lock:
            self._now += 1
            self._tell("began", one, now=self._now, at=time.monotonic())
        what = "ended"
        try:
            if one.startswith("wait-"):
                self.gate(one).wait()
            if one.startswith("raise-"):
                what = "raised"
                raise RuntimeError(f"{one} was told to raise")
        finally:
            with self._lock:
                self._now -= 1
                self._tell(what, one)


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop; commands come by standard input, a JSON object on each line."""
    name, settings, concurrency = arguments
    out = os.dup(1)  # what a worker prints goes elsewhere
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(what: str, one: str = "", **more: Any) -> None:
        with lock:
            os.write(out, json.dumps({"what": what, "id": one, **more}).encode() + b"\n")

    queue = made(name, json.loads(settings))
    tell("made", announces=isinstance(queue, Queue), serves=isinstance(queue, Serving))
    runs = _Runs(tell)
    threading.Thread(target=_obey, args=(queue, runs), daemon=True).start()
    queue.serve(runs, concurrency=int(concurrency))
    tell("returned")


def _obey(queue: Queue, runs: _Runs) -> None:
    rest = b""
    while piece := os.read(0, 65_536):  # no buffered reader, whose lock a thread would hold when the process ends
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "release" in command:
                runs.gate(command["release"]).set()
            else:
                queue.announce(command["announce"], cost=command["cost"], delay=command["delay"])


if __name__ == "__main__":
    main(sys.argv[1:])
