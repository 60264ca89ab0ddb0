"""Files fetched from outside and kept for a while: how long, for whom, judged each time, and what is cleared away."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from outside import Outside, moved, ok

from secure_delivery.engine.fetch import Fetcher
from secure_delivery.engine.fetched import FetchedFiles
from secure_delivery.engine.sources import SourceFile
from secure_delivery.gate.errors import NotFound, TooLarge

NOW = 1_800_000_000.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def allowed(url: str) -> None:
    """A judgement that lets everything pass."""


def content(source: SourceFile) -> bytes:
    with source.open() as stream:
        return stream.read()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., FetchedFiles]


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    def made(web: Outside, keep: float = 300.0) -> FetchedFiles:
        return FetchedFiles(Fetcher(allow=(web.at,)), tmp_path, keep=keep, clock=clock)

    return made


def get(files: FetchedFiles, url: str, application: str = "A", **more: object) -> SourceFile:
    options: dict[str, object] = {"max_bytes": 1000, "check": allowed} | more
    return files.get(application, url, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ((), 300),
        (("Cache-Control: max-age=60",), 60),
        (("Cache-Control: max-age=6000",), 300),
        (("Cache-Control: max-age=60", "Age: 50"), 10),
        (("Cache-Control: no-store",), 0),
        (("Cache-Control: private",), 0),
        (("Vary: *",), 0),
    ],
)
def test_a_file_is_kept_as_long_as_operator_and_sender_both_allow(
    make: Make, clock: Clock, fields: tuple[str, ...], kept: int
) -> None:
    with Outside({"/a": ok(b"words", *fields)}) as web:
        files = make(web)
        for moment in (0, max(0, kept - 1), kept, kept + 299):
            clock.now = NOW + moment
            assert content(get(files, web.url("/a"))) == b"words"
            if moment < kept:
                assert len(web.seen) == 1
        assert len(web.seen) > 1, "fetched anew when its time was over"


def test_nothing_is_kept_for_no_time_and_nothing_that_custom_headers_brought(make: Make, tmp_path: Path) -> None:
    with Outside({"/a": ok(b"words")}) as web:
        for _ in range(2):
            get(make(web, keep=0), web.url("/a"))
        for _ in range(2):
            get(make(web), web.url("/a"), headers={"X-Key": "1"})
        assert len(web.seen) == 4 and list(tmp_path.iterdir()) == []


def test_each_application_has_what_was_fetched_for_it(make: Make) -> None:
    with Outside({"/a": ok(b"words")}) as web:
        files = make(web)
        for application in ("A", "B", "A", "B"):
            get(files, web.url("/a"), application)
        assert len(web.seen) == 2
        # The name of one and the address of another never make the same text.
        get(files, web.url("/a"), "A\0")
        assert len(web.seen) == 3


def test_every_address_on_the_way_is_judged_also_when_the_file_is_kept(make: Make) -> None:
    with Outside({"/a": moved("/b"), "/b": ok(b"words")}) as web:
        files, seen = make(web), []
        get(files, web.url("/a"), check=seen.append)
        get(files, web.url("/a"), check=seen.append)
        assert seen == [web.url("/a"), web.url("/b")] * 2 and len(web.seen) == 2

        def forbid(url: str) -> None:
            if url.endswith("/b"):
                raise PermissionError(url)

        with pytest.raises(PermissionError):
            get(files, web.url("/a"), check=forbid)


def test_a_limit_that_came_down_holds_for_what_is_kept(make: Make) -> None:
    with Outside({"/a": ok(b"x" * 500)}) as web:
        files = make(web)
        get(files, web.url("/a"), max_bytes=500)
        with pytest.raises(TooLarge):
            get(files, web.url("/a"), max_bytes=499)
        assert len(web.seen) == 1


def test_a_file_in_use_outlives_its_name_and_its_replacement(make: Make, clock: Clock) -> None:
    with Outside({"/a": ok(b"old")}) as web:
        files = make(web)
        old = get(files, web.url("/a"))
        web.scripts["/a"] = ok(b"new")
        clock.now += 1000
        new = get(files, web.url("/a"))
        files.sweep(everything=True)
        assert (content(old), content(new), content(old)) == (b"old", b"new", b"old")
        assert old.digest != new.digest


def test_those_who_ask_together_wait_for_one_fetch(make: Make) -> None:
    gate = threading.Event()

    def slowly(connection: object) -> None:
        gate.wait(20)
        connection.sendall(ok(b"words"))  # type: ignore[attr-defined]

    with Outside({"/a": slowly}) as web:
        files = make(web)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(get, files, web.url("/a")) for _ in range(8)]
            gate.set()
            assert {content(each.result()) for each in asked} == {b"words"}
        assert len(web.seen) == 1


def test_a_fetch_that_fails_leaves_nothing_and_is_tried_again(make: Make, tmp_path: Path) -> None:
    with Outside({}) as web:
        files = make(web)
        for _ in range(2):
            with pytest.raises(NotFound):
                get(files, web.url("/a"))
        assert len(web.seen) == 2 and list(tmp_path.iterdir()) == []


def test_what_is_out_of_date_broken_or_left_by_a_crash_is_cleared_away(make: Make, clock: Clock, tmp_path: Path) -> None:
    with Outside({"/a": ok(b"a"), "/b": ok(b"b", "Cache-Control: max-age=10")}) as web:
        files = make(web)
        get(files, web.url("/a"))
        get(files, web.url("/b"))
        (tmp_path / "broken.json").write_text("{")
        for name, age in (("tmpcrashed", 90_000), ("tmpbusy", 10), ("orphan.bin", 90_000)):
            (tmp_path / name).write_bytes(b"x")
            os.utime(tmp_path / name, (time.time() - age, time.time() - age))
        clock.now += 20
        assert files.sweep() == 4  # b, broken, and two that are a day old
        assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".bin", ""}
        assert len(list(tmp_path.iterdir())) == 3
        get(files, web.url("/a"))
        assert len(web.seen) == 2
        assert files.sweep(everything=True) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["tmpbusy"]


def test_a_note_without_its_data_or_with_nonsense_in_it_means_nothing_is_kept(make: Make, tmp_path: Path) -> None:
    with Outside({"/a": ok(b"words")}) as web:
        files = make(web)
        get(files, web.url("/a"))
        (note,) = tmp_path.glob("*.json")
        for damage in ("{}", "[]", "null", '{"until": 1}', "\x00"):
            note.write_text(damage)
            assert content(get(files, web.url("/a"))) == b"words"
        for data in tmp_path.glob("*.bin"):
            data.unlink()
        assert content(get(files, web.url("/a"))) == b"words"
        assert len(web.seen) == 7


def test_two_processes_that_replace_a_file_never_mix_one_note_with_other_data(make: Make, clock: Clock, tmp_path: Path) -> None:
    with Outside({"/a": ok(b"one"), "/b": ok(b"two")}) as web:
        files, other = make(web), make(web)
        get(files, web.url("/a"))
        (note,) = tmp_path.glob("*.json")
        stop = threading.Event()
        wrong: list[bytes] = []

        def replace() -> None:
            turn = 0
            while not stop.is_set():
                web.scripts["/a"] = ok((b"one", b"two")[turn % 2])
                note.unlink(missing_ok=True)
                get(other, web.url("/a"))
                turn += 1

        thread = threading.Thread(target=replace)
        thread.start()
        try:
            for _ in range(200):
                source = get(files, web.url("/a"))
                if hashlib.sha256(content(source)).hexdigest() != source.digest:
                    wrong.append(content(source))
        finally:
            stop.set()
            thread.join()
        assert wrong == []
