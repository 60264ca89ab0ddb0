"""Is this webhook from who it says, from now, and not one that was dealt with already?

Knows: both families of signatures, what was seen before. Must not know: web frameworks; hand in the raw body and the headers.

Verify raw bytes first, parse second. Nothing here says what the right signature would have been.

A delivery carries two signatures, by `FS-Timestamp` and `FS-Signature`, and by the three headers of Standard Webhooks, which
are preferred because they sign the id as well and list one signature for each secret while one replaces another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .errors import WebhookError

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_ID = re.compile(r"[!-~]{1,256}")
_STANDARD = re.compile(r"v1,([A-Za-z0-9+/]{43}=)")
_MOST_SIGNATURES = 10  # in one header; others are of versions to come
_CALLBACK = b"secure_delivery webhook for a callback address"
_KEPT = 2 * 86_400.0  # seconds: longer than a delivery is repeated

Secrets = str | bytes | Sequence[str | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A verified webhook.

    `action` is `fp.upload`, `fp.delete`, `fp.preview`, …; `timestamp` unix seconds of the event; `text` what happened: of a
    preview the whole object. `event_id` tells repetitions apart: deliveries are repeated until one is answered with 200, under
    the same id.
    `id` is the number in the envelope, None for previews.
    """

    id: int | None
    action: str
    timestamp: int | None
    text: dict[str, Any] = field(repr=False)
    event_id: str = ""
    #: What a memory of events knows this one by, the first above all.
    keys: tuple[str, ...] = field(default=(), repr=False)


class Memory(Protocol):
    """Where events are remembered. Two methods, so that a shared store fits: in Redis `SET key 1 NX EX seconds` and `DEL`."""

    def add(self, key: str, seconds: float) -> bool:
        """Remember a key for so long; whether it was new. Atomic: of two callers at once one is told that it was."""

    def remove(self, key: str) -> None:
        """Forget a key."""


