"""A small real HTTP server that speaks the upload protocol, keeps what it was asked, and fails on demand.

It is strict: what a client may not leave out is a 400 here. Contents are kept as digests, so that it stays small while big
files pass.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from secure_delivery.client import Retry

KEY = "AclientClientClientCl1"
HANDLE = "handlehandlehandle01"
#: Nobody waits in these tests: how long pauses are is asserted where flows are tested, without a clock.
QUICK = Retry(attempts=4, first=0.001, longest=0.002)


class Shop(NamedTuple):
    """An application, as its owner knows it."""

    api_key: str
    secret: bytes


@dataclass
class Asked:
    """A request as it came. `body` is kept for JSON only."""

    step: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    length: int = 0
    connection: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Fault:
    """What goes wrong at a step: an answer, a `reset`, `silence`, a `short` body, or a wrong or missing `etag`.

    `late`: the work is done first, and then the answer is lost.
    """

    kind: str = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": {"code": "broken", "message": "It broke."}}'
    part: int | None = None
    times: int = 1
    late: bool = False


@dataclass
class Session:
    """One upload."""

    size: int
    start: dict[str, Any]
    digests: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    done: bool = False


class Recorder:
    """The server. `asked` is what came, in order; `fail` sets what goes wrong; `url` is where it is."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.sessions: dict[str, Session] = {}
        self.tickets: dict[str, tuple[str, int, str]] = {}
        self.files: dict[str, bytes] = {}
        self.not_ready = 0  # times that complete answers 202
        self.most_at_once = 0
        self.released = threading.Event()  # ends every silence
        self.location: str | None = None
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()
        self._now = 0
        self._meeting: threading.Barrier | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.recorder = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.at}"

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, step: str, **fault: Any) -> None:
        self._faults.setdefault(step, []).append(Fault(**fault))

    def meet(self, number: int) -> None:
        """Let the first so many PUTs wait for each other: they pass only if they are under way at the same time."""
        self._meeting = threading.Barrier(number)

    def steps(self, step: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.step == step]

    @property
    def session(self) -> Session:
        (session,) = self.sessions.values()
        return session

    # -- used by the handler

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)

    def fault(self, step: str, part: int | None) -> Fault | None:
        with self._lock:
            for fault in self._faults.get(step, []):
                if fault.times > 0 and fault.part in (None, part):
                    fault.times -= 1
                    return fault
        return None

    def arrive(self) -> None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            meeting = self._meeting
        if meeting is not None:
            meeting.wait(20)
            self._meeting = None

    def leave(self) -> None:
        with self._lock:
            self._now -= 1


