"""Accounts of people, and the links by which they come to a password.

Knows: the rows of accounts and links; that there is always an owner; that every change is in the audit log. Must not know:
HTTP, sessions beyond ending them, how anybody signs in.

Nobody is sent a password, and nobody chooses one for somebody else: who is invited gets a link that is good once and for a
while. The first owner gets such a link from whoever can run commands on the machine. Only digests of links are kept.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import Conflict, NotFound
from . import tables
from .account_rows import (
    OWNER,
    Account,
    account_of,
    checked_login,
    checked_role,
    digest_of,
    end_sessions,
    is_token,
    locked_account,
    new_token,
    no_account,
    normal_login,
)
from .applications import Clock, random_text
from .audit import Actor, Audit
from .database import Database
from .passwords import Passwords, check_password
from .throttle import Throttle

SETUP, INVITATION = "setup", "invitation"
SETUP_HOURS = 1  # whoever asked for it is at the machine now
INVITATION_HOURS = 72


class Accounts:
    """Creates, finds, changes and removes accounts. Thread-safe."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords, throttle: Throttle, audit: Audit) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._throttle = throttle
        self._audit = audit

    # -- finding

    def all(self) -> list[Account]:
        """All accounts, oldest first."""
        query = sa.select(tables.account).order_by(tables.account.c.created, tables.account.c.id)
        with self._database.read() as connection:
            return [account_of(row) for row in connection.execute(query)]

    def named(self, login: str) -> Account:
        """The account of a login name. Raises `NotFound`."""
        known = normal_login(login)
        if known is not None:
            with self._database.read() as connection:
                row = connection.execute(sa.select(tables.account).where(tables.account.c.login == known)).one_or_none()
            if row is not None:
                return account_of(row)
        raise no_account()

    def get(self, account: str) -> Account:
        """The account of an id. Raises `NotFound`."""
        with self._database.read() as connection:
            return self._one(connection, account)

    def has_owner(self) -> bool:
        """Whether anybody can sign in as an owner; as long as nobody can, a link for the first one may be made."""
        with self._database.read() as connection:
            return connection.execute(_owners().limit(1)).first() is not None

    # -- links

    def setup_link(self, actor: Actor) -> str:
        """The token of a link by which the first owner chooses a name and a password; links made before end.

        Raises `Conflict` when there is an owner already.
        """
        with self._database.write() as connection:
            if connection.execute(_owners().limit(1)).first() is not None:
                raise Conflict(public="There is an owner already, who can invite others.")
            connection.execute(sa.delete(tables.account_link).where(tables.account_link.c.kind == SETUP))
            token = self._link(connection, SETUP, None, SETUP_HOURS)
            self._audit.write(connection, actor, "account.setup_link")
        return token

    def set_up(self, token: str, login: str, password: str, *, address: str) -> Account:
        """Make the first owner. Raises `NotFound` for a link that is over or was used, `BadRequest` for a name or a password
        that is not good enough (the link stays good then), `TooManyAttempts`."""
        name = checked_login(login)
        check_password(password, login=name)
        self._try_link(token, SETUP, address)
        kept = self._passwords.hash(password)
        with self._database.write() as connection:
            self._use(connection, token, SETUP)
            if connection.execute(_owners().with_for_update()).first() is not None:
                raise _no_link()
            account = self._insert(connection, name, OWNER, kept)
            actor = Actor(id=account.id, name=name, means="link", address=address)
            self._audit.write(connection, actor, "account.set_up", subject=name, after=_told(account))
        self._throttle.remember(name, address)
        return account

    def invite(self, actor: Actor, login: str, role: str) -> tuple[Account, str]:
        """A new account without a password, and the token of the link by which its person chooses one.

        Raises `BadRequest` for a name or role that is none, `Conflict` for a name that is taken.
        """
        name = checked_login(login)
        checked_role(role)
        with self._database.write() as connection:
            account = self._insert(connection, name, role, None)
            token = self._link(connection, INVITATION, account.id, INVITATION_HOURS)
            self._audit.write(connection, actor, "account.invite", subject=name, after=_told(account))
        return account, token

    def invite_again(self, actor: Actor, account: str) -> str:
        """The token of a new link by which a person chooses a password, for the first time or because it was forgotten. The
        links before end; the present password stays good until then. Raises `NotFound`."""
        with self._database.write() as connection:
            row = locked_account(connection, account)
            self._end_links(connection, account)
            token = self._link(connection, INVITATION, account, INVITATION_HOURS)
            self._audit.write(connection, actor, "account.invite_again", subject=row.login)
        return token

    def invited(self, token: str, *, kind: str = INVITATION) -> Account | None:
        """Whose invitation a token is, to greet them; None for a link to set up. Raises `NotFound` when it is over."""
        with self._database.read() as connection:
            row = self._found(connection, token, kind)
            return None if row.account is None else self._one(connection, row.account)

    def accept(self, token: str, password: str, *, address: str) -> Account:
        """Choose a password by an invitation. Everything that was signed in ends. Raises like `set_up`."""
        self._try_link(token, INVITATION, address)
        account = self.invited(token)
        if account is None:
            raise _no_link()
        check_password(password, login=account.login)
        kept = self._passwords.hash(password)
        with self._database.write() as connection:
            self._use(connection, token, INVITATION)
            row = locked_account(connection, account.id)
            if row.disabled is not None:
                raise _no_link()
            actor = Actor(id=row.id, name=row.login, means="link", address=address)
            self._put_password(connection, actor, row, kept, "account.accept")
            account = self._one(connection, row.id)
        self._throttle.remember(account.login, address)
        return account

    # -- changing

    def add(self, actor: Actor, login: str, role: str, password: str) -> Account:
        """A new account with a password, from whoever can run commands on the machine. Raises like `invite`."""
        name = checked_login(login)
        checked_role(role)
        check_password(password, login=name)
        kept = self._passwords.hash(password)
        with self._database.write() as connection:
            account = self._insert(connection, name, role, kept)
            self._audit.write(connection, actor, "account.add", subject=name, after=_told(account))
        return account

    def set_role(self, actor: Actor, account: str, role: str) -> Account:
        """Give another role. Sessions end, so that nobody works on with what they were allowed before; tokens shrink by
        themselves. Raises `NotFound`, `BadRequest`, and `Conflict` for the last owner."""
        checked_role(role)
        return self._change(actor, account, "account.role", {"role": role}, leaves=role != OWNER)

    def set_password(self, actor: Actor, account: str, password: str) -> Account:
        """Give another password, from whoever can run commands on the machine. Sessions and links end. Raises `NotFound`,
        `BadRequest`."""
        check_password(password, login=self.get(account).login)
        kept = self._passwords.hash(password)
        with self._database.write() as connection:
            row = locked_account(connection, account)
            self._put_password(connection, actor, row, kept, "account.password")
            return self._one(connection, account)

    def disable(self, actor: Actor, account: str) -> Account:
        """Have an account be of no use until it is enabled again; sessions and links end, tokens count no longer. Raises
        `NotFound`, and `Conflict` for the last owner."""
        return self._change(actor, account, "account.disable", {"disabled": self._now()}, leaves=True)

    def enable(self, actor: Actor, account: str) -> Account:
        """Take `disable` back. Raises `NotFound`."""
        return self._change(actor, account, "account.enable", {"disabled": None}, leaves=False)

    def remove(self, actor: Actor, account: str) -> None:
        """Delete an account with its sessions and tokens; what it did stays in the audit log. Raises `NotFound`, and
        `Conflict` for the last owner."""
        with self._database.write() as connection:
            self._keep_an_owner(connection, account)
            row = locked_account(connection, account)
            connection.execute(sa.delete(tables.account).where(tables.account.c.id == account))
            self._audit.write(connection, actor, "account.remove", subject=row.login, before=_told(account_of(row)))

    def sweep(self) -> int:
        """Forget links that are over; returns how many."""
        with self._database.write() as connection:
            over = tables.account_link.c.expires <= self._now()
            return connection.execute(sa.delete(tables.account_link).where(over)).rowcount

    # -- helpers

    def _change(self, actor: Actor, account: str, action: str, values: dict[str, Any], *, leaves: bool) -> Account:
        with self._database.write() as connection:
            if leaves:
                self._keep_an_owner(connection, account)
            before = account_of(locked_account(connection, account))
            connection.execute(sa.update(tables.account).where(tables.account.c.id == account).values(**values))
            after = self._one(connection, account)
            end_sessions(connection, account)
            if after.disabled is not None:
                self._end_links(connection, account)
            self._audit.write(connection, actor, action, subject=after.login, before=_told(before), after=_told(after))
        return after

    def _put_password(self, connection: Connection, actor: Actor, row: Any, kept: str, action: str) -> None:
        connection.execute(sa.update(tables.account).where(tables.account.c.id == row.id).values(password=kept))
        ended = end_sessions(connection, row.id)
        self._end_links(connection, row.id)
        self._audit.write(connection, actor, action, subject=row.login, after={"sessions_ended": ended})

    def _insert(self, connection: Connection, login: str, role: str, password: str | None) -> Account:
        name = f"ac_{random_text(20)}"
        row = {"id": name, "login": login, "role": role, "password": password, "totp_step": 0}
        try:
            with connection.begin_nested():  # so that the transaction can go on with a sentence about it
                connection.execute(sa.insert(tables.account).values(**row, created=self._now()))
        except IntegrityError:
            raise Conflict(public="There is an account with this name already.") from None
        return self._one(connection, name)

    @staticmethod
    def _one(connection: Connection, account: str) -> Account:
        row = None
        if account.isascii() and "\0" not in account:
            row = connection.execute(sa.select(tables.account).where(tables.account.c.id == account)).one_or_none()
        if row is None:
            raise no_account()
        return account_of(row)

    @staticmethod
    def _keep_an_owner(connection: Connection, account: str) -> None:
        """Refuse what would leave nobody who can sign in as an owner. Locks all owners: two cannot remove each other."""
        owners = connection.execute(_owners().order_by(tables.account.c.id).with_for_update()).all()
        if [row.id for row in owners] == [account]:
            raise Conflict(public="This is the last owner who can sign in: make another one first.")

    def _link(self, connection: Connection, kind: str, account: str | None, hours: float) -> str:
        token, now = new_token(), self._now()
        row = {"digest": digest_of(token), "kind": kind, "account": account, "created": now}
        connection.execute(sa.insert(tables.account_link).values(**row, expires=now + int(hours * 3_600_000)))
        return token

    def _found(self, connection: Connection, token: str, kind: str) -> Any:
        link = tables.account_link
        row = None
        if is_token(token):
            row = connection.execute(sa.select(link).where(link.c.digest == digest_of(token))).one_or_none()
        if row is None or row.kind != kind or self._now() >= row.expires:
            raise _no_link()
        return row

    def _try_link(self, token: str, kind: str, address: str) -> None:
        """Look at a link, where not too many were wrong from this address. Raises `TooManyAttempts`, `NotFound`."""
        keys = self._throttle.keys_of_address("link", address)
        self._throttle.enter(keys)
        with self._database.read() as connection:
            self._found(connection, token, kind)
        self._throttle.leave(keys)

    def _use(self, connection: Connection, token: str, kind: str) -> None:
        """Use a link up. Of two who use it at once one finds it gone."""
        row = self._found(connection, token, kind)
        gone = connection.execute(sa.delete(tables.account_link).where(tables.account_link.c.digest == row.digest))
        if not gone.rowcount:
            raise _no_link()

    @staticmethod
    def _end_links(connection: Connection, account: str) -> None:
        connection.execute(sa.delete(tables.account_link).where(tables.account_link.c.account == account))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _owners() -> sa.Select[tuple[str]]:
    account = tables.account
    able = (account.c.role == OWNER, account.c.password.is_not(None), account.c.disabled.is_(None))
    return sa.select(account.c.id).where(*able)


def _no_link() -> NotFound:
    return NotFound("no such link", public="This link was used already, or its time is over.")


def _told(account: Account) -> dict[str, Any]:
    """An account for the audit log."""
    return {"id": account.id, "login": account.login, "role": account.role, "disabled": account.disabled}