class SeenEvents:
    """Remembers events in this process: the last `most`, each as long as it is told to. Thread-safe. Several processes need one
    memory among them: see `Memory`."""

    def __init__(self, most: int = 100_000, *, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._lock = threading.Lock()
        self._until: OrderedDict[str, float] = OrderedDict()

    def add(self, key: str, seconds: float) -> bool:
        """Remember a key for so long; whether it was new."""
        now = self._now()
        with self._lock:
            if self._until.get(key, now) > now:
                return False
            self._until.pop(key, None)
            self._until[key] = now + seconds
            while len(self._until) > self._most or next(iter(self._until.values())) <= now:
                self._until.popitem(last=False)
            return True

    def remove(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._until.pop(key, None)


def receive_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: Secrets,
    *,
    seen: Memory | None = None,
    tolerance: float | None = 300,
    now: Callable[[], float] = time.time,
) -> Event:
    """Verify a webhook by its headers, whatever their case, and read it.

    `body` is the body as received. `secret` is the webhook's own, or several while one replaces another; of an address that a
    request named it is `callback_secret`. `tolerance` is how many seconds it may be old, or early by a clock that is off.

    With `seen`, an event that was received before raises `WebhookError` with the code `webhook_repeated`: answer it with 200
    and do nothing. When dealing with an event fails, call `forget_webhook` before you answer with an error: it will be sent
    again.

    Raises `WebhookError` whose `code` is `webhook_unsigned`, `webhook_signature`, `webhook_age`, `webhook_body` or
    `webhook_repeated`.
    """
    sent = {str(name).lower(): value for name, value in headers.items()}
    digest = f"body:{hashlib.sha256(body).hexdigest()}"
    if "webhook-signature" in sent:
        # It was signed so; the other signature does not stand in for one that is wrong.
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        event_id, timestamp, signature = (sent.get(name) for name in names)
        event = _verify_standard(body, event_id, timestamp, signature, _keys(secret), tolerance, now)
        event = replace(event, event_id=str(event_id), keys=(f"id:{event_id}", digest))
    else:
        event = verify_webhook(body, sent.get("fs-timestamp"), sent.get("fs-signature"), secret, tolerance=tolerance, now=now)
        named = () if event.id is None else (f"evt_{event.id}",)
        event = replace(event, event_id=(*named, digest)[0], keys=(digest, *(f"id:{name}" for name in named)))
    if seen is not None:
        # The first key decides. The others keep the same event from being shown again under the other signature.
        new = [seen.add(key, _KEPT) for key in event.keys]
        if not new[0]:
            raise WebhookError("The webhook was received before.", code="webhook_repeated")
    return event


def forget_webhook(event: Event, seen: Memory) -> None:
    """Take back that an event was received, because dealing with it failed."""
    for key in event.keys:
        seen.remove(key)


def callback_secret(application_secret: str | bytes) -> str:
    """The secret that signs what is sent to an address which a request named itself (`callback_url`), made of the application's
    secret."""
    key = application_secret.encode() if isinstance(application_secret, str) else application_secret
    return hmac.new(key, _CALLBACK, hashlib.sha256).hexdigest()


def verify_webhook(
    body: bytes,
    timestamp: str | None,
    signature: str | None,
    secret: Secrets,
    *,
    tolerance: float | None = 300,
    now: Callable[[], float] = time.time,
) -> Event:
    """Verify a webhook by the two headers of the original service, and read it. `receive_webhook` does more.

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
    _check_age(timestamp, tolerance, now)
    return _read(bytes(body))


def _verify_standard(
    body: bytes,
    event_id: str | None,
    timestamp: str | None,
    signature: str | None,
    keys: list[bytes],
    tolerance: float | None,
    now: Callable[[], float],
) -> Event:
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("verify the raw bytes of the body; text or JSON that was parsed is not what was signed")
    if event_id is None or timestamp is None or signature is None:
        raise WebhookError("The webhook is not signed.", code="webhook_unsigned")
    shown = [found[1] for each in signature.split(" ")[:_MOST_SIGNATURES] if (found := _STANDARD.fullmatch(each))]
    if not (shown and _TIMESTAMP.fullmatch(timestamp) and _ID.fullmatch(event_id)):
        raise WebhookError("The webhook's signature does not have the form of one.", code="webhook_signature")
    text = f"{event_id}.{timestamp}.".encode("ascii") + bytes(body)
    mine = [hmac.digest(_standard_key(key), text, "sha256") for key in keys]
    # All of them are compared, whatever the first ones say.
    same = [hmac.compare_digest(one, base64.b64decode(other)) for one in mine for other in shown]
    if not any(same):
        raise WebhookError("The webhook's signature is not valid.", code="webhook_signature")
    _check_age(timestamp, tolerance, now)
    return _read(bytes(body))


def _standard_key(secret: bytes) -> bytes:
    """As libraries of Standard Webhooks have it: decoded from Base64, with or without their prefix, where it is that."""
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True) or secret
    except binascii.Error:
        return secret


def _check_age(timestamp: str, tolerance: float | None, now: Callable[[], float]) -> None:
    if tolerance is not None and abs(now() - int(timestamp)) > tolerance:
        raise WebhookError("The webhook is too old, or a clock is wrong.", code="webhook_age")


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
    if isinstance(envelope, dict) and isinstance(envelope.get("id"), str) and isinstance(envelope.get("status"), str):
        return Event(id=None, action="fp.preview", timestamp=None, text=envelope)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("action"), str):
        raise WebhookError("The webhook is signed, but its body is not an event.", code="webhook_body")
    number, moment, text = envelope.get("id"), envelope.get("timestamp"), envelope.get("text")
    return Event(
        id=number if isinstance(number, int) else None,
        action=envelope["action"],
        timestamp=int(moment) if isinstance(moment, int | float) else None,
        text=text if isinstance(text, dict) else {},
    )
