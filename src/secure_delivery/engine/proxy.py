"""The way out for a browser that draws somebody's page: a proxy on loopback behind the same guard.

Knows: proxy requests, one session's budget of bytes and time. Must not know: browsers, pages, what is drawn.

A browser resolves names, follows redirects and runs scripts by itself, so checking the address of a page once guards nothing.
Started with this proxy as its only way out, everything it asks for is resolved once, judged, and connected to the address
that was judged. One proxy serves one job, on a port of its own, and ends with it.

Plain http is forwarded message by message (one on a connection, so that none can be smuggled behind another); for https
bytes are carried both ways after CONNECT, and the browser verifies the certificate.

Sources: security promises 33-38 as `outbound`; RFC 9110 sections 7.6.1 and 9.3.6, RFC 9112 section 3.2.2.
"""

from __future__ import annotations

import logging
import re
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from ..gate.errors import BadRequest, SecureDeliveryError, SourceFault
from .httpwire import PIECE, Fields, Wire, length_of, read_fields, read_head, request_head
from .outbound import OutboundGuard, Target

logger = logging.getLogger("secure_delivery.engine")

MAX_CONNECTIONS = 64  # browsers open at most 32 to a proxy

_REQUEST = re.compile(rb"([A-Z]{1,20}) ([\x21-\x7e]+) HTTP/1\.[01]")
_AUTHORITY = re.compile(r"[^/?#]+:[0-9]{1,5}")
#: Fields for one hop only; the proxy's own are added instead.
_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "host", "http2-settings"}
)
_REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}


class _Over(Exception):
    """The session has used up its bytes or its time."""