class Bad(Exception):
    """What the protocol does not allow."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return

    @property
    def recorder(self) -> Recorder:
        found: Recorder = self.server.recorder  # type: ignore[attr-defined]
        return found

    def do_POST(self) -> None:
        self._handle()

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        step = _step(self.command, parts.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(step, self.command, parts.path, query, headers, connection=self.client_address[1])
        ticket = parts.path.rpartition("/")[2] if step == "put" else ""
        part = self.recorder.tickets[ticket][1] if ticket in self.recorder.tickets else None
        if step == "put":
            self.recorder.arrive()
        try:
            digest = self._read(asked)
            if step in ("upload", "commit") and asked.body:
                part = asked.json.get("part")
            self.recorder.note(asked)
            fault = self.recorder.fault(step, part)
            if fault is not None and not fault.late and self._misbehave(fault):
                return
            answer, more = self._answered(asked, ticket, digest, fault)
        except Bad as bad:
            self._send(bad.status, json.dumps({"error": {"code": "bad", "message": str(bad)}}).encode())
            return
        finally:
            if step == "put":
                self.recorder.leave()
        if fault is not None and fault.late:
            self._misbehave(fault)
            return
        status = int(more.pop("status", "200"))
        self._send(status, answer, more)

    def _read(self, asked: Asked) -> str:
        """Read the body away, keeping its digest, and itself where it is small."""
        left = int(self.headers.get("content-length", "0"))
        digest = hashlib.md5()
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                break
            left -= len(piece)
            asked.length += len(piece)
            digest.update(piece)
            if asked.step != "put" and asked.length < 1 << 22:
                asked.body += piece
        return digest.hexdigest()

    def _misbehave(self, fault: Fault) -> bool:
        """Do what the fault says; False where it concerns the answer only."""
        if fault.kind == "status":
            self._send(fault.status, fault.body, {"Content-Type": "application/json", **fault.headers})
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault.kind == "silence":
            self.recorder.released.wait(30)
            self.close_connection = True
        else:
            return False
        return True

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        shown = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in shown.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    # -- the protocol

    def _answered(self, asked: Asked, ticket: str, digest: str, fault: Fault | None) -> tuple[bytes, dict[str, str]]:
        if asked.step == "put":
            return b"", self._put(asked, ticket, digest, fault)
        if asked.step == "file":
            return self._file(asked, fault)
        answers = {"start": self._start, "upload": self._upload, "complete": self._complete, "process": self._process}
        answer = answers.get(asked.step, self._store)(asked)
        status = "202" if answer is None else "200"
        return json.dumps(answer or {}).encode(), {"status": status}

    def _start(self, asked: Asked) -> dict[str, Any]:
        members = asked.json
        if members.get("apikey") != KEY:
            raise Bad("apikey", 401)
        for name, kind in {"filename": str, "mimetype": str, "size": int, "store": dict}.items():
            if type(members.get(name)) is not kind:
                raise Bad(f"{name} is missing")
        token = secrets.token_urlsafe(12)
        self.recorder.sessions[token] = Session(members["size"], members)
        location = self.recorder.location or self.recorder.at
        return {"uri": f"/bucket/{token}", "region": "eu-test-1", "upload_id": token, "location_url": location}

    def _session(self, members: dict[str, Any]) -> Session:
        session = self.recorder.sessions.get(members.get("upload_id", ""))
        if session is None:
            raise Bad("no such upload", 404)
        if members.get("uri") != f"/bucket/{members['upload_id']}" or members.get("region") != "eu-test-1":
            raise Bad("uri and region are to be echoed")
        if members.get("apikey") != KEY or members.get("store") != session.start["store"]:
            raise Bad("apikey and store are to be the same")
        return session

    def _upload(self, asked: Asked) -> dict[str, Any]:
        members = asked.json
        self._session(members)
        if type(members.get("part")) is not int or members["part"] < 1 or type(members.get("size")) is not int:
            raise Bad("part and size")
        base64.b64decode(members["md5"], validate=True)
        ticket = secrets.token_urlsafe(12)
        self.recorder.tickets[ticket] = (members["upload_id"], members["part"], members["md5"])
        headers = {"x-ticket": ticket, "Content-MD5": members["md5"]}
        return {"url": f"{self.recorder.url}/bucket/{ticket}?X-Signature=sig%2Bnature", "headers": headers, "location_url": ""}

    def _put(self, asked: Asked, ticket: str, digest: str, fault: Fault | None) -> dict[str, str]:
        upload, part, md5 = self.recorder.tickets[ticket]
        if asked.headers.get("x-ticket") != ticket or asked.headers.get("content-md5") != md5:
            raise Bad("the headers are to be sent as given", 403)
        if "filestack-source" in asked.headers or "authorization" in asked.headers:
            raise Bad("headers that nobody asked for", 400)
        if asked.query != {"X-Signature": "sig+nature"}:
            raise Bad("the address was changed", 403)
        if base64.b64encode(bytes.fromhex(digest)).decode() != md5:
            raise Bad("the content is not what was announced")
        session = self.recorder.sessions[upload]
        session.digests[part] = digest
        session.sizes[part] = asked.length
        if fault is not None and fault.kind == "no etag":
            return {}
        etag = "0" * 32 if fault is not None and fault.kind == "wrong etag" else digest
        return {"ETag": f'"{etag}"'}

    def _complete(self, asked: Asked) -> dict[str, Any] | None:
        members = asked.json
        session = self._session(members)
        expected = [{"part_number": n, "etag": f'"{digest}"'} for n, digest in sorted(session.digests.items())]
        if members.get("parts") != expected:
            raise Bad("invalid params: parts")
        if sum(session.sizes.values()) != session.size or members.get("size") != session.size:
            raise Bad("the parts are not the file")
        if self.recorder.not_ready:
            self.recorder.not_ready -= 1
            return None
        session.done = True
        return {
            "handle": HANDLE,
            "url": f"https://cdn.example.org/{HANDLE}",
            "filename": members["filename"],
            "size": session.size,
            "mimetype": members["mimetype"],
            "status": "Stored",
            "container": session.start["store"].get("container"),
            "key": f"{members['upload_id']}_{members['filename']}",
            "upload_tags": members.get("upload_tags", {}),
            "workflows": {name: {"jobid": f"job-{name}"} for name in session.start["store"].get("workflows", [])},
        }

    def _process(self, asked: Asked) -> dict[str, Any]:
        members = asked.json
        names = [task["name"] for task in members["tasks"]]
        if members.get("apikey") != KEY or "store" not in names or len(members["sources"]) != 1:
            raise Bad("not the form of /process")
        answer = {"handle": HANDLE, "url": f"https://cdn.example.org/{HANDLE}", "filename": "x.png", "size": 3}
        return answer | {"type": "image/png", "container": "c", "key": "k", "upload_tags": members.get("upload_tags", {})}

    def _store(self, asked: Asked) -> dict[str, Any]:
        if asked.query.get("key") != KEY:
            raise Bad("key", 401)
        name = asked.query.get("filename", "")
        answer = {"url": f"https://cdn.example.org/{HANDLE}", "filename": name, "size": asked.length}
        return answer | {"type": asked.query.get("mimetype"), "key": f"x_{name}"}

    # -- files to read

    def _file(self, asked: Asked, fault: Fault | None) -> tuple[bytes, dict[str, str]]:
        data = self.recorder.files.get(asked.path.rpartition("/")[2])
        if data is None:
            raise Bad("no such file", 404)
        if asked.method == "DELETE":
            del self.recorder.files[HANDLE]
            return b"success", {"Content-Type": "text/plain"}
        if asked.method == "POST":
            self.recorder.files[HANDLE] = asked.body
            return json.dumps({"size": asked.length}).encode(), {}
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start = 0
        if asked.headers.get("if-range") == etag:
            start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        more = {"ETag": etag, "Content-Type": "application/octet-stream"}
        if start:
            more |= {"status": "206", "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        body = data[start:]
        if fault is not None and fault.kind == "short":  # half of it, and the connection breaks
            more["Content-Length"] = str(len(body))
            body = body[: len(body) // 2]
            self.close_connection = True
        return body, more


def _step(method: str, path: str) -> str:
    if path.startswith("/bucket/"):
        return "put" if method == "PUT" else "file"
    if path.startswith("/api/file/"):
        return "file"
    name = path.rpartition("/")[2]
    return name if "/multipart/" in path or name == "process" else "store"
