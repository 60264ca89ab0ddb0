"""From what a request shows to a policy that holds: verified by a secret in force, then decoded.

Knows: applications, their secrets and switches for reading. Must not know: what the policy is used for.
"""

from __future__ import annotations

from typing import NamedTuple

from .errors import PolicyError, Reason
from .model import Application
from .policy import MAX_ENCODED, Policy, SignedPolicy, verify


class Verified(NamedTuple):
    """A policy whose signature was found good, the end of the secret that made it (if it has one), and that secret's id."""

    policy: Policy
    until: int | None
    secret: str


_Key = tuple[str, str, str, str, bool]


class PolicyCache:
    """Policies whose signature was found good, by text, signature, state of the ring and switches for reading.

    Bounded, and filled only by good signatures, so that strangers cannot crowd it. It remembers reading, never permission:
    expiry and the end of a secret are checked at every use.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._known: dict[_Key, Verified] = {}

    def get(self, key: _Key) -> Verified | None:
        return self._known.get(key)

    def put(self, key: _Key, verified: Verified) -> None:
        if len(self._known) >= self._size:
            for oldest in list(self._known)[: self._size // 4 or 1]:
                self._known.pop(oldest, None)
        self._known[key] = verified


def read_policy(application: Application, signed: SignedPolicy, *, now: float, cache: PolicyCache | None = None) -> Verified:
    """The policy of a signed text, by the application's secrets in force at `now` and its switches for reading.

    Whether it has expired is for the caller: an expired policy reads like any other. Raises `PolicyError` with the reason:
    `bad_signature` when no secret in force made it, else what `Policy.decode` says. Nothing is decoded before the signature
    was found good (security promise 2).
    """
    encoded, signature = signed.encoded, signed.signature
    key = (application.secrets.version, encoded, signature, application.unknown_keys, application.standard_base64)
    if cache is not None:
        known = cache.get(key)
        if known is not None and (known.until is None or now < known.until):
            return known
    if len(encoded) > MAX_ENCODED:
        raise PolicyError(Reason.BAD_ENCODING, f"longer than {MAX_ENCODED} characters")
    secrets = application.secrets.in_force(now)
    index = verify(encoded, signature, [secret.value for secret in secrets])
    if index < 0:
        raise PolicyError(Reason.BAD_SIGNATURE, f"none of the {len(secrets)} secrets in force made this signature")
    policy = Policy.decode(
        encoded,
        ignore_unknown=application.unknown_keys == "ignore",
        standard_alphabet=application.standard_base64,
    )
    verified = Verified(policy, secrets[index].until, secrets[index].id or str(index + 1))
    if cache is not None:
        cache.put(key, verified)
    return verified
