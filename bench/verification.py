"""How long the judgement takes, next to the libraries that people sign URLs with.

Knows: the gate, itsdangerous, PyJWT. Must not know: HTTP.

All of them get the same 100 bytes: ours as the JSON of a policy, itsdangerous as the text that is signed, PyJWT as claims
of the same content. `TimestampSigner.unsign` only checks signature and age and gives bytes back; ours also reads the JSON
strictly, so `URLSafeTimedSerializer.loads`, which reads it too, is shown beside it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import itsdangerous
import jwt
from measure import Effort, Row, Tick, in_turns, in_us, ratio, spread, timed

from secure_delivery import Application, Call, Guard, Policy, RequestFacts, Rule, SecretRing, SignedPolicy, Whitelist, decide
from secure_delivery.gate.heads import Head
from secure_delivery.gate.hosts import parse_origin
from secure_delivery.gate.policy import verify
from secure_delivery.gate.reading import PolicyCache, read_policy

NAME = "verification"
SECRET = "pRk2vVQm8sXw4LZ7tYc9Hd3NfGb6JaEu"
HANDLE = "bfTNCigRLq0QMOrsFKzb"
HOST = "gallery.example.org"
PATTERNS = [
    *(f"site-{number}.example.com" for number in range(8)),
    *(f"*.team{number}.example.net" for number in range(6)),
    "{shop,store}.example.com",
    "cdn-?.example.com",
    "*.example.io",
    "app[0-9].example.io",
    "localhost:3000",
    "*.example.org",
]


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return 2 * effort.rounds


def hundred_bytes(now: float) -> Policy:
    """A policy whose JSON is exactly 100 bytes."""
    calls = frozenset({Call.CONVERT, Call.EXIF, Call.PICK, Call.READ, Call.STAT})
    return Policy(expiry=int(now) + 86_400, call=calls, handle=HANDLE)


def _peers(text: bytes, now: float) -> dict[str, Any]:
    """What each peer does for the same grant."""
    sha1 = itsdangerous.TimestampSigner(SECRET)
    sha256 = itsdangerous.TimestampSigner(SECRET, digest_method=hashlib.sha256)
    loads = itsdangerous.URLSafeTimedSerializer(SECRET, signer_kwargs={"digest_method": hashlib.sha256})
    claims = json.loads(text)
    by_sha1, by_sha256, dumped = sha1.sign(text), sha256.sign(text), loads.dumps(claims)
    claims["exp"] = claims.pop("expiry")
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return {
        "itsdangerous": lambda: sha1.unsign(by_sha1, max_age=86_400),
        "itsdangerous sha256": lambda: sha256.unsign(by_sha256, max_age=86_400),
        "itsdangerous loads": lambda: loads.loads(dumped, max_age=86_400),
        "PyJWT": lambda: jwt.decode(token, SECRET, algorithms=["HS256"]),
    }


def _ours(signed: SignedPolicy, now: float) -> dict[str, Any]:
    ring = SecretRing.of(SECRET)
    keys = [ring.signing.value]
    whitelist = Whitelist(PATTERNS)
    application = Application(secrets=ring, require_policy=True, delivery_whitelist=whitelist)
    facts = RequestFacts(calls=frozenset({Call.READ}), signed=signed, handle=HANDLE)
    cache = PolicyCache()
    guard = Guard(application, [Rule("/files/<handle>", GET="read")])
    head = Head("GET", f"/files/{HANDLE}", signed.as_query(), f"https://{HOST}")
    encoded, signature = signed.encoded, signed.signature
    host = parse_origin(f"https://{HOST}")
    assert host is not None

    def verify_and_read() -> Policy:
        if verify(encoded, signature, keys) < 0:
            raise AssertionError("the signature is good")
        return Policy.decode(encoded)

    raw = encoded.encode(), signature.encode()

    def verify_again() -> bool:
        # New text objects each time, as every request brings them: nothing of them has been hashed before.
        shown = SignedPolicy(raw[0].decode(), raw[1].decode())
        return read_policy(application, shown, now=now, cache=cache).policy.expiry > now

    calls: dict[str, Callable[[], Any]] = {
        "verify": verify_and_read,
        "verify again": verify_again,
        "decide cold": lambda: decide(application, facts, now=now),
        "decide warm": lambda: decide(application, facts, now=now, cache=cache),
        "check again": lambda: guard.check(head),
        "host": lambda: whitelist.allows(host),
        "origin": lambda: whitelist.allows(parse_origin(f"https://{HOST}")),  # type: ignore[arg-type]
    }
    for name in ("decide cold", "decide warm"):
        assert calls[name]().allowed, name
    assert calls["host"]() is True
    return calls


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    now = time.time()
    policy = hundred_bytes(now)
    signed = policy.sign(SECRET.encode())
    text = json.dumps(
        {"expiry": policy.expiry, "call": sorted(policy.call or ()), "handle": HANDLE}, separators=(",", ":")
    ).encode()
    assert len(text) == 100, len(text)
    ours, peers = _ours(signed, now), _peers(text, now)
    taken = in_turns({name: timed(call) for name, call in {**ours, **peers}.items()}, 2 * effort.rounds, tick)

    def against(name: str, call: str, peer: str, at_most: float | None = None) -> Row:
        value, low, high = ratio(taken[call], taken[peer])
        return Row(
            suite=NAME,
            name=name,
            value=value,
            low=low,
            high=high,
            ours=in_us(taken[call]),
            theirs=in_us(taken[peer]),
            at_most=at_most,
        )

    def absolute(name: str, call: str, at_most: float | None = None) -> Row:
        value, low, high = (figure * 1e6 for figure in spread(taken[call]))
        return Row(suite=NAME, name=name, value=value, low=low, high=high, unit="us", ours=in_us(taken[call]), at_most=at_most)

    return [
        against("cold: verify + decode / itsdangerous unsign (SHA-256)", "verify", "itsdangerous sha256", 1.3),
        against("cold: verify + decode / itsdangerous unsign (its default, SHA-1)", "verify", "itsdangerous", 1.3),
        against("cold: verify + decode / itsdangerous loads (reads JSON too)", "verify", "itsdangerous loads"),
        against("cold: verify + decode / PyJWT HS256 decode", "verify", "PyJWT", 0.3),
        against("cold: whole decision / itsdangerous unsign (SHA-256)", "decide cold", "itsdangerous sha256"),
        against("again: from the cache, ring and expiry checked / cold", "verify again", "verify", 0.15),
        against("again: whole decision with a policy cache / without", "decide warm", "decide cold"),
        against("again: the same request through the guard / cold decision", "check again", "decide cold"),
        absolute("whitelist of 20 patterns, known host", "host", 1.0),
        absolute("whitelist of 20 patterns, known host, Origin header parsed", "origin"),
    ]
