"""Webhooks: where events are sent, what waits to be sent, and what became of every try."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables. Nobody has a webhook before."""
    _webhooks()
    _deliveries()
    _attempts()


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=nullable)


def _refers(table: str, column: str, other: str, key: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.{key}"], name=f"fk_{table}_{column}_{other}", ondelete="CASCADE")


def _webhooks() -> None:
    op.create_table(
        "webhook",
        *(_column(name, sa.Text) for name in ("id", "application", "url", "secret", "state")),
        _column("events", sa.JSON),
        _column("previous", sa.Text, nullable=True),
        _column("until", sa.BigInteger, nullable=True),
        _column("created", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
        _refers("webhook", "application", "application", "api_key"),
    )
    op.create_index("ix_webhook_application", "webhook", ["application"])


def _deliveries() -> None:
    table = "webhook_delivery"
    op.create_table(
        table,
        *(_column(name, sa.Text) for name in ("id", "application", "lane", "event", "event_id", "state")),
        *(_column(name, sa.Text, nullable=True) for name in ("webhook", "url", "job", "body", "answer")),
        *(_column(name, sa.BigInteger) for name in ("size", "fence", "attempts", "earlier", "created")),
        *(_column(name, sa.BigInteger, nullable=True) for name in ("due", "status", "finished")),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        _refers(table, "application", "application", "api_key"),
        _refers(table, "webhook", "webhook", "id"),
    )
    op.create_index("ix_webhook_delivery_application_created_id", table, ["application", "created", "id"])
    for name in ("webhook", "job"):
        op.create_index(f"ix_webhook_delivery_{name}", table, [name])
    for name in ("due", "finished"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_webhook_delivery_{name}", table, [name], sqlite_where=there, postgresql_where=there)


def _attempts() -> None:
    op.create_table(
        "webhook_attempt",
        _column("delivery", sa.Text),
        *(_column(name, sa.BigInteger) for name in ("number", "started", "took")),
        _column("status", sa.BigInteger, nullable=True),
        _column("answer", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("delivery", "number", name="pk_webhook_attempt"),
        _refers("webhook_attempt", "delivery", "webhook_delivery", "id"),
    )
