"""Results of chains: named by content and work, made once, gone with their file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from counted_server import counted_engine

from secure_delivery.engine import Engine
from secure_delivery.engine.convert import Plan, bind
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink, Rendition
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import Corrupt, NotFound, SecureDeliveryError, StorageFault, TooLarge, Unsupported
from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.taskurl import parse


class Bench:
    """An engine with the counted tasks, and one application."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.settings = Settings.read({"data": str(data), "decoders": 2})
        self.engine: Engine = self.another()
        self.application, _ = self.engine.records.create_application("test")

    def another(self) -> Engine:
        return counted_engine(self.settings)

    def put(self, data: bytes = b"words", application: Application | None = None) -> FileLink:
        files, owner = self.engine.files, application or self.application
        with files.begin(owner, Target(filename="a.txt")) as upload:
            upload.write(data)
            return files.add(owner, upload)

    def plan(self, chain: str) -> Plan:
        return bind(self.engine.registry, parse(f"/{chain}/{'A' * 21}").tasks)

    def get(self, link: FileLink, chain: str, engine: Engine | None = None) -> Rendition:
        owner = self.engine.records.application(link.application)
        assert owner is not None
        return (engine or self.engine).renditions.get(owner, link, self.plan(chain))

    def read(self, rendition: Rendition) -> bytes:
        with self.engine.renditions.open(rendition) as stream:
            return stream.read()

    def runs(self) -> int:
        file = self.data / "runs.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def blobs(self) -> list[Path]:
        return [path for path in (self.data / "files").rglob("*") if path.is_file()]

    def left_in_work(self) -> list[str]:
        return [path.name for path in (self.data / "work").iterdir()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Decoder processes are started once for the module; each test has files of its own."""
    bench = Bench(tmp_path_factory.mktemp("renditions") / "data")
    bench.engine.start()
    yield bench
    bench.engine.close()


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    yield running
    for link in running.engine.records.files(running.application.api_key):
        running.engine.files.remove(link)
    (running.data / "runs.txt").unlink(missing_ok=True)
    running.engine.records.update_application(running.application.api_key, limits=Limits())


def test_a_result_is_made_once_and_then_found(bench: Bench) -> None:
    link = bench.put()
    assert bench.engine.renditions.find(link, bench.plan("shout")) is None
    first = bench.get(link, "shout=number:2")
    assert bench.read(first) == b"WORDS!!"
    assert (first.handle, first.application, first.size) == (link.handle, bench.application.api_key, 7)
    assert bench.get(link, "shout=n:2") == first
    assert bench.engine.renditions.find(link, bench.plan("shout=n:2")) == first
    assert bench.runs() == 1
    assert bench.left_in_work() == []


def test_however_many_ask_at_the_same_moment_a_result_is_made_once(bench: Bench) -> None:
    link = bench.put()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: bench.get(link, "nap=number:200/shout"), range(16)))
    assert len(set(found)) == 1
    assert bench.runs() == 1
    assert len(bench.blobs()) == 2


def test_two_engines_on_the_same_data_make_a_result_once_between_them(bench: Bench) -> None:
    link = bench.put()
    other = bench.another()
    try:
        with ThreadPoolExecutor(8) as pool:
            engines = [bench.engine, other] * 4
            found = list(pool.map(lambda engine: bench.get(link, "nap=number:200/shout", engine), engines))
    finally:
        other.close()
    assert len({rendition.storage_key for rendition in found}) == 1
    assert bench.runs() == 1


def test_a_chain_that_fails_is_told_to_all_who_wait_and_leaves_nothing(bench: Bench) -> None:
    link = bench.put()

    def ask(_: int) -> str:
        try:
            bench.get(link, "nap=number:200/refuse")
        except SecureDeliveryError as fault:
            return fault.public
        return "no fault"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"A sentence for the client."}
    assert len(bench.blobs()) == 1
    assert bench.left_in_work() == []
    with pytest.raises(Unsupported):  # and it is tried again for the next one
        bench.get(link, "nap=number:200/refuse")


def test_a_decoder_that_crashes_is_a_fault_of_that_file_and_the_next_chain_runs(bench: Bench) -> None:
    link = bench.put()
    with pytest.raises(Corrupt):
        bench.get(link, "crash")
    assert bench.read(bench.get(link, "shout")) == b"WORDS"


def test_an_overwritten_source_never_answers_with_the_old_result(bench: Bench) -> None:
    link = bench.put(b"old")
    old = bench.get(link, "shout")
    with bench.engine.files.begin(bench.application, Target()) as upload:
        upload.write(b"new")
        fresh = bench.engine.files.overwrite(link, upload)
    assert bench.engine.renditions.find(fresh, bench.plan("shout")) is None
    assert bench.read(bench.get(fresh, "shout")) == b"NEW"
    assert len(bench.blobs()) == 2, "the old file and the old result are gone"
    with pytest.raises(NotFound):
        bench.read(old)


def test_a_file_that_is_removed_while_its_result_is_made_leaves_neither(bench: Bench) -> None:
    link = bench.put()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.get, link, "nap=number:500/shout")
        while bench.runs() == 0:
            pass
        bench.engine.files.remove(link)
        with pytest.raises(NotFound):
            waiting.result()
    assert bench.blobs() == []
    assert bench.left_in_work() == []


def test_equal_files_of_two_applications_have_results_of_their_own(bench: Bench) -> None:
    other, _ = bench.engine.records.create_application("other")
    mine, theirs = bench.put(), bench.put(application=other)
    first, second = bench.get(mine, "shout"), bench.get(theirs, "shout")
    assert first.key != second.key
    bench.engine.files.discard(bench.engine.records.delete_application(other.api_key))
    assert bench.read(first) == b"WORDS"
    with pytest.raises(NotFound):
        bench.read(second)


def test_the_name_of_a_result_depends_on_each_thing_it_is_made_of(bench: Bench) -> None:
    link = bench.put()
    name = bench.engine.renditions.key
    plan = bench.plan("shout")
    others = [
        name(replace(link, sha256="0" * 64), plan),
        name(replace(link, application="other"), plan),
        name(replace(link, handle="B" * 21), plan),
        name(replace(link, mimetype="image/png"), plan),
        name(link, bench.plan("shout=n:1")),
        name(link, replace(plan, canonical=plan.canonical + " ")),
    ]
    assert len({name(link, plan), *others}) == 7
    assert name(replace(link, filename="b", uploaded=1, version=9), plan) == name(link, plan)


def test_the_limits_of_an_application_hold_before_anything_runs(bench: Bench) -> None:
    link = bench.put(b"x" * 100)
    bench.engine.records.update_application(bench.application.api_key, limits=Limits(max_bytes=99))
    with pytest.raises(TooLarge):
        bench.get(link, "shout")
    assert bench.runs() == 0


def test_a_result_whose_bytes_are_lost_can_be_forgotten_and_is_made_again(bench: Bench) -> None:
    link = bench.put()
    lost, other = bench.get(link, "shout"), bench.get(link, "shout=n:1")
    bench.engine.files.discard([lost.blob])
    bench.engine.renditions.forget(lost)
    assert bench.read(bench.get(link, "shout")) == b"WORDS"
    assert other.storage_key not in {path.name for path in bench.blobs()}, "what is forgotten is deleted"
    assert bench.runs() == 3


def test_a_work_folder_that_is_gone_is_a_fault_of_the_storage(bench: Bench) -> None:
    # It was an unforeseen error, and a 500, before.
    link = bench.put()
    (bench.data / "work").rmdir()
    try:
        with pytest.raises(StorageFault):
            bench.get(link, "shout")
    finally:
        (bench.data / "work").mkdir()
    assert bench.read(bench.get(link, "shout")) == b"WORDS"


def test_a_crash_leaves_no_lock_that_anyone_waits_for(bench: Bench) -> None:
    link = bench.put()
    plan = bench.plan("shout")
    (bench.data / "work" / f"{bench.engine.renditions.key(link, plan)[:16]}.lock").touch()
    assert bench.read(bench.get(link, "shout")) == b"WORDS"
    assert bench.left_in_work() == []


def test_decoders_are_started_with_the_first_result_where_nobody_did_it_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data")
    try:
        assert not bench.engine.sandbox.running
        assert bench.read(bench.get(bench.put(), "shout")) == b"WORDS"
        assert bench.engine.sandbox.running
    finally:
        bench.engine.close()


def test_a_storage_without_descriptors_serves_as_a_source_too(bench: Bench) -> None:
    class Remote:
        """A storage whose streams are no files of this machine."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner
            self.create = inner.create
            self.remove = inner.remove

        def open(self, key: str, *, start: int = 0, length: int | None = None) -> io.BytesIO:
            with self._inner.open(key, start=start, length=length) as stream:
                return io.BytesIO(stream.read())

    link = bench.put(b"far away")
    storages = bench.engine.files._storages
    remote = {"local": Remote(storages["local"])}
    files = bench.engine.files
    try:
        files._storages = remote
        assert bench.read(bench.get(link, "shout")) == b"FAR AWAY"
    finally:
        files._storages = storages
