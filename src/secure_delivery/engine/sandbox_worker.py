"""A worker process: loads the transformations once, then has a confined child do the jobs.

Knows: the registry of plugins, confinement, its one socket. Must not know: HTTP, the database, secrets.

The process itself decodes nothing; it stays small, with one thread, and only ever waits. A child gets its sources and its
output as descriptors. It does a few chains in a row when they are of the same application and nothing went wrong (security
promise 45): confining a process anew for every thumbnail would cost as much as the thumbnail. Whatever a child does, its
parent sees a socket close or a deadline pass, ends the whole process group and reports how it ended (promise 48).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from ..gate.errors import (
    BadRequest,
    Corrupt,
    NotProvided,
    ProcessingLimit,
    SecureDeliveryError,
    SourceFault,
    TooLarge,
    Unsupported,
)
from ..plugin import manager
from ..plugin.protocols import Asking, Detector, Media, Transformation, Warm, WorkLimits
from ..plugin.selection import providers
from . import confine, page_work, sandbox_wire
from .programs import Programs, Request
from .workshop import ChainWorkshop, FileOf, copy

_REPORT = 256 * 1024  # bytes of what a child says; more is no answer
_DETAIL = 300  # characters of an error for the operator's log
_NICENESS = 5  # answering requests goes before decoding
_MOST_FILES = 250  # descriptors of one job: what one message carries (SCM_MAX_FD, unix(7))
_MOST_LENT = 128  # files that programs may leave for a job
_MOST_SPARE = 8  # files that a job may fill for programs: each may become as large as a source
_JOBS = 64  # a child does in a row
_IDLE = 3.0  # seconds a child may wait for its next job; nothing of a job stays in memory for longer
_WORN_MEMORY = 400 * 1024  # KiB resident


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stock:
    """What plugins provide, and which of it has imported what it imports late.

    The libraries of a task are loaded when its first job comes: a server that only resizes does not carry those that
    recognise faces.
    """

    transformations: Mapping[str, Transformation]
    detectors: Mapping[str, Detector]
    ready: set[str] = field(default_factory=set)

    def lacks(self, job: Mapping[str, Any]) -> list[str]:
        """The names of tasks and detectors of a job that are not prepared yet."""
        names = [name for name, _ in job["tasks"] if name in self.transformations]
        for name, options in job["tasks"]:
            for one in providers(self.transformations[name]) if name in self.transformations else ():
                if isinstance(one, Asking):
                    names += one.asks(sandbox_wire.tuples(options))
        return [name for name in dict.fromkeys(names) if name not in self.ready]

    def prepare(self, names: Sequence[str]) -> list[str]:
        """Let these import what they import late, so that a confined child opens no files; what went wrong."""
        problems, threads = [], 1
        for name in names:
            self.ready.add(name)
            found: list[object] = [*providers(self.transformations[name])] if name in self.transformations else []
            found += [self.detectors[name]] if name in self.detectors else []
            for one in found:
                if isinstance(one, Warm):
                    try:
                        one.warm()
                    except Exception as error:
                        problems.append(f"{name} could not be prepared: {type(error).__name__}: {error}")
            if threads < (threads := _threads()):
                problems.append(f"{name} started a thread while warming up; processes forked from it may hang")
        gc.collect()
        gc.freeze()  # so that a collection in a child does not copy pages it only looks at
        return problems


def _threads() -> int:
    """Threads of this process, as the kernel counts them where it can be asked."""
    return len(list(Path("/proc/self/task").iterdir())) if confine.LINUX else threading.active_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shop:
    """What a worker has ready for its jobs."""

    stock: _Stock
    programs: Programs
    layers: tuple[str, ...]
    rules: int | None
    limits: WorkLimits


@dataclass(slots=True, kw_only=True)
class _Child:
    """A confined child that does jobs for one application."""

    process: int
    channel: socket.socket
    application: str
    jobs: int = 0
    used: float = 0.0  # seconds of CPU time
    worn: bool = False
    ended: bool = False


# ------------------------------------------------------------------------------------------------------------ the parent


def main() -> None:
    """Serve the socket that is standard input until the other side closes it."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        hello, _ = sandbox_wire.receive(connection)
    except (EOFError, OSError):
        return
    try:
        shop, problems = _prepare(hello)
    except SecureDeliveryError as error:
        _say(connection, {"failed": str(error)})
        return
    os.dup2(null, 2)  # complaints about the start were for the operator; what decoders print is for nobody
    os.close(null)
    try:
        _say(connection, {"layers": shop.layers, "problems": problems})
        _serve(connection, shop)
    except (EOFError, OSError):
        return  # the server is gone


