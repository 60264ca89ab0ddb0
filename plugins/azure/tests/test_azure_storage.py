"""Writing, reading and deleting in containers of Azure Blob Storage: what is stored, and what becomes of failures."""

from __future__ import annotations

import base64
import datetime
import hashlib
import random
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from azure_stage import Azurite, Stage, Trouble, WayOut

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
from secure_delivery_azure.storage import AzureStorage

Connect = Callable[..., AzureStorage]
MEGABYTE = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def put(storage: AzureStorage, name: str, data: bytes, piece: int = MEGABYTE, **how: Any) -> None:
    """Into the first container, or elsewhere when the name has a container."""
    key = name if ":" not in name else name.replace(":", "/", 1)
    draft = storage.place(key if ":" in name else f"{storage.containers[0]}/{name}", mimetype="text/plain", **how)
    for start in range(0, len(data), piece):
        draft.write(data[start : start + piece])
    draft.publish()


def get(storage: AzureStorage, name: str, **window: Any) -> bytes:
    with storage.open(f"{storage.containers[0]}/{name}", **window) as stream:
        return stream.read()


def remove(storage: AzureStorage, name: str) -> None:
    storage.remove(f"{storage.containers[0]}/{name}")


def token(azurite: Azurite, container: str, permission: str, **how: Any) -> str:
    """A shared access signature for a container."""
    from azure.storage.blob import generate_container_sas

    expiry = how.pop("expiry", datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1))
    return str(
        generate_container_sas(azurite.account, container, account_key=azurite.key, permission=permission, expiry=expiry, **how)
    )


# ---------------------------------------------------------------------------------------------------------------- placing


def test_it_offers_what_it_can_and_leaves_out_what_it_cannot(connect: Connect, azurite: Azurite, container: str) -> None:
    by_key, by_signature = connect(), connect(account_key=None, sas_token=token(azurite, container, "rcwd"))
    for storage in (by_key, by_signature):
        assert isinstance(storage, Storage) and isinstance(storage, Placing) and isinstance(storage, Advising)
        assert not isinstance(storage, Multipart)
        assert storage.containers == (container, "other", "absent")
    assert isinstance(by_key, Presigned) and not isinstance(by_signature, Presigned)
    assert by_key.readable and not connect(write_only="true").readable


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_placed_file_has_its_type_sum_and_tier_and_lies_where_it_was_asked_for(
    connect: Connect, azurite: Azurite, container: str, size: int
) -> None:
    name, data = "täglich/a b+c%2F?#&.txt", noise(size)
    put(connect(access_tier="Cool"), name, data, access="private")
    with azurite.service() as service:
        stored = service.get_blob_client(container, name).get_blob_properties()
    assert (stored.size, stored.content_settings.content_type, stored.blob_tier) == (size, "text/plain", "Cool")
    assert bytes(stored.content_settings.content_md5) == hashlib.md5(data).digest()
    assert get(connect(), name) == data


def test_access_that_cannot_be_given_is_refused_not_ignored(connect: Connect, way_out: WayOut) -> None:
    with pytest.raises(BadRequest, match="container decides"):
        put(connect(), "a", b"data", access="public")
    assert way_out.calls == []


def test_a_container_that_is_not_of_the_storage_is_refused_without_a_request(connect: Connect, way_out: WayOut) -> None:
    storage = connect()
    for act in (storage.open, storage.remove, lambda key: storage.place(key, mimetype="text/plain")):
        with pytest.raises(StorageRefused):
            act("elsewhere/a")
    assert way_out.calls == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a//b",
        "a/",
        "../a",
        "a/./b",
        "a.",
        "a./b",
        "a\\..\\b",
        "a\nb",
        "a\x7fb",
        "é" * 513,
        "a/" * 254 + "a",
        "\ud800",
    ],
)
def test_names_that_mean_something_else_are_refused_without_a_request(connect: Connect, way_out: WayOut, name: str) -> None:
    storage = connect()
    with pytest.raises(BadRequest):
        storage.place(f"{storage.containers[0]}/{name}", mimetype="text/plain")
    assert way_out.calls == []


