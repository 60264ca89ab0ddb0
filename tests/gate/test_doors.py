"""Both doors, over real sockets: every way in gives the same verdict, and bodies and headers are what they must be.

A way in is a server and a framework (`conftest.STACKS`). The cases are one table; the fixture is what varies.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any, NamedTuple

import pytest
from door_apps import CONTENT, ETAG, MARK, SECRET, basic, sign

from secure_delivery import SignedPolicy
from secure_delivery.gate.policy import sign as sign_text

APPROVED = "https://app.example.com"
FOREIGN = "https://evil.example.net"


GOOD = sign()
READ_X = sign(call=["read"], handle="x")
EXIF = sign(call=["exif"])
OLD = sign(expires_in=-5)
FORGED = SignedPolicy(GOOD.encoded, "0" * 64)


class Case(NamedTuple):
    """One request and what becomes of it: the status, and the code of the refusal or the view that answered."""

    claim: str
    variant: str
    request: str
    status: int
    says: str
    headers: tuple[tuple[str, str], ...] = ()


def _q(signed: SignedPolicy) -> str:
    return signed.as_query()


CASES = [
    Case("an open application serves without a policy", "open", "GET /photos/x", 200, "photo"),
    Case("a path that no rule matches is none of our business", "secured", f"GET /open?{_q(FORGED)}", 200, "open"),
    Case("a secured application wants a policy", "secured", "GET /photos/x", 403, "policy_required"),
    Case("a policy in the query is enough", "secured", f"GET /photos/x?{_q(GOOD)}", 200, "photo"),
    Case("the app's own parameters may surround it", "secured", f"GET /photos/x?a=1&{_q(GOOD)}&b=2", 200, "photo"),
    Case("a policy in the path is enough", "secured", f"GET /photos/{GOOD.as_task()}/x", 200, "photo"),
    Case("a policy may end the path", "secured", f"GET /photos/x/{GOOD.as_task()}", 200, "photo"),
    Case("the application's secret is enough", "secured", "GET /photos/x", 200, "photo", (basic(SECRET),)),
    Case("another secret is not", "secured", "GET /photos/x", 403, "credentials_invalid", (basic("nonsense"),)),
    Case("Basic of the app's own users is the app's", "open", "GET /photos/x", 200, "photo", (basic("pw", "ann"),)),
    Case("and shows nothing to us", "secured", "GET /photos/x", 403, "policy_required", (basic("pw", "ann"),)),
    Case("a bad signature is refused", "secured", f"GET /photos/x?{_q(FORGED)}", 403, "signature_invalid"),
    Case("even where none was needed", "open", f"GET /photos/x?{_q(FORGED)}", 403, "signature_invalid"),
    Case("an expired policy is refused", "secured", f"GET /photos/x?{_q(OLD)}", 403, "policy_expired"),
    Case("a policy covers its handle", "secured", f"GET /photos/x?{_q(READ_X)}", 200, "photo"),
    Case("and no other", "secured", f"GET /photos/y?{_q(READ_X)}", 403, "not_permitted"),
    Case("a call that is not named is refused", "secured", f"DELETE /photos/x?{_q(READ_X)}", 403, "not_permitted"),
    Case("deleting wants a policy in an open application too", "open", "DELETE /photos/x", 403, "policy_required"),
    Case("and is allowed with one", "open", f"DELETE /photos/x?{_q(GOOD)}", 200, "photo"),
    Case("EXIF must be named", "secured", f"GET /photos/x/exif?{_q(GOOD)}", 403, "not_permitted"),
    Case("and then is given", "secured", f"GET /photos/x/exif?{_q(EXIF)}", 200, "exif"),
    Case("half a credential is none", "secured", f"GET /photos/x?policy={GOOD.encoded}", 403, "policy_required"),
    Case("a policy twice is a conflict", "secured", f"GET /photos/x?{_q(GOOD)}&{_q(GOOD)}", 400, "credential_conflict"),
    Case(
        "a parameter with an encoded name counts as that parameter",
        "secured",
        f"GET /photos/x?{_q(GOOD)}&%70olicy={GOOD.encoded}",
        400,
        "credential_conflict",
    ),
    Case(
        "a policy in path and query is a conflict",
        "secured",
        f"GET /photos/{GOOD.as_task()}/x?{_q(GOOD)}",
        400,
        "credential_conflict",
    ),
    Case(
        "a policy and Basic are a conflict",
        "secured",
        f"GET /photos/x?{_q(GOOD)}",
        400,
        "credential_conflict",
        (basic(SECRET),),
    ),
    Case(
        "two Authorization headers are a conflict",
        "secured",
        "GET /photos/x",
        400,
        "credential_conflict",
        (basic(SECRET), basic("x")),
    ),
    Case(
        "two security segments are a conflict",
        "secured",
        f"GET /photos/{GOOD.as_task()}/{GOOD.as_task()}/x",
        400,
        "credential_conflict",
    ),
    Case("a malformed security segment is refused", "secured", "GET /photos/security=policy:/x", 400, "bad_task"),
    Case("on a path of the app's it is the app's", "secured", "GET /other/security=a/security=b", 404, ""),
    Case("a method without a call is refused", "open", "PATCH /photos/x", 405, "method_not_allowed"),
    Case("TRACE is refused", "open", "TRACE /photos/x", 405, "method_not_allowed"),
    Case("OPTIONS is judged as GET", "secured", "OPTIONS /photos/x", 403, "policy_required"),
    Case("and allowed as GET", "secured", f"OPTIONS /photos/x?{_q(GOOD)}", 200, "photo"),
    Case("an approved page may read", "listed", "GET /photos/x", 200, "photo", (("Origin", APPROVED),)),
    Case("a foreign page may not", "listed", "GET /photos/x", 403, "origin_not_allowed", (("Origin", FOREIGN),)),
    Case("null is no origin", "listed", "GET /photos/x", 403, "origin_not_allowed", (("Origin", "null"),)),
    Case(
        "the Referer stands in for delivery",
        "listed",
        "GET /photos/x",
        403,
        "origin_not_allowed",
        (("Referer", f"{FOREIGN}/page"),),
    ),
    Case(
        "a good Referer does not outweigh a bad Origin",
        "listed",
        "GET /photos/x",
        403,
        "origin_not_allowed",
        (("Origin", FOREIGN), ("Referer", f"{APPROVED}/")),
    ),
    Case("opening a link directly is allowed", "listed", "GET /photos/x", 200, "photo"),
    Case(
        "two Origin headers are none",
        "listed",
        "GET /photos/x",
        403,
        "origin_not_allowed",
        (("Origin", APPROVED), ("Origin", APPROVED)),
    ),
    Case(
        "two Origins in the other order neither",
        "listed",
        "GET /photos/x",
        403,
        "origin_not_allowed",
        (("Origin", FOREIGN), ("Origin", APPROVED)),
    ),
    Case("HEAD is judged as GET", "secured", f"HEAD /photos/x?{_q(GOOD)}", 200, ""),
    Case("and refused as GET", "secured", "HEAD /photos/x", 403, ""),
    Case("a range is judged like the whole", "secured", "GET /photos/x", 403, "policy_required", (("Range", "bytes=2-4"),)),
    Case("and served when allowed", "secured", f"GET /photos/x?{_q(GOOD)}", 206, "", (("Range", "bytes=2-4"),)),
    Case(
        "a copy that may be fresh is judged first",
        "secured",
        "GET /photos/x",
        403,
        "policy_required",
        (("If-None-Match", ETAG),),
    ),
    Case("and confirmed when allowed", "secured", f"GET /photos/x?{_q(GOOD)}", 304, "", (("If-None-Match", ETAG),)),
    Case("a guard that blows up lets nothing through", "broken", "GET /photos/x", 500, "internal"),
    Case("and does not touch the rest", "broken", "GET /open", 200, "open"),
    Case("a guard that reports lets through what it would refuse", "report", "GET /photos/x", 200, "photo"),
    Case("also a forged policy", "report", f"GET /photos/x?{_q(FORGED)}", 200, "photo"),
    Case("also two of them", "report", f"GET /photos/x?{_q(GOOD)}&{_q(GOOD)}", 200, "photo"),
    Case("also a method without a call", "report", "PATCH /photos/x", 405, ""),
    Case("also a security segment that is none", "report", "GET /photos/security=policy:/x", 200, "photo"),
    Case("a refusal may be rendered by the owner", "custom", "GET /photos/x", 418, ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_every_way_in_gives_the_same_verdict(stack: Any, case: Case) -> None:
    """The table above holds through every server, door and framework (security promise 95)."""
    method, target = case.request.split(" ", 1)
    answer = stack(case.variant, method, target, headers=case.headers)

    assert answer.status == case.status
    if case.status >= 400 and case.says:
        assert answer.code == case.says
    elif case.says:
        assert answer.json["view"] == case.says
    if case.status == 206:
        assert answer.body == CONTENT[2:5]


def test_a_refusal_is_json_that_nobody_keeps_and_nobody_sniffs(stack: Any) -> None:
    """403 with code and sentence only; `no-store`, `nosniff`, `Vary` for what it depended on (security promises 9, 32)."""
    answer = stack("both", "GET", f"/photos/secret-name?{FORGED.as_query()}", headers=[("Origin", APPROVED)])

    assert (answer.status, answer.json) == (
        403,
        {"error": {"code": "signature_invalid", "message": "The signature is not valid."}},
    )
    assert answer.one("content-type") == "application/json"
    assert answer.one("content-length") == str(len(answer.body))
    assert answer.one("cache-control") == "no-store"
    assert answer.one("x-content-type-options") == "nosniff"
    assert answer.one("vary") == "Origin, Referer"
    assert answer.one("access-control-allow-origin") == APPROVED, "the approved page must be able to read why"


def test_a_refused_head_says_what_the_refused_get_would(stack: Any) -> None:
    """HEAD of a refusal has the headers of GET and no body."""
    answer = stack("secured", "HEAD", "/photos/x")

    assert (answer.status, answer.body) == (403, b"")
    assert answer.one("content-length") == str(len(stack("secured", "GET", "/photos/x").body))


def test_the_app_finds_the_verdict_and_no_credential_in_the_path(stack: Any) -> None:
    """`secure_delivery.decision` is there, and the `security=` segment is gone."""
    answer = stack("secured", "GET", f"/photos/{GOOD.as_task()}/a%20b")

    assert answer.json == {"view": "photo", "method": "GET", "decision": "ok", "handle": "a b", "path": "/photos/a b"}


def test_a_policy_of_the_standard_alphabet_may_stand_in_the_path(stack: Any) -> None:
    """The official Node client signs text with `/` in it; quoted, it is one segment."""
    text = base64.b64encode(json.dumps({"expiry": int(time.time()) + 600, "path": "~?~?~>"}).encode()).decode()
    assert "/" in text
    signed = SignedPolicy(text, sign_text(text, SECRET.encode()))
    answer = stack("secured", "GET", f"/photos/{signed.as_task()}/x")

    assert (answer.status, answer.json["handle"]) == (200, "x")


def test_an_untouched_path_keeps_its_query_body_and_headers(stack: Any) -> None:
    """What no rule matches reaches the app as it was sent, and its answer is not touched."""
    body = bytes(range(256))
    said = [("Cache-Control", "public, max-age=9"), ("Vary", "Accept")]
    headers = [(MARK, base64.b64encode(json.dumps(said).encode()).decode()), ("Content-Type", "application/octet-stream")]
    answer = stack("both", "POST", f"/open?a=1&policy=x&{GOOD.as_query()}", headers=headers, body=body)

    assert answer.json["body"] == body.decode("latin-1")
    assert answer.json["query"] == f"a=1&policy=x&{GOOD.as_query()}"
    assert answer.json["decision"] is None
    assert (answer.one("cache-control"), answer.one("vary")) == ("public, max-age=9", "Accept")


# ------------------------------------------------------------------------------------------------------------- caching


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ([], 200, "private, max-age={left}"),
        ([["Cache-Control", "public, max-age=86400, s-maxage=9"]], 200, "private, max-age={left}"),
        ([["Cache-Control", "public, max-age=30, immutable"]], 200, "private, max-age=30"),
        ([["Cache-Control", "no-store"]], 200, "no-store"),
        ([["Expires", "Thu, 01 Jan 1970 00:00:00 GMT"]], 200, "private, max-age=0"),
        ([], 404, "private, max-age=0"),
        ([], 500, "private, max-age=0"),
    ],
)
def test_an_answer_to_a_signed_request_is_private_and_not_older_than_the_policy(
    stack: Any, said: list[list[str]], status: int, expected: str
) -> None:
    """`private`, for at most what the policy has left; what the app said counts where it is stricter (promise 25)."""
    mark = base64.b64encode(json.dumps(said).encode()).decode()
    signed = sign(expires_in=100)
    answer = stack("secured", "GET", f"/photos/x?{signed.as_query()}", headers=[(MARK, mark), ("X-Status", str(status))])
    value = answer.one("cache-control")
    assert value is not None

    assert answer.status == status
    if "{left}" in expected:
        prefix, _, age = value.rpartition("=")
        assert prefix == "private, max-age"
        assert 60 < int(age) <= 100
    else:
        assert value == expected
    assert answer.all("expires") == []


def test_an_approved_origin_is_named_once_and_the_answer_varies(stack: Any) -> None:
    """`Vary` joins the app's own, and a blanket `*` of the app's gives way to the approved origin (promise 32)."""
    said = base64.b64encode(json.dumps([["Vary", "accept, origin"], ["Access-Control-Allow-Origin", "*"]]).encode()).decode()
    answer = stack("listed", "GET", "/photos/x", headers=[("Origin", APPROVED), (MARK, said)])

    assert answer.one("access-control-allow-origin") == APPROVED
    assert [name.strip().lower() for name in (answer.one("vary") or "").split(",")] == ["accept", "origin", "referer"]


def test_a_shared_cache_is_given_no_cookie(stack: Any) -> None:
    """Where the operator lets shared caches keep answers, a cookie of the app's does not go with them."""
    said = base64.b64encode(json.dumps([["Set-Cookie", "session=1"]]).encode()).decode()
    answer = stack("public", "GET", f"/photos/x?{GOOD.as_query()}", headers=[(MARK, said)])

    assert answer.one("cache-control") == "public, max-age=60"
    assert answer.all("set-cookie") == []


