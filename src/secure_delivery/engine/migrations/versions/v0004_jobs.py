"""Jobs, and the trace of what existed where because of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=nullable)


def upgrade() -> None:
    """Add the tables. Nothing that is there changes."""
    op.create_table(
        "job",
        *(_column(name, sa.Text) for name in ("id", "application", "kind", "state", "step")),
        _column("urgency", sa.BigInteger),
        _column("cost", sa.Text),
        *(_column(name, sa.BigInteger) for name in ("run_at", "attempts", "fence")),
        _column("lease", sa.BigInteger, nullable=True),
        _column("worker", sa.Text, nullable=True),
        *(_column(name, sa.BigInteger) for name in ("cancelling", "told")),
        *(_column(name, sa.Text, nullable=True) for name in ("key", "digest", "sealed")),
        *(_column(name, sa.JSON, nullable=True) for name in ("data", "result", "error")),
        _column("created", sa.BigInteger),
        *(_column(name, sa.BigInteger, nullable=True) for name in ("started", "finished", "purged")),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("application", "key", name="uq_job_application_key"),
        sa.ForeignKeyConstraint(
            ["application"], ["application.api_key"], name="fk_job_application_application", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_state_application_urgency_run_at_id", "job", ["state", "application", "urgency", "run_at", "id"])
    op.create_index("ix_job_state_run_at", "job", ["state", "run_at"])
    op.create_index("ix_job_application_created_id", "job", ["application", "created", "id"])
    for name in ("lease", "finished"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_job_{name}", "job", [name], sqlite_where=there, postgresql_where=there)
    op.create_table(
        "job_trace",
        _column("job", sa.Text),
        *(_column(name, sa.BigInteger) for name in ("number", "at")),
        *(_column(name, sa.Text) for name in ("what", "place")),
        _column("size", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("job", "number", name="pk_job_trace"),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name="fk_job_trace_job_job", ondelete="CASCADE"),
    )
