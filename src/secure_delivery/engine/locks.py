"""One at a time, among all processes of this machine: for objects that several requests write under one name.

Knows: lock files. Must not know: what is locked.

Names are hashed onto a fixed number of files, so that none is ever left over: two names that meet on one wait for each other
without need, which is rare and harmless. Servers on several machines that write the same paths of one bucket at the same moment
are not kept apart by this.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILES = 256


class Locks:
    """Locks of names, in a folder. Waits as long as it takes: who holds one is at work on a storage, which has time limits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held(self, *name: str) -> Iterator[None]:
        """Alone with a name. Must not be nested. Raises `OSError` when the folder is gone."""
        digest = hashlib.sha256("\0".join(name).encode("utf-8", "surrogatepass")).digest()
        path = self._folder / f"{digest[0] % _FILES:02x}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
