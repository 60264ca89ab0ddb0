"""Every request counted: whose it was, of which kind, how it was answered, how many bytes went in and out.

Knows: ASGI, which path is of which kind, what endpoints noted about a request on its way. Must not know: how a request is
judged or answered, what becomes of the figures.

Endpoints say what only they know by `belongs`, `is_kind`, `refused` and `reported`, which write into the scope of the request;
all is counted once, when the request is over. Nothing that a client may choose becomes the name of a figure: applications are
those that were found, reasons and kinds are short lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.figures import ANSWERS, BYTES, REFUSALS, REQUESTS, RESULTS
from ..engine.reports import Reports
from ..engine.usage import Key, Usage

_APPLICATION = "secure_delivery.application"
_KIND = "secure_delivery.kind"
_REFUSED = "secure_delivery.refused"
_REPORTED = "secure_delivery.reported"

DELIVERY, TRANSFORMATION, UPLOAD = "delivery", "transformation", "upload"
FILE_API, PREVIEWS_API, API, OTHER = "file_api", "previews_api", "api", "other"
PORTAL = "portal"

#: By the first segment of the path. Whatever is not named here is the address of a file.
_FIRST = {
    **dict.fromkeys(("multipart", "tus", "store", "process", "prefetch", "folder", "recording", "auth"), UPLOAD),
    "v2": PREVIEWS_API,
    **dict.fromkeys(("", "health", "metrics", "static", "upload", "demo"), OTHER),
}
#: By the second segment, below `api`.
_SECOND = {"store": UPLOAD, "file": FILE_API, "v1": API}
_CLASSES = {number: f"{number}xx" for number in range(1, 6)}
_NOBODY = "none"  # the class of an answer that was never begun, because the client went away
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


def belongs(scope: Scope, api_key: str) -> None:
    """Say whose request this is. Who is named first counts: sources may be files of others."""
    scope.setdefault(_APPLICATION, api_key)


def is_kind(scope: Scope, kind: str) -> None:
    """Say of which kind a request is, where its path does not."""
    scope[_KIND] = kind


def refused(scope: Scope, reason: str, api_key: str | None = None) -> None:
    """Say that a request was refused, for a reason out of a fixed list."""
    scope[_REFUSED] = reason
    if api_key is not None:
        scope[_APPLICATION] = api_key


def reported(scope: Scope, api_key: str, kinds: Iterable[str], who: str) -> None:
    """Say that a request was let in without a credential, and that its application reports requests of these kinds. However
    often it is judged, it counts once for each application and kind."""
    scope.setdefault(_REPORTED, set()).update((api_key, kind, who) for kind in kinds)


def reports_of(scope: Scope) -> tuple[tuple[str, str, str], ...]:
    """What `reported` was told of a request (application, kind, host); nothing where it was refused after all."""
    return () if _REFUSED in scope else tuple(scope.get(_REPORTED, ()))


class Counting:
    """Stands around everything but what is answered from memory, which counts by itself (`Told`).

    A mounted app has no lifespan, so its first request starts the writing down.
    """

    def __init__(self, app: ASGIApp, usage: Usage, reports: Reports) -> None:
        self._app = app
        self._usage = usage
        self._reports = reports
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._begun:
            self._usage.start()
            self._begun = True
        status = sent = taken = 0
        start: Message = {}

        async def sending(message: Message) -> None:
            nonlocal status, sent, start
            kind = message["type"]
            if kind == "http.response.body":
                sent += len(message.get("body", b""))
            elif kind == "http.response.start":
                status, start = message["status"], message
            elif kind == "http.response.pathsend":  # the ASGI server sends the file, whose length the headers say
                sent += _length(start)
            await send(message)

        taking = receive
        if scope["method"] not in _BODILESS:

            async def taking() -> Message:
                nonlocal taken
                message = await receive()
                taken += len(message.get("body", b""))
                return message

        try:
            await self._app(scope, taking, sending)
        except Exception:
            status = status or 500  # answered outside of here, for what nobody foresaw
            raise
        finally:
            self._count(scope, status, sent, taken)

    def _count(self, scope: Scope, status: int, sent: int, taken: int) -> None:
        counts, application = self._usage.counts(), scope.get(_APPLICATION, "")
        key = (application, REQUESTS, scope.get(_KIND) or kind_of(scope))
        counts[key] = counts.get(key, 0) + 1
        key = (application, ANSWERS, _CLASSES.get(status // 100, _NOBODY))
        counts[key] = counts.get(key, 0) + 1
        if sent:
            key = (application, BYTES, "out")
            counts[key] = counts.get(key, 0) + sent
        if taken:
            key = (application, BYTES, "in")
            counts[key] = counts.get(key, 0) + taken
        if (reason := scope.get(_REFUSED)) is not None:
            self._usage.add((application, REFUSALS, reason))
        for each in reports_of(scope):
            self._reports.add(*each)


class Told(NamedTuple):
    """The keys under which an answer from memory is counted, made beforehand: it costs no more than some dictionary steps."""

    always: tuple[Key, ...]
    whole: Key
    unchanged: Key
    sent: Key

    @classmethod
    def of(cls, application: str, *, made: bool) -> Told:
        """Of an answer that is a stored file, or was `made` of one."""
        request = (application, REQUESTS, TRANSFORMATION if made else DELIVERY)
        always = (request, (application, RESULTS, "hot")) if made else (request,)
        return cls(always, (application, ANSWERS, "2xx"), (application, ANSWERS, "3xx"), (application, BYTES, "out"))

    def note(self, counts: dict[Key, int], status: int, size: int) -> None:
        """Count one such answer, of status 200 or 304, among what this thread has counted."""
        for key in (*self.always, self.whole if status == 200 else self.unchanged):
            counts[key] = counts.get(key, 0) + 1
        counts[self.sent] = counts.get(self.sent, 0) + size


def kind_of(scope: Scope) -> str:
    """The kind of a request as far as its path says."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        path = path[len(root) :]
    first, _, rest = path.lstrip("/").partition("/")
    if first == "api":
        kind = _SECOND.get(rest.partition("/")[0], OTHER)
        return TRANSFORMATION if kind == FILE_API and rest.endswith("/convert") else kind
    if first == "metadata" and not rest:
        return UPLOAD  # what pickers ask
    if rest == "metadata":
        return FILE_API
    return _FIRST.get(first, DELIVERY)


def _length(start: Any) -> int:
    """The Content-Length of an answer."""
    for name, value in start["headers"]:
        if bytes(name).lower() == b"content-length" and bytes(value).isdigit():
            return int(value)
    return 0
