"""Accounts of the portal, their sessions, tokens and links, and the log of what they change."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REFUSED = "the audit log is only added to"


def upgrade() -> None:
    """Add the tables. Nobody has an account before."""
    _accounts()
    _of_accounts()
    _sessions()
    _tokens()
    _attempts()
    _audit()
    _only_added_to()


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=nullable)


def _account_of(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["account"], ["account.id"], name=f"fk_{table}_account_account", ondelete="CASCADE")


def _accounts() -> None:
    op.create_table(
        "account",
        *(_column(name, sa.Text) for name in ("id", "login", "role")),
        *(_column(name, sa.Text, nullable=True) for name in ("password", "totp")),
        *(_column(name, sa.BigInteger) for name in ("totp_step", "created")),
        *(_column(name, sa.BigInteger, nullable=True) for name in ("totp_since", "disabled", "seen")),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("login", name="uq_account_login"),
    )


def _of_accounts() -> None:
    op.create_table(
        "recovery_code",
        *(_column(name, sa.Text) for name in ("account", "digest")),
        sa.PrimaryKeyConstraint("account", "digest", name="pk_recovery_code"),
        _account_of("recovery_code"),
    )
    op.create_table(
        "account_link",
        *(_column(name, sa.Text) for name in ("digest", "kind")),
        _column("account", sa.Text, nullable=True),
        *(_column(name, sa.BigInteger) for name in ("created", "expires")),
        sa.PrimaryKeyConstraint("digest", name="pk_account_link"),
        _account_of("account_link"),
    )
    op.create_index("ix_account_link_account", "account_link", ["account"])


def _sessions() -> None:
    op.create_table(
        "session",
        *(_column(name, sa.Text) for name in ("id", "digest", "account", "stage", "address")),
        *(_column(name, sa.BigInteger) for name in ("fresh", "created", "used", "expires")),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("digest", name="uq_session_digest"),
        _account_of("session"),
    )
    for name in ("account", "expires"):
        op.create_index(f"ix_session_{name}", "session", [name])


def _tokens() -> None:
    op.create_table(
        "api_token",
        *(_column(name, sa.Text) for name in ("id", "account", "name", "prefix", "digest")),
        _column("scopes", sa.JSON),
        _column("created", sa.BigInteger),
        *(_column(name, sa.BigInteger, nullable=True) for name in ("expires", "used")),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.UniqueConstraint("digest", name="uq_api_token_digest"),
        _account_of("api_token"),
    )
    op.create_index("ix_api_token_account", "api_token", ["account"])


def _attempts() -> None:
    op.create_table(
        "attempt",
        _column("key", sa.Text),
        *(_column(name, sa.BigInteger) for name in ("count", "since", "until", "ends")),
        sa.PrimaryKeyConstraint("key", name="pk_attempt"),
    )
    op.create_index("ix_attempt_ends", "attempt", ["ends"])


def _audit() -> None:
    op.create_table(
        "audit",
        _column("id", sa.Text),
        _column("at", sa.BigInteger),
        *(_column(name, sa.Text) for name in ("actor", "name", "means", "action", "subject")),
        *(_column(name, sa.Text, nullable=True) for name in ("address", "application")),
        *(_column(name, sa.JSON, nullable=True) for name in ("before", "after")),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at_id", "audit", ["at", "id"])
    for name in ("application", "actor"):
        op.create_index(f"ix_audit_{name}_at_id", "audit", [name, "at", "id"])


def _only_added_to() -> None:
    """Have the database itself refuse to change or delete entries, whatever a program of ours tries."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            body = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            op.execute(f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit {body}")
        return
    body = f"BEGIN RAISE EXCEPTION '{_REFUSED}'; END"
    op.execute(f"CREATE FUNCTION audit_only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    for verb, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        name = "audit_no_" + verb.partition(" ")[0].lower()
        op.execute(f"CREATE TRIGGER {name} BEFORE {verb} ON audit FOR EACH {each} EXECUTE FUNCTION audit_only_added_to()")
