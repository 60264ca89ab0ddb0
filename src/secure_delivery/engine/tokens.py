"""Tokens by which programs act for an account.

Knows: their rows; that only digests are kept; what a token may be used for. Must not know: HTTP, what is done with them.

A token can never do more than its owner: when a role shrinks, so do all tokens of the account, and they end with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..gate.errors import BadRequest, Conflict, NotFound
from . import tables
from .account_rows import ROLES, SCOPES, Account, account_of, digest_of, is_token, locked_account, new_token
from .applications import Clock, random_text
from .audit import Actor, Audit
from .database import Database, check_text

PREFIX = "sdt_"  # so that scanners of source code know one when they see it
_SHOWN = len(PREFIX) + 6  # characters by which its owner knows it again: 36 of 256 bits
_MOST = 100  # tokens of one account
_TOUCH = 60_000  # ms: use is noted that often
MAX_DAYS = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token without its text. Times are in ms since the epoch; `scopes` is what it may be used for at this moment."""

    id: str
    account: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None
    used: int | None

    def may(self, scope: str) -> bool:
        """Whether it may be used for something."""
        return scope in self.scopes


class Tokens:
    """Makes, finds and revokes tokens. Thread-safe."""

    def __init__(self, database: Database, clock: Clock, audit: Audit) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    def create(
        self, actor: Actor, account: str, name: str, *, scopes: Iterable[str], days: float | None = 90
    ) -> tuple[ApiToken, str]:
        """A new token and its text, which is shown this once. `days` is how long it is good for; None for ever.

        Raises `BadRequest` for scopes that do not exist or that the account does not have, a name that is too long or days out
        of range, `Conflict` for too many, `NotFound` without the account.
        """
        wanted = _checked(name, scopes, days)
        text, now = PREFIX + new_token(), self._now()
        with self._database.write() as connection:
            owner = account_of(locked_account(connection, account))
            if beyond := [scope for scope in wanted if not owner.may(scope)]:
                raise BadRequest(public=f"A {owner.role} does not have the scope {', '.join(beyond)}.")
            mine = tables.api_token.c.account == account
            if connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one() >= _MOST:
                raise Conflict(public=f"An account has at most {_MOST} tokens.")
            made = ApiToken(
                id=f"tk_{random_text(20)}",
                account=account,
                name=name,
                prefix=text[:_SHOWN],
                scopes=wanted,
                created=now,
                expires=None if days is None else now + int(days * 86_400_000),
                used=None,
            )
            values = {field: getattr(made, field) for field in ApiToken.__slots__}
            connection.execute(sa.insert(tables.api_token).values(**values | {"scopes": [*wanted], "digest": digest_of(text)}))
            self._audit.write(connection, actor, "token.create", subject=owner.login, after=_told(made))
        return made, text

    def find(self, text: str) -> tuple[ApiToken, Account] | None:
        """The token of a text and whose it is, or None when it is unknown, over, or its account cannot be used."""
        if not text.startswith(PREFIX) or not is_token(text.removeprefix(PREFIX)):
            return None
        now, token = self._now(), tables.api_token
        with self._database.read() as connection:
            row = connection.execute(sa.select(token).where(token.c.digest == digest_of(text))).one_or_none()
            if row is None or (row.expires is not None and now >= row.expires):
                return None
            owner = account_of(connection.execute(sa.select(tables.account).where(tables.account.c.id == row.account)).one())
        if not owner.usable:
            return None
        if row.used is None or now - row.used >= _TOUCH:
            with self._database.write() as connection:
                connection.execute(sa.update(token).where(token.c.id == row.id).values(used=now))
        return _read(row, owner.role), owner

    def of(self, account: str | None = None) -> list[ApiToken]:
        """The tokens of an account, or of all, oldest first; those that are over too."""
        token = tables.api_token
        query = sa.select(token, tables.account.c.role).join(tables.account).order_by(token.c.created, token.c.id)
        if account is not None:
            query = query.where(token.c.account == account)
        with self._database.read() as connection:
            return [_read(row, row.role) for row in connection.execute(query)]

    def revoke(self, actor: Actor, token: str, *, account: str | None = None) -> None:
        """Have a token count no longer. With `account` it has to be one of this account's. Raises `NotFound`."""
        query = sa.select(tables.api_token, tables.account.c.login, tables.account.c.role).join(tables.account)
        with self._database.write() as connection:
            row = None
            if token.isascii() and "\0" not in token:
                row = connection.execute(query.where(tables.api_token.c.id == token)).one_or_none()
            if row is None or account not in (None, row.account):
                raise NotFound("no such token", public="There is no such token.")
            connection.execute(sa.delete(tables.api_token).where(tables.api_token.c.id == token))
            self._audit.write(connection, actor, "token.revoke", subject=row.login, before=_told(_read(row, row.role)))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _checked(name: str, scopes: Iterable[str], days: float | None) -> tuple[str, ...]:
    check_text(name)
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise BadRequest(public="A token has a name of 1 to 100 characters.")
    wanted = set(scopes)
    if not wanted or not wanted <= set(SCOPES):
        raise BadRequest(public=f"A token has scopes among {', '.join(SCOPES)}.")
    if days is not None and not 0 < days <= MAX_DAYS:
        raise BadRequest(public=f"A token is good for up to {MAX_DAYS} days, or for ever.")
    return tuple(scope for scope in SCOPES if scope in wanted)


def _read(row: Any, role: str) -> ApiToken:
    values = {field: getattr(row, field) for field in ApiToken.__slots__}
    return replace(ApiToken(**values), scopes=tuple(scope for scope in row.scopes if scope in ROLES[role]))


def _told(token: ApiToken) -> dict[str, Any]:
    """A token for the audit log."""
    return {"id": token.id, "name": token.name, "begins": token.prefix, "scopes": token.scopes, "expires": token.expires}
