"""What the headers of an admitted answer must say about caching, origins and what it depended on.

Knows: response headers as name-value text. Must not know: WSGI or ASGI.

An answer that somebody was authorised for must not become public on its way (pitfall c6, CVE-2025-57752): answers to signed
requests are `private` and no older than what was shown; directives that would serve them past that are dropped. Everything
else the wrapped app said is left as it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from werkzeug.http import parse_date

from .heads import Admission, Headers
from .model import Application

#: Response headers that `amend` may have to change. Where none of them is there, `additions` are appended and that is all.
TOUCHED = frozenset({"cache-control", "expires", "vary", "set-cookie", "access-control-allow-origin", "pragma"})

#: Directives of the app that survive beside `private, max-age`: they only make caching stricter.
_KEPT = frozenset({"no-cache", "must-revalidate", "no-transform", "proxy-revalidate", "must-understand"})


#: Answers that may be kept for a while without the app saying so: what was asked for, or that it has not changed.
_FRESH = frozenset({200, 203, 206, 304})


def additions(admission: Admission, status: int, now: float) -> Headers:
    """The headers to append when the app said nothing about caching, variance or origins."""
    return list(_both(admission, status, now).text)


def encoded_additions(admission: Admission, status: int, now: float) -> tuple[tuple[bytes, bytes], ...]:
    """The same as bytes, for ASGI."""
    return _both(admission, status, now).raw


class _Written(NamedTuple):
    """Headers as text and as bytes."""

    text: tuple[tuple[str, str], ...]
    raw: tuple[tuple[bytes, bytes], ...]


def _both(admission: Admission, status: int, now: float) -> _Written:
    """The additions, written once a second for a remembered admission; an age is cut to that second's end."""
    if admission.written is None:
        return _write(*_facts(admission, status, now))
    moment = int(now), status
    found = admission.written.get(moment)
    if found is None:
        admission.written.clear()
        found = admission.written[moment] = _write(*_facts(admission, status, float(moment[0] + 1)))
    return found


def _facts(admission: Admission, status: int, now: float) -> tuple[str | None, tuple[str, ...], str | None]:
    """What the additions depend on. Few requests differ in it, so that the headers themselves are written once."""
    decision, application = admission.decision, admission.application
    caching = None
    if application is not None and decision.allowed and decision.authenticated:
        # A failure or the answer to an upload would otherwise be given an age nobody meant it to have.
        fresh = status in _FRESH and admission.method in ("GET", "HEAD")
        caching = _cache_control(admission, application, application.max_age if fresh else 0, now)
    return caching, decision.vary, admission.origin


@lru_cache(maxsize=4096)
def _write(caching: str | None, vary: tuple[str, ...], origin: str | None) -> _Written:
    added = []
    if caching is not None:
        added.append(("cache-control", caching))
    if vary:
        added.append(("vary", ", ".join(vary)))
    if origin is not None:
        added.append(("access-control-allow-origin", origin))
    return _Written(tuple(added), tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in added))


def _cache_control(admission: Admission, application: Application, limit: int, now: float) -> str:
    scope = "public" if application.public_cache else "private"
    return f"{scope}, max-age={admission.decision.max_age(limit, now)}"


def _directives(value: str) -> dict[str, str]:
    found = {}
    for item in value.lower().split(","):
        name, _, argument = item.strip().partition("=")
        if name:
            found[name] = argument.strip('"')
    return found


def amend(headers: Headers, admission: Admission, status: int, now: float) -> Headers:
    """The app's response headers, made right for an admitted request."""
    ours = additions(admission, status, now)
    if TOUCHED.isdisjoint([name.lower() for name, _ in headers]):
        return headers + ours
    added = dict(ours)
    said = _Said([], [], [])
    kept: Headers = []
    for name, value in headers:
        lowered = name.lower()
        if "cache-control" in added and lowered in ("cache-control", "expires", "pragma", "date"):
            said.caching.append((lowered, value))
            if lowered == "date":
                kept.append((name, value))
        elif lowered == "set-cookie" and "cache-control" in added and added["cache-control"].startswith("public"):
            continue  # a cookie in an answer that shared caches keep is somebody else's session (CVE-2024-26144)
        elif lowered == "vary":
            said.vary.append(value)
        elif lowered == "access-control-allow-origin":
            said.origins.append((name, value))
        else:
            kept.append((name, value))
    if admission.application is not None and "cache-control" in added:
        added["cache-control"] = _merge(said.caching, added["cache-control"], admission, admission.application, now)
    if said.vary:
        added["vary"] = _merge_vary(said.vary, added.get("vary", ""))
    if said.origins and (admission.origin is None or all(value != "*" for _, value in said.origins)):
        added.pop("access-control-allow-origin", None)
        kept += said.origins  # the app's own CORS; only a blanket `*` gives way to the origin a whitelist approved
    return kept + list(added.items())


class _Said(NamedTuple):
    """What the app said about the things that may have to change."""

    caching: Headers
    vary: list[str]
    origins: Headers


def _merge(said: Headers, ours: str, admission: Admission, application: Application, now: float) -> str:
    """The app's wishes about caching, as far as they are stricter than ours."""
    directives = _directives(", ".join(value for name, value in said if name == "cache-control"))
    if "no-store" in directives:
        return "no-store"
    if any(name == "pragma" and "no-cache" in value.lower() for name, value in said):
        directives.setdefault("no-cache", "")
    limit = None
    if "max-age" in directives:
        age = directives["max-age"]
        limit = int(age) if age.isascii() and age.isdigit() and len(age) <= 10 else 0
    elif any(name == "expires" for name, _ in said):
        limit = _age_by_dates(said, now)
    kept = [name for name in directives if name in _KEPT]
    if limit is None and not kept:
        return ours
    if limit is None:
        limit = int(_directives(ours)["max-age"])
    return ", ".join([_cache_control(admission, application, min(limit, application.max_age), now), *kept])


def _age_by_dates(said: Headers, now: float) -> int:
    """Seconds from `Date`, else from now, to `Expires`; zero for a date that is none (RFC 9111, section 5.3)."""
    dates = {name: parse_date(value) for name, value in said if name in ("expires", "date")}
    expires, date = dates.get("expires"), dates.get("date")
    if expires is None:
        return 0
    return max(0, int(expires.timestamp() - (now if date is None else date.timestamp())))


def _merge_vary(said: list[str], ours: str) -> str:
    names: dict[str, str] = {}
    for value in (*said, ours):
        for item in value.split(","):
            name = item.strip()
            if name:
                names.setdefault(name.lower(), name)
    return "*" if "*" in names else ", ".join(names.values())
