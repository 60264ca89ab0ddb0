"""Helpers for frameworks, each in a module of its own that nothing else imports.

Knows: how the URLs that frameworks build relate to the paths that rules see. Must not know: how one judges or signs.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ..gate.guard import Guard

__all__ = ["sign_below"]

#: What a path may hold as it is (RFC 3986, section 3.3), and escapes that are there already.
_AS_IT_IS = "/%!$&'()*+,;=:@~"


def sign_below(guard: Guard, url: str, prefix: str = "", **policy: Any) -> str:
    """`guard.signed_url` for a URL as frameworks build it: with the prefix the app is mounted under, scheme and host.

    Rules see the path below `prefix`; it is taken off for signing and put back. Other arguments are those of
    `Guard.signed_url`. Raises `ConfigurationError` for a path that no rule guards.
    """
    parts = urlsplit(url)
    prefix = prefix.rstrip("/")
    path = quote(parts.path, safe=_AS_IT_IS)  # not every framework's `url_for` escapes
    if not prefix or not path.startswith(f"{prefix}/"):
        prefix = ""
    signed = guard.signed_url(path[len(prefix) :] + (f"?{parts.query}" if parts.query else ""), **policy)
    path, _, query = signed.partition("?")
    return urlunsplit((parts.scheme, parts.netloc, prefix + path, query, parts.fragment))
