"""HTTP/1.1 on a connection that is one's enemy: strict reading, every wait bounded, every size bounded.

Knows: the bytes of HTTP messages, their time limits. Must not know: URLs, addresses, what a body is for.

What is not exactly a message is a fault, never guessed at: bodies whose length is told twice, folded lines, codings we do not
know, bodies that end early. One connection carries one exchange, so nothing of one answer can be taken for the next.

Sources: RFC 9110, RFC 9112 (sections 2.2, 5.1, 6.3, 7.1), RFC 1952 (gzip); security promise 37 (waits, rate, sizes after
inflation, at most 100 headers).
"""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..gate.errors import SourceFault
from .outbound import Clock, Patience

MAX_HEADERS = 100
MAX_HEAD = 65_536  # bytes of all lines before a body, interim answers included; the same for what follows it
MAX_INTERIM = 8
PIECE = 65_536
_RECORD = 16_384  # bytes that TLS sends at once
#: Bytes that chunks may cost beyond what they carry: one byte a chunk would keep a processor busy for nothing.
MAX_FRAMING = 1_048_576

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_REQUEST = re.compile(rb"[A-Z]{1,20} [\x21-\x7e]+ HTTP/1\.1")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Wire:
    """One connection under all its time limits. `ends` is the moment, by the clock, when everything must be over."""

    def __init__(self, connection: socket.socket, *, patience: Patience, ends: float, clock: Clock) -> None:
        self._connection = connection
        self._patience = patience
        self._ends = ends
        self._clock = clock
        self._buffer = bytearray()
        self._received = 0
        self._first: float | None = None
        self._answer_by = ends
        self._head_left = MAX_HEAD

    def send(self, data: bytes) -> None:
        """Send everything; from now on the first byte of the answer is waited for. Raises `SourceFault`."""
        try:
            # Piece by piece: with TLS the time-out is one for each record, and a slow reader would be given it again and again.
            for start in range(0, len(data), _RECORD):
                self._connection.settimeout(self._left(self._ends, "is too slow"))
                self._connection.sendall(data[start : start + _RECORD])
        except OSError as error:
            raise SourceFault(f"sending failed: {error}") from None
        self._answer_by = min(self._ends, self._clock() + self._patience.first_byte)

    def _left(self, until: float, trouble: str) -> float:
        left = until - self._clock()
        if left <= 0:
            raise SourceFault(f"the other side {trouble}", public="The source is too slow.")
        return left

    def _more(self) -> bool:
        """Read what is there into the buffer; False at the end of the stream."""
        if self._first is None:
            left = self._left(self._answer_by, "does not answer")
        else:
            # The moment when so few bytes would be too few.
            pace = self._first + self._patience.grace + self._received / self._patience.rate
            left = self._left(min(self._ends, pace), "sends too slowly")
        try:
            self._connection.settimeout(left)
            data = self._connection.recv(PIECE)
        except TimeoutError:
            raise SourceFault("the other side stopped sending", public="The source is too slow.") from None
        except OSError as error:
            raise SourceFault(f"receiving failed: {error}") from None
        if self._first is None:
            self._first = self._clock()
        self._received += len(data)
        self._buffer += data
        return bool(data)

    def line(self) -> bytes:
        """The next line without its end, CRLF. All lines together stay within `MAX_HEAD`, until `renew`."""
        searched = 0
        while (at := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 1)
            if len(self._buffer) > self._head_left or not self._more():
                raise SourceFault("a line has no end")
        if (at := at + 2) > self._head_left:
            raise SourceFault("the head of the message is too long")
        self._head_left -= at
        line = bytes(self._buffer[: at - 2])
        del self._buffer[:at]
        return line

    def renew(self) -> None:
        """Allow another `MAX_HEAD` bytes of lines."""
        self._head_left = MAX_HEAD

    def take(self, most: int) -> bytes:
        """Some bytes, at most so many; none at the end of the stream."""
        if not self._buffer:
            self._more()
        taken = bytes(self._buffer[:most])
        del self._buffer[:most]
        return taken

    def rest(self) -> bytes:
        """What was received and not used yet."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Header fields in order, names in lower case, values as Latin-1."""

    items: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Every value of a field that may come more than once."""
        return [value for key, value in self.items if key == name]

    def one(self, name: str) -> str | None:
        """The value of a field, None without it. Raises `SourceFault` when it comes twice with different values."""
        values = set(self.all(name))
        if len(values) > 1:
            raise SourceFault(f"{name} is told more than once")
        return values.pop() if values else None

    def text(self, name: str) -> str | None:
        """A value as senders mean it: UTF-8 where it is that."""
        value = self.one(name)
        try:
            return value if value is None else value.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of an answer."""

    version: int  # the minor one, 0 or 1
    status: int
    fields: Fields


