"""Do-nothing apps, bare and guarded, for the server that `doors.py` starts. Named on its command line.

Knows: the two doors, and a verifier as one writes it in an afternoon. Must not know: who measures.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from verification import PATTERNS, SECRET

from secure_delivery import Application, Guard, Rule, SecretRing, Whitelist, asgi, wsgi

_BODY = b"x" * int(os.environ.get("BENCH_BODY", "2"))
_ASGI_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", str(len(_BODY)).encode())],
}
_ASGI_BODY = {"type": "http.response.body", "body": _BODY}
_WSGI_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(_BODY)))]


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    """Two bytes, whatever is asked."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send(_ASGI_START)
    await send(_ASGI_BODY)


def bare_wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Two bytes, whatever is asked."""
    start_response("200 OK", _WSGI_HEADERS)
    return [_BODY]


def _guard() -> Guard:
    application = Application(
        secrets=SecretRing.of(SECRET), require_policy=True, delivery_whitelist=Whitelist(PATTERNS), max_age=3600
    )
    return Guard(application, [Rule("/files/<handle>", GET="read", PUT="write", DELETE="remove")])


guarded_asgi = asgi.SecureDelivery(bare_asgi, _guard())
guarded_wsgi = wsgi.SecureDelivery(bare_wsgi, _guard())


# ---------------------------------------------------------------------------------------------- the verifier to compare


def _naive(path: str, query: str, origin: str | None) -> bool:
    """Signature, expiry, call, handle and whitelist, afresh for each request: nothing compiled, nothing remembered."""
    if not path.startswith("/files/"):
        return True
    shown = dict(parse_qsl(query))
    expected = hmac.new(SECRET.encode(), shown.get("policy", "").encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, shown.get("signature", "")):
        return False
    policy = json.loads(base64.urlsafe_b64decode(shown["policy"]))
    if policy["expiry"] <= time.time() or "read" not in policy["call"] or policy["handle"] != path[len("/files/") :]:
        return False
    host = urlsplit(origin or "").hostname or ""
    return origin is None or any(fnmatch.fnmatch(host, pattern) for pattern in PATTERNS)


async def naive_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The naive verifier in front of the ASGI app."""
    if scope["type"] == "http":
        origin = dict(scope["headers"]).get(b"origin")
        if not _naive(scope["path"], scope["query_string"].decode("latin-1"), origin.decode("latin-1") if origin else None):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
    await bare_asgi(scope, receive, send)


def naive_wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    """The naive verifier in front of the WSGI app."""
    if not _naive(environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("HTTP_ORIGIN")):
        start_response("403 Forbidden", [])
        return [b""]
    return bare_wsgi(environ, start_response)
