"""Storages of applications, uploads in parts, and files that expire, wait for a scanner or can be restored."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns. Files that are there stay for good; what they take is counted once."""
    for name, kind in (
        ("expires", sa.BigInteger),
        ("removed", sa.BigInteger),
        ("held", sa.BigInteger),
        ("source_url", sa.Text),
        ("lasting", sa.BigInteger),
    ):
        op.add_column("file", sa.Column(name, kind, nullable=True))
    op.create_index("ix_file_storage_key", "file", ["storage", "key"])
    op.create_index("ix_file_application_sha256", "file", ["application", "sha256"])
    for name in ("expires", "removed", "held"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_file_{name}", "file", [name], sqlite_where=there, postgresql_where=there)
    _usage()
    _storages()
    _uploads()
    _keep_for_good()


def _keep_for_good() -> None:
    """Applications that are there used the server's own storage for good, and go on so: nothing of theirs expires."""
    application = sa.table("application", sa.column("api_key", sa.Text), sa.column("settings", sa.JSON))
    connection = op.get_bind()
    for api_key, settings in connection.execute(sa.select(application.c.api_key, application.c.settings)).all():
        kept = sa.update(application).where(application.c.api_key == api_key)
        connection.execute(kept.values(settings={"storage": "server", **settings}))


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=nullable)


def _belongs(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_application_application"
    return sa.ForeignKeyConstraint(["application"], ["application.api_key"], name=name, ondelete="CASCADE")


def _usage() -> None:
    op.create_table(
        "usage",
        *(_column(name, sa.Text) for name in ("application", "storage")),
        *(_column(name, sa.BigInteger) for name in ("files", "bytes")),
        sa.PrimaryKeyConstraint("application", "storage", name="pk_usage"),
        _belongs("usage"),
    )
    op.execute(
        "INSERT INTO usage (application, storage, files, bytes)"
        " SELECT application, storage, count(*), sum(size) FROM file GROUP BY application, storage"
    )


def _storages() -> None:
    op.create_table(
        "storage",
        *(_column(name, sa.Text) for name in ("id", "application", "name", "provider")),
        _column("options", sa.JSON),
        _column("sealed", sa.Text, nullable=True),
        _column("created", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_storage"),
        sa.UniqueConstraint("application", "name", name="uq_storage_application_name"),
        _belongs("storage"),
    )


def _uploads() -> None:
    op.create_table(
        "upload",
        *(_column(name, sa.Text) for name in ("id", "application", "filename", "storage", "mode")),
        *(
            _column(name, sa.Text, nullable=True)
            for name in ("mimetype", "container", "path", "access", "key", "remote", "handle")
        ),
        *(_column(name, sa.BigInteger, nullable=True) for name in ("size", "min_size", "max_size", "finished")),
        *(_column(name, sa.BigInteger) for name in ("created", "expires", "received", "pieces")),
        _column("options", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_upload"),
        _belongs("upload"),
    )
    op.create_index("ix_upload_expires", "upload", ["expires"])
    op.create_index("ix_upload_application", "upload", ["application"])
    op.create_table(
        "upload_part",
        *(_column(name, sa.Text) for name in ("upload", "md5", "name")),
        *(_column(name, sa.BigInteger) for name in ("number", "start", "size")),
        sa.PrimaryKeyConstraint("upload", "number", "start", name="pk_upload_part"),
        sa.ForeignKeyConstraint(["upload"], ["upload.id"], name="fk_upload_part_upload_upload", ondelete="CASCADE"),
    )
