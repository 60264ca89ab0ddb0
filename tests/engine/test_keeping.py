"""How long files are kept, and how much of them: expiry, quotas, types, scanners, shared bytes, undo, moving; on both
databases."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from buckets import S3Server, bucket_server, options

from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.files import Development, Files, Target, Upload
from secure_delivery.engine.housekeeping import Housekeeping
from secure_delivery.engine.memory import Memory
from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.records import FileLink, Records
from secure_delivery.engine.rendition_store import RenditionStore
from secure_delivery.engine.storages import Storages
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.errors import (
    Busy,
    Held,
    Infected,
    NotFound,
    NotProvided,
    QuotaExceeded,
    StorageFault,
    Unsupported,
)
from secure_delivery.gate.model import Application
from secure_delivery.plugin.protocols import Event, Media
from secure_delivery_s3 import S3Provider

KEY = bytes((11 * number + 5) % 256 for number in range(32))
HOUR, DAY = 3600, 86_400
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


class Clock:
    """Seconds since the epoch, turned by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Eicar:
    """A scanner that finds a marker; told so, it does not answer, or waits until it is let go."""

    def __init__(self) -> None:
        self.broken = False
        self.seen: list[bytes] = []
        self.before: Callable[[], None] = lambda: None

    def scan(self, media: Media) -> str | None:
        with media.open() as stream:
            data = stream.read()
        self.seen.append(data)
        self.before()
        if self.broken:
            raise ConnectionError("no answer")
        return "Eicar-Test" if b"EICAR" in data else None


class Slow(LocalStorage):
    """The local storage, which lets something happen between opening a blob and reading it."""

    between: Callable[[], None] = staticmethod(lambda: None)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        stream = super().open(key, start=start, length=length)
        self.between()
        return stream


class House:
    """Files on a database and a folder, with an own clock, quota and scanners."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database, self.root = database, root
        self.clock = Clock()
        self.events: list[tuple[str, str]] = []
        self.scanner = Eicar()
        self.after: Callable[[], None] = lambda: None  # what happens when something was told
        self.port = 1
        self.vault = Vault({"k": KEY}, current="k")
        self.records = Records(database, self.vault, self.clock)
        self.files = self.another()
        self.application, _ = self.records.create_application("test")

    def another(self, *, scanners: bool = True, local: LocalStorage | None = None, **development: int) -> Files:
        storages = Storages(
            self.database,
            self.vault,
            self.clock,
            own={"local": local or LocalStorage(self.root / "files")},
            providers={"s3": S3Provider()},
            default="local",
            guard=OutboundGuard(allow=("127.0.0.1",), ports=(80, 443, self.port)),
        )
        return Files(
            Records(self.database, self.vault, self.clock),
            storages,
            renditions=RenditionStore(self.root / "renditions", days=1, memory=Memory(0), clock=self.clock),
            notify=self._notify,
            clock=self.clock,
            scanners={"eicar": self.scanner} if scanners else {},
            development=Development(**{"keep": 7 * DAY, "quota": 10_000} | development),
        )

    def _notify(self, event: Event) -> None:
        self.events.append((event.name, event.data["handle"]))
        self.after()

    def change(self, **switches: Any) -> Application:
        self.application = self.records.update_application(self.application.api_key, **switches)
        return self.application

    def put(self, data: bytes = b"content", files: Files | None = None, **target: Any) -> FileLink:
        files = files or self.files
        with files.begin(self.application, Target(**target)) as upload:
            upload.write(data)
            return files.add(self.application, upload)

    def over(self, link: FileLink, data: bytes) -> FileLink:
        with self.files.begin(self.application, Target(filename=link.filename), over=link) as upload:
            upload.write(data)
            return self.files.overwrite(link, upload)

    def read(self, handle: str) -> bytes:
        with self.files.open(self.files.find(handle)) as stream:
            return stream.read()

    def blobs(self) -> list[Path]:
        return [path for path in (self.root / "files").rglob("*") if path.is_file()]

    def check_figures(self) -> None:
        """The figures of use are what a recount says, for every application and storage."""
        file, usage = tables.file, tables.usage
        counted = sa.select(file.c.application, file.c.storage, sa.func.count(), sa.func.sum(file.c.size))
        with self.database.read() as connection:
            real = {tuple(row) for row in connection.execute(counted.group_by(file.c.application, file.c.storage))}
            kept = {tuple(row) for row in connection.execute(sa.select(usage).where(usage.c.files != 0))}
            zeros = connection.execute(sa.select(usage.c.bytes).where(usage.c.files == 0)).scalars().all()
        assert {(*row[:2], int(row[2]), int(row[3])) for row in real} == kept
        assert set(zeros) <= {0}

    def gone(self, link: FileLink) -> bool:
        with pytest.raises(NotFound):
            self.files.find(link.handle)
        return self.records.file(link.handle) is None


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    house = House(database, tmp_path)
    yield house
    house.check_figures()


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server, house: House) -> Iterator[S3Server]:
    """A bucket, which is a storage called `assets` of the house's application."""
    house.port = provider.port
    house.files = house.another()
    house.files.storages.add(house.application.api_key, "assets", "s3", options(provider))
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()


