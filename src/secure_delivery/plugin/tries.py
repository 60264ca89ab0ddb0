"""Trying again, with bounds: what failed on the way may work a moment later, what was refused will not.

Knows: time, and exceptions of transports. Must not know: what is asked for, or what an answer of the provider means.

A fault that leaves here carries no chain: exceptions of client libraries hold URLs, and URLs hold signatures.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ..gate.errors import SecureDeliveryError, StorageFault, StorageRefused

T = TypeVar("T")
_DEEPEST = 30  # exceptions looked at in one chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long, and how often.

    `connect` and `read` are seconds for a connection and for each wait on one; a request is made at most `tries` times, with
    pauses of about `pause` seconds that double and end at `longest`. `sleep` is the clock's, for tests to replace.
    """

    connect: float = 10.0
    read: float = 60.0
    tries: int = 4
    pause: float = 0.5
    longest: float = 8.0
    sleep: Callable[[float], None] = time.sleep

    @property
    def timeout(self) -> tuple[float, float]:
        """As requests takes it."""
        return self.connect, self.read


class Verdict(NamedTuple):
    """What a failure means, and whether it is worth another try."""

    fault: SecureDeliveryError
    again: bool = False


#: From an exception to what it means; `None` for one that is a mistake of ours and must be seen as it is.
Judge = Callable[[Exception], "Verdict | None"]


def again(patience: Patience, act: Callable[[], T], judge: Judge) -> T:
    """What `act` returns, tried more than once where the judge says so. Raises the fault of its last verdict."""
    pause = patience.pause
    for left in range(patience.tries - 1, -1, -1):
        try:
            return act()
        except SecureDeliveryError:
            raise
        except Exception as error:
            verdict = judge(error)
            if verdict is None:
                raise
        if not verdict.again or not left:
            raise verdict.fault
        patience.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients out, guards nothing
        pause = min(pause * 2, patience.longest)
    raise ValueError("a request must be tried at least once")


def on_the_way(doing: str, error: Exception) -> Verdict | None:
    """The verdict on a failure of the transport; `None` when it is none."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Verdict(StorageRefused(f"{doing}: the certificate of the endpoint is not trusted"))
        if isinstance(cause, PermissionError):
            return Verdict(StorageRefused(f"{doing}: connections to the address of the endpoint are not permitted"))
    from urllib3.exceptions import HTTPError

    known = [cause for cause in chain if isinstance(cause, (OSError, HTTPError))]
    if not known:
        return None
    names = dict.fromkeys(type(cause).__name__ for cause in (known[0], known[-1]))
    return Verdict(StorageFault(f"{doing}: {', '.join(names)}"), again=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything it was made of: libraries keep causes in several places."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [getattr(current, name, None) for name in ("__cause__", "__context__", "reason", "inner_exception")]
        waiting += [one for one in (*inner, *current.args) if isinstance(one, BaseException)]
