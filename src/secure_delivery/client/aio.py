"""The client for asyncio: the same flows on an `httpx.AsyncClient`, parts of an upload in tasks.

Knows: httpx and anyio. Must not know: endpoints, parameters, when to retry; the flows do. Files are read and written in
threads, so that the loop does not wait for a disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

import anyio
import anyio.to_thread
import httpx

from ..gate.policy import SignedPolicy
from .base import ClientBase, fault_of, outgoing, reply_of
from .content import Content, Sendable
from .core import known_names
from .download import Download
from .download import Progress as DownloadProgress
from .errors import ClientError
from .multipart import PART, Checkpoint, Progress, Upload
from .state import File, State, StoreOptions
from .transform import Transform
from .wire import NO_REPLY, Body, Flow, Pause, Reply, Request, Retry

T = TypeVar("T")


class AsyncClient(ClientBase):
    """As `Client`, with every method that asks the server to be awaited. `http` is an `httpx.AsyncClient`.

    May be used by several tasks of one event loop at once. A cancelled upload leaves nothing behind but an unfinished upload
    on the server; `checkpoint` is how to be able to go on with it.
    """

    def __init__(
        self,
        base: str,
        *,
        api_key: str,
        secret: str | bytes | None = None,
        signed: SignedPolicy | None = None,
        retry: Retry | None = None,
        timeout: float = 60.0,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(base, api_key=api_key, secret=secret, signed=signed, retry=retry, clock=clock)
        self._owned = http is None
        self._http = http or httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    # -- in

    async def upload(
        self,
        source: Sendable,
        *,
        filename: str | None = None,
        mimetype: str | None = None,
        size: int | None = None,
        tags: Mapping[str, str] | None = None,
        part_size: int = PART,
        concurrency: int = 3,
        progress: Progress | None = None,
        resume: State | None = None,
        checkpoint: Checkpoint | None = None,
        **store: Unpack[StoreOptions],
    ) -> File:
        """As `Client.upload`; `progress` and `checkpoint` are plain functions, called in the event loop."""
        with await _opened(source, filename=filename, mimetype=mimetype, size=size) as content:
            upload = Upload(
                self._core,
                content,
                store,
                part_size=part_size,
                tags=tags,
                resume=resume,
                progress=progress,
                checkpoint=checkpoint,
            )
            if upload.small:
                return await self._run(upload.single())
            try:
                await self._run(upload.begin())
                await self._send_parts(upload, concurrency)
                return await self._run(upload.finish())
            except ClientError as fault:
                error = upload.failure(fault)
                if error is fault:
                    raise
                raise error from fault

    async def _send_parts(self, upload: Upload, concurrency: int) -> None:
        """Send what is missing, in tasks. The first fault cancels the others, and it alone is raised."""
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        faults: list[Exception] = []

        async with anyio.create_task_group() as group:

            async def work() -> None:
                try:
                    while (piece := await anyio.to_thread.run_sync(upload.take)) is not None:
                        flow = upload.send(piece)
                        del piece  # or two parts would be in memory while the next one is read
                        await self._run(flow)
                except Exception as fault:
                    faults.append(fault)
                    group.cancel_scope.cancel()

            for _ in range(concurrency):
                group.start_soon(work)
        if faults:
            raise faults[0]

    async def store(
        self, source: Sendable, *, filename: str | None = None, mimetype: str | None = None, **store: Unpack[StoreOptions]
    ) -> File:
        """Store a file in a single request, whatever its size."""
        with await _opened(source, filename=filename, mimetype=mimetype) as content:
            return await self._run(self._core.store(content, store))

    async def upload_url(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        **store: Unpack[StoreOptions],
    ) -> File:
        """Have the server fetch a file from elsewhere, with these request headers, and keep it."""
        return await self._run(self._core.upload_url(url, headers, store, tags))

    async def keep(self, source: str | list[str], chain: Transform, **store: Unpack[StoreOptions]) -> File:
        """Run tasks on a handle, a URL or a list of those, and keep the result as a new file."""
        return await self._run(self._core.keep(source, chain, store))

    async def overwrite(self, handle: str, source: Sendable, *, mimetype: str | None = None) -> dict[str, Any]:
        """New content under the same handle and name. Returns what the server says of it."""
        with await _opened(source, mimetype=mimetype) as content:
            return await self._run(self._core.overwrite(handle, content))

    # -- out

    async def metadata(self, handle: str, *names: str) -> dict[str, Any]:
        """What is known of a file: the usual, or the facts named (`"size"`, `"width"`, `"sha256"`, `"exif"`, …)."""
        return await self._run(self._core.metadata(handle, known_names(names)))

    async def read(self, handle: str) -> bytes:
        """The whole file, in memory."""
        return await self._run(self._core.read(handle))

    async def download(self, handle: str, path: str | os.PathLike[str], *, progress: DownloadProgress | None = None) -> Path:
        """The file to a path, where it appears when it is whole. A connection that breaks is taken up where it broke."""
        with Download(path, progress) as download:
            await self._run(self._core.download(handle, download))
            return await anyio.to_thread.run_sync(download.publish)

    async def delete(self, handle: str, *, keep_object: bool = False) -> None:
        """Delete a file. `keep_object` leaves its bytes in the storage and only forgets the handle."""
        await self._run(self._core.delete(handle, keep_object=keep_object))

    # -- driving flows

    async def _run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                    step = flow.send(NO_REPLY)
                    continue
                try:
                    reply = await self._answer(step)
                except httpx.RequestError as error:
                    step = flow.throw(fault_of(step, error))
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def _answer(self, request: Request) -> Reply:
        body = request.body
        content: bytes | AsyncIterator[bytes] | None
        content = body if body is None or isinstance(body, bytes) else _pieces(body)
        sent = outgoing(self._http, request, content)
        response = await self._http.send(sent, stream=True, follow_redirects=False, **self._auth(request))
        try:
            reply = reply_of(response)
            if request.sink is None or not reply.good:
                return Reply(reply.status, reply.headers, await response.aread())
            request.sink.begin(reply.status, reply.headers)
            async for piece in response.aiter_bytes():
                await anyio.to_thread.run_sync(request.sink.write, piece)
            return reply
        finally:
            await response.aclose()


async def _opened(
    source: Sendable, *, filename: str | None = None, mimetype: str | None = None, size: int | None = None
) -> Content:
    """Open it in a thread: a stream may have to be copied first."""
    return await anyio.to_thread.run_sync(lambda: Content(source, filename=filename, mimetype=mimetype, size=size))


async def _pieces(body: Body) -> AsyncIterator[bytes]:
    """The pieces of a body, each read in a thread."""
    pieces = body.pieces()
    while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
        yield piece
