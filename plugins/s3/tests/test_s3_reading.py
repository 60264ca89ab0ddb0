"""Reading: one version from first to last byte, whatever happens to connections and objects."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_bench import Bench, get, put

from secure_delivery.plugin import NotFound, StorageFault, StorageRefused

OLD, NEW = random.Random(1).randbytes(3 << 20), random.Random(2).randbytes(3 << 20)


def _ready(bench: Bench, data: bytes = OLD) -> None:
    put(bench.storage().place("bucket/a", mimetype="text/plain"), data)
    bench.server.seen.clear()


@pytest.mark.parametrize("at", [0, 1, 99_999, 1 << 20, (3 << 20) - 1])
def test_a_broken_connection_is_continued(bench: Bench, at: int) -> None:
    _ready(bench)
    bench.server.fail("GetObject", how="cut", at=at)
    assert get(bench.storage(), "bucket/a") == OLD
    first, second = bench.server.seen
    assert "if-match" not in first.headers
    assert second.headers["if-match"] == bench.server.objects["bucket", "a"].etag
    assert second.headers["range"].startswith("bytes=")


def test_a_broken_window_is_continued_to_its_own_end(bench: Bench) -> None:
    _ready(bench)
    bench.server.fail("GetObject", how="cut", at=5_000, times=2)
    assert get(bench.storage(), "bucket/a", start=100, length=400_000) == OLD[100:400_100]
    assert [one.headers["range"] for one in bench.server.seen] == [
        "bytes=100-400099",
        "bytes=5100-400099",
        "bytes=10100-400099",
    ]


def test_a_connection_that_never_holds_is_given_up(bench: Bench) -> None:
    _ready(bench)
    bench.server.fail("GetObject", how="cut", at=10, times=999)
    with pytest.raises(StorageFault):
        get(bench.storage(), "bucket/a")
    assert len(bench.server.seen) == 4


def test_a_long_file_may_break_often_while_it_gets_on(bench: Bench) -> None:
    data = random.Random(3).randbytes(9 << 20)
    _ready(bench, data)
    bench.server.fail("GetObject", how="cut", at=(1 << 20) + 7, times=999)
    assert get(bench.storage(), "bucket/a") == data


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("then", ["replaced", "shorter", "removed"])
def test_a_broken_read_of_what_changed_ends_in_a_fault(bench: Bench, then: str, ignores: bool) -> None:
    _ready(bench)
    bench.server.ignores_match = ignores
    bench.server.fail("GetObject", how="cut", at=1 << 20)
    storage = bench.storage()
    with storage.open("bucket/a") as stream:
        head = stream.read(1000)
        if then == "removed":
            storage.remove("bucket/a")
        else:
            put(storage.place("bucket/a", mimetype="text/plain"), NEW if then == "replaced" else b"short")
        got = bytearray(head)
        with pytest.raises(StorageFault):
            while piece := stream.read(10_000):
                got += piece
    assert OLD.startswith(bytes(got))


def test_an_unbroken_read_of_what_changed_gives_the_old_version(bench: Bench) -> None:
    _ready(bench)
    storage = bench.storage()
    with storage.open("bucket/a") as stream:
        head = stream.read(10)
        put(storage.place("bucket/a", mimetype="text/plain"), NEW)
        assert head + stream.read() == OLD
    assert get(storage, "bucket/a") == NEW


def test_a_pause_that_is_too_long_is_a_broken_connection(bench: Bench) -> None:
    _ready(bench)
    bench.server.fail("GetObject", how="hold", times=1)
    assert get(bench.storage(read=1.0), "bucket/a") == OLD
    assert len(bench.waited) == 1


def test_closing_early_ends_the_connection(bench: Bench) -> None:
    _ready(bench)
    stream = bench.storage().open("bucket/a")
    assert stream.readable() and not stream.seekable() and not stream.writable()
    assert stream.read(3) == OLD[:3]
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_reading_to_the_end_lets_the_connection_be_used_again(bench: Bench) -> None:
    _ready(bench)
    storage = bench.storage()
    before = bench.server.connections
    for _ in range(3):
        get(storage, "bucket/a")
    assert bench.server.connections == before + 1


def test_a_missing_object_is_not_found_and_a_missing_bucket_is_refused(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.storage().open("bucket/a", start=5)
    with pytest.raises(StorageRefused, match="create the bucket") as caught:
        bench.storage(bucket="nowhere").open("nowhere/a")
    assert caught.value.public == "The storage of this application refuses: the bucket does not exist."


def test_a_negative_window_is_a_mistake_of_the_caller(bench: Bench) -> None:
    for window in ({"start": -1}, {"length": -1}):
        with pytest.raises(ValueError, match="negative"):
            bench.storage().open("bucket/a", **window)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 4000), length=st.none() | st.integers(0, 4000), cuts=st.lists(st.integers(1, 1500), max_size=3))
def test_every_window_is_exact_however_it_breaks(bench: Bench, start: int, length: int | None, cuts: list[int]) -> None:
    data = OLD[:3000]
    if not bench.server.objects:
        put(bench.storage().place("bucket/a", mimetype="text/plain"), data)
        bench.kept = bench.storage()  # type: ignore[attr-defined]
    bench.server.faults.clear()
    for at in cuts:
        bench.server.fail("GetObject", how="cut", at=at)
    end = None if length is None else start + length
    assert get(bench.kept, "bucket/a", start=start, length=length) == data[start:end]  # type: ignore[attr-defined]
