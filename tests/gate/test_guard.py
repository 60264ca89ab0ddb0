"""The guard by itself: heads in, verdicts out, with the clock and the table of applications in the test's hand."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import Any
from urllib.parse import unquote

import pytest
from door_apps import basic

from secure_delivery import (
    Application,
    ConfigurationError,
    Decision,
    Guard,
    Policy,
    Reason,
    Reply,
    Rule,
    Secret,
    SecretRing,
    SecretState,
    SignedPolicy,
    Whitelist,
)
from secure_delivery.asgi import SecureDelivery as AsgiDoor
from secure_delivery.gate.heads import Admission, Head, WantsBody
from secure_delivery.wsgi import SecureDelivery as WsgiDoor

FIRST = "first-secret-Zq7Lw2Xv9Bn4Tf6Yh1Rm8Jd5"
SECOND = "second-secret-Kp3Wc8Ns6Vb1Qx5Ge9Ut2Ol7"
NOW = 1_800_000_000
RULES = [Rule("/photos/<handle>", GET="read", DELETE="remove"), Rule("/<key>/files/<handle>", GET="read")]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


def application(*secrets: str, **switches: Any) -> Application:
    switches.setdefault("require_policy", True)
    return Application(secrets=SecretRing.of(*(secrets or [FIRST])), **switches)


def signed(secret: str = FIRST, *, expiry: int = NOW + 100, **limits: Any) -> SignedPolicy:
    return Policy(expiry=expiry, **limits).sign(secret.encode())


def head(path: str = "/photos/x", shown: SignedPolicy | None = None, method: str = "GET", **more: Any) -> Head:
    return Head(method, path, shown.as_query() if shown else more.pop("query", ""), **more)


def status(verdict: Any) -> int:
    """200 for what may pass, else the status of the refusal."""
    return verdict.status if isinstance(verdict, Reply) else 200


# ------------------------------------------------------------------------------------------------------------ start-up


def test_a_guard_without_rules_does_not_start() -> None:
    """It would guard nothing, and look as if it did."""
    with pytest.raises(ConfigurationError, match="rule"):
        Guard(application(), [])


def test_a_guard_without_a_secret_in_force_does_not_start() -> None:
    """Revoked secrets verify nothing: fail closed at start-up."""
    ring = SecretRing(secrets=(Secret(value=FIRST.encode(), state=SecretState.REVOKED),))
    with pytest.raises(ConfigurationError, match="no active secret"):
        Guard(Application(secrets=ring), RULES)


# ---------------------------------------------------------------------------------------------------- what is remembered


def test_the_same_request_is_judged_again_when_its_policy_ends() -> None:
    """A decision is remembered until the expiry, not a moment longer (security promise 25)."""
    clock = Clock()
    guard = Guard(application(), RULES, clock=clock)
    request = head(shown=signed())
    for now, expected in ((NOW, 200), (NOW + 99.9, 200), (NOW + 100, 403), (NOW + 1000, 403), (NOW + 99, 200)):
        clock.now = now
        assert status(guard.check(request)) == expected, now


def test_leeway_prolongs_what_is_remembered_by_itself() -> None:
    """The remembered decision ends where a fresh one would."""
    clock = Clock()
    guard = Guard(application(leeway=30), RULES, clock=clock)
    request = head(shown=signed())
    for now, expected in ((NOW, 200), (NOW + 129, 200), (NOW + 130, 403)):
        clock.now = now
        assert status(guard.check(request)) == expected, now


def test_a_secret_that_only_verifies_for_a_while_ends_what_it_signed() -> None:
    """The end of a grace period counts, though the policy would live longer."""
    clock = Clock()
    ring = SecretRing.of(FIRST).rotated(Secret(value=SECOND.encode()), now=NOW, grace=50)
    guard = Guard(Application(secrets=ring, require_policy=True), RULES, clock=clock)
    request = head(shown=signed(FIRST, expiry=NOW + 5000))
    for now, expected in ((NOW, 200), (NOW + 49, 200), (NOW + 50, 403)):
        clock.now = now
        assert status(guard.check(request)) == expected, now


def test_a_rotated_secret_counts_from_the_next_request() -> None:
    """The look-up function is asked every time; what the old secret signed is refused at once (security promise 6)."""
    table = {"app": application(FIRST)}
    guard = Guard(lambda _: table["app"], RULES, clock=Clock())
    old, new = head(shown=signed(FIRST)), head(shown=signed(SECOND))
    assert [status(guard.check(old)), status(guard.check(old)), status(guard.check(new))] == [200, 200, 403]
    table["app"] = application(SECOND)
    assert [status(guard.check(old)), status(guard.check(new)), status(guard.check(new))] == [403, 200, 200]


def test_an_application_that_is_gone_is_gone_from_the_next_request() -> None:
    """Also when its key stood in the path, and another application would answer for requests without a key."""
    default = application(FIRST)
    table: dict[str | None, Application] = {None: default, "K1": default}
    guard = Guard(table.get, RULES, clock=Clock())
    request = head("/K1/files/x", signed(FIRST))
    assert [status(guard.check(request)), status(guard.check(request))] == [200, 200]
    del table["K1"]
    assert status(guard.check(request)) == 401


def test_requests_that_differ_in_anything_are_judged_by_themselves() -> None:
    """What one page may do is not remembered for another."""
    guard = Guard(application(require_policy=False, delivery_whitelist=Whitelist(["a.example"])), RULES, clock=Clock())
    asked = [None, "https://a.example", "https://b.example", "https://a.example", "null"]

    assert [status(guard.check(head(origin=origin))) for origin in asked] == [200, 200, 403, 200, 403]


def test_what_is_remembered_stays_bounded() -> None:
    """Neither many requests nor long ones make the memory grow without end."""
    guard = Guard(application(require_policy=False), RULES, clock=Clock())
    for number in range(6000):
        guard.check(head(f"/photos/{number}"))
    assert len(guard._memo) <= 4096
    known = len(guard._memo)
    for name in ("referer", "authorization", "content_type"):
        guard.check(head("/photos/long", **{name: "x" * 5000}))
    assert len(guard._memo) == known


# --------------------------------------------------------------------------------------------------------- applications


@pytest.mark.parametrize(
    ("request_head", "key"),
    [
        (head("/photos/x"), None),
        (head("/photos/x", query="key=K1"), "K1"),
        (head("/photos/x", query="a=1&key=K%31"), "K1"),
        (head("/photos/x", query="%6bey=K1"), "K1"),
        (head("/photos/x", query="monkey=K1"), None),
        (head("/K2/files/x", query="key=K1"), "K2"),
    ],
)
def test_the_api_key_comes_from_the_path_else_from_the_query(request_head: Head, key: str | None) -> None:
    """The look-up gets the key as the client sent it, decoded once."""
    asked: list[str | None] = []

    def look_up(api_key: str | None) -> Application:
        asked.append(api_key)
        return application(require_policy=False)

    assert status(Guard(look_up, RULES, clock=Clock()).check(request_head)) == 200
    assert asked == [key]


def test_two_api_keys_are_refused() -> None:
    """Which of them the app would read is not known here."""
    guard = Guard(lambda _: application(require_policy=False), RULES, clock=Clock())
    for query in ("key=a&key=b", "key=a&%6Bey=a"):
        assert status(guard.check(head(query=query))) == 400
    assert status(Guard(application(require_policy=False), RULES).check(head(query="key=a&key=b"))) == 200


def test_an_unknown_application_is_401() -> None:
    """An API key that nobody has, and none where one is needed."""
    guard = Guard(lambda _: None, RULES, clock=Clock())
    verdict = guard.check(head())
    assert isinstance(verdict, Reply)
    assert (verdict.status, b"unknown_application" in verdict.body) == (401, True)
    assert guard.counts == {"unknown_application": 1}
    preflight = head(method="OPTIONS", origin="https://a.example", preflight="GET")
    assert status(guard.check(preflight)) == 401


# ------------------------------------------------------------------------------------------------------------- refusing


def test_a_guard_that_reports_says_and_counts_whom_it_would_have_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Every kind of refusal: each lets the request through, with the verdict for the app to read, and is counted once."""
    guard = Guard(
        application(upload_whitelist=Whitelist(["a.example"]), delivery_whitelist=Whitelist(["a.example"])),
        RULES,
        clock=Clock(),
        report_only=True,
    )
    good = signed()
    asked = {
        "missing": head(),
        "bad_signature": head(shown=SignedPolicy(good.encoded, "0" * 64)),
        "credential_conflict": head(query=f"{good.as_query()}&{good.as_query()}"),
        "method_not_allowed": head(shown=good, method="PATCH"),
        "bad_request": head("/photos//x", good),
        "bad_task": head("/photos/security=x/y"),
        "origin_not_allowed": head(method="OPTIONS", origin="https://b.example", preflight="GET"),
    }
    with caplog.at_level(logging.WARNING, "secure_delivery.gate"):
        verdicts = {reason: guard.check(request) for reason, request in asked.items()}

    assert all(isinstance(verdict, Admission) and not verdict.decision.allowed for verdict in verdicts.values())
    assert guard.counts == dict.fromkeys(asked, 1)
    assert len(caplog.messages) == len(asked)
    assert all(message.startswith("would refuse '/photos/") for message in caplog.messages)


