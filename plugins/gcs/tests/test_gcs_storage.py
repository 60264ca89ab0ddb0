"""Writing, reading and deleting in buckets of Google Cloud Storage: what is stored, and what becomes of failures."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from gcs_fake import FakeGcs, ServiceKey, WayOut, emulator

from secure_delivery.plugin import (
    Advising,
    BadRequest,
    Multipart,
    NotFound,
    Placing,
    Presigned,
    Storage,
    StorageFault,
    StorageFull,
    StorageRefused,
)
from secure_delivery.plugin.tries import Patience
from secure_delivery_gcs import GcsProvider, options
from secure_delivery_gcs.storage import GcsStorage

Connect = Callable[..., GcsStorage]
MEGABYTE = 1 << 20
KEY = "files/a/b.txt"


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def put(storage: GcsStorage, key: str, data: bytes, piece: int = MEGABYTE, **how: Any) -> None:
    draft = storage.place(key, mimetype="text/plain", **how)
    for start in range(0, len(data), piece):
        draft.write(data[start : start + piece])
    draft.publish()


def get(storage: GcsStorage, key: str, **window: Any) -> bytes:
    with storage.open(key, **window) as stream:
        return stream.read()


# ---------------------------------------------------------------------------------------------------------------- placing


def test_it_offers_what_it_can_and_leaves_out_what_it_cannot(connect: Connect) -> None:
    storage = connect()
    assert isinstance(storage, Storage) and isinstance(storage, Placing)
    assert isinstance(storage, Presigned) and isinstance(storage, Advising)
    assert not isinstance(storage, Multipart)
    assert storage.containers == ("files", "other", "absent")
    assert storage.readable and not connect(write_only="true").readable


def test_a_placed_file_has_its_type_and_lies_where_it_was_asked_for(connect: Connect, fake: FakeGcs) -> None:
    storage = connect()
    put(storage, "other/täglich/a b+c%2F?#&.txt", b"here")
    stored = fake.buckets["other"]["täglich/a b+c%2F?#&.txt"]
    assert (stored.data, stored.meta["contentType"], stored.acl) == (b"here", "text/plain", None)
    assert get(storage, "other/täglich/a b+c%2F?#&.txt") == b"here"


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_access_is_set_when_it_is_asked_for(connect: Connect, fake: FakeGcs, size: int) -> None:
    put(connect(), "files/1", noise(size), access="public")
    put(connect(access="private"), "files/2", noise(size))
    put(connect(access="private"), "files/3", noise(size), access="public")
    assert [fake.buckets["files"][name].acl for name in "123"] == ["publicRead", "private", "publicRead"]


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_class_and_key_of_the_options_reach_the_object(connect: Connect, fake: FakeGcs, size: int) -> None:
    kms = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    put(connect(storage_class="Nearline", kms_key=kms), KEY, noise(size))
    meta = fake.buckets["files"]["a/b.txt"].meta
    assert (meta["storageClass"], meta["kmsKeyName"]) == ("NEARLINE", kms)


def test_a_container_that_is_not_of_the_storage_is_refused_without_a_request(connect: Connect, way_out: WayOut) -> None:
    storage = connect()
    for act in (storage.open, storage.remove, lambda key: storage.place(key, mimetype="text/plain")):
        with pytest.raises(StorageRefused):
            act("elsewhere/a")
    assert way_out.calls == []


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/", "../a", "a/./b", "a\nb", "a\x7fb", "é" * 513, "\ud800"])
def test_names_that_mean_something_else_are_refused_without_a_request(connect: Connect, way_out: WayOut, name: str) -> None:
    with pytest.raises(BadRequest):
        connect().place(f"files/{name}", mimetype="text/plain")
    assert way_out.calls == []


# ------------------------------------------------------------------------------------------------------ resumable uploads


@pytest.mark.parametrize("size", [0, 1, 8 * MEGABYTE - 1, 8 * MEGABYTE, 8 * MEGABYTE + 1, 16 * MEGABYTE, 20 * MEGABYTE + 17])
@pytest.mark.parametrize("piece", [777_777, 64 * MEGABYTE])
def test_a_file_of_any_size_comes_back_as_it_was(connect: Connect, fake: FakeGcs, size: int, piece: int) -> None:
    storage, data = connect(), noise(size)
    put(storage, KEY, data, piece)
    assert get(storage, KEY) == data
    chunks = -(-size // (8 * MEGABYTE))
    expected = ["POST"] if chunks <= 1 else ["POST", *["PUT"] * chunks]
    assert fake.methods() == [*expected, "GET"]


def test_nothing_of_a_large_file_is_visible_before_it_is_published(connect: Connect, fake: FakeGcs) -> None:
    draft = connect().place(KEY, mimetype="text/plain")
    draft.write(noise(20 * MEGABYTE))
    assert len(fake.sessions) == 1 and fake.buckets["files"] == {}
    del draft  # as in a crash: nobody discards
    assert fake.buckets["files"] == {}


def test_a_discarded_upload_is_cancelled(connect: Connect, fake: FakeGcs) -> None:
    draft = connect().place(KEY, mimetype="text/plain")
    draft.write(noise(9 * MEGABYTE))
    draft.discard()
    draft.discard()
    assert fake.sessions == {} and fake.methods() == ["POST", "PUT", "DELETE"]
    for act in (draft.publish, lambda: draft.write(b"more")):
        with pytest.raises(StorageFault):
            act()


def test_a_chunk_that_arrived_in_part_goes_on_where_it_broke_off(connect: Connect, fake: FakeGcs) -> None:
    storage, data = connect(), noise(20 * MEGABYTE)
    fake.troubles.append(trouble_at_puts("part", {1, 3}))
    put(storage, KEY, data)
    assert fake.buckets["files"]["a/b.txt"].data == data
    ranges = [headers["Content-Range"] for method, _, headers in fake.asked if method == "PUT"]
    assert ranges[:4] == [
        f"bytes 0-{8 * MEGABYTE - 1}/*",
        "bytes */*",
        f"bytes {4 * MEGABYTE}-{8 * MEGABYTE - 1}/*",
        "bytes */*",
    ]


@pytest.mark.parametrize("how", ["reset", "late", 503, 500, 429, 408])
def test_chunks_that_fail_for_a_moment_are_sent_again(connect: Connect, fake: FakeGcs, how: Any) -> None:
    storage, data = connect(), noise(17 * MEGABYTE)
    fake.troubles.append(trouble_at_puts(how, {1, 3, 5}))
    put(storage, KEY, data)
    assert fake.buckets["files"]["a/b.txt"].data == data
    assert len(fake.buckets["files"]) == 1


def trouble_at_puts(how: Any, numbers: set[int]) -> Any:
    from gcs_fake import Trouble

    seen = [0]

    def match(method: str, target: str) -> bool:
        seen[0] += method == "PUT"
        return method == "PUT" and seen[0] in numbers

    return Trouble(match, how, times=len(numbers))


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_the_storage_dropped_is_a_fault_and_not_tried_again(
    connect: Connect, fake: FakeGcs, status: int
) -> None:
    draft = connect().place(KEY, mimetype="text/plain")
    fake.trouble("PUT", "upload_id", status, times=9)
    with pytest.raises(StorageFault, match="dropped"):
        draft.write(noise(9 * MEGABYTE))
    assert fake.methods().count("PUT") == 1 and fake.buckets["files"] == {}


@pytest.mark.parametrize(("size", "puts", "broken"), [(10, 0, False), (9 * MEGABYTE, 2, False), (9 * MEGABYTE, 3, True)])
def test_bytes_that_were_changed_on_the_way_are_not_published(
    connect: Connect, fake: FakeGcs, size: int, puts: int, broken: bool
) -> None:
    """Also where the last bytes arrive and the connection breaks, so that the storage is asked how far it has come."""
    fake.damage = True
    if broken:
        fake.troubles.append(trouble_at_puts("whole", {2}))
    with pytest.raises(StorageFault, match="changed on the way"):
        put(connect(), KEY, noise(size))
    assert fake.buckets["files"] == {}
    assert not [target for _, target, _ in fake.asked if "/o/" in target], "nothing had to be taken away again"
    assert fake.methods().count("PUT") == puts


def test_a_storage_that_checks_nothing_is_checked(connect: Connect, fake: FakeGcs) -> None:
    """Where the sums that are sent along are ignored, the sum that comes back tells, and the object is taken away."""
    fake.damage = fake.lax = True
    with pytest.raises(StorageFault, match="changed on the way"):
        put(connect(), KEY, noise(9 * MEGABYTE))
    assert fake.buckets["files"] == {}


# ----------------------------------------------------------------------------------------------------- failures by class


@pytest.mark.parametrize(
    ("how", "reason"), [(503, ""), (500, ""), (429, "rateLimitExceeded"), (403, "rateLimitExceeded"), (408, "")]
)
def test_what_may_be_better_in_a_moment_is_tried_again(connect: Connect, fake: FakeGcs, how: int, reason: str) -> None:
    storage = connect()
    for method in ("POST", "GET", "DELETE"):
        fake.trouble(method, "/storage/v1/b/", how, times=3, reason=reason)
    put(storage, KEY, b"data")
    assert get(storage, KEY) == b"data"
    storage.remove(KEY)
    assert fake.buckets["files"] == {}
    assert fake.methods() == ["POST"] * 4 + ["GET"] * 4 + ["DELETE"] * 4


@pytest.mark.parametrize("how", [503, "reset", "stall"])
def test_what_stays_bad_is_a_fault_after_a_bounded_number_of_tries(connect: Connect, fake: FakeGcs, how: Any) -> None:
    pauses: list[float] = []
    storage = connect(Patience(connect=5.0, read=0.2, tries=3, pause=0.5, sleep=pauses.append))
    for method in ("POST", "GET", "DELETE"):
        fake.trouble(method, "/storage/v1/b/", how, times=99)
    for act in (lambda: put(storage, KEY, b"data"), lambda: get(storage, KEY), lambda: storage.remove(KEY)):
        with pytest.raises(StorageFault):
            act()
    assert fake.methods() == ["POST"] * 3 + ["GET"] * 3 + ["DELETE"] * 3
    assert len(pauses) == 6 and all(0.25 <= pause <= 1.0 for pause in pauses)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_answer_that_was_lost_does_no_harm(connect: Connect, fake: FakeGcs, method: str) -> None:
    storage = connect()
    fake.trouble(method, "/storage/v1/b/", "late")
    put(storage, KEY, b"data")
    assert fake.buckets["files"]["a/b.txt"].data == b"data"
    storage.remove(KEY)
    assert fake.buckets["files"] == {}


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_right_that_is_missing_is_refused_at_once(connect: Connect, fake: FakeGcs, size: int) -> None:
    storage = connect()
    fake.denied = {"create", "get", "delete"}
    for act in (lambda: put(storage, KEY, noise(size)), lambda: get(storage, KEY), lambda: storage.remove(KEY)):
        with pytest.raises(StorageRefused, match="403 forbidden: the credentials may not do this"):
            act()
    assert fake.methods() == ["POST", "GET", "DELETE"]


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_bucket_that_is_not_there_is_refused_not_missing(connect: Connect, fake: FakeGcs, size: int) -> None:
    storage = connect()
    acts = (lambda: put(storage, "absent/a", noise(size)), lambda: get(storage, "absent/a"), lambda: storage.remove("absent/a"))
    for act in acts:
        with pytest.raises(StorageRefused, match="there is no such bucket"):
            act()


def test_a_blob_that_is_not_there_is_not_found_and_removing_it_is_fine(connect: Connect, fake: FakeGcs) -> None:
    storage = connect()
    for window in ({}, {"start": 5}, {"length": 0}, {"start": 1, "length": 1}):
        with pytest.raises(NotFound):
            storage.open(KEY, **window)
    storage.remove(KEY)
    assert fake.methods() == ["GET"] * 4 + ["DELETE"]


def test_a_quota_that_is_used_up_is_full(connect: Connect, fake: FakeGcs) -> None:
    fake.trouble("POST", "/storage/v1/b/", 403, reason="quotaExceeded")
    with pytest.raises(StorageFull):
        put(connect(), KEY, b"data")
    fake.trouble("PUT", "upload_id", 507)
    with pytest.raises(StorageFull):
        put(connect(), KEY, noise(9 * MEGABYTE))


def test_uniform_access_explains_what_to_leave_out(connect: Connect, fake: FakeGcs) -> None:
    fake.uniform = True
    with pytest.raises(StorageRefused, match="leave `access` out"):
        put(connect(access="public"), KEY, b"data")
    put(connect(), KEY, b"data")
    assert get(connect(), KEY) == b"data"


def test_a_key_that_is_not_the_accounts_is_refused(connect: Connect, fake: FakeGcs) -> None:
    stranger = fake.credentials() | {"private_key": ServiceKey().pem}
    with pytest.raises(StorageRefused, match="the service account key is not accepted"):
        put(connect(credentials=json.dumps(stranger)), KEY, b"data")
    assert fake.methods() == []


def test_a_private_key_that_is_none_is_refused(connect: Connect, fake: FakeGcs) -> None:
    broken = fake.credentials() | {"private_key": "-----BEGIN PRIVATE KEY-----\nMARKER\n-----END PRIVATE KEY-----\n"}
    with pytest.raises(StorageRefused, match="cannot be read") as caught:
        put(connect(credentials=json.dumps(broken)), KEY, b"data")
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_a_wrong_clock_is_told(connect: Connect, fake: FakeGcs) -> None:
    fake.clock = lambda: 2_000_000_000_000.0
    with pytest.raises(StorageRefused, match="the clock of this machine is wrong"):
        put(connect(), KEY, b"data")


def test_a_token_service_that_is_down_is_a_fault(connect: Connect, fake: FakeGcs) -> None:
    fake.trouble("POST", "/token", "reset", times=99)
    with pytest.raises(StorageFault):
        put(connect(Patience(connect=5.0, read=5.0, tries=2, sleep=lambda seconds: None)), KEY, b"data")
    assert fake.buckets["files"] == {}


def test_a_token_that_was_revoked_is_fetched_anew(connect: Connect, fake: FakeGcs) -> None:
    storage = connect()
    put(storage, KEY, b"old")
    fake.tokens.clear()
    put(storage, KEY, b"new")
    assert get(storage, KEY) == b"new"


def test_redirects_are_not_followed(connect: Connect, fake: FakeGcs, way_out: WayOut) -> None:
    fake.trouble("GET", "/download/", 302)
    with pytest.raises(StorageRefused, match="leads elsewhere"):
        get(connect(), KEY)
    assert {host for host, _, _ in way_out.calls} == {fake.HOST}


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_read_that_breaks_off_goes_on_with_the_same_version(connect: Connect, fake: FakeGcs) -> None:
    storage, data = connect(), noise(3 * MEGABYTE)
    put(storage, KEY, data)
    fake.trouble("GET", "/download/", "cut", times=2)
    assert get(storage, KEY, start=7) == data[7:]
    asked = [(target, headers["Range"]) for method, target, headers in fake.asked if method == "GET"]
    assert asked[0] == ("/download/storage/v1/b/files/o/a%2Fb.txt?alt=media", "bytes=7-")
    assert len(asked) == 3 and all(target.endswith("generation=1001") for target, _ in asked[1:])


@pytest.mark.parametrize(("gone", "lax"), [(True, False), (False, False), (False, True)])
def test_a_version_that_is_gone_is_a_fault_never_a_mixture(connect: Connect, fake: FakeGcs, gone: bool, lax: bool) -> None:
    """Also where the storage does not heed the generation that is asked for."""
    storage, fake.lax = connect(), lax
    put(storage, KEY, noise(3 * MEGABYTE, 1))
    fake.trouble("GET", "/download/", "cut")
    with storage.open(KEY) as stream:
        assert stream.read(100) == noise(3 * MEGABYTE, 1)[:100]
        storage.remove(KEY)
        if not gone:
            put(storage, KEY, noise(3 * MEGABYTE, 2))
        with pytest.raises(StorageFault, match="version"):
            stream.read()


def test_a_read_that_keeps_breaking_ends_in_a_fault(connect: Connect, fake: FakeGcs) -> None:
    storage = connect()
    put(storage, KEY, noise(MEGABYTE))
    with storage.open(KEY) as stream:
        stream.read(10)
        fake.trouble("GET", "/download/", "reset", times=99)
        stream.seek(500_000)
        with pytest.raises(StorageFault):
            stream.read()


def test_a_stream_can_be_moved_in(connect: Connect) -> None:
    storage, data = connect(), noise(MEGABYTE)
    put(storage, KEY, data)
    with storage.open(KEY, start=100, length=500_000) as stream:
        assert stream.seek(-10, 2) == 499_990
        assert stream.read() == data[500_090:500_100]
        stream.seek(3)
        assert stream.read(5) == data[103:108]
        with pytest.raises(ValueError, match="position"):
            stream.seek(-1)
    with pytest.raises(ValueError, match="negative"):
        storage.open(KEY, start=-1)


def test_connections_are_used_again(connect: Connect, way_out: WayOut) -> None:
    storage = connect()
    for number in range(5):
        put(storage, f"files/{number}", noise(100_000))
        assert get(storage, f"files/{number}") == noise(100_000)
        storage.remove(f"files/{number}")
    assert len(way_out.calls) <= 2  # one for tokens, one for everything else


# ----------------------------------------------------------------------------------------------------------- write only


@pytest.mark.parametrize("size", [10, 20 * MEGABYTE])
def test_the_right_to_create_is_enough_to_write(connect: Connect, fake: FakeGcs, size: int) -> None:
    """Nothing is read, listed or looked up on the way: an account that may only create objects gets its file written."""
    fake.denied = {"get", "delete", "acl"}
    storage = connect(write_only="true")
    put(storage, KEY, noise(size))
    assert fake.buckets["files"]["a/b.txt"].data == noise(size)
    assert set(fake.methods()) <= {"POST", "PUT"}
    assert all(target.startswith(("/token", "/upload/")) for _, target, _ in fake.asked)


def test_a_storage_that_is_only_written_to_is_never_read(connect: Connect, way_out: WayOut) -> None:
    storage = connect(write_only="true")
    with pytest.raises(StorageRefused):
        storage.open(KEY)
    with pytest.raises(StorageRefused):
        storage.presigned_url(KEY, seconds=60, headers={})
    assert way_out.calls == []


# ------------------------------------------------------------------------------------------------------------ emulator


def test_the_emulator_takes_large_files_too(fake: FakeGcs) -> None:
    with emulator("files") as port:
        ways = WayOut({fake.HOST: fake.port, "emulator.test": port})
        texts = {
            "bucket": "files",
            "credentials": json.dumps(fake.credentials()),
            "endpoint": f"http://emulator.test:{port}",
            "insecure": "true",
        }
        storage, data = GcsProvider(Patience()).connect(options.bind(texts), ways), noise(20 * MEGABYTE + 3)
        put(storage, "files/täglich/a b.bin", data)
        assert get(storage, "files/täglich/a b.bin") == data
        assert get(storage, "files/täglich/a b.bin", start=8 * MEGABYTE - 1, length=2) == data[8 * MEGABYTE - 1 :][:2]
        put(storage, "files/täglich/a b.bin", b"new")
        assert get(storage, "files/täglich/a b.bin") == b"new"
        storage.remove("files/täglich/a b.bin")
        with pytest.raises(NotFound):
            storage.open("files/täglich/a b.bin")
