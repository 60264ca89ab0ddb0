"""Runs the steps on the connection that `Database.migrate` hands over, inside its transaction.

Knows: Alembic. Must not know: database addresses; there is no alembic.ini, and steps never run without that connection.

Both databases roll a failed step back as a whole. A step that has to rebuild a table on SQLite must not drop a table
that others refer to with ON DELETE CASCADE: foreign keys are on here, and the rows of the others would go with it.
"""

from __future__ import annotations

from alembic import context

from secure_delivery.engine.tables import metadata


def run() -> None:
    """Apply what is missing. Committing is left to whoever opened the transaction."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    context.run_migrations()


run()
