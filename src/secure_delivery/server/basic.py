"""Who asks, for the APIs that work with HTTP Basic: an application with its secret, or a page with its key alone.

Knows: RFC 7617 and the way official clients bend it, whitelists. Must not know: what is asked for.

The browser library of FilePreviews encodes the key alone and appends a colon *after* the Base64 text (fact sheet, 1.2): both
that colon and a decoded text without one are accepted. Nothing else is bent.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from starlette.requests import Request

from ..gate.errors import CredentialConflict, SecureDeliveryError
from ..gate.hosts import parse_origin
from ..gate.model import Application, SecretState
from . import counting
from .http import Context, single


class Unauthorized(SecureDeliveryError):
    """No credential, or one that is not right (RFC 9110 section 15.5.2)."""

    code = "unauthorized"
    status = 401
    sentence = "A valid API key and secret are needed, by HTTP Basic."


class OriginRefused(SecureDeliveryError):
    """A page that the application does not list."""

    code = "origin_not_allowed"
    status = 403
    sentence = "Requests from this site are not allowed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `trusted`: the secret was shown; else it is a page of a listed origin, which knows the key alone."""

    application: Application
    trusted: bool


async def authenticated(context: Context, request: Request) -> Application:
    """The application whose key and active secret were shown. Raises `Unauthorized`, `CredentialConflict`."""
    caller = await caller_of(context, request)
    if not caller.trusted:
        raise Unauthorized("the key alone was shown")
    return caller.application


async def caller_of(context: Context, request: Request) -> Caller:
    """Who asks, with the secret or as a listed page. Raises `Unauthorized`, `OriginRefused`, `CredentialConflict`."""
    key, secret = read_basic(single(request, "authorization"))
    if secret:
        context.shield(request)
    application = await context.query(context.engine.records.application, key) if key and len(key) <= 64 else None
    right = False
    if application is not None and secret:
        shown = secret.encode("utf-8", "surrogatepass")
        for each in application.secrets.in_force(context.engine.clock()):
            right |= hmac.compare_digest(each.value, shown) and each.state is SecretState.ACTIVE
    if application is None or (secret and not right):
        raise Unauthorized("an unknown key, or a wrong secret")
    counting.belongs(request.scope, application.api_key)
    if right:
        return Caller(application=application, trusted=True)
    origin = single(request, "origin")
    whitelist = application.upload_whitelist
    host = parse_origin(origin) if origin is not None else None
    if not whitelist or origin is None:
        raise Unauthorized("the key alone, without a listed origin")
    if host is None or not whitelist.allows(host):
        raise OriginRefused(f"origin {origin[:100]!r} is not listed")
    return Caller(application=application, trusted=False)


def read_basic(header: str | None) -> tuple[str, str]:
    """User name and password, empty texts where there are none. Raises `CredentialConflict` for a header that came twice."""
    if header is None or header[:6].lower() != "basic ":
        return "", ""
    if "," in header:
        raise CredentialConflict("several Authorization headers")
    text = header[6:].strip()
    try:
        decoded = base64.b64decode(text.removesuffix(":"), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = decoded.partition(":")
    return name, password