# ---------------------------------------------------------------------------------------------------------- preflights


def _preflight(stack: Any, variant: str, target: str, method: str, origin: str = APPROVED) -> Any:
    return stack(variant, "OPTIONS", target, headers=[("Origin", origin), ("Access-Control-Request-Method", method)])


@pytest.mark.parametrize("variant", ["listed", "both"])
def test_a_preflight_is_answered_from_the_whitelist(stack: Any, variant: str) -> None:
    """An approved page learns what it may send, whether or not the request itself will need a policy."""
    answer = _preflight(stack, variant, "/upload", "POST")

    assert (answer.status, answer.body) == (204, b"")
    assert answer.one("access-control-allow-origin") == APPROVED
    assert answer.one("access-control-allow-methods") == "OPTIONS, POST"
    assert answer.one("access-control-allow-credentials") is None
    assert "Origin" in (answer.one("vary") or "")


@pytest.mark.parametrize("variant", ["listed", "both"])
@pytest.mark.parametrize("origin", [FOREIGN, "null", "https://app.example.com.evil.example.net"])
def test_a_preflight_of_a_foreign_page_is_refused(stack: Any, variant: str, origin: str) -> None:
    """Also in a secured application, where the missing policy must not hide that the page is foreign."""
    answer = _preflight(stack, variant, "/upload", "POST", origin)

    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert answer.one("access-control-allow-origin") is None
    assert answer.one("vary") == "Origin"


def test_a_preflight_without_a_whitelist_is_the_apps_own(stack: Any) -> None:
    """The app answers it, under the path without the credential."""
    answer = _preflight(stack, "secured", f"/photos/{GOOD.as_task()}/x", "GET")

    assert (answer.status, answer.json["view"], answer.json["path"]) == (200, "photo", "/photos/x")


def test_a_preflight_for_a_method_without_a_call_is_refused(stack: Any) -> None:
    """What is announced would be answered 405, and so is the announcement."""
    assert _preflight(stack, "listed", "/photos/x", "PATCH").status == 405
