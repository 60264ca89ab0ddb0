"""The world outside, for tests of fetching: servers on loopback that say exactly the bytes a test wants, and certificates."""

from __future__ import annotations

import datetime
import io
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_delivery.engine.addresses import Address
from secure_delivery.engine.fetch import Fetched, Fetcher

Script = bytes | Callable[[socket.socket], None]


def ok(body: bytes = b"hello", *fields: str, status: str = "200 OK") -> bytes:
    """An answer with a length."""
    return answer(status, f"Content-Length: {len(body)}", *fields, body=body)


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    """An answer with exactly these fields."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1") + body


def moved(location: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer(status, f"Location: {location}", "Content-Length: 0")


def resolver(**names: str) -> Callable[[str, int], list[str]]:
    """A name server that knows `a_test` as a.test; several addresses are written with blanks between them."""
    known = {name.replace("_", "."): answers.split() for name, answers in names.items()}

    def resolve(host: str, port: int) -> list[str]:
        if host not in known:
            raise OSError("no such name")
        return known[host]

    return resolve


def fetch(fetcher: Fetcher, url: str, *, max_bytes: int = 1_000_000, **more: Any) -> tuple[Fetched, bytes]:
    into = io.BytesIO()
    return fetcher.fetch(url, into=into, max_bytes=max_bytes, **more), into.getvalue()


def never_connect(address: Address, port: int, seconds: float) -> socket.socket:
    raise AssertionError(f"a packet was sent to {address}")


class Outside:
    """A server that answers each path with its script, byte for byte, and remembers the requests it saw.

    A script that is a function gets the connection after the head of the request was read. `released` is set when the test
    is over: a script that waits for it answers nothing for as long as the test takes.
    """

    def __init__(self, scripts: Mapping[str, Script], *, tls: ssl.SSLContext | None = None) -> None:
        self.scripts = dict(scripts)
        self.seen: list[bytes] = []
        self.bodies: list[bytes] = []
        self.names: list[str | None] = []
        self.connections = 0
        self.released = threading.Event()
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]

    @property
    def at(self) -> str:
        """What an operator writes to allow this server."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def __enter__(self) -> Outside:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._answer(connection)
                if self._tls is not None:
                    connection.unwrap()
        except (OSError, ValueError):
            connection.close()  # the client went away, as tests of refusals want

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        head, _, body = request.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            data = connection.recv(65536)
            if not data:
                return
            body += data
        self.seen.append(head)
        self.bodies.append(body)
        script = self.scripts.get(head.split(b" ")[1].decode("ascii"), ok(b"", status="404 Not Found"))
        if callable(script):
            script(connection)
        else:
            connection.sendall(script)


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with a certificate for `names`, and of a client that trusts nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "outside")])
    now = datetime.datetime.now(datetime.UTC)
    spoken: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(spoken), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    file = folder / "outside.pem"
    file.write_bytes(
        pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode("ascii"))
