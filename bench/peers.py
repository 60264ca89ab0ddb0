"""Servers that transform pictures by address, side by side: ours, thumbor, ipx, on the same files and sizes.

Knows: what is asked of them and how it is counted. Must not know: how any of them is started or asked.

Cold: every picture is asked for the first time, by eight at once. Further sizes: pictures that were asked for before. Equal:
32 ask for the same new result at the same moment. Warm: the same result again and again.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from contenders import Contender, ipx, linked, ours, thumbor
from doors import granian, wrk
from images import Worker
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
    pinned,
    ratio,
    running,
    spread,
    tree_memory,
    tree_time,
)
from picture import photograph

from secure_delivery.engine.convert import bind
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.gate.taskurl import parse
from secure_delivery.plugin.manager import load as load_plugins
from secure_delivery.plugin.protocols import WorkLimits

NAME = "peers"
WIDTH = 300
FIRST = (300, 310, 790)  # what was asked for before: with the second and the third our server makes its smaller copies
FURTHER = (100, 150, 200, 240, 280, 320, 360, 400)  # thumbnails
LARGER = (480, 560, 640, 720, 800)  # previews, up to the largest for which the smaller copy is good enough
CLIENTS = 8
EQUAL = 32

Asked = Sequence[tuple[int, int]]


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return 5 * effort.load_rounds + _singles(effort)


def _pictures(effort: Effort) -> int:
    return 8 * effort.pictures


def _singles(effort: Effort) -> int:
    return max(2, effort.load_rounds // 2)


def load(contender: Contender, asked: Asked, clients: int = CLIENTS) -> float:
    """Results per second, asked for by so many at once. Raises when one is not a picture."""
    left = iter(asked)
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", contender.port, timeout=120)
        try:
            while True:
                with lock:
                    one = next(left, None)
                if one is None:
                    return
                connection.request("GET", contender.path(*one))
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or not body.startswith(b"\xff\xd8"):
                    raise UnavailableError(f"{contender.name} answers {answer.status}: {body[:100]!r}")
        finally:
            connection.close()

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client) for _ in range(clients)]:
            done.result()
    return len(asked) / (time.perf_counter() - begun)


class _Peak:
    """The most memory that a server holds while it is loaded."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self.most = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, tree_memory(self._contender.pid))

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.most = max(self.most, tree_memory(self._contender.pid))


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    with tempfile.TemporaryDirectory(dir=_cache()) as temporary, ExitStack() as stack:
        folder = Path(temporary)
        count = _pictures(effort)
        names = linked(photograph(), count, folder / "pictures")
        servers = [
            stack.enter_context(ours(photograph(), count, folder)),
            stack.enter_context(thumbor(names, folder / "pictures", folder)),
            stack.enter_context(ipx(names, folder / "pictures")),
        ]
        for server in servers:
            load(server, [(0, width) for width in range(20, 28)], 2)
        rows = _cold(servers, count, effort, tick)
        rows += _further(servers, count, effort, tick)
        rows += _equal(servers[:2], count, effort, tick)
    with tempfile.TemporaryDirectory(dir=_cache()) as temporary:
        rows += _warm(Path(temporary), effort, tick)
    return [*rows, _confined(effort, tick)]


def _cache() -> Path:
    CACHE.mkdir(exist_ok=True)
    return CACHE


def _row(name: str, ours: Sequence[float], theirs: Sequence[float], at_least: float | None = None) -> Row:
    value, low, high = ratio(ours, theirs)
    return Row(
        suite=NAME,
        name=name,
        value=value,
        low=low,
        high=high,
        ours=in_rate(ours),
        theirs=in_rate(theirs),
        at_least=at_least,
    )


def _cold(servers: Sequence[Contender], count: int, effort: Effort, tick: Tick) -> list[Row]:
    peaks: dict[str, list[float]] = {server.name: [] for server in servers}
    asked = [(number, WIDTH) for number in range(count)]

    def cold(server: Contender) -> Callable[[], float]:
        def once() -> float:
            server.forget()
            with _Peak(server) as peak:
                rate = load(server, asked)
            peaks[server.name].append(peak.most)
            return rate

        return once

    taken = in_turns({server.name: cold(server) for server in servers}, effort.load_rounds, tick)
    value, low, high = ratio(peaks["ours"], peaks["ipx"])
    what = f"cold, {WIDTH} px of {count} pictures of 12 megapixels, {CLIENTS} at once"
    return [
        _row(f"{what} / ipx", taken["ours"], taken["ipx"], 1.05),
        _row(f"{what} / thumbor with 2 engine threads", taken["ours"], taken["thumbor"], 0.97),
        Row(
            suite=NAME,
            name="memory of all processes meanwhile / ipx",
            value=value,
            low=low,
            high=high,
            ours=f"{statistics.median(peaks['ours']):.0f} MB",
            theirs=f"{statistics.median(peaks['ipx']):.0f} MB (thumbor {statistics.median(peaks['thumbor']):.0f} MB)",
            at_most=0.5,
        ),
    ]


