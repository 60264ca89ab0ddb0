"""The whole server: transformation URLs over HTTP, the first time and again.

Knows: the command line of the server, wrk. Must not know: what happens inside.

New requests ask for a width that nobody asked for before, one after the other; the small ones among them start from the copy
that the server made of the picture (what a picture costs the first time is measured by `peers`). Warm ones ask for the same
URL again, next to a granian app that does nothing but answer as many bytes.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from doors import granian, wrk
from images import Worker
from measure import BENCH, CACHE, Effort, Row, Tick, UnavailableError, free_port, in_rate, in_turns, pinned, ratio, running
from picture import photograph

from secure_delivery import Call, Policy

NAME = "service"
_COMMAND = [sys.executable, "-m", "secure_delivery"]


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return 2 * effort.load_rounds


def _json(environment: Mapping[str, str], *arguments: str) -> dict[str, str]:
    done = subprocess.run([*_COMMAND, *arguments, "--json"], capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise UnavailableError(f"secure-delivery {arguments[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    said: dict[str, str] = json.loads(done.stdout)
    return said


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise UnavailableError(f"the server answers {answer.status}: {body[:200]!r}")
    return body


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"SECURE_DELIVERY_DATA": folder, "SECURE_DELIVERY_QUIET": "true"}
        application = _json(environment, "app", "create", "bench", "--secured")
        handle = _json(environment, "store", str(photograph()), "--app", application["api_key"])["handle"]
        policy = Policy(expiry=int(time.time()) + 86_400, call=frozenset({Call.READ, Call.CONVERT}), handle=handle)
        task = policy.sign(application["secret"].encode()).as_task()
        port = free_port()
        command = [*pinned(0), *_COMMAND, "serve", "--port", str(port), "--workers", "1"]
        with running(command, port=port, environment=environment, log=CACHE / "server.log"):
            return [_cold(port, task, handle, effort, tick), _warm(port, task, handle, effort, tick)]


def _cold(port: int, task: str, handle: str, effort: Effort, tick: Tick) -> Row:
    """One client, a new width of one picture each time, next to the same transformation without a server around it."""
    worker = Worker([sys.executable, str(BENCH / "worker.py")])
    widths = iter(range(200, 4000))

    def served() -> float:
        begun = time.perf_counter()
        for _ in range(effort.pictures):
            _get(port, f"/resize=width:{next(widths)}/{task}/{handle}")
        return effort.pictures / (time.perf_counter() - begun)

    try:
        for _ in range(2):
            _get(port, f"/resize=width:{next(widths)}/{task}/{handle}")
            worker.ask(1, photograph(), 300)
        direct = lambda: worker.ask(effort.pictures, photograph(), 300)
        taken = in_turns({"served": served, "direct": direct}, effort.load_rounds, tick)
    finally:
        worker.close()
    value, low, high = ratio(taken["served"], taken["direct"])
    return Row(
        suite=NAME,
        name="a new width of a picture already seen, one client / the transformation alone, of the whole file",
        value=value,
        low=low,
        high=high,
        ours=in_rate(taken["served"]),
        theirs=in_rate(taken["direct"]),
    )


def _warm(port: int, task: str, handle: str, effort: Effort, tick: Tick) -> Row:
    path = f"/resize=width:300/{task}/{handle}"
    body = _get(port, path)
    urls = CACHE / "urls-service.txt"
    urls.write_text(path + "\n", encoding="utf-8")
    other = free_port()
    environment = {"PYTHONPATH": str(BENCH), "BENCH_BODY": str(len(body))}
    log = Path(CACHE / "bare_bytes.log")
    with running(granian("bare_asgi", "asgi", other), port=other, environment=environment, log=log):
        for each in (port, other):
            wrk(each, urls, 1)
        taken = in_turns(
            {
                "server": lambda: wrk(port, urls, effort.load_seconds),
                "bare": lambda: wrk(other, urls, effort.load_seconds),
            },
            effort.load_rounds,
            tick,
        )
    value, low, high = ratio(taken["server"], taken["bare"])
    return Row(
        suite=NAME,
        name=f"the same resize URL again ({len(body) / 1000:.0f} KB) / bare app with as many bytes",
        value=value,
        low=low,
        high=high,
        ours=in_rate(taken["server"]),
        theirs=in_rate(taken["bare"]),
        at_least=0.6,
    )
