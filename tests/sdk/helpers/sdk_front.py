"""What stands before the server in these tests: TLS ends here, bytes go on as they are, and the start of each exchange is kept.

One host is answered here rather than passed on (pages for a browser), and an exchange can be made to fail once, which is
what clients' retries are tested with.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

_KEPT = 4096  # bytes of each direction of a connection that are kept
_PIECE = 65_536


@dataclass
class Exchange:
    """The beginning of what was said on one connection, both ways."""

    request: bytes = b""
    response: bytes = b""

    @property
    def line(self) -> str:
        return self.request.partition(b"\r\n")[0].decode("latin-1")

    @property
    def host(self) -> str:
        found = re.search(rb"\r\nhost: ([^\r]*)", self.request, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""

    @property
    def status(self) -> int:
        return int(self.response[9:12] or 0)


def answer_of(status: str, kind: str = "text/plain", body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@dataclass
class Front:
    """A TLS server on a port of loopback, in a thread of its own, that passes everything on to another port.

    `GET https://control.DOMAIN/fail/METHOD/2` lets the second request of this method from then on fail with 503.
    """

    context: ssl.SSLContext | None  # None: no TLS
    backend: int
    pages: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)  # host and path, to type and body
    exchanges: list[Exchange] = field(default_factory=list)
    port: int = 0
    faults: dict[str, int] = field(default_factory=dict)  # of each method, which of its next requests is to fail
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> Front:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.context))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # a client that went away, or the end of the test
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(head)
        self.exchanges.append(exchange)
        answer = self._own(exchange)
        if answer is not None:
            exchange.response = answer
            writer.write(answer)
            await writer.drain()
            while await reader.read(_PIECE):  # what it still sends must not become a reset
                pass
            return
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.backend)
        try:
            back_writer.write(head)
            upwards = asyncio.create_task(self._pass(reader, back_writer, exchange, "request"))
            await self._pass(back_reader, writer, exchange, "response")
            upwards.cancel()
            await asyncio.gather(upwards, return_exceptions=True)
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()
        finally:
            back_writer.transport.abort()

    def _own(self, exchange: Exchange) -> bytes | None:
        """The answer to a request that is not passed on."""
        method, path, _ = exchange.line.split(" ")
        if exchange.host.startswith("control.") and path.startswith("/fail/"):
            _, _, failing, which = path.split("/")
            self.faults[failing] = int(which)
            return answer_of("200 OK")
        if method in self.faults:
            self.faults[method] -= 1
            if self.faults[method] == 0:
                del self.faults[method]
                return answer_of("503 Service Unavailable")
        page = self.pages.get(exchange.host + path)
        return None if page is None else answer_of("200 OK", *page)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange, direction: str
    ) -> None:
        while piece := await reader.read(_PIECE):
            kept: bytes = getattr(exchange, direction)
            if len(kept) < _KEPT:
                setattr(exchange, direction, kept + piece[: _KEPT - len(kept)])
            writer.write(piece)
            await writer.drain()
