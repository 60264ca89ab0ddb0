"""Code that verifies a webhook, for who writes a receiver: shown on pages, and run by the tests.

Knows: the headers of Standard Webhooks and the helper of the Python client. Must not know: secrets, pages.
"""

from __future__ import annotations

__all__ = ["JAVASCRIPT", "PYTHON"]

PYTHON = '''\
# pip install "secure-delivery[client]"
from secure_delivery.client import WebhookError, receive_webhook


def received(body: bytes, headers, secret: str):
    """The event, or None for what somebody else sent. `body` is the raw body, before anything has parsed it."""
    try:
        event = receive_webhook(body, headers, secret)
    except WebhookError:
        return None  # answer 400
    return event.action, event.text  # answer 204, and do the work afterwards
'''

JAVASCRIPT = """\
import { createHmac, timingSafeEqual } from "node:crypto";

/** The event, or null for what somebody else sent. `body` is the raw body, a Buffer, before anything has parsed it. */
export function received(body, headers, secret) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) return null; // answer 400
  const mine = createHmac("sha256", Buffer.from(secret, "base64")).update(`${id}.${timestamp}.`).update(body).digest();
  const right = String(headers["webhook-signature"]).split(" ").some((each) => {
    const shown = Buffer.from(each.replace(/^v1,/, ""), "base64");
    return shown.length === mine.length && timingSafeEqual(shown, mine);
  });
  return right ? JSON.parse(body) : null; // answer 204, and do the work afterwards
}
"""
