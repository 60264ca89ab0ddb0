"""Codes of the second factor: RFC 6238 over RFC 4226.

Knows: the arithmetic, and how a secret is handed to an authenticator. Must not know: accounts, where secrets are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from urllib.parse import quote, urlencode

STEP = 30  # seconds for which a code stands (RFC 6238, 5.2)
DIGITS = 6
_SECRET = 20  # bytes: the length of the hash, as RFC 4226 recommends (section 4, R6)
_AROUND = 1  # steps before and after the present one that count, for clocks that differ (RFC 6238, 5.2)


def new_secret() -> bytes:
    """160 bits from the system source."""
    return secrets.token_bytes(_SECRET)


def code_at(secret: bytes, step: int, *, digits: int = DIGITS, digest: str = "sha1") -> str:
    """The code of a time step, counted from the epoch. SHA-1 is what every authenticator speaks; RFC 6238 has others too."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), getattr(hashlib, digest))
    start = mac[-1] & 0x0F
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def matching_step(secret: bytes, code: str, *, now: float, last: int) -> int | None:
    """The time step that a code is of, or None. Steps up to `last` do not count: a code is taken once (RFC 6238, 5.2).

    `now` is in seconds since the epoch. Blanks in the code are left out, as authenticators show them.
    """
    given = "".join(code.split()).encode("utf-8", "replace")
    present = int(now // STEP)
    found = None
    for step in range(max(0, present - _AROUND), present + _AROUND + 1):  # all of them, so that the time says nothing
        if hmac.compare_digest(code_at(secret, step).encode(), given) and step > last:
            found = step
    return found


def as_base32(secret: bytes) -> str:
    """A secret as a person types it into an authenticator."""
    return base64.b32encode(secret).decode().rstrip("=")


def from_base32(text: str) -> bytes:
    """The inverse of `as_base32`; blanks and case do not matter. Raises `ValueError`."""
    plain = "".join(text.split()).upper()
    try:
        return base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error:
        raise ValueError("not Base32") from None


def address(secret: bytes, *, login: str, issuer: str) -> str:
    """The `otpauth:` address that authenticators read from a QR code (Key URI Format of Google Authenticator)."""
    asked = urlencode({"secret": as_base32(secret), "issuer": issuer, "digits": DIGITS, "period": STEP}, quote_via=quote)
    return f"otpauth://totp/{quote(issuer)}:{quote(login)}?{asked}"
