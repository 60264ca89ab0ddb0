"""One place in the pool: a worker process, how it is started, asked and ended.

Knows: processes, the socket to one of them. Must not know: what a job is, who waits for a place.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

from ..gate.errors import ConfigurationError, ProcessingLimit, TimedOut
from . import sandbox_wire

STOP = 0.5  # seconds a worker has to end by itself
_START = 60.0  # seconds to import every plugin on a slow, busy machine

# The engine's own package is entered without running its `__init__`, which wires the database and the vault: a process
# that forks decoders loads neither (security promise 45).
_BOOT = """
import sys
from importlib.util import find_spec, module_from_spec
sys.modules["secure_delivery.engine"] = module_from_spec(find_spec("secure_delivery.engine"))
from secure_delivery.engine.sandbox_worker import main
main()
"""

# Nothing of our own environment: it may hold secrets. One pool of memory per thread would eat the bound on address space,
# and libraries that compute on every core would only take turns: there are as many workers as cores.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    connection: socket.socket
    complaints: IO[bytes]

    def last_words(self) -> str:
        """The end of what a worker that did not come up printed."""
        self.complaints.seek(max(0, self.complaints.seek(0, os.SEEK_END) - 2000))
        return self.complaints.read().decode("utf-8", "replace").strip() or "it ended without a word"


class Place:
    """One place in the pool: a worker process while there is one. Used by one thread at a time, but for `interrupt`."""

    def __init__(self, hello: bytes) -> None:
        self._hello = hello
        self._worker: _Worker | None = None

    @property
    def alive(self) -> bool:
        return self._worker is not None and self._worker.process.poll() is None

    def launch(self) -> None:
        """Start a worker; `greet` waits for it. Raises `ConfigurationError`."""
        self.stop()
        ours, theirs = socket.socketpair()
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
                [sys.executable, "-I", "-c", _BOOT],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its workers in order
            )
        except OSError as error:
            ours.close()
            complaints.close()
            raise ConfigurationError(f"no decoder process could be started: {error}") from None
        finally:
            theirs.close()
        self._worker = _Worker(process, ours, complaints)

    def greet(self) -> Mapping[str, Any]:
        """Tell a launched worker its plugins and wait until it has them; what it says about itself.

        Raises `ConfigurationError` with its complaint when it does not come up.
        """
        worker = self._worker
        if worker is None:
            raise ConfigurationError("no decoder process was started")
        deadline = time.monotonic() + _START
        try:
            sandbox_wire.send(worker.connection, self._hello, deadline=deadline)
            answer, _ = sandbox_wire.receive(worker.connection, deadline=deadline)
        except (EOFError, OSError, ValueError):
            worker.process.kill()
            worker.process.wait()
            answer = {"failed": worker.last_words()}
        if "failed" in answer:
            self.stop()
            raise ConfigurationError(f"no decoder process could be started: {answer['failed']}")
        return dict(answer)

    def ask(self, job: bytes, files: Sequence[int], deadline: float) -> Mapping[str, Any] | None:
        """Have a job done; how it ended, or `None` when the worker was gone before it took the job.

        Raises `ProcessingLimit` when the worker is late or ends during the job; it is stopped then.
        """
        worker = self._worker
        if worker is None:
            return None
        taken = False
        try:
            sandbox_wire.send(worker.connection, job, files, deadline=deadline)
            sandbox_wire.receive(worker.connection, deadline=deadline)
            taken = True
            return dict(sandbox_wire.receive(worker.connection, deadline=deadline)[0])
        except (EOFError, OSError, ValueError) as error:
            self.stop()
            if isinstance(error, TimeoutError):
                raise TimedOut("the worker did not keep the deadline") from None
            if taken:
                raise ProcessingLimit("the worker ended during the job") from None
            return None

    def interrupt(self) -> None:
        """From any thread: have the worker end its child and itself."""
        worker = self._worker
        if worker is not None:
            try:
                worker.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already

    def stop(self) -> None:
        """End the worker. It ends its child when it can; when it cannot, the child dies with it."""
        worker = self._worker
        if worker is None:
            return
        self.interrupt()
        try:
            worker.process.wait(STOP)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        self._worker = None
        worker.connection.close()
        worker.complaints.close()
