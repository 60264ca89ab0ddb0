"""How fast bodies become files, and what that takes of memory, next to a loop that does nothing but write and hash.

Knows: granian, uvicorn, our endpoints for uploads. Must not know: how the server takes them in.

Two folders: one on the disk, where both sides make the file durable before they answer, and one in memory, where that costs
nothing and what is left is the work of the processor. The third comparison on the disk, with a loop whose answer promises
nothing, has no target: the difference is what the disk takes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from measure import CACHE, Effort, Row, Tick, forget_peak, in_turns, peak, ratio, spread
from programs import PROGRAMS, Server, install_uvicorn, ours, plain
from senders import Answer, Bodies, Body, Span, connect, post, send

from secure_delivery import Application
from secure_delivery.engine import Engine
from secure_delivery.gate.model import Limits

NAME = "uploads"
MEMORY = Path("/dev/shm")
PIECE = 8 << 20  # bytes of a part, and of a PATCH
AT_ONCE = 4  # parts
SMALL = 5_000_000  # bytes of each of many
_BOUNDARY = "----a boundary as browsers make them".replace(" ", "")
_FORMS = {"raw body": "", "form": _BOUNDARY}
_SETTINGS = {"quiet": "true", "max_bytes": str(1 << 40), "development_bytes": "0"}


def _rounds(effort: Effort) -> int:
    return max(3, effort.load_rounds // 2)


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return len(PROGRAMS) * (2 * _rounds(effort) + 3) + 3


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    install_uvicorn()
    CACHE.mkdir(exist_ok=True)
    large, small = Bodies(effort.megabytes << 20), Bodies(SMALL)
    rows: list[Row] = []
    for program in PROGRAMS:
        rows += _large(program, CACHE, large, effort, tick)
        if MEMORY.is_dir():
            rows += _large(program, MEMORY, large, effort, tick)
        rows += _many(program, small, effort, tick)
    return rows + _in_pieces(large, tick)


class _Ours:
    """Our server with an application that takes files of any size; what was stored is checked and goes again."""

    def __init__(self, server: Server, engine: Engine) -> None:
        self.server = server
        self.application: Application = engine.records.create_application("bench", limits=Limits(max_bytes=1 << 40))[0]
        self.grown: list[float] = []
        self.idle = 0.0
        self._engine = engine

    def upload(self, body: Body, boundary: str = "") -> float:
        """MB per second of one upload, from the connection to the answer."""
        forget_peak(self.server.pid)
        begun = time.perf_counter()
        answer = post(self.server.port, f"/api/store/S3?key={self.application.api_key}", body, boundary=boundary)
        seconds = time.perf_counter() - begun
        self.grown.append(peak(self.server.pid) - self.idle)
        self.check(json.loads(answer.body)["handle"], body)
        return body.size / seconds / 1e6

    def check(self, handle: str, body: Body) -> None:
        """What was stored is what was sent; then it goes."""
        link = self._engine.files.find(handle)
        if (link.size, link.sha256) != (body.size, body.sha256):
            raise RuntimeError("other bytes were stored than sent")
        self._engine.files.remove(link)


class _Plain:
    """The loop."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.grown: list[float] = []
        self.idle = 0.0
        self._folder = folder

    def upload(self, body: Body, *, durable: bool) -> float:
        """MB per second of one upload."""
        forget_peak(self.server.pid)
        begun = time.perf_counter()
        answer = post(self.server.port, "/?durable" if durable else "/", body)
        seconds = time.perf_counter() - begun
        self.grown.append(peak(self.server.pid) - self.idle)
        self.check(answer, body)
        return body.size / seconds / 1e6

    def check(self, answer: Answer, body: Body) -> None:
        """What was written is what was sent; then it goes."""
        said = json.loads(answer.body)
        (self._folder / said["name"]).unlink()
        if said["sha256"] != body.sha256:
            raise RuntimeError("other bytes were written than sent")


def _mb(values: list[float]) -> str:
    return f"{spread(values)[0]:,.0f} MB/s"


# ------------------------------------------------------------------------------------------------------ one large file