# ----------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize(
    ("storage", "retention", "asked", "expected"),
    [
        ("", 0, None, 7 * DAY),
        ("", 9 * DAY, None, 7 * DAY),
        ("", 3 * DAY, None, 3 * DAY),
        ("", 3 * DAY, HOUR, HOUR),
        ("", 0, 30 * DAY, 7 * DAY),
        ("server", 0, None, None),
        ("server", 3 * DAY, None, 3 * DAY),
        ("server", 3 * DAY, 9 * DAY, 3 * DAY),
        ("server", 0, HOUR, HOUR),
    ],
)
def test_a_file_goes_at_the_earliest_moment_that_place_application_and_uploader_say(
    house: House, storage: str, retention: int, asked: int | None, expected: int | None
) -> None:
    house.change(storage=storage, retention=retention)
    link = house.put(expires_in=asked)
    assert link.expires == (None if expected is None else int((house.clock.now + expected) * 1000))
    if expected is None:
        house.clock.now += 1000 * DAY
        assert house.files.tend() == 0 and house.read(link.handle) == b"content"
        return
    house.clock.now += expected - 0.001
    assert house.files.tend() == 0 and house.read(link.handle) == b"content"
    house.clock.now += 0.001
    with pytest.raises(NotFound):
        house.files.find(link.handle)
    assert len(house.blobs()) == 1, "nobody reads it, and its bytes go with the next round"
    assert house.files.tend() == 1
    assert house.gone(link) and house.blobs() == []
    assert house.events == [("fp.upload", link.handle), ("fp.delete", link.handle)]


def test_a_development_storage_without_an_end_keeps_files(house: House) -> None:
    assert house.put(files=house.another(keep=0)).expires is None


def test_an_overwrite_begins_the_time_anew(house: House) -> None:
    link = house.put()
    house.clock.now += 5 * DAY
    fresh = house.over(link, b"newer")
    assert fresh.expires == int((house.clock.now + 7 * DAY) * 1000)
    house.clock.now += 6 * DAY
    assert house.files.tend() == 0 and house.read(link.handle) == b"newer"


def test_housekeeping_goes_round_until_nothing_is_left_and_survives_a_chore_that_fails(house: House) -> None:
    links = [house.put(f"content {number}".encode()) for number in range(5)]
    kept = house.put(b"kept", files=house.another(keep=90 * DAY))
    house.clock.now += 8 * DAY

    def failing() -> int:
        raise RuntimeError("the database is away")

    keeper = Housekeeping((failing, lambda: house.files.tend(limit=2)))
    assert [keeper.round() for _ in range(4)] == [2, 2, 1, 0]
    assert all(house.gone(link) for link in links) and house.read(kept.handle) == b"kept"
    assert len(house.blobs()) == 1


def test_a_file_that_was_given_more_time_meanwhile_is_not_swept_away(house: House) -> None:
    """One process lists what has expired, another one gives a file more time, then the first comes to it."""
    link, second = house.put(b"one"), house.put(b"two")
    house.clock.now += 8 * DAY
    house.records.mark_file(link.handle, application=link.application, expires=1)  # comes first

    def more_time() -> None:
        house.records.mark_file(second.handle, application=link.application, expires=None)

    house.after = more_time
    assert house.files.tend() == 1
    assert house.gone(link) and house.read(second.handle) == b"two"


