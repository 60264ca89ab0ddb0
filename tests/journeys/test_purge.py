"""Nothing of a customer's file is kept: after every outcome its bytes are searched for, and are nowhere.

A marker of 32 bytes stands in a text, from where it gets into the extracted text as well, and in the pixels of a picture.
Results go to a bucket that only takes. Then the data folder with the database's own files, temporary folders and, on
PostgreSQL, every table are searched for the marker: as it is, in Base64 wherever it may have begun, in hex, and as JSON would
write it, once or twice over.
"""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import spellings
from kill_matrix import WANTED, House, own_database
from kill_processes import COMMAND, EMBEDDED
from sqlalchemy.engine import URL

from secure_delivery.gate.model import Limits

#: 32 bytes of UTF-8, with characters that JSON writes otherwise.
MARKER = f'"\\é{secrets.token_hex(14)}'
assert len(MARKER.encode()) == 32


def spelled() -> set[bytes]:
    """The marker as it may be written."""
    once = {MARKER, json.dumps(MARKER)[1:-1], json.dumps(MARKER, ensure_ascii=False)[1:-1]}
    twice = {json.dumps(text)[1:-1] for text in once} | {json.dumps(text, ensure_ascii=False)[1:-1] for text in once}
    found: set[bytes] = set()
    for text in once | twice:
        found.update(spellings(text))
        found.add(text.encode("utf-16-le"))
    return found


def text() -> bytes:
    return f"A letter\n\n{MARKER}\n\nthat nobody else is to read.\n".encode()


def bitmap() -> bytes:
    """A picture without compression, 64 pixels wide: the marker is some of its pixels, again and again."""
    pixels = (MARKER.encode() * 6 * 64)[: 64 * 64 * 3]
    header = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


FILES: dict[str, Callable[[], bytes]] = {"txt": text, "bmp": bitmap}


class _Purge:
    @pytest.fixture(params=FILES)
    def name(self, request: pytest.FixtureRequest, house: House) -> str:
        """The name of a file with the marker in it."""
        house.begin()
        name = f"{secrets.token_hex(4)}.{request.param}"
        house.world.contents[f"file/{name}"] = FILES[request.param]()
        if not any(worker.alive() for worker in house.workers):
            house.worker()
        return name

    @pytest.fixture(autouse=True)
    def as_it_was(self, house: House) -> Iterator[None]:
        yield
        house.world.bucket.denied.discard("PutObject")
        house.records_limits(Limits())

    def asked(self, house: House, name: str) -> None:
        house.submit(
            name, metadata=["text", "checksum"], metadata_options={"text": {"content": True}}, sizes=["40", "original"]
        )

    def over(self, house: House, state: str) -> None:
        """Every job ended so, everything that can be waited for has happened, and nothing is found."""
        house.until(house.ended, "it ends")
        house.until(lambda: all(house.job(job).purged for job in house.jobs), "the record says that everything is deleted")
        house.until(lambda: all(row.state == "delivered" for row in house.deliveries()), "the webhook arrives")
        assert [house.job(job).state for job in house.jobs] == [state]
        house.until(lambda: not house.left(), "no folder is left")
        assert self.found(house) == []

    def found(self, house: House) -> list[str]:
        """Where the marker is."""
        wanted = spelled()
        places = [path for root in (house.engine.settings.data, house.temporary) for path in root.rglob("*") if path.is_file()]
        found = [str(path) for path in places if _holds(path, wanted)]
        return found + [table for table, data in house.tables() if any(one in data for one in wanted)]

    def test_after_success(self, house: House, name: str) -> None:
        gate = house.world.hold("put")
        self.asked(house, name)
        house.until(gate.reached.is_set, "the first result is handed over")
        assert [Path(place).name for place in self.found(house) if place.endswith("source")], "while it runs, it is found"
        gate.opened.set()
        self.over(house, "success")
        told = house.world.told[f"hook/{name}"][-1][1]
        if name.endswith(".txt"):
            assert MARKER in told["original_file"]["metadata"]["text"]["text"], "the customer has it"

    def test_after_a_failure(self, house: House, name: str) -> None:
        house.world.bucket.denied.add("PutObject")
        self.asked(house, name)
        self.over(house, "failure")

    def test_after_a_timeout(self, house: House, name: str) -> None:
        house.records_limits(Limits(max_job_seconds=1))
        gate = house.world.hold("put")
        self.asked(house, name)
        house.until(gate.reached.is_set, "the first result is handed over")
        begun = house.engine.clock()
        house.until(lambda: house.engine.clock() > begun + 1.1, "its time is over")
        gate.opened.set()
        self.over(house, "failure")
        assert house.job(house.jobs[0]).error is not None
        assert house.job(house.jobs[0]).error["code"] == "timed_out"

    def test_after_a_cancel(self, house: House, name: str) -> None:
        gate = house.world.hold("put")
        self.asked(house, name)
        house.until(gate.reached.is_set, "the first result is handed over")
        house.engine.jobs.jobs.cancel(house.jobs[0].id)
        gate.opened.set()
        self.over(house, "cancelled")

    def test_after_a_crash(self, house: House, name: str) -> None:
        gate = house.world.hold("put")
        self.asked(house, name)
        house.until(gate.reached.is_set, "the first result is handed over")
        for worker in house.workers:
            worker.kill()
        gate.opened.set()
        assert self.found(house), "a crash leaves what was there"
        house.worker()
        self.over(house, "success")


def _holds(path: Path, wanted: set[bytes]) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return any(one in data for one in wanted)


class TestEmbeddedOnSQLite(_Purge):
    @pytest.fixture(scope="class")
    @classmethod
    def house(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
        house = House(tmp_path_factory.mktemp("embedded"), EMBEDDED, plugins=WANTED | {"text"})
        yield house
        house.close()


@pytest.mark.postgres
class TestWorkersOnPostgreSQL(_Purge):
    @pytest.fixture(scope="class")
    @classmethod
    def house(cls, tmp_path_factory: pytest.TempPathFactory, lasting_postgres_url: URL) -> Iterator[House]:
        with own_database(lasting_postgres_url) as database:
            house = House(tmp_path_factory.mktemp("workers"), COMMAND, database, plugins=WANTED | {"text"})
            yield house
            house.close()


def test_the_search_finds_every_spelling(tmp_path: Path) -> None:
    import base64

    for number, written in enumerate(
        (
            MARKER.encode(),
            MARKER.encode().hex().encode(),
            base64.b64encode(b"x" + MARKER.encode()),
            base64.urlsafe_b64encode(b"xy" + MARKER.encode() + b"z"),
            json.dumps({"a": MARKER}).encode(),
            json.dumps({"a": MARKER}, ensure_ascii=False).encode(),
            json.dumps(json.dumps({"a": MARKER})).encode(),
        )
    ):
        (tmp_path / str(number)).write_bytes(b"before " + written + b" after")
        assert _holds(tmp_path / str(number), spelled()), written
