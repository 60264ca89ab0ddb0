"""Accounts as the rest of the engine sees them: who, and what they may do.

Knows: roles, scopes, the row of an account. Must not know: passwords, sessions, how accounts are changed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest, NotFound
from . import tables

OWNER, DEVELOPER, VIEWER = "owner", "developer", "viewer"

READ, WRITE, SECRETS, ACCOUNTS = "read", "write", "secrets", "accounts"
SCOPES = (READ, WRITE, SECRETS, ACCOUNTS)

#: What each role may do: look; change applications and files; see and renew secrets; manage accounts and read the audit log.
ROLES = {
    OWNER: frozenset(SCOPES),
    DEVELOPER: frozenset((READ, WRITE, SECRETS)),
    VIEWER: frozenset((READ,)),
}

_LOGIN = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")  # 254 characters in all: RFC 5321, erratum 1690
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person who may use the portal. Times are in ms since the epoch.

    `invited` says that no password was chosen yet, `totp` that a second factor is asked for; `disabled` since when it cannot be
    used; `seen` when it was last signed in to.
    """

    id: str
    login: str
    role: str
    invited: bool
    totp: bool
    disabled: int | None
    created: int
    seen: int | None

    @property
    def usable(self) -> bool:
        """Whether it can be signed in to."""
        return not self.invited and self.disabled is None

    def may(self, scope: str) -> bool:
        """Whether its role allows something."""
        return scope in ROLES[self.role]


def account_of(row: Any) -> Account:
    """An account from its row."""
    return Account(
        id=row.id,
        login=row.login,
        role=row.role,
        invited=row.password is None,
        totp=row.totp_since is not None,
        disabled=row.disabled,
        created=row.created,
        seen=row.seen,
    )


def normal_login(text: str) -> str | None:
    """A login name in the one spelling that is kept, or None for what cannot be one."""
    if len(text) > 1000:
        return None
    login = unicodedata.normalize("NFKC", text).strip().casefold()
    return login if _LOGIN.fullmatch(login) and login.isprintable() else None


def checked_login(text: str) -> str:
    """The same for a new account. Raises `BadRequest`."""
    login = normal_login(text)
    if login is None:
        raise BadRequest(public="A login name looks like an e-mail address: name@example.org.")
    return login


def checked_role(role: str) -> str:
    """A role that exists. Raises `BadRequest`."""
    if role not in ROLES:
        raise BadRequest(public=f"A role is one of {', '.join(ROLES)}.")
    return role


def locked_account(connection: Connection, account: str) -> Any:
    """The row of an account, held until the transaction ends. Raises `NotFound`."""
    row = None
    if account.isascii() and "\0" not in account:
        query = sa.select(tables.account).where(tables.account.c.id == account)
        row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        raise no_account()
    return row


def end_sessions(connection: Connection, account: str) -> int:
    """End every session of an account in the caller's transaction; returns how many there were."""
    return connection.execute(sa.delete(tables.session).where(tables.session.c.account == account)).rowcount


def no_account() -> NotFound:
    """The fault for an account that does not exist."""
    return NotFound("no such account", public="There is no such account.")


def new_token() -> str:
    """256 bits from the system source as 43 characters of Base64URL."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether a text can be one of `new_token` at all."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """What is kept of a token. It has 256 random bits, so there is nothing to slow down for."""
    return hashlib.sha256(token.encode()).hexdigest()
