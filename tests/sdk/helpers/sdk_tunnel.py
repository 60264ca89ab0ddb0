"""The way to a server for clients that have a host name built in: a proxy that `HTTPS_PROXY` names, and TLS behind it.

It tunnels to one host name only, wherever that really is; nothing else can be reached through it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from sdk_front import Exchange, Front, answer_of


@dataclass
class Tunnel(Front):
    """A proxy that knows `CONNECT host`, and leads it to a port of loopback."""

    host: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(await reader.readuntil(b"\r\n\r\n"))
        self.exchanges.append(exchange)
        if exchange.line.split(" ")[:2] != ["CONNECT", f"{self.host}:443"]:
            writer.write(answer_of("403 Forbidden"))
            await writer.drain()
            return
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.backend)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upwards = asyncio.create_task(self._pass(reader, back_writer, exchange, "request"))
            await self._pass(back_reader, writer, exchange, "response")
            upwards.cancel()
            await asyncio.gather(upwards, return_exceptions=True)
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()
        finally:
            back_writer.transport.abort()
