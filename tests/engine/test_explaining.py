"""Judgements in words, warnings of policies, whitelists tried out, and what people paste."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine import explaining, pasted, policy_warnings, whitelist_try
from secure_delivery.gate.decide import STEPS
from secure_delivery.gate.errors import BadRequest, Reason
from secure_delivery.gate.hosts import parse_origin
from secure_delivery.gate.model import Application, RequestFacts, SecretRing
from secure_delivery.gate.policy import Call, Policy, SignedPolicy
from secure_delivery.gate.whitelist import Whitelist

SECRET = "0123456789abcdefghijABCDEFGHIJ_-"
NOW = 1_800_000_000
APPLICATION = Application(secrets=SecretRing.of(SECRET), require_policy=True)


# ------------------------------------------------------------------------------------------------------------ explanations


def test_every_step_is_a_question_and_every_refusal_has_an_advice() -> None:
    assert [name for name, _ in STEPS] == list(explaining.QUESTIONS)
    assert set(explaining.ADVICE) == set(Reason) - {Reason.OK, Reason.OPEN}


def test_a_judgement_is_told_with_its_steps_and_what_to_do() -> None:
    signed = APPLICATION.sign(expires_in=60, now=NOW, call=["read"], handle="h" * 21)
    facts = RequestFacts(calls=frozenset({Call.CONVERT}), signed=signed, handle="h" * 21)
    told = explaining.told(APPLICATION, facts, now=NOW)
    assert (told["allowed"], told["reason"], told["client_sees"]["code"]) == (False, "call_not_allowed", "not_permitted")
    assert told["todo"] == explaining.ADVICE[Reason.CALL_NOT_ALLOWED]
    assert [step["verdict"] for step in told["steps"]].count("refuse") == 1
    assert all(step["note"] for step in told["steps"]), "a step that has nothing to say says so"
    assert told["policy"]["verified"] and '"read"' in told["policy"]["text"]
    allowed = explaining.told(APPLICATION, RequestFacts(calls=frozenset({Call.READ}), signed=signed, handle="h" * 21), now=NOW)
    assert (allowed["allowed"], allowed["todo"]) == (True, "")


@given(encoded=st.text(max_size=200), signature=st.text(max_size=80))
def test_no_text_of_a_credential_makes_an_explanation_fail_or_verify(encoded: str, signature: str) -> None:
    facts = RequestFacts(calls=frozenset({Call.READ}), signed=SignedPolicy(encoded, signature))
    told = explaining.told(APPLICATION, facts, now=NOW)
    assert not told["allowed"] and not told["policy"]["verified"]
    right = APPLICATION.sign(expires_in=60, now=NOW)
    assert Policy.decode(right.encoded).sign(SECRET.encode()).signature not in str(told)


def test_a_policy_that_is_signed_and_makes_no_sense_is_shown_as_signed() -> None:
    from secure_delivery.gate.policy import sign

    for encoded in ("bnVsbA==", "eyJleHBpcnkiOiJzb29uIn0=", "_w=="):
        said = explaining.shown_policy(APPLICATION, SignedPolicy(encoded, sign(encoded, SECRET.encode())), now=NOW)
        assert said["verified"] and said["expiry"] is None


# ---------------------------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("limits", "regex", "codes"),
    [
        ({"call": ["read"], "handle": "h"}, "full", []),
        ({"call": ["pick"], "path": "/a/.*", "max_size": 5}, "full", []),
        ({}, "full", ["no_call", "no_handle"]),
        ({"call": ["read"]}, "full", ["no_handle"]),
        ({"call": ["convert"], "url": "https://a/.*"}, "full", ["no_handle"]),
        ({"call": ["pick"], "expires_in": 86_401}, "full", ["long"]),
        ({"call": ["pick"], "expires_in": 86_400}, "full", []),
        ({"call": ["pick"], "path": "a"}, "search", ["unanchored"]),
        ({"call": ["pick"], "path": "^a$"}, "search", []),
        ({"call": ["pick"], "path": "^a|b$"}, "search", ["alternatives"]),
        ({"call": ["pick"], "path": "^(a|b)$"}, "search", []),
        ({"call": ["pick"], "path": "^[a|b]\\|$"}, "search", []),
        ({"call": ["pick"], "path": "a"}, "full", []),
        ({"call": ["pick"], "handle": "h"}, "full", ["handle_upload"]),
        ({"call": ["store"]}, "full", ["needs_also"]),
        ({"call": ["read"], "handle": "h", "path": "a", "max_size": 1}, "full", ["idle", "idle"]),
        ({"call": ["pick"], "min_size": 2, "max_size": 1}, "full", ["empty"]),
    ],
)
def test_a_policy_is_warned_of(limits: dict[str, Any], regex: Any, codes: list[str]) -> None:
    application = Application(secrets=SecretRing.of(SECRET), regex=regex)
    policy = Policy.lasting(limits.pop("expires_in", 60), now=NOW, **limits)
    assert [each.code for each in policy_warnings.warnings(policy, application, now=NOW)] == codes


# -------------------------------------------------------------------------------------------------------------- whitelists


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed", "why"),
    [
        ("example.com", "https://example.com", True, "names this host, on any port"),
        ("example.com:8080", "https://example.com:8080", True, "and the port 8080"),
        ("*.example.com", "https://www.example.com", True, "* stands for www"),
        ("*.{a,b}.org", "https://x.b.org", True, "One of the texts"),
        ("[::1]:8080", "http://[::1]:8080", True, "names this host"),
        ("example.com:8080", "https://example.com", False, "on port 8080"),
        ("*.example.com", "https://example.com", False, "not example.com itself"),
        ("example.com", "https://www.example.com", False, "not names below it"),
        ("sub.*.com", "https://sub.d1.d2.com", False, "one name less"),
        ("example.com", "https://evil.net", False, "No pattern covers it."),
        ("example.com", "null", False, "not an origin"),
        ("example.com", "https://example.com@evil.net", False, "not an origin"),
    ],
)
def test_a_page_is_tried_and_told_why(pattern: str, origin: str, allowed: bool, why: str) -> None:
    said = whitelist_try.tried(origin, Whitelist([pattern]), Whitelist([]))
    assert (said["upload"]["allowed"], said["delivery"]["allowed"]) == (allowed, said["delivery"]["pattern"] is None)
    assert why in said["upload"]["why"], said
    assert bool(said["malformed"]) is (said["host"] is None)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://a.example.org/x?y#z", "https://a.example.org"),
        ("a.example.org", "https://a.example.org"),
        ("a.example.org:81/x", "https://a.example.org:81"),
        ("HTTP://A.example.org/", "http://A.example.org"),
    ],
)
def test_what_stands_in_an_address_bar_is_taken_for_the_origin_that_it_sends(text: str, origin: str) -> None:
    said = whitelist_try.tried(text, Whitelist(["a.example.org"]), Whitelist(["a.example.org"]))
    assert (said["origin"], said["upload"]["allowed"], bool(said["remark"])) == (origin, True, True)


@given(text=st.text(max_size=80), pattern=st.sampled_from(["*", "*.example.org", "[::1]", "a.{b,c}:80", "x?.y"]))
def test_no_text_makes_a_trial_fail_and_verdicts_are_those_of_the_gate(text: str, pattern: str) -> None:
    whitelist = Whitelist([pattern])
    said = whitelist_try.tried(text, whitelist, whitelist)
    host = parse_origin(said["origin"])
    expected = host is not None and whitelist.allows(host)
    assert said["upload"]["allowed"] is said["delivery"]["allowed"] is expected


def test_lines_are_checked_each_for_itself() -> None:
    lines = whitelist_try.checked(["A.example.org", "b(", "münchen.example"])
    assert [(line.saved, bool(line.fault)) for line in lines] == [
        ("a.example.org", False),
        ("", True),
        ("xn--mnchen-3ya.example", False),
    ]
    many = whitelist_try.checked([f"a{n}.example.org" for n in range(100)])
    assert [bool(line.fault) for line in many] == [False] * 20 + [True] * 41
    assert not whitelist_try.told(["b("], None, "upload")["good"]
    assert whitelist_try.told([], None, "upload")["missing_means"] == "deny"
    assert whitelist_try.told([], None, "delivery")["missing_means"] == "allow"


# ----------------------------------------------------------------------------------------------------------------- pasted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/x?a=b", {"path": "/x", "query": "a=b", "host": ""}),
        ("https://u:p@files.example.org:8/x", {"path": "/x", "host": "files.example.org:8"}),
        ("files.example.org/x?a=b", {"path": "/x", "host": "files.example.org"}),
        ("A" * 21, {"path": "/" + "A" * 21}),
        ("https://a/x\n  y", {"path": "/xy"}),
        ("curl -XDELETE https://a/x", {"method": "DELETE", "path": "/x"}),
        ("curl -I https://a/x", {"method": "HEAD"}),
        ("curl -T file https://a/x", {"method": "PUT", "path": "/x"}),
        ("curl -o out -e https://b/ https://a/x", {"referer": "https://b/", "path": "/x", "method": ""}),
        ("curl https://a/x -H 'origin:https://b' -H 'Content-Length: 7'", {"origin": "https://b", "size": 7}),
        ("curl -d a=b https://a/x", {"method": "POST"}),
        ("curl -F policy=e30= -F signature=ab https://a/x", {"signed": SignedPolicy("e30=", "ab"), "method": "POST"}),
        ("curl -u app:S -X post https://a/x", {"secret": "S", "method": "POST"}),
        ("curl -u me:S https://a/x", {"secret": None}),
        ("curl -H 'Authorization: Basic YXBwOlM=' https://a/x", {"secret": "S"}),
        ("policy=e30%3D&signature=ab", {"signed": SignedPolicy("e30=", "ab"), "path": ""}),
        ("security=policy:e30=,signature:ab", {"signed": SignedPolicy("e30=", "ab"), "path": ""}),
        ("/security=policy:e30=,signature:ab/" + "A" * 21, {"signed": None}),
    ],
)
def test_what_is_pasted_is_read_as_a_person_would(text: str, expected: dict[str, Any]) -> None:
    found = pasted.read(text)
    assert {name: getattr(found, name) for name in expected} == expected


@given(st.text(max_size=300) | st.text(max_size=100).map(lambda text: f"curl {text}"))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        pasted.read(text)
    except BadRequest as fault:
        assert fault.public
