"""Policies required by kind of request, and requests that are only reported: one table through the judgement and both doors."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from secure_delivery.gate import asgi, wsgi
from secure_delivery.gate.decide import decide, who_asks
from secure_delivery.gate.guard import _TOLD, Guard
from secure_delivery.gate.heads import Admission, Head, Reply
from secure_delivery.gate.model import Application, Decision, RequestFacts, SecretRing
from secure_delivery.gate.policy import Call, Policy, SignedPolicy
from secure_delivery.gate.rules import Rule

NOW = 1_700_000_000
SECRET = "a secret that is long enough to count"
CASES = json.loads((Path(__file__).parents[1] / "vectors" / "required.json").read_text("utf-8"))["cases"]

#: The calls of each thing that is asked for.
CALLS = {
    "upload": ["pick"],
    "delivery": ["read"],
    "conversion": ["convert"],
    "metadata": ["stat"],
    "storing": ["convert", "pick", "store"],
    "overwriting": ["write"],
    "deleting": ["remove"],
    "exif": ["stat", "exif"],
}


def application(**switches: Any) -> Application:
    lists = {name: tuple(switches.pop(name)) for name in ("required", "reported") if name in switches}
    return Application(secrets=SecretRing.of(SECRET), **lists, **switches)


class Shown(NamedTuple):
    """What a request shows, in a query and in a header."""

    signed: SignedPolicy | None = None
    secret: str | None = None

    @property
    def query(self) -> str:
        return "" if self.signed is None else self.signed.as_query()

    @property
    def authorization(self) -> str | None:
        return None if self.secret is None else "Basic " + base64.b64encode(f"app:{self.secret}".encode()).decode()


def shown(raw: dict[str, Any]) -> Shown:
    good = Policy(expiry=NOW + 100, call=frozenset(Call)).sign(SECRET.encode())
    return {
        "nothing": Shown(),
        "policy": Shown(good),
        "forged": Shown(SignedPolicy(good.encoded, "0" * 64)),
        "secret": Shown(None, SECRET),
    }[raw["shows"]]


def guard(raw: dict[str, Any]) -> Guard:
    return Guard(application(**raw["application"]), [Rule("/door", GET=CALLS[raw["asks"]])], clock=lambda: NOW)


def _judge(raw: dict[str, Any]) -> Decision:
    signed, secret = shown(raw)
    asked = RequestFacts(
        calls=frozenset(map(Call, CALLS[raw["asks"]])),
        signed=signed,
        secret=secret,
        origin=raw["origin"],
        referer=raw["referer"],
    )
    return decide(application(**raw["application"]), asked, now=NOW)


def _through_wsgi(raw: dict[str, Any]) -> Decision | None:
    passed: list[Decision] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        passed.append(environ["secure_delivery.decision"])
        start_response("200 OK", [])
        return [b""]

    asked = shown(raw)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/door", "QUERY_STRING": asked.query, "wsgi.input": None}
    named = {"HTTP_ORIGIN": raw["origin"], "HTTP_REFERER": raw["referer"], "HTTP_AUTHORIZATION": asked.authorization}
    environ |= {name: value for name, value in named.items() if value is not None}

    def start(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
        return lambda _: None

    b"".join(wsgi.SecureDelivery(app, guard(raw))(environ, start))
    return passed[0] if passed else None


def _through_asgi(raw: dict[str, Any]) -> Decision | None:
    passed: list[Decision] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["secure_delivery.decision"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        pass

    async def receive() -> Any:
        raise AssertionError("nobody needs a body here")

    asked = shown(raw)
    named = {"origin": raw["origin"], "referer": raw["referer"], "authorization": asked.authorization}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/door",
        "query_string": asked.query.encode("ascii"),
        "headers": [(name.encode(), value.encode()) for name, value in named.items() if value is not None],
    }
    running = asgi.SecureDelivery(app, guard(raw))(scope, receive, send)
    with pytest.raises(StopIteration):  # nothing here waits for anything: one step runs it to its end
        running.send(None)
    return passed[0] if passed else None


@pytest.mark.parametrize("way", [_judge, _through_wsgi, _through_asgi], ids=["decide", "wsgi", "asgi"])
@pytest.mark.parametrize("raw", CASES, ids=[raw["id"] for raw in CASES])
def test_table(way: Callable[[dict[str, Any]], Decision | None], raw: dict[str, Any]) -> None:
    """A kind that is required refuses; one that is reported passes, and the app behind the door reads that it would not."""
    decision = way(raw)
    passed = decision is not None and decision.allowed
    assert passed is (raw["expect"] == "allow")
    if decision is not None:
        assert (decision.would_refuse, decision.reported) == (bool(raw["reports"]), tuple(raw["reports"]))


@pytest.mark.parametrize("raw", [raw for raw in CASES if raw["reports"]], ids=lambda raw: raw["id"])
def test_required_instead_of_reported_the_same_request_is_refused(raw: dict[str, Any]) -> None:
    """What is reported is what comes true, kind by kind."""
    for kind in raw["reports"]:
        assert not decide_required(raw, kind).allowed


def decide_required(raw: dict[str, Any], kind: str) -> Decision:
    return _judge(raw | {"application": raw["application"] | {"required": [kind]}})


@pytest.mark.parametrize("raw", [raw for raw in CASES if raw["reports"]], ids=lambda raw: raw["id"])
def test_who_asks_is_the_host_of_the_page(raw: dict[str, Any]) -> None:
    """By Origin, else by Referer, in the spelling that whitelists compare; nobody where neither can be read."""
    assert who_asks(RequestFacts(calls=frozenset(), origin=raw["origin"], referer=raw["referer"])) == raw["who"]


# ----------------------------------------------------------------------------------------------------------- the log

RULES = [Rule("/up", POST="pick", GET=["read", "convert"])]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "secure_delivery.gate")
    return caplog


def test_the_log_tells_of_each_kind_and_host_once(lines: pytest.LogCaptureFixture) -> None:
    """However often they ask: also where the guard remembers what it decided."""
    watching = Guard(application(reported=("upload", "delivery", "conversion")), RULES, clock=lambda: NOW)
    for _ in range(3):
        for origin in ("https://a.example", "https://b.example", None):
            for method in ("GET", "POST"):
                verdict = watching.check(Head(method, "/up", origin=origin))
                assert isinstance(verdict, Admission) and verdict.decision.would_refuse
    ends = ("from a.example", "from b.example", "from nowhere in particular")
    expected = [f"would refuse {kind} {end}, if a policy were required" for end in ends for kind in _KINDS]
    assert sorted(lines.messages) == sorted(expected)
    assert not watching.counts, "nobody was refused"


_KINDS = ("delivery", "conversion", "upload")


def test_the_log_is_bounded_whatever_strangers_call_themselves(lines: pytest.LogCaptureFixture) -> None:
    """After so many hosts one more line says that there are more, and the requests still pass."""
    watching = Guard(application(reported=("upload",)), RULES, clock=lambda: NOW)
    for number in range(_TOLD + 50):
        assert isinstance(watching.check(Head("POST", "/up", origin=f"https://h{number}.example")), Admission)
    assert len(lines.messages) == _TOLD + 1
    assert lines.messages[-1].startswith("more requests would be refused")


def test_views_with_a_guard_of_their_own_are_told_of_too(lines: pytest.LogCaptureFixture) -> None:
    """`guard.require` hands the same decision to the view."""
    watching = Guard(application(reported=("metadata",)), RULES, clock=lambda: NOW)
    decision = watching.decide_facts(RequestFacts(calls=frozenset({Call.STAT}), referer="https://a.example/x"))
    assert (decision.allowed, decision.would_refuse) == (True, True)
    assert lines.messages == ["would refuse metadata from a.example, if a policy were required"]


def test_what_is_required_from_now_on_is_refused_from_now_on() -> None:
    """Although the guard remembered that the same request may pass."""
    current = [application(reported=("delivery", "conversion"))]
    watching = Guard(lambda _: current[0], RULES, clock=lambda: NOW)
    asked = Head("GET", "/up")
    assert all(isinstance(watching.check(asked), Admission) for _ in range(2))
    current[0] = application(required=("conversion",), reported=("delivery",))
    assert isinstance(watching.check(asked), Reply)


def test_a_forged_host_is_one_harmless_line(lines: pytest.LogCaptureFixture) -> None:
    """Control characters never reach the log: what cannot be read as a host is nobody's (security promise 61)."""
    watching = Guard(application(reported=("upload",)), RULES, clock=lambda: NOW)
    for origin in ("https://a.example\nERROR all is lost", "https://\x1b[31m", "https://" + "x" * 5000):
        watching.check(Head("POST", "/up", origin=origin))
    assert lines.messages == ["would refuse upload from nowhere in particular, if a policy were required"]
