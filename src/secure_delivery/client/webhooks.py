"""Is this webhook from who it says, and from now?

Knows: the signature of webhooks. Must not know: web frameworks; hand in the raw body and two headers.

Verify raw bytes first, parse second. Nothing here says what the right signature would have been.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import WebhookError

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")

Secrets = str | bytes | Sequence[str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A verified webhook.

    `id` tells repetitions apart: deliveries are repeated until one is answered with 200, so remember the ids you dealt with.
    `action` is `fp.upload`, `fp.delete`, `fs.workflow`, …; `timestamp` unix seconds of the event; `text` what happened.
    """

    id: int | None
    action: str
    timestamp: int | None
    text: dict[str, Any] = field(repr=False)


def verify_webhook(
    body: bytes,
    timestamp: str | None,
    signature: str | None,
    secret: Secrets,
    *,
    tolerance: float | None = 300,
    now: Callable[[], float] = time.time,
) -> Event:
    """Verify a webhook and read it.

    `body` is the body as received, before any parsing; `timestamp` and `signature` are the headers `FS-Timestamp` and
    `FS-Signature`, None where they are missing. `secret` is the webhook's own, or several while one replaces another.
    `tolerance` is how many seconds it may be old, or early by a clock that is off; None: any age, for replays of your own.

    Raises `WebhookError` whose `code` is `webhook_unsigned`, `webhook_signature`, `webhook_age` or `webhook_body`.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("verify the raw bytes of the body; text or JSON that was parsed is not what was signed")
    keys = _keys(secret)
    if timestamp is None or signature is None:
        raise WebhookError("The webhook is not signed.", code="webhook_unsigned")
    if not (_TIMESTAMP.fullmatch(timestamp) and _SIGNATURE.fullmatch(signature)):
        raise WebhookError("The webhook's signature does not have the form of one.", code="webhook_signature")
    text = timestamp.encode("ascii") + b"." + bytes(body)
    shown = bytes.fromhex(signature)
    # Every key is tried whatever the first ones say: how long it takes tells nothing about them.
    same = [hmac.compare_digest(hmac.digest(key, text, "sha256"), shown) for key in keys]
    if not any(same):
        raise WebhookError("The webhook's signature is not valid.", code="webhook_signature")
    if tolerance is not None and abs(now() - int(timestamp)) > tolerance:
        raise WebhookError("The webhook is too old, or a clock is wrong.", code="webhook_age")
    return _read(bytes(body))


def _keys(secret: Secrets) -> list[bytes]:
    several = [secret] if isinstance(secret, str | bytes) else list(secret)
    keys = [key.encode() if isinstance(key, str) else key for key in several]
    if not keys or not all(keys):
        raise ValueError("a webhook is verified with at least one secret, and none that is empty")
    return keys


def _read(body: bytes) -> Event:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("action"), str):
        raise WebhookError("The webhook is signed, but its body is not an event.", code="webhook_body")
    number, moment, text = envelope.get("id"), envelope.get("timestamp"), envelope.get("text")
    return Event(
        id=number if isinstance(number, int) else None,
        action=envelope["action"],
        timestamp=int(moment) if isinstance(moment, int | float) else None,
        text=text if isinstance(text, dict) else {},
    )