def _large(program: str, place: Path, bodies: Bodies, effort: Effort, tick: Tick) -> list[Row]:
    """One large file at a time, raw and as a form."""
    on_disk = place != MEMORY
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as stack:
        plain_folder = Path(folder) / "plain"
        plain_folder.mkdir()
        loop = _Plain(stack.enter_context(plain(program, "ingest", plain_folder)), plain_folder)
        us = _Ours(*stack.enter_context(ours(program, {**_SETTINGS, "data": f"{folder}/ours"})))
        contenders: dict[str, Callable[[], float]] = {"loop": lambda: loop.upload(bodies.new(), durable=False)}
        if on_disk:
            contenders["durable loop"] = lambda: loop.upload(bodies.new(), durable=True)
        grown: dict[str, list[float]] = {}
        for name, boundary in _FORMS.items():
            contenders[name] = lambda name=name, boundary=boundary: _noted(us, bodies.new(), boundary, grown, name)  # type: ignore[misc]
        warm = Bodies(1 << 20)
        loop.upload(warm.new(), durable=True)
        for boundary in _FORMS.values():
            us.upload(warm.new(), boundary)
        for each in (loop, us):  # what was loaded for the first upload stays; what grows from here on is the upload's
            each.idle = forget_peak(each.server.pid)
            each.grown.clear()
        taken = in_turns(contenders, _rounds(effort), tick)
    size = f"{effort.megabytes} MiB" if effort.megabytes < 1024 else f"{effort.megabytes / 1024:g} GiB"
    rows = []
    for name in _FORMS:
        for other in ("loop", "durable loop") if on_disk else ("loop",):
            value, low, high = ratio(taken[name], taken[other])
            what = f"{program}: {size}, {name}, {'disk' if on_disk else 'memory'} / bare loop"
            rows.append(
                Row(
                    suite=NAME,
                    name=f"{what}, as durable" if other == "durable loop" else f"{what} without fsync" if on_disk else what,
                    value=value,
                    low=low,
                    high=high,
                    ours=_mb(taken[name]),
                    theirs=_mb(taken[other]),
                    at_least=None if on_disk and other == "loop" else 0.9,
                )
            )
        if on_disk:
            rows.append(_memory(f"{program}: memory above idle meanwhile, {name}", grown[name], loop.grown, at_most=64))
    return rows


def _noted(us: _Ours, body: Body, boundary: str, grown: dict[str, list[float]], name: str) -> float:
    rate = us.upload(body, boundary)
    grown.setdefault(name, []).append(us.grown[-1])
    return rate


def _memory(name: str, ours: list[float], theirs: list[float], at_most: float | None = None) -> Row:
    """Memory by the worst round: a bound that holds mostly is none."""
    _, low, high = spread(ours)
    return Row(
        suite=NAME,
        name=name,
        value=max(ours),
        low=low,
        high=high,
        unit="MB",
        ours=f"{max(ours):.0f} MB",
        theirs=f"{max(theirs):.0f} MB" if theirs else "",
        at_most=at_most,
    )


# -------------------------------------------------------------------------------------------------------- many at once


def _many(program: str, bodies: Bodies, effort: Effort, tick: Tick) -> list[Row]:
    """Many uploads at the same moment: every one is there afterwards, byte for byte."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        plain_folder = Path(folder) / "plain"
        plain_folder.mkdir()
        loop = stack.enter_context(plain(program, "ingest", plain_folder))
        server, engine = stack.enter_context(ours(program, {**_SETTINGS, "data": f"{folder}/ours"}))
        us, them = _Ours(server, engine), _Plain(loop, plain_folder)
        us.upload(bodies.new())
        them.upload(bodies.new(), durable=True)
        lost, grown, theirs = [0.0], [], []
        us.idle, them.idle = forget_peak(server.pid), forget_peak(loop.pid)

        def stored() -> float:
            sent = [bodies.new() for _ in range(effort.uploads)]
            forget_peak(server.pid)
            path = f"/api/store/S3?key={us.application.api_key}"
            rate, answers = _at_once(lambda body: post(server.port, path, body), sent)
            grown.append(peak(server.pid) - us.idle)
            lost.append(sum(not _is_there(server, us, answer, body) for answer, body in zip(answers, sent, strict=True)))
            return rate

        def written() -> float:
            sent = [bodies.new() for _ in range(effort.uploads)]
            forget_peak(loop.pid)
            rate, answers = _at_once(lambda body: post(loop.port, "/?durable", body), sent)
            theirs.append(peak(loop.pid) - them.idle)
            for answer, body in zip(answers, sent, strict=True):
                if answer is not None:
                    them.check(answer, body)
            return rate

        taken = in_turns({"ours": stored, "loop": written}, 3, tick)
    what = f"{program}: {effort.uploads} uploads of 5 MB at once"
    value, low, high = ratio(taken["ours"], taken["loop"])
    ours_, theirs_ = (
        f"{spread([effort.uploads * SMALL / rate / 1e6 for rate in taken[name]])[0]:.1f} s" for name in ("ours", "loop")
    )
    return [
        Row(
            suite=NAME,
            name=f"{what}: lost or damaged",
            value=max(lost),
            low=min(lost),
            high=max(lost),
            unit="files",
            ours=f"{sum(lost):.0f} of {3 * effort.uploads}",
            at_most=0,
        ),
        Row(suite=NAME, name=f"{what} / bare loop, as durable", value=value, low=low, high=high, ours=ours_, theirs=theirs_),
        _memory(f"{what}: memory above idle", grown, theirs),
    ]


def _at_once(upload: Callable[[Body], Answer], bodies: list[Body]) -> tuple[float, list[Answer | None]]:
    """MB per second of all of them together, each in a thread that waits for the others to be ready; None for a failure."""
    gate = threading.Barrier(len(bodies) + 1)

    def one(body: Body) -> Answer | None:
        gate.wait()
        try:
            return upload(body)
        except (OSError, RuntimeError):
            return None

    with ThreadPoolExecutor(len(bodies)) as pool:
        waiting = [pool.submit(one, body) for body in bodies]
        gate.wait()
        begun = time.perf_counter()
        answers = [each.result() for each in waiting]
        seconds = time.perf_counter() - begun
    return sum(body.size for body in bodies) / seconds / 1e6, answers


def _is_there(server: Server, us: _Ours, answer: Answer | None, body: Body) -> bool:
    """Whether the file that was answered is read back as it was sent; it goes afterwards."""
    if answer is None:
        return False
    handle = json.loads(answer.body)["handle"]
    with connect(server.port) as sock:
        read = send(sock, "GET", f"/{handle}", {"Connection": "close"}).body
    us.check(handle, body)
    return hashlib.sha256(read).hexdigest() == body.sha256


# ----------------------------------------------------------------------------------------------------------- in pieces


def _in_pieces(bodies: Bodies, tick: Tick) -> list[Row]:
    """The protocols that send a file in pieces, beside the loop that gets it in one."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        plain_folder = Path(folder) / "plain"
        plain_folder.mkdir()
        loop = _Plain(stack.enter_context(plain("granian", "ingest", plain_folder)), plain_folder)
        us = _Ours(*stack.enter_context(ours("granian", {**_SETTINGS, "data": f"{folder}/ours"})))
        contenders = {
            "loop": lambda: loop.upload(bodies.new(), durable=True),
            "parts": lambda: _in_parts(us, bodies.new()),
            "tus": lambda: _by_tus(us, bodies.new()),
        }
        taken = in_turns(contenders, 3, tick)
    rows = []
    for name, what in (("parts", "multipart protocol, parts of 8 MiB, 4 at once"), ("tus", "tus, PATCH of 8 MiB")):
        value, low, high = ratio(taken[name], taken["loop"])
        rows.append(
            Row(
                suite=NAME,
                name=f"granian: {what} / bare loop, as durable",
                value=value,
                low=low,
                high=high,
                ours=_mb(taken[name]),
                theirs=_mb(taken["loop"]),
            )
        )
    return rows


