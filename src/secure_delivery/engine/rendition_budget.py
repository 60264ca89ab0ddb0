"""The bound on what kept results may take on the disk: the least recently used go first.

Knows: the folders of results, their times and sizes. Must not know: what is in them, who asked.

Nobody counts along: a walk over the folders adds up sizes by the hour of last use, and when that is more than the budget, a
second walk takes away what was not used since the hour from which on everything fits. One process walks at a time, in a
thread of its own that rests every few hundred entries, so that requests are not held up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .rendition_store import RenditionStore, is_copy, is_entry

logger = logging.getLogger("secure_delivery.engine")

_REST = 0.005  # seconds
_ENTRIES = 400  # entries between two rests
_HOURLY = 3600.0  # seconds after which the folders are walked without cause: for age, and for what other processes kept
_SHARE = 64  # walk when as much as this part of the budget was kept since the last time
_LEFT = 0.9  # part of the budget that is left in use, so that not every new result sets off a walk
_FINEST = 60.0  # seconds of one class of last use; that is how exactly accesses are noted


class Kept(NamedTuple):
    """How much is kept: results, copies of ours among them, and the bytes of all."""

    results: int = 0
    copies: int = 0
    size: int = 0


class _Seen(NamedTuple):
    path: str
    used: float
    created: float
    size: int


class Budget:
    """Keeps a store below `limit` bytes and `days` of age. `clock` gives seconds since the epoch. Thread-safe."""

    def __init__(self, store: RenditionStore, *, limit: int, days: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._limit = limit
        self._days = days
        self._clock = clock
        self._added = 0
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def added(self, size: int) -> None:
        """Note that so many bytes were kept; sets off a walk when that is enough of them."""
        self._added += size
        if self._added * _SHARE >= self._limit:
            self._added = 0
            self.start()
            self._wanted.set()

    def start(self) -> None:
        """Walk now and then from here on, in a thread that ends with `stop` or the process."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="renditions", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the walks. Safe to call at any time."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stopped.set()
        self._wanted.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.clear()
            try:
                self.keep()
            except OSError as error:
                logger.error("kept results cannot be tidied up: %s", error.strerror)
            self._wanted.wait(_HOURLY)

    def keep(self) -> int:
        """Take away what is too old, then what was not used for longest until the rest fits; returns how many entries.

        Does nothing while another process is at it.
        """
        with _alone(self._store.folder / ".lock") as mine:
            if not mine:
                return 0
            removed, total, by_use = self._look()
            if total <= self._limit:
                return removed
            cut = _cut(by_use, total - int(self._limit * _LEFT))
            return removed + self._cut_down(cut, total)

    def _look(self) -> tuple[int, int, Counter[int]]:
        """One walk: takes away what is too old; bytes in all, and by the minute of last use."""
        oldest = self._clock() - self._days * 86_400
        removed, by_use = 0, Counter[int]()
        for seen in self._walk():
            if seen.created <= oldest:
                removed += _removed(seen.path)
            else:
                by_use[int(seen.used // _FINEST)] += seen.size
        return removed, by_use.total(), by_use

    def _cut_down(self, cut: int, total: int) -> int:
        removed = 0
        for seen in self._walk():
            if total <= self._limit * _LEFT:
                break
            if int(seen.used // _FINEST) <= cut and _removed(seen.path):
                removed += 1
                total -= seen.size
        return removed

    def kept(self, application: str | None = None, *, step: Callable[[], None] = lambda: None) -> Kept:
        """How much is kept, of one application or of all. `step` is called for each file that results were made of."""
        count = copies = size = 0
        for folder in self._folders(application):
            step()
            for seen in _entries(folder):
                count, size = count + 1, size + seen.size
                copies += is_copy(Path(seen.path).name)
        return Kept(count - copies, copies, size)

    def _walk(self) -> Iterator[_Seen]:
        number = 0
        for folder in self._folders():
            empty = True
            for seen in _entries(folder):
                empty = False
                number += 1
                if number % _ENTRIES == 0 and self._thread is threading.current_thread() and self._stopped.wait(_REST):
                    return
                yield seen
            if empty:
                _tidy(folder)

    def _folders(self, application: str | None = None) -> Iterator[str]:
        for each in self._store.applications() if application is None else [application]:
            for kind in ("files", "external"):
                with suppress(FileNotFoundError), os.scandir(self._store.folder / each / kind) as folders:
                    for folder in folders:
                        yield folder.path


def _entries(folder: str) -> Iterator[_Seen]:
    try:
        found = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if is_entry(entry.name):
            with suppress(OSError):  # taken away meanwhile
                status = entry.stat(follow_symlinks=False)
                yield _Seen(entry.path, status.st_atime, status.st_mtime, status.st_size)


def _cut(by_use: Counter[int], surplus: int) -> int:
    """The class of last use up to which entries go, for at least so many bytes."""
    for moment in sorted(by_use):
        surplus -= by_use[moment]
        if surplus <= 0:
            return moment
    return max(by_use, default=0)


def _removed(path: str) -> bool:
    try:
        Path(path).unlink()
    except OSError:
        return False
    return True


def _tidy(folder: str) -> None:
    """Take away a folder without entries, and links in it that lead nowhere."""
    root = Path(folder).parents[2]
    with suppress(OSError):
        for link in Path(folder).glob("*.ref"):
            if not (root / link.readlink()).exists():
                link.unlink()
        Path(folder).rmdir()  # fails for one that is not empty, as it should


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else is at it; held to the end of the block."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
