"""Who would be refused if policies were required: by application, kind of request and host."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. Nothing was reported before."""
    key = ("application", "kind", "who")
    op.create_table(
        "would_refuse",
        *(sa.Column(name, sa.Text, nullable=False) for name in key),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("count", "first", "last")),
        sa.ForeignKeyConstraint(
            ["application"], ["application.api_key"], name="fk_would_refuse_application_application", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*key, name="pk_would_refuse"),
    )
