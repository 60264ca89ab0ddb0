"""Files fetched from outside, kept for a few minutes so that the next size of the same picture is not fetched again.

Knows: the fetcher, a folder. Must not know: chains, who may ask; the caller's `check` judges every address, kept or not.

An application only ever gets what was fetched for it: the sender may have answered others differently.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..gate.errors import TooLarge
from .fetch import Fetcher
from .sources import Held, SourceFile

_MOST = 1 << 30  # bytes kept in all
_ABANDONED = 24 * 3600.0  # seconds after which nobody can be fetching into a file any more
_REPLACED = 60.0  # seconds after which the note of fetched data must have been written
_DATA = ".bin"

Check = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What is known of a kept file: the name of its data, the addresses it came by, and until when it counts (unix seconds).

    Data never change under their name: whatever moment a note is read at, what it names is what it describes.
    """

    data: str
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
        notes = {path: _read(path) for path in self._folder.glob("*.json")}
        for path, note in sorted(notes.items(), key=lambda entry: 0.0 if entry[1] is None else -entry[1].until):
            size = 0 if note is None else _size(self._folder / note.data)
            spent += size
            if note is None or everything or note.until <= now or spent > _MOST:
                spent -= size
                path.unlink(missing_ok=True)
                if note is not None:
                    (self._folder / note.data).unlink(missing_ok=True)
                gone += 1
        named = {note.data for note in notes.values() if note is not None} | {path.name for path in notes}
        for path in self._folder.iterdir():
            if path.name not in named and _age(path) > (_REPLACED if path.suffix == _DATA else _ABANDONED):
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _kept(self, key: str, max_bytes: int, check: Check) -> SourceFile | None:
        note = _read(self._folder / f"{key}.json")
        if note is None:
            return None
        try:
            held = Held(self._folder / note.data)
        except OSError:  # replaced or cleared away meanwhile
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
                data=f"{key}.{secrets.token_hex(8)}{_DATA}",
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
        place = self._folder / f"{key}.json"
        before = _read(place)
        path.replace(self._folder / note.data)
        written = self._folder / f"{note.data}.tmp"
        written.write_text(json.dumps(asdict(note)))
        written.replace(place)
        if before is not None:
            (self._folder / before.data).unlink(missing_ok=True)

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


def _read(path: Path) -> _Note | None:
    """A note; None where there is none that can be read."""
    try:
        note = _Note(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return note if note.data == Path(note.data).name and note.data.endswith(_DATA) else None


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
