"""A Celery worker inside this process: with threads, without a fork, ended by signals.

Knows: Celery's worker, signals. Must not know: what a job is.

Threads, because the decoders of a job are confined processes of this one: a forked worker would share their sockets.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from celery import Celery  # type: ignore[import-untyped]
from celery.worker import WorkController, state  # type: ignore[import-untyped]

from .queue import TASK

logger = logging.getLogger("secure_delivery.celery")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    made: Celery,
    run: Callable[[str], None],
    *,
    queues: Sequence[str],
    concurrency: int,
    name: str,
) -> None:
    """Take ids from these queues until a signal comes, then end what was begun."""

    def called(job_id: str) -> None:
        run(job_id)

    made.task(called, name=TASK, shared=False, lazy=False)
    made.set_default()  # the threads of its pool ask for the application of the process
    state.should_stop = state.should_terminate = None
    worker = WorkController(
        app=made,
        hostname=f"secure-delivery@{name}",
        pool_cls="threads",
        concurrency=concurrency,
        queues=list(queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
        quiet=True,
    )
    with _stopping(worker):
        worker.start()
    if worker.exitcode:
        raise RuntimeError(f"the Celery worker ended with {worker.exitcode}")


@contextmanager
def _stopping(worker: Any) -> Iterator[None]:
    """Signals end the worker. Its loop sleeps until a message comes, so a thread wakes it: a handler may take no lock."""
    told: SimpleQueue[bool] = SimpleQueue()  # `put` is safe inside signal handlers

    def wake() -> None:
        if not told.get():
            return
        state.should_stop = 0
        hub = getattr(worker, "hub", None)
        if hub is not None:
            hub.call_soon(lambda: None)

    thread = threading.Thread(target=wake, name="stopping", daemon=True)
    thread.start()
    before = {number: signal.signal(number, lambda *_: told.put(True)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.put(False)
        thread.join(5)
