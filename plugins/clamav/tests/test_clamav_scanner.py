"""What a scan sends, what it makes of limits and findings, and of files that are not what they say, over real sockets."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from clamd_medias import LARGE, SMALL, Given, Zeros
from clamd_servers import EICAR, Behaviour, Peer, answers, exactly, received

from secure_delivery.gate.errors import Busy
from secure_delivery.plugin import MemoryFile, NotFound, StorageFault, TooLarge
from secure_delivery_clamav import ClamavScanner

Start = Callable[[Behaviour], Peer]
LIMIT = b"INSTREAM size limit exceeded. ERROR\0"


# ------------------------------------------------------------------------------------------------------------ too large


def test_a_limit_is_heard_when_clamd_closes_on_it(peer: Start) -> None:
    """As the real one does: much of the file is sent and not read, so the connection breaks while we send."""

    def closes(connection: socket.socket) -> None:
        exactly(connection, 100_000)
        connection.sendall(LIMIT)

    scanner = ClamavScanner(peer(closes).options())
    for _ in range(20):
        with pytest.raises(TooLarge, match="StreamMaxLength"):
            scanner.scan(LARGE)


def test_a_limit_is_heard_when_clamd_stops_reading(peer: Start) -> None:
    ends: list[Peer] = []

    def stops(connection: socket.socket) -> None:
        exactly(connection, 100_000)
        connection.sendall(LIMIT)
        ends[0].gone.wait()

    ends.append(peer(stops))
    with pytest.raises(TooLarge, match="StreamMaxLength"):
        ClamavScanner(ends[0].options()).scan(LARGE)


def test_a_limit_is_heard_when_sending_failed_before(short: Path) -> None:
    """A piece cannot be sent any more (EPIPE), and only then clamd says why. The order is certain: the third piece is read when
    clamd has shut its end, and clamd speaks at the second look at the clock after that, which is the wait for its answer."""
    shut, speak = threading.Event(), threading.Event()
    looks: list[None] = []

    def closes(connection: socket.socket) -> None:
        exactly(connection, 10 + 2 * (4 + 65_536))
        connection.shutdown(socket.SHUT_RD)
        shut.set()
        speak.wait()
        connection.sendall(LIMIT)

    def clock() -> float:
        if shut.is_set():
            looks.append(None)
            if len(looks) == 2:
                speak.set()
        return 0.0

    class Waiting(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 2 << 16:
                shut.wait()
            return super().read(size)

    server = Peer(closes, short / "sock")
    try:
        with pytest.raises(TooLarge, match="StreamMaxLength"):
            ClamavScanner(server.options(), clock=clock).scan(Given(Waiting(bytes(10 << 16)), size=None))
    finally:
        speak.set()
        server.close()


def test_a_file_over_max_bytes_is_not_even_sent(peer: Start) -> None:
    server = peer(answers(b"stream: OK\0"))
    scanner = ClamavScanner(server.options(max_bytes=6))
    assert scanner.scan(MemoryFile(b"123456")) is None
    with pytest.raises(TooLarge, match="max_bytes"):
        scanner.scan(MemoryFile(b"1234567"))
    assert server.served == 1


def test_a_file_of_unknown_size_is_counted_while_it_is_sent(peer: Start) -> None:
    def reads(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    with pytest.raises(TooLarge, match="max_bytes"):
        ClamavScanner(peer(reads).options(max_bytes=1 << 20)).scan(Given(BytesIO(bytes((1 << 20) + 1)), size=None))


# ----------------------------------------------------------------------------------------------- found, and all is well


def test_found_is_told_also_when_clamd_did_not_wait_for_the_end(peer: Start) -> None:
    def finds(connection: socket.socket) -> None:
        exactly(connection, 100_000)
        connection.sendall(b"stream: Early.Bird FOUND\0")

    assert ClamavScanner(peer(finds).options()).scan(LARGE) == "Early.Bird"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [(b"stream: Rash FOUND\0", "Rash"), (LIMIT, TooLarge), (b"stream: OK\0", Busy)],
    ids=["found", "limit", "clean"],
)
def test_a_clamd_that_speaks_first_is_heard(peer: Start, said: bytes, outcome: Any) -> None:
    """Before it was sent the file: found is found, a limit is one, and clean is not believed."""
    spoken = threading.Event()

    def speaks(connection: socket.socket) -> None:
        connection.sendall(said)
        spoken.set()
        while connection.recv(1 << 16):
            pass

    class Waiting(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            spoken.wait()
            return super().read(size)

    scanner = ClamavScanner(peer(speaks).options())
    media = Given(Waiting(b"a file"), size=6)
    if isinstance(outcome, str):
        assert scanner.scan(media) == outcome
    else:
        with pytest.raises(outcome):
            scanner.scan(media)


def test_names_come_without_what_could_harm_a_log(peer: Start) -> None:
    name = "\x1b[31mRed\r\nstream: OK \u202e" + "x" * 500
    found = ClamavScanner(peer(answers(f"stream: {name} FOUND\0".encode())).options()).scan(SMALL)
    assert found == ("[31mRed stream: OK " + "x" * 500)[:200]


def test_an_answer_in_single_bytes_is_an_answer(peer: Start) -> None:
    def slowly(connection: socket.socket) -> None:
        received(connection)
        for byte in b"stream: OK\0":
            connection.sendall(bytes([byte]))

    assert ClamavScanner(peer(slowly).options()).scan(SMALL) is None


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_001])
def test_clamd_gets_the_file_byte_for_byte(peer: Start, size: int) -> None:
    got: list[bytes] = []

    def keeps(connection: socket.socket) -> None:
        got.append(received(connection))
        connection.sendall(b"stream: OK\0")

    data = (EICAR + bytes(range(256)) * 12_000)[:size]
    assert ClamavScanner(peer(keeps).options()).scan(MemoryFile(data)) is None
    assert got == [data]


def test_memory_does_not_grow_with_the_file(peer: Start) -> None:
    def reads(connection: socket.socket) -> None:
        exactly(connection, 10)
        piece = bytearray(1 << 16)
        while length := struct.unpack("!I", exactly(connection, 4))[0]:
            while length:
                length -= connection.recv_into(piece, min(length, len(piece)))
        connection.sendall(b"stream: OK\0")

    size = 64 << 20
    scanner = ClamavScanner(peer(reads).options(max_bytes=size))
    tracemalloc.start()
    try:
        assert scanner.scan(Given(Zeros(size), size=size)) is None
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


# --------------------------------------------------------------------------------------------------- faults of the file


@pytest.mark.parametrize("size", [7, 5])
def test_half_a_file_is_not_judged(peer: Start, size: int) -> None:
    """A storage that ends early, or has more than it said, gives something else than what will be delivered."""

    def reads(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    stream = BytesIO(b"a file")
    with pytest.raises(StorageFault, match="6 bytes of a file of"):
        ClamavScanner(peer(reads).options()).scan(Given(stream, size=size))
    assert stream.closed


def test_faults_of_the_file_are_told_as_they_are(peer: Start) -> None:
    """They are not clamd's: neither when it is opened nor while it is read."""

    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise NotFound("gone meanwhile")

    class Absent(Given):
        def open(self) -> BinaryIO:
            raise ConnectionResetError("of the storage")

    scanner = ClamavScanner(peer(answers(b"stream: OK\0")).options())
    stream = Broken()
    failures = _failures(scanner, [Given(stream, size=None), Absent(stream, size=None)])
    assert [type(failure) for failure in failures] == [NotFound, ConnectionResetError]
    assert stream.closed


def _failures(scanner: ClamavScanner, medias: list[Any]) -> list[Exception]:
    found = []
    for media in medias:
        try:
            scanner.scan(media)
        except Exception as error:
            found.append(error)
    return found


# ----------------------------------------------------------------------------------------------------- self-description


def test_it_describes_what_is_there(peer: Start) -> None:
    def clamd(connection: socket.socket) -> None:
        if exactly(connection, 6) == b"zPING\0":
            connection.sendall(b"PONG\0")
        else:
            assert exactly(connection, 3) == b"ON\0"
            connection.sendall(b"ClamAV 1.4.6/27500/Mon Jan  5 09:00:00 2026\0")

    assert ClamavScanner(peer(clamd).options()).describe() == "ClamAV 1.4.6/27500/Mon Jan 5 09:00:00 2026"


def test_something_else_than_clamd_is_not_described(peer: Start) -> None:
    def other(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"220 mail.example ESMTP\r\n\0")

    with pytest.raises(Busy, match="ping"):
        ClamavScanner(peer(other).options()).describe()
