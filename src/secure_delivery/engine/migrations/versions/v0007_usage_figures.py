"""Usage figures: what happened, by application and time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. Nothing was counted before."""
    key = ("period", "at", "application", "name", "label")
    op.create_table(
        "figure",
        *(sa.Column(name, sa.BigInteger if name == "at" else sa.Text, nullable=False) for name in key),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_figure"),
    )
