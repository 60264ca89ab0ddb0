"""The WSGI door: `SecureDelivery(app, guard)` around any WSGI app.

Knows: `environ` and `start_response` (PEP 3333). Must not know: how one judges.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import RequestEntityTooLarge

from .body import Peek, SizeMeter
from .errors import BadRequest, Reason, SecureDeliveryError
from .guard import Admission, Guard, Head, Headers, Reply, WantsBody, error_reply, fault_reply
from .outgoing import amend

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("secure_delivery.gate")
_DECISION = "secure_delivery.decision"


class SecureDelivery:
    """A WSGI app that judges requests before `app` sees them.

    `app.wsgi_app = SecureDelivery(app.wsgi_app, Guard(application, [Rule("/photos/<handle>", GET="read")]))`

    Paths no rule matches go to the app untouched. For the others the app runs only when the request is allowed; the verdict
    is in `environ["secure_delivery.decision"]`. `SCRIPT_NAME` is not part of the path that rules see, so the door works
    under a prefix and behind werkzeug's `ProxyFix`, which must wrap the door, not the other way round.
    """

    def __init__(self, app: WSGIApplication, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            head = _head(environ)
            verdict = self.guard.check(head)
            replay = None
            if isinstance(verdict, WantsBody):
                peek = Peek(verdict.content_type)
                replay = _peek(environ, peek)
                verdict = self.guard.check(head, peek.signed(), peeked=True)
        except SecureDeliveryError as fault:
            return _send(fault_reply(fault), start_response)
        except Exception:
            # Fail closed: whatever went wrong in here, the app is not called.
            logger.exception("the guard failed")
            return _send(fault_reply(SecureDeliveryError()), start_response)
        if verdict is None:
            return self.app(environ, start_response)
        if isinstance(verdict, Admission):
            return self._admit(verdict, head, environ, start_response, replay)
        if isinstance(verdict, Reply):
            return _send(verdict, start_response, head_only=head.method == "HEAD")
        return _send(error_reply(500, "internal", SecureDeliveryError.sentence), start_response)

    def _admit(
        self,
        admission: Admission,
        head: Head,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        replay: bytes | None,
    ) -> Iterable[bytes]:
        environ[_DECISION] = admission.decision
        if admission.path != head.path:
            _hide_security(environ, admission.path)
        if replay:
            environ["wsgi.input"] = _Replayed(replay, environ["wsgi.input"])
        clock, meter = self.guard.clock, None
        if admission.metered:
            meter = _MeteredInput(environ["wsgi.input"], SizeMeter(admission.decision, head.content_type), environ)
            environ["wsgi.input"] = meter

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            if meter is not None and meter.refused is not None:
                raise _Refused
            return start_response(status, amend(headers, admission, clock()), exc_info)

        if meter is None:
            return self.app(environ, start)
        return self._run_metered(environ, start, start_response, meter)

    def _run_metered(
        self, environ: WSGIEnvironment, start: Any, start_response: StartResponse, meter: _MeteredInput
    ) -> Iterable[bytes]:
        """Run the app on a counted body. Its answer is replaced when the body turned out to break the policy.

        An app may be a generator that reads the body, and calls `start_response`, only when it is iterated: its first
        piece is therefore taken in here.
        """
        answer: Iterable[bytes] = ()
        try:
            answer = self.app(environ, start)
            pieces = iter(answer)
            first = next(pieces, None)
        except Exception:
            if meter.refused is None:
                raise
            _close(answer)
            return _send(meter.reply(self.guard), start_response)
        return _Resumed(answer, first, pieces)


class _Refused(RequestEntityTooLarge):
    """The body broke the policy's bounds; whatever the app wants to answer no longer matters.

    An `HTTPException`, so that Flask and other werkzeug apps end the request quietly instead of logging a crash.
    """


def _close(answer: Any) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()


class _Resumed:
    """An answer whose first piece was already taken."""

    def __init__(self, answer: Iterable[bytes], first: bytes | None, rest: Iterator[bytes]) -> None:
        self._answer = answer
        self._pieces = rest if first is None else chain((first,), rest)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        _close(self._answer)


def _head(environ: WSGIEnvironment) -> Head:
    get = environ.get
    return Head(
        environ["REQUEST_METHOD"],
        get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace") or "/",
        get("QUERY_STRING", ""),
        get("HTTP_ORIGIN"),
        get("HTTP_REFERER"),
        get("HTTP_AUTHORIZATION"),
        get("CONTENT_TYPE") or None,
        get("CONTENT_LENGTH") or None,
        get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"),
    )


def _send(reply: Reply, start_response: StartResponse, *, head_only: bool = False) -> Iterable[bytes]:
    start_response(
        f"{reply.status} {HTTPStatus(reply.status).phrase}", [(name.title(), value) for name, value in reply.headers]
    )
    return [] if head_only else [reply.body]


def _hide_security(environ: WSGIEnvironment, path: str) -> None:
    """Let the app see the path without its credential, in every spelling that servers offer."""
    environ["PATH_INFO"] = path.encode("utf-8").decode("latin-1")
    for name in ("REQUEST_URI", "RAW_URI"):
        raw = environ.get(name)
        if raw:
            address, mark, query = raw.partition("?")
            kept = [part for part in address.split("/") if not part.lower().startswith(("security=", "security%3d"))]
            environ[name] = "/".join(kept) + mark + query


def _peek(environ: WSGIEnvironment, peek: Peek) -> bytes:
    """Read as much of the body as the peek wants, to be given back to the app."""
    stream, taken = environ["wsgi.input"], bytearray()
    text = environ.get("CONTENT_LENGTH") or ""
    left = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    if left is None and not environ.get("wsgi.input_terminated"):
        left = 0  # PEP 3333: without a length there is no body, unless the server says that it ends by itself
    wanted = True
    while wanted:
        data = stream.read(8192 if left is None else min(8192, left)) if left != 0 else b""
        taken += data
        if left is not None:
            left -= len(data)
        wanted = peek.feed(data, more=bool(data) and left != 0) and bool(data)
    return bytes(taken)


class _Replayed(io.RawIOBase):
    """The bytes that were peeked at, then the rest of the body."""

    def __init__(self, taken: bytes, rest: Any) -> None:
        self._taken = io.BytesIO(taken)
        self._rest = rest

    def read(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        first = self._taken.read(size)
        if first and size >= 0:
            return first
        return first + bytes(self._rest.read(size) if size >= 0 else self._rest.read())

    def readline(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        line = self._taken.readline(size)
        if line.endswith(b"\n") or len(line) == size:
            return line
        return line + bytes(self._rest.readline(size - len(line) if size >= 0 else -1))

    def readable(self) -> bool:
        return True


class _MeteredInput(io.RawIOBase):
    """`wsgi.input` that counts. Once a bound is broken every read raises, so that no app mistakes a part for the whole."""

    def __init__(self, stream: Any, meter: SizeMeter, environ: WSGIEnvironment) -> None:
        self._stream = stream
        self._meter = meter
        self._ended = False
        text = environ.get("CONTENT_LENGTH") or ""
        self._left = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
        if self._left is None and not environ.get("wsgi.input_terminated"):
            self._left = 0
        self.refused: Reason | SecureDeliveryError | None = None

    def reply(self, guard: Guard) -> Reply:
        """The answer for what was refused."""
        if isinstance(self.refused, SecureDeliveryError):
            return fault_reply(self.refused)
        return guard.denial(self.refused or Reason.TOO_BIG)

    def _count(self, data: bytes, wanted: int) -> bytes:
        try:
            reason = self._meter.feed(data) if data else None
            if self._left is not None:
                self._left -= len(data)
            over = self._left == 0 or (not data and wanted != 0)
            if reason is None and over and not self._ended:
                self._ended = True
                reason = self._meter.end()
        except BadRequest as fault:
            self.refused = fault
            raise _Refused from None
        if reason is not None:
            self.refused = reason
            raise _Refused
        return data

    def _bounded(self, size: int | None) -> int:
        wanted = -1 if size is None else size
        if self._left is None:
            return wanted
        return self._left if wanted < 0 else min(wanted, self._left)

    def read(self, size: int | None = -1) -> bytes:
        if self.refused is not None:
            raise _Refused
        wanted = self._bounded(size)
        if wanted >= 0:
            return self._count(self._stream.read(wanted) if wanted else b"", wanted)
        pieces = []
        while data := self._stream.read(65_536):
            pieces.append(self._count(data, 65_536))
        self._count(b"", 1)
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        if self.refused is not None:
            raise _Refused
        wanted = self._bounded(size)
        return self._count(self._stream.readline(wanted) if wanted else b"", wanted)

    def readable(self) -> bool:
        return True
