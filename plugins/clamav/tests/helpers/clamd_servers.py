"""Servers for the scanner's tests: a clamd that misbehaves as it is told, and a real one with signatures of our own."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from secure_delivery_clamav.settings import Options

#: The test file of the European Institute for Computer Antivirus Research, put together only while tests run: scanners are to
#: leave this checkout alone.
EICAR = b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"))
MARKER = b"".join((b"secure-delivery", b"-marker-of-the-tests"))

Behaviour = Callable[[socket.socket], None]


# ------------------------------------------------------------------------------------------------- one that misbehaves


def received(connection: socket.socket) -> bytes:
    """All of a file as clamd reads it, written down here once more from clamd(8)."""
    assert exactly(connection, 10) == b"zINSTREAM\0"
    data = bytearray()
    while length := struct.unpack("!I", exactly(connection, 4))[0]:
        data += exactly(connection, length)
    return bytes(data)


def exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(count - len(data), 1 << 16))
        if not piece:
            raise ConnectionError("the scanner closed")
        data += piece
    return bytes(data)


def answers(answer: bytes) -> Behaviour:
    """Reads the whole file, then says this."""

    def behave(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(answer)

    return behave


class Peer:
    """A server that behaves as it is told with each connection, in a thread of its own, and closes it afterwards.

    `served` counts connections, `failures` holds what went wrong in the server itself: broken connections are no failure,
    because the scanner may go away from a peer like this.
    """

    def __init__(self, behave: Behaviour, place: Path | None = None) -> None:
        self._behave = behave
        self.gone = threading.Event()
        self.served = 0
        self.failures: list[BaseException] = []
        self._listener = socket.socket(socket.AF_INET if place is None else socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0) if place is None else str(place))
        self._listener.listen(32)
        self.address: str | tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def options(self, **values: float) -> Options:
        """How to reach it; a test that hangs fails after a while."""
        return Options(address=self.address, **({"timeout": 30.0} | values))  # type: ignore[arg-type]

    def close(self) -> None:
        self.gone.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.served += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._behave(connection)
            except ConnectionError:
                pass
            except BaseException as error:
                self.failures.append(error)


# ---------------------------------------------------------------------------------------------------------- a real one

#: MaxFileSize is below StreamMaxLength so that both limits can be met; AlertExceedsMax as the README asks for it.
_CONFIG = """
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}/temporary
LocalSocket {folder}/clamd.sock
TCPSocket {port}
TCPAddr 127.0.0.1
Foreground yes
AlertExceedsMax {alert}
StreamMaxLength 8M
MaxFileSize 6M
MaxScanSize 24M
MaxThreads 4
"""
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_PATIENCE = 60.0  # seconds until a clamd that says nothing is given up


def program() -> str:
    """clamd, or a visible skip; a failure where CI promises one."""
    found = shutil.which("clamd", path=_PATH)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no clamd for the scanner's tests")
        pytest.skip("no clamd: install clamav-daemon to run these tests")
    return found


class Clamd:
    """A clamd with a folder of its own; `path` and `port` are where it listens."""

    def __init__(self, folder: Path, *, alert: bool = True) -> None:
        self._program = program()
        self._folder = folder
        self.path = str(folder / "clamd.sock")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (folder / "temporary").mkdir()
        signatures = folder / "signatures"
        signatures.mkdir()
        (signatures / "tests.hdb").write_text(f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Tests.Eicar\n")
        (signatures / "tests.ndb").write_text(f"Tests.Marker:0:*:{MARKER.hex()}\n")
        alerts = "yes" if alert else "no"
        (folder / "clamd.conf").write_text(_CONFIG.format(folder=folder, port=self.port, alert=alerts))

    @contextmanager
    def running(self) -> Iterator[Clamd]:
        command = [self._program, "--config-file", str(self._folder / "clamd.conf")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            watchdog = threading.Timer(_PATIENCE, process.kill)
            watchdog.start()
            said: list[str] = []
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if line.startswith("Self checking"):  # the last it says before it takes connections
                    break
            watchdog.cancel()
            drain = threading.Thread(target=process.stdout.read)
            drain.start()
            try:
                if process.poll() is not None:
                    pytest.fail(f"clamd did not start:\n{''.join(said)}")
                yield self
            finally:
                process.terminate()
                process.wait(_PATIENCE)
                drain.join()
