"""Scanning with a clamd that misbehaves, over real sockets: whatever it does, no file passes as clean by it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
from clamd_medias import LARGE, SMALL, Given
from clamd_servers import Behaviour, Peer, answers, exactly, received

from secure_delivery.gate.errors import Busy
from secure_delivery_clamav import ClamavScanner
from secure_delivery_clamav.settings import Options

Start = Callable[[Behaviour], Peer]


# -------------------------------------------------------------------------------------------------------- misbehaviours


def closes_at_once(connection: socket.socket) -> None:
    pass


def closes_after_the_command(connection: socket.socket) -> None:
    exactly(connection, 10)


def closes_within_the_file(connection: socket.socket) -> None:
    exactly(connection, 15)


def closes_without_an_answer(connection: socket.socket) -> None:
    received(connection)


def resets(connection: socket.socket) -> None:
    exactly(connection, 10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says_clean_before_the_file(connection: socket.socket) -> None:
    exactly(connection, 10)
    connection.sendall(b"stream: OK\0")


def says_clean_within_the_file_and_reads_on(connection: socket.socket) -> None:
    exactly(connection, 100_000)
    connection.sendall(b"stream: OK\0")
    while connection.recv(1 << 16):
        pass


def says_half_of_it_before_the_file(connection: socket.socket) -> None:
    exactly(connection, 10)
    connection.sendall(b"stream: ")


def answers_without_an_end(connection: socket.socket) -> None:
    received(connection)
    while True:
        connection.sendall(b"stream: OK " * 1000)


BROKEN: dict[str, Behaviour] = {
    "closes at once": closes_at_once,
    "closes after the command": closes_after_the_command,
    "closes within the file": closes_within_the_file,
    "closes without an answer": closes_without_an_answer,
    "resets the connection": resets,
    "says clean before the file": says_clean_before_the_file,
    "says clean within the file": says_clean_within_the_file_and_reads_on,
    "says half of it before the file": says_half_of_it_before_the_file,
    "answers without an end": answers_without_an_end,
    "says clean without an end": answers(b"stream: OK"),
    "says clean and more": answers(b"stream: OK\0stream: Evil FOUND\0"),
    "says nothing, with an end": answers(b"\0"),
    "garbage": answers(bytes(range(255, -1, -1))),
    "another protocol": answers(b"HTTP/1.1 200 OK\r\n\r\nstream: OK\0"),
    "an error": answers(b"stream: Can't open file or directory ERROR\0"),
    "an answer of a session": answers(b"1: stream: OK\0"),
}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_broken_clamd_leaves_a_file_unjudged(behaviour: str, peer: Start) -> None:
    """Also a large one, which is still being sent when clamd has done its worst."""
    scanner = ClamavScanner(peer(BROKEN[behaviour]).options())
    with pytest.raises(Busy) as caught:
        scanner.scan(LARGE)
    assert caught.value.public == Busy.sentence


@pytest.mark.parametrize("behaviour", [name for name in BROKEN if not name.startswith("says clean ") or "the file" not in name])
def test_a_broken_clamd_leaves_a_small_file_unjudged(behaviour: str, peer: Start) -> None:
    """A small file is sent, with its end, before clamd has read any. So nobody can say for sure that one which calls it clean
    had not read it: those are met with a large file only."""
    with pytest.raises(Busy):
        ClamavScanner(peer(BROKEN[behaviour]).options()).scan(SMALL)


# ----------------------------------------------------------------------------------------------------------------- slow


def test_a_clamd_that_drips_is_given_up(peer: Start) -> None:
    """The deadline is for the whole scan: bytes that keep coming do not move it."""
    ends: list[Peer] = []

    def drips(connection: socket.socket) -> None:
        received(connection)
        while not ends[0].gone.wait(0.02):
            connection.sendall(b"s")

    ends.append(peer(drips))
    with pytest.raises(Busy, match="in time"):
        ClamavScanner(ends[0].options(timeout=0.5)).scan(SMALL)


@pytest.mark.parametrize("reads", [True, False])
def test_a_clamd_that_is_silent_is_given_up(peer: Start, reads: bool) -> None:
    """Both with the file sent and with the connection full of it."""
    ends: list[Peer] = []

    def sleeps(connection: socket.socket) -> None:
        if reads:
            received(connection)
        ends[0].gone.wait()

    ends.append(peer(sleeps))
    with pytest.raises(Busy, match="in time"):
        ClamavScanner(ends[0].options(timeout=0.5)).scan(SMALL if reads else LARGE)


def test_the_deadline_counts_what_the_storage_takes(peer: Start) -> None:
    """The clock is ours: it goes on by a minute with each piece that is read."""
    now = [0.0]

    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            now[0] += 60
            return super().read(size)

    scanner = ClamavScanner(peer(answers(b"stream: OK\0")).options(timeout=300), clock=lambda: now[0])
    assert scanner.scan(Given(Slow(bytes(3 << 16)), size=None)) is None
    with pytest.raises(Busy, match="in time"):
        scanner.scan(Given(Slow(bytes(6 << 16)), size=None))


# ----------------------------------------------------------------------------------------------------------------- away


def test_a_clamd_that_is_not_there_is_asked_again_later(short: Path) -> None:
    """No socket; a socket that nobody listens on; a file that is none; a port that nobody listens on; a name nobody has."""
    (short / "file").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket() as unused:
        deaf.bind(str(short / "deaf"))
        unused.bind(("127.0.0.1", 0))
        for address in (
            str(short / "nothing"), str(short / "deaf"), str(short / "file"), unused.getsockname(),
            ("clamd.invalid", 3310), ("-" * 80, 3310),
        ):  # fmt: skip
            scanner = ClamavScanner(Options(address=address))
            for ask in (lambda scanner=scanner: scanner.scan(SMALL), scanner.describe):
                with pytest.raises(Busy) as caught:
                    ask()
                assert caught.value.public == Busy.sentence
                assert str(short) not in caught.value.public


def test_a_host_may_be_a_name_with_addresses_where_nobody_listens() -> None:
    """The peer listens on 127.0.0.1 only; `localhost` is often ::1 as well."""
    server = Peer(answers(b"stream: OK\0"))
    try:
        assert ClamavScanner(Options(address=("localhost", server.address[1]))).scan(SMALL) is None  # type: ignore[arg-type]
    finally:
        server.close()


def test_a_file_is_not_opened_when_clamd_is_not_there(short: Path) -> None:
    class Untouched(Given):
        def open(self) -> BinaryIO:
            raise AssertionError("it was opened")

    with pytest.raises(Busy):
        ClamavScanner(Options(address=str(short / "nothing"))).scan(Untouched(BytesIO(), size=0))
