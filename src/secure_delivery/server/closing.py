"""Whether this process was told to end, for answers that would go on for minutes.

Knows: signals by which servers are stopped. Must not know: what is answered.

Servers wait for answers that are on their way before they close the application, so these have to learn of it themselves. The
server's own handler is called as before; where none is set, none is set by us.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

_told = threading.Event()
_watched = False


def watch() -> None:
    """Learn of the end from here on. Only the main thread can set handlers; elsewhere nothing happens."""
    global _watched
    if _watched or threading.current_thread() is not threading.main_thread():
        return
    _watched = True
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _chained(before))
            signal.siginterrupt(number, False)  # as event loops have it


def _chained(before: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
    def handle(number: int, frame: FrameType | None) -> object:
        _told.set()
        return before(number, frame)

    return handle


def closing() -> bool:
    """Whether the process is to end."""
    return _told.is_set()
