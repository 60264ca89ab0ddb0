"""Uploads of more than one request: parts in any order, chunks of any size, streams; exactly the bytes, or a clean refusal."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from buckets import S3Server, bucket_server, options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.files import Development, Files, Target
from secure_delivery.engine.memory import Memory
from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.parts import Parts, fault
from secure_delivery.engine.records import FileLink, Records
from secure_delivery.engine.rendition_store import RenditionStore
from secure_delivery.engine.storages import Storages
from secure_delivery.engine.streams import Streams
from secure_delivery.engine.uploads import Uploads, UploadSession
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    Locked,
    NotFound,
    NotProvided,
    PartsMissing,
    QuotaExceeded,
    SecureDeliveryError,
    SizeMismatch,
    StorageFault,
    StorageFull,
    TooLarge,
    Unsupported,
)
from secure_delivery.gate.model import Limits
from secure_delivery_s3 import S3Provider

KEY = bytes((11 * number + 5) % 256 for number in range(32))
MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Desk:
    """Uploads on a database and a folder, with a clock that is turned by hand."""

    def __init__(self, database: Database, root: Path, bucket: S3Server) -> None:
        self.database, self.root, self.bucket = database, root, bucket
        self.now = 1_700_000_000.0
        self.folder = root / "uploads"
        self.folder.mkdir()
        self.records = Records(database, Vault({"k": KEY}, current="k"), self.clock)
        self.storages = Storages(
            database,
            Vault({"k": KEY}, current="k"),
            self.clock,
            own={"local": LocalStorage(root / "files")},
            providers={"s3": S3Provider()},
            default="local",
            guard=OutboundGuard(allow=("127.0.0.1",), ports=(80, 443, bucket.port)),
        )
        self.files = Files(
            self.records,
            self.storages,
            renditions=RenditionStore(root / "renditions", days=1, memory=Memory(0), clock=self.clock),
            notify=lambda event: None,
            clock=self.clock,
            development=Development(quota=1_000_000),
        )
        self.uploads = Uploads(database, self.files, self.folder, clock=self.clock, hours=24)
        self.parts = Parts(database, self.uploads, max_bytes=100_000)
        self.streams = Streams(self.uploads, self.parts, max_bytes=100_000)
        self.application, _ = self.records.create_application("test", limits=Limits(max_bytes=100_000), storage="server")

    def clock(self) -> float:
        return self.now

    def begin(self, size: int | None = None, mode: Any = "parts", uploads: Uploads | None = None, **more: Any) -> UploadSession:
        target = Target(**{"filename": "a.bin"} | {name: more.pop(name) for name in ("path", "filename") if name in more})
        room = self.files.room(self.application, target)
        return (uploads or self.uploads).begin(self.application, target, room, mode=mode, size=size, **more)

    def send(self, session: UploadSession, number: int, data: bytes, start: int | None = None, **more: Any) -> str:
        with self.parts.writer(session, number, start, size=more.get("size", len(data)), md5=more.get("md5")) as writer:
            for at in range(0, len(data), 1000):
                writer.write(data[at : at + 1000])
            return writer.keep().md5

    def append(self, session: UploadSession, offset: int, data: bytes, checksum: tuple[str, bytes] | None = None) -> int:
        with self.streams.writer(session, offset, limit=100_000, checksum=checksum) as writer:
            writer.write(data)
            return writer.keep()

    def finish(self, session: UploadSession, etags: Any = None) -> FileLink:
        return self.parts.finish(session, self.application, etags=etags)

    def read(self, link: FileLink) -> bytes:
        with self.files.open(self.files.find(link.handle)) as stream:
            return stream.read()

    def here(self) -> list[Path]:
        """Bytes of uploads that are here."""
        return [path for path in self.folder.rglob("*") if path.is_file() and path.name != "lock"]

    def own_bucket(self, **more: str) -> None:
        key = self.application.api_key
        self.storages.add(key, "assets", "s3", options(self.bucket, **more))
        self.application = self.records.update_application(key, storage="assets")

    def put(self, session: UploadSession, number: int, data: bytes) -> str:
        """A part sent straight to the bucket, as a client does it; its ETag."""
        storage: Any = self.files.storage(session.storage)
        self.parts.announce(session, number, len(data), None)
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        url, headers = storage.part_url(session.key, session.remote, number, size=len(data), md5=md5, seconds=60)
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        try:
            connection.request("PUT", f"{address.path}?{address.query}", body=data, headers=dict(headers))
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            return str(reply.headers["ETag"])
        finally:
            connection.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server(smallest_part=1) as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()


@pytest.fixture
def desk(database: Database, tmp_path: Path, bucket: S3Server) -> Desk:
    return Desk(database, tmp_path, bucket)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, provider: S3Server) -> Iterator[Desk]:
    """A desk on SQLite for many examples."""
    folder = tmp_path_factory.mktemp("desk")
    database = Database(f"sqlite:///{folder / 'service.db'}")
    database.migrate()
    yield Desk(database, folder, provider)
    database.close()


# ------------------------------------------------------------------------------------------------------- properties


@MANY
@given(data=st.data())
def test_parts_of_any_sizes_in_any_order_and_again_make_exactly_the_bytes(quick: Desk, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8))
    again = data.draw(st.lists(st.tuples(st.integers(1, len(pieces)), st.binary(min_size=1, max_size=50)), max_size=6))
    order = data.draw(st.permutations(range(1, len(pieces) + 1)))
    whole = b"".join(pieces)
    session = quick.begin(len(whole))
    for number, other in again:  # what was sent before, and is replaced
        try:
            quick.send(session, number, other)
        except TooLarge:
            pass
    etags: dict[int, str] = {}
    left = list(order)
    for _ in range(len(pieces) + 1):  # what is too large beside a wrong one fits when that is replaced
        for number in list(left):
            try:
                etags[number] = quick.send(session, number, pieces[number - 1])
                left.remove(number)
            except TooLarge:
                pass
    assert left == []
    link = quick.finish(session, sorted(etags.items()))
    assert quick.read(link) == whole and link.sha256 == hashlib.sha256(whole).hexdigest()
    assert not quick.uploads.place(session.id).exists()


@MANY
@given(data=st.data())
def test_chunks_of_a_part_of_any_sizes_make_the_bytes_or_are_refused(quick: Desk, data: st.DataObject) -> None:
    whole = data.draw(st.binary(min_size=1, max_size=60))
    windows = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(1, 20)), min_size=1, max_size=14))
    session = quick.begin(len(whole), mode="chunks")
    kept: dict[int, bytes] = {}  # a model: a chunk replaces those that begin inside it
    for start, size in windows:
        piece = whole[start : start + size]
        try:
            quick.send(session, 1, piece, start)
        except TooLarge:
            continue
        kept = {at: chunk for at, chunk in kept.items() if not start <= at < start + len(piece)} | {start: piece}
    joined = b""
    for at in sorted(kept):
        joined = joined + kept[at] if at == len(joined) else b"?" * 999
    if joined == whole:
        assert quick.read(quick.finish(session)) == whole
        return
    with pytest.raises((PartsMissing, SizeMismatch)):
        quick.finish(session)
    assert quick.records.file(quick.uploads.get(session.token).handle or "none") is None
    quick.uploads.end(session)
    assert not quick.uploads.place(session.id).exists()


@MANY
@given(data=st.data())
def test_a_stream_in_any_pieces_with_any_offsets_makes_exactly_the_bytes(quick: Desk, data: st.DataObject) -> None:
    whole = data.draw(st.binary(min_size=1, max_size=80))
    session = quick.begin(len(whole), mode="stream")
    here = 0
    for wrong, size, bad in data.draw(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 30), st.booleans()), max_size=12)):
        piece = whole[here : here + size]
        if wrong and here + wrong >= 0:
            with pytest.raises(Conflict):
                quick.append(session, here + wrong, piece)
        elif bad and piece:
            with pytest.raises(ChecksumMismatch):
                quick.append(session, here, piece, ("sha1", hashlib.sha1(piece + b"x").digest()))
        elif piece:
            here = quick.append(session, here, piece, ("md5", hashlib.md5(piece).digest()))
        assert quick.streams.offset(session) == here
        if here < len(whole):
            with pytest.raises(SizeMismatch):
                quick.streams.finish(session, quick.application)
    if here < len(whole):
        quick.append(session, here, whole[here:])
    link = quick.streams.finish(session, quick.application)
    assert quick.read(link) == whole
    assert quick.streams.finish(session, quick.application).handle == link.handle, "asked again, the same file"


@MANY
@given(pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), order=st.randoms())
def test_streams_are_joined_in_the_order_that_was_asked_for(quick: Desk, pieces: list[bytes], order: Any) -> None:
    sessions = []
    for piece in pieces:
        session = quick.begin(len(piece), mode="stream")
        quick.append(session, 0, piece)
        sessions.append((quick.uploads.get(session.token), piece))
    order.shuffle(sessions)
    final = quick.begin(None, mode="stream")
    link = quick.streams.join(final, quick.application, [session for session, _ in sessions])
    assert quick.read(link) == b"".join(piece for _, piece in sessions)


# ------------------------------------------------------------------------------------------------------ single cases


def test_a_token_is_known_by_its_digest_only_and_opens_one_upload(desk: Desk) -> None:
    session = desk.begin(4)
    assert session.token not in repr(session) and len(session.token) == 43
    with desk.database.read() as connection:
        rows = connection.execute(sa.select(tables.upload)).all()
    assert session.token not in repr(rows) and [row.id for row in rows] == [session.id]
    assert desk.uploads.get(session.token).id == session.id
    for token in ("", session.id, session.token[:-1], session.token + "A", "\u00e9" * 43, "A" * 43):
        with pytest.raises(NotFound):
            desk.uploads.get(token)


@pytest.mark.parametrize("bad", [{"filename": "a\0b"}, {"path": "\ud800"}])
def test_a_text_that_cannot_be_kept_begins_nothing(desk: Desk, bad: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        desk.begin(4, **bad)
    assert list(desk.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "start", "trouble"),
    [(0, None, BadRequest), (10_001, None, BadRequest), (-1, None, BadRequest), (1, -1, BadRequest)],
)
def test_a_part_that_cannot_be_is_refused(desk: Desk, number: int, start: int | None, trouble: type[Exception]) -> None:
    session = desk.begin(4)
    with pytest.raises(trouble):
        desk.send(session, number, b"data", start)
    assert desk.here() == []


def test_what_is_wrong_with_a_part_leaves_the_one_before(desk: Desk) -> None:
    session = desk.begin(4)
    desk.send(session, 1, b"good")
    for trouble, data, more in (
        (SizeMismatch, b"bad", {"size": 4}),
        (SizeMismatch, b"bad!!", {"size": 4}),
        (SizeMismatch, b"", {"size": None}),
        (ChecksumMismatch, b"bad!", {"md5": hashlib.md5(b"good").hexdigest()}),
        (TooLarge, b"x" * 5, {"size": None}),
    ):
        with pytest.raises(trouble):
            desk.send(session, 1, data, **more)
    assert len(desk.here()) == 1
    assert desk.read(desk.finish(session)) == b"good"


def test_a_part_that_is_given_up_in_the_middle_leaves_nothing(desk: Desk) -> None:
    session = desk.begin(4)
    with desk.parts.writer(session, 1, None, size=4, md5=None) as writer:
        writer.write(b"go")
    assert desk.here() == [] and desk.parts.of(session) == []


def test_a_file_that_is_finished_by_many_at_once_is_one(desk: Desk) -> None:
    session = desk.begin(6)
    desk.send(session, 1, b"abc")
    desk.send(session, 2, b"def")

    def finish(_: int) -> str | None:
        try:
            return desk.finish(session).handle
        except Locked:  # somebody else is at it: to be asked again
            return None

    with ThreadPoolExecutor(4) as pool:
        handles = set(pool.map(finish, range(8))) - {None}
    assert len(handles) == 1 and desk.records.count_files(desk.application.api_key) == 1
    link = desk.finish(desk.uploads.get(session.token))
    assert {link.handle} == handles and desk.here() == [] and desk.read(link) == b"abcdef"


def test_a_handle_that_was_reserved_is_the_same_however_often_it_is_asked_for(desk: Desk) -> None:
    session = desk.begin(4)
    with ThreadPoolExecutor(4) as pool:
        handles = set(pool.map(lambda _: desk.uploads.reserve(session), range(8)))
    assert len(handles) == 1
    assert desk.uploads.finished(desk.uploads.get(session.token)) is None, "a handle is no file yet"
    desk.send(session, 1, b"data")
    assert {desk.finish(session).handle} == handles


def test_bounds_of_the_policy_hold_at_the_end(desk: Desk) -> None:
    for size, bounds in ((4, {"min_size": 5}), (6, {"max_size": 5})):
        session = desk.begin(size, **bounds)
        desk.send(session, 1, b"x" * size)
        with pytest.raises(BadRequest):
            desk.finish(session)
    assert desk.records.count_files(desk.application.api_key) == 0


def test_what_the_application_does_not_take_ends_the_upload_and_its_bytes(desk: Desk) -> None:
    desk.application = desk.records.update_application(desk.application.api_key, allowed_types=("image/*",))
    session = desk.begin(9)
    desk.send(session, 1, b"%PDF-1.7 ")
    with pytest.raises(Unsupported):
        desk.finish(session)
    assert desk.here() == [] and not list((desk.root / "files").rglob("*.*"))
    with pytest.raises(NotFound):
        desk.uploads.get(session.token)
    stream = desk.begin(9, mode="stream")
    desk.append(stream, 0, b"%PDF-1.7 ")
    with pytest.raises(Unsupported):
        desk.streams.finish(stream, desk.application)
    assert desk.here() == [] and desk.records.count_files(desk.application.api_key) == 0


def test_what_cannot_be_taken_in_is_told_before_the_first_byte(desk: Desk) -> None:
    key = desk.application.api_key
    desk.application = desk.records.update_application(key, storage="", limits=Limits(max_bytes=10_000_000))
    with pytest.raises(QuotaExceeded):
        desk.begin(1_000_001)
    desk.begin(1_000_000)
    desk.application = desk.records.update_application(key, scan=True)
    with pytest.raises(NotProvided):
        desk.begin(4)


def test_a_default_path_counts_for_uploads_in_parts_and_streams_as_for_any(desk: Desk) -> None:
    desk.own_bucket(path="incoming/")
    through = Uploads(desk.database, desk.files, desk.folder, clock=desk.clock, direct=False)
    session = desk.begin(4, uploads=through)
    assert not session.direct
    desk.send(session, 1, b"part")
    stream = desk.begin(6, mode="stream")
    desk.append(stream, 0, b"stream")
    links = [desk.finish(session), desk.streams.finish(stream, desk.application)]
    assert [desk.read(link) for link in links] == [b"part", b"stream"]
    assert len(desk.bucket.objects) == 2 and all(key.startswith("incoming/") for _, key in desk.bucket.objects)


def test_writers_of_one_stream_do_not_mix(desk: Desk) -> None:
    session = desk.begin(10, mode="stream")
    with desk.streams.writer(session, 0, limit=10) as writer:
        writer.write(b"0123")
        with pytest.raises(Locked) as caught, desk.streams.writer(session, 0, limit=10):
            pass
        assert caught.value.status == 423
        with pytest.raises(SizeMismatch):
            writer.write(b"x" * 7)
        assert writer.keep() == 4
    assert desk.append(session, 4, b"456789") == 10


def test_who_comes_while_another_is_at_work_is_told_so_at_once_and_may_come_again(desk: Desk) -> None:
    session = desk.begin(4)
    desk.send(session, 1, b"data")
    inside, leave = threading.Event(), threading.Event()

    def at_work() -> None:
        with desk.uploads.locked(session):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=at_work)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(Locked), desk.uploads.locked(session):
        pass
    leave.set()
    thread.join(20)
    assert desk.read(desk.finish(session)) == b"data"


def test_a_size_that_is_told_later_is_told_once(desk: Desk) -> None:
    session = desk.begin(None, mode="stream")
    desk.append(session, 0, b"0123")
    with pytest.raises(SizeMismatch):
        desk.streams.finish(session, desk.application)
    desk.uploads.announce(session, 4)
    desk.uploads.announce(session, 400)
    session = desk.uploads.get(session.token)
    assert session.size == 4 and desk.read(desk.streams.finish(session, desk.application)) == b"0123"


def test_streams_that_are_not_whole_or_too_many_are_not_joined(desk: Desk) -> None:
    half = desk.begin(8, mode="stream")
    desk.append(half, 0, b"0123")
    for pieces in ([], [half], [half] * 1001):
        with pytest.raises(BadRequest):
            desk.streams.join(desk.begin(None, mode="stream"), desk.application, pieces)
    large = desk.begin(60_000, mode="stream")
    desk.append(large, 0, b"x" * 60_000)
    with pytest.raises(TooLarge):
        desk.streams.join(desk.begin(None, mode="stream"), desk.application, [large, large])
    assert desk.streams.offset(half) == 4, "what was refused did no harm"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EFBIG, StorageFull), (errno.EIO, StorageFault)],
)
def test_what_the_disk_says_is_a_fault_of_its_kind_without_a_path(number: int, kind: type[SecureDeliveryError]) -> None:
    found = fault("writing a part", OSError(number, os.strerror(number), "/secret/path"))
    assert type(found) is kind and "/secret/path" not in str(found) + found.public
    assert isinstance(fault("x", FileNotFoundError(2, "gone", "/secret/path")), NotFound)


# ------------------------------------------------------------------------------------------------------------- sweep


def test_uploads_that_have_expired_go_with_their_bytes_and_others_stay(desk: Desk) -> None:
    old = desk.begin(4)
    desk.send(old, 1, b"data")
    desk.now += 23 * 3600
    young = desk.begin(4)
    desk.send(young, 1, b"data")
    assert desk.uploads.sweep() == 0
    desk.now += 3600
    with pytest.raises(NotFound):
        desk.uploads.get(old.token)
    assert desk.uploads.sweep() == 1 and desk.uploads.sweep() == 0
    assert [path.parent.name for path in desk.here()] == [young.id]
    with desk.database.read() as connection:
        assert connection.execute(sa.select(tables.upload_part.c.upload)).scalars().all() == [young.id]
    assert desk.read(desk.finish(young)) == b"data"
    desk.now += 25 * 3600
    assert desk.uploads.sweep() == 1
    assert desk.records.count_files(desk.application.api_key) == 1, "the file that came of it stays"


def test_folders_that_nobody_knows_go_when_they_are_old(desk: Desk) -> None:
    session = desk.begin(4)
    for name in ("a" * 64, "b" * 64):
        (desk.folder / name).mkdir()
        (desk.folder / name / "piece").write_bytes(b"x")
    past = time.time() - 7200
    for name in ("a" * 64, session.id):
        os.utime(desk.folder / name, (past, past))
    assert desk.uploads.sweep() == 1
    assert {path.name for path in desk.folder.iterdir()} == {"b" * 64, session.id}


def test_uploads_go_with_their_application(desk: Desk) -> None:
    session = desk.begin(4)
    desk.send(session, 1, b"data")
    desk.files.remove_application(desk.application.api_key)
    with pytest.raises(NotFound):
        desk.uploads.get(session.token)
    past = time.time() - 7200
    os.utime(desk.uploads.place(session.id), (past, past))
    assert desk.uploads.sweep() == 1 and desk.here() == []


# ------------------------------------------------------------------------------------------------ straight to a bucket


def test_parts_go_straight_to_a_bucket_and_are_a_file_at_the_end(desk: Desk) -> None:
    desk.own_bucket(path="in/")
    data = [b"a" * 700, b"b" * 300]
    session = desk.begin(1000)
    assert session.direct and list(desk.folder.iterdir()) == []
    etags = [(number, desk.put(session, number, piece)) for number, piece in enumerate(data, 1)]
    link = desk.finish(session, etags)
    assert desk.read(link) == b"".join(data) and link.size == 1000 and link.path == "in/"
    assert desk.bucket.uploads == {} and desk.here() == []
    assert desk.finish(session, etags).handle == link.handle
    assert desk.bucket.operations().count("CompleteMultipartUpload") == 1


def test_an_upload_that_ended_after_the_bucket_had_it_whole_is_recorded_when_it_is_asked_for_again(desk: Desk) -> None:
    """The process ends between the bucket's answer and the record."""
    desk.own_bucket()
    session = desk.begin(4)
    etags = [(1, desk.put(session, 1, b"data"))]
    desk.bucket.fail("GetObject", status=403, code="AccessDenied")  # the look at what arrived fails: nothing is recorded
    with pytest.raises(SecureDeliveryError):
        desk.finish(session, etags)
    assert desk.records.count_files(desk.application.api_key) == 0 and len(desk.bucket.objects) == 1
    assert desk.read(desk.finish(session, etags)) == b"data"


