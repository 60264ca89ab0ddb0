"""The ASGI door: `SecureDelivery(app, guard)` around any ASGI app.

Knows: scopes, `receive`, `send` (ASGI 3). Must not know: how one judges. Pure ASGI: streaming, background tasks and
cancellation of the wrapped app stay as they are.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .body import PEEK, Peek, SizeMeter
from .errors import Reason, SecureDeliveryError
from .guard import Admission, Guard, Head, Reply, WantsBody, fault_reply
from .outgoing import TOUCHED, additions, amend

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("secure_delivery.gate")
_DECISION = "secure_delivery.decision"
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
    Scope types nobody knows are refused. Rules see the path below `root_path`.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            if kind == "lifespan":
                return await self.app(scope, receive, send)
            raise RuntimeError(f"a scope of type {kind!r} cannot be judged and is refused")
        verdict: Admission | Reply | WantsBody | None
        try:
            head = _head(scope)
            verdict = self.guard.check(head)
            if isinstance(verdict, WantsBody):
                peek = Peek(verdict.content_type)
                receive = await _peek(receive, peek)
                verdict = self.guard.check(head, peek.signed(), peeked=True)
        except SecureDeliveryError as fault:
            verdict = fault_reply(fault)
        except Exception:
            # Fail closed: whatever went wrong in here, the app is not called.
            logger.exception("the guard failed")
            verdict = fault_reply(SecureDeliveryError())
        if verdict is None:
            return await self.app(scope, receive, send)
        if isinstance(verdict, Admission):
            return await self._admit(verdict, head, scope, receive, send)
        if not isinstance(verdict, Reply):
            verdict = fault_reply(SecureDeliveryError())
        if kind == "websocket":
            return await _refuse_websocket(verdict, scope, send)
        return await _send(verdict, send, head_only=scope["method"] == "HEAD")

    async def _admit(self, admission: Admission, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        if admission.path != head.path:
            scope = _hide_security(scope, admission.path)
        scope[_DECISION] = admission.decision
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        if admission.metered:
            return await self._run_metered(admission, head, scope, receive, send)
        return await self.app(scope, receive, _amending(send, admission, self.guard))

    async def _run_metered(self, admission: Admission, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app on a counted body; when a bound is broken it sees the client go away, and the refusal is ours."""
        meter = SizeMeter(admission.decision, head.content_type)
        refused: list[Reason | SecureDeliveryError] = []
        started = False
        onward = _amending(send, admission, self.guard)

        async def counted() -> Message:
            if refused:
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.request":
                try:
                    reason = meter.feed(message.get("body", b""))
                    if reason is None and not message.get("more_body", False):
                        reason = meter.end()
                except SecureDeliveryError as fault:
                    refused.append(fault)
                    return {"type": "http.disconnect"}
                if reason is not None:
                    refused.append(reason)
                    return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if refused and not started:
                return  # the app's own words about a client that seemed to go away
            started = True
            await onward(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if not refused:
                raise
        if refused and not started:
            fault = refused[0]
            reply = fault_reply(fault) if isinstance(fault, SecureDeliveryError) else self.guard.denial(fault)
            await _send(reply, send, head_only=False)


def _head(scope: Scope) -> Head:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        path = path[len(root) :] or "/"
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
            if any(name.lower() in _TOUCHED for name, _ in headers):
                text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
                headers = _encoded(amend(text, admission, guard.clock()))
            else:
                headers += _encoded(additions(admission, guard.clock()))
            message = {**message, "headers": headers}
        await send(message)

    return amended


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _hide_security(scope: Scope, path: str) -> Scope:
    """Let the app see the path without its credential, decoded and raw."""
    root = scope.get("root_path", "")
    full: str = scope["path"]
    scope = {**scope, "path": root + path if root and full.startswith(root) else path}
    raw = scope.get("raw_path")
    if raw:
        kept = [part for part in raw.split(b"/") if not part.lower().startswith((b"security=", b"security%3d"))]
        scope["raw_path"] = b"/".join(kept)
    return scope


async def _peek(receive: Receive, peek: Peek) -> Receive:
    """Read as much of the body as the peek wants; gives a `receive` that repeats it before the rest."""
    taken: list[Message] = []
    size, wanted = 0, True
    while wanted and size <= 2 * PEEK:
        message = await receive()
        taken.append(message)
        if message["type"] != "http.request":
            break
        body, more = message.get("body", b""), message.get("more_body", False)
        size += len(body)
        wanted = peek.feed(body, more=more) and more
    replayed = iter(taken)

    async def replay() -> Message:
        for message in replayed:
            return message
        return await receive()

    return replay


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