# ------------------------------------------------------------------------------------------------------------ quotas


def test_the_development_storage_takes_as_many_bytes_as_it_may_and_not_one_more(house: House) -> None:
    first = house.put(b"x" * 6000)
    with pytest.raises(QuotaExceeded):
        house.put(b"y" * 4001)
    exact = house.put(b"z" * 4000)
    with pytest.raises(QuotaExceeded):
        house.put(b"1")
    assert len(house.blobs()) == 2
    house.files.remove(first)
    assert house.put(b"1" * 6000).size == 6000 and house.read(exact.handle) == b"z" * 4000


def test_the_byte_over_the_quota_ends_an_upload_as_such_and_leaves_nothing(house: House) -> None:
    with house.files.begin(house.application, Target()) as upload:
        upload.write(b"x" * 10_000)
        with pytest.raises(QuotaExceeded) as caught:
            upload.write(b"x")
    assert (caught.value.status, caught.value.code) == (413, "quota_exceeded")
    assert house.blobs() == []


def test_an_overwrite_counts_the_content_that_it_replaces(house: House) -> None:
    link = house.put(b"x" * 9_000)
    assert house.over(link, b"y" * 10_000).size == 10_000
    with pytest.raises(QuotaExceeded):
        house.over(house.files.find(link.handle), b"z" * 10_001)
    assert house.read(link.handle) == b"y" * 10_000
    assert house.records.used(link.application, "local") == (1, 10_000)


def test_uploads_at_the_same_moment_do_not_share_what_is_left(house: House) -> None:
    uploads = [house.files.begin(house.application, Target()) for _ in range(4)]
    for number, upload in enumerate(uploads):
        upload.write(str(number).encode() * 4_000)
    stored, refused = [], 0
    for upload in uploads:
        with upload:
            try:
                stored.append(house.files.add(house.application, upload))
            except QuotaExceeded:
                refused += 1
    assert (len(stored), refused) == (2, 2)
    assert house.records.used(house.application.api_key) == (2, 8_000)
    assert len(house.blobs()) == 2
    assert {house.read(link.handle) for link in stored} == {b"0" * 4_000, b"1" * 4_000}


def test_each_application_has_a_quota_of_its_own_and_those_with_a_place_for_good_have_none(house: House) -> None:
    house.put(b"x" * 10_000)
    house.application, _ = house.records.create_application("other")
    house.put(b"x" * 10_000)
    house.change(storage="server")
    assert house.put(b"y" * 50_000).size == 50_000
    house.application, _ = house.records.create_application("third")
    assert house.put(b"z" * 50_000, files=house.another(quota=0)).size == 50_000


# ------------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("allowed", "data", "filename", "taken"),
    [
        (("image/*",), PNG, "a.png", True),
        (("image/png",), PNG, "a.txt", True),
        (("image/*",), b"%PDF-1.7 x", "a.png", False),
        (("application/pdf",), b"%PDF-1.7 x", "a.png", True),
        (("image/*",), b"<html>hello", "a.png", False),
        ((), b"anything", "a", True),
    ],
    ids=range(6),
)
def test_the_content_decides_what_types_are_taken_in_whatever_the_client_says(
    house: House, allowed: tuple[str, ...], data: bytes, filename: str, taken: bool
) -> None:
    house.change(allowed_types=allowed)
    if taken:
        house.put(data, filename=filename, mimetype="text/html")
        return
    with pytest.raises(Unsupported) as caught:
        house.put(data, filename=filename, mimetype="image/png")
    assert caught.value.status == 415
    assert house.blobs() == [] and house.events == []


def test_a_large_file_of_a_forbidden_type_ends_with_its_head(house: House) -> None:
    house.change(allowed_types=("image/*",), storage="server")
    with house.files.begin(house.application, Target(filename="a.png")) as upload, pytest.raises(Unsupported):
        for _ in range(100):
            upload.write(b"%PDF-1.7 " + b"x" * 10_000)
    assert upload.size < 200_000 and house.blobs() == []


