"""A small Google Cloud Storage: its JSON API as far as the plugin speaks it, signed URLs, tokens, rights, failures on demand.

It is stricter than the emulator of the registry, which asks for no tokens, checks no signature and knows no generations. The
emulator is used beside it, so that this one does not merely agree with the plugin's own reading of the documents.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "writer@project.iam.gserviceaccount.com"


class ServiceKey:
    """A service account's key pair."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def verifies(self, signature: bytes, text: bytes) -> bool:
        try:
            self._key.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


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
class Stored:
    data: bytes
    generation: int
    meta: dict[str, Any]
    acl: str | None

    def resource(self) -> dict[str, Any]:
        return {
            **self.meta,
            "generation": str(self.generation),
            "size": str(len(self.data)),
            "md5Hash": base64.b64encode(hashlib.md5(self.data).digest()).decode(),
        }


@dataclass
class Session:
    bucket: str
    meta: dict[str, Any]
    acl: str | None
    data: bytearray = field(default_factory=bytearray)
    finished: dict[str, Any] | None = None


@dataclass
class Trouble:
    """Goes wrong for requests that match, so many times. `how` is a status, or `reset` (no answer), `late` (done, then no
    answer), `stall` (no answer until the end of the test), `cut` (an answer that breaks off), `part` (a chunk of which only
    a part arrives before the connection breaks), `whole` (a chunk that arrives before it breaks)."""

    match: Callable[[str, str], bool]
    how: int | str
    times: int = 1
    reason: str = "backendError"
    message: str = "secret words of the provider"
    then: Callable[[], object] = lambda: None


class FakeGcs:
    HOST = "storage.test"

    def __init__(self, key: ServiceKey, tls: ssl.SSLContext | None = None) -> None:
        self.key = key
        self.buckets: dict[str, dict[str, Stored]] = {"files": {}, "other": {}}
        self.sessions: dict[str, Session] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.troubles: list[Trouble] = []
        #: Rights that the account lacks: create, get, delete, acl.
        self.denied: set[str] = set()
        self.uniform = False
        self.clock: Callable[[], float] = time.time
        self.damage = False  # changes a byte of what is uploaded
        self.lax = False  # checks no sum of uploads, and forgets which generation was asked for
        self.keep = True
        self.tokens: set[str] = set()
        self.over = threading.Event()
        self.lock = threading.RLock()
        self._generation = 1000
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.endpoint = f"{'https' if tls else 'http'}://{self.HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> FakeGcs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def credentials(self) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "0123456789abcdef",
            "private_key": self.key.pem,
            "client_email": EMAIL,
            "token_uri": f"{self.endpoint}/token",
        }

    def trouble(self, method: str, part: str, how: int | str, times: int = 1, **more: Any) -> None:
        """Let the next requests with this method, and this in their target, go wrong."""
        self.troubles.append(Trouble(lambda asked, target: asked == method and part in target, how, times, **more))

    def methods(self) -> list[str]:
        """What was asked for, tokens aside."""
        return [method for method, target, _ in self.asked if not target.startswith("/token")]

    def take(self, method: str, target: str) -> Trouble | None:
        with self.lock:
            for trouble in self.troubles:
                if trouble.times and trouble.match(method, target):
                    trouble.times -= 1
                    return trouble
        return None

    def store(self, bucket: str, name: str, data: bytes, meta: dict[str, Any], acl: str | None) -> Stored:
        with self.lock:
            self._generation += 1
            stored = Stored(data, self._generation, meta, acl)
            self.buckets[bucket][name] = stored
            return stored


