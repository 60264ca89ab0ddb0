"""Applications with their secrets, stored files, renditions, and the counters of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the two counters."""
    counters = op.create_table(
        "generation",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_generation"),
        sa.CheckConstraint("name IN ('applications', 'files')", name=op.f("ck_generation_known")),
    )
    op.bulk_insert(counters, [{"name": name, "value": 1} for name in ("applications", "files")])
    _applications()
    _files()


def _owner() -> sa.Column[str]:
    return sa.Column("application", sa.Text, nullable=False)


def _belongs(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_application_application"
    return sa.ForeignKeyConstraint(["application"], ["application.api_key"], name=name, ondelete="CASCADE")


def _applications() -> None:
    op.create_table(
        "application",
        sa.Column("api_key", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("api_key", name="pk_application"),
    )
    op.create_table(
        "application_secret",
        _owner(),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("application", "id", name="pk_application_secret"),
        sa.UniqueConstraint("application", "number", name="uq_application_secret_application_number"),
        _belongs("application_secret"),
    )


def _files() -> None:
    op.create_table(
        "file",
        sa.Column("handle", sa.Text, nullable=False),
        _owner(),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("mimetype", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("container", sa.Text, nullable=True),
        sa.Column("path", sa.Text, nullable=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("uploaded", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("handle", name="pk_file"),
        sa.UniqueConstraint("application", "handle", name="uq_file_application_handle"),
        _belongs("file"),
    )
    op.create_index("ix_file_application_uploaded_handle", "file", ["application", "uploaded", "handle"])
    op.create_table(
        "rendition",
        _owner(),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("handle", sa.Text, nullable=True),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("storage_key", sa.Text, nullable=False),
        sa.Column("mimetype", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("application", "key", name="pk_rendition"),
        sa.ForeignKeyConstraint(
            ["application", "handle"],
            ["file.application", "file.handle"],
            name="fk_rendition_application_file",
            ondelete="CASCADE",
        ),
        _belongs("rendition"),
    )
    op.create_index("ix_rendition_handle", "rendition", ["handle"])
