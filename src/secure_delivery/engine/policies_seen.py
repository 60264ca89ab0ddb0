"""How long the policies that were let in were still good for, and which of them were for everything: counted, and read again.

Knows: what of a policy is counted, the rows of that figure. Must not know: who shows policies, what is thought of them.

What is counted is one of a short list, so that no client can fill a table. Answers from memory are not judged anew and not
counted, so a number says how often at least.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import sqlalchemy as sa

from ..gate.policy import Policy
from . import tables
from .database import Database
from .figures import POLICIES
from .usage import DAY, DAY_MS, HOUR, HOUR_MS, Key

__all__ = ["GLOBAL", "LIVES", "LONGER", "YEAR", "note", "seen"]

YEAR, LONGER = "year", "longer"
GLOBAL = "global"  # neither calls nor a handle: good for everything but EXIF
#: What a policy had left when it was shown: up to an hour, a day, a week, a year, or longer.
LIVES = ("hour", "day", "week", YEAR, LONGER)
_ENDS = (3600, 86_400, 7 * 86_400, 366 * 86_400)  # seconds

_F = tables.figure


def note(counts: dict[Key, int], application: str, policy: Policy, now: float) -> None:
    """Count a policy that was let in. `counts` is the dictionary of the counting thread (`Usage.counts`), `now` in seconds."""
    key = (application, POLICIES, LIVES[bisect_left(_ENDS, policy.expiry - now)])
    counts[key] = counts.get(key, 0) + 1
    if policy.call is None and policy.handle is None:
        key = (application, POLICIES, GLOBAL)
        counts[key] = counts.get(key, 0) + 1


def seen(
    database: Database, *, since: float, application: str | None = None, hours: bool = False
) -> Mapping[tuple[str, str], int]:
    """How many policies of each class were counted, by application and class, from the first day (with `hours`: hour) on that
    begins at or after `since`, in seconds since the epoch."""
    period, length = (HOUR, HOUR_MS) if hours else (DAY, DAY_MS)
    start = -(-int(since * 1000) // length) * length
    query = sa.select(_F.c.application, _F.c.label, sa.func.sum(_F.c.value)).group_by(_F.c.application, _F.c.label)
    query = query.where(_F.c.period == period, _F.c.at >= start, _F.c.name == POLICIES)
    if application is not None:
        query = query.where(_F.c.application == application)
    with database.read() as connection:
        return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}