def _say(connection: socket.socket, message: object) -> None:
    sandbox_wire.send(connection, sandbox_wire.encode(message))


def _prepare(hello: Mapping[str, Any]) -> tuple[_Shop, list[str]]:
    """Load and warm the plugins, find out how well children can be confined."""
    problems: list[str] = []
    sys.path[:0] = hello["path"]
    extra = {name: importlib.import_module(name) for name in hello["extra"]}
    registry = manager.load(settings=hello["settings"], blocked=hello["blocked"], rank=hello["rank"], extra=extra)
    problems += [f"{report.name}: {report.problem}" for report in registry.reports if report.problem and report.name in extra]
    warm = hello["warm"]
    first = [*registry.transformations, *registry.detectors] if warm is None else warm
    tasks = {**registry.transformations, **page_work.tasks(registry)}
    stock = _Stock(transformations=tasks, detectors=registry.detectors)
    problems += stock.prepare(first)
    _offer_to_the_oom_killer()
    confine.shield()
    confine.adopt_orphans()
    limits = WorkLimits(**hello["limits"])
    rules = confine.ruleset(confine.readable())
    layers = confine.probe(limits, rules)
    ordered = tuple(name for name in confine.LAYERS if name in layers)
    programs = Programs(registry.programs, place=Path(hello["scratch"]), limits=limits, layers=ordered)
    shop = _Shop(
        stock=stock,
        programs=programs,
        layers=ordered,
        rules=rules,
        limits=limits,
    )
    return shop, problems


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, a decoder is to go and not the server."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        pass  # not Linux, or not ours to say; the limits of each child still hold


def _serve(connection: socket.socket, shop: _Shop) -> None:
    child: _Child | None = None
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        while True:
            if child is not None and not poll.poll(_IDLE * 1000):
                _retire(child)
                child = None
            job, descriptors = sandbox_wire.receive(connection, descriptors=_MOST_FILES)
            try:
                if len(descriptors) != len(job["sources"]) + 1:
                    return
                # Once this is sent, the job is not begun a second time, whatever becomes of this process.
                _say(connection, {"taken": True})
                if lacking := shop.stock.lacks(job):
                    _retire(child)  # what is loaded now, only children from now on have
                    child = None
                problems = shop.stock.prepare(lacking) if lacking else []
                child = _fit(child, shop, job["application"])
                answer = {**_attempt(connection, shop, child, job, descriptors), "problems": problems}
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            _say(connection, answer)
            if child.worn:
                _retire(child)
                child = None
    finally:
        _retire(child)


def _fit(child: _Child | None, shop: _Shop, application: str) -> _Child:
    """The child there is when it may do a job of this application, else a fresh one. No application: always a fresh one."""
    if child is not None and application and child.application == application and _silent(child.channel):
        return child
    _retire(child)
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    process = os.fork()
    if process == 0:
        _be_the_child(shop, theirs, parent)
    theirs.close()
    return _Child(process=process, channel=ours, application=application)