def test_an_overwrite_with_a_forbidden_type_leaves_the_old_content(house: House) -> None:
    house.change(allowed_types=("image/*",))
    link = house.put(PNG, filename="a.png")
    with pytest.raises(Unsupported):
        house.over(link, b"%PDF-1.7 x")
    assert house.read(link.handle) == PNG and len(house.blobs()) == 1


# ---------------------------------------------------------------------------------------------------------- scanners


def test_a_clean_file_may_be_read_and_an_infected_one_is_gone_with_its_bytes(house: House) -> None:
    house.change(scan=True)
    clean = house.put(b"clean")
    assert clean.held is None and house.read(clean.handle) == b"clean"
    with pytest.raises(Infected) as caught:
        house.put(b"EICAR")
    assert caught.value.status == 422 and "Eicar" not in caught.value.public
    assert house.records.count_files(clean.application) == 1 and len(house.blobs()) == 1
    assert house.events == [("fp.upload", clean.handle)]


def test_a_file_that_a_scanner_could_not_judge_is_held_and_judged_later(house: House) -> None:
    house.change(scan=True)
    house.scanner.broken = True
    links = [house.put(data) for data in (b"clean", b"EICAR")]
    for link in links:
        assert link.held is not None
        with pytest.raises(Held) as caught:
            house.files.find(link.handle)
        assert caught.value.status == 423
        assert house.files.find(link.handle, held=True) == link
    assert house.files.tend() == 0, "not again at once"
    house.clock.now += 61
    assert house.files.tend() == 0, "nothing was judged, so nothing is left to do at once"
    assert len(house.blobs()) == 2
    house.scanner.broken = False
    seen = len(house.scanner.seen)
    assert house.files.tend() == 0 and len(house.scanner.seen) == seen, "a scanner that failed has its pause"
    house.clock.now += 61
    assert house.files.tend() == 2
    assert house.read(links[0].handle) == b"clean" and house.gone(links[1]) and len(house.blobs()) == 1


def test_files_that_cannot_be_judged_do_not_keep_others_waiting(house: House) -> None:
    house.change(scan=True)
    house.scanner.broken = True
    for number in range(3):
        house.put(f"first {number}".encode())
        house.clock.now += 1
    last = house.put(b"last")
    house.clock.now += 61
    house.files.tend(limit=3)
    house.scanner.broken = False
    assert house.files.tend(limit=3) == 1
    assert house.read(last.handle) == b"last"


def test_without_a_scanner_nothing_is_taken_in_and_nothing_that_waits_is_let_go(house: House) -> None:
    house.change(scan=True)
    house.scanner.broken = True
    held = house.put()
    bare = house.another(scanners=False)
    with pytest.raises(NotProvided) as caught:
        house.put(files=bare)
    assert caught.value.status == 501 and len(house.blobs()) == 1
    house.clock.now += 61
    assert bare.tend() == 0
    with pytest.raises(Held):
        bare.scan(held)
        bare.find(held.handle)


def test_content_that_comes_while_the_old_is_judged_is_not_released_by_that_judgement(house: House, bucket: S3Server) -> None:
    house.change(scan=True, storage="assets")
    house.scanner.broken = True
    link = house.put(b"clean", path="shared.txt")
    house.scanner.broken = False

    def replaced() -> None:
        """While the clean content is looked at, another process puts something else there, and cannot judge it yet."""
        house.scanner.before = lambda: None
        house.scanner.broken = True
        assert house.put(b"EICAR", path="shared.txt").held is not None
        house.scanner.broken = False

    house.scanner.before = replaced
    assert house.files.scan(link).held is not None
    with pytest.raises(Held):
        house.files.find(link.handle)
    house.clock.now += 61
    house.files.tend()
    assert house.gone(link) and bucket.objects == {}


def test_an_overwrite_that_is_not_found_clean_leaves_the_old_content(house: House) -> None:
    house.change(scan=True)
    link = house.put(b"old and clean")
    house.scanner.broken = True
    with pytest.raises(Busy):
        house.over(link, b"nobody knows")
    house.scanner.broken = False
    with pytest.raises(Infected):
        house.over(link, b"EICAR")
    assert house.read(link.handle) == b"old and clean" and len(house.blobs()) == 1
    assert house.read(house.over(link, b"new and clean").handle) == b"new and clean"


