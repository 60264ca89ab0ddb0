"""The headers of admitted answers: what the app said, made right, as one table."""

from __future__ import annotations

from typing import Any

import pytest

from secure_delivery import Application, Decision, Reason, SecretRing
from secure_delivery.gate.heads import Admission
from secure_delivery.gate.outgoing import TOUCHED, additions, amend

NOW = 1_800_000_000
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # the same moment
IN_A_MINUTE = "Fri, 15 Jan 2027 08:01:00 GMT"
RING = SecretRing.of("first-secret-Zq7Lw2Xv9Bn4Tf6Yh1Rm8Jd5")


def admission(
    *, left: int | None = 100, method: str = "GET", vary: tuple[str, ...] = (), origin: str | None = None, **switches: Any
) -> Admission:
    """An admitted request whose policy has so many seconds left; `None` is a request without a policy."""
    decision = Decision(
        allowed=True,
        reason=Reason.OPEN if left is None else Reason.OK,
        authenticated=left is not None,
        vary=vary,
        expiry=None if left is None else NOW + left,
    )
    return Admission(Application(secrets=RING, **switches), decision, "/photos/x", origin, method)


def caching(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers if name.lower() in ("cache-control", "expires", "pragma")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "private, max-age=100"),
        ([("Cache-Control", "public")], "private, max-age=100"),
        ([("Cache-Control", "public, max-age=31536000, immutable")], "private, max-age=100"),
        ([("Cache-Control", "max-age=60")], "private, max-age=60"),
        ([("Cache-Control", 'MAX-AGE="60"')], "private, max-age=60"),
        ([("Cache-Control", "s-maxage=60")], "private, max-age=100"),
        ([("Cache-Control", "max-age=-1")], "private, max-age=0"),
        ([("Cache-Control", "max-age=1e9")], "private, max-age=0"),
        ([("Cache-Control", "max-age=" + "9" * 4000)], "private, max-age=0"),
        ([("Cache-Control", "stale-while-revalidate=600, stale-if-error=600")], "private, max-age=100"),
        ([("Cache-Control", "no-cache")], "private, max-age=100, no-cache"),
        ([("Cache-Control", "max-age=5"), ("Cache-Control", "must-revalidate")], "private, max-age=5, must-revalidate"),
        ([("Cache-Control", "no-store")], "no-store"),
        ([("Cache-Control", "max-age=5"), ("cache-control", "No-Store")], "no-store"),
        ([("Cache-Control", ", ,=,")], "private, max-age=100"),
        ([("Pragma", "no-cache")], "private, max-age=100, no-cache"),
        ([("Expires", IN_A_MINUTE)], "private, max-age=60"),
        ([("Date", DATE), ("Expires", IN_A_MINUTE)], "private, max-age=60"),
        ([("Expires", "0")], "private, max-age=0"),
        ([("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], "private, max-age=0"),
        ([("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Cache-Control", "max-age=60")], "private, max-age=60"),
    ],
)
def test_the_stricter_of_the_apps_wish_and_the_policys_end_counts(said: list[tuple[str, str]], expected: str) -> None:
    """`private`, at most what is left, nothing that serves past it; other caching headers are gone (pitfall c6)."""
    assert caching(amend(said, admission(), 200, NOW)) == [("cache-control", expected)]


@pytest.mark.parametrize(
    ("left", "limit", "now", "expected"),
    [(100, 3600, NOW, 100), (100, 50, NOW, 50), (100, 3600, NOW + 0.5, 99), (100, 3600, NOW + 200, 0), (100, 0, NOW, 0)],
)
def test_an_answer_is_never_older_than_what_was_shown(left: int, limit: int, now: float, expected: int) -> None:
    """A started second is no second; past the end it is zero."""
    assert amend([], admission(left=left, max_age=limit), 200, now) == [("cache-control", f"private, max-age={expected}")]


@pytest.mark.parametrize(
    ("method", "status", "said", "expected"),
    [
        ("GET", 206, [], "private, max-age=100"),
        ("GET", 304, [], "private, max-age=100"),
        ("HEAD", 200, [], "private, max-age=100"),
        ("GET", 404, [], "private, max-age=0"),
        ("GET", 302, [], "private, max-age=0"),
        ("GET", 503, [], "private, max-age=0"),
        ("PUT", 200, [], "private, max-age=0"),
        ("POST", 201, [], "private, max-age=0"),
        ("GET", 404, [("Cache-Control", "max-age=5")], "private, max-age=5"),
        ("GET", 404, [("Cache-Control", "no-cache")], "private, max-age=0, no-cache"),
    ],
)
def test_only_what_was_asked_for_is_given_an_age(method: str, status: int, said: Any, expected: str) -> None:
    """A failure, a redirect or the answer to an upload is kept only if the app says so."""
    assert caching(amend(said, admission(method=method), status, NOW)) == [("cache-control", expected)]


def test_an_answer_to_an_unsigned_request_keeps_what_the_app_said() -> None:
    """Nobody was authorised for it: caching is the app's business."""
    said = [("Cache-Control", "public, max-age=9"), ("Expires", IN_A_MINUTE), ("Set-Cookie", "a=b"), ("Pragma", "x")]

    assert amend(said, admission(left=None), 200, NOW) == said


def test_cookies_stay_in_private_answers_and_leave_shared_ones() -> None:
    """In a shared cache a cookie is somebody else's session (CVE-2024-26144)."""
    said = [("Set-Cookie", "a=b"), ("X-Other", "c")]

    assert amend(said, admission(), 200, NOW)[:2] == said
    assert amend(said, admission(public_cache=True), 200, NOW) == [("X-Other", "c"), ("cache-control", "public, max-age=100")]


def test_vary_joins_what_the_app_said() -> None:
    """Names once, whatever their case; a `*` of the app's stands for all."""
    asked = admission(left=None, vary=("Origin", "Referer"))

    assert amend([], asked, 200, NOW) == [("vary", "Origin, Referer")]
    said = [("Vary", "Accept, origin"), ("vary", "Accept-Encoding,")]
    assert amend(said, asked, 200, NOW) == [("vary", "Accept, origin, Accept-Encoding, Referer")]
    assert amend([("Vary", "*")], asked, 200, NOW) == [("vary", "*")]


@pytest.mark.parametrize(
    ("said", "origin", "expected"),
    [
        ([], "https://a.example", ["https://a.example"]),
        (["*"], "https://a.example", ["https://a.example"]),
        (["https://a.example"], "https://a.example", ["https://a.example"]),
        (["*"], None, ["*"]),
        ([], None, []),
    ],
)
def test_the_approved_origin_is_named_once(said: list[str], origin: str | None, expected: list[str]) -> None:
    """A blanket `*` of the app's gives way to it; the app's own answer stays."""
    headers = [("Access-Control-Allow-Origin", value) for value in said]
    amended = amend(headers, admission(left=None, vary=("Origin",), origin=origin), 200, NOW)

    assert [value for name, value in amended if name.lower() == "access-control-allow-origin"] == expected


def test_the_short_way_says_the_same_as_the_long_one() -> None:
    """A door that sees none of `TOUCHED` appends `additions`; that is what `amend` would have done."""
    said = [("content-type", "image/png"), ("etag", '"x"'), ("content-length", "3")]
    asked = admission(vary=("Origin", "Referer"), origin="https://a.example")

    assert not {name for name, _ in said} & TOUCHED
    assert amend(said, asked, 200, NOW) == said + additions(asked, 200, NOW)


def test_a_refusal_that_was_only_reported_changes_no_header() -> None:
    """Such an answer is as the app made it, but for `Vary`."""
    decision = Decision(allowed=False, reason=Reason.MISSING, authenticated=True, vary=("Origin",))
    said = [("Cache-Control", "public, max-age=9")]

    assert amend(said, Admission(None, decision, "/x"), 200, NOW) == [*said, ("vary", "Origin")]
