"""A client that costs next to nothing: bodies go from a file to a socket by sendfile(2), and no two are the same.

Knows: sockets, HTTP requests as bytes. Must not know: what answers them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from measure import CACHE

_BLOCK = 1 << 24
_TAIL = 32  # bytes by which bodies differ: equal ones would be stored once


class Span(NamedTuple):
    """Bytes of a file."""

    path: Path
    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A file's content to send, `head` and `foot` around it."""

    span: Span
    tail: bytes  # the last bytes of the content
    sha256: str
    head: bytes = b""
    foot: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.span.length + len(self.tail)

    def in_form(self, boundary: str) -> Body:
        """The same content as the only part of a form."""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="fileUpload"; filename="body.bin"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        foot = f"\r\n--{boundary}--\r\n".encode()
        return Body(span=self.span, tail=self.tail, sha256=self.sha256, head=head.encode(), foot=foot)


class Bodies:
    """Makes bodies of one size."""

    def __init__(self, size: int) -> None:
        CACHE.mkdir(exist_ok=True)
        self._length = size - _TAIL
        self._path = CACHE / f"body-{size}.bin"
        if not self._path.exists() or self._path.stat().st_size != self._length:
            _write(self._path, self._length)
        self._digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while piece := file.read(_BLOCK):
                self._digest.update(piece)

    def new(self) -> Body:
        """One that nobody has seen before."""
        tail, digest = secrets.token_bytes(_TAIL), self._digest.copy()
        digest.update(tail)
        return Body(span=Span(self._path, 0, self._length), tail=tail, sha256=digest.hexdigest())


def _write(path: Path, length: int) -> None:
    """Bytes of the same kind as those of photographs and films: no two blocks are alike, nothing repeats within one."""
    source = random.Random(length)
    with path.open("wb") as file:
        while length:
            length -= file.write(source.randbytes(min(_BLOCK, length)))


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send(sock: socket.socket, method: str, path: str, headers: Mapping[str, str], *pieces: bytes | Span) -> Answer:
    """One request on a connection, its body made of pieces. Raises `RuntimeError` for an answer that is no success."""
    length = sum(piece.length if isinstance(piece, Span) else len(piece) for piece in pieces)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    try:
        for piece in pieces:
            if isinstance(piece, Span):
                with piece.path.open("rb", buffering=0) as file:
                    os.posix_fadvise(file.fileno(), piece.start, piece.length, os.POSIX_FADV_WILLNEED)
                    sock.sendfile(file, piece.start, piece.length)
            else:
                sock.sendall(piece)
    except ConnectionError:  # it answered before it had read everything; why stands in the answer
        pass
    got = http.client.HTTPResponse(sock, method=method)
    got.begin()
    answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {path[:60]} is answered {answer.status}: {answer.body[:200]!r}")
    return answer


def connect(port: int) -> socket.socket:
    """A connection that sends small requests at once."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=300)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def post(port: int, path: str, body: Body, *, boundary: str = "", **headers: Any) -> Answer:
    """A body in a request on a connection of its own, raw or as a form."""
    kind = "application/octet-stream"
    if boundary:
        kind, body = f"multipart/form-data; boundary={boundary}", body.in_form(boundary)
    pieces = [piece for piece in (body.head, body.span, body.tail, body.foot) if piece]
    with connect(port) as sock:
        return send(sock, "POST", path, {"Content-Type": kind, "Connection": "close", **headers}, *pieces)
