"""Blobs as files of this machine: written aside, made durable, then renamed into place.

Knows: files, folders, their durability (security promises 85, 87, 89). Must not know: what a blob is, who wrote it, settings.

Under the root there are three folders. `tmp` holds drafts; `blobs` holds what was published, in two levels of folders named
after the key's first characters so that none grows without bound; `sent` holds second names of blobs that a web server was
told to open. All are on one file system, which makes a rename the single moment at which a blob appears. Nothing is touched
before the first blob is created.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from ..gate.errors import NotFound, SecureDeliveryError, StorageFault, StorageFull
from . import checksum

logger = logging.getLogger("secure_delivery.storage")

#: The keys of the server, and nothing that means something to a file system (CVE-2007-4559 and its many relatives): no
#: dots, no leading or double slash. Up to two prefixes, so that the flattened name stays below 255 bytes.
_KEY = re.compile(r"(?:[a-z0-9]{1,64}/){0,2}[a-z0-9]{8,64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAME = re.compile(r"(?:[a-z0-9]{1,64}-){0,2}([a-z0-9]{8,64})")  # of a file in `blobs`: a key, flattened
_LENT = re.compile(r"([0-9]{1,12})-[0-9a-f]{32}")  # of a name in `sent`: since when, and what nobody can guess
LENT_FOR = 60.0  # seconds for which a web server may come to open what it was told to send; as long is a removed blob kept
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_BUFFER = 1 << 17  # bytes a reader asks of the kernel at once


def _fault(doing: str, error: OSError) -> SecureDeliveryError:
    """The fault for a failed call. Its detail is for the operator; the public sentence names no path."""
    detail = f"{doing}: {error.strerror or type(error).__name__} ({errno.errorcode.get(error.errno or 0, '?')})"
    return StorageFull(detail) if error.errno in _FULL else StorageFault(detail)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: fsync(2) of a file alone does not do that for its entry."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalStorage:
    """A `Storage`, and `Located`, that keeps each blob in one file under `root` (a folder, made when first needed).

    Files are 0600 and folders 0700. Several processes may use one root at once. Every method raises `StorageFull` when the
    disk, the quota or the file size limit is reached, and `StorageFault` for any other failure and for text that is no key.

    `verify` keeps the SHA-256 of each blob with it (about 0.6 ms for a megabyte written, and again for one read) and compares
    it whenever the whole is read; blobs from before are not compared. `group_read` lets the group of the root read what is
    lent to a web server: files become 0640, the root and `sent` 0750.
    """

    __slots__ = ("_blobs", "_durable", "_group_read", "_root", "_sent", "_tmp", "_verify")

    def __init__(self, root: Path, *, verify: bool = False, group_read: bool = False) -> None:
        self._root = root.expanduser().absolute()
        self._verify = verify
        self._group_read = group_read
        self._tmp = self._root / "tmp"
        self._blobs = self._root / "blobs"
        self._sent = self._root / "sent"
        #: Folders whose own entry this process has seen to disk; at most one for each pair of characters.
        self._durable: set[Path] = set()

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    def create(self, key: str, *, mimetype: str) -> LocalDraft:
        """Begin a blob. The type is not kept here: the record of the file has it."""
        target = self._path(key)
        try:
            self._settle(self._tmp)
            return LocalDraft(self, self._tmp / secrets.token_hex(16), target, verify=self._verify)
        except OSError as error:
            raise _fault("creating a draft", error) from error

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length` of the blob; position 0 is `start`.

        It has a `fileno` only when it covers the whole blob, as a descriptor would give away the rest, and when the blob is
        not compared while it is read. Then the last bytes of a damaged one are a `StorageFault`. Raises `NotFound`, and
        `ValueError` for a negative start or length.
        """
        if start < 0 or (length is not None and length < 0):
            raise ValueError("start and length of a read must not be negative")
        path = self._path(key)
        try:
            window = _Window(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), start, length)
            if self._verify:
                window.compare(path)
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None
        except OSError as error:
            raise _fault("opening a blob", error) from error
        return cast(BinaryIO, io.BufferedReader(window, _BUFFER))

    def remove(self, key: str) -> None:
        """Delete, durably: a blob that was removed does not come back after a crash."""
        path = self._path(key)
        try:
            checksum.beside(path).unlink(missing_ok=True)
            path.unlink()
            _sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _fault("removing a blob", error) from error

    def locate(self, key: str) -> Path:
        """The file that holds a blob. Raises `NotFound`."""
        path = self._path(key)
        try:
            path.lstat()
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None
        except OSError as error:
            raise _fault("finding a blob", error) from error
        return path

    def lend(self, key: str) -> Path | None:
        """A second name of a blob's file, for a web server that comes to open it a moment later: it is this version of the
        blob, whatever becomes of the key meanwhile. It lasts `LENT_FOR` seconds and nobody can guess it; no name is ever used
        twice. None where bytes are to be compared on their way, or the file system has no second names. Raises `NotFound`.
        """
        path = self._path(key)
        if self._verify:
            return None
        name = self._sent / f"{int(time.time())}-{secrets.token_hex(16)}"
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            self._settle(self._sent)
            os.link(path, name)
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None
        except OSError:  # no links here, no room for one, a read-only disk: whoever asked reads the blob then
            return None
        return name

    def reclaim(self, *, now: float | None = None) -> int:
        """Take back the names that were lent for long enough; returns how many. `now` is as for `sweep`."""
        before = (time.time() if now is None else now) - LENT_FOR
        count = 0
        for entry in _entries(self._sent):
            found = _LENT.fullmatch(entry.name)
            if found is not None and int(found[1]) < before:
                with suppress(OSError):  # another process was quicker
                    os.unlink(entry.path)  # noqa: PTH108 - the entry is at hand
                    count += 1
        return count

    def keys(self) -> Iterator[tuple[str, int, float]]:
        """Every blob: its key, its bytes, when it was published. Holds no list, and passes over what goes meanwhile."""
        for first in _entries(self._blobs, folders=True):
            for second in _entries(first.path, folders=True):
                for entry in _entries(second.path):
                    found = _NAME.fullmatch(entry.name)
                    if found is None or (found[1][:2], found[1][2:4]) != (first.name, second.name):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield entry.name.replace("-", "/"), status.st_size, status.st_mtime

    def sweep(self, older_than: float, *, now: float | None = None) -> int:
        """Remove drafts that a crash left behind; return how many.

        A draft goes when it was last written more than `older_than` seconds before `now` (seconds since the epoch; the
        present when None) and no process has it open for writing, which its lock tells.
        """
        self.reclaim(now=now)
        before = (time.time() if now is None else now) - older_than
        return sum(_abandoned(Path(entry.path), before, remove=True) for entry in _entries(self._tmp))

    def drafts(self, older_than: float, *, now: float | None = None) -> int:
        """How many drafts `sweep` would remove."""
        before = (time.time() if now is None else now) - older_than
        return sum(_abandoned(Path(entry.path), before, remove=False) for entry in _entries(self._tmp))

    def _path(self, key: str) -> Path:
        """Where a key's file is. Only this builds a path from a key; the slash of a key never becomes one of a path."""
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise StorageFault(f"not a storage key: {str(key)[:80]!r}")
        name = key.rpartition("/")[2]
        return self._blobs / name[:2] / name[2:4] / key.replace("/", "-")

    def _settle(self, folder: Path) -> None:
        """Make a folder, with those above it, each durable before anything is put into it."""
        ours = self._root in folder.parents  # the root itself, once there, is the operator's
        if ours or not folder.parent.exists():
            self._settle(folder.parent)
        try:
            folder.mkdir(mode=0o700)
            if self._group_read and folder in (self._root, self._sent):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o050)  # and as it is: a set-group-id bit was inherited
        except FileExistsError:
            if folder in self._durable or not ours:
                return
        # Also when another process made it: that one may not have come to this line yet.
        _sync_folder(folder.parent)
        self._durable.add(folder)


