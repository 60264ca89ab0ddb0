"""Sessions of people in a browser.

Knows: their tokens, of which only digests are kept; when they are over; the tokens against forged requests that belong to them.
Must not know: cookies, passwords, what a session is used for.

Security promise 63: 256 random bits, idle for 30 minutes and 12 hours at the longest, a new token with every sign-in and
whenever somebody has shown more about themselves. A session is *fresh* for five minutes after the password was asked
for (promise 66).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import tables
from .account_rows import Account, account_of, digest_of, is_token, new_token
from .applications import Clock, random_text
from .database import Database

IDLE = 30 * 60_000  # ms
ABSOLUTE = 12 * 3_600_000  # ms
FRESH = 5 * 60_000  # ms after the password was asked for
CODE_WITHIN = 5 * 60_000  # ms in which the second factor is to follow the password
_MOST = 50  # sessions of one account; the oldest end
_TOUCH = 60_000  # ms: use is noted that often, so that not every request writes

FULL, CODE = "full", "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session and whose it is. Times are in ms since the epoch; `stage` is `code` while the second factor is missing."""

    id: str
    account: Account
    stage: str
    fresh: int
    created: int
    used: int
    expires: int
    address: str

    def is_fresh(self, now: float) -> bool:
        """Whether the password was asked for just now. `now` is in seconds since the epoch."""
        return self.stage == FULL and 0 <= now * 1000 - self.fresh < FRESH


class Sessions:
    """Opens, finds and ends sessions. Thread-safe."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, connection: Connection, account: str, *, address: str, stage: str = FULL) -> str:
        """A new session, in the caller's transaction; returns its token, which is nowhere else."""
        now, token = self._now(), new_token()
        row = {
            "id": f"se_{random_text(20)}",
            "digest": digest_of(token),
            "account": account,
            "stage": stage,
            "fresh": now,
            "created": now,
            "used": now,
            "expires": now + (ABSOLUTE if stage == FULL else CODE_WITHIN),
            "address": address[:64],
        }
        session = tables.session
        connection.execute(sa.insert(session).values(**row))
        newest = sa.select(session.c.id).where(session.c.account == account)
        newest = newest.order_by(session.c.created.desc(), session.c.id).limit(_MOST)
        kept = [*connection.execute(newest).scalars(), row["id"]]
        connection.execute(sa.delete(session).where(session.c.account == account, session.c.id.not_in(kept)))
        return token

    def find(self, token: str, *, stage: str = FULL, using: bool = True) -> Session | None:
        """The session of a token, or None when it is over, not of this stage, or its account cannot be used any more. Only what
        somebody does counts as use: what a page asks for by itself is not `using` it."""
        if not is_token(token):
            return None
        now, session = self._now(), tables.session
        query = sa.select(session, *_OF_ACCOUNT).join(tables.account).where(session.c.digest == digest_of(token))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.stage != stage or now >= row.expires or now - row.used >= IDLE:
            return None
        found = _session(row)
        if not found.account.usable:
            return None
        if using and now - row.used >= _TOUCH:
            with self._database.write() as connection:
                connection.execute(sa.update(session).where(session.c.id == row.id).values(used=now))
        return found

    def renew(self, connection: Connection, session: str, *, fresh: bool) -> str:
        """Another token for a session, in the caller's transaction; the one before is worth nothing from then on."""
        token = new_token()
        values: dict[str, Any] = {"digest": digest_of(token), "used": self._now()}
        if fresh:
            values["fresh"] = self._now()
        connection.execute(sa.update(tables.session).where(tables.session.c.id == session).values(**values))
        return token

    def rotated(self, token: str) -> str | None:
        """Another token for the session of this one, when what it may do has changed; None when it is over."""
        session = self.find(token)
        if session is None:
            return None
        with self._database.write() as connection:
            return self.renew(connection, session.id, fresh=False)

    def end(self, token: str) -> None:
        """Sign out. What is none is over already."""
        if is_token(token):
            with self._database.write() as connection:
                connection.execute(sa.delete(tables.session).where(tables.session.c.digest == digest_of(token)))

    def end_one(self, account: str, session: str) -> bool:
        """End one of an account's sessions by its id; says whether there was one."""
        this = (tables.session.c.account == account, tables.session.c.id == session)
        with self._database.write() as connection:
            return bool(connection.execute(sa.delete(tables.session).where(*this)).rowcount)

    def of(self, account: str) -> list[Session]:
        """The sessions of an account that are not over, newest first."""
        now, session = self._now(), tables.session
        query = sa.select(session, *_OF_ACCOUNT).join(tables.account)
        query = query.where(session.c.account == account, session.c.expires > now, session.c.used > now - IDLE)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(session.c.created.desc(), session.c.id)).all()
        return [_session(row) for row in rows if row.stage == FULL]

    def sweep(self) -> int:
        """Forget sessions that are over; returns how many."""
        now, session = self._now(), tables.session
        over = sa.or_(session.c.expires <= now, session.c.used <= now - IDLE)
        with self._database.write() as connection:
            return connection.execute(sa.delete(session).where(over)).rowcount

    def _now(self) -> int:
        return int(self._clock() * 1000)


def csrf_token(token: str) -> str:
    """What a form of this session carries: only who has the session can know it (security promise 64)."""
    return hmac.digest(token.encode(), b"secure-delivery csrf 1", "sha256").hex()


def csrf_matches(token: str, given: str) -> bool:
    """Whether a request carries what a form of this session carries."""
    return hmac.compare_digest(csrf_token(token).encode(), given.encode("utf-8", "replace"))


_OF_ACCOUNT = [column.label(f"account_{column.name}") for column in tables.account.c]


class _Prefixed:
    """A row seen as one of accounts."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"account_{name}")


def _session(row: Any) -> Session:
    names = ("id", "stage", "fresh", "created", "used", "expires", "address")
    return Session(account=account_of(_Prefixed(row)), **{name: getattr(row, name) for name in names})
