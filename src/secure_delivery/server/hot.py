"""Answers that were given a moment ago, given again without asking anybody anew.

Knows: ASGI, everything in a request that an answer of ours can depend on, when what was remembered is still true.
Must not know: how a request is judged, how its answer came about.

An answer is remembered together with what it was judged by: the counters of all changes to applications and files, read
before the judgement, and the moment from which the credential would be refused. It is given again only to a request that is
the same in all that was judged, while the counters stand where they stood and that moment has not come; so a rotated
secret, a changed whitelist, an overwritten file count at once, in every process (security promise 6). Refusals are not
remembered: strangers would fill the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.renditions import Rendition
from ..gate.model import Application, Decision
from .counting import Told, reports_of
from .http import Context, cache_control
from .ranges import answer

logger = logging.getLogger("secure_delivery.server")

_NOTE = "secure_delivery.lasting"
_REMEMBERED = 4096  # answers; their heads are about 2 KiB each, their bodies are in a memory with a bound of its own
_LONGEST = 2048  # characters of a path and query, and of all headers that count, worth remembering
_FOREVER = float("inf")

#: Headers that an answer can depend on, and their places among what was asked.
_COUNT = {b"origin": 3, b"referer": 4, b"accept": 5, b"host": 6}
#: What a remembered answer may say that it varies by: these are compared.
_COMPARED = frozenset({"origin", "referer", "accept", "host"})
#: Requests with one of these are answered the long way.
_LONG_WAY = frozenset(
    {b"authorization", b"range", b"if-range", b"if-match", b"if-unmodified-since", b"if-modified-since", b"expect"}
)
_CONTENT = frozenset({b"content-type", b"content-disposition", b"content-length"})


class Lasting(NamedTuple):
    """What makes an answer of status 200 worth remembering.

    `name` is that of the bytes sent: a name once used never means others. `until` is the moment, in seconds since the epoch,
    from which the answer must be made anew whatever the counters say. `rendition` is the result that was sent, if it was one;
    `asked` is what the URL said about its age.
    """

    application: Application
    decision: Decision
    name: str
    etag: str
    until: float = _FOREVER
    rendition: Rendition | None = None
    asked: int | Literal[False] | None = None


def note(scope: Scope, lasting: Lasting) -> None:
    """Say, while answering a request, that the answer may be remembered."""
    scope[_NOTE] = lasting


class _Answer(NamedTuple):
    token: object
    lasting: Lasting
    headers: list[tuple[bytes, bytes]]
    until: float
    steady: float  # until when the Cache-Control among the headers is right as it stands
    told: Told  # the names under which it is counted
    reports: tuple[tuple[str, str, str], ...]  # whose report it belongs into: the same each time, as Origin and Referer are


class Hot:
    """Stands before the endpoints and answers `GET` from memory where it can."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        self._store = context.engine.renditions.store
        self._usage = context.engine.usage
        self._answers: dict[tuple[Any, ...], _Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _asked(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if asked is None:
            return await self._app(scope, receive, send)
        key, condition = asked
        try:
            token = await self._context.query(self._context.engine.records.generations)
        except Exception:  # a database out of reach: the endpoint finds the same and knows how to say it
            return await self._app(scope, receive, send)
        known = self._answers.get(key)
        if known is not None:
            now = self._context.engine.clock()
            body = self._store.memory.get(known.lasting.name)
            if body is not None and known.token == token and now < known.until:
                return await self._again(known, body, now, condition, send)
            del self._answers[key]
        return await self._watched(key, token, scope, receive, send)

    async def _again(self, known: _Answer, body: bytes, now: float, condition: bytes | None, send: Send) -> None:
        headers = [*known.headers] if now < known.steady else self._aged(known, now)
        if known.lasting.rendition is not None:
            self._store.touch(known.lasting.rendition, now)
        status = 200
        if condition is not None:
            asked = {"if-none-match": condition.decode("latin-1")}
            if answer(asked, etag=known.lasting.etag, modified=0, size=len(body)).status == 304:
                status, body = 304, b""
                headers = [header for header in headers if header[0] not in _CONTENT]
        known.told.note(self._usage.counts(), status, len(body))
        for each in known.reports:
            self._context.engine.reports.add(*each)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _aged(self, known: _Answer, now: float) -> list[tuple[bytes, bytes]]:
        """The headers with a Cache-Control that ends with the credential."""
        caching = self._caching(known.lasting, now)
        return [(name, caching if name == b"cache-control" else value) for name, value in known.headers]

    def _caching(self, lasting: Lasting, now: float) -> bytes:
        open_age = self._context.engine.settings.rendition_max_age
        said = cache_control(lasting.decision, lasting.application, open_age=open_age, now=now, asked=lasting.asked)
        return said.encode("latin-1")

    async def _watched(self, key: tuple[Any, ...], token: object, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request be answered, and remember the answer if that was noted to be worth it."""
        start: Message | None = None
        body: bytes | None = None

        async def watching(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif body is None and _NOTE in scope and not message.get("more_body", False):
                body = message.get("body", b"")
            await send(message)

        await self._app(scope, receive, watching)
        lasting = scope.get(_NOTE)
        if isinstance(lasting, Lasting) and start is not None and body is not None:
            self._remember(key, token, lasting, start, body, reports_of(scope))

    def _remember(
        self,
        key: tuple[Any, ...],
        token: object,
        lasting: Lasting,
        start: Mapping[str, Any],
        body: bytes,
        reports: tuple[tuple[str, str, str], ...],
    ) -> None:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in start["headers"]]
        if start["status"] != 200 or not _comparable(headers) or dict(headers).get(b"content-length") != b"%d" % len(body):
            return
        if self._store.memory.get(lasting.name) is None:
            self._store.memory.put(lasting.name, body)
        if len(self._answers) >= _REMEMBERED:
            for oldest in list(self._answers)[: _REMEMBERED // 4]:
                self._answers.pop(oldest, None)
        expiry = lasting.decision.expiry
        ends = _FOREVER if expiry is None else float(expiry)
        steady = _FOREVER if expiry is None else expiry - max(lasting.application.max_age, lasting.asked or 0)
        told = Told.of(lasting.application.api_key, made=lasting.rendition is not None)
        self._answers[key] = _Answer(token, lasting, headers, min(lasting.until, ends), steady, told, reports)


def _asked(scope: Scope) -> tuple[tuple[Any, ...], bytes | None] | None:
    """All of a request that its answer can depend on, and its If-None-Match; nothing for one that goes the long way."""
    path = scope.get("raw_path")
    query = scope["query_string"]
    if not path or len(path) + len(query) > _LONGEST:
        return None
    found: list[Any] = [path, query, scope.get("root_path", ""), None, None, None, None]
    condition = None
    size = 0
    for name, value in scope["headers"]:
        place = _COUNT.get(name)
        if place is not None:
            size += len(value)
            before = found[place]
            found[place] = value if before is None else (before, value)  # twice is something else than once
        elif name == b"if-none-match":
            condition = value if condition is None else condition + b", " + value
        elif name in _LONG_WAY and (name != b"if-modified-since" or not _has(scope, b"if-none-match")):
            return None
    return None if size > _LONGEST else (tuple(found), condition)


def _has(scope: Scope, wanted: bytes) -> bool:
    return any(name == wanted for name, _ in scope["headers"])


def _comparable(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether an answer varies by nothing but what is compared, and may be kept at all."""
    for name, value in headers:
        if name == b"set-cookie" or (name == b"cache-control" and b"no-store" in value):
            return False
        if name == b"vary" and not {word.strip().lower() for word in value.decode("latin-1").split(",")} <= _COMPARED:
            return False
    return True
