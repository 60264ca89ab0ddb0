"""What the portal reads of a request and writes into an answer: paths, queries, cookies, bodies, headers.

Knows: how browsers and programs spell them, and which spellings are refused. Must not know: who asks, what is asked for.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from ...gate.errors import BadRequest, TooLarge, Unsupported
from ..bodies import read_object
from ..http import body_pieces, single
from .fields import Fields

#: `__Host-`: a browser takes them from this host alone, for all of it, and over TLS or from this machine (RFC 6265bis).
SESSION_COOKIE = "__Host-sd-session"
DEVICE_COOKIE = "__Host-sd-device"
FORM_COOKIE = "__Host-sd-form"
NOTE_COOKIE = "__Host-sd-note"
DEVICE_SECONDS = 90 * 86_400
LONGEST_TO = 2000  # characters of where somebody wanted to go before signing in
JSON_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    # Not no-referrer: with that a browser sends `Origin: null` with our own forms (Fetch standard, "append a request Origin").
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PAGE_HEADERS = JSON_HEADERS | {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

_MAX_BODY = 1 << 20  # bytes of a form
_KEPT = "/?#&=%:;,@+~.-_"  # characters of an address that stay as they are
_IN_PATH = "/:@!$&'()*+,;=~"


def here(request: Request) -> str:
    """The path that was asked for, fit for an address. Not `request.url`: that is made of the Host header, and cannot be read
    where a query is not UTF-8."""
    return quote(str(request.scope["path"]), safe=_IN_PATH, errors="replace")


def wanted(request: Request) -> str:
    """The path and what is behind the question mark."""
    query = query_of(request)
    return here(request) + (f"?{query}" if query else "")


def query_of(request: Request) -> str:
    """What is behind the question mark, as it was received."""
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def within(to: str) -> str:
    """A path of the portal itself, whatever was asked for: no other site, no other scheme."""
    if not to.startswith("/") or to.startswith(("//", "/\\")) or not to.isprintable():
        return "/"
    return quote(to, safe=_KEPT)


def set_cookie(response: Response, name: str, value: str, seconds: int | None) -> None:
    """Put a cookie of this host alone into an answer: for so long, for as long as the browser runs, or with 0 away."""
    age = "" if seconds is None else f"; Max-Age={seconds}"
    response.headers.append("set-cookie", f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")


def cookie_of(request: Request, name: str) -> str:
    """The value of a cookie; empty where there is none, or where two of this name differ.

    Not as Starlette reads them: it takes U+0085 and U+00A0 around a name for blanks. A browser does not, and lets a neighbour's
    host set such a cookie for ours, as it does not where a name begins with `__Host-`.
    """
    found = set()
    for line in request.headers.getlist("cookie"):
        for part in line.split(";"):
            key, _, value = part.strip(" \t").partition("=")
            if key == name:
                found.add(value)
    return found.pop() if len(found) == 1 else ""


async def read_body(request: Request) -> Fields:
    """The fields of a form or of JSON. Raises `BadRequest`, `TooLarge`, `Unsupported`."""
    body = bytearray()
    async for piece in body_pieces(request):
        body += piece
        if len(body) > _MAX_BODY:
            raise TooLarge("too long a form", public="The form is too long.")
    kind = (single(request, "content-type") or "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            return Fields.of_form(body.decode("ascii"))
        except UnicodeDecodeError:
            raise BadRequest("form is not ASCII", public="The form is malformed.") from None
    if not body:
        return Fields()
    if kind == "application/json":
        return Fields(read_object(bytes(body)))
    raise Unsupported(f"a body of type {kind[:60]!r}", public="The body is a form or JSON.")
