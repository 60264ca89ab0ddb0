"""The pool of confined processes in which every decoder runs.

Knows: worker processes, their sockets, who waits for one. Must not know: HTTP, the database, what a transformation does.

Each place in the pool is one long-lived worker (`sandbox_worker`) whose confined child does the jobs. This side trusts
nothing that comes back: sizes are measured, names and types are checked, and a worker that is late, silent or gone is ended
and replaced by the next job that needs its place. A job ends within its wall time plus two seconds (security promise 48).
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import stat
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from ..gate.errors import (
    BadRequest,
    Busy,
    ConfigurationError,
    Corrupt,
    Encrypted,
    MissingDependency,
    NotProvided,
    Overloaded,
    ProcessingLimit,
    SecureDeliveryError,
    SourceFault,
    StorageFault,
    StorageFull,
    TaskURLError,
    TimedOut,
    TooLarge,
    Unsupported,
)
from ..plugin.protocols import WorkLimits
from . import confine, sandbox_wire
from .sandbox_place import STOP, Place

logger = logging.getLogger("secure_delivery.engine")

MAX_SOURCES = 200  # files of one job: two hundred descriptors fit into one message
FLOOR = frozenset({"rlimits", "seccomp", "landlock"})  # security promise 47

_DEPTH = 20  # levels of what a chain adds to its outcome
_GRACE = 0.75  # seconds beyond the wall limit after which a worker that did not end its child is ended itself

_FAULTS: dict[str, type[SecureDeliveryError]] = {
    fault.code: fault
    for fault in (
        BadRequest,
        Corrupt,
        Encrypted,
        MissingDependency,
        NotProvided,
        ProcessingLimit,
        SourceFault,
        StorageFault,
        StorageFull,
        TaskURLError,
        TimedOut,
        TooLarge,
        Unsupported,
    )
}
_MIMETYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,126}")


# -------------------------------------------------------------------------------------------------------- what is passed


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginChoice:
    """Which plugins the workers load, as plain JSON values.

    `settings`, `blocked`, `rank` are those of `plugin.manager.load`; `settings` should leave out the sections of plugins
    that hold credentials. `extra` are dotted names of modules that are plugins without being installed, found on the
    interpreter's own path or in the folders of `path`; confined children may read those folders. `warm` names the tasks and
    detectors whose libraries are loaded at once, None all of them; those of others are loaded with their first job.
    """

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    blocked: Sequence[str] = ()
    rank: Sequence[str] = ()
    extra: Sequence[str] = ()
    path: Sequence[str] = ()
    warm: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class ChainSource:
    """One file of a job: a descriptor of a regular file, which is read from its start and stays the caller's to close."""

    descriptor: int
    mimetype: str
    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One job: tasks with bound options, applied in order to the first of its sources.

    * `sources`: that file, then the other members of a list, which the first task gets (`Workshop.others`), then the files
      that tasks refer to; at most `MAX_SOURCES` in all.
    * `references`: how many of the last sources belong to each task, in order; none where it is left out.
    * `output`: a descriptor of an empty regular file, the caller's to close.
    * `application`: whose work it is; one process may do several jobs of one application, and only of one. Empty: of none.
    * `max_bytes` of any source, `max_pixels` and `max_animation_pixels` lower the sandbox's own limits, never raise them.
    * `metadata`, `original`: as in `Workshop`. `proxy_port`: where the address guard for programs listens.

    Options are JSON values and tuples.
    """

    tasks: Sequence[tuple[str, Mapping[str, Any]]]
    sources: Sequence[ChainSource]
    output: int
    references: Sequence[int] = ()
    application: str = ""
    max_bytes: int | None = None
    max_pixels: int | None = None
    max_animation_pixels: int | None = None
    metadata: str = "none"
    original: tuple[int, int] | None = None
    proxy_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a chain made: type, suggested file name, size in bytes, and plain data a transformation chose to add."""

    mimetype: str
    filename: str
    size: int
    extra: Mapping[str, Any]


# -------------------------------------------------------------------------------------------------------------- the pool


