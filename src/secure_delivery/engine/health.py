"""How the service is at this moment: what waits, who works, how confined, what is installed, how much memory.

Knows: whom of the engine to ask, what Linux tells about a process. Must not know: who wants to know, in which words.

What is said of pools and memory is said of the process that is asked; of jobs and plugins it is true of all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from . import tables
from .confine import LAYERS
from .database import Database

if TYPE_CHECKING:
    from . import Engine

#: States of jobs that have not ended: those that have are figures.
WAITING = ("waiting", "queued", "started")
_PROC = Path("/proc/self")


class Pool(NamedTuple):
    """Confined processes of one purpose: how many there may be, whether they run, and which layers were found in effect."""

    size: int
    running: bool
    layers: Mapping[str, bool]


class Memory(NamedTuple):
    """Of this process: bytes of memory in use, seconds of CPU time, open files. None where the system does not tell."""

    resident: int | None
    cpu: float
    files: int | None


class Health(NamedTuple):
    """Everything. `jobs` by state; `pools` by purpose; `plugins` and whether each works."""

    jobs: Mapping[str, int]
    pools: Mapping[str, Pool]
    plugins: Mapping[str, bool]
    process: Memory


def health(engine: Engine) -> Health:
    """Ask everybody. Raises what the database raises."""
    settings, workers = engine.settings, max(1, engine.settings.job_workers)
    pools = {
        "transformations": (engine.sandbox, settings.decoders),
        "jobs": (engine.job_sandbox, workers),
        "video": (engine.video_sandbox, workers),
    }
    return Health(
        jobs=depth(engine.database),
        pools={
            name: Pool(size, sandbox.running, {layer: layer in sandbox.layers for layer in LAYERS} if sandbox.running else {})
            for name, (sandbox, size) in pools.items()
        },
        plugins={report.name: report.problem is None for report in engine.registry.reports},
        process=process(),
    )


def depth(database: Database) -> dict[str, int]:
    """How many jobs wait or are worked on, by state."""
    job = tables.job
    query = sa.select(job.c.state, sa.func.count()).where(job.c.state.in_(WAITING)).group_by(job.c.state)
    with database.read() as connection:
        found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in WAITING}


def process() -> Memory:
    """This process."""
    times = os.times()
    try:
        resident = int((_PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        files = len(list((_PROC / "fd").iterdir()))
    except (OSError, ValueError, IndexError):
        return Memory(None, times.user + times.system, None)
    return Memory(resident, times.user + times.system, files)
