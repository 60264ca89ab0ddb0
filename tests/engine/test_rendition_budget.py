"""Kept results stay within their budget and their days; what was used last stays longest."""

from __future__ import annotations

import fcntl
import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secure_delivery.engine.memory import Memory
from secure_delivery.engine.rendition_budget import Budget
from secure_delivery.engine.rendition_store import Rendition, RenditionStore, folder_of
from secure_delivery.gate.errors import NotFound, StorageFault

NOW = 1_900_000_000.0
MINUTE, DAY = 60.0, 86_400.0


class Shelf:
    """A store and its budget, with a clock of ours."""

    def __init__(self, folder: Path, limit: int = 100_000) -> None:
        self.now = NOW
        self.folder = folder
        self.store = self.another()
        self.budget = Budget(self.store, limit=limit, days=30, clock=lambda: self.now)

    def another(self) -> RenditionStore:
        """What another process has of the same folder."""
        return RenditionStore(self.folder, days=30, memory=Memory(1 << 20), clock=lambda: self.now)

    def put(self, key: str, size: int = 10_000, handle: str = "H1", application: str = "Aone") -> Rendition:
        rendition = Rendition(
            key=key,
            application=application,
            handle=handle,
            folder=folder_of(application, handle, ""),
            mimetype="text/plain",
            filename=key,
            size=size,
            created=int(self.now * 1000),
        )
        return self.store.publish(rendition, io.BytesIO(b"x" * size))

    def find(self, key: str, handle: str = "H1") -> Rendition | None:
        return self.store.find(key, folder_of("Aone", handle, ""))

    def names(self) -> set[str]:
        return {path.name for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "renditions")
    yield shelf
    shelf.budget.stop()


def test_below_the_budget_nothing_goes(shelf: Shelf) -> None:
    for number in range(9):
        shelf.put(f"k{number}")
    assert shelf.budget.keep() == 0
    assert len(shelf.names()) == 9


def test_over_the_budget_what_was_not_used_for_longest_goes_first(shelf: Shelf) -> None:
    for number in range(14):
        shelf.put(f"k{number}", handle=f"H{number % 3}")
        shelf.now += 2 * MINUTE
    assert shelf.find("k0", "H0") is not None
    assert shelf.budget.keep() > 0
    left = shelf.names()
    assert "k0" in left, "it was asked for a moment ago"
    assert {"k13", "k12", "k11", "k10"} <= left
    assert {"k1", "k2", "k3"}.isdisjoint(left)
    assert shelf.budget.kept().size <= 90_000
    assert shelf.budget.keep() == 0


def test_an_access_counts_for_other_processes_too(shelf: Shelf) -> None:
    other = shelf.another()
    for number in range(11):
        shelf.put(f"k{number}")
        shelf.now += 2 * MINUTE
    assert other.find("k0", folder_of("Aone", "H1", "")) is not None
    shelf.budget.keep()
    assert "k0" in shelf.names() and "k1" not in shelf.names()


def test_what_is_too_old_is_not_found_and_goes_however_often_it_was_used(shelf: Shelf) -> None:
    shelf.put("old")
    shelf.now += 29 * DAY
    assert shelf.find("old") is not None
    shelf.put("new")
    shelf.now += 1 * DAY
    assert shelf.find("old") is None
    assert shelf.another().find("old", folder_of("Aone", "H1", "")) is None
    assert shelf.budget.keep() == 1
    assert shelf.names() == {"new"}


def test_only_one_process_at_a_time_tidies_up(shelf: Shelf) -> None:
    for number in range(12):
        shelf.put(f"k{number}")
    descriptor = os.open(shelf.folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert shelf.budget.keep() == 0
    os.close(descriptor)
    assert shelf.budget.keep() > 0


def test_what_is_kept_beyond_the_budget_sets_off_the_tidying_by_itself(shelf: Shelf) -> None:
    for number in range(30):
        shelf.budget.added(shelf.put(f"k{number}").size)
    for _ in range(2000):
        if shelf.budget.kept().size <= 100_000:
            break
        threading.Event().wait(0.01)
    assert shelf.budget.kept().size <= 100_000
    shelf.budget.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "renditions"]


