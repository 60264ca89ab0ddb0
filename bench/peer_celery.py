"""A Celery app on Redis as its tutorial has it, and a task that does nothing but count."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

_FOLDER = Path(os.environ["BENCH_FOLDER"])
app = Celery("peer", broker=os.environ["BENCH_BROKER"])
app.conf.task_default_queue = os.environ["BENCH_QUEUE"]
app.conf.task_ignore_result = True


@app.task(name="nothing")
def nothing(name: str) -> None:
    """Leave a mark."""
    with (_FOLDER / "done").open("a") as marks:
        marks.write(f"{name}\n")


@app.task(name="slow")
def slow(name: str) -> None:
    """Begin, wait, leave a mark."""
    (_FOLDER / f"began-{name}").touch()
    time.sleep(float(os.environ.get("BENCH_SECONDS", "3")))
    with (_FOLDER / "done").open("a") as marks:
        marks.write(f"{name}\n")
