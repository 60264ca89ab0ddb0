"""What is to be delivered, what is being delivered, and what became of it.

Knows: the rows of deliveries and tries; leases and fences; when the next try is due. Must not know: sockets, signatures,
threads.

A delivery is written down in the transaction of what it tells about, so neither is without the other. Who sends it takes a
lease first: the row says `sending`, and when anybody else may have it. The fence grows with each lease, and only who has the
newest one can say what came of it. A process that dies loses nothing: its lease ends, and another sends again under the same
event id.

Bodies and addresses that a request named are sealed. A body that tells what is in a file goes as soon as it is delivered or
given up; the others stay for sending again, as long as the log does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import Conflict, NotFound, VaultError
from . import tables
from .applications import Clock, random_text
from .database import Database
from .vault import Place, Vault
from .webhook_sending import Outcome
from .webhook_sign import PREVIEW

WAITING, SENDING, DELIVERED, FAILED = "waiting", "sending", "delivered", "failed"
STATES = (WAITING, SENDING, DELIVERED, FAILED)

_LARGEST_PAGE = 1000
_BEGINNING = 100  # characters of an answer to a preview that are kept
_SEEN = 8  # rows that are looked at for each that there is room for
_SWEEP = 500  # rows that are forgotten in one transaction
_HIDDEN = ("url", "body", "lane", "fence", "earlier")

delivery, attempt = tables.webhook_delivery, tables.webhook_attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What an application is told of: the same for every endpoint."""

    application: str
    event: str
    body: bytes = field(repr=False)
    event_id: str
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Full:
    """Lanes and applications of which nothing is wanted now."""

    lanes: Sequence[str] = ()
    applications: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery that this process may send until `ends` (ms since the epoch). `tries` counts this one, since the last time it
    was sent again by hand; `number` counts all."""

    id: str
    application: str
    webhook: str | None
    lane: str
    event: str
    event_id: str
    url: str | None = field(repr=False)
    body: bytes = field(repr=False)
    fence: int
    number: int
    tries: int
    ends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try, as the log has it. `started` in ms since the epoch, `took` in ms; `status` is None where nobody answered."""

    number: int
    started: int
    took: int
    status: int | None
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery, as the log has it. Moments are in ms since the epoch. `webhook` is None where a request named the address;
    `due` is the next try, or the end of the present one; `kept` says whether its body is still there to be sent again."""

    id: str
    application: str
    webhook: str | None
    event: str
    event_id: str
    job: str | None
    size: int
    state: str
    due: int | None
    attempts: int
    status: int | None
    answer: str | None
    created: int
    finished: int | None
    kept: bool


NONE = Full()


class Deliveries:
    """The log of all applications. Thread-safe. `lease` is in seconds, and longer than a try can take."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, *, lease: float) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._lease = int(lease * 1000)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    # -- writing down

    def add(
        self,
        connection: Connection,
        message: Message,
        *,
        lane: str,
        webhook: str | None = None,
        url: str | None = None,
        hold: float = 0.0,
    ) -> str:
        """Write a delivery down in the caller's transaction; returns its id. For `hold` seconds only `claim_one` takes it."""
        name, now, application = f"wd_{random_text(24)}", self.now(), message.application
        row = {
            "id": name,
            "application": application,
            "webhook": webhook,
            "url": None if url is None else self._vault.seal(url.encode(), place=_place(application, name, "url")),
            "lane": lane,
            "event": message.event,
            "event_id": message.event_id,
            "job": message.job,
            "body": self._vault.seal(message.body, place=_place(application, name, "body")),
            "size": len(message.body),
            "state": WAITING,
            "due": now + int(hold * 1000),
            "fence": 0,
            "attempts": 0,
            "earlier": 0,
            "created": now,
        }
        connection.execute(sa.insert(delivery).values(**row))
        return name

    # -- taking and giving back

    def next_due(self, *, but: Full = NONE) -> int | None:
        """When the next try is due, in ms since the epoch; None when nothing waits. `but` is left out."""
        with self._database.read() as connection:
            due = connection.execute(_without(sa.select(sa.func.min(delivery.c.due)), but)).scalar_one()
        return None if due is None else int(due)

    def claim(self, room: int, *, but: Full = NONE, admit: Callable[[str, str], bool]) -> list[Claim]:
        """Take what is due, earliest first, at most `room` deliveries, nothing of `but`. `admit` is asked about each with its
        lane and application, and counts what it admits."""
        query = _without(sa.select(delivery.c.id, delivery.c.lane, delivery.c.application), but)
        query = query.where(delivery.c.due <= self.now())
        query = query.order_by(delivery.c.due).limit(room * _SEEN).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            taken: list[str] = []
            for row in connection.execute(query):
                if len(taken) < room and admit(row.lane, row.application):
                    taken.append(row.id)
            return self._take(connection, taken)

    def claim_one(self, name: str) -> Claim | None:
        """Take this delivery before it is due; None when somebody else is sending it, or it is over. Raises `NotFound`."""
        query = sa.select(delivery.c.state, delivery.c.due).where(delivery.c.id == name).with_for_update()
        with self._database.write() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise no_delivery()
            if row.due is None or (row.state == SENDING and row.due > self.now()):
                return None
            claims = self._take(connection, [name])
        return claims[0] if claims else None

    def _take(self, connection: Connection, names: list[str]) -> list[Claim]:
        if not names:
            return []
        ends = self.now() + self._lease
        mine = delivery.c.id.in_(names)
        taken = {"state": SENDING, "due": ends, "fence": delivery.c.fence + 1, "attempts": delivery.c.attempts + 1}
        connection.execute(sa.update(delivery).where(mine).values(**taken))
        claims = []
        for row in connection.execute(sa.select(delivery).where(mine)).all():
            try:
                claims.append(self._claimed(row, ends))
            except VaultError:  # nobody will ever read it: its key is gone
                lost = {"state": FAILED, "due": None, "finished": self.now(), "answer": "Its content cannot be opened."}
                connection.execute(sa.update(delivery).where(delivery.c.id == row.id).values(**lost))
        return claims

    def _claimed(self, row: sa.Row[Any], ends: int) -> Claim:
        def opened(name: str) -> bytes | None:
            sealed = getattr(row, name)
            return None if sealed is None else self._vault.open(sealed, place=_place(row.application, row.id, name))

        url = opened("url")
        return Claim(
            id=row.id,
            application=row.application,
            webhook=row.webhook,
            lane=row.lane,
            event=row.event,
            event_id=row.event_id,
            url=None if url is None else url.decode(),
            body=opened("body") or b"",
            fence=row.fence,
            number=row.attempts,
            tries=row.attempts - row.earlier,
            ends=ends,
        )

    def settle(
        self,
        claim: Claim,
        outcome: Outcome,
        *,
        started: int,
        again: float | None,
        also: Callable[[Connection], None] | None = None,
    ) -> bool:
        """Write down what came of a try: delivered, to be tried again in `again` seconds, or given up. False when the lease was
        lost meanwhile: then nothing is written. `also` is done in the same transaction."""
        over = outcome.delivered or again is None
        # A receiver that repeats what it was sent is not to bring content into the log: its beginning is ids and addresses.
        answer = (outcome.answer[:_BEGINNING] if claim.event == PREVIEW else outcome.answer) or None
        values: dict[str, Any] = {
            "state": DELIVERED if outcome.delivered else FAILED if over else WAITING,
            "due": None if over else self.now() + int((again or 0) * 1000),
            "status": outcome.status,
            "answer": answer,
        }
        if over:
            values["finished"] = self.now()
            if claim.event == PREVIEW:
                values["body"] = None
        mine = (delivery.c.id == claim.id, delivery.c.fence == claim.fence, delivery.c.state == SENDING)
        row = {"delivery": claim.id, "number": claim.number, "started": started, "took": outcome.took}
        with self._database.write() as connection:
            if not connection.execute(sa.update(delivery).where(*mine).values(**values)).rowcount:
                return False
            seen = {"status": outcome.status, "answer": answer}
            connection.execute(sa.insert(attempt).values(**row, **seen))
            if also is not None:
                also(connection)
        return True

    def again(self, name: str, *, application: str | None = None, body: Callable[[Delivery], bytes | None]) -> Delivery:
        """Have a delivery that is over sent once more, now, with its event id; one that waits is sent now. `body` makes its
        body where that is not kept. Raises `NotFound`, and `Conflict` where there is none."""
        found = self.one(name, application=application)
        made = None if found.kept or found.state in (WAITING, SENDING) else body(found)
        if made is None and not found.kept:
            raise Conflict(public="What this delivery told is not kept any more.")
        now = self.now()
        values: dict[str, Any] = {"state": WAITING, "due": now, "finished": None, "earlier": delivery.c.attempts}
        if made is not None:
            values |= {"body": self._vault.seal(made, place=_place(found.application, name, "body")), "size": len(made)}
        over = (delivery.c.id == name, delivery.c.state.in_((DELIVERED, FAILED)))
        waits = (delivery.c.id == name, delivery.c.state == WAITING)
        with self._database.write() as connection:
            connection.execute(sa.update(delivery).where(*waits).values(due=now))
            if made is not None:
                connection.execute(sa.update(delivery).where(*over).values(**values))
            else:  # it may have been taken away this very moment
                connection.execute(sa.update(delivery).where(*over, delivery.c.body.is_not(None)).values(**values))
        return self.one(name)

    # -- looking

    def one(self, name: str, *, application: str | None = None) -> Delivery:
        """One delivery. Raises `NotFound`, also for one of another application."""
        query = sa.select(delivery).where(delivery.c.id == name)
        if application is not None:
            query = query.where(delivery.c.application == application)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise no_delivery()
        return _read(row)

    def body(self, name: str, *, application: str) -> bytes | None:
        """What a delivery tells, as it is sent; None where that is not kept, or cannot be opened. Raises `NotFound`."""
        query = sa.select(delivery.c.body).where(delivery.c.id == name, delivery.c.application == application)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise no_delivery()
        try:
            return None if row.body is None else self._vault.open(row.body, place=_place(application, name, "body"))
        except VaultError:
            return None

    def tries(self, name: str) -> list[Try]:
        """What came of each try, in their order. One that a process did not survive is missing."""
        query = sa.select(attempt).where(attempt.c.delivery == name).order_by(attempt.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Try(**{key: value for key, value in row._asdict().items() if key != "delivery"}) for row in rows]

    def page(
        self,
        application: str,
        *,
        webhook: str | None = None,
        state: str | None = None,
        event: str | None = None,
        job: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """A page of an application's deliveries, newest first, behind the delivery `after`. Raises `NotFound` for none such."""
        query = sa.select(delivery).where(delivery.c.application == application)
        for name, value in (("webhook", webhook), ("state", state), ("event", event), ("job", job)):
            if value is not None:
                query = query.where(delivery.c[name] == value)
        if after is not None:
            last = self.one(after, application=application)
            earlier = sa.and_(delivery.c.created == last.created, delivery.c.id < last.id)
            query = query.where(sa.or_(delivery.c.created < last.created, earlier))
        query = query.order_by(delivery.c.created.desc(), delivery.c.id.desc()).limit(max(1, min(limit, _LARGEST_PAGE)))
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    # -- forgetting

    def forget(self, *, before: int) -> int:
        """Delete what was over before this moment (ms since the epoch); returns how many, at most some hundred."""
        old = sa.select(delivery.c.id).where(delivery.c.finished.is_not(None), delivery.c.finished < before).limit(_SWEEP)
        with self._database.read() as connection:
            names = list(connection.execute(old).scalars())
        if not names:
            return 0
        with self._database.write() as connection:
            gone = sa.delete(delivery).where(delivery.c.id.in_(names), delivery.c.finished < before)
            return connection.execute(gone).rowcount


def no_delivery() -> NotFound:
    """The fault for a delivery that does not exist, or belongs to somebody else."""
    return NotFound("no such delivery", public="There is no such delivery.")


def _without(query: sa.Select[Any], but: Full) -> sa.Select[Any]:
    """What has a next try, apart from what is full."""
    query = query.where(delivery.c.due.is_not(None))
    if but.lanes:
        query = query.where(delivery.c.lane.not_in(but.lanes))
    return query.where(delivery.c.application.not_in(but.applications)) if but.applications else query


def _place(application: str, name: str, field: str) -> Place:
    return Place(table="webhook_delivery", row=name, field=field, application=application)


def _read(row: sa.Row[Any]) -> Delivery:
    values = {name: value for name, value in row._asdict().items() if name not in _HIDDEN}
    return Delivery(**values, kept=row.body is not None)
