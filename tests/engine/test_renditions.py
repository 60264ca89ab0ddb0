"""Results of chains: named by content and work, made once, gone with their file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from counted_server import counted_engine

from secure_delivery.engine import Engine
from secure_delivery.engine.convert import Plan, bind
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.renditions import Rendition
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.sources import SourceFile
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

    def sources(self, *links: FileLink) -> list[SourceFile]:
        return [SourceFile.stored(link, self.engine.files) for link in links]

    def get(self, link: FileLink, chain: str, engine: Engine | None = None, others: Sequence[FileLink] = ()) -> Rendition:
        owner = self.engine.records.application(link.application)
        assert owner is not None
        return (engine or self.engine).renditions.get(owner, self.sources(link, *others), self.plan(chain))

    def find(self, link: FileLink, chain: str, engine: Engine | None = None) -> Rendition | None:
        owner = self.engine.records.application(link.application)
        assert owner is not None
        return (engine or self.engine).renditions.find(owner, self.sources(link), self.plan(chain))

    def read(self, rendition: Rendition) -> bytes:
        with self.engine.renditions.open(rendition) as stream:
            return stream.read()

    def runs(self) -> int:
        file = self.data / "runs.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def blobs(self) -> list[Path]:
        return _files_below(self.data / "files")

    def kept(self) -> list[Path]:
        """Every result on the disk, whatever says that it is there."""
        return [path for path in _files_below(self.data / "renditions") if not path.name.startswith(".")]

    def left_in_work(self) -> list[str]:
        return [path.name for path in (self.data / "work").iterdir()]


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


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
    running.engine.renditions.purge_application(running.application.api_key)
    (running.data / "runs.txt").unlink(missing_ok=True)
    running.engine.records.update_application(running.application.api_key, limits=Limits())


def test_a_result_is_made_once_and_then_found(bench: Bench) -> None:
    link = bench.put()
    assert bench.find(link, "shout") is None
    first = bench.get(link, "shout=number:2")
    assert bench.read(first) == b"WORDS!!"
    assert (first.handle, first.application, first.size) == (link.handle, bench.application.api_key, 7)
    assert bench.get(link, "shout=n:2") == first
    assert bench.find(link, "shout=n:2") == first
    assert bench.engine.renditions.read(first) == b"WORDS!!"
    assert bench.runs() == 1
    assert bench.left_in_work() == []


def test_however_many_ask_at_the_same_moment_a_result_is_made_once(bench: Bench) -> None:
    link = bench.put()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: bench.get(link, "nap=number:200/shout"), range(16)))
    assert len(set(found)) == 1
    assert bench.runs() == 1
    assert len(bench.kept()) == 1


def test_two_engines_on_the_same_data_make_a_result_once_between_them(bench: Bench) -> None:
    link = bench.put()
    other = bench.another()
    try:
        with ThreadPoolExecutor(8) as pool:
            engines = [bench.engine, other] * 4
            found = list(pool.map(lambda engine: bench.get(link, "nap=number:200/shout", engine), engines))
    finally:
        other.close()
    assert len(set(found)) == 1
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
    assert bench.kept() == []
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
    assert bench.find(fresh, "shout") is None
    assert bench.kept() == []
    assert bench.read(bench.get(fresh, "shout")) == b"NEW"
    assert (len(bench.blobs()), len(bench.kept())) == (1, 1), "the old file and the old result are gone"
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
    assert bench.kept() == []
    assert bench.left_in_work() == []


def test_equal_files_of_two_applications_have_results_of_their_own(bench: Bench) -> None:
    other, _ = bench.engine.records.create_application("other")
    mine, theirs = bench.put(), bench.put(application=other)
    first, second = bench.get(mine, "shout"), bench.get(theirs, "shout")
    assert first.key != second.key
    bench.engine.files.remove_application(other.api_key)
    assert len(bench.kept()) == 1
    assert bench.read(first) == b"WORDS"
    with pytest.raises(NotFound):
        bench.read(second)


def test_the_name_of_a_result_depends_on_each_thing_it_is_made_of(bench: Bench) -> None:
    name, owner = bench.engine.renditions.key, bench.application
    source, plan = bench.sources(bench.put())[0], bench.plan("shout")
    other = replace(source, handle="B" * 21)
    others = [
        name(owner, [replace(source, digest="0" * 64)], plan),
        name(replace(owner, api_key="other"), [source], plan),
        name(owner, [other], plan),
        name(owner, [replace(source, mimetype="image/png")], plan),
        name(owner, [source, other], plan),
        name(owner, [other, source], plan),
        name(owner, [source], bench.plan("shout=n:1")),
        name(owner, [source], replace(plan, canonical=plan.canonical + " ")),
    ]
    assert len({name(owner, [source], plan), *others}) == 9
    assert name(owner, [replace(source, filename="b", size=9)], plan) == name(owner, [source], plan)


def test_the_limits_of_an_application_hold_before_anything_runs(bench: Bench) -> None:
    link = bench.put(b"x" * 100)
    bench.engine.records.update_application(bench.application.api_key, limits=Limits(max_bytes=99))
    with pytest.raises(TooLarge):
        bench.get(link, "shout")
    assert bench.runs() == 0


def test_a_result_whose_bytes_are_lost_or_damaged_is_made_again(bench: Bench) -> None:
    link, other = bench.put(), bench.another()
    try:
        bench.get(link, "shout")
        (file,) = bench.kept()
        whole = file.read_bytes()
        for damage in (b"", whole[:-1], whole[:-1] + b"?", b"SDR9" + whole[4:], whole[:30], b"\0" * len(whole)):
            file.write_bytes(damage)
            assert bench.find(link, "shout", other) is None
        file.unlink()
        assert bench.find(link, "shout") is None, "also where its bytes are in memory"
    finally:
        other.close()
    assert bench.read(bench.get(link, "shout")) == b"WORDS"
    assert bench.runs() == 2


def test_a_forgotten_result_is_made_again(bench: Bench) -> None:
    link = bench.put()
    bench.engine.renditions.forget(bench.get(link, "shout"))
    assert bench.kept() == []
    assert bench.read(bench.get(link, "shout")) == b"WORDS"
    assert bench.runs() == 2


def test_results_are_served_in_parts_and_to_their_end_after_they_were_taken_away(bench: Bench) -> None:
    link = bench.put(b"0123456789" * 50_000)
    made = bench.get(link, "repeat=n:2")
    assert made.size == 1_000_000
    with bench.engine.renditions.open(made, start=999_995, length=100) as stream:
        assert stream.read() == b"56789"
    with bench.engine.renditions.open(made, start=10, length=4) as stream:
        assert bench.engine.renditions.purge(link.application, link.handle) == 1
        assert stream.read() == b"0123"
    with pytest.raises(NotFound):
        bench.engine.renditions.open(made)


def test_a_large_result_is_found_by_another_process(bench: Bench) -> None:
    link, other = bench.put(b"0123456789" * 50_000), bench.another()
    try:
        made = bench.get(link, "repeat=n:3")
        assert bench.find(link, "repeat=n:3", other) == made
        with other.renditions.open(made, start=1_499_999) as stream:
            assert stream.read() == b"9"
    finally:
        other.close()


def test_what_one_process_purges_no_other_finds(bench: Bench) -> None:
    link, stays, other = bench.put(), bench.put(b"stays"), bench.another()
    try:
        bench.get(link, "shout")
        bench.get(link, "shout=n:1")
        bench.get(stays, "shout")
        assert bench.find(link, "shout", other) is not None
        before = other.records.generations()
        assert bench.engine.renditions.purge(link.application, link.handle) == 2
        assert other.records.generations() != before, "so that whole answers that are remembered count no more"
        assert bench.find(link, "shout", other) is None
        assert bench.find(stays, "shout", other) is not None
        assert bench.engine.renditions.purge_application(link.application) == 1
        assert bench.find(stays, "shout", other) is None
    finally:
        other.close()
    assert bench.kept() == []


def test_a_result_goes_with_each_of_the_files_it_was_made_of(bench: Bench) -> None:
    photo, mark = bench.put(b"photo"), bench.put(b"mark")
    bench.get(photo, "shout", others=[mark])
    bench.get(photo, "shout")
    bench.engine.files.remove(mark)
    assert bench.find(photo, "shout") is not None
    assert len(bench.kept()) == 1
    bench.engine.files.remove(photo)
    assert bench.kept() == []


def test_a_file_that_is_removed_while_another_is_made_with_it_takes_the_result_along(bench: Bench) -> None:
    photo, mark = bench.put(b"photo"), bench.put(b"mark")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.get, photo, "nap=number:500/shout", None, [mark])
        while bench.runs() == 0:
            pass
        bench.engine.files.remove(mark)
        with pytest.raises(NotFound):
            waiting.result()
    assert bench.kept() == []


def test_a_file_that_is_overwritten_while_its_result_is_made_keeps_no_result_of_the_old_content(bench: Bench) -> None:
    link = bench.put(b"old")
    with ThreadPoolExecutor(1) as pool, bench.engine.files.begin(bench.application, Target()) as upload:
        upload.write(b"new")
        waiting = pool.submit(bench.get, link, "nap=number:500/shout")
        while bench.runs() == 0:
            pass
        bench.engine.files.overwrite(link, upload)
        with pytest.raises(NotFound):
            waiting.result()
    assert bench.kept() == []


def test_an_application_that_is_deleted_while_its_result_is_made_leaves_none(bench: Bench) -> None:
    other, _ = bench.engine.records.create_application("other")
    data = b"external"
    source = SourceFile(
        handle=None, digest="d" * 64, mimetype="text/plain", filename="a", size=len(data), open=lambda: io.BytesIO(data)
    )
    renditions, plan = bench.engine.renditions, bench.plan("nap=number:500/shout")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(renditions.get, other, [source], plan)
        while bench.runs() == 0:
            pass
        bench.engine.files.remove_application(other.api_key)
        with pytest.raises(NotFound):
            waiting.result()
    assert bench.kept() == []


def test_results_of_external_sources_are_kept_by_content(bench: Bench) -> None:
    data = b"from elsewhere"
    source = SourceFile(
        handle=None, digest="e" * 64, mimetype="text/plain", filename="a", size=len(data), open=lambda: io.BytesIO(data)
    )
    plan = bench.plan("shout")
    made = bench.engine.renditions.get(bench.application, [source], plan)
    assert (made.handle, bench.read(made)) == (None, b"FROM ELSEWHERE")
    assert bench.engine.renditions.find(bench.application, [source], plan) == made
    assert bench.engine.renditions.purge_application(bench.application.api_key) == 1


def test_who_does_not_want_to_wait_is_told_that_another_process_makes_the_result(bench: Bench) -> None:
    link, other = bench.put(), bench.another()
    plan = bench.plan("nap=number:500/shout")
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bench.get, link, "nap=number:500/shout")
            while bench.runs() == 0:
                pass
            assert other.renditions.attempt(bench.application, bench.sources(link), plan) is None
            made = waiting.result()
        assert other.renditions.attempt(bench.application, bench.sources(link), plan) == made
    finally:
        other.close()
    assert bench.runs() == 1


def test_the_tag_of_a_result_tells_its_bytes_apart(bench: Bench) -> None:
    made = bench.get(bench.put(), "shout")
    assert made.etag != replace(made, checksum=made.checksum ^ 1).etag
    assert made.etag != replace(made, key="0" * 64).etag


def test_names_that_no_file_of_ours_has_lead_nowhere(bench: Bench) -> None:
    for name in ("..", "../../files", "", "a/b", ".gone", "x" * 200):
        with pytest.raises(NotFound):
            bench.engine.renditions.purge(bench.application.api_key, name)
        with pytest.raises(NotFound):
            bench.engine.renditions.purge(name, "A" * 21)


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
    key = bench.engine.renditions.key(bench.application, bench.sources(link), plan)
    (bench.data / "work" / f"{key[-16:]}.lock").touch()
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
    storages = bench.engine.storages
    own = storages.own
    try:
        storages.own = {"local": Remote(own["local"])}
        assert bench.read(bench.get(link, "shout")) == b"FAR AWAY"
    finally:
        storages.own = own
