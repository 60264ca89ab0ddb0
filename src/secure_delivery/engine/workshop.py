"""What a chain finds in a confined child: its files, detectors, and a way to ask for programs.

Knows: descriptors, the registry's detectors, the socket to the worker. Must not know: plugins by name, HTTP, how a child is
confined.
"""

from __future__ import annotations

import errno
import io
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..gate.errors import (
    Corrupt,
    NotProvided,
    ProcessingLimit,
    SecureDeliveryError,
    StorageFault,
    StorageFull,
    TooLarge,
    Unsupported,
)
from ..plugin.protocols import Detector, Media, WorkLimits
from . import sandbox_wire
from .types import HEAD, sniff

_CHUNK = 1 << 20
_FULL: dict[int, type[SecureDeliveryError]] = {
    errno.EFBIG: TooLarge,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
}
_FAULTS: dict[str, type[SecureDeliveryError]] = {
    fault.code: fault for fault in (Corrupt, ProcessingLimit, TooLarge, Unsupported)
}


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


@dataclass(frozen=True, slots=True)
class FileOf:
    """A `Media` behind a descriptor that this process was given."""

    descriptor: int
    mimetype: str
    filename: str

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Reader(self.descriptor), 65536)


@dataclass(slots=True, kw_only=True)
class ChainWorkshop:
    """The `Workshop` of one chain in a confined child. `opened` are the descriptors it got; the child closes them."""

    limits: WorkLimits
    others: Sequence[Media]
    metadata: str
    original: tuple[int, int] | None
    detectors: Mapping[str, Detector] = field(repr=False)
    channel: socket.socket = field(repr=False)
    #: Every descriptor of this chain by its number, which is how the worker, who has them too, is told which are meant.
    opened: list[int] = field(default_factory=list)

    def provides(self, detector: str) -> bool:
        return detector in self.detectors

    def detect(self, detector: str, media: Media, options: Mapping[str, Any] | None = None) -> Any:
        if detector not in self.detectors:
            raise NotProvided(f"no plugin provides the detector {detector!r}")
        return self.detectors[detector].detect(media, options or {}, self.limits)

    def run(self, program: str, files: Sequence[Media] = (), choices: Mapping[str, str | int] | None = None) -> Sequence[Media]:
        given = [self._number(media) for media in files]
        answer, results = self._ask({"run": program, "choices": dict(choices or {}), "given": given})
        return [self._result(name, descriptor) for name, descriptor in zip(answer["files"], results, strict=True)]

    def spare(self) -> BinaryIO:
        _, (descriptor,) = self._ask({"spare": True})
        return open(os.dup(descriptor), "r+b")  # noqa: PTH123 - a descriptor has no path

    def _number(self, media: Media) -> int:
        """The number of a media's descriptor; what is only in memory is written to a file that the worker lends."""
        if not isinstance(media, FileOf):
            _, (spare,) = self._ask({"spare": True})
            with media.open() as stream:
                copy(stream, spare)
            return len(self.opened) - 1
        return self.opened.index(media.descriptor)

    def _ask(self, question: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[int]]:
        sandbox_wire.write(self.channel, sandbox_wire.encode(question))
        answer, results = sandbox_wire.receive(self.channel, descriptors=64)
        self.opened += results
        if "fault" in answer:
            raise _FAULTS.get(answer["fault"], Corrupt)(answer["detail"], public=answer["public"] or None)
        return answer, results

    @staticmethod
    def _result(name: str, descriptor: int) -> FileOf:
        return FileOf(descriptor, sniff(os.pread(descriptor, HEAD, 0), name), name)


def copy(stream: BinaryIO, descriptor: int) -> int:
    """Write a stream to a descriptor; how many bytes.

    Raises what reading raises, and `TooLarge` at the limit on file size, `StorageFull`, `StorageFault` for writing.
    """
    size = 0
    while piece := stream.read(_CHUNK):
        _write(descriptor, piece)
        size += len(piece)
    return size


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        fault = _FULL.get(error.errno or 0, StorageFault)
        raise fault(f"writing a result: {error.strerror}") from None