def test_a_guard_that_reports_lets_through_unknown_applications() -> None:
    """There is no application to speak of, and the request goes on all the same."""
    guard = Guard(lambda _: None, RULES, clock=Clock(), report_only=True)
    verdict = guard.check(head())
    assert isinstance(verdict, Admission)
    assert (verdict.application, verdict.decision.reason) == (None, Reason.UNKNOWN_APPLICATION)


def test_a_log_line_is_one_line_and_holds_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    """Control characters are escaped, long paths cut, policies and secrets left out (security promises 60, 61)."""
    guard = Guard(application(), RULES, clock=Clock())
    shown = SignedPolicy(signed().encoded, "f" * 64)
    with caplog.at_level(logging.WARNING, "secure_delivery.gate"):
        guard.check(head("/photos/x\u2028y", shown))
        guard.check(head(f"/photos/{shown.as_task()}/x"))
        guard.check(head("/photos/" + "x" * 5000))
        guard.check(head(authorization=basic("guess-of-a-secret")[1]))

    assert len(caplog.messages) == 4
    for message in caplog.messages:
        assert len(message.splitlines()) == 1
        assert len(message) < 600
        assert shown.encoded not in message
        assert "guess" not in message


def test_the_owner_may_render_a_refusal_or_leave_it() -> None:
    """`on_denied` gets decision and head; `None` means the usual answer."""
    seen: list[tuple[Reason, str]] = []

    def on_denied(decision: Decision, request: Head) -> Reply | None:
        seen.append((decision.reason, request.path))
        return Reply(404, [], b"nothing here") if request.path.endswith("x") else None

    guard = Guard(application(), RULES, clock=Clock(), on_denied=on_denied)

    assert [status(guard.check(head(path))) for path in ("/photos/x", "/photos/y")] == [404, 403]
    assert seen == [(Reason.MISSING, "/photos/x"), (Reason.MISSING, "/photos/y")]


