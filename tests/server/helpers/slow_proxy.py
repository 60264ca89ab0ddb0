"""A TCP proxy in front of a server that counts, holds and cuts what clients send: a bad connection, on purpose.

It knows bytes and connections, and nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

PIECE = 16384
_RESET = struct.pack("ii", 1, 0)  # linger on, for no time: close() sends a reset


class SlowProxy:
    """`hold_after(n)` lets n more bytes to the server and no further until `release()`; `cut_after(n)` lets n more bytes to
    the server and then resets every connection, once; `refuse` resets each new one. `sent` counts bytes to the server."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._allowed: int | None = None
        self._cut = False
        self._closed = False
        self.refuse = False
        self.sent = 0
        self.port = int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._listener.close()
        self.reset()

    # -- what a test does to the connection

    def hold_after(self, count: int) -> None:
        with self._lock:
            self._allowed, self._cut = count, False

    def cut_after(self, count: int) -> None:
        with self._lock:
            self._allowed, self._cut = count, True

    def release(self) -> None:
        with self._lock:
            self._allowed = None
            self._lock.notify_all()

    def wait_until_spent(self, timeout: float = 30) -> None:
        """Until the bytes that were allowed have gone through, or the cut has happened."""
        with self._lock:
            assert self._lock.wait_for(lambda: not self._allowed, timeout), "the client sent too little"

    # -- the work

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                if self.refuse:
                    self._reset(client, close=True)
                    continue
                server = socket.create_connection(self._server)
            except OSError:
                if self._closed:
                    return
                continue
            with self._lock:
                self._connections |= {client, server}
            threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                while piece:
                    count = self._may_send(len(piece)) if counted else len(piece)
                    target.sendall(piece[:count])
                    piece = piece[count:]
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # its other thread closes the target
        with self._lock:
            self._connections -= {source, target}

    def _may_send(self, wanted: int) -> int:
        """How many of these bytes may go on now; waits while none may. Raises `OSError` when the connection was cut."""
        with self._lock:
            self._lock.wait_for(lambda: self._closed or self._allowed != 0)
            if self._closed:
                raise ConnectionAbortedError
            count = wanted if self._allowed is None else min(wanted, self._allowed)
            self.sent += count
            if self._allowed is not None:
                self._allowed -= count
                self._lock.notify_all()
            cut = self._allowed == 0 and self._cut
        if cut:
            self.reset()
            self.release()
            raise ConnectionResetError
        return count

    def reset(self) -> None:
        """Ends every connection."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            self._reset(connection)

    @staticmethod
    def _reset(connection: socket.socket, *, close: bool = False) -> None:
        """Ends a connection rudely; whoever reads from it closes it."""
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.shutdown(socket.SHUT_RDWR)
        if close:
            connection.close()
