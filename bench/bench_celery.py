"""A plain Celery task, and our table with Celery as its bell, on the same Redis.

Knows: how both are fed and how their end is seen. Must not know: rounds, ratios.

Both workers run four at a time: Celery's own in four processes, as it does unless told otherwise, ours in four threads.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from desks import PEERS, REDIS, Desk, until, worker
from measure import BENCH, UnavailableError


def _there() -> None:
    """Raise `UnavailableError` when nobody listens where Redis should be."""
    place = urlsplit(REDIS)
    try:
        socket.create_connection((place.hostname or "127.0.0.1", place.port or 6379), 2).close()
    except OSError:
        raise UnavailableError("there is no Redis") from None


@contextmanager
def plain(folder: Path, count: int) -> Iterator[Callable[[], float]]:
    """Celery's own task."""
    _there()
    place = folder / "celery"
    place.mkdir()
    environment = {"BENCH_FOLDER": str(place), "BENCH_BROKER": f"{REDIS}/0", "BENCH_QUEUE": f"bench-{uuid.uuid4()}"}
    os.environ.update(environment)
    sys.path.append(str(PEERS))
    import peer_celery

    def marks() -> int:
        path = place / "done"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def once() -> float:
        done, began = marks(), time.perf_counter()
        for number in range(count):
            peer_celery.nothing.delay(str(number))
        until(lambda: marks() >= done + count)
        return count / (time.perf_counter() - began)

    with worker(["celery", "-A", "peer_celery", "worker", "-c", "4", "-l", "ERROR"], environment, lambda: True):
        once()  # the worker is up, and connections are made
        yield once


@contextmanager
def behind(folder: Path, count: int) -> Iterator[Callable[[], float]]:
    """Our table, with a worker process that Celery brings ids to."""
    _there()
    place, queue = folder / "behind", f"bench-{uuid.uuid4()}"
    desk = Desk(place, settings=_settings(queue))
    command = [sys.executable, str(BENCH / "bench_celery.py"), str(place), queue]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)

    def once() -> float:
        done, began = desk.ended(), time.perf_counter()
        for _ in range(count):
            desk.submit()
        until(lambda: desk.ended() >= done + count)
        return count / (time.perf_counter() - began)

    try:
        once()
        yield once
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        desk.close()


def _settings(queue: str) -> dict[str, Any]:
    return {"broker": f"{REDIS}/0", "light": f"{queue}-light", "heavy": f"{queue}-heavy"}


def _serve(place: Path, queue: str) -> None:
    desk = Desk(place, settings=_settings(queue), known=True)
    desk.desk.serve(4)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