# ---------------------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("size", [0, 1, 8 * MEGABYTE, 8 * MEGABYTE + 1, 20 * MEGABYTE + 17])
@pytest.mark.parametrize("piece", [777_777, 64 * MEGABYTE])
def test_a_file_of_any_size_comes_back_as_it_was(connect: Connect, stage: Stage, size: int, piece: int) -> None:
    storage, data = connect(), noise(size)
    put(storage, "a/b", data, piece)
    assert get(storage, "a/b") == data
    blocks = -(-size // (8 * MEGABYTE))
    assert stage.methods() == ["PUT"] * (1 if blocks <= 1 else blocks + 1) + ["GET"]


def test_every_block_carries_its_sum_and_a_name_of_its_own(connect: Connect, stage: Stage) -> None:
    data = noise(20 * MEGABYTE)
    put(connect(), "a", data)
    blocks = [(target, headers) for _, target, headers in stage.asked if "comp=block&" in target + "&"]
    sums = [
        base64.b64encode(hashlib.md5(data[at : at + 8 * MEGABYTE]).digest()).decode()
        for at in range(0, len(data), 8 * MEGABYTE)
    ]
    assert [headers["Content-MD5"] for _, headers in blocks] == sums
    assert len({target for target, _ in blocks}) == 3 and len({len(target) for target, _ in blocks}) == 1


def test_nothing_of_a_large_file_is_visible_before_it_is_published(connect: Connect) -> None:
    storage = connect()
    put(storage, "a", b"old")
    draft = storage.place(f"{storage.containers[0]}/a", mimetype="text/plain")
    draft.write(noise(20 * MEGABYTE))
    assert get(storage, "a") == b"old"
    draft.discard()
    draft.discard()
    for act in (draft.publish, lambda: draft.write(b"more")):
        with pytest.raises(StorageFault):
            act()
    assert get(storage, "a") == b"old"


def test_large_drafts_of_one_name_never_mix(connect: Connect) -> None:
    """The service keeps the blocks of both in one place: whoever is published second is whole, or a fault."""
    storage = connect()
    first, second = (storage.place(f"{storage.containers[0]}/a", mimetype="text/plain") for _ in range(2))
    for start in range(0, 20 * MEGABYTE, 5 * MEGABYTE):
        first.write(noise(20 * MEGABYTE, 1)[start : start + 5 * MEGABYTE])
        second.write(noise(20 * MEGABYTE, 2)[start : start + 5 * MEGABYTE])
    second.publish()
    assert get(storage, "a") == noise(20 * MEGABYTE, 2)
    with pytest.raises(StorageFault, match="another upload under this name came between"):
        first.publish()
    assert get(storage, "a") == noise(20 * MEGABYTE, 2)


@pytest.mark.parametrize("how", ["reset", "late", 503, 500, 429, 408])
def test_requests_that_fail_for_a_moment_are_sent_again(connect: Connect, stage: Stage, how: Any) -> None:
    storage, data = connect(), noise(17 * MEGABYTE)
    seen = [0]

    def some(method: str, target: str) -> bool:
        seen[0] += method == "PUT"
        return method == "PUT" and seen[0] in (1, 3, 5, 7)

    stage.troubles.append(Trouble(some, how, times=4))
    put(storage, "a", data)
    assert get(storage, "a") == data
    assert stage.methods().count("PUT") == 8


# ----------------------------------------------------------------------------------------------------- failures by class


@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServerBusy"), (500, "InternalError"), (429, "Throttled"), (400, "Md5Mismatch")]
)
def test_what_may_be_better_in_a_moment_is_tried_again(connect: Connect, stage: Stage, status: int, code: str) -> None:
    storage = connect()
    for method in ("PUT", "GET", "DELETE"):
        stage.trouble(method, "/", status, times=3, code=code)
    put(storage, "a", b"data")
    assert get(storage, "a") == b"data"
    remove(storage, "a")
    assert stage.methods() == ["PUT"] * 4 + ["GET"] * 4 + ["DELETE"] * 4


