"""The second factor of an account: an authenticator's codes, and codes on paper for when it is lost.

Knows: where the secret is sealed; that no code counts twice. Must not know: how anybody signs in.

It is offered first and asked for only once a code was shown, so that nobody keeps themselves out by a picture not taken.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest, Conflict, NotFound
from . import tables, totp
from .account_rows import digest_of, locked_account
from .applications import Clock
from .audit import Actor, Audit
from .database import Database
from .vault import Place, Vault

_CODES = 10  # recovery codes
_CODE = 10  # bytes of one: 80 bits, so that a plain digest of it tells nothing


class SecondFactor:
    """Sets second factors up, and checks codes. Thread-safe. `issuer` is what authenticators show."""

    def __init__(
        self, database: Database, vault: Vault, clock: Clock, audit: Audit, *, issuer: str = "secure-delivery"
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._audit = audit
        self._issuer = issuer

    def offer(self, account: str) -> tuple[str, str]:
        """A new secret as Base32 and as an `otpauth:` address; nothing is asked for yet. An offer before is worth nothing.

        Raises `Conflict` while a second factor is in force, `NotFound`.
        """
        secret = totp.new_secret()
        with self._database.write() as connection:
            row = locked_account(connection, account)
            if row.totp_since is not None:
                raise Conflict(public="There is a second factor already: take it off first.")
            sealed = self._vault.seal(secret, place=_place(account))
            _set(connection, account, totp=sealed)
        return totp.as_base32(secret), totp.address(secret, login=row.login, issuer=self._issuer)

    def offered(self, account: str) -> tuple[str, str]:
        """What was offered last and is not in force yet, as `offer` gave it. Raises `NotFound` when there is nothing."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.account).where(tables.account.c.id == account)).one_or_none()
        if row is None or row.totp is None or row.totp_since is not None:
            raise NotFound("nothing was offered", public="No second factor was offered.")
        secret = self._vault.open(row.totp, place=_place(account))
        return totp.as_base32(secret), totp.address(secret, login=row.login, issuer=self._issuer)

    def confirm(self, actor: Actor, account: str, code: str) -> list[str]:
        """Put what was offered in force by showing a code of it; returns recovery codes, which are shown this once.

        Raises `BadRequest` for a wrong code, `Conflict` when nothing was offered, `NotFound`.
        """
        with self._database.write() as connection:
            row = locked_account(connection, account)
            if row.totp is None or row.totp_since is not None:
                raise Conflict(public="No second factor was offered.")
            step = self._step(row, code)
            if step is None:
                raise BadRequest(public="This is not the code of this moment.")
            _set(connection, account, totp_since=int(self._clock() * 1000), totp_step=step)
            codes = _recovery(connection, account)
            self._audit.write(connection, actor, "account.second_factor", subject=row.login, after={"in_force": True})
        return codes

    def renew_codes(self, actor: Actor, account: str) -> list[str]:
        """Other recovery codes, shown this once; those before are worth nothing. Raises `Conflict`, `NotFound`."""
        with self._database.write() as connection:
            row = locked_account(connection, account)
            if row.totp_since is None:
                raise Conflict(public="There is no second factor.")
            codes = _recovery(connection, account)
            self._audit.write(connection, actor, "account.recovery_codes", subject=row.login)
        return codes

    def remove(self, actor: Actor, account: str) -> None:
        """Ask for the password alone from now on. Raises `NotFound`."""
        with self._database.write() as connection:
            row = locked_account(connection, account)
            _set(connection, account, totp=None, totp_since=None)
            connection.execute(sa.delete(tables.recovery_code).where(tables.recovery_code.c.account == account))
            before = {"in_force": row.totp_since is not None}
            self._audit.write(
                connection, actor, "account.second_factor", subject=row.login, before=before, after={"in_force": False}
            )

    def codes_left(self, account: str) -> int:
        """How many recovery codes were not used."""
        mine = tables.recovery_code.c.account == account
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()

    def accepts(self, connection: Connection, account: str, code: str) -> bool:
        """Whether a code counts, of the authenticator or on paper; used up in the caller's transaction. Raises `NotFound`."""
        row = locked_account(connection, account)
        if row.totp_since is None:
            return False
        step = self._step(row, code)
        if step is not None:
            _set(connection, account, totp_step=step)
            return True
        digest = digest_of("".join(letter for letter in code.upper() if letter.isascii() and letter.isalnum()))
        this = (tables.recovery_code.c.account == account, tables.recovery_code.c.digest == digest)
        return bool(connection.execute(sa.delete(tables.recovery_code).where(*this)).rowcount)

    def _step(self, row: Any, code: str) -> int | None:
        secret = self._vault.open(row.totp, place=_place(row.id))
        return totp.matching_step(secret, code[:64], now=self._clock(), last=row.totp_step)


def _set(connection: Connection, account: str, **values: Any) -> None:
    connection.execute(sa.update(tables.account).where(tables.account.c.id == account).values(**values))


def _recovery(connection: Connection, account: str) -> list[str]:
    """New recovery codes in the place of those before: 16 letters and digits in groups of four."""
    code = tables.recovery_code
    texts = [base64.b32encode(secrets.token_bytes(_CODE)).decode() for _ in range(_CODES)]
    connection.execute(sa.delete(code).where(code.c.account == account))
    connection.execute(sa.insert(code), [{"account": account, "digest": digest_of(text)} for text in texts])
    return ["-".join(text[start : start + 4] for start in range(0, len(text), 4)) for text in texts]


def _place(account: str) -> Place:
    return Place(table="account", row=account, field="totp", application="")
