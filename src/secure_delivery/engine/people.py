"""Who may change things, wired together.

Knows: how the rooms of accounts fit together. Must not know: what is changed, requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .accounts import Accounts
from .audit import Audit
from .database import Database
from .passwords import Passwords
from .sealed import ACCOUNTS, Sealed
from .second_factor import SecondFactor
from .sessions import Sessions
from .settings import Settings
from .sign_in import SignIn
from .throttle import Throttle
from .tokens import Tokens
from .vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who may change things, and what they did: accounts, signing in, sessions, API tokens, the audit log."""

    accounts: Accounts
    sign_in: SignIn
    sessions: Sessions
    second_factor: SecondFactor
    tokens: Tokens
    throttle: Throttle
    audit: Audit
    sealed: Sealed

    def sweep(self) -> int:
        """Forget what is over; returns how much."""
        return self.sessions.sweep() + self.accounts.sweep() + self.throttle.sweep()


def people(settings: Settings, database: Database, vault: Vault, clock: Callable[[], float]) -> People:
    """The accounts of a database."""
    audit, throttle, sessions = Audit(database, clock), Throttle(database, clock), Sessions(database, clock)
    passwords = Passwords(memory=settings.password_memory, passes=settings.password_passes, at_once=settings.password_hashes)
    factor = SecondFactor(database, vault, clock, audit)
    return People(
        accounts=Accounts(database, clock, passwords, throttle, audit),
        sign_in=SignIn(
            database,
            clock,
            passwords=passwords,
            throttle=throttle,
            sessions=sessions,
            second_factor=factor,
            audit=audit,
        ),
        sessions=sessions,
        second_factor=factor,
        tokens=Tokens(database, clock, audit),
        throttle=throttle,
        audit=audit,
        sealed=Sealed(database, vault, ACCOUNTS),
    )
