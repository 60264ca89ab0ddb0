"""Worker processes that are started, stopped, killed, and looked at with everything that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: What waits for twenty or thirty seconds in service, for the sake of slow machines, waits for one or two here.
_QUICKLY = """
from secure_delivery.engine import preview_job, webhooks
webhooks._SPARE = 2.0
preview_job.FIRST_TRY = 2.0
"""
#: What `secure-delivery serve` does in each of its processes, without the requests.
EMBEDDED = f"""{_QUICKLY}
import logging, sys, threading
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
from secure_delivery.engine import build
from secure_delivery.engine.settings import Settings
engine = build(Settings.load())
engine.job_sandbox.start_once()
engine.start()
print("worker: embedded", flush=True)
threading.Event().wait()
"""
COMMAND = f"""{_QUICKLY}
from secure_delivery.cli import main
main()
"""


class Process:
    """One worker. `place` gets its log; everything temporary of it is in `temporary`."""

    def __init__(self, script: str, settings: Path, place: Path, temporary: Path, name: str) -> None:
        self.log_file = place / f"{name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SECURE_DELIVERY_")}
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script, "worker", "--concurrency", "2"],
                env=environment | {"SECURE_DELIVERY_CONFIG": str(settings), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._started: dict[int, str] = {}

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def ready(self) -> bool:
        """Whether it takes jobs."""
        assert self._process.poll() is None, self.log()[-3000:]
        return "worker:" in self.log()

    def sandboxes(self) -> list[int]:
        """Processes of decoders: each is the parent of the confined child that does the work."""
        return children_of(self.pid)

    def freeze(self, writable: Callable[[], bool]) -> None:
        """Stop it, but not within a transaction: what it holds then would hold up everybody, as it would in service."""
        while True:
            os.kill(self.pid, signal.SIGSTOP)
            if writable():
                return
            self.thaw()

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """As the kernel does when memory runs out: no word, no cleaning up."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGSTOP)
            for pid in descendants_of(self.pid):
                self._started[pid] = started(pid)
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def alive(self) -> bool:
        return self._process.poll() is None

    def status(self) -> int:
        """How it ended; waits until it has."""
        return self._process.wait(60)

    def killed_with(self) -> list[int]:
        """What it had started when it was killed."""
        return list(self._started)

    def orphans(self) -> list[int]:
        """What it started and is still there, after it was killed."""
        return [pid for pid, start in self._started.items() if start and started(pid) == start]


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            if int((task / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(task.name))
    return found


def descendants_of(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        found += [child, *descendants_of(child)]
    return found


def started(pid: int) -> str:
    """When a process was started; empty for one that is gone, or only waits for its parent to look."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    return ""
