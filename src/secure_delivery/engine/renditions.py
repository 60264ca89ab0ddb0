"""Results of chains: found again, or made once and kept.

Knows: the kept results, the sandbox, which files are there. Must not know: HTTP, who may ask. The decision comes before:
nothing is looked up here for a request that was not allowed (security promise 25, CVE-2025-57752).

A result is named by the digests of the sources' content, the canonical tasks and the version of the code, never by a policy:
two people with different signatures share it, an overwritten source never does.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..gate.errors import NotFound, SecureDeliveryError, StorageFault, StorageFull, TooLarge
from ..gate.model import Application
from .chains import Chains, Size
from .convert import Plan
from .copies import Copies
from .outbound import OutboundGuard
from .records import Records
from .rendition_budget import Budget, Kept
from .rendition_store import Rendition, RenditionStore, application_folder, folder_of
from .sandbox import Outcome, Sandbox
from .sources import SourceFile

__all__ = ["Rendition", "Renditions"]

logger = logging.getLogger("secure_delivery.engine")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SIZES = 4096  # pictures whose size is remembered
_SIZE_TEXT = 4096  # bytes of JSON that say a picture's size, at most


class Renditions:
    """The kept results of all applications. Thread-safe.

    `work` holds the files of work in progress and one lock file per result being made, so that several server processes
    make it once as well. Without `copies` every chain starts from its source. `guard` is how pages are visited.
    """

    def __init__(
        self,
        records: Records,
        store: RenditionStore,
        budget: Budget,
        sandbox: Sandbox,
        *,
        work: Path,
        clock: Callable[[], float],
        copies: Copies | None = None,
        guard: OutboundGuard | None = None,
    ) -> None:
        self.store = store
        self._records = records
        self._budget = budget
        self._sandbox = sandbox
        self._chains = Chains(sandbox, work, guard)
        self._work = work
        self._clock = clock
        self._copies = copies
        self._running: dict[str, Future[Rendition | None]] = {}
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._sizes: dict[str, Size | None] = {}  # of pictures, by `_named`; None where there is none to be had

    def start_decoders(self) -> None:
        """Start the decoder processes if they do not run: at start-up, or with the first result of a mounted app.

        Raises `ConfigurationError` when they cannot be confined as the settings ask.
        """
        with self._starting:
            if not self._sandbox.running:
                self._sandbox.start()

    def start(self) -> None:
        """Sweep up what a crash left, and keep to the budget from here on."""
        self.store.sweep()
        self._budget.start()

    def close(self) -> None:
        """End what runs in the background."""
        self._budget.stop()

    # -- finding

    @staticmethod
    def key(application: Application, sources: Sequence[SourceFile], plan: Plan) -> str:
        """The name of a result: 64 hex digits over owner, sources, canonical tasks and metadata profile, each framed by its
        length."""
        parts = [application.api_key, application.metadata_profile, plan.canonical]
        for source in sources:
            parts += [source.handle or "", source.digest, source.mimetype]
        digest = hashlib.sha256()
        for part in parts:
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()

    def find(self, application: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition | None:
        """The kept result of a chain on its sources, the main one first, if there is one."""
        return self.store.find(self.key(application, sources, plan), _folder(application, sources))

    def open(self, rendition: Rendition, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of a result. Raises `NotFound`, `StorageFault`."""
        return self.store.open(rendition, start=start, length=length)

    def read(self, rendition: Rendition) -> bytes:
        """All bytes of a small result, from memory where they are. Raises `NotFound`, `StorageFault`."""
        data = self.store.memory.get(rendition.bytes_name)
        if data is None:
            with self.store.open(rendition) as stream:
                data = stream.read()
            self.store.memory.put(rendition.bytes_name, data)
        return data

    def of(self, application: str, handle: str) -> list[Rendition]:
        """All kept results of one stored file, oldest first; copies of ours are none."""
        return self.store.within(folder_of(application, handle, ""))

    # -- making

    def get(self, application: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition:
        """The result of a chain on its sources, made now when it is not kept yet.

        However many ask at the same moment, in this process or others, it is computed once. `application` owns the main
        source, which is the first. Raises the faults of the transformations, `Busy` when no decoder gets free in time,
        `TooLarge` for a source over the application's limit, `NotFound` when a source was removed or overwritten meanwhile.
        """
        while True:
            made = self._shared(application, sources, plan, wait=True)
            if made is not None:
                return made

    def attempt(self, application: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition | None:
        """As `get`, but None at once while another process makes that result: for callers who can wait without a thread."""
        return self._shared(application, sources, plan, wait=False)

    def _shared(self, application: Application, sources: Sequence[SourceFile], plan: Plan, *, wait: bool) -> Rendition | None:
        """One computation for all threads that ask at the same moment."""
        key = self.key(application, sources, plan)
        with self._lock:
            running = self._running.get(key)
            mine = running is None
            if running is None:
                running = self._running[key] = Future()
        if not mine:
            return running.result()
        try:
            rendition = self._made(key, application, sources, plan, wait=wait)
            running.set_result(rendition)
            return rendition
        except BaseException as fault:
            running.set_exception(fault)
            raise
        finally:
            with self._lock:
                del self._running[key]

    def _made(
        self, key: str, application: Application, sources: Sequence[SourceFile], plan: Plan, *, wait: bool
    ) -> Rendition | None:
        """Find or make a result alone. A work folder that fails is the storage's fault, like any other disk."""
        folder = _folder(application, sources)
        try:
            with self._alone(key, wait=wait) as mine:
                if not mine:
                    return None
                return self.store.find(key, folder) or self._make(key, application, sources, plan)
        except OSError as error:
            detail = f"working in {self._work}: {error.strerror}"
            raise (StorageFull if error.errno in _FULL else StorageFault)(detail) from error

    @contextmanager
    def _alone(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock file of one result; false when another has it and `wait` is. The lock goes with the process, so a
        crash leaves nobody waiting."""
        path = self._work / f"{key[-16:]}.lock"
        descriptor = _lock(path, wait=wait)
        if descriptor is None:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _make(self, key: str, application: Application, sources: Sequence[SourceFile], plan: Plan) -> Rendition:
        limit = application.limits.max_bytes
        for source in sources:
            if source.size > limit:
                raise TooLarge(f"source of {source.size} bytes, limit {limit}")
        self.start_decoders()
        first, original = self._begin(application, sources, plan)
        with self._chains.ran(application, [first, *sources[1:]], plan, original=original) as (outcome, output):
            return self._keep(key, application, sources, outcome, output, outcome.extra)

    def keep(self, key: str, application: Application, source: SourceFile, outcome: Outcome, output: BinaryIO) -> Rendition:
        """Keep what was made of a source by other hands. `key` is a name that no chain has. Raises `NotFound` when the source
        is not what it was, `StorageFault`."""
        try:
            return self._keep(key, application, [source], outcome, output, outcome.extra)
        except OSError as error:
            raise (StorageFull if error.errno in _FULL else StorageFault)(f"keeping a result: {error.strerror}") from error

    def _keep(
        self,
        key: str,
        application: Application,
        sources: Sequence[SourceFile],
        outcome: Outcome,
        output: BinaryIO,
        extra: Mapping[str, Any],
    ) -> Rendition:
        folder = _folder(application, sources)
        rendition = Rendition(
            key=key,
            application=application.api_key,
            handle=sources[0].handle,
            folder=folder,
            mimetype=outcome.mimetype,
            filename=outcome.filename,
            size=outcome.size,
            created=int(self._clock() * 1000),
            extra=extra,
        )
        kept = self.store.publish(rendition, output)
        try:
            self._check(kept, application, sources)
        except BaseException:  # whoever removed a source may have looked before our result was there
            self.store.remove(kept)
            raise
        self._budget.added(kept.size)
        return kept

    def _check(self, kept: Rendition, application: Application, sources: Sequence[SourceFile]) -> None:
        """Raise `NotFound` when a source is gone or another by now; have the result go with each of them."""
        if self._records.application(application.api_key) is None:
            raise NotFound(f"the application {application.api_key} is gone")
        for number, source in enumerate(sources):
            if source.handle is None:
                continue
            folder = kept.folder
            for final in (False, True):  # once more after the link is there: the file may have gone in between
                link = self._records.file(source.handle)
                if link is None or link.sha256 != source.digest or (number == 0 and link.application != kept.application):
                    raise NotFound(f"{source.handle} is not what it was")
                folder = folder_of(link.application, link.handle, link.sha256)
                if final or folder == kept.folder:
                    break
                self.store.refer(kept, folder)

    # -- starting from a copy

    def _begin(self, application: Application, sources: Sequence[SourceFile], plan: Plan) -> tuple[SourceFile, Size | None]:
        """What a chain starts from: its source, or a smaller copy of it with the size of the picture that it stands for."""
        source, folder = sources[0], _folder(application, sources)
        plans = {} if self._copies is None else self._copies.plans(source, plan)
        keys = {side: f"copy-{self.key(application, [source], making)}" for side, making in plans.items()}
        found = {side: kept for side, key in keys.items() if (kept := self.store.find(key, folder)) is not None}
        try:
            if not plans or not (found or self.store.shown(folder)):
                return source, None  # the first result: perhaps the only one
            known = next(iter(found.values()), None)
            size = self._size(application, source) if known is None else _pair(known.extra["original"])
            side = self._side(application, source, plan, size)
            if size is None or side is None:
                return source, None
            kept = found.get(side) or self._copied(keys[side], application, source, plans[side], size)
        except SecureDeliveryError as fault:  # the chain itself will say what is wrong with the picture, if anything is
            logger.info("no copy of %s: %s", source.handle, fault)
            self._sizes[_named(application, source)] = None
            return source, None
        copy = SourceFile(
            handle=None,
            digest=kept.key,
            mimetype=source.mimetype,
            filename=source.filename,
            size=kept.size,
            open=lambda: self.store.open(kept),
        )
        return copy, size

    def _side(self, application: Application, source: SourceFile, plan: Plan, size: Size | None) -> int | None:
        """The side of the copy that a chain can start from; None where the original has to do, or is too large to be one."""
        if self._copies is None or size is None or size[0] * size[1] > application.limits.max_pixels:
            return None
        return self._copies.side(plan, source.mimetype, size)

    def _size(self, application: Application, source: SourceFile) -> Size | None:
        """Width and height of a picture, upright; None when it has none."""
        key = _named(application, source)
        if key in self._sizes:
            return self._sizes[key]
        if self._copies is None or self._copies.sizing is None:
            return None
        with self._chains.ran(application, [source], self._copies.sizing) as (_, output):
            size = _read_size(output.read(_SIZE_TEXT))
        if len(self._sizes) >= _SIZES:
            self._sizes.clear()
        self._sizes[key] = size
        return size

    def _copied(self, key: str, application: Application, source: SourceFile, making: Plan, size: Size) -> Rendition:
        """The copy of a picture, made once however many results ask for it at the same moment."""
        with self._alone(key, wait=True):
            kept = self.store.find(key, _folder(application, [source]))
            if kept is not None:
                return kept
            with self._chains.ran(application, [source], making, metadata="all") as (outcome, output):
                return self._keep(key, application, [source], outcome, output, {"original": size})

    # -- taking away

    def forget(self, rendition: Rendition) -> None:
        """Drop a result whose bytes turned out to be gone, so that it is made again."""
        self.store.remove(rendition)

    def purge(self, application: str, handle: str) -> int:
        """Drop everything that was made of a stored file, in every process at once; returns how many results."""
        count = self.store.purge(folder_of(application, handle, ""))
        self._records.touch_files()
        return count

    def purge_application(self, application: str) -> int:
        """Drop every result of an application; returns how many."""
        count = self.store.purge(application_folder(application))
        self._records.touch_files()
        return count

    def applications(self) -> list[str]:
        """The API keys of applications of which something is kept."""
        return self.store.applications()

    def kept(self, application: str | None = None, *, step: Callable[[], None] = lambda: None) -> Kept:
        """How much is kept, of one application or of all; `step` is called now and then while counting."""
        return self._budget.kept(application, step=step)


def _pair(value: Sequence[int]) -> Size:
    width, height = value
    return width, height


def _named(application: Application, source: SourceFile) -> str:
    """A source of one application: what is true of one file may not be said of another's, even if the bytes are the same."""
    return f"{application.api_key} {source.handle} {source.digest}"


def _folder(application: Application, sources: Sequence[SourceFile]) -> str:
    return folder_of(application.api_key, sources[0].handle, sources[0].digest)


def _read_size(text: bytes) -> Size | None:
    """The size that a decoder reported, as far as it can be believed."""
    try:
        said = json.loads(text)
        width, height = said["width"], said["height"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    plain = type(width) is int and type(height) is int and 0 < width < 2**31 and 0 < height < 2**31
    return (width, height) if plain else None


def _lock(path: Path, *, wait: bool) -> int | None:
    """The descriptor of a locked file that is still the one under its name: who held it before has unlinked it.

    None when another has it and we do not want to wait.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)