def read_fields(wire: Wire) -> Fields:
    """Header or trailer fields up to the empty line. Raises `SourceFault`."""
    items: list[tuple[str, str]] = []
    while line := wire.line():
        name, colon, value = line.partition(b":")
        if len(items) == MAX_HEADERS:
            raise SourceFault(f"more than {MAX_HEADERS} header fields")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise SourceFault("a header field is malformed")
        items.append((name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")))
    return Fields(items=tuple(items))


def read_head(wire: Wire) -> Head:
    """The head of the final answer; interim ones are passed over. Raises `SourceFault`."""
    for _ in range(MAX_INTERIM):
        found = _STATUS.fullmatch(wire.line())
        if found is None:
            raise SourceFault("the answer is not HTTP/1.1")
        head = Head(version=int(found[1]), status=int(found[2]), fields=read_fields(wire))
        if head.status == 101:
            break
        if head.status >= 200:
            return head
    raise SourceFault("the answer never comes to the point")


def request_head(method: str, resource: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request. Raises ValueError for anything that would not stay in its place."""
    lines = [f"{method} {resource} HTTP/1.1".encode("ascii")]
    if not _REQUEST.fullmatch(lines[0]):
        raise ValueError("a request line is malformed")
    for name, value in fields:
        key, content = name.encode("ascii"), value.encode("latin-1")
        if not _TOKEN.fullmatch(key) or not _VALUE.fullmatch(content):
            raise ValueError("a header field is malformed")
        lines.append(key + b": " + content)
    return b"\r\n".join([*lines, b"", b""])


def length_of(fields: Fields) -> int | None:
    """The Content-Length, None without one. Raises `SourceFault` for one that is no number."""
    text = fields.one("content-length")
    if text is not None and not _LENGTH.fullmatch(text):
        raise SourceFault("the length of the body is malformed")
    return None if text is None else int(text)


def body(wire: Wire, head: Head) -> Iterator[bytes]:
    """The body of an answer to GET, in pieces, as it was framed. Raises `SourceFault` when it does not end as it should."""
    length, transfer = length_of(head.fields), head.fields.all("transfer-encoding")
    if transfer:
        if length is not None or head.version == 0 or [value.lower() for value in transfer] != ["chunked"]:
            raise SourceFault("the length of the body is told in more than one way, or in one nobody knows")
        yield from _chunks(wire)
    elif length is not None:
        yield from _exactly(wire, length)
    else:
        while piece := wire.take(PIECE):
            yield piece


def _exactly(wire: Wire, length: int) -> Iterator[bytes]:
    while length:
        piece = wire.take(min(length, PIECE))
        if not piece:
            raise SourceFault("the body ends early")
        length -= len(piece)
        yield piece


def _chunks(wire: Wire) -> Iterator[bytes]:
    framing = carried = 0
    while True:
        wire.renew()
        line = wire.line()
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise SourceFault("a chunk is malformed")
        size = int(found[1], 16)
        if size == 0:
            read_fields(wire)
            return
        framing, carried = framing + len(line) + 4, carried + size
        if framing > MAX_FRAMING + carried:
            raise SourceFault("the body is more framing than content")
        yield from _exactly(wire, size)
        if wire.line():
            raise SourceFault("a chunk is longer than it says")


def inflated(pieces: Iterator[bytes], fields: Fields) -> Iterator[bytes]:
    """A body without its content coding, never more than `PIECE` bytes at a time. Raises `SourceFault`."""
    coding = ", ".join(fields.all("content-encoding")).lower()
    if coding in ("", "identity"):
        return pieces
    if coding in ("gzip", "x-gzip"):
        return _inflate(pieces, zlib.MAX_WBITS | 16)
    if coding == "deflate":
        return _inflate(pieces, zlib.MAX_WBITS)
    raise SourceFault(f"a content coding that was not asked for: {coding[:40]}")


def _inflate(pieces: Iterator[bytes], window: int) -> Iterator[bytes]:
    """Members one after the other for gzip; for `deflate` the zlib format, or the bare one that some senders mean."""
    inflater, begun = zlib.decompressobj(window), False
    try:
        for piece in pieces:
            if not begun and window == zlib.MAX_WBITS and piece[0] & 0x0F != 8:
                inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            begun, waiting = True, piece
            while waiting:
                if inflater.eof:
                    if window == zlib.MAX_WBITS:
                        raise SourceFault("something follows the compressed body")
                    inflater = zlib.decompressobj(window)
                if out := inflater.decompress(waiting, PIECE):
                    yield out
                waiting = inflater.unconsumed_tail or inflater.unused_data
            # What is left inside is given out before more is taken in.
            while not inflater.eof and (out := inflater.decompress(b"", PIECE)):
                yield out
    except zlib.error as error:
        raise SourceFault(f"the compressed body is damaged: {error}") from None
    if not inflater.eof:
        raise SourceFault("the compressed body ends early")


def checked_headers(headers: Mapping[str, str], reserved: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Header fields a caller wants to send besides ours. Raises ValueError for one that is ours to set or malformed."""
    for name, value in headers.items():
        if name.lower() in reserved or name.lower().startswith("proxy-"):
            raise ValueError(f"the header {name[:40]} is not the caller's to set")
        if not _TOKEN.fullmatch(name.encode("ascii")) or not _VALUE.fullmatch(value.encode("latin-1")):
            raise ValueError("a header field is malformed")
    return tuple(headers.items())
