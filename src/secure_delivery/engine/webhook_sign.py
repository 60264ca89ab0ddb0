"""What is signed of a webhook, with what, and in which headers; and what stands in it.

Knows: both families of signatures, the envelope, the names of events. Must not know: rows, sockets, who receives it.

The secret is a text that serves both families. `FS-Signature` takes its bytes as they are, as the clients of the original
service do; Standard Webhooks decodes it from Base64, as their libraries do. Secrets made here are letters and digits, which are
both. `FS-Signature` has room for one signature, so the newest secret makes it; the other header lists one for each.

Sources: Filestack documentation (Webhooks: security), standard-webhooks specification 1.0; security promise 70.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ..gate.errors import BadRequest
from .applications import random_text

AGENT = "secure-delivery-webhooks/1"

#: Every event there is. The first five are of files, the sixth of workflows, the last of preview jobs.
EVENTS = ("fp.upload", "fp.converse", "fp.video_converse", "fp.overwrite", "fp.delete", "fs.workflow", "fp.preview")
#: An event of our own, which `test` sends to one endpoint and nobody has to ask for.
TEST = "webhook.test"
#: Its body is the preview object itself, as the original service sent it, and tells what is in a file: it is kept no longer
#: than it takes to deliver it.
PREVIEW = "fp.preview"

_SECRET = 40  # letters and digits: 238 bits, and 30 bytes when it is read as Base64
_GIVEN = re.compile(r"[!-~]{20,200}")
_PREFIX = "whsec_"
_CALLBACK = b"secure_delivery webhook for a callback address"


def new_secret() -> str:
    """A secret of a webhook."""
    return random_text(_SECRET)


def checked_secret(text: str) -> str:
    """A secret that somebody brings along. Raises `BadRequest`."""
    if not _GIVEN.fullmatch(text) or len(set(text)) < 8:
        raise BadRequest(public="A secret of a webhook is 20 to 200 characters of ASCII without blanks, and not one repeated.")
    return text


def callback_secret(application_secret: bytes) -> str:
    """The secret of addresses that a request names itself: made of the application's, so that its owner can verify with what he
    has, and different from it, so that no signature made for one use counts in another (context separation)."""
    return hmac.new(application_secret, _CALLBACK, hashlib.sha256).hexdigest()


def standard_key(secret: str) -> bytes:
    """The key that libraries of Standard Webhooks make of a secret: decoded from Base64, with or without their prefix; the
    bytes of the text where it is none."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True) or secret.encode()
    except ValueError:
        return secret.encode()


def filestack_signature(secret: str, timestamp: int, body: bytes) -> str:
    """Lower-case hex of HMAC-SHA256 over `TIMESTAMP.BODY`."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and Base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`."""
    signed = hmac.new(standard_key(secret), f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def headers(event_id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The headers of one try. `keys` are the secrets in force, newest first; `timestamp` is in seconds, of the sending."""
    return (
        ("Content-Type", "application/json"),
        ("User-Agent", AGENT),
        ("FS-Timestamp", str(timestamp)),
        ("FS-Signature", filestack_signature(keys[0], timestamp, body)),
        ("webhook-id", event_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(standard_signature(key, event_id, timestamp, body) for key in keys)),
    )


def told_headers(event_id: str, timestamp: int) -> tuple[tuple[str, str], ...]:
    """The headers of a try, for who looks at the log. Without signatures: for minutes they would do for another sending."""
    told = headers(event_id, timestamp, b"", ("",))
    return tuple((name, "(not shown)" if name.lower().endswith("-signature") else value) for name, value in told)


# ---------------------------------------------------------------------------------------------------------------- bodies


def new_number() -> int:
    """An id for an envelope: whole in JavaScript too, below 2^53."""
    return 1 + secrets.randbelow(2**53 - 1)


def event_id_of(number: int | None = None) -> str:
    """The id of an event in headers: made of the number in its envelope where it has one."""
    return f"evt_{random_text(24) if number is None else number}"


def envelope(event: str, text: Mapping[str, Any], *, number: int, timestamp: int) -> bytes:
    """The body of every event but previews: `{"id", "action", "timestamp", "text"}`; `timestamp` is in seconds."""
    return json.dumps({"id": number, "action": event, "timestamp": timestamp, "text": dict(text)}).encode()


def text_of(event: str, data: Mapping[str, Any], base: str) -> dict[str, Any]:
    """What an event of a file says of it, by the names of the documentation. `data` is that of the event as plugins get it,
    `base` begins the addresses of files."""
    url = f"{base}/{data['handle']}"
    client = "URL" if data.get("source_url") else "Computer"
    if event == "fp.delete":
        return {"url": url}
    if event == "fp.overwrite":
        return {
            "mimetype": data["type"],
            "url": url,
            "isWriteable": True,
            "filename": data["filename"],
            "client": client,
            "size": data["size"],
        }
    if event == "fp.converse":
        link = {
            "url": url,
            "handle": data["handle"],
            "filename": data["filename"],
            "mimetype": data["type"],
            "path": data.get("path") or data["key"],
            "provider": "internal_v2",
            "size": data["size"],
        }
        return {"url": data["tasks"], "link": link}
    text = {
        "container": data["container"],
        "url": url,
        "filename": data["filename"],
        "client": client,
        "key": data["key"],
        "type": data["type"],
        "status": data.get("status", "Stored"),
        "size": data["size"],
    }
    return text | ({"upload_tags": dict(data["tags"])} if data.get("tags") else {})
