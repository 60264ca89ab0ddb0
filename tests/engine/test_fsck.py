"""What fsck finds, what it does not take for damage, and what it puts right."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pytest
import sqlalchemy as sa
import typer

from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.cli.storage_fsck import fsck as command
from secure_delivery.engine import Engine, build, tables
from secure_delivery.engine.files import Target
from secure_delivery.engine.fsck import Finding, Fsck, Report
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.gate.errors import ConfigurationError, StorageFault
from secure_delivery.gate.model import Application
from secure_delivery.plugin import Draft, Listed, Located

HOUR = 3600


class Bucket:
    """A storage that is no folder: it can write, read and delete, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.inner = LocalStorage(root)
        self.broken = False

    def create(self, key: str, *, mimetype: str) -> Draft:
        return self.inner.create(key, mimetype=mimetype)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        if self.broken:
            raise StorageFault("out of reach")
        return self.inner.open(key, start=start, length=length)

    def remove(self, key: str) -> None:
        self.inner.remove(key)


class ListedBucket(Bucket):
    def keys(self) -> Iterator[tuple[str, int, float]]:
        return self.inner.keys()


class OwnPlace(ListedBucket):
    """The customer's own: what else lies there is none of our business."""

    containers = ("bucket",)
    readable = True

    def place(self, key: str, *, mimetype: str, access: Literal["private", "public"] | None = None) -> Draft:
        return self.inner.create(key, mimetype=mimetype)


class WriteOnly(OwnPlace):
    readable = False

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        raise AssertionError("nothing is ever read here")

    def keys(self) -> Iterator[tuple[str, int, float]]:
        raise AssertionError("nothing is ever listed here")


