"""Kept results as files: one file each, found by name, gone with the folder of what they were made from.

Knows: folders and files on a disk that several processes share. Must not know: the database, decoders, HTTP.

Results can be made again, so they are not forced to the disk; what a crash left half-written is found by length and
checksum and counts as not there. The layout below `folder`:

    APPLICATION/files/HANDLE/NAME       made from a stored file: taking the folder away takes away all that was made of it
    APPLICATION/files/HANDLE/NAME.ref   a link to a result of another file in which this one is used too (a watermark)
    APPLICATION/external/DIGEST/NAME    made from anything else
    .tmp, .gone                         being written, being deleted

An entry is a fixed head, a JSON text and the bytes. Its modification time is when it was made, its access time when it was
last asked for, which is written down once a minute at the most.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..gate.errors import NotFound, StorageFault
from .memory import Memory
from .span import FileSpan

SMALL = 262_144  # bytes up to which a result is read in one go and kept in memory
_SYNCED = 1 << 20  # larger results are forced to the disk instead of being summed up when they are found: that is cheaper
_HEAD = struct.Struct(">4sIQI")  # magic, length of the JSON, length of the bytes, their CRC-32
_MAGIC = b"SDR1"
_MOST_JSON = 1 << 20
_WORDS = 1024  # bytes of an entry that says something about a picture, its size say, and shows nothing
_KNOWN = 8192  # entries whose facts are remembered
_TOUCH = 60.0  # seconds for which the note of an access is good enough
_ABANDONED = 3600.0  # seconds after which a file that is still being written is nobody's
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,128}/(?:files|external)/[A-Za-z0-9_-]{1,128}/[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A kept result. `key` is the question it answers; `handle` that of the stored file it was made from, else None.

    `size` is in bytes, `created` in milliseconds since the epoch, `checksum` the CRC-32 of the bytes; `extra` is plain data
    that the transformation added. `folder` is where it is kept, below the folder of all.
    """

    key: str
    application: str
    handle: str | None
    folder: str
    mimetype: str
    filename: str
    size: int
    created: int
    checksum: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def bytes_name(self) -> str:
        """A name for exactly these bytes, in a memory."""
        return f"{self.key}{self.checksum:08x}"

    @property
    def etag(self) -> str:
        """A strong entity tag: results of the same question may differ in bytes when they are made again."""
        return f"{self.key[:24]}{self.checksum:08x}"


class _Known(NamedTuple):
    rendition: Rendition
    offset: int
    identity: tuple[int, int]


def application_folder(application: str) -> str:
    """Where all results of an application are kept. Raises `NotFound` for a name that no application of ours can have."""
    if not _NAME.fullmatch(application):
        raise NotFound("not a name of an application")
    return application


def folder_of(application: str, handle: str | None, digest: str) -> str:
    """Where results of a source are kept. Raises `NotFound` for names that no file of ours can have."""
    kind, name = ("files", handle) if handle is not None else ("external", digest)
    if not _NAME.fullmatch(name):
        raise NotFound("not a name of a file")
    return f"{application_folder(application)}/{kind}/{name}"


