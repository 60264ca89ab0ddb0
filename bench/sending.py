"""How fast stored files leave the server, next to Starlette's `FileResponse` in the same server program.

Knows: granian, uvicorn, wrk, signed addresses. Must not know: how the server reads files.

The file that Starlette sends needs no permission; ours is signed, judged, and says what a browser may do with it.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from doors import Server, wrk
from measure import CACHE, Effort, Row, Tick, UnavailableError, in_rate, in_turns, in_us, pinned, ratio
from programs import PROGRAMS, install_uvicorn, ours, plain

from secure_delivery import Call, Policy
from secure_delivery.engine import Engine
from secure_delivery.engine.files import Target

NAME = "sending"
_CONSTANT = 20_000  # bytes of the app that sends always the same
SIZES = {"20 KB": _CONSTANT, "5 MB": 5_000_000}
#: What is wanted of each size in each program.
TARGETS = {("20 KB", "granian"): 4.0, ("20 KB", "uvicorn"): 4.0, ("5 MB", "granian"): 1.0, ("5 MB", "uvicorn"): 2.0}


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return len(PROGRAMS) * len(SIZES) * effort.load_rounds


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    if shutil.which("wrk") is None:
        raise UnavailableError("wrk is not installed")
    install_uvicorn()
    CACHE.mkdir(exist_ok=True)
    return [row for program in PROGRAMS for row in _program(program, effort, tick)]


def _program(program: str, effort: Effort, tick: Tick) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        plain_folder = Path(folder) / "plain"
        plain_folder.mkdir()
        starlette = stack.enter_context(plain(program, "files", plain_folder, pin=pinned(0)))
        settings = {"data": f"{folder}/ours", "quiet": "true"}
        server, engine = stack.enter_context(ours(program, settings, pin=pinned(0)))
        least = stack.enter_context(plain(program, "constant", plain_folder, pin=pinned(0)))
        running = {"ours": server, "starlette": starlette, "constant": least}
        loaded = {name: Server(port=each.port, pid=each.pid) for name, each in running.items()}
        for name, size in SIZES.items():
            data = random.Random(size).randbytes(size)
            (plain_folder / f"{size}.bin").write_bytes(data)
            paths = {"ours": _stored(engine, data), "starlette": f"/{size}.bin"}
            if size == _CONSTANT:
                paths["constant"] = "/"
            taken = _loaded({each: (loaded[each], _urls(each, path)) for each, path in paths.items()}, effort, tick)
            what = f"{program}: a stored file of {name}, signed"
            rows.append(_row(f"{what} / Starlette FileResponse", taken, loaded, "ours", "starlette", TARGETS[name, program]))
            if "constant" in taken:
                rows.append(_row(f"{what} / bare app with as many bytes", taken, loaded, "ours", "constant"))
                rows.append(_row(f"{program}: that bare app / Starlette FileResponse", taken, loaded, "constant", "starlette"))
    return rows


def _loaded(contenders: Mapping[str, tuple[Server, Path]], effort: Effort, tick: Tick) -> dict[str, list[float]]:
    """Requests per second of each, after a second of getting warm; what one of them cost is noted with the servers."""
    calls: dict[str, Callable[[], float]] = {}
    for name, (server, urls) in contenders.items():
        wrk(server.port, urls, 1)
        server.costs.clear()
        calls[name] = lambda server=server, urls=urls: server.loaded(urls, effort.load_seconds)
    return in_turns(calls, effort.load_rounds, tick)


def _row(
    name: str,
    taken: Mapping[str, list[float]],
    servers: Mapping[str, Server],
    mine: str,
    peer: str,
    at_least: float | None = None,
) -> Row:
    value, low, high = ratio(taken[mine], taken[peer])
    ours_, theirs = (f"{in_rate(taken[each])}, {in_us(servers[each].costs)}" for each in (mine, peer))
    return Row(suite=NAME, name=name, value=value, low=low, high=high, ours=ours_, theirs=theirs, at_least=at_least)


def _stored(engine: Engine, data: bytes) -> str:
    """The address of a file in a secured application of its own."""
    application, secret = engine.records.create_application("bench", require_policy=True)
    with engine.files.begin(application, Target(filename="file.bin")) as upload:
        upload.write(data)
        handle = engine.files.add(application, upload).handle
    policy = Policy(expiry=int(time.time()) + 86_400, call=frozenset({Call.READ}), handle=handle)
    return f"/{handle}?{policy.sign(secret.encode()).as_query()}"


def _urls(name: str, path: str) -> Path:
    file = CACHE / f"urls-sending-{name}.txt"
    file.write_text(path + "\n", encoding="utf-8")
    return file
