"""The ASGI door: `SecureDelivery(app, guard)` around any ASGI app.

Knows: scopes, `receive`, `send` (ASGI 3). Must not know: how one judges. Pure ASGI: streaming, background tasks and
cancellation of the wrapped app stay as they are.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .body import Peek, SizeMeter
from .errors import Reason, SecureDeliveryError
from .guard import Guard
from .heads import Admission, Head, Reply, WantsBody, fault_reply
from .outgoing import TOUCHED, amend, encoded_additions
from .policy import SignedPolicy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("secure_delivery.gate")
_DECISION = "secure_delivery.decision"
_PATH_SAFE = "/!$&'()*+,;=:@~"  # what RFC 3986, section 3.3, lets a path hold as it is
_TOUCHED = frozenset(name.encode() for name in TOUCHED)
_HEAD_FIELDS = {
    b"origin": 3,
    b"referer": 4,
    b"authorization": 5,
    b"content-type": 6,
    b"content-length": 7,
    b"access-control-request-method": 8,
}


class SecureDelivery:
    """An ASGI app that judges requests before `app` sees them.

    `app = SecureDelivery(app, Guard(application, [Rule("/photos/<handle>", GET="read")]))`, or
    `app.add_middleware(SecureDelivery, guard=guard)`.

    Paths no rule matches go to the app untouched, as does `lifespan`. Http requests and websocket handshakes (judged as the
    `GET` they are) on guarded paths reach the app only when allowed, with the verdict in `scope["secure_delivery.decision"]`.
    Scope types nobody knows are refused.

    Rules see the path below `root_path`: the server's, or the one that the app is going to put in its place. FastAPI's
    own is found; an app that has one and does not show it (Django's `FORCE_SCRIPT_NAME`) needs it given here, or the app
    would route what no rule saw.
    """

    def __init__(self, app: ASGIApp, guard: Guard, *, root_path: str | None = None) -> None:
        own = getattr(app, "root_path", "") if root_path is None else root_path
        self.app = app
        self.guard = guard
        self._root = own if isinstance(own, str) else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            if kind == "lifespan":
                return await self.app(scope, receive, send)
            raise RuntimeError(f"a scope of type {kind!r} cannot be judged and is refused")
        verdict: Admission | Reply | WantsBody | None
        try:
            root = _root(scope, self._root) if self._root or scope.get("root_path") else ""
            path = _path(scope, root)
            if self.guard.rules.outside(path):
                verdict = None
            else:
                head = _head(scope, path)
                verdict = self.guard.check(head)
            if isinstance(verdict, WantsBody):
                receive, shown, fault = await _peek(receive, Peek(verdict.content_type))
                verdict = self.guard.check(head, shown, peeked=True, fault=fault)
        except SecureDeliveryError as fault:
            verdict = fault_reply(fault)
        except Exception:
            # Fail closed: whatever went wrong in here, the app is not called.
            logger.exception("the guard failed")
            verdict = fault_reply(SecureDeliveryError())
        if verdict is None:
            return await self.app(scope, receive, send)
        if isinstance(verdict, Admission):
            if verdict.path != head.path:
                scope = _hide_security(scope, root + verdict.path)
            scope[_DECISION] = verdict.decision
            if kind == "http" and not verdict.metered:
                return await self.app(scope, receive, _amending(send, verdict, self.guard))
            return await self._admit(verdict, head, scope, receive, send)
        if not isinstance(verdict, Reply):
            verdict = fault_reply(SecureDeliveryError())
        if kind == "websocket":
            return await _refuse_websocket(verdict, scope, send)
        return await _send(verdict, send, head_only=scope["method"] == "HEAD")

    async def _admit(self, admission: Admission, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        return await self._run_metered(admission, head, scope, receive, send)

    async def _run_metered(self, admission: Admission, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app on a counted body; when a bound is broken it sees the client go away, and the refusal is ours."""
        meter: SizeMeter | None = SizeMeter(admission.decision, head.content_type)
        refused: Reply | None = None
        started = False
        onward = _amending(send, admission, self.guard)

        async def counted() -> Message:
            nonlocal meter, refused
            if refused is not None:
                return {"type": "http.disconnect"}
            message = await receive()
            if meter is not None and message["type"] == "http.request":
                broken = _count(meter, message)
                if broken is not None:
                    meter, refused = None, self.guard.overrun(broken, admission, head)
            return message if refused is None else {"type": "http.disconnect"}

        async def guarded(message: Message) -> None:
            nonlocal started
            if refused is not None and not started:
                return  # the app's own words about a client that seemed to go away
            started = True
            await onward(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if refused is None or started:
                raise
        if refused is not None and not started:
            await _send(refused, send, head_only=False)


def _count(meter: SizeMeter, message: Message) -> Reason | SecureDeliveryError | None:
    """What the next piece of a body breaks, if anything."""
    try:
        broken = meter.feed(message.get("body", b""))
        return meter.end() if broken is None and not message.get("more_body", False) else broken
    except SecureDeliveryError as fault:
        return fault


def _root(scope: Scope, own: str) -> str:
    """The beginning of the path that is not the wrapped app's, as Starlette's router reads it."""
    path: str = scope["path"]
    root: str = own or scope.get("root_path", "")
    return root if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/") else ""


def _path(scope: Scope, root: str) -> str:
    path: str = scope["path"][len(root) :]
    return path if path.startswith("/") else f"/{path}"


def _head(scope: Scope, path: str) -> Head:
    fields: list[Any] = [
        scope.get("method", "GET"),
        path,
        scope["query_string"].decode("latin-1"),
        None,
        None,
        None,
        None,
        None,
        None,
    ]
    for name, value in scope["headers"]:
        index = _HEAD_FIELDS.get(name)
        if index is not None:
            text = value.decode("latin-1")
            fields[index] = text if fields[index] is None else f"{fields[index]}, {text}"
    return Head._make(fields)


def _amending(send: Send, admission: Admission, guard: Guard) -> Send:
    """`send` with the response headers made right."""

    async def amended(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not _TOUCHED.isdisjoint([name.lower() for name, _ in headers]):
                text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
                headers = _encoded(amend(text, admission, message["status"], guard.clock()))
            else:
                headers += encoded_additions(admission, message["status"], guard.clock())
            message = {**message, "headers": headers}
        await send(message)

    return amended


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _hide_security(scope: Scope, path: str) -> Scope:
    """Let the app see the path without its credential, decoded and raw."""
    scope = {**scope, "path": path}
    if scope.get("raw_path"):
        scope["raw_path"] = quote(path, safe=_PATH_SAFE).encode()
    return scope


async def _peek(receive: Receive, peek: Peek) -> tuple[Receive, SignedPolicy | None, SecureDeliveryError | None]:
    """Read as much of the body as the peek wants: a `receive` that repeats it, what was shown, and what was wrong."""
    taken: list[Message] = []
    shown, fault = None, None
    try:
        wanted = True
        while wanted:
            message = await receive()
            taken.append(message)
            if message["type"] != "http.request":
                break
            more = message.get("more_body", False)
            wanted = peek.feed(message.get("body", b""), more=more) and more
        shown = peek.signed()
    except SecureDeliveryError as broken:
        fault = broken
    replayed = iter(taken)

    async def replay() -> Message:
        for message in replayed:
            return message
        return await receive()

    return replay, shown, fault


async def _send(reply: Reply, send: Send, *, head_only: bool) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": _encoded(reply.headers)})
    await send({"type": "http.response.body", "body": b"" if head_only else reply.body})


async def _refuse_websocket(reply: Reply, scope: Scope, send: Send) -> None:
    """Refuse a handshake: with the status where the server can, with a close otherwise (which servers answer as 403)."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": reply.status, "headers": _encoded(reply.headers)})
        await send({"type": "websocket.http.response.body", "body": reply.body})
    else:
        await send({"type": "websocket.close", "code": 1008})
