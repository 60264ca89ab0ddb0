"""`secure-delivery worker`: a process that works on jobs and answers no requests.

Knows: signals, where jobs come from. Must not know: what a job does.
"""

from __future__ import annotations

import logging
import os
import signal
from queue import Empty, SimpleQueue
from typing import Annotated

import typer

from ..engine import Engine
from ..engine.settings import Settings
from .output import Config, engine_for, out, say

_GLANCE = 0.05  # seconds between looks at whether the last job has ended


def worker(
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=256, help="Jobs at work at once; the setting job_workers unless given.")
    ] = None,
    config: Config = None,
) -> None:
    """Work on jobs until stopped: SIGTERM or Ctrl-C ends it when the jobs it began are over.

    Any number of them work side by side on one database, on one machine or many.
    """
    settings = Settings.load(config)
    size = concurrency or settings.job_workers or min(4, os.cpu_count() or 1)
    _log(settings)
    with engine_for(config, job_workers=size) as engine:
        engine.job_sandbox.start_once()  # what cannot be confined is told at once, not with the first job
        engine.start(serving=False)
        say("worker", f"{size} at a time from {engine.jobs.describe()}, jobs in {engine.database!r}", "bold")
        out.file.flush()
        if engine.jobs.embedded:
            _work(engine)
        else:
            engine.jobs.serve(size)
        say("worker", "stopped")


def _work(engine: Engine) -> None:
    told: SimpleQueue[int] = SimpleQueue()  # `put` is safe inside a signal handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: told.put(got))
    engine.jobs.start()
    told.get()
    engine.jobs.pool.stop()
    while not engine.jobs.pool.idle():
        try:
            told.get(timeout=_GLANCE)
        except Empty:
            continue
        break  # told twice: what still runs is given back, and begun again by another


def _log(settings: Settings) -> None:
    """The process is ours: what happens is told on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("secure_delivery").setLevel(logging.WARNING if settings.quiet else logging.INFO)