class House:
    """An engine with one application, and a second storage where a test asks for it."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.folder = folder
        values = {"data": str(folder / "data"), "decoders": 1, "database": database}
        self.engine: Engine = build(Settings.read(values))
        self.application: Application = self.engine.records.create_application("test")[0]

    @property
    def local(self) -> LocalStorage:
        storage = self.engine.files.storage("local")
        assert isinstance(storage, LocalStorage)
        return storage

    def put(self, data: bytes, storage: str = "local") -> FileLink:
        with self.engine.files.begin(self.application, Target(filename="a.bin")) as upload:
            upload.write(data)
            link = self.engine.files.add(self.application, upload)
        if storage == "local":
            return link
        put(self.engine.files.storage(storage), link.key, data)
        change(self.engine, link.handle, storage=storage)
        self.local.remove(link.key)
        return replace(link, storage=storage)

    def with_storage(self, name: str, storage: Any) -> None:
        self.engine.storages.own = {**self.engine.storages.own, name: storage}

    def check(self, only: str | None = None, *, deep: bool = False, ahead: float = 2 * HOUR, **options: Any) -> Report:
        """A check as if it were made two hours from now, unless said otherwise."""
        run = {name: options.pop(name) for name in ("repair", "forget_missing", "consent") if name in options}
        engine = self.engine
        clock = lambda: time.time() + ahead
        check = Fsck(engine.database, engine.records, engine.files, engine.storages.own, deep=deep, clock=clock, **options)
        return check.run(only, **run)


def put(storage: Any, key: str, data: bytes) -> None:
    draft = storage.create(key, mimetype="text/plain")
    draft.write(data)
    draft.publish()


def change(engine: Engine, handle: str, **values: Any) -> None:
    with engine.database.write() as connection:
        connection.execute(sa.update(tables.file).where(tables.file.c.handle == handle).values(**values))


def found(report: Report) -> set[tuple[str, str | None]]:
    return {(finding.kind, finding.handle or finding.key) for finding in report.findings}


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, database_url)
    yield house
    house.engine.close()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.engine.close()


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0\0\0")


# ----------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_files_that_are_gone_cut_grown_and_changed_are_found_and_the_others_are_not(
    house: House, deep: bool, kind: str
) -> None:
    bucket = Bucket(house.folder / "bucket")
    assert not isinstance(bucket, (Located, Listed))
    house.with_storage("bucket", bucket)
    inner = house.local if kind == "local" else bucket.inner
    whole, gone, cut, grown, changed = (house.put(b"content %d" % number * 50, kind) for number in range(5))
    inner.remove(gone.key)
    os.truncate(inner.locate(cut.key), 20)
    with inner.locate(grown.key).open("ab") as file:
        file.write(b"more")
    damage(inner.locate(changed.key))
    told: list[Finding] = []
    report = house.check(deep=deep, found=told.append)
    expected = {("missing", gone.handle), ("size", cut.handle), ("size", grown.handle)}
    if deep:
        expected.add(("damaged", changed.handle))
    assert found(report) == expected and told == report.findings
    assert whole.handle not in {finding.handle for finding in told}
    assert report.wrong == len(expected) == report.counts.total()
    assert report.files == 5
    assert all(finding.application == house.application.api_key and finding.storage == kind for finding in told)


def test_blobs_without_a_record_are_found_when_they_are_old_and_only_those(house: House) -> None:
    link = house.put(b"recorded")
    put(house.local, "0" * 40, b"orphan")
    with house.engine.database.write() as connection:
        connection.execute(sa.insert(tables.blob_to_delete).values(storage="local", key="1" * 40))
    put(house.local, "1" * 40, b"about to be deleted")
    young = house.check(ahead=HOUR - 60)
    assert (young.wrong, young.blobs, young.waiting) == (0, 3, 1)
    report = house.check()
    assert found(report) == {("orphan", "0" * 40)}
    assert (report.orphan_bytes, report.waiting, report.wrong) == (6, 1, 1)
    assert link.handle not in str(report.findings)
    assert house.local.open("0" * 40).read() == b"orphan", "a check changes nothing"


def test_a_blob_that_several_files_share_is_no_orphan_and_is_judged_for_each(house: House) -> None:
    first, second, third = (house.put(b"the same bytes") for _ in range(3))
    for each in (second, third):
        change(house.engine, each.handle, key=first.key)
    report = house.check(deep=True)
    kept = {finding.key for finding in report.findings if finding.kind == "orphan"}
    assert {finding.kind for finding in report.findings} <= {"orphan"} and first.key not in kept
    damage(house.local.locate(first.key))
    assert {pair for pair in found(house.check(deep=True)) if pair[0] == "damaged"} == {
        ("damaged", each.handle) for each in (first, second, third)
    }


def test_more_than_a_page_is_checked_wholly(quick: House) -> None:
    key = quick.put(b"x").key
    with quick.engine.database.write() as connection:
        row = dict(connection.execute(sa.select(tables.file).where(tables.file.c.key == key)).mappings().one())
        rows = [row | {"handle": f"H{number:020d}", "key": f"{number % 1500:040d}"} for number in range(2_600)]
        connection.execute(sa.insert(tables.file), rows)
    for number in range(1500):
        if number != 1_400:
            path = quick.local._path(f"{number:040d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    report = quick.check()
    assert (report.files, report.blobs) == (2_601, 1_500)
    assert found(report) == {("missing", f"H{1_400:020d}")}


class Hall(Bucket):
    """A storage in which every key is the same file, and more of them are listed than anybody holds."""

    def locate(self, key: str) -> Path:
        return self.inner.locate("0" * 40)

    def keys(self) -> Iterator[tuple[str, int, float]]:
        return ((f"{number:040d}", 1, 0.0) for number in range(50_000))


def test_memory_does_not_grow_with_what_there_is_or_what_is_wrong(quick: House) -> None:
    hall = Hall(quick.folder / "hall")
    quick.with_storage("hall", hall)
    put(hall, "0" * 40, b"x")
    key = quick.put(b"x").key
    with quick.engine.database.write() as connection:
        row = dict(connection.execute(sa.select(tables.file).where(tables.file.c.key == key)).mappings().one())
        for start in range(0, 20_000, 5_000):
            rows = [row | {"storage": "hall", "handle": f"H{n:020d}", "key": f"{n:040d}"} for n in range(start, start + 5_000)]
            connection.execute(sa.insert(tables.file), rows)
    tracemalloc.start()
    try:
        report = quick.check("hall")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (report.files, report.blobs, dict(report.counts)) == (20_000, 50_000, {"orphan": 30_000})
    assert len(report.findings) == 1_000
    assert peak < 5_000_000, "20,000 rows, or 30,000 findings, take more"


# ----------------------------------------------------------------------------------------------- what it leaves alone


def test_the_customers_own_place_is_checked_for_our_files_and_never_for_orphans(house: House) -> None:
    place = OwnPlace(house.folder / "place")
    house.with_storage("place", place)
    kept, gone = house.put(b"ours", "place"), house.put(b"lost", "place")
    place.inner.remove(gone.key)
    put(place, "f" * 40, b"the customer's")
    report = house.check("place", repair=True)
    assert found(report) == {("missing", gone.handle)} and report.blobs == 0
    assert place.inner.open("f" * 40).read() == b"the customer's"
    assert place.inner.open(kept.key).read() == b"ours"


def test_a_place_that_may_only_be_written_is_neither_read_nor_listed(house: House) -> None:
    house.with_storage("drop", WriteOnly(house.folder / "drop"))
    house.put(b"ours", "drop")
    report = house.check("drop", deep=True, repair=True, forget_missing=True)
    assert report.wrong == 0 and "drop" in report.skipped and report.files == 0


def test_a_storage_that_lists_is_checked_for_orphans_wherever_it_is(house: House) -> None:
    bucket = ListedBucket(house.folder / "bucket")
    house.with_storage("bucket", bucket)
    house.put(b"ours", "bucket")
    put(bucket, "f" * 40, b"nobody's")
    assert found(house.check("bucket")) == {("orphan", "f" * 40)}


def test_a_storage_whose_plugin_is_gone_and_one_that_is_out_of_reach_are_told_and_nothing_of_them_is_forgotten(
    house: House,
) -> None:
    bucket = Bucket(house.folder / "bucket")
    house.with_storage("bucket", bucket)
    links = [house.put(b"x%d" % number, "bucket") for number in range(30)]
    bucket.broken = True
    report = house.check(repair=True, forget_missing=True)
    assert report.counts["unreadable"] == 20 and "bucket" in report.skipped and report.wrong == 21
    house.engine.storages.own = {name: each for name, each in house.engine.storages.own.items() if name != "bucket"}
    report = house.check(repair=True, forget_missing=True)
    assert "bucket" in report.skipped and report.wrong == 1 and report.forgotten == 0
    assert all(house.engine.records.file(link.handle) for link in links)


@pytest.mark.parametrize("deep", [False, True])
def test_files_that_change_between_their_record_and_their_bytes_are_not_damage(house: House, deep: bool) -> None:
    links = sorted((house.put(b"first %d" % number) for number in range(100)), key=lambda link: link.key)
    changed: list[FileLink] = []

    def interfere(what: str, storage: str, done: int, total: int | None) -> None:
        if what != "files" or changed:
            return
        changed.extend(links[-50:])  # the page with them has been read, their bytes have not
        for number, link in enumerate(changed):
            if number % 2:
                house.engine.files.remove(link)
                continue
            with house.engine.files.begin(house.application, Target(filename="a.bin")) as upload:
                upload.write(b"second, and longer")
                house.engine.files.overwrite(link, upload)

    report = house.check(deep=deep, ahead=0, progress=interfere)
    assert len(changed) == 50 and report.wrong == 0, report.findings


def test_files_that_are_overwritten_stored_and_removed_meanwhile_are_not_damage(quick: House) -> None:
    links = [quick.put(b"first") for _ in range(40)]
    done = threading.Event()

    def work() -> None:
        number = 0
        while not done.is_set():
            number += 1
            current = quick.engine.files.find(links[number % 20].handle)
            with quick.engine.files.begin(quick.application, Target(filename="a.bin")) as upload:
                upload.write(b"content %d" % number)
                quick.engine.files.overwrite(current, upload)
            quick.engine.files.remove(quick.put(b"short lived %d" % number))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for attempt in range(25):
            report = quick.check(deep=attempt % 2 == 0, ahead=0)
            assert report.wrong == 0, report.findings
    finally:
        done.set()
        worker.join()


# ------------------------------------------------------------------------------------------------------------ repairing


def test_a_repair_deletes_orphans_what_waits_and_abandoned_drafts_and_asks_before(house: House) -> None:
    link = house.put(b"recorded")
    for number in range(3):
        put(house.local, f"{number}" * 40, b"orphan")
    put(house.local, "9" * 40, b"waits")
    with house.engine.database.write() as connection:
        connection.execute(sa.insert(tables.blob_to_delete).values(storage="local", key="9" * 40))
    draft = house.folder / "data" / "files" / "tmp" / "abandoned"
    draft.write_bytes(b"half")
    os.utime(draft, (1_000_000, 1_000_000))
    assert house.check().drafts == 1
    asked: list[tuple[int, int]] = []

    def refuse(count: int, size: int) -> bool:
        asked.append((count, size))
        return False

    refused = house.check(repair=True, consent=refuse)
    assert asked == [(3, 18)] and (refused.deleted, refused.wrong) == (0, 3)
    assert len(list(house.local.keys())) == 4, "only what was to be deleted anyway is gone"
    report = house.check(repair=True)
    assert (report.deleted, report.wrong, report.waiting, report.drafts) == (3, 0, 0, 0)
    assert [key for key, _, _ in house.local.keys()] == [link.key]  # noqa: SIM118 - no mapping
    assert not draft.exists()
    assert house.check().wrong == 0


def test_a_blob_that_gets_its_record_after_it_was_found_is_not_deleted(house: House) -> None:
    put(house.local, "a" * 40, b"late")
    link = house.put(b"late")

    def record(count: int, size: int) -> bool:
        house.local.remove(link.key)
        change(house.engine, link.handle, key="a" * 40)
        return True

    report = house.check(repair=True, consent=record)
    assert report.counts["orphan"] == 1 and report.deleted == 0
    assert house.engine.files.open(house.engine.files.find(link.handle)).read() == b"late"


def test_records_without_bytes_go_only_when_asked_for_and_not_where_a_storage_may_be_away(house: House) -> None:
    kept, gone = house.put(b"kept"), house.put(b"gone")
    house.local.remove(gone.key)
    assert house.check(repair=True).counts["missing"] == 1
    assert house.engine.records.file(gone.handle) is not None
    report = house.check(forget_missing=True)
    assert (report.forgotten, report.wrong) == (1, 0)
    assert house.engine.records.file(gone.handle) is None and house.engine.records.file(kept.handle) is not None

    links = [house.put(b"%d" % number) for number in range(20)]
    (house.folder / "data" / "files").rename(house.folder / "away")
    report = house.check(forget_missing=True)
    assert report.forgotten == 0 and "mounted" in report.skipped["local"] and report.wrong == 21
    (house.folder / "away").rename(house.folder / "data" / "files")
    assert house.check().wrong == 0
    assert all(house.engine.records.file(link.handle) for link in links)


# -------------------------------------------------------------------------------------------------------------- command


@pytest.fixture
def run(
    quick: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """The command, by itself, on the data of the house."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SECURE_DELIVERY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command("fsck")(command)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fsck", *words])
        status = 0
        try:
            app()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_command_says_what_it_finds_and_its_status_says_whether_it_remains(
    quick: House, run: Callable[..., tuple[int, str, str]]
) -> None:
    whole, gone = quick.put(b"whole"), quick.put(b"gone")
    assert run()[0] == 0
    quick.local.remove(gone.key)
    put(quick.local, "0" * 40, b"orphan")
    os.utime(quick.local.locate("0" * 40), (1_000_000, 1_000_000))
    status, out, err = run()
    assert status == 1 and "2 problems remain" in err
    assert f"file {gone.handle}" in out and "0" * 40 in out and whole.handle not in out
    status, out, _ = run("--json")
    said = json.loads(out)
    assert status == 1 and said["counts"] == {"missing": 1, "orphan": 1} and said["wrong"] == 2
    assert {finding["kind"] for finding in said["findings"]} == {"missing", "orphan"}
    assert run("local", "--repair", "--yes", "--json")[0] == 1, "a file without bytes remains"
    assert quick.engine.records.file(gone.handle) is not None
    status, out, _ = run("--forget-missing", "--repair", "--yes", "--deep")
    assert status == 0 and "everything is as it should be" in out
    assert quick.engine.records.file(gone.handle) is None


