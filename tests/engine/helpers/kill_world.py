"""The world around workers: a source of files, a receiver of webhooks and a bucket, each of which holds when a test says so."""

from __future__ import annotations

import io
import json
import mimetypes
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from buckets import READING, S3Server, bucket_server
from PIL import Image

PATIENCE = 60.0  # seconds that a slow machine may take for anything


class Gate:
    """Who comes first waits until it is opened; who comes later passes."""

    def __init__(self, after: int = 0) -> None:
        self._after = after
        self._lock = threading.Lock()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def enter(self) -> None:
        with self._lock:
            if self._after or self.reached.is_set():
                self._after -= self._after > 0
                return
            self.reached.set()
        self.opened.wait(PATIENCE)


class World:
    """`files` counts how often each was asked for; `told` has what came to each hook: event id and body.

    Gates are set by name: `file/NAME` before a file is sent, `hook/NAME` before a webhook is answered, `put` before an object
    is written.
    """

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.files: Counter[str] = Counter()
        self.told: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.contents: dict[str, bytes] = {}
        self.lock = threading.Lock()
        world = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
                """Nothing is printed."""

            def do_GET(self) -> None:
                name = self.path.strip("/")
                with world.lock:
                    world.files[name] += 1
                world.enter(name)
                body = world.contents.get(name) or _picture()
                self.send_response(200)
                self.send_header("Content-Type", mimetypes.guess_type(name)[0] or "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                name = self.path.strip("/")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with world.lock:
                    world.told.setdefault(name, []).append((str(self.headers["webhook-id"]), body))
                world.enter(name)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asked is often killed before the answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._bucket = bucket_server()
        self.bucket: S3Server = self._bucket.__enter__()
        self.bucket.denied.update(READING)
        self.bucket.fault_for = self._before_put  # type: ignore[method-assign]
        self._thread.start()

    def _before_put(self, operation: str) -> None:
        if operation == "PutObject":
            self.enter("put")

    def enter(self, name: str) -> None:
        gate = self.gates.get(name)
        if gate is not None:
            gate.enter()

    def hold(self, name: str, after: int = 0) -> Gate:
        """Have the next that comes there wait, or one that comes after so many."""
        self.gates[name] = Gate(after)
        return self.gates[name]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def objects(self, folder: str) -> set[str]:
        """Names of the objects in a folder of the bucket."""
        with self.bucket.lock:
            keys = [key for bucket, key in self.bucket.objects if bucket == "bucket"]
        return {key.removeprefix(f"{folder}/") for key in keys if key.startswith(f"{folder}/")}

    def close(self) -> None:
        for gate in self.gates.values():
            gate.opened.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._bucket.__exit__(None, None, None)


def _picture() -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (120, 80), (20, 120, 200)).save(into, "PNG")
    return into.getvalue()
