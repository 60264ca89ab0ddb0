"""Real servers on free ports, and a client that sends exactly the bytes it is given.

werkzeug and uvicorn run in threads of this process; granian runs as a process of its own, as it does in production. Each
server serves every framework and variant of its kind, chosen by the Host header (see `door_apps`).
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_PATIENCE = 20  # seconds until a server that does not answer is given up

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response as it came over the wire; header names in lower case."""

    status: int
    headers: Headers
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str | None:
        """The value of a header that is there once, or not at all."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a refusal of ours."""
        try:
            return self.json["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    name: str
    port: int

    def raw(self, request: bytes, *, method: str = "GET") -> Answer:
        """Send bytes as they are and read one response. What the server hangs up on while it is sent may be unfinished."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE) as connection:
            # Sending from a thread: a server may answer a long body before it has read it.
            sender = threading.Thread(target=_send, args=(connection, request))
            sender.start()
            try:
                response = http.client.HTTPResponse(connection, method=method)
                response.begin()
                headers = [(name.lower(), value) for name, value in response.getheaders()]
                return Answer(status=response.status, headers=headers, body=response.read())
            finally:
                _hang_up(connection)
                sender.join()

    def ask(
        self,
        method: str,
        target: str,
        *,
        host: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
    ) -> Answer:
        """One request on a connection of its own. `chunks` are sent without a Content-Length."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        message = io.BytesIO()
        if chunks is not None:
            lines.append("Transfer-Encoding: chunked")
        elif body is not None:
            lines.append(f"Content-Length: {len(body)}")
        message.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if chunks is not None:
            for chunk in chunks:
                message.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            message.write(b"0\r\n\r\n")
        else:
            message.write(body or b"")
        return self.raw(message.getvalue(), method=method)


def _send(connection: socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except OSError:  # it has answered and gone: what it said is read by the other thread
        pass


def _hang_up(connection: socket.socket) -> None:
    """Wake a sender that waits for a server which has stopped reading."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the server was faster
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, alive: Callable[[], bool]) -> None:
    """Until something listens. Raises when it dies or takes too long."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and alive():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    raise RuntimeError("the server did not start")


@contextmanager
def werkzeug_server(app: Any) -> Iterator[Server]:
    """werkzeug's own server, threaded, around a WSGI app."""
    import logging

    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Server(name="werkzeug", port=server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def uvicorn_server(app: Any, **options: Any) -> Iterator[Server]:
    """uvicorn in a thread around an ASGI app, lifespan included."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    config = uvicorn.Config(app, **{"log_level": "critical", "lifespan": "on", "ws": "none", **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        end = time.monotonic() + _PATIENCE
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise RuntimeError("uvicorn did not start")
            threading.Event().wait(0.02)
        yield Server(name="uvicorn", port=port)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def granian_server(interface: str, target: str, *extra: str) -> Iterator[Server]:
    """granian as a process of its own, serving `module:name` from this folder."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", interface, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--no-access-log", "--log-level", "critical", *extra, target]
    paths = [str(HERE), str(HERE.parent.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait(port, lambda: process.poll() is None)
        yield Server(name=f"granian-{interface}", port=port)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=_PATIENCE)
        sys.stderr.write(errors.decode(errors="replace"))
