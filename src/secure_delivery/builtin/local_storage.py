"""Blobs as files of this machine: written aside, made durable, then renamed into place.

Knows: files, folders, their durability (security promises 85, 87, 89). Must not know: what a blob is, who wrote it, settings.

Under the root there are two folders. `tmp` holds drafts; `blobs` holds what was published, in two levels of folders named
after the key's first characters so that none grows without bound. Both are on one file system, which makes a rename the
single moment at which a blob appears. Nothing is touched before the first blob is created.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from ..gate.errors import NotFound, SecureDeliveryError, StorageFault, StorageFull

#: The keys of the server, and nothing that means something to a file system (CVE-2007-4559 and its many relatives): no
#: dots, no leading or double slash. Up to two prefixes, so that the flattened name stays below 255 bytes.
_KEY = re.compile(r"(?:[a-z0-9]{1,64}/){0,2}[a-z0-9]{8,64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
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
    """

    __slots__ = ("_blobs", "_durable", "_root", "_tmp")

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        self._tmp = self._root / "tmp"
        self._blobs = self._root / "blobs"
        #: Folders whose own entry this process has seen to disk; at most one for each pair of characters.
        self._durable: set[Path] = set()

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    def create(self, key: str, *, mimetype: str) -> LocalDraft:
        """Begin a blob. The type is not kept here: the record of the file has it."""
        target = self._path(key)
        try:
            self._settle(self._tmp)
            return LocalDraft(self, self._tmp / secrets.token_hex(16), target)
        except OSError as error:
            raise _fault("creating a draft", error) from error

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length` of the blob; position 0 is `start`.

        It has a `fileno` only when it covers the whole blob: a descriptor would give away the rest. Raises `NotFound`, and
        `ValueError` for a negative start or length.
        """
        if start < 0 or (length is not None and length < 0):
            raise ValueError("start and length of a read must not be negative")
        path = self._path(key)
        try:
            window = _Window(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), start, length)
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None
        except OSError as error:
            raise _fault("opening a blob", error) from error
        return cast(BinaryIO, io.BufferedReader(window, _BUFFER))

    def remove(self, key: str) -> None:
        """Delete, durably: a blob that was removed does not come back after a crash."""
        path = self._path(key)
        try:
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

    def sweep(self, older_than: float, *, now: float | None = None) -> int:
        """Remove drafts that a crash left behind; return how many.

        A draft goes when it was last written more than `older_than` seconds before `now` (seconds since the epoch; the
        present when None) and no process has it open for writing, which its lock tells.
        """
        before = (time.time() if now is None else now) - older_than
        try:
            drafts = list(self._tmp.iterdir())
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _fault("listing drafts", error) from error
        return sum(_swept(draft, before) for draft in drafts)

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
        except FileExistsError:
            if folder in self._durable or not ours:
                return
        # Also when another process made it: that one may not have come to this line yet.
        _sync_folder(folder.parent)
        self._durable.add(folder)


class LocalDraft:
    """A blob being written: a locked file in `tmp` until `publish` renames it."""

    __slots__ = ("_file", "_path", "_storage", "_target")

    def __init__(self, storage: LocalStorage, path: Path, target: Path) -> None:
        self._storage = storage
        self._path = path
        self._target = target
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: io.FileIO | None = io.FileIO(os.open(path, flags, 0o600), "wb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # says to `sweep`: somebody is still writing
        except OSError:
            self.discard()
            raise

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFault`; the draft is then only good for `discard`."""
        file = self._open()
        rest = memoryview(data).cast("B")
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
        try:
            os.fsync(file.fileno())
            self._storage._settle(self._target.parent)
            replaces = self._target.exists()
            self._path.rename(self._target)
            try:
                _sync_folder(self._target.parent)
            except OSError:
                if not replaces:
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
        with suppress(OSError):  # late news of a failed write, about bytes that are given up anyway
            file.close()

    def _open(self) -> io.FileIO:
        if self._file is None:
            raise StorageFault("the draft was published or discarded before")
        return self._file


def _swept(draft: Path, before: float) -> bool:
    """Whether this draft was abandoned and is now gone. One that vanishes or resists meanwhile is the next sweep's."""
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_mtime >= before:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        if whence not in bases or bases[whence] + offset < 0:
            raise ValueError("not a position in the blob")
        self._position = bases[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def fileno(self) -> int:
        if not self._whole:
            raise io.UnsupportedOperation("only a stream of the whole blob has a descriptor")
        return self._descriptor

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