def _further(servers: Sequence[Contender], count: int, effort: Effort, tick: Tick) -> list[Row]:
    seen = range(min(count, max(2, effort.pictures)))

    def further(server: Contender, before: Sequence[int], widths: Sequence[int]) -> Callable[[], float]:
        def once() -> float:
            server.forget()
            for width in before:
                load(server, [(number, width) for number in seen])
            return load(server, [(number, width) for width in widths for number in seen])

        return once

    mine, *others = servers
    contenders = {server.name: further(server, (), FURTHER) for server in others}
    contenders |= {"ours": further(mine, FIRST, FURTHER), "with the copy": further(mine, FIRST[:1], FURTHER)}
    small = in_turns(contenders, effort.load_rounds, tick)
    contenders = {server.name: further(server, (), LARGER) for server in others}
    large = in_turns(contenders | {"ours": further(mine, FIRST, LARGER)}, effort.load_rounds, tick)
    what = f"further sizes of a picture already seen, {FURTHER[0]} to {FURTHER[-1]} px"
    more = f"further sizes of a picture already seen, {LARGER[0]} to {LARGER[-1]} px"
    return [
        _row(f"{what} / thumbor", small["ours"], small["thumbor"], 4.0),
        _row(f"{what} / ipx", small["ours"], small["ipx"], 3.5),
        _row(f"{what}, the making of its smaller copy included / thumbor", small["with the copy"], small["thumbor"]),
        _row(f"{more} / thumbor", large["ours"], large["thumbor"]),
        _row(f"{more} / ipx", large["ours"], large["ipx"]),
    ]


def _equal(servers: Sequence[Contender], count: int, effort: Effort, tick: Tick) -> list[Row]:
    """Processor time of 32 equal requests by that of one."""
    each = min(count - 1, 8)

    def cost(server: Contender, asked: Asked, clients: int) -> float:
        before = tree_time(server.pid)
        load(server, asked, clients)
        return tree_time(server.pid) - before

    costs: dict[str, list[float]] = {}
    for _ in range(_singles(effort)):
        for server in servers:
            server.forget()
            many = cost(server, [(0, WIDTH)] * EQUAL, EQUAL)
            one = cost(server, [(number + 1, WIDTH) for number in range(each)], 1) / each
            costs.setdefault(server.name, []).append(many / one)
        tick()
    value, low, high = spread(costs["ours"])
    return [
        Row(
            suite=NAME,
            name=f"processor time of {EQUAL} equal cold requests / of one",
            value=value,
            low=low,
            high=high,
            ours=f"{value:.1f} x",
            theirs=f"{statistics.median(costs['thumbor']):.1f} x (thumbor)",
            at_most=2.0,
        )
    ]


def _warm(folder: Path, effort: Effort, tick: Tick) -> list[Row]:
    """One result again and again, each server on the first core, the clients on the second."""
    with ExitStack() as stack:
        names = linked(photograph(), 1, folder / "pictures")
        mine = stack.enter_context(ours(photograph(), 1, folder, pin=pinned(0)))
        other = stack.enter_context(thumbor(names, folder / "pictures", folder, kept=True, pin=pinned(0)))
        ports = {}
        for server in (mine, other):
            load(server, [(0, WIDTH)], 1)
            urls = CACHE / f"urls-warm-{server.name}.txt"
            urls.write_text(server.path(0, WIDTH) + "\n", encoding="utf-8")
            ports[server.name] = server.port, urls
        bare = free_port()
        environment = {"PYTHONPATH": str(BENCH), "BENCH_BODY": str(_size(mine))}
        command = granian("bare_asgi", "asgi", bare)
        stack.enter_context(running(command, port=bare, environment=environment, log=CACHE / "peers-bare.log"))
        ports["bare"] = bare, ports["ours"][1]

        def warm(port: int, urls: Path) -> Callable[[], float]:
            return lambda: wrk(port, urls, effort.load_seconds)

        for port, urls in ports.values():
            wrk(port, urls, 1)
        taken = in_turns({name: warm(*place) for name, place in ports.items()}, effort.load_rounds, tick)
    what = "a kept result again, signed, 32 connections, one core"
    return [
        _row(f"{what} / thumbor with its result storage", taken["ours"], taken["thumbor"], 5.0),
        _row(f"{what} / bare ASGI app with as many bytes", taken["ours"], taken["bare"], 0.6),
    ]


def _size(server: Contender) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", server.path(0, WIDTH))
    size = len(connection.getresponse().read())
    connection.close()
    return size


def _confined(effort: Effort, tick: Tick) -> Row:
    """One chain through a confined decoder process, and in a process that is not confined at all."""
    direct = Worker([sys.executable, str(BENCH / "worker.py")])
    plan = bind(load_plugins(), parse(f"/resize=width:{WIDTH}/output=format:jpg,quality:80/{'A' * 21}").tasks)
    tasks = tuple((step.name, dict(step.options)) for step in plan.steps)
    with Sandbox(1, plugins=PluginChoice(), limits=WorkLimits()) as sandbox:
        try:

            def confined() -> float:
                begun = time.perf_counter()
                for _ in range(effort.pictures):
                    with photograph().open("rb") as source, tempfile.TemporaryFile() as output:
                        files = [ChainSource(source.fileno(), "image/jpeg", "a.jpg")]
                        sandbox.run(Chain(tasks=tasks, sources=files, output=output.fileno(), application="bench"))
                return (time.perf_counter() - begun) / effort.pictures

            def unconfined() -> float:
                direct.ask(effort.pictures, photograph(), WIDTH)
                return 1 / direct.walls[-1]

            confined(), unconfined()
            taken = in_turns({"confined": confined, "direct": unconfined}, effort.load_rounds, tick)
        finally:
            direct.close()
    value, low, high = ratio(taken["confined"], taken["direct"])
    return Row(
        suite=NAME,
        name="time of one chain in a confined process / in one that is not",
        value=value,
        low=low,
        high=high,
        ours=f"{statistics.median(taken['confined']) * 1000:.1f} ms",
        theirs=f"{statistics.median(taken['direct']) * 1000:.1f} ms",
        at_most=1.1,
    )
