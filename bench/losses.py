"""What is left of running jobs when their worker is killed -9 and started again: ours, huey, Celery with its defaults.

Knows: how each worker is started, killed and asked. Must not know: how results are shown.

Eight jobs run when the worker is killed. It is started again at once, and has as long as ours needs by its lease, and four
times that, to do them after all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from desks import PEERS, REDIS, until, worker
from measure import BENCH

from secure_delivery.engine import build
from secure_delivery.engine.preview_order import read_order
from secure_delivery.engine.settings import PREFIX, Settings

_JOBS = 8
_LEASE = 2.0
_PATIENCE = 5 * _LEASE
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def ours(folder: Path) -> int:
    """Previews whose sources are slow, so that all of them run when the worker is killed."""
    folder.mkdir()
    began, slow = [], threading.Event()

    class Source(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            began.append(self.path)
            slow.wait(30)
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(_PIXEL)))
                self.end_headers()
                self.wfile.write(_PIXEL)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    values = {
        "data": str(folder / "data"),
        "fetch_allow": "127.0.0.1",
        "fetch_ports": str(server.server_port),
        "job_lease": str(_LEASE),
        "job_workers": str(_JOBS),
        "job_attempts": "5",
    }
    engine = build(Settings.read(values))
    application = engine.records.create_application("bench")[0].api_key
    environment = {**os.environ, **{PREFIX + name.upper(): value for name, value in values.items()}}
    command = [sys.executable, "-m", "secure_delivery", "worker", "--concurrency", str(_JOBS)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    try:
        for number in range(_JOBS):
            order, _ = read_order({"url": f"http://127.0.0.1:{server.server_port}/{number}.png", "sizes": ["10"]})
            engine.jobs.submit(application, "preview", order.plain())
        first = subprocess.Popen(command, env=environment, **quiet)
        until(lambda: len(began) >= _JOBS)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        slow.set()
        second = subprocess.Popen(command, env=environment, **quiet)
        try:
            ends = time.monotonic() + 4 * _PATIENCE
            while engine.jobs.jobs.counts().get("success", 0) < _JOBS and time.monotonic() < ends:
                time.sleep(0.05)
        finally:
            os.killpg(second.pid, signal.SIGKILL)
            second.wait()
        return _JOBS - engine.jobs.jobs.counts().get("success", 0)
    finally:
        slow.set()
        server.shutdown()
        engine.close()


def huey(folder: Path) -> int:
    """Its consumer with as many threads, its queue durable."""
    folder.mkdir()
    environment = {"BENCH_FOLDER": str(folder)}
    tell = "import peer_huey\nfor n in range(8): peer_huey.slow(str(n))"
    _told(tell, environment)
    return _after_kill(["huey.bin.huey_consumer", "peer_huey.huey", "-w", str(_JOBS), "-q"], environment, folder)


def celery(folder: Path) -> int:
    """A worker with as many processes, acknowledging as it does unless told otherwise."""
    folder.mkdir()
    environment = {"BENCH_FOLDER": str(folder), "BENCH_BROKER": f"{REDIS}/0", "BENCH_QUEUE": f"bench-{uuid.uuid4()}"}
    tell = "import peer_celery\nfor n in range(8): peer_celery.slow.delay(str(n))"
    _told(tell, environment)
    return _after_kill(["celery", "-A", "peer_celery", "worker", "-c", str(_JOBS), "-l", "ERROR"], environment, folder)


def _told(code: str, environment: dict[str, str]) -> None:
    path = os.pathsep.join([str(BENCH), str(PEERS)])
    told = {**os.environ, **environment, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], env=told, check=True, timeout=60, capture_output=True)


def _after_kill(command: list[str], environment: dict[str, str], folder: Path) -> int:
    def began() -> int:
        return len(list(folder.glob("began-*")))

    with worker(command, environment, lambda: began() >= _JOBS) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with worker(command, environment, lambda: True):
        ends = time.monotonic() + _PATIENCE
        while _done(folder) < _JOBS and time.monotonic() < ends:
            time.sleep(0.05)
    return _JOBS - _done(folder)


def _done(folder: Path) -> int:
    try:
        return len(set((folder / "done").read_text().split()))
    except FileNotFoundError:
        return 0