def test_a_clean_file_that_took_the_place_of_an_infected_one_meanwhile_stays(house: House) -> None:
    house.change(scan=True)
    house.scanner.broken = True
    link = house.put(b"EICAR")
    house.scanner.broken = False

    def overwritten() -> None:
        house.scanner.before = lambda: None
        house.over(house.files.find(link.handle, held=True), b"clean")

    house.scanner.before = overwritten
    with pytest.raises(Infected):
        house.files.scan(link)
    assert house.read(link.handle) == b"clean"


def test_content_that_comes_by_the_path_of_a_clean_file_is_judged_for_that_file_too(house: House, bucket: S3Server) -> None:
    house.change(scan=True, storage="assets")
    clean = house.put(b"clean", path="shared.txt")
    house.scanner.broken = True
    second = house.put(b"EICAR", path="shared.txt")
    for link in (clean, second):
        with pytest.raises(Held):
            house.files.find(link.handle)
    house.scanner.broken = False
    house.clock.now += 61
    house.files.tend()
    assert house.gone(clean) and house.gone(second) and bucket.objects == {}
    first = house.put(b"clean", path="shared.txt")
    again = house.put(b"clean too", path="shared.txt")
    assert house.read(first.handle) == house.read(again.handle) == b"clean too", "one judgement of the object is enough"


# ------------------------------------------------------------------------------------------------------ shared bytes


def test_equal_bytes_of_one_application_lie_there_once_and_go_with_the_last_file(house: House) -> None:
    house.change(storage="server")
    links = [house.put(b"same" * 100, filename=f"{number}.txt") for number in range(3)]
    assert len({link.handle for link in links}) == 3 and len(house.blobs()) == 1
    assert house.records.used(house.application.api_key) == (3, 1200), "each counts in full"
    house.files.remove(links[0])
    fresh = house.over(links[1], b"other")
    assert len(house.blobs()) == 2
    assert house.read(links[2].handle) == b"same" * 100 and house.read(fresh.handle) == b"other"
    house.files.remove(links[2])
    assert len(house.blobs()) == 1 and house.records.blobs_to_delete() == []
    house.files.remove(fresh)
    assert house.blobs() == []


def test_equal_bytes_of_two_applications_lie_there_twice(house: House) -> None:
    mine = house.put(b"same")
    house.application, _ = house.records.create_application("other")
    theirs = house.put(b"same")
    assert len(house.blobs()) == 2 and mine.key != theirs.key
    house.files.remove(theirs)
    assert house.read(mine.handle) == b"same"


def test_bytes_that_went_missing_are_not_shared(house: House) -> None:
    lost = house.put(b"same")
    for path in house.blobs():
        path.unlink()
    fresh = house.put(b"same")
    assert fresh.key != lost.key and house.read(fresh.handle) == b"same"


def test_adding_and_removing_equal_bytes_at_once_never_loses_a_file(house: House) -> None:
    house.change(storage="server")
    content = [b"one" * 50, b"two" * 50]
    alive: list[list[FileLink]] = [[] for _ in range(4)]
    trouble: list[BaseException] = []

    def work(mine: list[FileLink], seed: int) -> None:
        files = house.another()
        try:
            for turn in range(25):
                if mine and (turn + seed) % 3 == 0:
                    files.remove(mine.pop(0))
                else:
                    mine.append(house.put(content[(turn + seed) % 2], files=files))
                for link in mine[-2:]:
                    with files.open(files.find(link.handle)) as stream:
                        assert hashlib.sha256(stream.read()).hexdigest() == link.sha256
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(mine, seed)) for seed, mine in enumerate(alive)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    links = list(itertools.chain(*alive))
    for link in links:
        assert hashlib.sha256(house.read(link.handle)).hexdigest() == link.sha256
    assert {path.name for path in house.blobs()} >= {Path(link.key).name for link in links}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(house.files.remove, links))
    assert house.blobs() == [] and house.records.blobs_to_delete() == []


# -------------------------------------------------------------------------------------------------------------- undo


