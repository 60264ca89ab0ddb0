"""Who the client is: an API key, and a secret to sign with or a policy that somebody else signed.

Knows: policies. Must not know: requests. The secret is never shown and never sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..gate.errors import ConfigurationError
from ..gate.policy import Call, Policy, SignedPolicy
from .errors import SigningError

#: Seconds that the policy of a request of our own lasts. It covers a clock that is off by some minutes, and little more.
BRIEF = 900

Calls = str | Call | Iterable[str | Call] | None


class Signer:
    """Makes the credential of each request, or hands out the one it was given."""

    __slots__ = ("_clock", "_given", "_secret")

    def __init__(
        self, secret: str | bytes | None, given: SignedPolicy | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        if secret is not None and given is not None:
            raise ValueError("give a secret or a signed policy, not both")
        if secret is not None and not secret:
            raise ValueError("the secret is empty")
        self._secret = secret.encode() if isinstance(secret, str) else secret
        self._given = given
        self._clock = clock

    def __repr__(self) -> str:
        kind = "secret" if self._secret is not None else "signed policy" if self._given is not None else "nothing"
        return f"<Signer with {kind}>"

    @property
    def signs(self) -> bool:
        """Whether there is a secret to sign with."""
        return self._secret is not None

    def link(self, expires_in: int, *, call: Calls, round_to: int, **limits: object) -> SignedPolicy | None:
        """What a URL to give away carries: a policy made for it, the one that was given, or nothing."""
        if self._secret is None:
            return self._given
        return self.sign(expires_in, call=call, round_to=round_to, **limits)

    def sign(self, expires_in: int, *, call: Calls, round_to: int = 1, **limits: object) -> SignedPolicy:
        """A policy of one's own choice. Raises `SigningError` without a secret, or for one that would be refused."""
        if self._secret is None:
            raise SigningError("Signing needs the application's secret, and this client has none.")
        try:
            policy = Policy.lasting(expires_in, now=self._clock(), round_to=round_to, call=call, **limits)
            return policy.sign(self._secret)
        except ConfigurationError as error:
            raise SigningError(str(error)) from None
        except TypeError as error:
            raise SigningError(f"This is no part of a policy: {error}") from None

    def credential(self, *calls: Call, handle: str | None = None) -> SignedPolicy | None:
        """What a request of ours shows: a brief policy for just that, the policy that was given, or nothing."""
        if self._secret is None:
            return self._given
        return self.sign(BRIEF, call=calls, handle=handle)
