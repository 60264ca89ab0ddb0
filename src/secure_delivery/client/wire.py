"""Requests, answers, and when to ask again: the sans-IO heart of the client.

Knows: what a flow is, which answers and faults are worth another attempt, and how long to wait before it.
Must not know: sockets, threads, event loops, httpx; what any request is for.

A flow is a generator. It yields a `Request` and is sent the `Reply` (or has a `NetworkError` thrown into it), or yields a
`Pause` and is resumed after that time; what it returns is the result. The two drivers run the same flows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeAlias, TypeVar

from .errors import NetworkError, ProtocolError, ResponseError, response_error

T = TypeVar("T")

#: Answers that say "not now": the server's own faults, too many requests, and a request that it waited for in vain.
_NOT_NOW = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})
_LATE_BODY = b"<Code>RequestTimeout</Code>"  # with a 400, from buckets that waited for a body


class Body(Protocol):
    """Bytes that are sent piece by piece, and can be read again for another attempt if `rewinds`."""

    @property
    def size(self) -> int: ...

    @property
    def rewinds(self) -> bool: ...

    def pieces(self) -> Iterator[bytes]:
        """All bytes from the start."""
        ...


class Sink(Protocol):
    """Takes the body of a successful answer piece by piece. `taken` is how many bytes it has."""

    @property
    def taken(self) -> int: ...

    def headers(self) -> Mapping[str, str]:
        """What each attempt says besides: from where to go on."""
        ...

    def begin(self, status: int, headers: Mapping[str, str]) -> None: ...

    def write(self, piece: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    `what` says in a message what it is for; the URL never does, since it may carry a policy. `ours` says that it goes to the
    server itself, not to where the server pointed.
    """

    what: str
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Body | None = field(default=None, repr=False)
    sink: Sink | None = field(default=None, repr=False)
    ours: bool = True
    patience: float | None = None  # seconds to wait for the answer, where that is more than usual

    @property
    def rewinds(self) -> bool:
        """Whether it can be sent once more."""
        return self.body is None or isinstance(self.body, bytes) or self.body.rewinds


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Header names are lower-case. `body` is empty where a sink took it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    def error(self) -> ResponseError:
        return response_error(self.status, self.headers, self.body)

    def object(self) -> dict[str, Any]:
        """The JSON object of the body. Raises `ProtocolError` for anything else."""
        try:
            answer = json.loads(self.body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ProtocolError("The server's answer is not a JSON object.", status=self.status)
        return answer


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Flow: TypeAlias = Generator[Request | Pause, Reply, T]
NO_REPLY = Reply(0, {})  # what a flow is sent after a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When to try again. Only what may be different next time is tried again: 5xx, 429, and no answer at all.

    * `attempts`: how often a request is made at most.
    * `first`, `longest`: seconds before the second attempt, doubled for each further one, and their bound. The real wait
      is a random time between half of it and all of it, so that clients that failed together do not come back together.
    * `patience`: seconds that a server may ask for (`Retry-After`); for more, the fault is raised at once.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 15.0
    patience: float = 60.0
    chance: Callable[[], float] = field(default=random.random, repr=False)  # from 0 to 1; spreads load, protects nothing

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0 or self.longest < 0:
            raise ValueError("attempts is at least 1, and waits are not negative")

    def wait(self, attempt: int, reply: Reply | None = None) -> float | None:
        """Seconds between attempt number `attempt` and the next; None when there is none."""
        if attempt >= self.attempts:
            return None
        own = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30)) * (0.5 + self.chance() / 2)
        asked = asked_for(reply) if reply is not None else None
        if asked is None:
            return own
        return max(asked, own) if asked <= self.patience else None


def asked_for(reply: Reply) -> float | None:
    """How many seconds an answer asks to wait: `Retry-After` in either form, or Filestack's `Filestack-Reset`."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    if text:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        return _until(date.timestamp() if date.tzinfo else date.replace(tzinfo=UTC).timestamp())
    reset = reply.headers.get("filestack-reset", "") if reply.status in (429, 503) else ""
    return _until(float(reset)) if reset.isascii() and reset.isdigit() and len(reset) < 12 else None


def _until(moment: float) -> float:
    return max(0.0, moment - datetime.now(UTC).timestamp())


def not_now(reply: Reply) -> bool:
    """Whether the same request may well succeed later."""
    return reply.status in _NOT_NOW or (reply.status == 400 and _LATE_BODY in reply.body)


def exchange(request: Request, retry: Retry, *, once: bool = False, lost: list[NetworkError] | None = None) -> Flow[Reply]:
    """Make a request until it is answered for good; returns that answer, whatever it is.

    `once` is for requests that must not be carried out twice: no other attempt where the server may have had the first.
    `lost` collects the faults after which nobody knows whether the server had it. Attempts count anew whenever a sink got
    further, so that a long download may break more often than a short one.
    """
    attempt = 0
    while True:
        attempt += 1
        before = request.sink.taken if request.sink is not None else 0
        wait: float | None
        try:
            reply = yield request
        except NetworkError as fault:
            if request.sink is not None and request.sink.taken > before:
                attempt = 1
            if lost is not None and not fault.unsent:
                lost.append(fault)
            wait = retry.wait(attempt) if request.rewinds and (fault.unsent or not once) else None
            if wait is None:
                raise
        else:
            wait = retry.wait(attempt, reply) if request.rewinds and not_now(reply) else None
            if wait is None:
                return reply
        yield Pause(wait)


def succeed(request: Request, retry: Retry, *, once: bool = False) -> Flow[Reply]:
    """As `exchange`, but raises the error of an answer that is no success."""
    reply = yield from exchange(request, retry, once=once)
    if not reply.good:
        raise reply.error()
    return reply
