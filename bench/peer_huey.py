"""A huey queue on SQLite with its durable defaults, and a task that does nothing but count."""

from __future__ import annotations

import os
from pathlib import Path

from huey import SqliteHuey

_FOLDER = Path(os.environ["BENCH_FOLDER"])
huey = SqliteHuey(filename=str(_FOLDER / "huey.sqlite"), fsync=True, results=False)


@huey.task()
def nothing(name: str) -> None:
    """Leave a mark."""
    with (_FOLDER / "done").open("a") as marks:
        marks.write(f"{name}\n")


@huey.task()
def slow(name: str) -> None:
    """Begin, wait, leave a mark."""
    import time

    (_FOLDER / f"began-{name}").touch()
    time.sleep(float(os.environ.get("BENCH_SECONDS", "3")))
    with (_FOLDER / "done").open("a") as marks:
        marks.write(f"{name}\n")
