"""How long a provider is waited for, and how often it is asked.

Knows: numbers. Must not know: anything else; it is loaded without botocore.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from time import sleep

_chance = SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds for connecting, for the next bytes of either side, and for a whole answer that is no object; tries for each
    request; and how to wait between them."""

    connect: float = 5.0
    read: float = 20.0
    answer: float = 60.0
    attempts: int = 4
    wait: Callable[[float], None] = sleep

    def before(self, attempt: int) -> None:
        """Wait before another attempt (counted from 1): up to 1, 2, 4 seconds, by chance, so that many do not come at once."""
        self.wait(_chance.uniform(0.1, 1.0) * min(8.0, 0.5 * 2 ** (attempt - 1)))