def test_a_deleted_file_can_be_restored_as_it_was_until_its_time_is_over(house: House) -> None:
    house.change(undo=HOUR, storage="server")
    link = house.put(b"content", filename="a.txt")
    house.files.remove(link, undo=HOUR)
    with pytest.raises(NotFound):
        house.files.find(link.handle)
    with pytest.raises(NotFound):
        house.files.find(link.handle, held=True)
    assert len(house.blobs()) == 1
    house.clock.now += HOUR - 1
    assert house.files.tend() == 0
    restored = house.files.restore(house.application, link.handle)
    assert restored == link and house.read(link.handle) == b"content"
    with pytest.raises(NotFound):
        house.files.restore(house.application, link.handle)
    house.files.remove(restored, undo=HOUR)
    house.clock.now += HOUR
    with pytest.raises(NotFound):
        house.files.restore(house.application, link.handle)
    assert house.files.tend() == 1
    assert house.gone(link) and house.blobs() == []
    assert house.events == [("fp.upload", link.handle), ("fp.delete", link.handle), ("fp.delete", link.handle)]


def test_only_its_application_restores_a_file(house: House) -> None:
    link = house.put()
    house.files.remove(link, undo=HOUR)
    other, _ = house.records.create_application("other")
    with pytest.raises(NotFound):
        house.files.restore(other, link.handle)
    assert house.files.restore(house.application, link.handle).removed is None


def test_undoing_gives_no_file_more_time_than_it_had(house: House) -> None:
    link = house.put()
    house.clock.now += 6 * DAY
    house.files.remove(link, undo=30 * DAY)
    assert house.files.restore(house.application, link.handle).expires == link.expires
    house.files.remove(house.files.find(link.handle), undo=30 * DAY)
    house.clock.now += DAY
    assert house.files.tend() == 1 and house.blobs() == []


def test_undoing_keeps_the_time_that_the_uploader_asked_for(house: House) -> None:
    house.change(storage="server")
    link = house.put(expires_in=2 * HOUR)
    house.files.remove(link, undo=HOUR)
    assert house.files.restore(house.application, link.handle) == link
    house.clock.now += 2 * HOUR
    assert house.files.tend() == 1 and house.gone(link)


def test_bytes_that_a_deleted_file_shares_stay_until_both_are_gone(house: House) -> None:
    first, second = house.put(b"same"), house.put(b"same")
    house.files.remove(first, undo=HOUR)
    house.files.remove(second)
    assert len(house.blobs()) == 1
    assert house.files.restore(house.application, first.handle) and house.read(first.handle) == b"same"


def test_a_deleted_file_counts_until_it_is_gone(house: House) -> None:
    link = house.put(b"x" * 10_000)
    house.files.remove(link, undo=HOUR)
    with pytest.raises(QuotaExceeded):
        house.put(b"1")
    house.clock.now += HOUR
    house.files.tend()
    assert house.put(b"1").size == 1


# ------------------------------------------------------------------------------------------------- one object, two files


def test_a_file_says_the_place_that_it_really_has(house: House, bucket: S3Server) -> None:
    house.files.storages.change(house.application.api_key, "assets", {"path": "in/", "buckets": "other"})
    house.change(storage="assets")
    for link, container, path in (
        (house.put(), "bucket", "in/"),
        (house.put(container="other"), "other", "in/"),
        (house.put(path="x/"), "bucket", "x/"),
    ):
        assert (link.container, link.path) == (container, path)
        assert link.key.startswith(f"{container}/{path}")


def test_two_files_of_one_path_are_one_object_and_the_figures_follow(house: House, bucket: S3Server) -> None:
    house.change(storage="assets")
    first = house.put(b"first content", path="a/b.txt")
    second = house.put(b"second", path="/a/b.txt")
    assert list(bucket.objects) == [("bucket", "a/b.txt")]
    for link in (first, second):
        assert house.read(link.handle) == b"second"
        found = house.files.find(link.handle)
        assert (found.size, found.sha256) == (6, hashlib.sha256(b"second").hexdigest())
    assert house.records.used(first.application)[1] == 12
    fresh = house.over(house.files.find(first.handle), b"third!!")
    assert house.read(second.handle) == b"third!!" and house.records.used(first.application)[1] == 14
    house.files.remove(fresh)
    assert house.read(second.handle) == b"third!!"
    house.files.remove(house.files.find(second.handle))
    assert bucket.objects == {}


# ------------------------------------------------------------------------------------------------------------ moving


