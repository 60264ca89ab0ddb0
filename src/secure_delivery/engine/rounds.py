"""Something done every few seconds by a thread, and once more at the end.

Knows: threads, pauses. Must not know: what is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("secure_delivery.engine")

_LAST = 10.0  # seconds for which the end waits for a round that is being made


class Rounds:
    """Calls `work` every `pause` seconds in a thread called `name`. What it raises is logged behind `complaint`: what could not
    be done now is done in the next round. Safe to use from any thread."""

    def __init__(self, name: str, work: Callable[[], object], *, pause: float, complaint: str) -> None:
        self._name = name
        self._work = work
        self._pause = pause
        self._complaint = complaint
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if that has not happened yet; also anew after `close`."""
        with self._lock:
            self._over.clear()
            self._begin()

    def need(self) -> None:
        """Begin, if that has not happened yet; not any more after `close`. Costs nothing once it was begun."""
        if self._thread is None:
            with self._lock:
                if not self._over.is_set():
                    self._begin()

    def once(self) -> None:
        """Make a round now, in this thread. Never raises."""
        try:
            self._work()
        except Exception as error:  # a database that is away now is there the next time
            logger.warning("%s: %s", self._complaint, type(error).__name__)

    def close(self) -> None:
        """Stop, and make a last round."""
        with self._lock:
            self._over.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_LAST)
        self.once()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            self.once()
