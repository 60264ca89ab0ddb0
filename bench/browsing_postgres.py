"""The same as `browsing.py`, on PostgreSQL. A suite of its own, so that a run without a server says what it left out.

Knows: databases of a server, made and dropped. Must not know: what is measured in them.
"""

from __future__ import annotations

from contextlib import ExitStack

from browsing import measured, steps
from lookups_postgres import fresh_database
from measure import Effort, Row, Tick

__all__ = ["NAME", "measure", "steps"]

NAME = "browsing_postgres"


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    with ExitStack() as stack:
        more = {name: {"database": stack.enter_context(fresh_database())} for name in ("few", "many")}
        return measured(NAME, "PostgreSQL", more, effort, tick)