@pytest.mark.parametrize("how", [503, "reset", "stall"])
def test_what_stays_bad_is_a_fault_after_a_bounded_number_of_tries(connect: Connect, stage: Stage, how: Any) -> None:
    pauses: list[float] = []
    storage = connect(Patience(connect=5.0, read=0.2, tries=3, pause=0.5, sleep=pauses.append))
    for method in ("PUT", "GET", "DELETE"):
        stage.trouble(method, "/", how, times=99)
    for act in (lambda: put(storage, "a", b"data"), lambda: get(storage, "a"), lambda: remove(storage, "a")):
        with pytest.raises(StorageFault):
            act()
    assert stage.methods() == ["PUT"] * 3 + ["GET"] * 3 + ["DELETE"] * 3
    assert len(pauses) == 6 and all(0.25 <= pause <= 1.0 for pause in pauses)


def test_a_deletion_whose_answer_was_lost_is_done(connect: Connect, stage: Stage) -> None:
    storage = connect()
    put(storage, "a", b"data")
    stage.trouble("DELETE", "/", "late")
    remove(storage, "a")
    with pytest.raises(NotFound):
        get(storage, "a")


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_right_that_is_missing_is_refused_at_once(
    connect: Connect, azurite: Azurite, container: str, stage: Stage, size: int
) -> None:
    reader = connect(account_key=None, sas_token=token(azurite, container, "r"))
    for act in (lambda: put(reader, "a", noise(size)), lambda: remove(reader, "a")):
        with pytest.raises(StorageRefused, match="403"):
            act()
    writer = connect(account_key=None, sas_token=token(azurite, container, "cw"))
    with pytest.raises(StorageRefused, match="403"):
        get(writer, "a")
    assert stage.methods() == ["PUT", "DELETE", "GET"]


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_container_that_is_not_there_is_refused_not_missing(connect: Connect, size: int) -> None:
    storage = connect()
    acts = (
        lambda: put(storage, "absent:a", noise(size)),
        lambda: storage.open("absent/a"),
        lambda: storage.remove("absent/a"),
    )
    for act in acts:
        with pytest.raises(StorageRefused, match="there is no such container"):
            act()


def test_a_blob_that_is_not_there_is_not_found_and_removing_it_is_fine(connect: Connect, stage: Stage) -> None:
    storage = connect()
    for window in ({}, {"start": 5}, {"length": 0}, {"start": 1, "length": 1}):
        with pytest.raises(NotFound):
            get(storage, "a", **window)
    remove(storage, "a")
    assert stage.methods() == ["GET"] * 4 + ["DELETE"]


@pytest.mark.parametrize(("status", "code"), [(507, "InsufficientStorage"), (403, "AccountQuotaExceeded")])
def test_an_account_without_room_is_full(connect: Connect, stage: Stage, status: int, code: str) -> None:
    stage.trouble("PUT", "comp=block", status, code=code)
    with pytest.raises(StorageFull):
        put(connect(), "a", noise(9 * MEGABYTE))


@pytest.mark.parametrize("code", ["AuthenticationFailed", "AccountIsDisabled", "KeyBasedAuthenticationNotPermitted"])
def test_what_only_the_owner_can_mend_is_said_by_name(connect: Connect, stage: Stage, code: str) -> None:
    stage.trouble("PUT", "/", 403, code=code)
    with pytest.raises(StorageRefused, match=f"403 {code}: "):
        put(connect(), "a", b"data")
    assert stage.methods() == ["PUT"]


def test_a_wrong_key_is_refused(connect: Connect) -> None:
    wrong = connect(account_key=base64.b64encode(secrets.token_bytes(64)).decode())
    for act in (lambda: put(wrong, "a", b"data"), lambda: get(wrong, "a"), lambda: remove(wrong, "a")):
        with pytest.raises(StorageRefused, match="403"):
            act()


def test_a_wrong_clock_is_told(connect: Connect, stage: Stage) -> None:
    stage.trouble("PUT", "/", 403, code="AuthenticationFailed", message="Request date header too old: 'Mon, 01 Jan 2024'")
    with pytest.raises(StorageRefused, match="the clock of this machine is wrong"):
        put(connect(), "a", b"data")


