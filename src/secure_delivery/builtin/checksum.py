"""The SHA-256 of a blob, kept with its file, and compared while the whole of it is read.

Knows: extended attributes, side files. Must not know: where blobs are, who reads them.

It is kept as the extended attribute `user.sha256`: on the inode itself, so it is there with the name, moves with the file and
costs no second file. File systems without user attributes (NFS before version 4.2, tmpfs before Linux 6.6) get a side file
`NAME.sum`, which also names the inode: beside a blob that was replaced a moment ago it says nothing rather than something
wrong. A copy that lost its attribute, or came from a backup without it, is read unchecked; `fsck --deep` compares every file
with its record.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

_ATTRIBUTE = "user.sha256"
_SUFFIX = ".sum"
_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.ENOSYS})
_TEXT = re.compile(r"([0-9]{1,20}) ([0-9a-f]{64})\n")


def beside(blob: Path) -> Path:
    """The side file of a blob."""
    return blob.with_name(blob.name + _SUFFIX)


def keep(descriptor: int, digest: str, aside: Path) -> bool:
    """Keep a digest with an open file. True: in the file `aside`, which has to be renamed with it. Raises `OSError`."""
    if hasattr(os, "setxattr"):
        try:
            os.setxattr(descriptor, _ATTRIBUTE, digest.encode())
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        else:
            return False
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(f"{os.fstat(descriptor).st_ino} {digest}\n")
        file.flush()
        os.fsync(file.fileno())
    return True


def kept(descriptor: int, blob: Path) -> str | None:
    """The digest that is kept with an open file, which is the blob of that name; None when there is none."""
    if hasattr(os, "getxattr"):
        with suppress(OSError):
            return os.getxattr(descriptor, _ATTRIBUTE).decode("ascii", "replace")
    try:
        found = _TEXT.fullmatch(beside(blob).read_text("ascii"))
    except (OSError, ValueError):
        return None
    return found[2] if found is not None and int(found[1]) == os.fstat(descriptor).st_ino else None


class Comparison:
    """Hashes a file while it is read from start to end. Reading a part again changes nothing; leaving one out ends it."""

    __slots__ = ("_broken", "_digest", "_expected", "_hashed", "_size")

    def __init__(self, expected: str, size: int) -> None:
        self._expected = expected
        self._size = size
        self._hashed = 0
        self._broken = False
        self._digest = hashlib.sha256()

    def holds(self, at: int, data: memoryview) -> bool:
        """Take bytes that were read at a place. False when they are the last ones and the whole is not what was kept, and for
        every read after that."""
        if at <= self._hashed < at + len(data):
            self._digest.update(data[self._hashed - at :])
            self._hashed = at + len(data)
            self._broken = self._hashed >= self._size and self._digest.hexdigest() != self._expected
        return not self._broken
