"""How much of its speed an app keeps behind the gate, over real sockets.

Knows: granian, wrk. Must not know: how one judges.

Server on one core, load generator on another. The bare, the guarded and the naively guarded app run at the same time, each
on its port, and are loaded in turns; the idle ones cost nothing. Beside the requests per second stands the processor time
that one request cost the server: a busy machine distorts it less.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from measure import (
    BENCH,
    CACHE,
    Effort,
    Row,
    Tick,
    UnavailableError,
    free_port,
    in_rate,
    in_turns,
    in_us,
    pinned,
    processor_time,
    ratio,
    running,
)
from verification import HOST, SECRET

from secure_delivery import Call, Policy

NAME = "doors"
CONNECTIONS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of traffic: how many different URLs, guarded or not, and what an app should keep under it."""

    name: str
    key: str
    urls: int
    guarded: bool = True
    asgi: float | None = None
    wsgi: float | None = None


LOADS = (
    Load(name="one signed URL", key="hot", urls=1, asgi=0.85, wsgi=0.75),
    Load(name="1,000 signed URLs in turn", key="rotating", urls=1000, asgi=0.85, wsgi=0.75),
    Load(name="20,000 signed URLs in turn (more than are remembered)", key="cold", urls=20_000),
    Load(name="a path that no rule names", key="unmatched", urls=1, guarded=False, asgi=0.95, wsgi=0.95),
)
CONTENDERS = ("bare", "guarded", "naive")


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return 2 * len(LOADS) * effort.load_rounds


def write_urls(load: Load, now: float) -> Path:
    """A file with the paths of a load, one a line: each for a handle of its own, signed for that handle."""
    expiry = int(now) + 86_400
    lines = []
    for number in range(load.urls):
        handle = f"bfTNCigRLq0QMOrs{number:05d}"
        signed = Policy(expiry=expiry, call=frozenset({Call.READ, Call.CONVERT}), handle=handle).sign(SECRET.encode())
        lines.append(f"/{'files' if load.guarded else 'pages'}/{handle}?{signed.as_query()}")
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"urls-{load.key}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def wrk(port: int, urls: Path, seconds: int) -> float:
    """Requests per second of 32 connections. Raises when a single answer is not a success: then it measured refusals."""
    command = [
        *pinned(1),
        *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"),
        *("--script", str(BENCH / "rotate.lua"), f"http://127.0.0.1:{port}/", "--", str(urls), f"https://{HOST}"),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    requests, microseconds, errors = (int(word) for word in line.split()[1:])
    if errors:
        raise RuntimeError(f"{errors} of {requests} answers were not successes")
    return requests / (microseconds / 1e6)


def granian(app: str, interface: str, port: int) -> list[str]:
    """The command line of one server process on the first core, with one Python thread: more only contend for the core."""
    return [
        *pinned(0),
        *(sys.executable, "-m", "granian", "--interface", interface, "--port", str(port), "--workers", "1"),
        *("--no-ws", "--http", "1", "--blocking-threads", "1", "--log-level", "warning", f"apps:{app}"),
    ]


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    now = time.time()
    files = {load.key: write_urls(load, now) for load in LOADS}
    rows: list[Row] = []
    for interface in ("asgi", "wsgi"):
        with ExitStack() as stack:
            servers = {}
            for name in CONTENDERS:
                port = free_port()
                command = granian(f"{name}_{interface}", interface, port)
                log = CACHE / f"{name}_{interface}.log"
                pid = stack.enter_context(running(command, port=port, environment={"PYTHONPATH": str(BENCH)}, log=log))
                servers[name] = Server(port=port, pid=pid)
            for load in LOADS:
                rows += _loaded(interface, load, servers, files[load.key], effort, tick)
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of the contenders, and the processor time of one request in each round."""

    port: int
    pid: int
    costs: list[float] = field(default_factory=list)

    def loaded(self, urls: Path, seconds: int) -> float:
        """Requests per second; notes what one of them cost."""
        before = processor_time(self.pid)
        rate = wrk(self.port, urls, seconds)
        self.costs.append((processor_time(self.pid) - before) / (rate * seconds))
        return rate


def _loaded(interface: str, load: Load, servers: dict[str, Server], urls: Path, effort: Effort, tick: Tick) -> list[Row]:
    def contender(server: Server) -> Callable[[], float]:
        return lambda: server.loaded(urls, effort.load_seconds)

    for server in servers.values():
        wrk(server.port, urls, 1)
        server.costs.clear()
    taken = in_turns({name: contender(server) for name, server in servers.items()}, effort.load_rounds, tick)
    rows = []
    for name, words in (("guarded", ""), ("naive", ", naive verifier instead")):
        value, low, high = ratio(taken[name], taken["bare"])
        rows.append(
            Row(
                suite=NAME,
                name=f"{interface.upper()}: {load.name}{words} / bare",
                value=value,
                low=low,
                high=high,
                ours=f"{in_rate(taken[name])}, {in_us(servers[name].costs)}",
                theirs=f"{in_rate(taken['bare'])}, {in_us(servers['bare'].costs)}",
                at_least=getattr(load, interface) if name == "guarded" else None,
            )
        )
    return rows
