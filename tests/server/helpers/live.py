"""Real servers for the tests: a process, a socket, a data folder of its own; applications are made from this process.

A server is started by the command line (granian) or by uvicorn from the factory. The tests reach its database through an
engine of their own, so whatever they see of each other went through the database.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import Engine, build
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.gate.model import Application

HELPERS = Path(__file__).parent
START = 30  # seconds a server may take to come up on a slow, busy machine


@dataclass(frozen=True)
class Reply:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # lower-case names; values of a repeated header joined by ", "
    body: bytes
    repeated: frozenset[str] = frozenset()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a JSON error, or the status where there is none: what a refusal is compared by."""
        try:
            return str(self.json()["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return f"no JSON error: {self.status} {self.body[:120]!r}"


def read_reply(response: http.client.HTTPResponse) -> Reply:
    headers: dict[str, str] = {}
    repeated = set()
    for name, value in response.getheaders():
        if name.lower() in headers:
            repeated.add(name.lower())
            value = f"{headers[name.lower()]}, {value}"
        headers[name.lower()] = value
    return Reply(response.status, headers, response.read(), frozenset(repeated))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server and an engine on the same data."""

    data: Path
    port: int
    engine: Engine
    argv: list[str]
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    extra_logs: list[Path] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.parent / f"server-{self.port}.log"

    # -- the process

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(self.env), cwd=self.data.parent,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/health/ready").status == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the server did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server and everything it started."""
        if self.process is None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.send_signal(number)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    # -- requests

    def connect(self, timeout: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Reply:
        """One request on its own connection. The target goes out exactly as given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection._validate_path = lambda url: None  # type: ignore[attr-defined]
        connection._encode_request = lambda line: line.encode("latin-1")  # type: ignore[attr-defined]
        try:
            connection.putrequest(method, target, skip_accept_encoding=True, skip_host="host" in map(str.lower, headers or ()))
            for name, value in (headers or {}).items():
                connection.putheader(name, value.encode("latin-1"))
            named = {name.lower() for name in headers or ()}
            if body is not None and not named & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if body is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all read
                    connection.send(body)
            return read_reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", target, headers=headers)

    def post(self, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", target, body=body, headers=headers)

    def exchange(self, data: bytes, *, shut: bool = False, timeout: float = 15) -> bytes:
        """Bytes to the server as they are, and all it says until it closes or falls silent."""
        with self.connect(timeout) as connection:
            with contextlib.suppress(OSError):  # refused before it was all said
                connection.sendall(data)
                if shut:
                    connection.shutdown(socket.SHUT_WR)
            said = io.BytesIO()
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    said.write(piece)
            return said.getvalue()

    # -- what is stored

    def application(self, **switches: Any) -> Application:
        return self.engine.records.create_application("test", **switches)[0]

    def put(self, application: Application, data: bytes, filename: str = "file.bin") -> FileLink:
        with self.engine.files.begin(application, Target(filename=filename)) as upload:
            upload.write(data)
            return self.engine.files.add(application, upload)

    def current(self, api_key: str) -> Application:
        found = self.engine.records.application(api_key)
        assert found is not None
        return found

    def blobs(self) -> set[Path]:
        """Everything in the storage: what was published, and drafts; not second names that were lent for a moment."""
        return {path for path in (self.data / "files").rglob("*") if path.is_file() and path.parent.name != "sent"}

    def written(self) -> Iterator[tuple[Path, bytes]]:
        """Everything that the server wrote: logs, database, keys, stored files."""
        for path in [self.log, *sorted(self.data.rglob("*"))]:
            if path.is_file():
                yield path, path.read_bytes()


def make_server(
    folder: Path, *, runner: str = "granian", database: str = "", factory: str = "", settings: Mapping[str, Any] | None = None
) -> Server:
    """A server that is not started yet. `factory` names one in `helpers/` instead of the project's own."""
    data = folder / "data"
    values: dict[str, Any] = {"data": str(data), "database": database, "decoders": "2"} | dict(settings or {})
    env = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    env |= {PREFIX + name.upper(): str(value) for name, value in values.items() if value != ""}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HELPERS), os.environ.get("PYTHONPATH")]))
    port = free_port()
    if runner == "granian":
        argv = [sys.executable, "-m", "secure_delivery", "serve", "--port", str(port)]
    else:
        app = factory or "secure_delivery.server:application"
        argv = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port), "--no-access-log", "--log-level=info"]
    engine = build(Settings.read({name: value for name, value in values.items() if value != ""}))
    return Server(data=data, port=port, engine=engine, argv=argv, env=env)


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Server]:
    server = make_server(folder, **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.engine.close()


def picture(width: int = 400, height: int = 300, kind: str = "JPEG") -> bytes:
    """A picture with something in it, so that sizes and turns can be told."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((200, 30, 30), (0, 0, max(1, width // 4), max(1, height // 4)))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def multipart(*parts: tuple[str, bytes], boundary: str = "b0undary") -> tuple[bytes, dict[str, str]]:
    """A multipart body of (part header lines, content), and the header that goes with it."""
    body = b"".join(
        f"--{boundary}\r\n".encode() + head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def file_part(content: bytes, filename: str = "file.bin", name: str = "fileUpload", more: str = "") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"{more}', content
