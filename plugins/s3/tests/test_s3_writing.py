"""Writing: what is sent, what is never sent, and what is left when something fails."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from s3_bench import Bench, Dialler, get, put

from secure_delivery.plugin import BadRequest, StorageFault, StorageRefused, TooLarge
from secure_delivery_s3.draft import LARGEST, part_size

READS = {"GetObject", "HeadObject", "GETBucket", "HEADBucket", "ListParts"}
PART = part_size(1)


def test_a_file_of_one_part_is_one_request(bench: Bench) -> None:
    put(bench.storage().place("bucket/a", mimetype="image/png"), bytes(PART))
    assert bench.server.operations() == ["PutObject"]
    assert bench.server.objects["bucket", "a"].headers["content-type"] == "image/png"


def test_a_larger_file_goes_in_parts_while_it_comes(bench: Bench) -> None:
    data = bytes(range(256)) * ((4 * PART + 999) // 256) + b"end"
    draft = bench.storage().place("bucket/a", mimetype="image/png")
    for start in range(0, len(data), 777_777):
        draft.write(data[start : start + 777_777])
    assert bench.server.operations().count("UploadPart") >= 2  # two may still be on their way
    assert not bench.server.objects
    draft.publish()
    assert bench.server.objects["bucket", "a"].data == data
    assert bench.server.objects["bucket", "a"].headers["content-type"] == "image/png"
    assert bench.server.operations().count("UploadPart") == 5
    assert not bench.server.uploads


def test_every_body_carries_its_md5(bench: Bench) -> None:
    storage = bench.storage()
    put(storage.place("bucket/a", mimetype="image/png"), bytes(2 * PART))
    put(storage.place("bucket/b", mimetype="image/png"), b"")
    sent = [one for one in bench.server.seen if one.operation in ("PutObject", "UploadPart")]
    assert len(sent) == 3 and all("content-md5" in one.headers for one in sent)


def test_parts_grow_so_that_ten_thousand_are_enough() -> None:
    sizes = [part_size(number) for number in range(1, 10_001)]
    assert sizes == sorted(sizes)
    assert sum(sizes) == LARGEST == 140.625 * (1 << 30)
    assert 3 * max(sizes) <= 48 << 20


def test_more_than_ten_thousand_parts_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secure_delivery_s3.draft._MOST_PARTS", 2)
    draft = bench.storage().place("bucket/a", mimetype="image/png")
    with pytest.raises(TooLarge):
        for _ in range(4):
            draft.write(bytes(PART))
    assert not bench.server.uploads and not bench.server.objects


def test_write_only_credentials_are_enough_to_write(bench: Bench) -> None:
    """With a policy that forbids all reading, and the two rights that a write-only user is advised to have."""
    bench.server.denied |= READS | {"DeleteObject"}
    storage = bench.storage(write_only="true")
    put(storage.place("bucket/small", mimetype="text/plain"), b"small")
    put(storage.place("bucket/large", mimetype="text/plain"), bytes(PART + 1))
    draft = storage.place("bucket/gone", mimetype="text/plain")
    draft.write(bytes(PART + 1))
    draft.discard()
    upload = storage.begin_parts("bucket/parts", mimetype="text/plain")
    storage.abort_parts("bucket/parts", upload)
    assert set(bench.server.objects) == {("bucket", "small"), ("bucket", "large")}
    assert {one.method for one in bench.server.seen if one.operation != "AbortMultipartUpload"} <= {"PUT", "POST"}
    assert not READS & set(bench.server.operations())


@pytest.mark.parametrize("redirects", [False, True])
def test_a_bucket_elsewhere_is_not_looked_for(bench: Bench, redirects: bool) -> None:
    bench.server.redirects_regions = redirects
    with pytest.raises(StorageRefused, match="set region to that of the bucket: eu-west-3") as caught:
        put(bench.storage(bucket="far").place("far/a", mimetype="text/plain"), b"x")
    assert "another region" in caught.value.public
    assert bench.server.operations() == ["PutObject"]


def test_a_write_only_storage_reads_nothing_and_asks_nobody(bench: Bench) -> None:
    storage = bench.storage(write_only="true")
    assert storage.readable is False
    with pytest.raises(StorageRefused):
        storage.open("bucket/a")
    with pytest.raises(StorageRefused):
        storage.presigned_url("bucket/a", seconds=5, headers={})
    assert bench.dial.asked == []


@pytest.mark.parametrize(
    ("option", "asked", "sent"),
    [
        ("private", None, None),
        ("private", "private", None),
        ("private", "public", "public-read"),
        ("public", None, "public-read"),
        ("public", "public", "public-read"),
        ("public", "private", None),
    ],
)
def test_an_acl_is_sent_for_public_objects_alone(bench: Bench, option: str, asked: str | None, sent: str | None) -> None:
    storage = bench.storage(access=option)
    put(storage.place("bucket/a", mimetype="text/plain", access=asked), b"x")  # type: ignore[arg-type]
    put(storage.place("bucket/b", mimetype="text/plain", access=asked), bytes(PART + 1))  # type: ignore[arg-type]
    assert bench.server.objects["bucket", "a"].headers.get("x-amz-acl") == sent
    assert bench.server.objects["bucket", "b"].headers.get("x-amz-acl") == sent


def test_private_objects_go_to_buckets_without_acls(bench: Bench) -> None:
    bench.server.acls_disabled = True
    storage = bench.storage()
    put(storage.place("bucket/a", mimetype="text/plain", access="private"), b"x")
    with pytest.raises(StorageRefused, match="enable ACLs"):
        put(storage.place("bucket/b", mimetype="text/plain", access="public"), b"x")


def test_storage_class_and_encryption_go_with_every_object(bench: Bench) -> None:
    storage = bench.storage(storage_class="standard_ia", sse="aws:kms", kms_key="key-1")
    put(storage.place("bucket/a", mimetype="text/plain"), b"x")
    put(storage.place("bucket/b", mimetype="text/plain"), bytes(PART + 1))
    for key in ("a", "b"):
        headers = bench.server.objects["bucket", key].headers
        assert headers["x-amz-storage-class"] == "STANDARD_IA"
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
    put(bench.storage(sse="AES256").place("bucket/c", mimetype="text/plain"), b"x")
    assert bench.server.objects["bucket", "c"].headers["x-amz-server-side-encryption"] == "AES256"


@pytest.mark.parametrize("key", ["a b/c+d&e=f/ä/日本.png", "~x/!*'()", "%41%2e", "a#b?c", "x" * 1024])
def test_keys_of_customers_arrive_as_they_are(bench: Bench, key: str) -> None:
    storage = bench.storage()
    put(storage.place(f"bucket/{key}", mimetype="text/plain"), b"x")
    assert list(bench.server.objects) == [("bucket", key)]
    assert get(storage, f"bucket/{key}") == b"x"
    storage.remove(f"bucket/{key}")
    assert not bench.server.objects


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "\x7f", "x" * 1025, "ä" * 513, "\ud800"]
)
def test_keys_that_climb_or_cannot_be_written_are_refused(bench: Bench, key: str) -> None:
    with pytest.raises(BadRequest):
        bench.storage().place(f"bucket/{key}", mimetype="text/plain")
    assert bench.dial.asked == []


@pytest.mark.parametrize("key", ["strange/a", "bucket", "/a", "far/a", "arn:aws:s3:::x/a"])
def test_buckets_that_are_not_set_up_are_refused(bench: Bench, key: str) -> None:
    with pytest.raises((StorageRefused, BadRequest)):
        put(bench.storage(buckets="other").place(key, mimetype="text/plain"), b"x")
    assert bench.dial.asked == []


def test_a_mimetype_cannot_add_a_header(bench: Bench) -> None:
    put(bench.storage().place("bucket/a", mimetype="text/plain\r\nx-amz-acl: public-read"), b"x")
    headers = bench.server.objects["bucket", "a"].headers
    assert headers["content-type"] == "application/octet-stream" and "x-amz-acl" not in headers


def test_discarding_leaves_no_parts_on_the_server(bench: Bench) -> None:
    draft = bench.storage().place("bucket/a", mimetype="text/plain")
    draft.write(bytes(3 * PART))
    assert bench.server.uploads
    draft.discard()
    draft.discard()
    assert not bench.server.uploads and not bench.server.objects
    with pytest.raises(StorageFault):
        draft.write(b"more")
    with pytest.raises(StorageFault):
        draft.publish()


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_fails_for_good_is_aborted(bench: Bench, operation: str) -> None:
    bench.server.fail(operation, times=99)
    draft = bench.storage().place("bucket/a", mimetype="text/plain")
    with pytest.raises(StorageFault):
        put(draft, bytes(4 * PART))
    assert not bench.server.uploads and not bench.server.objects
    assert len(bench.waited) >= 3
    with pytest.raises(StorageFault):
        draft.publish()


def test_an_upload_that_cannot_be_aborted_is_told_to_the_operator(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.server.denied.add("AbortMultipartUpload")
    draft = bench.storage().place("bucket/a", mimetype="text/plain")
    draft.write(bytes(PART + 1))
    draft.discard()
    assert "an unfinished upload stays in the bucket" in caplog.text and "AccessDenied" in caplog.text


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"])
@pytest.mark.parametrize("how", ["error", "silent", "lost"])
def test_what_passes_is_tried_again(bench: Bench, operation: str, how: str) -> None:
    size = 5 if operation == "PutObject" else PART + 5
    data = hashlib.sha256(b"x").digest() * (size // 32 + 1)
    bench.server.fail(operation, how=how, times=2)
    put(bench.storage().place("bucket/a", mimetype="text/plain"), data)
    assert bench.server.objects["bucket", "a"].data == data
    assert 1 <= len(bench.waited) <= 2
    assert bench.server.operations().count(operation) >= 2


def test_an_error_inside_an_answer_of_success_is_an_error(bench: Bench) -> None:
    bench.server.fail("CompleteMultipartUpload", how="error200", code="InternalError", times=1)
    put(bench.storage().place("bucket/a", mimetype="text/plain"), bytes(PART + 5))
    assert bench.server.objects["bucket", "a"].size == PART + 5
    assert bench.server.operations().count("CompleteMultipartUpload") == 2
    bench.server.fail("CompleteMultipartUpload", how="error200", code="InternalError", times=99)
    with pytest.raises(StorageFault):
        put(bench.storage().place("bucket/b", mimetype="text/plain"), bytes(PART + 5))
    assert ("bucket", "b") not in bench.server.objects and not bench.server.uploads


def test_an_upload_that_somebody_ended_is_not_taken_for_a_file(bench: Bench) -> None:
    draft = bench.storage().place("bucket/a", mimetype="text/plain")
    draft.write(bytes(2 * PART + 1))
    bench.server.uploads.clear()
    with pytest.raises(StorageFault, match="does not know the upload"):
        draft.publish()
    assert not bench.server.objects
    bench.server.fail("CompleteMultipartUpload", status=404, code="NoSuchUpload")
    with pytest.raises(StorageFault, match="does not know the upload"):
        put(bench.storage().place("bucket/a", mimetype="text/plain"), bytes(PART + 1))
    assert not bench.server.objects and not bench.server.uploads


def test_an_upload_is_aborted_after_its_parts_have_come(bench: Bench) -> None:
    """A part that comes later than the abort would stay, and be paid for."""
    bench.server.fail("UploadPart", how="late", times=2)
    draft = bench.storage().place("bucket/a", mimetype="text/plain")
    draft.write(bytes(2 * PART + 1))
    draft.discard()
    assert [one.status for one in bench.server.seen] == [200, 200, 200, 204]


class _Counting(socket.socket):
    """Notes how much is handed to it at once."""

    largest = 0

    def sendall(self, data: Any, *flags: int) -> None:
        type(self).largest = max(self.largest, len(data))
        super().sendall(data, *flags)


def test_a_part_is_sent_in_pieces_because_a_time_out_counts_for_what_is_handed_over_at_once(bench: Bench) -> None:
    class Dial(Dialler):
        def __call__(self, host: str, port: int, seconds: float) -> socket.socket:
            return _Counting(fileno=super().__call__(host, port, seconds).detach())

    bench.dial = Dial(bench.server.port)
    put(bench.storage().place("bucket/a", mimetype="text/plain"), bytes(PART))
    assert bench.server.objects["bucket", "a"].size == PART
    assert 0 < _Counting.largest <= 1 << 18


def test_many_drafts_at_once_share_one_client(bench: Bench) -> None:
    storage = bench.storage()
    together = threading.Barrier(8)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            together.wait()
            put(storage.place(f"bucket/{number}", mimetype="text/plain"), bytes([number]) * (PART + 1))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert all(bench.server.objects["bucket", str(n)].data == bytes([n]) * (PART + 1) for n in range(8))


def test_writing_needs_no_file_of_this_machine(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    put(bench.storage().place("bucket/a", mimetype="text/plain"), bytes(2 * PART))
    assert bench.server.objects["bucket", "a"].size == 2 * PART
