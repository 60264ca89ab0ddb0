"""The scanner: sends a file to clamd over a connection of its own and waits for the answer.

Knows: sockets, deadlines. Must not know: what an answer means (`protocol`), what becomes of a file.

clamd may answer before it was sent everything, and close: so every piece is sent while listening. Memory is constant, one
piece of a file at a time.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from secure_delivery.gate.errors import Busy
from secure_delivery.plugin import Media, StorageFault

from . import protocol
from .settings import Options

_PIECE = 1 << 16  # bytes read and sent at once
_CONNECT = 5.0  # seconds until clamd has taken the connection
_RECEIVE = 4096

Clock = Callable[[], float]


class ClamavScanner:
    """A `Scanner` that asks one clamd. Keeps nothing between scans; safe to share among threads and processes."""

    __slots__ = ("_clock", "_options")

    def __init__(self, options: Options, *, clock: Clock = time.monotonic) -> None:
        self._options = options
        self._clock = clock

    def scan(self, media: Media) -> str | None:
        """The name of the signature that matched, or `None` for a file that clamd calls clean.

        Raises `Busy` when clamd is not reached, not done in time, or says anything else: asking again may help. Raises
        `TooLarge` for a file of more bytes than `max_bytes`, or than clamd looks into. A file that raised was not judged.
        """
        self._bounded(media.size)
        with self._line() as line, media.open() as stream:
            early = self._sent(line, stream, media.size)
            return protocol.judge(line.answer() if early is None else early, complete=early is None)

    def describe(self) -> str:
        """What is there, for the operator: `ClamAV 1.4.6/27500/Mon Jan 5 2026`, with number and day of its signatures.

        Raises `Busy` when clamd does not answer.
        """
        pong = self._asked(protocol.PING)
        if pong != b"PONG":
            raise Busy(f"clamd answers a ping with: {protocol.readable(pong)}")
        return protocol.readable(self._asked(protocol.VERSION))

    def _asked(self, command: bytes) -> bytes:
        with self._line() as line:
            early = line.send(command)
            return line.answer() if early is None else early

    def _sent(self, line: _Line, stream: BinaryIO, size: int | None) -> bytes | None:
        """Send command, file and end. Returns the answer if one came before all that was sent."""
        for data in self._said(stream, size):
            answer = line.send(data)
            if answer is not None:
                return answer
        return None

    def _said(self, stream: BinaryIO, size: int | None) -> Iterator[bytes]:
        yield protocol.INSTREAM
        count = 0
        while piece := stream.read(_PIECE):
            count += len(piece)
            self._bounded(count)
            yield protocol.framed(piece)
        if size is not None and count != size:  # half a file may well be clean
            raise StorageFault(f"read {count} bytes of a file of {size}")
        yield protocol.END

    def _bounded(self, size: int | None) -> None:
        if size is not None and size > self._options.max_bytes:
            raise protocol.too_large(f"a file of {size} bytes or more; max_bytes is {self._options.max_bytes}")

    @contextmanager
    def _line(self) -> Iterator[_Line]:
        ends = self._clock() + self._options.timeout
        connection = _connected(self._options, self._clock)
        with connection, selectors.PollSelector() as selector:
            connection.setblocking(False)
            yield _Line(connection, selector, lambda: ends - self._clock())


class _Line:
    """One connection, with the time that is left for it. Faults of the socket are `Busy`; nobody else's are touched."""

    __slots__ = ("_connection", "_left", "_reader", "_selector")

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector, left: Callable[[], float]) -> None:
        self._connection = connection
        self._selector = selector
        self._left = left
        self._reader = protocol.AnswerReader()
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def send(self, data: bytes) -> bytes | None:
        """Send all of it. When clamd says something meanwhile, stop sending and return its answer."""
        rest = memoryview(data)
        while rest:
            if self._ready(selectors.EVENT_READ | selectors.EVENT_WRITE) & selectors.EVENT_READ:
                return self.answer()
            try:
                rest = rest[self._connection.send(rest) :]
            except BlockingIOError:
                continue
            except ConnectionError:
                return self.answer()  # it may have said why before it closed
            except OSError as error:
                raise _broken(error) from error
        return None

    def answer(self) -> bytes:
        """Wait for the answer."""
        while True:
            self._ready(selectors.EVENT_READ)
            try:
                answer = self._reader.feed(self._connection.recv(_RECEIVE))
            except BlockingIOError:
                continue
            except OSError as error:
                raise _broken(error) from error
            if answer is not None:
                return answer

    def _ready(self, wanted: int) -> int:
        """What the connection is ready for, of what is wanted."""
        self._selector.modify(self._connection, wanted)
        left = self._left()
        found = self._selector.select(left) if left > 0 else []
        if not found:
            raise Busy("the scan is not done in time")
        return found[0][1]


def _broken(error: OSError) -> Busy:
    return Busy(f"the connection to clamd broke: {error.strerror or type(error).__name__}")


def _connected(options: Options, clock: Clock) -> socket.socket:
    """A connection to clamd, at the first of its addresses that takes one. Raises `Busy`."""
    ends = clock() + min(_CONNECT, options.timeout)
    fault = "no address answered in time"
    for family, address in _targets(options.address):
        left = ends - clock()
        if left <= 0:
            break
        try:
            return _opened(family, address, left)
        except OSError as error:
            fault = error.strerror or type(error).__name__
    raise Busy(f"clamd is not reached: {fault}")


def _targets(address: str | tuple[str, int]) -> list[tuple[int, Any]]:
    """Family and address of every place where clamd may be. Looking up a name takes as long as the system's resolver does."""
    if isinstance(address, str):
        return [(socket.AF_UNIX, address)]
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Busy(f"clamd's host is not known: {error}") from error
    return [(family, place) for family, _, _, _, place in found]


def _opened(family: int, address: Any, seconds: float) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
