"""Results of chains: found again, or made once and kept.

Knows: records, storages, the sandbox. Must not know: HTTP, who may ask. The decision comes before: nothing is looked up here
for a request that was not allowed (security promise 25, CVE-2025-57752).

A result is named by the digest of the source's content, the canonical tasks and the version of the code, never by a policy:
two people with different signatures share it, an overwritten source never does.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..gate.errors import StorageFault, StorageFull, TooLarge
from ..gate.model import Application
from .convert import Plan
from .files import Files, new_key
from .records import Blob, FileLink, Records, Rendition
from .sandbox import Chain, Sandbox

logger = logging.getLogger("secure_delivery.engine")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_HOT = 4096  # renditions whose place is remembered


class Renditions:
    """The kept results of all applications. Thread-safe.

    `folder` holds the files of work in progress and one lock file per result being made, so that several server processes
    make it once as well.
    """

    def __init__(
        self,
        records: Records,
        files: Files,
        sandbox: Sandbox,
        *,
        storage: str,
        folder: Path,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._files = files
        self._sandbox = sandbox
        self._storage = storage
        self._folder = folder
        self._clock = clock
        self._running: dict[str, Future[Rendition]] = {}
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._known: dict[str, tuple[object, Rendition]] = {}

    def start_decoders(self) -> None:
        """Start the decoder processes if they do not run: at start-up, or with the first result of a mounted app.

        Raises `ConfigurationError` when they cannot be confined as the settings ask.
        """
        with self._starting:
            if not self._sandbox.running:
                self._sandbox.start()

    @staticmethod
    def key(link: FileLink, plan: Plan) -> str:
        """The name of a result: 64 hex digits over owner, file, content and canonical tasks, each framed by its length."""
        digest = hashlib.sha256()
        for part in (link.application, link.handle, link.sha256, link.mimetype, plan.canonical):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()

    def find(self, link: FileLink, plan: Plan) -> Rendition | None:
        """The kept result, if there is one."""
        key = self.key(link, plan)
        token = self._records.generation()
        known = self._known.get(key)
        if known is not None and known[0] == token:
            return known[1]
        rendition = self._records.rendition(key, application=link.application)
        if rendition is not None:
            if len(self._known) >= _HOT:
                self._known.clear()
            self._known[key] = (token, rendition)
        return rendition

    def get(self, application: Application, link: FileLink, plan: Plan) -> Rendition:
        """The result of a chain on a file, made now when it is not kept yet.

        However many ask at the same moment, in this process or others, it is computed once. Raises the faults of the
        transformations, `Busy` when no decoder gets free in time, `TooLarge` for a source over the application's limit.
        """
        key = self.key(link, plan)
        with self._lock:
            running = self._running.get(key)
            mine = running is None
            if running is None:
                running = self._running[key] = Future()
        if not mine:
            return running.result()
        try:
            rendition = self._made(key, application, link, plan)
            running.set_result(rendition)
            return rendition
        except BaseException as fault:
            running.set_exception(fault)
            raise
        finally:
            with self._lock:
                del self._running[key]

    def _made(self, key: str, application: Application, link: FileLink, plan: Plan) -> Rendition:
        """Find or make a result alone. A work folder that fails is the storage's fault, like any other disk."""
        try:
            with self._alone(key):
                return self.find(link, plan) or self._make(key, application, link, plan)
        except OSError as error:
            detail = f"working in {self._folder}: {error.strerror}"
            raise (StorageFull if error.errno in _FULL else StorageFault)(detail) from error

    def open(self, rendition: Rendition, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of a result. Raises `NotFound`, `StorageFault`."""
        return self._files.storage(rendition.storage).open(rendition.storage_key, start=start, length=length)

    def forget(self, rendition: Rendition) -> None:
        """Drop a result whose bytes turned out to be gone, so that it is made again."""
        self._known.pop(rendition.key, None)
        if rendition.handle is not None:
            gone = self._records.remove_renditions(rendition.handle, application=rendition.application)
            self._files.discard(each.blob for each in gone)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold the lock file of one result. The lock goes with the process, so a crash leaves nobody waiting."""
        path = self._folder / f"{key[:16]}.lock"
        descriptor = _lock(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _make(self, key: str, application: Application, link: FileLink, plan: Plan) -> Rendition:
        limits = application.limits
        if link.size > limits.max_bytes:
            raise TooLarge(f"source of {link.size} bytes, limit {limits.max_bytes}")
        self.start_decoders()
        steps = tuple((step.name, dict(step.options)) for step in plan.steps)
        with self._source(link) as source, tempfile.TemporaryFile(dir=self._folder) as output:
            chain = Chain(
                tasks=steps,
                source=source.fileno(),
                mimetype=link.mimetype,
                filename=link.filename,
                output=output.fileno(),
                max_pixels=limits.max_pixels,
                max_bytes=limits.max_bytes,
            )
            outcome = self._sandbox.run(chain)
            output.seek(0)
            return self._keep(key, link, outcome.mimetype, outcome.filename, output)

    @contextmanager
    def _source(self, link: FileLink) -> Iterator[BinaryIO]:
        """The source as a real file, whose descriptor is all that a decoder gets to see of it."""
        with self._files.open(link) as stream:
            try:
                stream.fileno()
            except OSError:
                with tempfile.TemporaryFile(dir=self._folder) as copy:
                    while piece := stream.read(1 << 20):
                        copy.write(piece)
                    copy.flush()
                    copy.seek(0)
                    yield copy
                return
            yield stream

    def _keep(self, key: str, link: FileLink, mimetype: str, filename: str, output: BinaryIO) -> Rendition:
        blob = Blob(self._storage, new_key())
        draft = self._files.storage(self._storage).create(blob.key, mimetype=mimetype)
        size = 0
        try:
            while piece := output.read(1 << 20):
                size += len(piece)
                draft.write(piece)
            draft.publish()
        except BaseException:
            draft.discard()
            raise
        try:
            rendition = Rendition(
                key=key,
                application=link.application,
                handle=link.handle,
                storage=blob.storage,
                storage_key=blob.key,
                mimetype=mimetype,
                filename=filename,
                size=size,
                created=int(self._clock() * 1000),
            )
            kept = self._records.add_rendition(rendition)
        except Exception:  # the file was removed while we worked, say, or the database is out of reach
            self._files.discard([blob])
            raise
        if kept is not rendition:
            self._files.discard([blob])
        return kept


def _lock(path: Path) -> int:
    """The descriptor of a locked file that is still the one under its name: who held it before has unlinked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
