"""Where applications want their events: endpoints, the events they take, and the secrets that sign.

Knows: the rows of endpoints; that their secrets are sealed. Must not know: HTTP, deliveries, what events say.

A secret is shown when it is made and never again. Rotating leaves the one before in force for a while: both sign, so that the
owner can change his side whenever he likes within it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import BadRequest, Conflict, NotFound
from . import tables
from .applications import Clock, no_application, random_text
from .database import Database
from .vault import Place, Vault
from .webhook_sign import EVENTS, checked_secret, new_secret

MOST = 20  # endpoints of one application
MAX_GRACE = 7 * 86_400  # seconds: long enough for a release of the owner's program
_REMEMBERED = 1024  # applications per process; beyond it the memory starts anew

ACTIVE, OFF, GONE = "active", "off", "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events of an application go. `events` is empty for all; `state` is active, off (by its owner) or gone (it answered
    410); `created` and `until` are in ms since the epoch, `until` is when the secret before the present one stops signing."""

    id: str
    application: str
    url: str = field(repr=False)
    events: tuple[str, ...]
    state: str
    created: int
    until: int | None = None
    secret: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)

    def takes(self, event: str) -> bool:
        """Whether it wants this event, and anything at all."""
        return self.state == ACTIVE and (not self.events or event in self.events)


_ALL = (
    sa.select(tables.webhook)
    .where(tables.webhook.c.application == sa.bindparam("owner"))
    .order_by(tables.webhook.c.created, tables.webhook.c.id)
)
_ALL_HELD = _ALL.with_for_update(read=True, key_share=True)


