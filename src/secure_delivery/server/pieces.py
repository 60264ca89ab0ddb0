"""A stream as pieces of an answer.

Knows: threads, what the system has in memory. Must not know: files, storages, HTTP.

A read that may wait for a disk belongs into a thread, and the way there and back costs more than copying what the system has
in memory. So a stream that can tell (`readnow`) is asked first.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

import anyio.to_thread

PIECE = 524_288  # bytes; less means more turns of the event loop, more no longer fits into the caches of a processor


class _Scratch(threading.local):
    """Room for one read at a time: nothing is awaited while it holds anything, and every event loop has its own."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(PIECE))


class Pieces:
    """Reads streams for event loops."""

    def __init__(self) -> None:
        self._scratch = _Scratch()

    async def of(self, stream: BinaryIO) -> AsyncIterator[bytes]:
        """All that is left in a stream, which is closed at the end, whatever the end is."""
        raw = getattr(stream, "raw", None)
        readnow: Callable[[memoryview], int | None] | None = getattr(raw, "readnow", None)
        # What can be asked is read without the buffer above it: the two would not know of each other's place.
        source = stream if readnow is None or raw is None else raw
        room = self._scratch.room
        try:
            while True:
                count = None if readnow is None else readnow(room)
                if count is None:
                    piece = await anyio.to_thread.run_sync(source.read, PIECE)
                else:
                    piece = bytes(room[:count])
                if not piece:
                    return
                yield piece
        finally:
            stream.close()