class RenditionStore:
    """The files of all results. Safe to use from many threads and processes at once.

    `days` is how long a result counts; `memory` holds the bytes of small ones that were asked for. `clock` gives seconds
    since the epoch.
    """

    def __init__(self, folder: Path, *, days: float, memory: Memory, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.memory = memory
        self._root = f"{folder}/"
        self._lasts = days * 86_400.0
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._touched: dict[str, float] = {}
        self._temporary = folder / ".tmp"
        self._gone = folder / ".gone"
        for each in (folder, self._temporary, self._gone):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    # -- finding

    def find(self, key: str, folder: str) -> Rendition | None:
        """The entry, if it is there, whole and not too old. What another process took away is not found any more."""
        path = f"{self._root}{folder}/{key}"
        known = self._known.get(key)
        if known is not None:
            try:
                status = os.stat(path)  # noqa: PTH116 - with each request; a Path costs more than the call itself
            except OSError:
                self._forget(key)
                return None
            if known.identity == (status.st_ino, status.st_mtime_ns):
                return known.rendition if self._fresh(known.rendition) else None
        found = self._load(path, key, folder)
        if found is None or not self._fresh(found.rendition):
            return None
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[key] = found
        return found.rendition

    def _fresh(self, rendition: Rendition) -> bool:
        now = self._clock()
        if now >= self.ends(rendition):
            return False
        self.touch(rendition, now)
        return True

    def ends(self, rendition: Rendition) -> float:
        """The moment from which an entry does not count any more, in seconds since the epoch."""
        return rendition.created / 1000 + self._lasts

    def touch(self, rendition: Rendition, now: float) -> None:
        """Note that an entry was asked for; costs nothing when that was noted a moment ago."""
        key = rendition.key
        if now - self._touched.get(key, 0.0) < _TOUCH:
            return
        if len(self._touched) >= 2 * _KNOWN:
            self._touched.clear()
        self._touched[key] = now
        with suppress(OSError):  # taken away this moment
            os.utime(f"{self._root}{rendition.folder}/{key}", ns=(int(now * 1e9), rendition.created * 1_000_000))

    def shown(self, folder: str) -> bool:
        """Whether a picture that a client asked for is kept in a folder: no copy of ours, no answer of a few words."""
        try:
            with os.scandir(self._root + folder) as entries:
                found = [entry for entry in entries if is_entry(entry.name) and not is_copy(entry.name)]
                return any(entry.stat(follow_symlinks=False).st_size > _WORDS for entry in found)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def within(self, folder: str) -> list[Rendition]:
        """What clients asked for and is kept in a folder, oldest first."""
        try:
            names = [entry.name for entry in os.scandir(self._root + folder)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        entries = [self.find(name, folder) for name in names if is_entry(name) and not is_copy(name)]
        return sorted((entry for entry in entries if entry is not None), key=lambda entry: (entry.created, entry.key))

    def _load(self, path: str, key: str, folder: str) -> _Known | None:
        """Read an entry's facts, and its bytes when they are few. Nothing for one that is not there, not whole or cannot be
        read: it is made again then, and what is wrong with the disk shows when it is written."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            found = _facts(descriptor, status.st_size)
            if found is None:
                return None
            facts, offset, size, checksum = found
            data = os.pread(descriptor, size, offset) if size <= _SYNCED else None
            if data is not None and zlib.crc32(data) != checksum:
                return None
        except OSError:
            return None
        finally:
            os.close(descriptor)
        application, kind, name = folder.split("/")
        rendition = Rendition(
            key=key,
            application=application,
            handle=name if kind == "files" else None,
            folder=folder,
            mimetype=facts["mimetype"],
            filename=facts["filename"],
            size=size,
            created=facts["created"],
            checksum=checksum,
            extra=facts["extra"],
        )
        if data is not None and size <= SMALL:
            self.memory.put(rendition.bytes_name, data)
        return _Known(rendition, offset, (status.st_ino, status.st_mtime_ns))

    # -- reading

    def open(self, rendition: Rendition, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of an entry from `start`, at most `length`; whoever opened them reads them to their end.

        Raises `NotFound`, `StorageFault`.
        """
        path = f"{self._root}{rendition.folder}/{rendition.key}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"the result {rendition.key} is gone") from None
        except OSError as error:
            raise StorageFault(f"opening a result: {error.strerror}") from error
        try:
            found = _facts(descriptor, os.fstat(descriptor).st_size)
            if found is None or (found[2], found[3]) != (rendition.size, rendition.checksum):
                raise NotFound(f"the result {rendition.key} was made anew")
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise StorageFault(f"reading a result: {error.strerror}") from error
            raise
        return FileSpan.buffered(descriptor, found[1], rendition.size, start=start, length=length)

    # -- writing

    def publish(self, rendition: Rendition, data: BinaryIO) -> Rendition:
        """Keep bytes as an entry, visible whole or not at all; returns it with size and checksum. Raises `OSError`."""
        facts = {name: getattr(rendition, name) for name in ("mimetype", "filename", "created")}
        raw = json.dumps(facts | {"extra": dict(rendition.extra)}, separators=(",", ":")).encode()
        descriptor, temporary = tempfile.mkstemp(dir=self._temporary)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                size, checksum, piece = _copied(data, file, _HEAD.size + len(raw))
                os.pwrite(descriptor, _HEAD.pack(_MAGIC, len(raw), size, checksum) + raw, 0)
                if size > _SYNCED:
                    os.fdatasync(descriptor)
                stamp = rendition.created * 1_000_000
                os.utime(descriptor, ns=(int(self._clock() * 1e9), stamp))
                status = os.fstat(descriptor)
            self._settle(temporary, rendition)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
            raise
        kept = replace(rendition, size=size, checksum=checksum)
        if piece is not None and size <= SMALL:
            self.memory.put(kept.bytes_name, piece)
        self._known[kept.key] = _Known(kept, _HEAD.size + len(raw), (status.st_ino, status.st_mtime_ns))
        self._touched[kept.key] = self._clock()
        return kept

    def _settle(self, temporary: str, rendition: Rendition) -> None:
        """Rename into the folder, which somebody may take away at any moment."""
        folder = self.folder / rendition.folder
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                Path(temporary).rename(folder / rendition.key)
                return
            except (FileNotFoundError, FileExistsError):  # the latter: it was there, and then it was not
                if not Path(temporary).exists():
                    raise

    def refer(self, rendition: Rendition, folder: str) -> None:
        """Have an entry go with another file's folder too."""
        place = self.folder / folder
        with suppress(FileExistsError, FileNotFoundError):  # known already; or the file is gone, as the caller will find
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            (place / f"{rendition.key}.ref").symlink_to(f"{rendition.folder}/{rendition.key}")

    # -- taking away

    def remove(self, rendition: Rendition) -> None:
        """Take one entry away. One that is gone is no fault."""
        self._forget(rendition.key)
        with suppress(FileNotFoundError, NotADirectoryError):
            (self.folder / rendition.folder / rendition.key).unlink()

    def purge(self, folder: str) -> int:
        """Take away everything that was made of one file, or in which it was used; returns how many entries.

        `folder` is as `folder_of` or `application_folder` gives it.
        """
        aside = self._gone / f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            (self.folder / folder).rename(aside)  # in one step: nobody finds half of it
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return self._delete(aside)

    def _delete(self, aside: Path) -> int:
        count = 0
        for place, _, names in os.walk(aside):
            for name in names:
                count += not name.endswith(".ref")
                self._forget(name)
                if name.endswith(".ref"):
                    with suppress(OSError):
                        count += self._dereference(Path(place, name))
        shutil.rmtree(aside, ignore_errors=True)
        return count

    def _dereference(self, link: Path) -> int:
        target = str(link.readlink())
        if not _REFERENCE.fullmatch(target):
            return 0
        self._forget(target.rpartition("/")[2])
        (self.folder / target).unlink()
        return 1

    def applications(self) -> list[str]:
        """The applications of which something is kept."""
        return sorted(entry.name for entry in os.scandir(self.folder) if _NAME.fullmatch(entry.name) and entry.is_dir())

    def sweep(self) -> int:
        """Remove what a crash left: unfinished entries and folders half deleted; returns how many."""
        count = 0
        for entry in list(os.scandir(self._temporary)):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_ctime < self._clock() - _ABANDONED:
                    Path(entry.path).unlink()
                    count += 1
        for entry in list(os.scandir(self._gone)):
            count += self._delete(Path(entry.path))
        return count

    def _forget(self, key: str) -> None:
        self._touched.pop(key, None)
        known = self._known.pop(key, None)
        if known is not None:
            self.memory.drop(known.rendition.bytes_name)


def is_entry(name: str) -> bool:
    """Whether a name in a folder is that of an entry."""
    return _NAME.fullmatch(name) is not None


def is_copy(name: str) -> bool:
    """Whether an entry is an intermediate of ours, which no client asked for."""
    return "-" in name


def _facts(descriptor: int, length: int) -> tuple[dict[str, Any], int, int, int] | None:
    """The JSON of an entry, where its bytes begin, how many they are, their checksum; None for one that is not whole."""
    head = os.pread(descriptor, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return None
    magic, json_length, size, checksum = _HEAD.unpack(head)
    offset = _HEAD.size + json_length
    if magic != _MAGIC or json_length > _MOST_JSON or offset + size != length:
        return None
    try:
        facts = json.loads(os.pread(descriptor, json_length, _HEAD.size))
        if isinstance(facts["created"], int) and isinstance(facts["extra"], dict):
            return facts, offset, size, checksum
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _copied(data: BinaryIO, file: Any, offset: int) -> tuple[int, int, bytes | None]:
    """Copy a stream into a file from `offset` on; its length, checksum, and the whole of it when it came in one piece."""
    file.seek(offset)
    size, checksum, whole = 0, 0, None
    while piece := data.read(1 << 20):
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]
        checksum = zlib.crc32(piece, checksum)
        whole = piece if size == 0 else None
        size += len(piece)
    return size, checksum, whole