def test_a_signature_that_has_ended_is_refused(connect: Connect, azurite: Azurite, container: str) -> None:
    ended = token(azurite, container, "rcwd", expiry=datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1))
    with pytest.raises(StorageRefused, match="403"):
        put(connect(account_key=None, sas_token=ended), "a", b"data")


def test_redirects_are_not_followed(connect: Connect, stage: Stage, way_out: WayOut) -> None:
    for method, act in (("GET", lambda: get(connect(), "a")), ("PUT", lambda: put(connect(), "a", b"data"))):
        stage.trouble(method, "/", 302, code="Moved")
        with pytest.raises(StorageRefused, match="leads elsewhere"):
            act()
    assert {host for host, _, _ in way_out.calls} == {"azure.test"}


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_read_that_breaks_off_goes_on_with_the_same_version(connect: Connect, stage: Stage) -> None:
    storage, data = connect(), noise(3 * MEGABYTE)
    put(storage, "a", data)
    stage.trouble("GET", "/", "cut", times=2)
    assert get(storage, "a", start=7) == data[7:]
    asked = [headers for method, _, headers in stage.asked if method == "GET"]
    assert asked[0]["Range"] == "bytes=7-" and "If-Match" not in asked[0]
    assert len(asked) == 3 and len({headers["If-Match"] for headers in asked[1:]}) == 1


@pytest.mark.parametrize("gone", [True, False])
def test_a_version_that_is_gone_is_a_fault_never_a_mixture(connect: Connect, stage: Stage, gone: bool) -> None:
    storage = connect()
    put(storage, "a", noise(3 * MEGABYTE, 1))
    stage.trouble("GET", "/", "cut")
    with storage.open(f"{storage.containers[0]}/a") as stream:
        assert stream.read(100) == noise(3 * MEGABYTE, 1)[:100]
        remove(storage, "a")
        if not gone:
            put(storage, "a", noise(3 * MEGABYTE, 2))
        with pytest.raises(StorageFault):
            stream.read()


def test_a_stream_can_be_moved_in(connect: Connect) -> None:
    storage, data = connect(), noise(MEGABYTE)
    put(storage, "a", data)
    with storage.open(f"{storage.containers[0]}/a", start=100, length=500_000) as stream:
        assert stream.seek(-10, 2) == 499_990
        assert stream.read() == data[500_090:500_100]
        stream.seek(3)
        assert stream.read(5) == data[103:108]


def test_connections_are_used_again(connect: Connect, way_out: WayOut) -> None:
    storage = connect()
    for number in range(5):
        put(storage, str(number), noise(100_000))
        assert get(storage, str(number)) == noise(100_000)
        remove(storage, str(number))
    assert len(way_out.calls) == 1


# ----------------------------------------------------------------------------------------------------------- write only


@pytest.mark.parametrize("size", [10, 20 * MEGABYTE])
def test_the_right_to_create_and_write_is_enough(
    connect: Connect, azurite: Azurite, container: str, stage: Stage, size: int
) -> None:
    """Nothing is read, listed or looked up on the way: a signature that may only write gets its file written, and replaced."""
    storage = connect(account_key=None, sas_token=token(azurite, container, "cw"), write_only="true")
    put(storage, "a", noise(size))
    put(storage, "a", noise(size, 2))
    assert set(stage.methods()) == {"PUT"}
    assert not [target for _, target, _ in stage.asked if "restype=container" in target]
    with azurite.service() as service:
        assert service.get_blob_client(container, "a").download_blob().readall() == noise(size, 2)


def test_a_storage_that_is_only_written_to_is_never_read(connect: Connect, way_out: WayOut) -> None:
    storage = connect(write_only="true")
    with pytest.raises(StorageRefused):
        get(storage, "a")
    with pytest.raises(StorageRefused):
        storage.presigned_url(f"{storage.containers[0]}/a", seconds=60, headers={})  # type: ignore[attr-defined]
    assert way_out.calls == []
