"""Whether a file is found as fast among a million as among a thousand.

Knows: the table of files, our server. Must not know: how a handle is looked up.

Two servers, one with a thousand files, one with as many as asked for; all files share the bytes of one. In each round a
thousand files are asked for, each once, in no order, after everything that the server remembers was made void: so every answer
takes a look at the database.
"""

from __future__ import annotations

import random
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from measure import CACHE, Effort, Row, Tick, in_turns, ratio
from programs import Server, ours
from senders import connect, send

from secure_delivery.engine import Engine, tables
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import new_handle

NAME = "lookups"
FEW = 1000
_BATCH = 10_000
_SAMPLE = 20_000  # of the many handles


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return 2 * effort.load_rounds


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    return measured(NAME, "SQLite", {"few": {}, "many": {}}, effort, tick)


def measured(suite: str, kind: str, more: Mapping[str, Mapping[str, str]], effort: Effort, tick: Tick) -> list[Row]:
    """The rows for a kind of database; `more` are settings of the server with few and of that with many files."""
    CACHE.mkdir(exist_ok=True)
    counts = {"few": FEW, "many": effort.rows}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        places = {}
        for name, count in counts.items():
            settings = {"data": f"{folder}/{name}", "quiet": "true", **more[name]}
            server, engine = stack.enter_context(ours("granian", settings))
            places[name] = _Place(server=server, engine=engine, handles=_filled(engine, count))
        rows = []
        for what, path in (("metadata", "/api/file/{}/metadata"), ("a file of 2 KB", "/{}")):
            for place in places.values():
                place.asked(path)
            contenders: dict[str, Callable[[], float]] = {
                name: lambda place=place, path=path: place.asked(path) for name, place in places.items()
            }
            rows.append(_row(suite, f"{kind}: {what}, {effort.rows:,} files / {FEW:,} files", contenders, effort, tick, 1.2))
        direct = {name: place.looked_up for name, place in places.items()}
        name = f"{kind}: the record alone, without a server, {effort.rows:,} files / {FEW:,} files"
        rows.append(_row(suite, name, direct, effort, lambda: None, None))
    return rows


def _row(
    suite: str, name: str, contenders: Mapping[str, Callable[[], float]], effort: Effort, tick: Tick, at_most: float | None
) -> Row:
    taken = in_turns(contenders, effort.load_rounds, tick)
    value, low, high = ratio(taken["many"], taken["few"])
    ours_, theirs = (f"{statistics.median(taken[each]) * 1e6:.0f} us" for each in ("many", "few"))
    return Row(suite=suite, name=name, value=value, low=low, high=high, ours=ours_, theirs=theirs, at_most=at_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A server, and handles of files that it has."""

    server: Server
    engine: Engine
    handles: list[str]

    def asked(self, path: str) -> float:
        """The median time of an answer, in seconds, of a thousand different files."""
        with self.engine.database.write() as connection:
            self.engine.database.bump(connection, "files")
        with connect(self.server.port) as sock:
            return statistics.median(_timed(sock, path.format(handle)) for handle in random.sample(self.handles, FEW))

    def looked_up(self) -> float:
        """The median time of reading a record, in seconds."""
        taken = []
        for handle in random.sample(self.handles, FEW):
            begun = time.perf_counter()
            found = self.engine.records.file(handle)
            taken.append(time.perf_counter() - begun)
            if found is None:
                raise RuntimeError("a file is gone")
        return statistics.median(taken)


def _timed(sock: socket.socket, path: str) -> float:
    begun = time.perf_counter()
    send(sock, "GET", path, {})
    return time.perf_counter() - begun


def _filled(engine: Engine, count: int) -> list[str]:
    """Handles of so many files, evenly from all over the table."""
    application, _ = engine.records.create_application("bench")
    with engine.files.begin(application, Target(filename="file.bin")) as upload:
        upload.write(random.Random(count).randbytes(2000))
        first = engine.files.add(application, upload)
    names = [column.name for column in tables.file.columns]
    row = {name: value for name, value in asdict(first).items() if name in names}
    kept: list[str] = [first.handle]
    every = max(1, count // _SAMPLE)
    for start in range(1, count, _BATCH):
        handles = [new_handle() for _ in range(start, min(start + _BATCH, count))]
        with engine.database.write() as connection:
            connection.execute(sa.insert(tables.file), [row | {"handle": handle} for handle in handles])
        kept += handles[::every]
    return kept
