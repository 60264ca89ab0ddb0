"""What the headers of an admitted answer must say about caching, origins and what it depended on.

Knows: response headers as name-value text. Must not know: WSGI or ASGI.

An answer that somebody was authorised for must not become public on its way (pitfall c6, CVE-2025-57752): answers to signed
requests are `private` and no older than what was shown; directives that would serve them past that are dropped. Everything
else the wrapped app said is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from .guard import Admission, Headers

#: Response headers that `amend` may have to change. A door that sees none of them can append `additions` and be done.
TOUCHED = frozenset({"cache-control", "expires", "vary", "set-cookie", "access-control-allow-origin", "pragma"})

#: Directives of the app that survive beside `private, max-age`: they only make caching stricter.
_KEPT = frozenset({"no-cache", "must-revalidate", "no-transform", "proxy-revalidate", "must-understand"})


def additions(admission: Admission, now: float) -> Headers:
    """The headers to append when the app said nothing about caching, variance or origins."""
    added: Headers = []
    decision, application = admission.decision, admission.application
    if decision.allowed and decision.authenticated:
        added.append(("cache-control", _cache_control(admission, application.max_age, (), now)))
    if decision.vary:
        added.append(("vary", ", ".join(decision.vary)))
    if admission.origin is not None:
        added.append(("access-control-allow-origin", admission.origin))
    return added


def _cache_control(admission: Admission, limit: int, kept: Iterable[str], now: float) -> str:
    scope = "public" if admission.application.public_cache else "private"
    return ", ".join([scope, f"max-age={admission.decision.max_age(limit, now)}", *kept])


def _directives(value: str) -> dict[str, str]:
    found = {}
    for item in value.lower().split(","):
        name, _, argument = item.strip().partition("=")
        if name:
            found[name] = argument.strip('"')
    return found


def amend(headers: Headers, admission: Admission, now: float) -> Headers:
    """The app's response headers, made right for an admitted request."""
    added = dict(additions(admission, now))
    kept: Headers = []
    said: list[str] = []
    varied: list[str] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == "cache-control" and "cache-control" in added:
            said.append(value)
        elif lowered in ("expires", "pragma") and "cache-control" in added:
            continue
        elif lowered == "set-cookie" and "cache-control" in added and admission.application.public_cache:
            continue  # a cookie in an answer that shared caches keep is somebody else's session (CVE-2024-26144)
        elif lowered == "vary":
            varied.append(value)
        else:
            if lowered == "access-control-allow-origin":
                added.pop(lowered, None)
            kept.append((name, value))
    if said:
        added["cache-control"] = _merge(", ".join(said), admission, now)
    if varied:
        added["vary"] = _merge_vary(varied, added.get("vary", ""))
    return kept + list(added.items())


def _merge(said: str, admission: Admission, now: float) -> str:
    directives = _directives(said)
    if "no-store" in directives:
        return "no-store"
    limit = admission.application.max_age
    age = directives.get("max-age", "")
    if age.isascii() and age.isdigit() and len(age) <= 10:
        limit = min(limit, int(age))
    return _cache_control(admission, limit, [name for name in directives if name in _KEPT], now)


def _merge_vary(said: list[str], ours: str) -> str:
    names: dict[str, str] = {}
    for value in (*said, ours):
        for item in value.split(","):
            name = item.strip()
            if name:
                names.setdefault(name.lower(), name)
    return "*" if "*" in names else ", ".join(names.values())