class _Refuse(Exception):
    def __init__(self, status: int, reason: str, message: str = "secret words of the provider") -> None:
        self.answer = status, reason, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, fake: FakeGcs, *arguments: Any) -> None:
        self.fake = fake
        super().__init__(*arguments)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is printed."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the other side left, or the handshake failed: both are what tests want
            self.close_connection = True

    def handle_one_request(self) -> None:
        """One request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return None
        fake = self.fake
        size = int(self.headers.get("Content-Length", 0))
        fake.asked.append((self.command, self.path, dict(self.headers)))
        trouble = fake.take(self.command, self.path)
        body = self.rfile.read(size if trouble is None or trouble.how != "part" else size // 2)
        self._cut = trouble is not None and trouble.how == "cut"
        self._reset = trouble is not None and trouble.how in ("late", "part")
        if trouble is not None:
            trouble.then()
            if isinstance(trouble.how, int):
                return self._error(trouble.how, trouble.reason, trouble.message)
            if trouble.how == "stall":
                fake.over.wait()
                self.close_connection = True
                return None
            if trouble.how == "reset":
                return self._break()
            if trouble.how in ("part", "whole"):
                span = re.match(r"bytes (\d+)-", self.headers["Content-Range"])
                session = fake.sessions[self._query()["upload_id"]]
                assert span is not None and int(span[1]) == len(session.data)
                session.data += body if trouble.how == "whole" else body[: len(body) // 262144 * 262144]
                return self._break()
        try:
            self._route(body)
        except _Refuse as refusal:
            self._error(*refusal.answer)
        return None

    # ------------------------------------------------------------------------------------------------------ answers

    def _break(self) -> None:
        """End the connection as a crash does: with a reset, nothing said."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _say(self, status: int, body: bytes = b"", head: bool = False, **headers: str) -> None:
        if self._reset:
            return self._break()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if head:
            return None
        if self._cut:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None

    def _json(self, status: int, value: Any, **headers: str) -> None:
        self._say(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _error(self, status: int, reason: str, message: str) -> None:
        error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message, "domain": "global"}]}
        self._json(status, {"error": error}, **({"Location": "http://elsewhere.test/"} if 300 <= status < 400 else {}))

    # ------------------------------------------------------------------------------------------------------- routing

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _route(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        query = self._query()
        if path == "/token":
            return self._token(body)
        if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            if "upload_id" in query:
                return self._continue(query["upload_id"], body)
            self._authorize("create")
            return self._upload(unquote(found[1]), query, body)
        if found := re.fullmatch(r"/download/storage/v1/b/([^/]+)/o/([^/]+)", path):
            self._authorize("get")
            return self._download(unquote(found[1]), unquote(found[2]), query.get("generation"))
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", path):
            self._authorize("delete")
            return self._delete(unquote(found[1]), unquote(found[2]), query.get("ifGenerationMatch"))
        if "X-Goog-Signature" in query and self.command in ("GET", "HEAD"):
            return self._signed(path, query)
        if self.command == "GET" and not query:
            return self._open_to_all(path)
        raise _Refuse(403, "forbidden")

    def _authorize(self, right: str) -> None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.fake.tokens:
            raise _Refuse(401, "authError")
        if right in self.fake.denied:
            raise _Refuse(403, "forbidden", f"{EMAIL} does not have storage.objects.{right} access")

    def _bucket(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.fake.buckets:
            raise _Refuse(404, "notFound", "The specified bucket does not exist.")
        return self.fake.buckets[bucket]

    # -------------------------------------------------------------------------------------------------------- tokens

    def _token(self, body: bytes) -> None:
        form = dict(parse_qsl(body.decode()))
        head, claims, signature = form["assertion"].split(".")
        said = json.loads(_unbase64(claims))
        if not self.fake.key.verifies(_unbase64(signature), f"{head}.{claims}".encode()):
            return self._json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        if abs(said["iat"] - self.fake.clock()) > 600 or said["iss"] != EMAIL:
            words = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            return self._json(400, {"error": "invalid_grant", "error_description": words})
        token = f"ya29.{secrets.token_hex(20)}"
        self.fake.tokens.add(token)
        return self._json(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    # ------------------------------------------------------------------------------------------------------- uploads

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        self._bucket(bucket)
        acl = query.get("predefinedAcl")
        if acl and self.fake.uniform:
            raise _Refuse(400, "invalid", "Cannot insert legacy ACL for an object when uniform bucket-level access is enabled.")
        if acl and "acl" in self.fake.denied:
            raise _Refuse(403, "forbidden")
        extra = {"kmsKeyName": query["kmsKeyName"]} if "kmsKeyName" in query else {}
        if query["uploadType"] == "multipart":
            meta, data = self._parts(body)
            self._finish(bucket, {**meta, **extra}, acl, data, meta.get("md5Hash"), None)
            return
        assert query["uploadType"] == "resumable"
        meta = {"contentType": self.headers["X-Upload-Content-Type"], **json.loads(body), **extra}
        name = secrets.token_hex(20)
        self.fake.sessions[name] = Session(bucket, meta, acl)
        self._say(200, Location=f"http://{self.headers['Host']}{self.path}&upload_id={name}")
        return

    def _parts(self, body: bytes) -> tuple[dict[str, Any], bytes]:
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        _, meta, rest = body.split(b"--" + boundary, 2)
        head, _, data = rest.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        kind = head.decode().partition(":")[2].strip()
        said = json.loads(meta.partition(b"\r\n\r\n")[2])
        return {"contentType": kind, **said}, data[: data.rindex(b"\r\n--" + boundary + b"--")]

    def _continue(self, upload: str, body: bytes) -> None:
        session = self.fake.sessions.get(upload)
        if session is None:
            raise _Refuse(404, "notFound", "")
        if self.command == "DELETE":
            del self.fake.sessions[upload]
            return self._say(499)
        if session.finished is not None:
            return self._json(200, session.finished)
        span = re.fullmatch(r"bytes (\*|(\d+)-(\d+))/(\*|\d+)", self.headers["Content-Range"])
        assert span is not None, self.headers["Content-Range"]
        if span[2] is not None:
            if int(span[2]) != len(session.data) or int(span[3]) - int(span[2]) + 1 != len(body):
                raise _Refuse(400, "invalid", "the chunk does not follow what is there")
            session.data += body
        if span[4] != "*" and int(span[4]) == len(session.data):
            sent = dict(part.split("=", 1) for part in self.headers.get("X-Goog-Hash", "").split(",") if part)
            session.finished = self._finish(
                session.bucket, session.meta, session.acl, bytes(session.data), None, sent.get("crc32c")
            )
            return None
        if span[2] is not None and len(body) % 262144:
            raise _Refuse(400, "invalid", "a chunk that is not the last must be a multiple of 256 KiB")
        return self._say(308, **({"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}))

    def _finish(
        self, bucket: str, meta: dict[str, Any], acl: str | None, data: bytes, md5: str | None, crc32c: str | None
    ) -> dict[str, Any]:
        fake = self.fake
        if fake.damage and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        checksum = google_crc32c.Checksum(data)
        if not fake.lax:
            if md5 and md5 != base64.b64encode(hashlib.md5(data).digest()).decode():
                raise _Refuse(400, "invalid", "Provided MD5 hash does not match calculated MD5 hash.")
            if crc32c and crc32c != base64.b64encode(checksum.digest()).decode():
                raise _Refuse(400, "invalid", "Provided CRC32C does not match calculated CRC32C.")
        resource = fake.store(bucket, meta["name"], data, meta, acl).resource()
        self._json(200, resource)
        return resource

    # --------------------------------------------------------------------------------------------------------- reads

    def _stored(self, bucket: str, name: str) -> Stored:
        stored = self._bucket(bucket).get(name)
        if stored is None:
            raise _Refuse(404, "notFound", f"No such object: {bucket}/{name}")
        return stored

    def _download(self, bucket: str, name: str, generation: str | None) -> None:
        stored = self._stored(bucket, name)
        if generation is not None and int(generation) != stored.generation and not self.fake.lax:
            raise _Refuse(404, "notFound", f"No such object: {bucket}/{name}#{generation}")
        self._bytes(stored, {"Content-Type": stored.meta["contentType"]})

    def _bytes(self, stored: Stored, headers: dict[str, str], head: bool = False) -> None:
        data, size = stored.data, len(stored.data)
        headers = {name.replace("-", "_"): value for name, value in headers.items()}
        headers["X_Goog_Generation"] = str(stored.generation)
        asked = self.headers.get("Range")
        if asked is None:
            return self._say(200, data, head, **headers)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        assert span is not None, asked
        start, last = int(span[1]), min(int(span[2] or size), size - 1)
        if start >= size:
            return self._say(416, b"<Error><Code>InvalidRange</Code></Error>", head)
        return self._say(206, data[start : last + 1], head, Content_Range=f"bytes {start}-{last}/{size}", **headers)

    def _delete(self, bucket: str, name: str, generation: str | None) -> None:
        assert self.command == "DELETE"
        stored = self._stored(bucket, name)
        if generation is not None and int(generation) != stored.generation:
            raise _Refuse(412, "conditionNotMet")
        del self.fake.buckets[bucket][name]
        self._say(204)

    def _signed(self, path: str, query: dict[str, str]) -> None:
        """A V4 signed URL, checked as the documents say. A signature for GET is good for HEAD."""
        head = self.command == "HEAD"
        signature = bytes.fromhex(query.pop("X-Goog-Signature"))
        canonical = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        request = "\n".join(["GET", path, canonical, f"host:{self.headers['Host']}\n", "host", "UNSIGNED-PAYLOAD"])
        scope = query["X-Goog-Credential"].partition("/")[2]
        text = "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
        if not self.fake.key.verifies(signature, text.encode()):
            return self._say(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", head)
        signed = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if self.fake.clock() >= signed + int(query["X-Goog-Expires"]):
            return self._say(400, b"<Error><Code>ExpiredToken</Code></Error>", head)
        bucket, _, name = unquote(path).lstrip("/").partition("/")
        stored = self._stored(bucket, name)
        headers = {"Content-Type": query.get("response-content-type", stored.meta["contentType"])}
        if "response-content-disposition" in query:
            headers["Content-Disposition"] = query["response-content-disposition"]
        return self._bytes(stored, headers, head)

    def _open_to_all(self, path: str) -> None:
        """A plain URL, which anybody may ask for: it opens when the object's access list says so."""
        bucket, _, name = unquote(path).lstrip("/").partition("/")
        stored = self.fake.buckets.get(bucket, {}).get(name)
        if stored is None or stored.acl != "publicRead":
            raise _Refuse(403, "forbidden")
        headers = {name: stored.meta[kept] for name, kept in _HEADERS.items() if kept in stored.meta}
        return self._bytes(stored, headers)


#: Headers of answers, by what the JSON API calls the metadata they come from.
_HEADERS = {
    "Content-Type": "contentType",
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Language": "contentLanguage",
}


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ------------------------------------------------------------------------------------------------------------- emulator


@contextmanager
def emulator(bucket: str) -> Iterator[int]:
    """The emulator of the registry with one bucket, on a port.

    Its own server handles one connection at a time, so that a reader who waits blocks everybody. Here each has a thread; what
    touches its memory still goes one by one.
    """
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    turn = threading.Lock()

    class Handler(RequestHandler):  # type: ignore[misc]
        def handle_one_request(self) -> None:
            out = self.wfile
            self.wfile = BytesIO()
            try:
                with turn:
                    super().handle_one_request()
                out.write(self.wfile.getvalue())
                out.flush()
            except OSError:
                self.close_connection = True
            finally:
                self.wfile = out

    memory = Storage(use_memory_fs=True)
    create_bucket(bucket, memory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, memory))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