def test_parts_that_are_not_what_was_sent_are_refused_as_often_as_they_are_named(desk: Desk) -> None:
    desk.own_bucket()
    session = desk.begin(4)
    etag = desk.put(session, 1, b"data")
    for _ in range(2):
        with pytest.raises(BadRequest):
            desk.finish(session, [(1, '"0123456789abcdef0123456789abcdef"')])
    assert desk.bucket.objects == {}
    assert desk.read(desk.finish(session, [(1, etag)])) == b"data"


def test_an_unfinished_upload_is_dropped_in_the_bucket_too(desk: Desk) -> None:
    desk.own_bucket()
    given_up, expired, failed = desk.begin(4), desk.begin(4), desk.begin(4)
    desk.put(failed, 1, b"data")
    with pytest.raises(BadRequest):
        desk.finish(failed, [(1, '"wrong"')])
    assert len(desk.bucket.uploads) == 3
    desk.uploads.end(given_up)
    assert len(desk.bucket.uploads) == 2
    desk.now += 25 * 3600
    assert desk.uploads.sweep() == 2 and desk.bucket.uploads == {}
    with pytest.raises(NotFound):
        desk.uploads.get(expired.token)


def test_a_forbidden_type_is_not_kept_in_the_bucket_and_never_replaces_what_was_there(desk: Desk) -> None:
    desk.own_bucket()
    desk.application = desk.records.update_application(desk.application.api_key, allowed_types=("image/*",))
    session = desk.begin(9, path="folder/")
    etags = [(1, desk.put(session, 1, b"%PDF-1.7 "))]
    with pytest.raises(Unsupported):
        desk.finish(session, etags)
    assert desk.bucket.objects == {} and desk.records.count_files(desk.application.api_key) == 0
    exact = desk.begin(9, path="folder/exact.png")
    assert not exact.direct
    desk.send(exact, 1, b"%PDF-1.7 ")
    with pytest.raises(Unsupported):
        desk.finish(exact)
    assert "PutObject" not in desk.bucket.operations()


@pytest.mark.parametrize(
    ("more", "switches", "mode", "size"),
    [
        ({"write_only": "true"}, {}, "parts", 4),
        ({}, {}, "chunks", 4),
        ({}, {}, "stream", 4),
        ({}, {}, "parts", None),
    ],
)
def test_what_a_bucket_cannot_take_by_itself_goes_through_the_server(
    desk: Desk, more: dict[str, str], switches: dict[str, Any], mode: Any, size: int | None
) -> None:
    desk.own_bucket(**more)
    session = desk.begin(size, mode=mode)
    assert not session.direct and desk.bucket.seen == []


def test_a_bucket_that_does_not_answer_begins_nothing(desk: Desk) -> None:
    desk.own_bucket()
    desk.bucket.denied.add("CreateMultipartUpload")
    with pytest.raises(SecureDeliveryError) as caught:
        desk.begin(4)
    assert caught.value.status == 424
    with desk.database.read() as connection:
        assert connection.execute(sa.select(tables.upload)).all() == []
