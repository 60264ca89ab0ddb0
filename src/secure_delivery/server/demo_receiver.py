"""A receiver of webhooks to try them with: `POST /demo/webhook?key=API_KEY`, where the setting `demo_receiver` is on.

Knows: how a receiver verifies. Must not know: who sends, and why.

It does what an owner's own program would do: it verifies the signature with the secrets of the application's webhooks, and
answers. It keeps nothing but a line in the log. (The client's helper does the same; the server does without its libraries.)
"""

from __future__ import annotations

import hmac
import logging
import re

from starlette.requests import Request
from starlette.responses import Response

from ..engine import Engine
from ..engine.webhook_sign import callback_secret, standard_signature
from ..gate.errors import BadRequest, TooLarge
from . import counting
from .http import Context, body_pieces, parameters, single

logger = logging.getLogger("secure_delivery.server")

_MOST = 4 << 20  # bytes of a body: previews tell whole texts
_TOLERANCE = 300  # seconds, as for every receiver
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_ID = re.compile(r"[!-~]{1,256}")


class DemoReceiver:
    """The endpoint."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def take(self, request: Request) -> Response:
        """204 for an event that is signed, 400 for anything else. Raises `BadRequest`, `TooLarge`."""
        key = parameters(request).get("key", "")
        body = bytearray()
        async for piece in body_pieces(request):
            body += piece
            if len(body) > _MOST:
                raise TooLarge("too long a webhook", public="The body is too long.")
        event_id, timestamp, shown = (single(request, f"webhook-{name}") or "" for name in ("id", "timestamp", "signature"))
        if not (_ID.fullmatch(event_id) and _TIMESTAMP.fullmatch(timestamp)):
            raise BadRequest("demo receiver: not signed", public="The webhook is not signed.")
        secrets = await self._context.run(_secrets, self._context.engine, key)
        right = [standard_signature(secret, event_id, int(timestamp), bytes(body)).encode() for secret in secrets]
        sent = [each.encode("latin-1") for each in shown.split(" ")[:10]]
        # All of them are compared, whatever the first ones say.
        same = [hmac.compare_digest(mine, other) for mine in right for other in sent]
        if not any(same):
            raise BadRequest("demo receiver: wrong signature", public="The webhook's signature is not valid.")
        if abs(self._context.engine.clock() - int(timestamp)) > _TOLERANCE:
            raise BadRequest("demo receiver: too old", public="The webhook is too old, or a clock is wrong.")
        counting.belongs(request.scope, key)
        logger.info("demo receiver: the event %s of %s arrived, and its signature is right", event_id[:60], key)
        return Response(status_code=204, headers={"cache-control": "no-store"})


def _secrets(engine: Engine, key: str) -> list[str]:
    """Everything that signs events of an application now: its webhooks' secrets, and those of addresses that requests name."""
    application = engine.records.application(key) if 0 < len(key) <= 64 else None
    if application is None:
        return []
    endpoints = engine.webhooks.endpoints
    found = [secret for endpoint in endpoints.of(key) for secret in endpoints.keys(endpoint)]
    return [*found, *(callback_secret(each.value) for each in application.secrets.in_force(engine.clock()))]
