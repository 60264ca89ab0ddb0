"""Stored files: a draft until published, nothing left of what failed, old readers keep the old content."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.engine import Engine, build, open_vault
from secure_delivery.engine.files import MAX_NAME, Files, Target, Upload, clean_name, new_key
from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.storages import Storages
from secure_delivery.gate.errors import BadRequest, Busy, NotFound, StorageFault, TooLarge
from secure_delivery.gate.model import Application, Limits
from secure_delivery.plugin.protocols import Draft, Event


class Place:
    """An engine on a folder, with the events its files told."""

    def __init__(self, data: Path) -> None:
        self.engine: Engine = build(Settings.read({"data": str(data)}))
        self.data = data
        self.events: list[Event] = []
        self.files = self.files_on(LocalStorage(data / "files"))
        self.application, _ = self.engine.records.create_application("test", storage="server")

    def files_on(self, storage: Any, notify: Callable[[Event], None] | None = None) -> Files:
        return Files(
            self.engine.records,
            Storages(
                self.engine.database,
                open_vault(self.engine.settings),
                lambda: 1_700_000_000.5,
                own={"local": storage},
                providers={},
                default="local",
                guard=OutboundGuard(),
            ),
            renditions=self.engine.renditions.store,
            notify=notify or self.events.append,
            clock=lambda: 1_700_000_000.5,
        )

    def put(self, data: bytes = b"content", files: Files | None = None, **target: Any) -> FileLink:
        files = files or self.files
        with files.begin(self.application, Target(**target)) as upload:
            upload.write(data)
            return files.add(self.application, upload)

    def blobs(self) -> list[Path]:
        return [path for path in (self.data / "files").rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "data")
    yield place
    place.engine.close()


class Failing:
    """The local storage with one step that fails, as disks do."""

    def __init__(self, storage: LocalStorage, step: str) -> None:
        self._storage = storage
        self._step = step

    def create(self, key: str, *, mimetype: str) -> Draft:
        if self._step == "create":
            raise StorageFault("the disk is gone")
        draft = self._storage.create(key, mimetype=mimetype)
        return draft if self._step == "remove" else FailingDraft(draft, self._step)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        return self._storage.open(key, start=start, length=length)

    def remove(self, key: str) -> None:
        if self._step == "remove":
            raise StorageFault("the disk is gone")
        self._storage.remove(key)


class FailingDraft:
    def __init__(self, draft: Draft, step: str) -> None:
        self._draft = draft
        self._step = step

    def write(self, data: bytes) -> None:
        if self._step == "write":
            raise StorageFault("the disk is gone")
        self._draft.write(data)

    def publish(self) -> None:
        if self._step == "publish":
            raise StorageFault("the disk is gone")
        self._draft.publish()

    def discard(self) -> None:
        self._draft.discard()


# -------------------------------------------------------------------------------------------------------- taking in


def test_what_was_put_in_is_described_counted_and_given_back(place: Place) -> None:
    link = place.put(b"<html>hello", filename="a.txt", mimetype="image/png", container="c", path="/p/")
    assert (link.size, link.mimetype, link.filename) == (11, "text/html", "a.txt")
    assert (link.container, link.path, link.storage, link.version) == ("c", "/p/", "local", 1)
    assert link.sha256 == hashlib.sha256(b"<html>hello").hexdigest()
    assert link.uploaded == 1_700_000_000_500
    assert place.files.find(link.handle) == link
    with place.files.open(link) as stream:
        assert stream.read() == b"<html>hello"
    with place.files.open(link, start=2, length=4) as stream:
        assert stream.read() == b"tml>"
    assert [event.name for event in place.events] == ["fp.upload"]


def test_nothing_is_visible_before_it_is_recorded_and_nothing_remains_of_what_is_given_up(place: Place) -> None:
    with place.files.begin(place.application, Target()) as upload:
        upload.write(b"x" * 100_000)
        assert place.engine.records.count_files(place.application.api_key) == 0
    assert place.blobs() == []
    assert place.events == []


@pytest.mark.parametrize(("limit", "own"), [(10, 100), (100, 10), (None, 10)])
def test_an_upload_ends_with_the_first_byte_over_the_nearer_limit(place: Place, limit: int | None, own: int) -> None:
    application = place.engine.records.update_application(place.application.api_key, limits=Limits(max_bytes=own))
    with place.files.begin(application, Target(), limit=limit) as upload:
        upload.write(b"x" * 10)
        with pytest.raises(TooLarge):
            upload.write(b"x")
    assert place.blobs() == []


def test_an_empty_file_is_refused_and_leaves_nothing(place: Place) -> None:
    with place.files.begin(place.application, Target()) as upload, pytest.raises(BadRequest, match="empty"):
        place.files.add(place.application, upload)
    assert place.blobs() == []


@pytest.mark.parametrize("target", [{"filename": "a\0b"}, {"container": "\0"}, {"path": "/\ud800"}])
def test_a_text_that_no_database_takes_is_refused_before_anything_is_visible(place: Place, target: dict[str, Any]) -> None:
    # The bytes were published first once, and stayed behind without a record.
    with pytest.raises(BadRequest):
        place.put(**target)
    assert place.blobs() == []


@pytest.mark.parametrize("step", ["create", "write", "publish"])
def test_a_storage_that_fails_at_any_step_leaves_neither_bytes_nor_a_record(place: Place, step: str) -> None:
    files = place.files_on(Failing(LocalStorage(place.data / "files"), step))
    with pytest.raises(StorageFault):
        place.put(files=files)
    assert place.blobs() == []
    assert place.engine.records.count_files(place.application.api_key) == 0
    assert place.events == []


def test_a_database_that_fails_leaves_no_bytes(place: Place) -> None:
    with place.files.begin(place.application, Target()) as upload:
        upload.write(b"content")
        place.engine.database.close()
        (place.data / "secure-delivery.sqlite").chmod(0o400)
        (place.data / "secure-delivery.sqlite").rename(place.data / "elsewhere")
        (place.data / "secure-delivery.sqlite").mkdir()
        with pytest.raises(OperationalError):
            place.files.add(place.application, upload)
    assert place.blobs() == []


def test_an_application_that_was_deleted_meanwhile_gets_no_file_and_no_bytes(place: Place) -> None:
    with place.files.begin(place.application, Target()) as upload:
        upload.write(b"content")
        place.engine.records.delete_application(place.application.api_key)
        with pytest.raises(NotFound):
            place.files.add(place.application, upload)
    assert place.blobs() == []


def test_a_listener_that_fails_does_not_undo_a_stored_file(place: Place) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError("listener")

    link = place.put(files=place.files_on(LocalStorage(place.data / "files"), fail))
    assert place.engine.records.file(link.handle) == link


# ------------------------------------------------------------------------------------------------ changing, removing


def overwrite(place: Place, link: FileLink, data: bytes, files: Files | None = None) -> FileLink:
    files = files or place.files
    with files.begin(place.application, Target(filename=link.filename)) as upload:
        upload.write(data)
        return files.overwrite(link, upload)


def test_overwriting_keeps_handle_name_and_place_and_drops_the_old_bytes(place: Place) -> None:
    link = place.put(b"old", filename="a.txt", container="c", path="/p")
    fresh = overwrite(place, link, b"%PDF-1.7 new")
    assert (fresh.handle, fresh.filename, fresh.container, fresh.path) == (link.handle, "a.txt", "c", "/p")
    assert (fresh.size, fresh.mimetype, fresh.version) == (12, "application/pdf", 2)
    assert fresh.key != link.key
    assert place.files.find(link.handle) == fresh
    assert len(place.blobs()) == 1
    assert [event.name for event in place.events] == ["fp.upload", "fp.overwrite"]


def test_a_reader_that_began_before_reads_the_old_content_to_its_end(place: Place) -> None:
    link = place.put(b"old" * 100_000)
    with place.files.open(link) as stream:
        first = stream.read(3)
        overwrite(place, link, b"new" * 100_000)
        assert first + stream.read() == b"old" * 100_000


def test_the_slower_of_two_overwrites_is_told_so_and_leaves_nothing(place: Place) -> None:
    link = place.put(b"old")
    fresh = overwrite(place, link, b"first")
    with pytest.raises(Busy):
        overwrite(place, link, b"second")
    assert place.files.find(link.handle) == fresh
    assert len(place.blobs()) == 1


def test_of_many_overwrites_at_once_each_is_whole_or_refused_and_one_content_remains(place: Place) -> None:
    link = place.put(b"0" * 1000)
    won: list[FileLink] = []

    def run(number: int) -> None:
        try:
            won.append(overwrite(place, place.files.find(link.handle), str(number).encode() * 1000))
        except Busy:
            pass

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = place.files.find(link.handle)
    assert last.version == len(won) + 1 and last in won
    assert len(place.blobs()) == 1
    with place.files.open(last) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == last.sha256


def test_a_removed_file_is_gone_with_its_bytes_and_removing_again_says_so(place: Place) -> None:
    link = place.put()
    place.files.remove(link)
    assert place.blobs() == []
    with pytest.raises(NotFound):
        place.files.find(link.handle)
    with pytest.raises(NotFound):
        place.files.remove(link)


def test_the_object_in_the_storage_is_kept_when_only_the_service_is_to_forget_it(place: Place) -> None:
    link = place.put()
    place.files.remove(link, keep_blob=True)
    assert len(place.blobs()) == 1
    with pytest.raises(NotFound):
        place.files.find(link.handle)


def test_bytes_that_cannot_be_deleted_now_do_not_keep_the_file_alive(place: Place) -> None:
    link = place.put()
    files = place.files_on(Failing(LocalStorage(place.data / "files"), "remove"))
    files.remove(link)
    with pytest.raises(NotFound):
        place.files.find(link.handle)
    assert (len(place.blobs()), files.sweep(), len(place.blobs())) == (1, 0, 1)
    assert (place.files.sweep(), place.blobs()) == (1, []), "the next start finds what was left"
    assert place.engine.records.blobs_to_delete() == []


def test_what_a_crash_left_between_forgetting_and_deleting_is_deleted_at_the_next_start(place: Place) -> None:
    kept, removed, overwritten = place.put(b"kept"), place.put(b"removed"), place.put(b"old")
    place.engine.records.remove_file(removed.handle, application=removed.application)
    with place.files.begin(place.application, Target()) as upload:
        upload.write(b"new")
        upload.publish()
    fresh = replace(overwritten, key=upload.blob.key, version=2)
    place.engine.records.replace_file(overwritten.handle, fresh)
    assert len(place.blobs()) == 4
    assert place.files.sweep() == 2
    for link, content in ((kept, b"kept"), (fresh, b"new")):
        with place.files.open(link) as stream:
            assert stream.read() == content
    assert len(place.blobs()) == 2


def test_another_process_is_believed_at_once_about_overwritten_and_removed_files(place: Place) -> None:
    other = build(Settings.read({"data": str(place.data)}))
    link = place.put(b"old")
    assert other.files.find(link.handle) == link
    fresh = overwrite(place, link, b"new")
    assert other.files.find(link.handle) == fresh
    place.files.remove(fresh)
    with pytest.raises(NotFound):
        other.files.find(link.handle)
    other.close()


def test_a_storage_whose_plugin_is_gone_is_a_fault_and_not_a_missing_file(place: Place) -> None:
    with pytest.raises(StorageFault, match="gcs"):
        place.files.storage("gcs")


def test_a_storage_that_a_crash_left_drafts_in_is_swept_only_of_old_ones(place: Place) -> None:
    with place.files.begin(place.application, Target()) as upload:
        upload.write(b"still coming")
        assert LocalStorage(place.data / "files").sweep(0, now=2e10) == 0
        assert isinstance(upload, Upload) and len(place.blobs()) == 1


# ---------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        (None, "file"),
        ("", "file"),
        ("   ", "file"),
        ("..", "file"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\picture.png", "picture.png"),
        ("folder/", "file"),
        ("a\r\nSet-Cookie: x=y", "aSet-Cookie_ x=y"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("zero\u200bwidth\ufeff.txt", "zerowidth.txt"),
        ("line\u2028and\u2029paragraph", "lineandparagraph"),
        ("\ud800half", "half"),
        ("e\u0301.txt", "\xe9.txt"),
        (".htaccess", ".htaccess"),
        ("ünïcödé 文件.png", "ünïcödé 文件.png"),
    ],
)
def test_a_name_is_data_without_folders_controls_or_reversed_text(name: str | None, clean: str) -> None:
    assert clean_name(name) == clean


def test_a_long_name_is_cut_to_255_bytes_and_keeps_its_extension() -> None:
    assert clean_name("ä" * 300 + ".jpeg") == "ä" * 125 + ".jpeg"
    assert len(clean_name("a" * 300 + "." + "b" * 300).encode()) == MAX_NAME


@given(name=st.text(max_size=400))
def test_any_name_becomes_one_that_is_safe_to_show_and_stays_as_it_is_then(name: str) -> None:
    clean = clean_name(name)
    assert 0 < len(clean.encode()) <= MAX_NAME
    assert "/" not in clean and "\\" not in clean and clean not in (".", "..")
    assert not {unicodedata.category(character) for character in clean} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert clean_name(clean) == clean


def test_keys_in_a_storage_come_from_the_server_and_are_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 40 and set(key) <= set("0123456789abcdef") for key in keys)


def test_two_applications_with_one_content_share_nothing(place: Place) -> None:
    other, _ = place.engine.records.create_application("other")
    assert isinstance(other, Application)
    mine = place.put(b"same")
    with place.files.begin(other, Target()) as upload:
        upload.write(b"same")
        theirs = place.files.add(other, upload)
    assert mine.handle != theirs.handle and mine.key != theirs.key
    place.files.remove(mine)
    with place.files.open(theirs) as stream:
        assert stream.read() == b"same"