class LocalDraft:
    """A blob being written: a locked file in `tmp` until `publish` renames it."""

    __slots__ = ("_digest", "_file", "_path", "_storage", "_target")

    def __init__(self, storage: LocalStorage, path: Path, target: Path, *, verify: bool) -> None:
        self._storage = storage
        self._path = path
        self._target = target
        self._digest = hashlib.sha256() if verify else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: io.FileIO | None = io.FileIO(os.open(path, flags, 0o600), "wb")
        try:
            if storage._group_read:
                os.fchmod(self._file.fileno(), 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX)  # says to `sweep`: somebody is still writing
        except OSError:
            self.discard()
            raise

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFault`; the draft is then only good for `discard`."""
        file = self._open()
        rest = memoryview(data).cast("B")
        if self._digest is not None:
            self._digest.update(rest)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            self.discard()
            raise _fault("writing a draft", error) from error

    def publish(self) -> None:
        """Make the blob visible, whole and durable (security promise 85). Raises `StorageFull` or `StorageFault`.

        After a fault the key has what it had before. Only where the very last step fails on a key that was there already
        does it have the new blob, whole: the old one is gone by then.
        """
        file = self._open()
        aside, beside = checksum.beside(self._path), checksum.beside(self._target)
        try:
            # Before the bytes are forced to the disk, so that it is there with them.
            is_aside = self._digest is not None and checksum.keep(file.fileno(), self._digest.hexdigest(), aside)
            os.fsync(file.fileno())
            self._storage._settle(self._target.parent)
            replaces = self._target.exists()
            self._path.rename(self._target)
            try:
                if is_aside:
                    aside.rename(beside)
                _sync_folder(self._target.parent)
            except OSError:
                if not replaces:
                    beside.unlink(missing_ok=True)
                    self._target.unlink(missing_ok=True)
                raise
        except OSError as error:
            self.discard()
            raise _fault("publishing a blob", error) from error
        self._file = None
        with suppress(OSError):  # the bytes are on the disk; closing can only fail for reasons that no longer matter
            file.close()

    def discard(self) -> None:
        """Give up what was written. No effect after `publish`; what cannot be removed now is left to `sweep`."""
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(OSError):  # a disk that fails now: the draft stays invisible, and its lock goes with the descriptor
            self._path.unlink(missing_ok=True)
            if self._digest is not None:
                checksum.beside(self._path).unlink(missing_ok=True)
        with suppress(OSError):  # late news of a failed write, about bytes that are given up anyway
            file.close()

    def _open(self) -> io.FileIO:
        if self._file is None:
            raise StorageFault("the draft was published or discarded before")
        return self._file


def _entries(folder: Path | str, *, folders: bool = False) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, or only its folders, one by one. One that is not there, or goes meanwhile, is empty."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not folders or entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _fault("listing a folder", error) from error


def _abandoned(draft: Path, before: float, *, remove: bool) -> bool:
    """Whether this draft was abandoned, and is gone where it is to be. One that vanishes or resists is the next sweep's."""
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_mtime >= before:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            draft.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class _Window(io.RawIOBase):
    """A part of a file, as if it were all there is. Owns the descriptor; failing reads are `StorageFault`."""

    def __init__(self, descriptor: int, start: int, length: int | None) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._start = start
        self._size = max(0, min(size - start, size if length is None else length))
        self._whole = start == 0 and self._size == size
        self._position = 0
        self._comparison: checksum.Comparison | None = None
        self._name = ""

    def compare(self, blob: Path) -> None:
        """Compare the bytes of the whole blob with the digest that is kept with it, if one is, while they are read."""
        expected = checksum.kept(self._descriptor, blob) if self._whole else None
        if expected is not None:
            self._comparison = checksum.Comparison(expected, self._size)
            self._name = blob.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self.closed:
            raise ValueError("the blob was closed")
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        if not view:
            return 0
        try:
            count = os.preadv(self._descriptor, [view], self._start + self._position)
        except OSError as error:
            raise _fault("reading a blob", error) from error
        if self._comparison is not None and not self._comparison.holds(self._position, view[:count]):
            logger.error("blob %s is damaged: its bytes are not those that were stored", self._name)
            raise StorageFault(f"blob {self._name} is damaged")
        self._position += count
        return count

    def readnow(self, buffer: memoryview) -> int | None:
        """Read what the system has in memory. None where it would have to wait for the disk, or the bytes are compared: then
        a thread has to read."""
        if self._comparison is not None or not _NOWAIT or self.closed:
            return None
        view = buffer[: max(0, self._size - self._position)]
        if not view:
            return 0
        try:
            count = os.preadv(self._descriptor, [view], self._start + self._position, _NOWAIT)
        except OSError:  # not there yet; a file system that cannot tell; or one that fails, as the thread will find
            return None
        self._position += count
        return count

    def readall(self) -> bytes:
        """All that is left, in one call of the system where that is possible; the base class makes one for each 8 KiB."""
        pieces = []
        while piece := self.read(max(0, self._size - self._position)):
            pieces.append(piece)
        return b"".join(pieces)  # of one piece it is that piece, not a copy

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        if whence not in bases or bases[whence] + offset < 0:
            raise ValueError("not a position in the blob")
        self._position = bases[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def fileno(self) -> int:
        if not self._whole or self._comparison is not None:
            raise io.UnsupportedOperation("only a stream of the whole blob has a descriptor, and none that is compared")
        return self._descriptor

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
