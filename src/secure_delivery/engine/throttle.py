"""How often somebody may try: to sign in, to give a code, to use a link.

Knows: counters in the database, so that all processes count together. Must not know: passwords, what is tried.

Ten tries in ten minutes, then one after each delay, which doubles (security promise 65). Counted are the address, and the
account. That alone would let anybody keep a person out by failing in their name. So who has signed in before, from the same
address or with the same browser, is counted apart: what others do does not touch them. Keys are digests of what is counted.
An account that does not exist is counted like one that does.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection

from ..gate.errors import SecureDeliveryError
from . import tables
from .applications import Clock
from .database import Database

TRIES = 10
WINDOW = 600_000  # ms: in which there may be that many, and after which, in peace, all is forgotten
_FIRST, _LONGEST = 30_000, 3_600_000  # ms: the delay after the tenth try, and the longest
_FAMILIAR = 90 * 86_400_000  # ms: for which who has signed in before is known


class TooManyAttempts(SecureDeliveryError):
    """Tried too often. `retry_after` is in seconds."""

    code = "too_many_attempts"
    status = 429
    sentence = "Too many attempts. Try again later."

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts, again in {retry_after} s")
        self.retry_after = retry_after


class Throttle:
    """Counts tries. Thread-safe. A try is counted before it is made, so that many at once gain nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def enter(self, keys: Sequence[str]) -> None:
        """Count a try under every key. Raises `TooManyAttempts` where one of them has had too many; then none is counted."""
        now = self._now()
        attempt = tables.attempt
        with self._database.write() as connection:
            rows = [_row(connection, key, now) for key in sorted(set(keys))]  # sorted: two tries lock in the same order
            later = max((row.until for row in rows if row.until > now), default=0)
            if later:
                raise TooManyAttempts(-(-(later - now) // 1000))
            for row in rows:
                old = (row.count < TRIES and now - row.since >= WINDOW) or (row.count >= TRIES and now - row.until >= WINDOW)
                count, since = (1, now) if old or not row.count else (row.count + 1, row.since)
                until = now + _delay(count)
                values = {"count": count, "since": since, "until": until, "ends": max(row.ends, until + WINDOW)}
                connection.execute(sa.update(attempt).where(attempt.c.key == row.key).values(**values))

    def leave(self, keys: Sequence[str]) -> None:
        """Take a try back that succeeded. Only this one: who knows one password gains no tries for others."""
        attempt, now = tables.attempt, self._now()
        with self._database.write() as connection:
            for key in sorted(set(keys)):
                mine = (attempt.c.key == key, attempt.c.count > 0)
                connection.execute(sa.update(attempt).where(*mine).values(count=attempt.c.count - 1, until=now))

    def keys(self, account: str, address: str, device: str | None = None) -> list[str]:
        """What a try on an account is counted under. `device` is a token that this browser was given before."""
        if device and self._knows(familiar := _digest("device", account, device)):
            return [familiar]
        place = place_of(address)
        if self._knows(familiar := _digest("place", account, place)):
            return [familiar, _digest("address", place)]
        return [_digest("account", account), _digest("address", place)]

    def keys_of_address(self, what: str, address: str) -> list[str]:
        """What a try is counted under that names no account."""
        return [_digest(what, place_of(address))]

    def remember(self, account: str, address: str, device: str | None = None) -> None:
        """Somebody signed in from here: others who fail in their name do not keep them out from now on."""
        marks = [_digest("place", account, place_of(address)), *([_digest("device", account, device)] if device else [])]
        attempt, now = tables.attempt, self._now()
        with self._database.write() as connection:
            for key in sorted(marks):
                _row(connection, key, now)
                connection.execute(sa.update(attempt).where(attempt.c.key == key).values(ends=now + _FAMILIAR))

    def sweep(self) -> int:
        """Forget what nobody needs any more; returns how many rows went."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(tables.attempt).where(tables.attempt.c.ends <= self._now())).rowcount

    def _knows(self, key: str) -> bool:
        query = sa.select(tables.attempt.c.key).where(tables.attempt.c.key == key, tables.attempt.c.ends > self._now())
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def _now(self) -> int:
        return int(self._clock() * 1000)


def place_of(address: str) -> str:
    """What of an address is counted: of IPv6 the network of 64 bits, because one customer has all of it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _delay(count: int) -> int:
    """ms until the next try."""
    return 0 if count < TRIES else min(_FIRST << min(count - TRIES, 20), _LONGEST)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _row(connection: Connection, key: str, now: int) -> Any:
    """The row of a key, made if need be, and held until the transaction ends."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    fresh = {"key": key, "count": 0, "since": now, "until": 0, "ends": now + WINDOW}
    connection.execute(insert(tables.attempt).values(**fresh).on_conflict_do_nothing(index_elements=["key"]))
    return connection.execute(sa.select(tables.attempt).where(tables.attempt.c.key == key).with_for_update()).one()