class Endpoints:
    """The endpoints of all applications. Thread-safe. `check` is asked about every address and raises `BadRequest`."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, *, check: Callable[[str], object]) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._check = check
        self._known: dict[str, tuple[object, tuple[Endpoint, ...]]] = {}

    # -- finding

    def of(self, application: str) -> tuple[Endpoint, ...]:
        """The endpoints of an application, oldest first. Remembered until any process changes one."""
        token = self._database.generation()
        known = self._known.get(application)
        if known is not None and known[0] == token:
            return known[1]
        with self._database.read() as connection:
            found = tuple(self._rows(connection, application))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[application] = (token, found)
        return found

    def get(self, application: str, webhook: str) -> Endpoint:
        """One endpoint. Raises `NotFound`, also for one of another application."""
        for endpoint in self.of(application):
            if endpoint.id == webhook:
                return endpoint
        raise _no_webhook()

    def wants(self, application: str, event: str) -> bool:
        """Whether any endpoint takes this event."""
        return any(endpoint.takes(event) for endpoint in self.of(application))

    def taking(self, connection: Connection, application: str, event: str) -> list[Endpoint]:
        """The endpoints that take an event, by the caller's transaction: until it ends none of them can go."""
        return [endpoint for endpoint in self._rows(connection, application, hold=True) if endpoint.takes(event)]

    def keys(self, endpoint: Endpoint) -> list[str]:
        """The secrets that sign now, newest first."""
        names = ["secret"]
        if endpoint.previous is not None and endpoint.until is not None and self._now() < endpoint.until:
            names.append("previous")
        return [self._vault.open(getattr(endpoint, name), place=_place(endpoint, name)).decode() for name in names]

    # -- changing

    def add(
        self, application: str, url: str, *, events: Iterable[str] = (), secret: str | None = None, active: bool = True
    ) -> tuple[Endpoint, str]:
        """A new endpoint and the text of its secret, which is shown this once. Without `events` it takes all.

        Raises `BadRequest` for an address that may not be one, an event that does not exist and a weak secret of the caller's
        own, `Conflict` for too many endpoints, `NotFound` without the application.
        """
        self._check(url)
        text = new_secret() if secret is None else checked_secret(secret)
        endpoint = self._with_secret(
            id=f"wh_{random_text(20)}",
            application=application,
            url=url,
            events=_known_events(events),
            state=ACTIVE if active else OFF,
            created=self._now(),
            text=text,
        )
        try:
            with self._database.write() as connection:
                if len(list(self._rows(connection, application))) >= MOST:
                    raise Conflict(public=f"An application has at most {MOST} webhooks.")
                connection.execute(sa.insert(tables.webhook).values(**_values(endpoint)))
                self._database.bump(connection)
        except IntegrityError:
            raise no_application() from None
        return endpoint, text

    def change(
        self,
        application: str,
        webhook: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        active: bool | None = None,
    ) -> Endpoint:
        """Change what is named. Switching on also brings back one that is gone. Raises like `add`, and `NotFound`."""
        changes: dict[str, Any] = {}
        if url is not None:
            self._check(url)
            changes["url"] = url
        if events is not None:
            changes["events"] = list(_known_events(events))
        if active is not None:
            changes["state"] = ACTIVE if active else OFF
        return self._update(application, webhook, changes)

    def rotate(self, application: str, webhook: str, *, grace: int = 86_400, secret: str | None = None) -> tuple[Endpoint, str]:
        """A new secret; returns the endpoint and the secret's text, shown this once. The one before signs too for `grace`
        seconds, at most a week; the one before that does not any more. Raises `BadRequest`, `NotFound`."""
        if not 0 <= grace <= MAX_GRACE:
            raise BadRequest(public=f"A grace period is 0 to {MAX_GRACE} seconds.")
        text = new_secret() if secret is None else checked_secret(secret)
        with self._database.write() as connection:
            old = self._locked(connection, application, webhook)
            before = self._vault.open(old.secret, place=_place(old, "secret"))
            changes = {
                "secret": self._vault.seal(text.encode(), place=_place(old, "secret")),
                "previous": self._vault.seal(before, place=_place(old, "previous")) if grace else None,
                "until": self._now() + grace * 1000 if grace else None,
            }
            fresh = self._set(connection, old, changes)
        return fresh, text

    def remove(self, application: str, webhook: str) -> None:
        """Forget an endpoint with its secrets, its log and what waits for it. Raises `NotFound`."""
        with self._database.write() as connection:
            old = self._locked(connection, application, webhook)
            connection.execute(sa.delete(tables.webhook).where(tables.webhook.c.id == old.id))
            self._database.bump(connection)

    def mark_gone(self, connection: Connection, webhook: str) -> None:
        """Send an endpoint nothing more, because it said so."""
        this = tables.webhook.c.id == webhook
        connection.execute(sa.update(tables.webhook).where(this, tables.webhook.c.state == ACTIVE).values(state=GONE))
        self._database.bump(connection)

    # -- helpers

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _with_secret(self, *, text: str, **values: Any) -> Endpoint:
        bare = Endpoint(secret="", **values)
        sealed = self._vault.seal(text.encode(), place=_place(bare, "secret"))
        return Endpoint(secret=sealed, **values)

    def _rows(self, connection: Connection, application: str, *, hold: bool = False) -> Iterator[Endpoint]:
        for row in connection.execute(_ALL_HELD if hold else _ALL, {"owner": application}):
            yield _read(row)

    def _locked(self, connection: Connection, application: str, webhook: str) -> Endpoint:
        mine = (tables.webhook.c.id == webhook, tables.webhook.c.application == application)
        row = connection.execute(sa.select(tables.webhook).where(*mine).with_for_update()).one_or_none()
        if row is None:
            raise _no_webhook()
        return _read(row)

    def _update(self, application: str, webhook: str, changes: dict[str, Any]) -> Endpoint:
        with self._database.write() as connection:
            return self._set(connection, self._locked(connection, application, webhook), changes)

    def _set(self, connection: Connection, old: Endpoint, changes: dict[str, Any]) -> Endpoint:
        if changes:
            connection.execute(sa.update(tables.webhook).where(tables.webhook.c.id == old.id).values(**changes))
            self._database.bump(connection)
        return _read(connection.execute(sa.select(tables.webhook).where(tables.webhook.c.id == old.id)).one())


def _no_webhook() -> NotFound:
    return NotFound("no such webhook", public="There is no such webhook.")


def _known_events(events: Iterable[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(events))
    for event in wanted:
        if event not in EVENTS:
            raise BadRequest(public=f"There is no event '{event[:60]}'; there are: {', '.join(EVENTS)}.")
    return wanted


def _place(endpoint: Endpoint, field: str) -> Place:
    return Place(table="webhook", row=endpoint.id, field=field, application=endpoint.application)


def _read(row: sa.Row[Any]) -> Endpoint:
    return Endpoint(**{**row._asdict(), "events": tuple(row.events)})


def _values(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in Endpoint.__slots__} | {"events": list(endpoint.events)}
