"""A worker process: loads the transformations once, then forks a confined child for every job.

Knows: the registry of plugins, confinement, its one socket. Must not know: HTTP, the database, paths of files, secrets.

The process itself decodes nothing; it stays small, with one thread, and only ever waits. A child gets its source and its
output as descriptors, does one chain and ends, so nothing of one job is there in the next. Whatever a child does, its
parent sees a pipe close or a deadline pass, ends the whole process group and reports how it ended (security promise 48).
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ..gate.errors import (
    BadRequest,
    Corrupt,
    ProcessingLimit,
    SecureDeliveryError,
    StorageFault,
    StorageFull,
    TooLarge,
    Unsupported,
)
from ..plugin import manager
from ..plugin.testing import SimpleWorkshop
from ..plugin.protocols import Media, Transformation, Warm, WorkLimits
from . import confine, sandbox_wire

_CHUNK = 1024 * 1024  # bytes copied at once
_REPORT = 256 * 1024  # bytes of a child's answer; more is no answer
_DETAIL = 300  # characters of an error for the operator's log
_NICENESS = 5  # answering requests goes before decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shop:
    """What a worker has ready for its jobs."""

    transformations: Mapping[str, Transformation]
    layers: tuple[str, ...]
    rules: int | None
    limits: WorkLimits


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
    transformations = dict(registry.transformations)
    for name, transformation in transformations.items():
        if isinstance(transformation, Warm):
            try:
                transformation.warm()
            except Exception as error:
                problems.append(f"{name} could not be prepared: {type(error).__name__}: {error}")
    if threading.active_count() > 1 or (confine.LINUX and len(list(Path("/proc/self/task").iterdir())) > 1):
        problems.append("a plugin started a thread while warming up; processes forked from it may hang")
    _offer_to_the_oom_killer()
    confine.shield()
    limits = WorkLimits(**hello["limits"])
    rules = confine.ruleset(confine.readable())
    layers = confine.probe(limits, rules)
    gc.collect()
    gc.freeze()  # so that a collection in a child does not copy pages it only looks at
    ordered = tuple(name for name in confine.LAYERS if name in layers)
    return _Shop(transformations=transformations, layers=ordered, rules=rules, limits=limits), problems


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, a decoder is to go and not the server."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        pass  # not Linux, or not ours to say; the limits of each child still hold


def _serve(connection: socket.socket, shop: _Shop) -> None:
    while True:
        job, descriptors = sandbox_wire.receive(connection, descriptors=2)
        try:
            if len(descriptors) != 2:
                return
            # Once this is sent, the job is not begun a second time, whatever becomes of this process.
            _say(connection, {"taken": True})
            answer = _attempt(connection, shop, job, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        _say(connection, answer)


def _attempt(connection: socket.socket, shop: _Shop, job: Mapping[str, Any], files: Sequence[int]) -> dict[str, Any]:
    """Run one job in a child; how it ended: its exit status, whether it ran out of time, what it wrote."""
    deadline = time.monotonic() + shop.limits.seconds
    parent = os.getpid()
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child(shop, job, (files[0], files[1], outlet), parent)
    os.close(outlet)
    try:
        text, expired = _listen(inlet, connection, deadline)
    finally:
        os.close(inlet)
        # Once the pipe is closed by its end, a process has its exit status already and this changes nothing.
        for kill in (os.killpg, os.kill):
            try:
                kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has no group of its own yet
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"status": status, "expired": expired, "text": text.decode("utf-8", "replace")}


def _listen(inlet: int, connection: socket.socket, deadline: float) -> tuple[bytes, bool]:
    """What the child writes until it ends, and whether the time was over first.

    Raises `EOFError` when the server is gone: nobody waits for this job any more.
    """
    text = bytearray()
    poll = select.poll()
    poll.register(inlet, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        events = poll.poll(left * 1000)
        if any(descriptor == connection.fileno() for descriptor, _ in events):
            raise EOFError  # nothing is sent to a busy worker: this is the other side closing
        if events:
            piece = os.read(inlet, 65536)
            text += piece
            if not piece or len(text) > _REPORT:
                return bytes(text), False
    return bytes(text), True


# ------------------------------------------------------------------------------------------------------------- the child


def _be_the_child(shop: _Shop, job: Mapping[str, Any], files: tuple[int, int, int], parent: int) -> NoReturn:
    """Confine, work, report, end. Nothing leaves this function but the process."""
    source, output, report = files
    status = 1
    try:
        os.setsid()
        _keep_only([*files, *([] if shop.rules is None else [shop.rules])])
        os.environ.clear()
        os.nice(_NICENESS)
        answer = _result(shop, job, source, output, parent)
        _write(report, json.dumps(answer).encode())
        status = 0
    except MemoryError:
        status = sandbox_wire.OUT_OF_MEMORY
    finally:
        os._exit(status)


def _keep_only(descriptors: Sequence[int]) -> None:
    """Close everything but these and the three standard ones, which lead nowhere."""
    start = 3
    for descriptor in sorted(descriptors):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, max(start, os.sysconf("SC_OPEN_MAX")))


def _result(shop: _Shop, job: Mapping[str, Any], source: int, output: int, parent: int) -> dict[str, Any]:
    """The outcome or the fault of a job, as plain data. Raises `MemoryError` only."""
    try:
        confine.apply(shop.layers, shop.limits, shop.rules, parent=parent)
        limits = replace(shop.limits, bytes=job["bytes"], pixels=job["pixels"])
        media: Media = _Source(source, job["mimetype"], job["filename"])
        for name, options in job["tasks"]:
            if name not in shop.transformations:
                raise Unsupported(f"no installed plugin provides the task {name[:60]!r}")
            media = shop.transformations[name].apply(media, sandbox_wire.tuples(options), SimpleWorkshop(limits=limits))
        size = _copy(media, output)
        extra = dict(getattr(media, "extra", {}))
        return {"mimetype": media.mimetype, "filename": media.filename, "size": size, "extra": extra}
    except MemoryError:
        raise
    except (TooLarge, Unsupported, Corrupt, ProcessingLimit, BadRequest) as error:
        return {"fault": error.code, "detail": str(error)[:_DETAIL], "public": error.public}
    except SecureDeliveryError as error:
        return {"fault": error.code, "detail": str(error)[:_DETAIL]}
    except BaseException as error:  # what decoders raise is theirs to choose; its text may quote the file
        return {"fault": Corrupt.code, "detail": type(error).__name__[:_DETAIL]}


def _copy(media: Media, output: int) -> int:
    """Write the bytes of a result; how many. Raises `TooLarge` at the limit on file size, `StorageFull`, `StorageFault`."""
    size = 0
    with media.open() as stream:
        while piece := stream.read(_CHUNK):
            try:
                _write(output, piece)
            except OSError as error:
                fault = {errno.EFBIG: TooLarge, errno.ENOSPC: StorageFull, errno.EDQUOT: StorageFull}
                raise fault.get(error.errno or 0, StorageFault)(f"writing the result: {error.strerror}") from None
            size += len(piece)
    return size


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Reader(io.RawIOBase):
    """A stream over a descriptor with a position of its own, so that several can be open at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        if base + offset < 0:
            raise ValueError("before the start of the stream")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Source:
    """The file of a job as a `Media`."""

    def __init__(self, descriptor: int, mimetype: str, filename: str) -> None:
        self._descriptor = descriptor
        self.mimetype = mimetype
        self.filename = filename

    @property
    def size(self) -> int | None:
        return os.fstat(self._descriptor).st_size

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Reader(self._descriptor), 65536)