def _silent(channel: socket.socket) -> bool:
    """Whether nothing came from a child that was not asked. One that has ended meanwhile is not silent."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return not poll.poll(0)


def _retire(child: _Child | None) -> None:
    """End a child, if there is one that has not ended yet."""
    if child is not None and not child.ended:
        _end(child)


def _attempt(
    connection: socket.socket, shop: _Shop, child: _Child, job: Mapping[str, Any], files: Sequence[int]
) -> dict[str, Any]:
    """Have a child do one job; how it ended: its exit status, whether it ran out of time, what it reported.

    Raises `EOFError` when the server is gone: nobody waits for this job any more.
    """
    deadline = time.monotonic() + shop.limits.seconds
    child.jobs += 1
    child.worn = True  # until it has ended well
    report, expired, text = None, False, ""
    try:
        if child.used:
            confine.allow_time(child.process, child.used, shop.limits)
        sandbox_wire.send(child.channel, sandbox_wire.encode(job), files, deadline=deadline)
        report = _listen(connection, shop, child, _Job(files=list(files), port=job["proxy_port"], deadline=deadline))
        text = "" if report is None else json.dumps(report)
    except TimeoutError:
        expired = True
    except (ValueError, RecursionError):  # JSON gives up on deep nesting with the second of these
        _end(child)
        return {"status": 0, "expired": False, "text": ""}  # it says what nobody understands
    except OSError:
        pass  # it is gone
    if report is None:
        return {"status": _end(child), "expired": expired, "text": ""}
    good = "fault" not in report and _below(report, "cpu", confine.spared(shop.limits) - 1)
    good = good and _below(report, "memory", _WORN_MEMORY)
    child.used = max(0.0, float(report["cpu"])) if good else 0.0
    child.worn = not good or child.jobs >= _JOBS
    return {"status": 0, "expired": False, "text": text if len(text) <= _REPORT else ""}


def _below(report: Mapping[str, Any], name: str, most: float) -> bool:
    value = report.get(name)
    return isinstance(value, int | float) and value < most


def _end(child: _Child) -> int:
    """The exit status of a child that is ended now, unless it has ended before."""
    child.channel.close()
    for kill in (os.killpg, os.kill):
        try:
            kill(child.process, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has no group of its own yet
    child.ended = True
    # One that has closed its end by ending has its status already, and the signal changes nothing.
    return os.waitstatus_to_exitcode(os.waitpid(child.process, 0)[1])


@dataclass(slots=True, kw_only=True)
class _Job:
    """A job at work. `files` are its descriptors in the order in which the child got them, which is how it names them."""

    files: list[int]
    port: int | None
    deadline: float
    lent: list[int] = field(default_factory=list)
    spares: int = 0


def _listen(connection: socket.socket, shop: _Shop, child: _Child, job: _Job) -> dict[str, Any] | None:
    """The report of a child, None when it ended without one. What it asks for meanwhile is done.

    Raises `TimeoutError` at the deadline, `EOFError` when the server is gone, `ValueError` for what is no message.
    """
    poll = select.poll()
    poll.register(child.channel, select.POLLIN)
    poll.register(connection, select.POLLIN)
    try:
        while (left := job.deadline - time.monotonic()) > 0:
            events = poll.poll(left * 1000)
            if any(descriptor == connection.fileno() for descriptor, _ in events):
                raise EOFError  # nothing is sent to a busy worker: this is the other side closing
            if not events:
                continue
            try:
                message, _ = sandbox_wire.receive(child.channel, deadline=job.deadline, limit=_REPORT)
            except EOFError:
                return None
            if not isinstance(message, dict):
                raise ValueError("no message")
            if "report" in message:
                if not isinstance(message["report"], dict):
                    raise ValueError("no report")
                return message["report"]
            _oblige(connection, shop, child, message, job)
        raise TimeoutError
    finally:
        for descriptor in job.lent:
            os.close(descriptor)


def _oblige(connection: socket.socket, shop: _Shop, child: _Child, message: Mapping[str, Any], job: _Job) -> None:
    """Do what a child asks for: an empty file, or a program run. It believes nothing that the child says about itself."""
    names: list[str] = []
    given: list[int] = []
    answer: dict[str, Any] = {"files": names}
    try:
        spare = bool(message.get("spare"))
        job.spares += spare
        if len(job.lent) >= _MOST_LENT or job.spares > _MOST_SPARE:
            raise ProcessingLimit("it asked for too many files")
        if spare:
            given.append(shop.programs.spare())
        else:
            choices, numbers = message.get("choices"), message.get("given")
            request = Request(
                program=str(message.get("run")),
                files=[job.files[int(number)] for number in numbers] if isinstance(numbers, list) else [],
                choices=choices if isinstance(choices, dict) else {},
                deadline=job.deadline,
                port=job.port,
                watched=connection.fileno(),
                asker=child.process,
            )
            for name, descriptor in shop.programs.run(request):
                names.append(name)
                given.append(descriptor)
    except SecureDeliveryError as error:
        answer = {"fault": error.code, "detail": str(error)[:_DETAIL], "public": error.public}
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        answer = {"fault": Corrupt.code, "detail": f"the program could not be run: {type(error).__name__}", "public": ""}
    job.files += given
    job.lent += given
    sandbox_wire.send(child.channel, sandbox_wire.encode(answer), given, deadline=job.deadline)


# ------------------------------------------------------------------------------------------------------------- the child


def _be_the_child(shop: _Shop, channel: socket.socket, parent: int) -> NoReturn:
    """Confine, work, report, and again. Nothing leaves this function but the process."""
    status = 1
    try:
        os.setsid()
        _keep_only([channel.fileno(), *([] if shop.rules is None else [shop.rules])])
        os.environ.clear()
        os.nice(_NICENESS)
        confined: SecureDeliveryError | None = None
        try:
            confine.apply(shop.layers, shop.limits, shop.rules, parent=parent)
        except SecureDeliveryError as error:
            confined = error
        while True:
            job, descriptors = sandbox_wire.receive(channel, descriptors=_MOST_FILES)
            answer = _result(shop, job, descriptors, channel) if confined is None else _fault(confined)
            used = resource.getrusage(resource.RUSAGE_SELF)
            report = {**answer, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss}
            sandbox_wire.write(channel, sandbox_wire.encode({"report": report}))
    except MemoryError:
        status = sandbox_wire.OUT_OF_MEMORY
    except (EOFError, OSError):
        status = 0  # no more jobs
    finally:
        os._exit(status)


def _keep_only(descriptors: Sequence[int]) -> None:
    """Close everything but these and the three standard ones, which lead nowhere."""
    start = 3
    for descriptor in sorted(descriptors):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, max(start, os.sysconf("SC_OPEN_MAX")))


def _result(shop: _Shop, job: Mapping[str, Any], descriptors: Sequence[int], channel: socket.socket) -> dict[str, Any]:
    """The outcome or the fault of a job, as plain data. Raises `MemoryError` only."""
    opened = list(descriptors)
    try:
        first, *others = [
            FileOf(descriptor, mimetype, filename)
            for descriptor, (mimetype, filename) in zip(descriptors[:-1], job["sources"], strict=True)
        ]
        shares = _shares(others, job["references"])
        workshop = ChainWorkshop(
            limits=replace(shop.limits, **job["limits"]),
            others=(),
            metadata=job["metadata"],
            original=sandbox_wire.tuples(job["original"]),
            detectors=shop.stock.detectors,
            channel=channel,
            opened=opened,
        )
        media: Media = first
        for (name, options), workshop.others in zip(job["tasks"], shares, strict=True):
            if name not in shop.stock.transformations:
                raise Unsupported(f"no installed plugin provides the task {name[:60]!r}")
            media = shop.stock.transformations[name].apply(media, sandbox_wire.tuples(options), workshop)
        with media.open() as stream:
            size = copy(stream, descriptors[-1])
        extra = dict(getattr(media, "extra", {}))
        return {"mimetype": media.mimetype, "filename": media.filename, "size": size, "extra": extra}
    except MemoryError:
        raise
    except (TooLarge, Unsupported, Corrupt, ProcessingLimit, BadRequest, NotProvided, SourceFault) as error:
        return _fault(error) | {"public": error.public}
    except SecureDeliveryError as error:
        return _fault(error)
    except BaseException as error:  # what decoders raise is theirs to choose; its text may quote the file
        return {"fault": Corrupt.code, "detail": type(error).__name__[:_DETAIL]}
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _shares(others: Sequence[Media], references: Sequence[int]) -> list[list[Media]]:
    """The files that go with the main one, for each task: members of a list for the first, and those it refers to."""
    at = len(others) - sum(references)
    shares = [list(others[:at])]
    for number, count in enumerate(references):
        shares[number:] = [[*(shares[number] if number == 0 else ()), *others[at : at + count]], []]
        at += count
    return shares[: len(references)]


def _fault(error: SecureDeliveryError) -> dict[str, Any]:
    return {"fault": error.code, "detail": str(error)[:_DETAIL]}
