"""Indexes by which files are listed in several orders, and one order of names in both databases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes. PostgreSQL compares handles, names and types byte by byte from now on, as SQLite does."""
    if op.get_bind().dialect.name == "postgresql":
        for name in ("handle", "filename", "mimetype"):
            op.alter_column("file", name, type_=sa.Text(collation="C"), existing_nullable=False)
    op.create_index("ix_file_application_name", "file", ["application", sa.text("lower(filename)"), "handle"])
    op.create_index("ix_file_application_size_handle", "file", ["application", "size", "handle"])
    op.create_index("ix_file_application_mimetype_uploaded_handle", "file", ["application", "mimetype", "uploaded", "handle"])
    gone = sa.text("removed IS NOT NULL")
    op.create_index(
        "ix_file_application_removed",
        "file",
        ["application", "uploaded", "handle"],
        sqlite_where=gone,
        postgresql_where=gone,
    )