def _piece(body: Body, start: int) -> list[bytes | Span]:
    """The content from `start`, as much of it as goes into one piece."""
    end = min(start + PIECE, body.size)
    pieces: list[bytes | Span] = []
    if start < body.span.length:
        pieces.append(Span(body.span.path, start, min(end, body.span.length) - start))
    if end > body.span.length:
        pieces.append(body.tail[max(0, start - body.span.length) : end - body.span.length])
    return pieces


def _in_parts(us: _Ours, body: Body) -> float:
    """MB per second of the multipart protocol: start, upload and PUT for each part, complete."""
    port, key = us.server.port, us.application.api_key
    local = threading.local()

    def ask(name: str, values: dict[str, object]) -> dict[str, str]:
        with connect(port) as sock:
            told = {"Content-Type": "application/json", "Connection": "close"}
            said: dict[str, str] = json.loads(send(sock, "POST", f"/multipart/{name}", told, json.dumps(values).encode()).body)
            return said

    begun = time.perf_counter()
    upload = ask("start", {"apikey": key, "filename": "body.bin", "mimetype": "application/octet-stream", "size": body.size})
    this = {"apikey": key, "upload_id": upload["upload_id"]}

    def part(start: int) -> dict[str, object]:
        number, size = start // PIECE + 1, min(PIECE, body.size - start)
        url = ask("upload", {**this, "part": number, "size": size})["url"]
        if not hasattr(local, "sock"):
            local.sock = connect(port)
        answer = send(local.sock, "PUT", url[url.index("/multipart/") :], {}, *_piece(body, start))
        return {"part_number": number, "etag": answer.headers["etag"].strip('"')}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = list(pool.map(part, range(0, body.size, PIECE)))
    handle = ask("complete", {**this, "size": body.size, "parts": parts})["handle"]
    seconds = time.perf_counter() - begun
    us.check(handle, body)
    return body.size / seconds / 1e6


def _by_tus(us: _Ours, body: Body) -> float:
    """MB per second of tus: creation, then one piece after the other on one connection."""
    told = {"Tus-Resumable": "1.0.0"}
    name = base64.b64encode(b"body.bin").decode()
    begun = time.perf_counter()
    with connect(us.server.port) as sock:
        about = {"Upload-Length": str(body.size), "Upload-Metadata": f"filename {name}"}
        made = send(sock, "POST", f"/tus/{us.application.api_key}", told | about)
        path = made.headers["location"]
        path = path[path.index("/tus/") :]
        for start in range(0, body.size, PIECE):
            headers = told | {"Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
            answer = send(sock, "PATCH", path, headers, *_piece(body, start))
    seconds = time.perf_counter() - begun
    us.check(answer.headers["filestack-handle"], body)
    return body.size / seconds / 1e6
