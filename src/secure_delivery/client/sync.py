"""The client for programs that wait: flows run on an `httpx.Client`, parts of an upload in threads.

Knows: httpx and threads. Must not know: endpoints, parameters, when to retry; the flows do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

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
from .wire import NO_REPLY, Flow, Pause, Reply, Request, Retry

T = TypeVar("T")


class Client(ClientBase):
    """A secure_delivery server, or any other that speaks Filestack's API, from Python.

    * `base`: its address, `https://files.example.org`. `api_key`: of the application.
    * `secret`: the application's secret, on backends only; each request then signs a policy of its own, good for that
      request and some minutes. `signed`: a policy that somebody else signed, shown with every request. Neither: requests go
      unsigned, which is enough for an open application.
    * `retry`: when to try again. `timeout`: seconds to wait for a connection or for the next bytes.
    * `http`: an `httpx.Client` of your own, for proxies, certificates or tests; it is not closed here, and its own timeout
      holds. Otherwise connections are kept and used again until `close()`.

    May be used by several threads at once. All methods raise `ClientError`.
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
        http: httpx.Client | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(base, api_key=api_key, secret=secret, signed=signed, retry=retry, clock=clock)
        self._owned = http is None
        self._http = http or httpx.Client(timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    # -- in

    def upload(
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
        """Upload a path, bytes, or a file object opened in binary mode.

        A small file takes one request, a larger one goes in parts, `concurrency` of them at the same time; so many parts are
        in memory, never the file. `size` goes with a stream that cannot seek; without it, such a stream is copied to a
        temporary file first.

        `progress` is called with the bytes done and the bytes in all after each part, `checkpoint` with the `State` that
        `resume` takes. Both may be called from other threads, one call at a time; what they raise ends the upload.

        Raises `UploadError` with the state, where there is something to go on with.
        """
        with Content(source, filename=filename, mimetype=mimetype, size=size) as content:
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
                return self._run(upload.single())
            try:
                self._run(upload.begin())
                self._send_parts(upload, concurrency)
                return self._run(upload.finish())
            except ClientError as fault:
                error = upload.failure(fault)
                if error is fault:
                    raise
                raise error from fault

    def _send_parts(self, upload: Upload, concurrency: int) -> None:
        """Send what is missing, in threads. The first fault stops the others after the request they are in."""
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        stop = threading.Event()

        def work() -> None:
            try:
                while not stop.is_set() and (piece := upload.take()) is not None:
                    flow = upload.send(piece)
                    del piece  # or two parts would be in memory while the next one is read
                    self._run(flow, stop)
            except _Stopped:
                pass
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(concurrency, thread_name_prefix="upload") as pool:
            workers = [pool.submit(work) for _ in range(concurrency)]
            try:
                for worker in workers:
                    worker.result()
            except BaseException:  # an interrupt from the keyboard comes here too
                stop.set()
                raise

    def store(
        self, source: Sendable, *, filename: str | None = None, mimetype: str | None = None, **store: Unpack[StoreOptions]
    ) -> File:
        """Store a file in a single request, whatever its size."""
        with Content(source, filename=filename, mimetype=mimetype) as content:
            return self._run(self._core.store(content, store))

    def upload_url(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        **store: Unpack[StoreOptions],
    ) -> File:
        """Have the server fetch a file from elsewhere, with these request headers, and keep it."""
        return self._run(self._core.upload_url(url, headers, store, tags))

    def keep(self, source: str | list[str], chain: Transform, **store: Unpack[StoreOptions]) -> File:
        """Run tasks on a handle, a URL or a list of those, and keep the result as a new file."""
        return self._run(self._core.keep(source, chain, store))

    def overwrite(self, handle: str, source: Sendable, *, mimetype: str | None = None) -> dict[str, Any]:
        """New content under the same handle and name. Returns what the server says of it."""
        with Content(source, mimetype=mimetype) as content:
            return self._run(self._core.overwrite(handle, content))

    # -- out

    def metadata(self, handle: str, *names: str) -> dict[str, Any]:
        """What is known of a file: the usual, or the facts named (`"size"`, `"width"`, `"sha256"`, `"exif"`, …)."""
        return self._run(self._core.metadata(handle, known_names(names)))

    def read(self, handle: str) -> bytes:
        """The whole file, in memory."""
        return self._run(self._core.read(handle))

    def download(self, handle: str, path: str | os.PathLike[str], *, progress: DownloadProgress | None = None) -> Path:
        """The file to a path, where it appears when it is whole. A connection that breaks is taken up where it broke."""
        with Download(path, progress) as download:
            self._run(self._core.download(handle, download))
            return download.publish()

    def delete(self, handle: str, *, keep_object: bool = False) -> None:
        """Delete a file. `keep_object` leaves its bytes in the storage and only forgets the handle."""
        self._run(self._core.delete(handle, keep_object=keep_object))

    # -- driving flows

    def _run(self, flow: Flow[T], stop: threading.Event | None = None) -> T:
        """Run a flow to its end. With `stop`, it ends early at a pause after the event was set."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    if stop is None:
                        time.sleep(step.seconds)
                    elif stop.wait(step.seconds):
                        raise _Stopped
                    step = flow.send(NO_REPLY)
                    continue
                try:
                    reply = self._answer(step)
                except httpx.RequestError as error:
                    step = flow.throw(fault_of(step, error))
                else:
                    step = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    def _answer(self, request: Request) -> Reply:
        body = request.body
        content: bytes | Iterator[bytes] | None = body if body is None or isinstance(body, bytes) else body.pieces()
        sent = outgoing(self._http, request, content)
        response = self._http.send(sent, stream=True, follow_redirects=False, **self._auth(request))
        try:
            reply = reply_of(response)
            if request.sink is None or not reply.good:
                return Reply(reply.status, reply.headers, response.read())
            request.sink.begin(reply.status, reply.headers)
            for piece in response.iter_bytes():
                request.sink.write(piece)
            return reply
        finally:
            response.close()


class _Stopped(Exception):
    """Another part failed, so that waiting for one's own turn is of no use."""
