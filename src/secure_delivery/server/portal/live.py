"""Changes told as they happen: Server-Sent Events (WHATWG HTML, section 9.2), read from the database about once a second.

Knows: streams, their number and their end; which of some values have changed. Must not know: what the values are of.

The database is asked, and not this process: another one may have made the change. Everybody who asks the same shares one look a
second. A stream ends with its session, and after ten minutes; browsers then come back by themselves and say what they saw last
(`Last-Event-ID`), so that nothing is missed and nothing told twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...gate.errors import SecureDeliveryError
from ..closing import closing, watch
from ..http import Context
from .frame import API, Ask
from .visitor import visitor_of

MOST, MOST_EACH = 50, 20  # streams at once in one process, and those of one account
SECONDS = 600.0  # after which a stream ends
_LOOK = 1.0  # seconds between looks
_BEAT = 15.0  # seconds after which something is sent, so that proxies keep the connection and we learn that it is gone
_AGAIN = 2000  # ms after which a browser comes back
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would collect them
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}

#: Values by their names, as JSON can say them.
Values = Mapping[str, Any]


class TooManyStreams(SecureDeliveryError):
    """As many streams are open as one process, or one account, may have."""

    code = "too_many_streams"
    status = 429
    sentence = "Too many pages are following along. Close some, or reload instead."


@dataclass(slots=True)
class _Look:
    """What was seen last of one question, for all who ask it."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    streams: int = 0
    at: float = float("-inf")
    seen: Values = field(default_factory=dict)


class _Streams:
    """The streams of one process."""

    def __init__(self) -> None:
        self.looks: dict[Hashable, _Look] = {}
        self.accounts: Counter[str] = Counter()

    def enter(self, account: str) -> None:
        """Count a stream. Raises `TooManyStreams`."""
        if self.accounts.total() >= MOST or self.accounts[account] >= MOST_EACH:
            raise TooManyStreams
        self.accounts[account] += 1

    def leave(self, account: str) -> None:
        """Count it no longer."""
        self.accounts[account] -= 1
        if not self.accounts[account]:
            del self.accounts[account]


_STREAMS: WeakKeyDictionary[Context, _Streams] = WeakKeyDictionary()


def version_of(seen: Values) -> str:
    """A name for what was seen: another one after every change."""
    text = json.dumps(seen, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def streamed(request: Request, ask: Ask, question: Hashable, look: Callable[[Values], Values]) -> Response:
    """A stream of what changes. `look` gives all values, with those of before in hand; it runs in a thread, and raises
    `NotFound` when there is nothing to see any more. `question` names what it looks at: streams with the same one share what
    it gave.

    Each event is `{"changed": {name: value}, "gone": [name]}`. Raises `TooManyStreams`.
    """
    if request.method == "HEAD":
        return Response(None, 200, _HEADERS)
    streams = _STREAMS.setdefault(ask.context, _Streams())
    account = ask.who.account.id
    streams.enter(account)
    watch()
    seen = request.headers.get("last-event-id") or ask.query.text("after", longest=64)
    return _Counted(_events(request, ask, streams, question, look, seen), lambda: streams.leave(account))


class _Counted(StreamingResponse):
    """A stream that says when it is over, however it ended."""

    def __init__(self, events: AsyncIterator[bytes], over: Callable[[], None]) -> None:
        super().__init__(events, 200, _HEADERS)
        self._over = over

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


async def _events(
    request: Request, ask: Ask, streams: _Streams, question: Hashable, look: Callable[[Values], Values], seen: str
) -> AsyncIterator[bytes]:
    entry = streams.looks.setdefault(question, _Look())
    entry.streams += 1
    try:
        known: Values | None = None
        began = told = time.monotonic()
        yield f"retry: {_AGAIN}\n\n".encode()
        while time.monotonic() - began < SECONDS and not closing():
            if not await ask.context.query(_may_still, request, ask):
                yield _event("over", {"reason": "signed_out"})
                return
            try:
                now = await _looked(ask.context, entry, look, since=began)
            except SecureDeliveryError as fault:
                yield _event("over", {"reason": fault.code})
                return
            version = version_of(now)
            if known is None and version == seen:
                known = now
                yield b": nothing was missed\n\n"
            if known is None or now != known:
                before = known or {}
                changed = {name: value for name, value in now.items() if before.get(name) != value}
                yield _event("change", {"changed": changed, "gone": [name for name in before if name not in now]}, version)
                known, told = now, time.monotonic()
            elif time.monotonic() - told >= _BEAT:
                yield b": still here\n\n"
                told = time.monotonic()
            await anyio.sleep(_LOOK)
    finally:
        entry.streams -= 1
        if not entry.streams:
            streams.looks.pop(question, None)


async def _looked(context: Context, entry: _Look, look: Callable[[Values], Values], *, since: float) -> Values:
    """What is to be seen now: by a look of our own, or by that of somebody who has just looked; not before `since`: what
    was seen before a stream began may be older than the page that began it."""
    async with entry.lock:
        if entry.at < since or time.monotonic() - entry.at >= _LOOK * 0.9:
            at = time.monotonic()
            entry.seen = await context.run(look, entry.seen)
            entry.at = at
        return entry.seen


def _may_still(request: Request, ask: Ask) -> bool:
    """Whether who asked is still let in: sessions end, tokens are revoked, roles change."""
    tokens = request.url.path.startswith(f"{API}/")
    try:
        visitor = visitor_of(ask.engine, request, ask.address, tokens=tokens, using=False)
    except SecureDeliveryError:
        return False
    return visitor is not None and visitor.account.id == ask.who.account.id and visitor.may("read")


def _event(name: str, values: Mapping[str, Any], version: str = "") -> bytes:
    """One event. JSON holds no line breaks, so its data is one line."""
    number = f"id: {version}\n" if version else ""
    return f"event: {name}\n{number}data: {json.dumps(values)}\n\n".encode()


__all__ = ["TooManyStreams", "Values", "streamed", "version_of"]
