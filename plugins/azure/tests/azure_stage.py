"""What the tests play on: Azurite as a process of its own, a proxy before it that fails on demand, a `Dial` that keeps count.

Azurite is Microsoft's emulator of the service. It comes from npm, into the cache folder of the test runner.
"""

from __future__ import annotations

import base64
import fcntl
import http.client
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

AZURITE = "azurite@3.37.0"
HOST = "azure.test"
_INSTALL = 600  # seconds
_START = 60


def unavailable(why: str) -> NoReturn:
    """A visible skip, and a failure where CI promises the emulator."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def azurite_program(folder: Path) -> list[str]:
    """The command that starts Azurite, installed now or in an earlier run."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("node and npm are not installed: Azurite needs them")
    program = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    done = folder / "installed"
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AZURITE]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of the same run want it too
        if not (done.exists() and done.read_text() == AZURITE and program.exists()):
            try:
                ran = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL, cwd=folder, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                unavailable(f"npm: {error}")
            if ran.returncode != 0 or not program.exists():
                unavailable(f"Azurite could not be installed: {ran.stderr[-300:]}")
            done.write_text(AZURITE)
    return [node, str(program)]


class Azurite:
    """A running emulator with one account, whose key is made up for this run. Everything is in its memory."""

    def __init__(self, program: list[str]) -> None:
        self.account = "testaccount"
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self._command = [
            *program,
            *("--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"),
            *("--disableProductStyleUrl", "--disableTelemetry", "--silent"),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Azurite:
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        said: list[str] = []
        listening = threading.Event()

        def listen(stream: Any) -> None:
            for line in stream:
                said.append(line)
                if found := re.search(r"listen\w* (?:on|at) http://127\.0\.0\.1:(\d+)", line):
                    self.port = int(found[1])
                    listening.set()
            listening.set()

        self._reader = threading.Thread(target=listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        listening.wait(_START)
        if not self.port:
            self.__exit__()
            pytest.fail(f"Azurite did not start: {''.join(said)[-500:]}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(_START)
        self._reader.join(_START)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.account}"

    def service(self) -> Any:
        """The official client, straight to the emulator."""
        from azure.core.credentials import AzureNamedKeyCredential
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint, credential=AzureNamedKeyCredential(self.account, self.key), retry_total=0)

    def make_container(self, name: str, **how: Any) -> None:
        with self.service() as service:
            service.create_container(name, **how)


class WayOut:
    """A `Dial` to made-up hosts on this machine; it keeps who was asked for. Nothing else resolves them."""

    def __init__(self, hosts: dict[str, int]) -> None:
        self.hosts = hosts
        self.calls: list[tuple[str, int, float]] = []

    def __call__(self, host: str, port: int, seconds: float) -> socket.socket:
        self.calls.append((host, port, seconds))
        if host not in self.hosts:
            raise OSError(f"no way to {host}")
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        try:
            connection.connect(("127.0.0.1", self.hosts[host]))
        except OSError:
            connection.close()
            raise
        return connection


@dataclass
class Trouble:
    """Goes wrong for requests that match, so many times. `how` is a status (with a `code`), or `reset` (no answer), `late`
    (done, then no answer), `stall` (no answer until the end of the test), `cut` (an answer that breaks off)."""

    match: Callable[[str, str], bool]
    how: int | str
    times: int = 1
    code: str = "ServerBusy"
    message: str = "secret words of the provider"
    then: Callable[[], object] = lambda: None


class Stage:
    """A proxy before the emulator: it keeps what was asked for, and lets requests go wrong."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.troubles: list[Trouble] = []
        self.over = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Stage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def trouble(self, method: str, part: str, how: int | str, times: int = 1, **more: Any) -> None:
        """Let the next requests with this method, and this in their target, go wrong."""
        self.troubles.append(Trouble(lambda asked, target: asked == method and part in target, how, times, **more))

    def methods(self) -> list[str]:
        return [method for method, _, _ in self.asked]

    def take(self, method: str, target: str) -> Trouble | None:
        with self.lock:
            for trouble in self.troubles:
                if trouble.times and trouble.match(method, target):
                    trouble.times -= 1
                    return trouble
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, stage: Stage, *arguments: Any) -> None:
        self.stage = stage
        super().__init__(*arguments)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is printed."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the other side left, which is what tests want
            self.close_connection = True

    def handle_one_request(self) -> None:
        """One request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        stage = self.stage
        stage.asked.append((self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = stage.take(self.command, self.path)
        how = trouble.how if trouble else ""
        if trouble is not None:
            trouble.then()
        if how == "stall":
            stage.over.wait()
            self.close_connection = True
        elif how == "reset":
            self._break()
        elif trouble is not None and isinstance(how, int):
            said = f"<?xml version='1.0'?><Error><Code>{trouble.code}</Code><Message>{trouble.message}</Message></Error>"
            headers = {"x-ms-error-code": trouble.code, "Content-Type": "application/xml"}
            headers |= {"Location": "http://elsewhere.test/"} if 300 <= how < 400 else {}
            self._say(how, headers, said.encode(), len(said.encode()))
        else:
            self._forward(body, str(how))

    def _forward(self, body: bytes, how: str) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.stage.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            if how == "late":
                answer.read()
                return self._break()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            size = int(answer.headers.get("Content-Length") or 0)
            if self.command == "HEAD" or answer.status in (204, 304):
                return self._say(answer.status, headers, b"", size)
            if not how and size > 1 << 20:
                return self._stream(answer, headers, size)
            data = answer.read()
            if how == "cut":
                self.close_connection = True
                return self._say(answer.status, headers, data[: len(data) // 2], len(data))
            return self._say(answer.status, headers, data, len(data))
        finally:
            upstream.close()

    def _stream(self, answer: http.client.HTTPResponse, headers: dict[str, str], size: int) -> None:
        self._say(answer.status, headers, b"", size)
        while piece := answer.read(65536):
            self.wfile.write(piece)

    def _say(self, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _break(self) -> None:
        """End the connection as a crash does: with a reset, nothing said."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