class Sandbox:
    """Runs chains in confined processes, `size` at a time. Thread-safe; use it in the process that started it.

    `limits` hold for every job. `floor` names the layers of `confine.LAYERS` without which nothing is decoded (security
    promise 47). `scratch` is the folder in which external programs get one for each run, by default the system's. At most
    `queue` jobs wait for a place, each for at most `wait` seconds (promise 91).
    """

    def __init__(
        self,
        size: int,
        *,
        plugins: PluginChoice,
        limits: WorkLimits,
        scratch: Path | None = None,
        floor: frozenset[str] = FLOOR,
        queue: int = 256,
        wait: float = 20.0,
    ) -> None:
        if size < 1:
            raise ConfigurationError("the sandbox needs at least one process")
        if unknown := floor - set(confine.LAYERS):
            raise ConfigurationError(
                f"sandbox_floor: there is no layer {', '.join(sorted(unknown))}; there are {', '.join(confine.LAYERS)}"
            )
        self._limits = limits
        self._floor = floor
        self._queue = queue
        self._wait = wait
        place = str(scratch or tempfile.gettempdir())
        hello = sandbox_wire.encode(asdict(plugins) | {"limits": asdict(limits), "scratch": place})
        self._places = [Place(hello) for _ in range(size)]
        self._free: list[Place] = []
        self._waiting: deque[SimpleQueue[Place | None]] = deque()
        self._state = threading.Condition()
        self._starting = threading.Lock()
        self._owner: int | None = None
        self._layers: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        """Whether jobs are taken."""
        return self._owner == os.getpid()

    @property
    def seconds(self) -> float:
        """Wall seconds that one job may take."""
        return self._limits.seconds

    @property
    def memory(self) -> int:
        """Bytes of memory that one job may use."""
        return self._limits.memory

    @property
    def layers(self) -> frozenset[str]:
        """The layers of confinement found in effect when the workers started."""
        return self._layers

    def start(self) -> None:
        """Start all workers and see how well they are confined.

        Raises `ConfigurationError` when a worker does not come up, or lacks a layer of the floor. Layers missing above the
        floor, and plugins that could not be prepared, are logged as warnings.
        """
        if self._owner is not None:
            raise SecureDeliveryError("the sandbox was started before")
        try:
            for place in self._places:
                place.launch()
            greetings = [place.greet() for place in self._places]
            for greeting in greetings:
                self._judge(greeting)
        except BaseException:
            for place in self._places:
                place.stop()
            raise
        self._layers = frozenset(greetings[0]["layers"])
        self._warn(greetings[0]["problems"])
        with self._state:
            self._free = list(self._places)
            self._owner = os.getpid()

    def start_once(self) -> None:
        """Start, unless it runs already; from any thread. Raises like `start`."""
        with self._starting:
            if not self.running:
                self.start()

    def close(self) -> None:
        """End all workers, whatever they do; whoever waits is told `Busy`. Safe to call more than once."""
        with self._state:
            if not self.running:
                return
            self._owner = None
            while self._waiting:
                self._waiting.popleft().put(None)
            free, self._free = self._free, []
            for place in self._places:
                place.interrupt()
        for place in free:
            place.stop()
        with self._state:  # places at work are stopped by the threads that use them
            self._state.wait_for(lambda: not any(place.alive for place in self._places), timeout=2 * STOP + _GRACE)

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run(self, chain: Chain) -> Outcome:
        """Run a chain in a confined child; what it made is in its output.

        Raises `Overloaded` when no place gets free in time, `TooLarge` for a source over the limit, `ProcessingLimit` when the
        job needs more time or memory than it may have, `Corrupt` when it crashes, and the faults that transformations
        raise. After a fault the output is good for nothing. Raises `TypeError` or `ValueError` for a chain that cannot be
        passed on: options that are not JSON, descriptors that are not regular files.
        """
        limits = self._lowered(chain)
        _regular(chain.output, "output")
        if not 1 <= len(chain.sources) <= MAX_SOURCES:
            raise ValueError(f"a chain has 1 to {MAX_SOURCES} sources")
        for source in chain.sources:
            size = _regular(source.descriptor, "source")
            if size > limits["bytes"]:
                raise TooLarge(f"source of {size} bytes, limit {limits['bytes']}")
        job = sandbox_wire.encode(
            {
                "tasks": [[name, dict(options)] for name, options in chain.tasks],
                "sources": [[source.mimetype, source.filename] for source in chain.sources],
                "references": list(chain.references) or [0] * len(chain.tasks),
                "application": chain.application,
                "limits": limits,
                "metadata": chain.metadata,
                "original": chain.original,
                "proxy_port": chain.proxy_port,
            }
        )
        with ExitStack() as stack:
            files = [stack.enter_context(_read_only(source.descriptor)) for source in chain.sources]
            answer = self._done(job, (*files, chain.output))
        for problem in answer.get("problems", ()):
            logger.warning("decoder process: %s", problem)
        return _outcome(answer, chain.output)

    def _lowered(self, chain: Chain) -> dict[str, int]:
        """The limits of one job: the lower of the sandbox's and the chain's."""
        asked = {"bytes": chain.max_bytes, "pixels": chain.max_pixels, "animation_pixels": chain.max_animation_pixels}
        own = {name: getattr(self._limits, name) for name in asked}
        return {name: own[name] if value is None else min(own[name], value) for name, value in asked.items()}

    def _done(self, job: bytes, files: Sequence[int]) -> Mapping[str, Any]:
        place = self._take()
        try:
            for _ in range(2):  # a worker that was killed while idle is replaced, once
                if self.running and not place.alive:
                    self._judge(_revived(place))
                if not self.running:  # asked when the worker is there: `close` interrupts the worker that it finds
                    raise Busy("the sandbox was closed")
                deadline = time.monotonic() + self._limits.seconds + _GRACE
                answer = place.ask(job, files, deadline)
                if answer is not None:
                    return answer
            raise Busy("two workers in a row ended before they took a job")
        except (ConfigurationError, ProcessingLimit) as error:
            if not self.running:
                raise Busy("the sandbox was closed") from None
            if isinstance(error, ConfigurationError):
                logger.error("a decoder process cannot be replaced: %s", error)
                raise Busy(str(error)) from None
            raise
        finally:
            self._give(place)

    def _take(self) -> Place:
        """A place of one's own, in the order of asking. Raises `Busy`."""
        with self._state:
            if not self.running:
                raise Busy("the sandbox is not running in this process")
            if self._free:
                return self._free.pop()
            if len(self._waiting) >= self._queue:
                raise Overloaded(f"{self._queue} jobs wait already")
            turn: SimpleQueue[Place | None] = SimpleQueue()
            self._waiting.append(turn)
        try:
            place = turn.get(timeout=self._wait)
        except Empty:
            with self._state:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                    raise Overloaded(f"no decoder got free in {self._wait:g} s") from None
            place = turn.get()  # it was handed over in the last moment
        if place is None:
            raise Busy("the sandbox was closed")
        return place

    def _give(self, place: Place) -> None:
        with self._state:
            if self.running:
                if self._waiting:
                    self._waiting.popleft().put(place)
                else:
                    self._free.append(place)
                return
        place.stop()
        with self._state:
            self._state.notify_all()

    def _judge(self, greeting: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for a worker whose children are confined less than the floor asks."""
        wanted = self._floor if confine.LINUX else self._floor & {"rlimits"}
        missing = sorted(wanted.difference(greeting["layers"]))
        if missing:
            raise ConfigurationError(
                f"sandbox_floor asks for the confinement layers {', '.join(missing)}, which this machine does not give to "
                "decoders. Run it where the kernel and the container allow them, or take them off sandbox_floor."
            )

    def _warn(self, problems: Sequence[str]) -> None:
        for problem in problems:
            logger.warning("decoder process: %s", problem)
        missing = [name for name in confine.LAYERS if name not in self._layers]
        if not confine.LINUX:
            logger.warning("NOT A SANDBOX: this system only bounds what decoders consume, not what they may touch. Use Linux.")
        elif missing:
            logger.warning("decoders run without these confinement layers: %s", ", ".join(missing))


def _revived(place: Place) -> Mapping[str, Any]:
    place.launch()
    return place.greet()


# -------------------------------------------------------------------------------------------------------- in and out


def _regular(descriptor: int, name: str) -> int:
    """The size of a regular file. Raises `ValueError` for anything else."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"the {name} of a chain must be a regular file")
    return status.st_size


@contextmanager
def _read_only(descriptor: int) -> Iterator[int]:
    """A descriptor of the same file that cannot write and has a position of its own, so that no child changes a source."""
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc: not Linux, where a child may write what it was given
        own = os.dup(descriptor)
    try:
        yield own
    finally:
        os.close(own)


def _outcome(answer: Mapping[str, Any], output: int) -> Outcome:
    """What a child reported, as far as it can be believed. Raises the fault it reported, or how it ended."""
    report = _report(answer)
    if "fault" in report:
        kind = _FAULTS.get(str(report["fault"]), SecureDeliveryError)
        raise kind(_plain(report.get("detail")), public=_plain(report.get("public")) or None)
    mimetype, filename, extra = (report.get(name) for name in ("mimetype", "filename", "extra"))
    if not (isinstance(mimetype, str) and isinstance(filename, str) and isinstance(extra, dict)):
        raise Corrupt("the decoder's answer was not understood")
    if not _shallow(extra, _DEPTH):
        raise Corrupt("the decoder's answer was too deep")
    if not _MIMETYPE.fullmatch(mimetype) or _plain(filename, 1024) != filename:
        raise Corrupt("the decoder gave its result an impossible type or name")
    return Outcome(mimetype=mimetype, filename=filename, size=os.fstat(output).st_size, extra=extra)


def _report(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a child that ended well. Raises `ProcessingLimit` or `Corrupt` for others."""
    status = int(answer["status"])
    if answer["expired"]:
        raise TimedOut("the wall limit was reached")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ProcessingLimit("the CPU limit was reached, or the machine ran out of memory")
    if status == sandbox_wire.OUT_OF_MEMORY:
        raise ProcessingLimit("the memory limit was reached")
    if status:
        ended = f"signal {-status}, {signal.strsignal(-status)}" if status < 0 else f"exit status {status}"
        raise Corrupt(f"the decoder ended by itself: {ended}")
    try:
        report = json.loads(answer["text"])
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        raise Corrupt("the decoder's answer was not understood")
    return report


def _shallow(value: object, depth: int) -> bool:
    """Whether plain data is nested no deeper than that, so that whoever handles it may recurse."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_shallow(item, depth - 1) for item in inner if isinstance(item, dict | list))


def _plain(text: object, most: int = 300) -> str:
    """Printable text of bounded length, whatever came."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most]) if isinstance(text, str) else ""