def test_a_file_that_is_moved_is_whole_there_and_gone_here_and_back_again(house: House, bucket: S3Server) -> None:
    link = house.put(b"content", filename="a.txt", path="docs/")
    with house.files.open(link) as reader:
        first = reader.read(3)
        moved = house.files.move(house.application, link, "assets")
        assert first + reader.read() == b"content", "who reads already reads on"
    ((container, key),) = bucket.objects
    assert container == "bucket" and key.startswith("docs/") and key.endswith("_a.txt")
    assert house.blobs() == [] and house.read(link.handle) == b"content"
    assert (moved.handle, moved.sha256, moved.uploaded) == (link.handle, link.sha256, link.uploaded)
    assert moved.version > link.version, "who knows the old place sees that there is a newer one"
    house.check_figures()
    back = house.files.move(house.application, moved, "server")
    assert bucket.objects == {} and house.read(link.handle) == b"content" and len(house.blobs()) == 1
    assert house.files.move(house.application, back, "server") == back, "it is there already"


def test_a_file_can_leave_the_storage_that_new_files_go_to(house: House, bucket: S3Server) -> None:
    house.change(storage="assets")
    link = house.put(b"content")
    moved = house.files.move(house.application, link, "server")
    assert moved.storage == "local" and bucket.objects == {} and house.read(link.handle) == b"content"


def test_moving_ends_what_was_lent_and_nothing_else(house: House, bucket: S3Server) -> None:
    lent, asked = house.put(b"lent"), house.put(b"asked", expires_in=DAY)
    house.files.remove(removed := house.put(b"removed"), undo=HOUR)
    removed = house.records.file(removed.handle) or removed
    house.clock.now += 60
    assert house.files.move(house.application, lent, "assets").expires is None
    assert house.files.move(house.application, asked, "assets").expires == asked.expires
    deleted = house.files.move(house.application, removed, "assets")
    assert deleted.removed == removed.removed and deleted.expires == removed.expires
    house.change(retention=3 * DAY)
    kept = house.put(b"kept")
    assert house.files.move(house.application, kept, "assets").expires == kept.expires == kept.uploaded + 3 * DAY * 1000
    house.clock.now += 4 * DAY
    house.files.tend()
    assert house.read(lent.handle) == b"lent"
    assert all(house.gone(link) for link in (asked, removed, kept))
    assert len(bucket.objects) == 1


def test_moving_never_ends_a_file_earlier_than_it_had_to_end(house: House, bucket: S3Server) -> None:
    link = house.put(b"content")
    house.clock.now += 3 * DAY
    house.change(retention=DAY)
    moved = house.files.move(house.application, link, "assets")
    assert moved.expires == link.expires and house.files.tend() == 0


def test_a_file_that_moves_to_a_lent_place_has_the_whole_time_there(house: House, bucket: S3Server) -> None:
    house.change(storage="assets")
    link = house.put(b"content")
    house.clock.now += 100 * DAY
    house.change(storage="")
    moved = house.files.move(house.application, link, "server")
    assert moved.expires == int((house.clock.now + 7 * DAY) * 1000)


def test_an_expired_file_is_not_brought_back_by_moving_it(house: House, bucket: S3Server) -> None:
    link = house.put()
    house.clock.now += 8 * DAY
    with pytest.raises(NotFound):
        house.files.move(house.application, link, "assets")
    assert bucket.objects == {}
    assert house.files.tend() == 1 and house.gone(link)


def test_files_that_had_one_path_where_paths_mean_nothing_stay_two_when_they_are_moved(house: House, bucket: S3Server) -> None:
    links = [house.put(data, filename="r.txt", path="docs/report.txt") for data in (b"january", b"february", b"january")]
    for link in links:
        house.files.move(house.application, house.files.find(link.handle), "assets")
    assert [house.read(link.handle) for link in links] == [b"january", b"february", b"january"]
    assert ("bucket", "docs/report.txt") in bucket.objects and len(bucket.objects) == 2
    assert all(key.startswith("docs/") for _, key in bucket.objects)


def test_bytes_that_changed_on_disk_are_not_passed_on(house: House, bucket: S3Server) -> None:
    link = house.put(b"content")
    (path,) = house.blobs()
    path.chmod(0o600)
    path.write_bytes(b"c0ntent")
    with pytest.raises(StorageFault, match="not what was stored"):
        house.files.move(house.application, link, "assets")
    assert bucket.objects == {} and house.records.file(link.handle) == link


