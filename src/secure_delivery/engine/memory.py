"""Bytes kept in memory up to a bound, the least recently used going first.

Knows: names and bytes. Must not know: what the bytes are, whether they are still right; whoever asks has to be sure of that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict


class Memory:
    """Small pieces of bytes by name. Thread-safe.

    `budget` bounds the sum of all pieces, in bytes; a piece larger than `largest` is not taken.
    """

    def __init__(self, budget: int, *, largest: int = 262_144) -> None:
        self._budget = budget
        self._largest = min(largest, budget)
        self._pieces: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """The bytes under a name, or None."""
        found = self._pieces.get(name)
        if found is not None:
            try:
                self._pieces.move_to_end(name)
            except KeyError:  # dropped by another thread this moment: what was found is what was asked for
                pass
        return found

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, and let go of as many old ones as that takes."""
        if len(data) > self._largest:
            return
        with self._lock:
            before = self._pieces.pop(name, None)
            self._size += len(data) - (len(before) if before is not None else 0)
            self._pieces[name] = data
            while self._size > self._budget:
                _, oldest = self._pieces.popitem(last=False)
                self._size -= len(oldest)

    def drop(self, name: str) -> None:
        """Let go of the bytes under a name."""
        with self._lock:
            before = self._pieces.pop(name, None)
            if before is not None:
                self._size -= len(before)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size
