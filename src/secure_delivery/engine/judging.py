"""Scanners at work.

Knows: that what was not judged is not clean. Must not know: where a file is, what becomes of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from ..gate.errors import Infected
from ..plugin.protocols import Media, Scanner

logger = logging.getLogger("secure_delivery.engine")

_AT_ONCE = 8  # files that scanners are shown at once by one process: clamd takes about a dozen


class Judges:
    """All scanners that are set up; false when there is none."""

    def __init__(self, scanners: Mapping[str, Scanner]) -> None:
        self._scanners = scanners
        self._turn = threading.BoundedSemaphore(_AT_ONCE)

    def __bool__(self) -> bool:
        return bool(self._scanners)

    def clean(self, media: Media | None) -> bool:
        """Whether all scanners found something clean; not when one does not answer, or none is there. Raises `Infected`."""
        if not self._scanners or media is None:
            return False
        for name, scanner in sorted(self._scanners.items()):
            try:
                with self._turn:
                    found = scanner.scan(media)
            except Exception as error:  # whatever a scanner does, what was not judged is not clean
                logger.error("scanner %s could not judge a file: %s", name, error)
                return False
            if found is not None:
                logger.warning("scanner %s found %r", name, found[:200])
                raise Infected(f"{name}: {found[:200]}")
        return True