def test_folders_without_results_and_links_that_lead_nowhere_are_tidied_away(shelf: Shelf) -> None:
    made = shelf.put("k1")
    shelf.store.refer(made, folder_of("Aone", "H2", ""))
    shelf.budget.keep()
    assert (shelf.folder / "Aone/files/H2/k1.ref").is_symlink()
    shelf.store.remove(made)
    shelf.budget.keep()
    shelf.budget.keep()
    assert list((shelf.folder / "Aone/files").iterdir()) == []


def test_results_are_counted_by_application(shelf: Shelf) -> None:
    shelf.put("k1", 1000)
    shelf.put("copy-k1", 2000)
    shelf.put("k2", 500, application="Atwo")
    one, every = shelf.budget.kept("Aone"), shelf.budget.kept()
    assert (one.results, one.copies) == (1, 1)
    assert (every.results, every.copies) == (2, 1)
    assert 3500 < every.size < 4100
    assert shelf.budget.kept("Anobody").size == 0


def test_what_a_crash_left_is_swept_and_what_is_being_written_is_not(shelf: Shelf) -> None:
    kept = shelf.put("k1")
    (shelf.folder / ".tmp" / "half").write_bytes(b"half")
    gone = shelf.folder / ".gone" / "1-aa" / "files" / "H9"
    gone.mkdir(parents=True)
    (gone / "k9").write_bytes(b"x")
    (gone / "k1.ref").symlink_to("Aone/files/H1/k1")
    (gone / "k2.ref").symlink_to("../../../etc/passwd")
    shelf.now = (shelf.folder / ".tmp" / "half").stat().st_ctime + 60
    assert shelf.store.sweep() == 2
    assert (shelf.folder / ".tmp" / "half").exists()
    with pytest.raises(NotFound):
        shelf.store.open(kept)
    shelf.now += 7200
    assert shelf.store.sweep() == 1
    assert not list((shelf.folder / ".tmp").iterdir()) and not list((shelf.folder / ".gone").iterdir())


def test_publishing_and_purging_at_once_never_fails_and_the_purge_after_the_last_wins(shelf: Shelf) -> None:
    folder = folder_of("Aone", "H1", "")

    def publish(number: int) -> None:
        for turn in range(50):
            shelf.put(f"k{number}x{turn}", 10)

    def purge(_: int) -> None:
        for _turn in range(200):
            shelf.store.purge(folder)

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(publish, number) for number in range(4)] + [pool.submit(purge, 0) for _ in range(2)]
        for each in done:
            each.result()
    shelf.store.purge(folder)
    assert shelf.names() == set()


def test_memory_holds_what_was_asked_for_last_within_its_budget() -> None:
    memory = Memory(100, largest=40)
    for name in "abc":
        memory.put(name, name.encode() * 30)
    assert memory.get("a") == b"a" * 30
    memory.put("d", b"d" * 30)
    assert [memory.get(name) is not None for name in "abcd"] == [True, False, True, True]
    memory.put("e", b"e" * 41)
    assert memory.get("e") is None, "too large to be worth it"
    memory.put("a", b"")
    memory.drop("c")
    memory.drop("c")
    assert (memory.size, memory.get("a"), memory.get("c")) == (30, b"", None)


def test_what_cannot_be_read_is_not_there_and_says_so_when_it_is_opened(shelf: Shelf) -> None:
    made = shelf.put("k1")
    file = shelf.folder / made.folder / "k1"
    file.unlink()
    file.symlink_to("/etc/hostname")
    assert shelf.another().find("k1", made.folder) is None
    assert shelf.find("k1") is None, "no link is followed"
    with pytest.raises(StorageFault):
        shelf.store.open(made)
    file.unlink()
    shelf.put("k1", 20_000)
    with pytest.raises(NotFound):
        shelf.store.open(made)
