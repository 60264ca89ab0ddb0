"""Files fetched from outside, kept for a few minutes so that the next size of the same picture is not fetched again.

Knows: the fetcher, a folder. Must not know: chains, who may ask; the caller's `check` judges every address, kept or not.

An application only ever gets what was fetched for it: the sender may have answered others differently.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..gate.errors import TooLarge
from .fetch import Fetcher
from .sources import Held, SourceFile

_MOST = 1 << 30  # bytes kept in all
_ABANDONED = 24 * 3600.0  # seconds after which nobody can be fetching into a file any more

Check = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What is known of a kept file: the addresses it came by, and until when it counts (unix seconds)."""

    hops: list[str]
    mimetype: str
    filename: str
    size: int
    sha256: str
    until: float


class FetchedFiles:
    """Fetches sources, and keeps them in `folder` for at most `keep` seconds. Thread-safe, and safe among processes."""

    def __init__(self, fetcher: Fetcher, folder: Path, *, keep: float, clock: Callable[[], float]) -> None:
        self.fetcher = fetcher
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._state = threading.Lock()

    def get(
        self, application: str, url: str, *, max_bytes: int, check: Check, headers: Mapping[str, str] | None = None
    ) -> SourceFile:
        """The file behind a URL. `check` is shown every address on the way and raises to forbid it.

        Raises what `check` raises, and the faults of `Fetcher.fetch`. What custom headers brought is never kept.
        """
        key = hashlib.sha256(f"{application}\0{url}".encode()).hexdigest()
        with self._alone(key):
            kept = None if headers else self._kept(key, max_bytes, check)
            return kept or self._fetched(key, url, max_bytes, check, headers)

    def sweep(self, *, everything: bool = False) -> int:
        """Remove what is out of date, the oldest beyond the budget, and what a crash left; returns how many files went."""
        now, spent, gone = self._clock(), 0, 0
        entries = []
        for note in self._folder.glob("*.json"):
            try:
                entries.append((json.loads(note.read_text())["until"], note.with_suffix(".bin"), note))
            except (OSError, ValueError, LookupError, TypeError):
                entries.append((0.0, note.with_suffix(".bin"), note))
        for until, data, note in sorted(entries, key=lambda entry: -entry[0]):
            size = _size(data)
            spent += size
            if everything or until <= now or spent > _MOST:
                spent -= size
                note.unlink(missing_ok=True)
                data.unlink(missing_ok=True)
                gone += 1
        for path in self._folder.iterdir():
            if not path.with_suffix(".json").exists() and _age(path) > _ABANDONED:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _kept(self, key: str, max_bytes: int, check: Check) -> SourceFile | None:
        try:
            written = (self._folder / f"{key}.json").read_text()
            note = _Note(**json.loads(written))
            held = Held(self._folder / f"{key}.bin")
            # A note is taken away before its data is replaced: if it is still there, what was opened is its data.
            if (self._folder / f"{key}.json").read_text() != written:
                return None
        except (OSError, ValueError, TypeError):
            return None
        if note.until <= self._clock():
            return None
        for hop in note.hops:
            check(hop)
        if note.size > max_bytes:
            raise TooLarge(f"source of {note.size} bytes, limit {max_bytes}")
        return _source(note, held)

    def _fetched(self, key: str, url: str, max_bytes: int, check: Check, headers: Mapping[str, str] | None) -> SourceFile:
        hops: list[str] = []

        def seen(hop: str) -> None:
            check(hop)
            hops.append(hop)

        self.sweep()
        descriptor, name = tempfile.mkstemp(dir=self._folder)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as into:
                found = self.fetcher.fetch(url, into=into, max_bytes=max_bytes, check=seen, headers=headers)
            age = self._keep if found.max_age is None else min(self._keep, found.max_age)
            note = _Note(
                hops=hops,
                mimetype=found.mimetype,
                filename=found.filename,
                size=found.size,
                sha256=found.sha256,
                until=self._clock() + age,
            )
            held = Held(path)
            if age > 0 and not headers:
                self._keep_it(key, path, note)
            return _source(note, held)
        finally:
            path.unlink(missing_ok=True)

    def _keep_it(self, key: str, path: Path, note: _Note) -> None:
        (self._folder / f"{key}.json").unlink(missing_ok=True)
        path.replace(self._folder / f"{key}.bin")
        written = self._folder / f"{key}.{threading.get_ident()}.tmp"
        values: dict[str, Any] = {name: getattr(note, name) for name in _Note.__dataclass_fields__}
        written.write_text(json.dumps(values))
        written.replace(self._folder / f"{key}.json")

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """One fetch of a URL at a time in this process: who waits finds it kept."""
        with self._state:
            lock, count = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, count + 1)
        try:
            with lock:
                yield
        finally:
            with self._state:
                lock, count = self._locks[key]
                if count == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = (lock, count - 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _age(path: Path) -> float:
    """Seconds since a file was written, by the clock of file systems; zero for one that has gone meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _source(note: _Note, held: Held) -> SourceFile:
    return SourceFile(
        handle=None, digest=note.sha256, mimetype=note.mimetype, filename=note.filename, size=note.size, open=held.open
    )
