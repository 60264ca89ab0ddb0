"""Results of transformations become files of a folder; what was kept of them in storages is written down to be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note the bytes of all results as to be deleted, which happens at the next start, and drop their table."""
    op.create_table(
        "blob_to_delete",
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("storage", "key", name="pk_blob_to_delete"),
    )
    op.execute("INSERT INTO blob_to_delete (storage, key) SELECT DISTINCT storage, storage_key FROM rendition")
    op.drop_index("ix_rendition_handle", "rendition")
    op.drop_table("rendition")
