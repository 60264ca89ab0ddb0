"""For tests of your own code: an ASGI app, such as the server itself, behind the waiting client, without a socket.

Knows: ASGI through httpx. Must not know: what the app does.
"""

from __future__ import annotations

import asyncio
import threading

import httpx


class InProcess(httpx.BaseTransport):
    """A transport that hands requests to an ASGI app in an event loop of its own thread.

    `Client(…, http=httpx.Client(transport=InProcess(app)))`. Bodies are kept in memory. `AsyncClient` needs none of this:
    `httpx.ASGITransport(app)` does the same there. The app gets no lifespan events.
    """

    def __init__(self, app: object) -> None:
        self._transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # any ASGI app, whoever typed it
        self._loop = asyncio.new_event_loop()
        # A daemon: a test that fails before it closes its client must not keep the whole run from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name="in-process-app", daemon=True)
        self._thread.start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        return asyncio.run_coroutine_threadsafe(self._answer(request, body), self._loop).result()

    async def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        asked = httpx.Request(request.method, request.url, headers=request.headers, content=body, extensions=request.extensions)
        response = await self._transport.handle_async_request(asked)
        return httpx.Response(
            response.status_code, headers=response.headers, content=await response.aread(), extensions=response.extensions
        )

    def close(self) -> None:
        """Stop the event loop and its threads."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
