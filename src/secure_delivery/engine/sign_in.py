"""Signing in: a name and a password, then perhaps a code, and a session comes of it.

Knows: in which order things are asked for and counted. Must not know: cookies, forms, what may be done with a session.

An account that does not exist, was not accepted yet, or is disabled is answered like a wrong password, after the same work
(security promise 65).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest, Busy, SecureDeliveryError
from . import tables
from .account_rows import Account, account_of, end_sessions, is_token, locked_account, new_token, normal_login
from .applications import Clock
from .audit import Actor, Audit
from .database import Database
from .passwords import Passwords, check_password
from .second_factor import SecondFactor
from .sessions import CODE, FULL, Session, Sessions
from .throttle import Throttle

logger = logging.getLogger("secure_delivery.engine")


class SignInRefused(SecureDeliveryError):
    """A wrong name, password or code; never said which."""

    code = "sign_in_refused"
    status = 401
    sentence = "The name or the password is not right."


class CodeRefused(SignInRefused):
    """The password was right, the code is not, or came too late."""

    code = "code_refused"
    sentence = "The code is not right, or came too late."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a sign-in gave. `token` is the session's, for `stage` (`code`: give it to `code` with the second factor).
    `device` is for a lasting cookie of this browser: with it others cannot keep its person out by failing in their name."""

    account: Account
    stage: str
    token: str = field(repr=False)
    device: str | None = field(default=None, repr=False)


class SignIn:
    """Opens sessions for people who show who they are. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        passwords: Passwords,
        throttle: Throttle,
        sessions: Sessions,
        second_factor: SecondFactor,
        audit: Audit,
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions
        self._factor = second_factor
        self._audit = audit

    def password(self, login: str, password: str, *, address: str, device: str | None = None) -> Signed:
        """The first step. Raises `SignInRefused`, `TooManyAttempts`, `Busy`."""
        name = normal_login(login)
        known_device = device if device and is_token(device) else None
        keys = self._throttle.keys(name or "", address, known_device)
        self._throttle.enter(keys)
        row = self._row(name or "")
        kept = row.password if row is not None and row.disabled is None else None
        if not self._verified(keys, kept, password) or row is None:
            logger.warning("sign-in refused, from %s", address[:64])
            raise SignInRefused
        fresh = self._passwords.hash(password) if self._passwords.outdated(row.password) else None
        with self._database.whole():
            signed = self._signed(row, fresh, address, known_device)
            self._throttle.leave(keys)
        return signed

    def code(self, token: str, code: str, *, address: str, device: str | None = None) -> Signed:
        """The second step, with the token of the first one, which is worth nothing afterwards. `device` as in `password`.

        Raises `CodeRefused`, `TooManyAttempts`.
        """
        waiting = self._sessions.find(token, stage=CODE)
        if waiting is None:
            raise CodeRefused
        known_device = device if device and is_token(device) else None
        keys = self._throttle.keys(waiting.account.login, address, known_device)
        self._throttle.enter(keys)
        with self._database.whole():
            with self._database.write() as connection:
                good = self._factor.accepts(connection, waiting.account.id, code)
                if good:
                    this = tables.session.c.id == waiting.id
                    good = bool(connection.execute(sa.delete(tables.session).where(this)).rowcount)
            if good:
                self._throttle.leave(keys)
                row = self._row(waiting.account.login)
                return self._opened(row, address, known_device)
        logger.warning("sign-in refused at the second factor, from %s", address[:64])
        raise CodeRefused

    def again(self, token: str, password: str, *, address: str) -> str:
        """Ask for the password again, which makes a session fresh; returns its new token. Raises `SignInRefused`,
        `TooManyAttempts`."""
        session, _ = self._shown(token, password, address)
        with self._database.write() as connection:
            return self._sessions.renew(connection, session.id, fresh=True)

    def change_password(self, token: str, old: str, new: str, *, address: str) -> Signed:
        """Another password for whoever is signed in. All sessions end, this one too; a new one comes of it.

        Raises `SignInRefused` when `old` is wrong, `BadRequest` for a new one that is not good enough, `TooManyAttempts`.
        """
        session, row = self._shown(token, old, address)
        check_password(new, login=row.login)
        if new == old:
            raise BadRequest(public="The new password is the old one.")
        kept = self._passwords.hash(new)
        with self._database.write() as connection:
            locked_account(connection, row.id)
            ended = end_sessions(connection, row.id)
            _set(connection, row.id, password=kept)
            connection.execute(sa.delete(tables.account_link).where(tables.account_link.c.account == row.id))
            after = {"sessions_ended": ended}
            self._audit.write(connection, actor_of(session, address), "account.password", subject=row.login, after=after)
            fresh = self._sessions.open(connection, row.id, address=address)
        return Signed(account=session.account, stage=FULL, token=fresh)

    def out(self, token: str) -> None:
        """Sign out."""
        self._sessions.end(token)

    def _shown(self, token: str, password: str, address: str) -> tuple[Session, Any]:
        """The session and the account's row of somebody who gives the password once more."""
        session = self._sessions.find(token)
        if session is None:
            raise SignInRefused("no session")
        keys = self._throttle.keys(session.account.login, address)
        self._throttle.enter(keys)
        row = self._row(session.account.login)
        if row is None or not self._verified(keys, row.password, password):
            raise SignInRefused
        self._throttle.leave(keys)
        return session, row

    def _verified(self, keys: Sequence[str], kept: str | None, password: str) -> bool:
        """Whether a password is right. A try that nobody had time for is not counted."""
        try:
            return self._passwords.verify(kept, password)
        except Busy:
            self._throttle.leave(keys)
            raise

    def _row(self, login: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(sa.select(tables.account).where(tables.account.c.login == login)).one_or_none()

    def _signed(self, row: Any, fresh: str | None, address: str, device: str | None) -> Signed:
        with self._database.write() as connection:
            now = locked_account(connection, row.id)
            if now.password != row.password or now.disabled is not None:  # changed while the hash was computed
                raise SignInRefused
            if fresh is not None:
                _set(connection, row.id, password=fresh)
            if now.totp_since is not None:
                token = self._sessions.open(connection, row.id, address=address, stage=CODE)
                return Signed(account=account_of(now), stage=CODE, token=token)
        return self._opened(row, address, device)

    def _opened(self, row: Any, address: str, device: str | None) -> Signed:
        """A session for somebody who has shown all that is asked for."""
        known = device or new_token()
        with self._database.write() as connection:
            token = self._sessions.open(connection, row.id, address=address)
            _set(connection, row.id, seen=int(self._clock() * 1000))
            actor = Actor(id=row.id, name=row.login, means="session", address=address)
            self._audit.write(connection, actor, "session.open", subject=row.login)
        self._throttle.remember(row.login, address, known)
        return Signed(account=account_of(row), stage=FULL, token=token, device=known)


def actor_of(session: Session, address: str) -> Actor:
    """Who acts in a session, for the audit log."""
    return Actor(id=session.account.id, name=session.account.login, means="session", address=address)


def _set(connection: Connection, account: str, **values: Any) -> None:
    connection.execute(sa.update(tables.account).where(tables.account.c.id == account).values(**values))