def test_the_command_deletes_nothing_where_nobody_can_be_asked(
    quick: House, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(quick.local, "0" * 40, b"orphan")
    os.utime(quick.local.locate("0" * 40), (1_000_000, 1_000_000))
    for option in ("--repair", "--forget-missing"):
        with pytest.raises(ConfigurationError, match="--yes"):
            run(option)
    assert quick.local.open("0" * 40).read() == b"orphan"


@pytest.mark.parametrize(("answer", "left", "status"), [("y\n", 0, 0), ("n\n", 1, 1), ("", 1, 1)])
def test_a_person_is_asked_before_anything_is_deleted(
    quick: House, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, answer: str, left: int, status: int
) -> None:
    put(quick.local, "0" * 40, b"orphan")
    os.utime(quick.local.locate("0" * 40), (1_000_000, 1_000_000))
    master, slave = os.openpty()
    try:
        with os.fdopen(os.dup(slave), "r") as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            os.write(master, answer.encode() or b"\x04")
            assert run("--repair")[0] == status
    finally:
        os.close(master)
        os.close(slave)
    assert len(list(quick.local.keys())) == left


def test_an_unknown_storage_is_a_mistake_and_no_finding(quick: House, run: Callable[..., tuple[int, str, str]]) -> None:
    with pytest.raises(StorageFault):
        run("nowhere")
