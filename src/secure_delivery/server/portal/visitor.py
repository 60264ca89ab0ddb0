"""Who asks: a person in a session, or a program with an API token.

Knows: cookies of sessions, tokens in headers. Must not know: what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from ...engine import Engine
from ...engine.account_rows import ROLES, Account
from ...engine.audit import Actor
from ...engine.sessions import Session
from ...gate.errors import SecureDeliveryError
from .wire import SESSION_COOKIE, cookie_of


class NotSignedIn(SecureDeliveryError):
    """Nobody is signed in, or not any more."""

    code = "not_signed_in"
    status = 401
    sentence = "Sign in first."


class TokenRefused(SecureDeliveryError):
    """An API token that is unknown or over."""

    code = "token_refused"
    status = 401
    sentence = "The API token is not known, or its time is over."


class NotAllowed(SecureDeliveryError):
    """The role of the account, or the scopes of the token, are not enough."""

    code = "not_allowed"
    status = 403
    sentence = "This needs another role, or a token with more scopes."


class PasswordNeeded(SecureDeliveryError):
    """The password has to be given again."""

    code = "password_needed"
    status = 403
    sentence = "Give your password once more for this."


class ForgedRequest(SecureDeliveryError):
    """A changing request that no page of ours made: its token or its origin is not ours."""

    code = "forged_request"
    status = 403
    sentence = "This form is too old, or was not sent by a page of the portal. Load the page again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who may do something. `means` is `session` or the id of a token; `token` is that of the session."""

    account: Account
    scopes: frozenset[str]
    means: str
    address: str
    session: Session | None = None
    token: str = field(default="", repr=False)

    def may(self, scope: str | None) -> bool:
        """Whether something is allowed."""
        return scope is None or scope in self.scopes

    def fresh(self, now: float) -> bool:
        """Whether nothing more has to be shown before secrets are: programs have shown all they have."""
        return self.session is None or self.session.is_fresh(now)

    @property
    def actor(self) -> Actor:
        """For the audit log."""
        return Actor(id=self.account.id, name=self.account.login, means=self.means, address=self.address)


def visitor_of(engine: Engine, request: Request, address: str, *, tokens: bool, using: bool = True) -> Visitor | None:
    """Who sends a request; None for nobody. With `tokens`, a program may. Raises `TokenRefused` for a bad token: it never
    falls back to a cookie. What is not `using` a session does not keep it from ending."""
    shown = request.headers.getlist("authorization")
    if shown and tokens:
        scheme, _, text = shown[0].partition(" ")
        found = engine.people.tokens.find(text.strip()) if len(shown) == 1 and scheme.lower() == "bearer" else None
        if found is None:
            raise TokenRefused
        token, account = found
        return Visitor(account=account, scopes=frozenset(token.scopes), means=token.id, address=address)
    text = cookie_of(request, SESSION_COOKIE)
    session = engine.people.sessions.find(text, using=using)
    if session is None:
        return None
    return Visitor(
        account=session.account,
        scopes=ROLES[session.account.role],
        means="session",
        address=address,
        session=session,
        token=text,
    )