def _explode(*_: object) -> Any:
    raise ZeroDivisionError("a fault in the owner's own function")


@pytest.mark.parametrize(
    "guard",
    [
        Guard(_explode, RULES),
        Guard(application(), RULES, on_denied=_explode),
        Guard(application(), RULES, clock=_explode),
        Guard(_explode, RULES, report_only=True),
    ],
    ids=["application", "on_denied", "clock", "report_only"],
)
def test_a_fault_inside_the_guard_is_500_and_the_app_is_not_called(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """Fail closed in both doors, whatever raises; the operator gets the traceback, the client a sentence (promise 95)."""
    called: list[str] = []

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        called.append("wsgi")

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        called.append("asgi")

    statuses: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/photos/x", "wsgi.input": io.BytesIO()}
    body = b"".join(WsgiDoor(wsgi_app, guard)(environ, lambda status, headers: statuses.append(status)))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/photos/x", "query_string": b"", "headers": []}
    asyncio.run(AsgiDoor(asgi_app, guard)(scope, send, send))

    assert (called, statuses, sent[0]["status"]) == ([], ["500 Internal Server Error"], 500)
    assert b"internal" in body
    assert sent[1]["body"] == body
    assert b"owner" not in body
    assert "ZeroDivisionError" in caplog.text


# ------------------------------------------------------------------------------------------------------ bodies and signing


def test_a_rule_that_asks_for_bodies_does_so_only_where_there_may_be_one() -> None:
    """GET, HEAD and DELETE are judged on their heads."""
    guard = Guard(application(), [Rule("/up", POST="pick", GET="read", DELETE="remove", body=True)], clock=Clock())

    assert isinstance(guard.check(head("/up", method="POST", content_type="text/plain")), WantsBody)
    assert [status(guard.check(head("/up", method=method))) for method in ("GET", "HEAD", "DELETE")] == [403, 403, 403]


def test_a_signed_url_opens_what_it_names_and_nothing_else() -> None:
    """It carries the rule's call and the path's handle, and lives at least as long as asked."""
    clock = Clock()
    guard = Guard(application(), RULES, clock=clock)
    url = guard.signed_url("/photos/a%20b?w=1#top", expires_in=600)
    path, _, query = url.removesuffix("#top").partition("?")

    assert query.startswith("w=1&policy=")
    assert status(guard.check(head(unquote(path), query=query))) == 200
    assert status(guard.check(head("/photos/c", query=query))) == 403
    assert status(guard.check(head(unquote(path), query=query, method="DELETE"))) == 403
    clock.now = NOW + 599
    assert status(guard.check(head(unquote(path), query=query))) == 200
    clock.now = NOW + 901
    assert status(guard.check(head(unquote(path), query=query))) == 403


def test_a_page_shown_twice_names_the_same_url() -> None:
    """Expiry is rounded up, so that browsers may keep what the URL names."""
    clock = Clock()
    guard = Guard(application(), RULES, clock=clock)
    clock.now = NOW + 1
    early, precise = guard.signed_url("/photos/x"), guard.signed_url("/photos/x", round_to=1)
    clock.now = NOW + 299

    assert guard.signed_url("/photos/x") == early
    assert guard.signed_url("/photos/x", round_to=1) != precise


@pytest.mark.parametrize(
    ("url", "options"),
    [("/fotos/x", {}), ("/photos/x", {"method": "PUT"}), ("/photos//x", {}), ("/photos/x", {"expires_in": 0})],
)
def test_what_would_be_refused_is_not_signed(url: str, options: dict[str, Any]) -> None:
    """No rule, no such method, a path that two routers read differently, no life."""
    with pytest.raises(ConfigurationError):
        Guard(application(), RULES, clock=Clock()).signed_url(url, **options)


def test_nobody_signs_for_an_application_that_is_not_there() -> None:
    """The look-up has the last word when signing too."""
    with pytest.raises(ConfigurationError, match="no application"):
        Guard(lambda _: None, RULES).sign()