def test_a_file_overwritten_while_it_is_moved_is_what_was_written_last(house: House, bucket: S3Server) -> None:
    link = house.put(b"old content")
    slow = Slow(house.root / "files")
    files = house.another(local=slow)

    def overwritten() -> None:
        slow.between = lambda: None
        house.over(house.files.find(link.handle), b"new content")

    slow.between = overwritten
    with pytest.raises(Busy):
        files.move(house.application, link, "assets")
    assert house.read(link.handle) == b"new content" and bucket.objects == {} and len(house.blobs()) == 1
    files.move(house.application, house.files.find(link.handle), "assets")
    assert house.read(link.handle) == b"new content" and house.blobs() == []


def test_a_move_that_the_bucket_refuses_leaves_the_file_where_it_was(house: House, bucket: S3Server) -> None:
    link = house.put()
    bucket.denied.add("PutObject")
    with pytest.raises(Exception, match="AccessDenied"):
        house.files.move(house.application, link, "assets")
    assert house.files.find(link.handle) == link and house.read(link.handle) == b"content"


def test_what_a_write_only_bucket_does_not_delete_is_not_asked_for_again_and_again(house: House, bucket: S3Server) -> None:
    house.files.storages.change(house.application.api_key, "assets", {"write_only": "true"})
    house.change(storage="assets")
    bucket.denied |= {"DeleteObject", "GetObject", "HeadObject"}
    link = house.put(b"content")
    house.files.remove(link)
    assert len(bucket.objects) == 1 and house.records.blobs_to_delete() == []


# ------------------------------------------------------------------------------------------------- an older database


def upgrade(database: Database, revision: str, fill: Callable[[sa.Connection], None]) -> None:
    config = Config()
    config.set_main_option("script_location", "secure_delivery:engine/migrations")
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        fill(connection)


def test_applications_of_the_previous_release_keep_their_files_for_good(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    before = '{"require_policy": true, "limits": {"max_bytes": 1000, "max_pixels": 10, "max_animation_pixels": 10}}'

    def fill(connection: sa.Connection) -> None:
        for key in ("Aone", "Atwo", "Aempty"):
            connection.execute(
                sa.text("INSERT INTO application (api_key, name, settings, created) VALUES (:key, 'n', :settings, 1)"),
                {"key": key, "settings": before},
            )
        for number, (owner, size) in enumerate([("Aone", 10), ("Aone", 25), ("Atwo", 7)]):
            connection.execute(
                sa.text(
                    "INSERT INTO file (handle, application, filename, mimetype, size, storage, key, container, path, sha256,"
                    " uploaded, version) VALUES (:handle, :owner, 'a.txt', 'text/plain', :size, 'local', :key, NULL, NULL,"
                    " 'ab', 1, 1)"
                ),
                {"handle": f"handle{number}", "owner": owner, "size": size, "key": f"{number:040x}"},
            )

    upgrade(database, "0002", fill)
    database.migrate()
    house = House(database, tmp_path)
    for key, used in (("Aone", (2, 35)), ("Atwo", (1, 7)), ("Aempty", (0, 0))):
        application = house.records.application(key)
        assert application is not None and application.storage == "server" and application.require_policy
        assert application.limits.max_bytes == 1000
        assert house.records.used(key) == house.records.used(key, "local") == used
    house.check_figures()
    house.clock.now += 10_000 * DAY
    assert house.files.tend() == 0
    for number in range(3):
        link = house.files.find(f"handle{number}")
        assert (link.expires, link.removed, link.held, link.source_url) == (None, None, None, None)
    owner = house.records.application("Aone")
    assert owner is not None
    with house.files.begin(owner, Target()) as upload:
        assert isinstance(upload, Upload)
        upload.write(b"x" * 500)
        assert house.files.add(owner, upload).expires is None
    assert house.records.used("Aone") == (3, 535)
    assert replace(owner, name="n") == owner
    fresh, _ = house.records.create_application("fresh")
    assert fresh.storage == "", "who comes now is lent a place"
    database.close()