class GuardProxy:
    """`with GuardProxy(guard, budget_bytes=..., seconds=...) as proxy:` and let the browser use 127.0.0.1:`proxy.port`.

    All connections together carry at most `budget_bytes`, both ways counted, for at most `seconds`; then everything is
    closed and nothing new allowed. Leaving the `with` closes everything at once. `spent` is in bytes; `refused` counts
    requests that were answered 403.
    """

    def __init__(self, guard: OutboundGuard, *, budget_bytes: int, seconds: float) -> None:
        self._guard = guard
        self._budget = budget_bytes
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._ends = 0.0
        self._listener: socket.socket | None = None
        self.port = 0
        self.spent = 0
        self.refused = 0

    def __enter__(self) -> GuardProxy:
        self._ends = self._guard.clock() + self._seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_CONNECTIONS)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shut()
        if self._listener is not None:
            self._listener.close()
        # Threads notice at once that their sockets are closed; one that still resolves or dials ends by its own limit.
        until = self._guard.clock() + 1.0
        for thread in tuple(self._threads):
            thread.join(timeout=max(0.0, until - self._guard.clock()))

    def _shut(self) -> None:
        """Wake every thread that waits on a socket, and let nothing new begin."""
        with self._lock:
            self._closed = True
            # The port goes first: whoever sees its connection end must not find the next one taken.
            for connection in (*filter(None, [self._listener]), *self._open):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it ended by itself

    # ---------------------------------------------------------------------------------------------------- connections

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(work, connection), name="guard-proxy", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _run(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        try:
            work(connection)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # shut
            if len(self._threads) > MAX_CONNECTIONS:
                client.close()
                continue
            self._start(self._serve, client)

    def _keep(self, stack: ExitStack, connection: socket.socket) -> None:
        """Close a connection with the stack, and wake whoever waits on it when the session is shut."""
        stack.enter_context(connection)
        with self._lock:
            if self._closed:
                raise _Over
            self._open.add(connection)
        stack.callback(self._forget, connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack:
            try:
                self._keep(stack, client)
                self._answer(stack, client)
            except _Over:
                self._shut()
            except (SecureDeliveryError, OSError) as error:
                logger.debug("guard proxy: %s", error)

    def _answer(self, stack: ExitStack, client: socket.socket) -> None:
        """One request of the browser."""
        wire = self._wire(client)
        found = _REQUEST.fullmatch(wire.line())
        fields = read_fields(wire)
        if found is None:
            return self._say(client, 400)
        method, where = found[1].decode("ascii"), found[2].decode("ascii")
        try:
            tunnel = method == "CONNECT"
            target = self._target(where, tunnel=tunnel)
            addresses = self._guard.admit(target, ends=self._ends)
        except (BadRequest, SourceFault) as error:
            logger.info("guard proxy refuses %s: %s", where.partition("?")[0][:200], error)
            with self._lock:
                self.refused += 1
            return self._say(client, 403)
        try:
            by = min(self._ends, self._guard.clock() + self._guard.patience.connect)
            origin = self._guard.dial(target, addresses, ends=by)
        except SourceFault as error:
            logger.info("guard proxy: %s", error)
            return self._say(client, 502)
        self._keep(stack, origin)
        if tunnel:
            return self._tunnel(client, wire, origin)
        return self._forward(client, wire, origin, (method, target, fields))

    def _target(self, where: str, *, tunnel: bool) -> Target:
        """Whom a request is for. Raises `BadRequest`."""
        if not tunnel:
            target = self._guard.read(where)
            if target.scheme == "http":
                return target
        elif _AUTHORITY.fullmatch(where):
            target = self._guard.read(f"https://{where}/")
            if target.port != 80:  # what goes to port 80 goes as messages, which are read
                return target
        raise BadRequest("neither a tunnel for https nor a request for http")

    def _wire(self, connection: socket.socket) -> Wire:
        """Browsers open connections ahead of need, and pages may wait for long: only the session's end is a limit."""
        patience = replace(self._guard.patience, first_byte=self._seconds, grace=self._seconds)
        return Wire(connection, patience=patience, ends=self._ends, clock=self._guard.clock)

    def _say(self, client: socket.socket, status: int) -> None:
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self._send(client, head.encode("ascii"))

    # ----------------------------------------------------------------------------------------------------------- bytes

    def _left(self) -> float:
        left = self._ends - self._guard.clock()
        if left <= 0:
            raise _Over
        return left

    def _send(self, connection: socket.socket, data: bytes) -> None:
        with self._lock:
            self.spent += len(data)
            if self.spent > self._budget:
                self.spent = self._budget
                raise _Over
        connection.settimeout(self._left())
        connection.sendall(data)

    def _tunnel(self, client: socket.socket, wire: Wire, origin: socket.socket) -> None:
        self._send(client, b"HTTP/1.1 200 Connection established\r\n\r\n")
        if early := wire.rest():
            self._send(origin, early)
        self._relay({client: origin, origin: client})

    def _forward(self, client: socket.socket, wire: Wire, origin: socket.socket, request: tuple[str, Target, Fields]) -> None:
        """One message there, one back, both with `Connection: close`; the answer's body as it comes."""
        method, target, fields = request
        try:
            length = length_of(fields) or 0
            if fields.all("transfer-encoding"):
                raise ValueError("a request of unknown length")
            head = request_head(method, target.resource, (("Host", target.authority), ("Connection", "close"), *_ends(fields)))
        except (SourceFault, ValueError):
            return self._say(client, 400)
        self._send(origin, head)
        while length:
            piece = wire.take(min(length, PIECE))
            if not piece:
                return None
            length -= len(piece)
            self._send(origin, piece)
        back = self._wire(origin)
        try:
            answer = read_head(back)
        except SourceFault:
            return self._say(client, 502)
        framing = [("Transfer-Encoding", value) for value in answer.fields.all("transfer-encoding")]
        lines = [f"{name}: {value}" for name, value in (("Connection", "close"), *framing, *_ends(answer.fields))]
        head = "\r\n".join([f"HTTP/1.1 {answer.status} -", *lines, "", ""]).encode("latin-1")
        self._send(client, head + back.rest())
        return self._relay({origin: client, client: None})

    def _relay(self, ways: dict[socket.socket, socket.socket | None]) -> None:
        """Carry bytes until both directions have ended, or the one there is. A side that leads nowhere is only watched:
        what it sends is dropped, and its end is the end."""
        with selectors.DefaultSelector() as selector:
            for side, other in ways.items():
                selector.register(side, selectors.EVENT_READ, (side, other))
            while selector.get_map():
                for key, _ in selector.select(self._left()):
                    side, other = key.data
                    data = side.recv(PIECE)
                    if data and other is not None:
                        self._send(other, data)
                    elif not data and None in ways.values():
                        return
                    elif not data:
                        selector.unregister(side)
                        other.shutdown(socket.SHUT_WR)


def _ends(fields: Fields) -> list[tuple[str, str]]:
    """The fields that are for the two ends, without those that this hop's Connection names."""
    named = {name.strip().lower() for value in fields.all("connection") for name in value.split(",")}
    dropped = _HOP | (named - {"content-length", "content-type"})
    return [(name, value) for name, value in fields.items if name not in dropped and not name.startswith("proxy-")]
