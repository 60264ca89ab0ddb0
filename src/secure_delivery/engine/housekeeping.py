"""What time does to a service: files and uploads that have expired go, and what scanners did not judge is shown to them again.

Knows: who has something to tend. Must not know: how.

One thread in each server process. All of this may be done by any process at any time, so nobody has to be elected.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

logger = logging.getLogger("secure_delivery.engine")

PAUSE = 30.0  # seconds between rounds: how much later than promised a file may go
_BETWEEN = 0.05  # seconds between rounds while there is more to do, so that requests are not held up


class Housekeeping:
    """Goes round until it is closed. `chores` return how much they did: a full round is followed by another at once."""

    def __init__(self, chores: Sequence[Callable[[], int]], *, pause: float = PAUSE) -> None:
        self._chores = tuple(chores)
        self._pause = pause
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if that has not happened yet."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
            self._thread.start()

    def round(self) -> int:
        """Do every chore once; returns how much was done. What one raises is logged and stops no other."""
        done = 0
        for chore in self._chores:
            try:
                done += chore()
            except Exception:  # a database that is away now is there the next time
                logger.exception("housekeeping")
        return done

    def close(self) -> None:
        """Stop after the present round."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def _run(self) -> None:
        while not self._over.is_set():
            done = self.round()
            self._over.wait(_BETWEEN if done else self._pause)
