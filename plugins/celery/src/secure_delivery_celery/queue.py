"""The queue: announces ids to a broker, and serves as a Celery worker in this process.

Knows: Celery's application and worker. Must not know: what a job is, the job table.

A message is an id. What becomes of messages matters little: the job table is the truth, and whatever a broker loses, repeats
or delivers twice is put right by the leases there. So messages carry no result, no retry, no arguments besides the id.

Celery is imported with the first use: a server that has the plugin installed and another queue set does not carry it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .settings import Options

if TYPE_CHECKING:
    from .application import Desk

TASK = "secure_delivery.run"
#: A connection that was idle may be dead without anybody knowing: one more try, on a new one, at once. Never longer: the table
#: has the job, and it is announced again later.
_PUBLISHING = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
_IMPORTING = threading.Lock()  # Celery's package replaces itself while it is imported: two threads must not do that at once


class CeleryQueue:
    """Jobs told of by a broker. Thread-safe; connections are made with the first use, and by each process for itself."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._made: Desk | None = None

    def __repr__(self) -> str:
        return f"<CeleryQueue {self._options.place}>"

    @property
    def takes(self) -> tuple[str, ...]:
        """The cost classes that workers with these settings take."""
        return self._options.takes

    def describe(self) -> str:
        """Where ids come from, for people; without the password."""
        names = ", ".join(self._options.queues[cost] for cost in self._options.takes)
        return f"{names} at {self._options.place}"

    def announce(self, job_id: str, *, cost: str, delay: float = 0.0) -> None:
        """Send the id. Waits at most some seconds for a broker that is away, then raises what kombu raises for it."""
        queue = self._options.queues.get(cost) or self._options.queues["light"]
        desk = self._desk()
        with desk.producers.acquire(block=True, timeout=self._options.patience) as producer:
            desk.application.send_task(
                TASK,
                (job_id,),
                producer=producer,
                queue=queue,
                countdown=delay if delay > 0 else None,
                argsrepr="",  # the header repeats what is in the body, for monitors that nobody runs here
                kwargsrepr="",
                retry=True,
                retry_policy=_PUBLISHING,
                ignore_result=True,
            )

    def close(self) -> None:
        """Close the connections of this process. The queue can be used again and opens new ones then."""
        with self._lock:
            desk, self._made = self._made, None
        if desk is not None and desk.process == os.getpid():
            desk.producers.force_close_all()
            desk.connections.force_close_all()

    def serve(self, run: Callable[[str], None], *, concurrency: int) -> None:
        """Be a worker in this process, with threads, until SIGTERM or SIGINT; only the main thread may. What was begun is ended
        first. A broker that is away is waited for."""
        desk = self._desk()
        with _IMPORTING:
            from .serving import serve
        name = f"{socket.gethostname()[:60]}-{os.getpid()}"
        queues = [self._options.queues[cost] for cost in self._options.takes]
        serve(desk.application, run, queues=queues, concurrency=concurrency, name=name)

    def _desk(self) -> Desk:
        """What this process announces with: connections do not survive a fork."""
        with _IMPORTING:
            from .application import Desk
        with self._lock:
            if self._made is None or self._made.process != os.getpid():
                self._made = Desk.opened(self._options)
            return self._made
