"""The audit log: who changed what, when, from where, and what it was before.

Knows: the rows of the log; how values are made fit for it. Must not know: what changes mean, who may read about them.

Entries are only added: the database itself refuses to change or delete one, and none refers to another table, so they outlive
what they tell of. They are written in the transaction of the change: neither is there without the other. Secrets are never in
it: who writes says what is written, and values under names of secrets are left out whoever forgot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..gate.errors import NotFound
from . import tables
from .applications import Clock, random_text
from .database import Database

_TEXT = 512  # characters of one text (as in log lines: security promise 61)
_ITEMS = 100  # of one list or object
_DEPTH = 4
_WHOLE = 16_384  # characters of `before` or `after` as JSON
_PAGE, _LARGEST_PAGE = 50, 1000
_SECRET = re.compile(r"(?i)secret|password|passwd|token|credential|signature|totp|recovery|private|sealed|digest|cookie")
LEFT_OUT = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something. `id` is that of an account, or `cli`; `means` says how: cli, session, or the id of an API token."""

    id: str
    name: str
    means: str
    address: str | None = None


#: Whoever runs commands on the machine. The operating system knows who that is; we do not.
CLI = Actor(id="cli", name="command line", means="cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `at` is in ms since the epoch; `before` and `after` hold what was changed, as JSON values."""

    id: str
    at: int
    actor: str
    name: str
    means: str
    address: str | None
    action: str
    application: str | None
    subject: str
    before: Any
    after: Any


class Audit:
    """Writes and reads the log. Thread-safe."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def write(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        *,
        subject: str = "",
        application: str | None = None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an entry in the transaction of the change. Where both are given, only what differs is kept of them."""
        if before is not None and after is not None:
            names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
            before = {name: before[name] for name in names if name in before}
            after = {name: after[name] for name in names if name in after}
        row = {
            "id": f"au_{random_text(20)}",
            "at": int(self._clock() * 1000),
            "actor": _text(actor.id),
            "name": _text(actor.name),
            "means": _text(actor.means),
            "address": None if actor.address is None else _text(actor.address),
            "action": action,
            "application": application,
            "subject": _text(subject),
            "before": _bounded(before),
            "after": _bounded(after),
        }
        connection.execute(sa.insert(tables.audit).values(**row))

    def page(
        self,
        *,
        actor: str | None = None,
        application: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: str | None = None,
        limit: int = _PAGE,
    ) -> list[Entry]:
        """A page of the log, newest first, behind the entry `after`; at most 1,000.

        `action` is a whole action or, ending in a dot, all of a kind (`application.`); `since` and `until` are in ms since the
        epoch, the second not included. Raises `NotFound` for an `after` that is none.
        """
        log = tables.audit
        query = sa.select(log)
        for column, wanted in ((log.c.actor, actor), (log.c.application, application), (log.c.subject, subject)):
            if wanted is not None:
                query = query.where(column == _text(wanted))
        if action is not None:
            kind = log.c.action.startswith(_text(action), autoescape=True)
            query = query.where(kind if action.endswith(".") else log.c.action == _text(action))
        if since is not None:
            query = query.where(log.c.at >= since)
        if until is not None:
            query = query.where(log.c.at < until)
        with self._database.read() as connection:
            if after is not None:
                at = connection.execute(sa.select(log.c.at).where(log.c.id == _text(after))).scalar_one_or_none()
                if at is None:
                    raise NotFound("no such entry", public="There is no such entry in the audit log.")
                query = query.where(sa.or_(log.c.at < at, sa.and_(log.c.at == at, log.c.id < after)))
            query = query.order_by(log.c.at.desc(), log.c.id.desc()).limit(max(1, min(limit, _LARGEST_PAGE)))
            return [Entry(**row._asdict()) for row in connection.execute(query)]


def _text(text: str) -> str:
    """A text that both databases take and that no line of a log or a terminal is broken by."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[: _TEXT + 1])
    return clean if len(clean) <= _TEXT else clean[: _TEXT - 1] + LEFT_OUT


def _bounded(values: Mapping[str, Any] | None) -> Any:
    if values is None:
        return None
    made = _clean(values, _DEPTH)
    if len(json.dumps(made, ensure_ascii=False)) <= _WHOLE:
        return made
    return dict.fromkeys(made, LEFT_OUT)


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        if not depth:
            return LEFT_OUT
        pairs = [(str(name), item) for name, item in list(value.items())[:_ITEMS]]
        return {_text(name): _kept(name, item, depth) for name, item in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)
        return [_clean(item, depth - 1) for item in items[:_ITEMS]] if depth else LEFT_OUT
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return _text(str(value))


def _kept(name: str, item: Any, depth: int) -> Any:
    """What is under a name. A secret's text is left out; that there is one, or how many, is not secret."""
    if _SECRET.search(name) and not (item is None or isinstance(item, (bool, int))):
        return LEFT_OUT
    return _clean(item, depth - 1)
