"""How the sandbox and its worker processes speak: JSON in frames, descriptors beside them.

Knows: a stream socket, framing, time. Must not know: what a message means.

A frame is four bytes of length, most significant first, and so many bytes of UTF-8 JSON. Descriptors travel with the length
(SCM_RIGHTS, unix(7)), so that a worker is handed its files and opens none.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

LIMIT = 4 * 1024 * 1024  # bytes of a frame; settings and options of a chain are a few kilobytes

#: How a job ended when its process could not say so itself: exit status for "out of memory".
OUT_OF_MEMORY = 77


def encode(message: object) -> bytes:
    """A message as the body of a frame. Raises `TypeError` or `ValueError` for what JSON cannot carry or is too long."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > LIMIT:
        raise ValueError("the message is too long")
    return body


def send(connection: socket.socket, body: bytes, descriptors: Sequence[int] = (), *, deadline: float | None = None) -> None:
    """Send one encoded message. Raises `OSError` when nobody listens, `TimeoutError` at the deadline."""
    _allow(connection, deadline)
    head = len(body).to_bytes(4, "big")
    sent = socket.send_fds(connection, [head], list(descriptors))
    connection.sendall(head[sent:] + body)


def write(connection: socket.socket, body: bytes) -> None:
    """Send one encoded message by plain writing, which is all that a confined process may do with a socket."""
    view = memoryview(len(body).to_bytes(4, "big") + body)
    while view:
        view = view[os.write(connection.fileno(), view) :]


def receive(
    connection: socket.socket, *, descriptors: int = 0, deadline: float | None = None, limit: int = LIMIT
) -> tuple[Any, list[int]]:
    """One message of at most `limit` bytes and the descriptors that came with it, at most so many.

    `deadline` is a moment of `time.monotonic`. Raises `EOFError` when the other side is gone, `TimeoutError` at the
    deadline, `ValueError` for a frame that is none, `OSError`; `RecursionError` for one too deep.
    """
    _allow(connection, deadline)
    head, held, _, _ = socket.recv_fds(connection, 4, descriptors)
    try:
        if not head:
            raise EOFError
        head += _exactly(connection, 4 - len(head), deadline)
        length = int.from_bytes(head, "big")
        if length > limit:
            raise ValueError("the frame is too long")
        return json.loads(_exactly(connection, length, deadline), parse_constant=_no_number), held
    except BaseException:
        for descriptor in held:
            os.close(descriptor)
        raise


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        _allow(connection, deadline)
        piece = connection.recvmsg(min(size - len(pieces), 65536))[0]
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)


def _allow(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        if connection.gettimeout() is not None:  # a confined process may not even ask for what is so already
            connection.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def tuples(value: Any) -> Any:
    """The value with every list in it made a tuple: options are bound as tuples, and JSON only has lists."""
    if isinstance(value, list):
        return tuple(tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return value
