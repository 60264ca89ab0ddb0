"""The server programs that run ASGI apps, and ours in each of them, started the same way as the app it stands beside.

Knows: command lines, environments. Must not know: what is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import BENCH, CACHE, UnavailableError, free_port, running

from secure_delivery.engine import Engine, build
from secure_delivery.engine.settings import Settings

#: What uvicorn is usually installed with. Not in the environment of the server: granian would take its event loop too.
_FAST = BENCH / ".uvicorn"
_COMMAND = [sys.executable, "-m", "secure_delivery"]
PROGRAMS = ("granian", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    port: int
    pid: int


def install_uvicorn() -> None:
    """uvloop and httptools, where uvicorn finds them. Done once."""
    if (_FAST / "httptools").exists():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(_FAST), "uvloop", "httptools"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(_FAST, ignore_errors=True)
        said = done.stderr.strip().splitlines() or ["no word"]
        raise UnavailableError(f"uvloop and httptools cannot be installed: {said[-1]}")


@contextmanager
def plain(program: str, app: str, folder: Path, *, pin: Sequence[str] = ()) -> Iterator[Server]:
    """An app of `plain_apps.py`, whose files are in `folder`."""
    port = free_port()
    if program == "granian":
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--workers", "1"]
        command += ["--no-ws", "--log-level", "warning", f"plain_apps:{app}"]
    else:
        command = _uvicorn(port, f"plain_apps:{app}")
    environment = _environment(program) | {"BENCH_FOLDER": str(folder)}
    with running([*pin, *command], port=port, environment=environment, log=CACHE / f"plain-{program}.log") as pid:
        yield Server(port=port, pid=pid)


@contextmanager
def ours(program: str, settings: Mapping[str, str], *, pin: Sequence[str] = ()) -> Iterator[tuple[Server, Engine]]:
    """Our server, one process, and an engine on the same data."""
    engine = build(Settings.read(dict(settings)))
    port = free_port()
    if program == "granian":
        command = [*_COMMAND, "serve", "--port", str(port), "--workers", "1"]
    else:
        command = [*_uvicorn(port, "secure_delivery.server:application"), "--factory"]
    environment = _environment(program) | {f"SECURE_DELIVERY_{name.upper()}": value for name, value in settings.items()}
    try:
        with running([*pin, *command], port=port, environment=environment, log=CACHE / f"ours-{program}.log") as pid:
            yield Server(port=port, pid=pid), engine
    finally:
        engine.close()


def _uvicorn(port: int, app: str) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "--log-level", "warning", app]


def _environment(program: str) -> dict[str, str]:
    paths = [str(BENCH), *([str(_FAST)] if program == "uvicorn" else []), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
