"""What is sealed in columns of webhooks, jobs and accounts, brought under a new master key.

Knows: which columns hold sealed values, and the places that these open in. Must not know: what the values mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from . import tables
from .database import Database
from .vault import Place, Vault, key_of

Columns = Sequence[tuple[sa.Table, str]]

WEBHOOKS: Columns = (
    (tables.webhook, "secret"),
    (tables.webhook, "previous"),
    (tables.webhook_delivery, "url"),
    (tables.webhook_delivery, "body"),
)
JOBS: Columns = ((tables.job, "sealed"),)
ACCOUNTS: Columns = ((tables.account, "totp"),)


class Sealed:
    """The sealed values of some columns, of tables with `id`, and `application` where one owns the row. Thread-safe."""

    def __init__(self, database: Database, vault: Vault, columns: Columns) -> None:
        self._database = database
        self._vault = vault
        self._columns = columns

    def count(self) -> int:
        """How many there are."""
        with self._database.read() as connection:
            return sum(connection.execute(_counted(table, field)).scalar_one() for table, field in self._columns)

    def keys(self) -> set[str]:
        """The ids of the master keys that they are sealed under."""
        found: set[str] = set()
        with self._database.read() as connection:
            for table, field in self._columns:
                texts = connection.execute(sa.select(table.c[field]).where(table.c[field].is_not(None))).scalars()
                found |= {key_of(text) for text in texts}
        return found

    def rewrap(self, progress: Callable[[], object] | None = None) -> int:
        """Bring every value under the current master key; returns how many had to be changed. Can be interrupted anywhere and
        repeated (security promise 58). `progress` is called after each."""
        changed = 0
        for table, field in self._columns:
            with self._database.read() as connection:
                query = sa.select(table.c.id, _owner(table)).where(table.c[field].is_not(None))
                rows = connection.execute(query).all()
            for row in rows:  # bodies are long: one after the other
                changed += self._one(table, field, row.id, row.application)
                if progress is not None:
                    progress()
        return changed

    def _one(self, table: sa.Table, field: str, name: str, application: str) -> int:
        this = table.c.id == name
        with self._database.read() as connection:
            text = connection.execute(sa.select(table.c[field]).where(this)).scalar_one_or_none()
        if text is None:
            return 0
        place = Place(table=table.name, row=name, field=field, application=application)
        sealed = self._vault.rewrap(text, place=place)
        if sealed == text:
            return 0
        with self._database.write() as connection:  # a row that was deleted or changed meanwhile needs nothing
            return connection.execute(sa.update(table).where(this, table.c[field] == text).values({field: sealed})).rowcount


def _owner(table: sa.Table) -> sa.ColumnElement[str]:
    """The owner of a row; "" for what belongs to the service, as in `Place`."""
    found = table.c.get("application")
    return sa.literal("").label("application") if found is None else found


def _counted(table: sa.Table, field: str) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(table.c[field].is_not(None))
