"""Folders in which strangers' programs have been at work: how full they are, what they left, how they go away.

Knows: directories, by descriptor. Must not know: programs, jobs.

Nothing here believes a path inside such a folder: names are looked up in an open folder, links are never followed, and no
depth of folders needs recursion, descriptors or long names (security promise 81).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

_PREFIX = "program-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEP = 32  # levels of folders within which a program keeps its files; a browser's profile has eight


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Nobody else makes or sweeps folders in a place meanwhile."""
    descriptor = opened(place)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def folder(place: Path) -> Iterator[tuple[Path, int]]:
    """A new private folder and a descriptor of it; removed afterwards. It is locked for as long as this process uses it."""
    with _alone(place):
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place)).resolve()
        descriptor = opened(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield path, descriptor
    finally:
        remove(path)
        os.close(descriptor)


def sweep(place: Path) -> list[str]:
    """Remove folders that a process left which was killed (promise 80); the names of those that are gone. Those in use are
    locked."""
    gone = []
    with suppress(OSError), _alone(place):
        for path in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                descriptor = opened(path)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
                finally:
                    os.close(descriptor)
                if not path.exists():
                    gone.append(path.name)
    return gone


def opened(path: str | Path, *, at: int | None = None) -> int:
    """A descriptor of a folder that is none of a link. Raises `OSError`."""
    return os.open(path, _FOLDER, dir_fd=at)


def _names(folder: int) -> list[str]:
    return os.listdir(folder)  # an open folder has no path


def files(folder: int, most: int) -> list[tuple[str, int]]:
    """The regular files in a folder, sorted by name, opened for reading; at most so many are looked at.

    Links, folders, pipes and sockets are passed over. The caller closes the descriptors. Raises `OSError` for a folder that
    cannot be read.
    """
    found: list[tuple[str, int]] = []
    for name in sorted(_names(folder))[:most]:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            found.append((name, descriptor))
        else:
            os.close(descriptor)
    return found


def excessive(folder: int, *, most_bytes: int, most_files: int, free: int) -> bool:
    """Whether a folder holds more than that, is made so that it cannot be told, or its disk has less than `free` bytes left.

    What was unlinked and is still open is not seen in the folder: that is what `free` is for.
    """
    disk = os.fstatvfs(folder)
    if disk.f_bavail * disk.f_frsize < free:
        return True
    left = [most_bytes, most_files]
    try:
        _count(folder, left, _DEEP)
    except (PermissionError, _Full):
        return True
    return False


class _Full(Exception):
    """More than may be."""


def _count(folder: int, left: list[int], deep: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone meanwhile
            left[0] -= status.st_blocks * 512
            left[1] -= 1
            if min(left) < 0 or not deep:
                raise _Full
            if stat.S_ISDIR(status.st_mode):
                _count_below(folder, entry.name, left, deep)


def _count_below(folder: int, name: str, left: list[int], deep: int) -> None:
    try:
        inner = opened(name, at=folder)
    except (FileNotFoundError, NotADirectoryError):
        return  # gone, or something else by now
    try:
        _count(inner, left, deep - 1)
    finally:
        os.close(inner)


def remove(path: Path) -> None:
    """Remove a folder with everything in it, whatever its modes, names and depth. Nobody may be at work in it any more.

    A folder inside is emptied of its folders by moving these to the top, so two levels are all there ever is.
    """
    empty(path)
    with suppress(OSError):
        path.rmdir()


def empty(path: Path) -> None:
    """Remove everything in a folder, like `remove`; the folder itself stays."""
    try:
        top = _ours(path.name, at=None, path=path)
    except OSError:
        return
    try:
        numbers = count()
        while names := _names(top):
            before = len(names)
            for name in names:
                _remove_from(top, name, numbers)
            if len(left := _names(top)) >= before and set(left) == set(names):
                return  # nothing helps; the next sweep tries again
    finally:
        os.close(top)


def _remove_from(top: int, name: str, numbers: count[int]) -> None:
    with suppress(OSError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
            return
        folder = _ours(name, at=top)
        try:
            for inner in _names(folder):
                with suppress(OSError):
                    _remove_or_raise(top, folder, inner, numbers)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)


def _remove_or_raise(top: int, folder: int, name: str, numbers: count[int]) -> None:
    """Remove what is no folder; move a folder to the top, under a name that is free there."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return
    os.chmod(name, 0o700, dir_fd=folder)  # moving it changes it
    for number in numbers:
        try:
            os.rename(name, f"{number:x}", src_dir_fd=folder, dst_dir_fd=top)
        except (FileExistsError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                continue
            raise
        return


def _ours(name: str, *, at: int | None, path: Path | None = None) -> int:
    """A folder, opened, after it was made ours to read and change again."""
    os.chmod(path or name, 0o700, dir_fd=at)
    return opened(path or name, at=at)
