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
from urllib.parse import quote

from werkzeug.exceptions import RequestEntityTooLarge

from .body import Peek, SizeMeter
from .errors import Reason, SecureDeliveryError
from .guard import Guard
from .heads import Admission, Head, Headers, Reply, WantsBody, fault_reply
from .outgoing import amend
from .policy import SignedPolicy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("secure_delivery.gate")
_DECISION = "secure_delivery.decision"
_STEP = 65_536  # bytes of a counted body read at a time (security promise 17)
_PATH_SAFE = "/!$&'()*+,;=:@~"  # what RFC 3986, section 3.3, lets a path hold as it is


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
            path = _path(environ)
            if self.guard.rules.outside(path):
                verdict = None
            else:
                head = _head(environ, path)
                verdict = self.guard.check(head)
            if isinstance(verdict, WantsBody):
                shown, fault = _peek(environ, Peek(verdict.content_type))
                verdict = self.guard.check(head, shown, peeked=True, fault=fault)
        except SecureDeliveryError as fault:
            return _send(fault_reply(fault), start_response)
        except Exception:
            # Fail closed: whatever went wrong in here, the app is not called.
            logger.exception("the guard failed")
            return _send(fault_reply(SecureDeliveryError()), start_response)
        if verdict is None:
            return self.app(environ, start_response)
        if isinstance(verdict, Admission):
            return self._admit(verdict, head, environ, start_response)
        if isinstance(verdict, Reply):
            return _send(verdict, start_response, head_only=head.method == "HEAD")
        return _send(fault_reply(SecureDeliveryError()), start_response)

    def _admit(
        self, admission: Admission, head: Head, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        environ[_DECISION] = admission.decision
        if admission.path != head.path:
            _hide_security(environ, admission.path)
        if admission.metered:
            return self._run_metered(admission, head, environ, start_response)
        return self.app(environ, self._amending(start_response, admission))

    def _amending(self, start_response: StartResponse, admission: Admission) -> StartResponse:
        """`start_response` with the response headers made right."""
        clock = self.guard.clock

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            return start_response(status, amend(headers, admission, int(status[:3]), clock()), exc_info)

        return start

    def _run_metered(
        self, admission: Admission, head: Head, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Run the app on a counted body. Its answer is replaced when the body turned out to break the policy.

        An app may be a generator that reads the body, and calls `start_response`, only when it is iterated: its first
        piece is therefore taken in here.
        """
        body = _MeteredInput(
            environ["wsgi.input"],
            SizeMeter(admission.decision, head.content_type),
            environ,
            lambda broken: self.guard.overrun(broken, admission, head),
        )
        environ["wsgi.input"] = body
        onward = self._amending(start_response, admission)
        started = False

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal started
            if body.refused is not None and not started:
                return lambda _: None  # the app's own words about a body that it could not read
            started = True
            return onward(status, headers, exc_info)

        answer: Iterable[bytes] = ()
        first: bytes | None = None
        try:
            answer = self.app(environ, start)
            pieces = iter(answer)
            first = next(pieces, None)
        except Exception:
            if body.refused is None or started:
                _close(answer)
                raise
        if body.refused is not None and not started:
            _close(answer)
            return _send(body.refused, start_response)
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


def _path(environ: WSGIEnvironment) -> str:
    path: str = environ.get("PATH_INFO", "")
    if not path.isascii():
        path = path.encode("latin-1").decode("utf-8", "replace")
    # A target such as `photos/x` has no slash to begin with; werkzeug's router adds it, and so it is judged with it.
    return path if path.startswith("/") else f"/{path}"


def _head(environ: WSGIEnvironment, path: str) -> Head:
    get = environ.get
    return Head(
        environ["REQUEST_METHOD"],
        path,
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
    whole = quote(environ.get("SCRIPT_NAME", "").encode("latin-1") + path.encode(), safe=_PATH_SAFE)
    for name in ("REQUEST_URI", "RAW_URI"):
        if environ.get(name):
            query = environ.get("QUERY_STRING", "")
            environ[name] = f"{whole}?{query}" if query else whole


def _body_length(environ: WSGIEnvironment) -> int | None:
    """Bytes of the body; `None` when it ends by itself (chunked)."""
    text = environ.get("CONTENT_LENGTH") or ""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    # PEP 3333: without a length there is no body, unless the server says that it ends by itself
    return None if environ.get("wsgi.input_terminated") else 0


def _peek(environ: WSGIEnvironment, peek: Peek) -> tuple[SignedPolicy | None, SecureDeliveryError | None]:
    """Read as much of the body as the peek wants, and give it back to the app: what was shown, and what was wrong."""
    stream, taken = environ["wsgi.input"], bytearray()
    left, fault = _body_length(environ), None
    wanted = True
    try:
        while wanted:
            data = stream.read(8192 if left is None else min(8192, left)) if left != 0 else b""
            taken += data
            if left is not None:
                left -= len(data)
            wanted = peek.feed(data, more=bool(data) and left != 0) and bool(data)
        return peek.signed(), None
    except SecureDeliveryError as broken:
        fault = broken
    finally:
        environ["wsgi.input"] = _Replayed(bytes(taken), stream, left)
    return None, fault


class _Input(io.RawIOBase):
    """A body that is passed on: `read` and `readline` as PEP 3333 asks for, and the rest by way of them."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer)) or b""
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self.read(-1) or b""


class _Replayed(_Input):
    """The bytes that were peeked at, then the rest of the body: `left` bytes, or until it ends when that is `None`.

    A `read(n)` is short only at the end: there are frameworks that take the first short one for the whole.
    """

    def __init__(self, taken: bytes, rest: Any, left: int | None) -> None:
        self._taken = io.BytesIO(taken)
        self._rest = rest
        self._left = left

    def _more(self, read: Callable[..., Any], size: int) -> bytes:
        """The next bytes of the rest; never asks for what the server would wait for in vain."""
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        data = bytes(read(size) if size >= 0 else read()) if size else b""
        if self._left is not None:
            self._left -= len(data)
        return data

    def read(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        first = self._taken.read(size)
        return first if len(first) == size else first + self._more(self._rest.read, size - len(first) if size >= 0 else -1)

    def readline(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        line = self._taken.readline(size)
        if line.endswith(b"\n") or len(line) == size:
            return line
        return line + self._more(self._rest.readline, size - len(line) if size >= 0 else -1)


class _MeteredInput(_Input):
    """`wsgi.input` that counts. Once a bound is broken every read raises, so that no app mistakes a part for the whole.

    `overrun` is told what was broken, and gives the answer to send, or `None` to let the body go on uncounted.
    """

    def __init__(
        self,
        stream: Any,
        meter: SizeMeter,
        environ: WSGIEnvironment,
        overrun: Callable[[Reason | SecureDeliveryError], Reply | None],
    ) -> None:
        self._stream = stream
        self._meter: SizeMeter | None = meter
        self._overrun = overrun
        self._ended = False
        self._left = _body_length(environ)
        self.refused: Reply | None = None

    def _count(self, data: bytes, wanted: int) -> bytes:
        if self._left is not None:
            self._left -= len(data)
        if self._meter is None:
            return data
        broken: Reason | SecureDeliveryError | None
        try:
            broken = self._meter.feed(data) if data else None
            over = self._left == 0 or (not data and wanted != 0)
            if broken is None and over and not self._ended:
                self._ended = True
                broken = self._meter.end()
        except SecureDeliveryError as fault:
            broken = fault
        if broken is not None:
            self._meter = None
            self.refused = self._overrun(broken)
            if self.refused is not None:
                raise _Refused
        return data

    def _bounded(self, size: int) -> int:
        if self._left is None:
            return size
        return self._left if size < 0 else min(size, self._left)

    def read(self, size: int | None = -1) -> bytes:
        wanted = -1 if size is None else size
        return self._gather(self._stream.read, wanted, lambda piece, step: wanted >= 0 and len(piece) < step)

    def readline(self, size: int | None = -1) -> bytes:
        return self._gather(self._stream.readline, -1 if size is None else size, lambda piece, _: piece.endswith(b"\n"))

    def _gather(self, read: Callable[[int], bytes], size: int, ended: Callable[[bytes, int], bool]) -> bytes:
        """What `read` gives, in pieces: no more than one of them is taken in beyond what the policy admits."""
        if self.refused is not None:
            raise _Refused
        wanted = self._bounded(size)
        if wanted == 0:
            return self._count(b"", 0)
        endless, pieces = wanted < 0, bytearray()
        while wanted:
            step = _STEP if endless else min(wanted, _STEP)
            piece = self._count(read(step), step)
            pieces += piece
            if not piece or ended(piece, step):
                break
            if not endless:
                wanted -= len(piece)
        return bytes(pieces)
