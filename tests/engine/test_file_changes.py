"""What people do to files: each change with its entry in the audit log, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from secure_delivery.engine import Engine, build
from secure_delivery.engine.audit import Actor, Entry
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.rendition_store import Rendition, folder_of
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import NotFound

ANN = Actor(id="ac_ann", name="ann@example.org", means="session", address="192.0.2.7")
SHOP, CLUB = "AshopShopShopShopShop1", "AclubClubClubClubClub1"
DAY = 86_400


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    engine = build(Settings.read({"data": str(tmp_path / "data"), "database": database_url}))
    for key in (SHOP, CLUB):
        engine.records.create_application(key, api_key=key)
    yield engine
    engine.close()


def stored(engine: Engine, content: bytes = b"a text") -> FileLink:
    application = engine.records.application(SHOP)
    assert application is not None
    with engine.files.begin(application, Target(filename="note.txt")) as upload:
        upload.write(content)
        return engine.files.add(application, upload)


def content(engine: Engine, link: FileLink) -> bytes:
    with engine.files.open(link) as stream:
        return stream.read()


def newest(engine: Engine) -> Entry:
    return engine.people.audit.page(limit=1)[0]


def make(engine: Engine, link: FileLink) -> None:
    """Keep something that was made of a file."""
    rendition = Rendition(
        key="a" * 64,
        application=SHOP,
        handle=link.handle,
        folder=folder_of(SHOP, link.handle, ""),
        mimetype="image/png",
        filename="note.png",
        size=0,
        created=int(engine.clock() * 1000),
    )
    source = engine.files.open(link)
    with source:
        engine.renditions.store.publish(rendition, source)


def break_log(engine: Engine) -> None:
    """Have the log take no entry any more."""
    with engine.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE audit RENAME TO audit_away"))


def test_a_file_that_a_person_deletes_is_in_the_log_and_gone(engine: Engine) -> None:
    link = stored(engine)
    make(engine, link)
    assert engine.administration.remove_file(ANN, SHOP, link.handle) == link
    entry = newest(engine)
    assert (entry.actor, entry.address, entry.action) == (ANN.id, ANN.address, "file.remove")
    assert (entry.application, entry.subject) == (SHOP, link.handle)
    assert entry.before == {"filename": "note.txt", "type": "text/plain", "size": 6}
    assert entry.after == {"undo": 0, "kept": False}
    assert engine.records.file(link.handle) is None
    assert engine.renditions.of(SHOP, link.handle) == []
    with pytest.raises(NotFound):
        content(engine, link)


def test_a_deletion_that_can_be_undone_is_undone_with_an_entry(engine: Engine) -> None:
    engine.administration.change_application(ANN, SHOP, undo=7 * DAY)
    link = stored(engine)
    engine.administration.remove_file(ANN, SHOP, link.handle)
    assert newest(engine).after == {"undo": 7 * DAY, "kept": False}
    with pytest.raises(NotFound):
        engine.files.find(link.handle)
    assert [each.handle for each in engine.search.page(SHOP, removed=True).files] == [link.handle]

    back = engine.administration.restore_file(ANN, SHOP, link.handle)
    assert newest(engine).action == "file.restore"
    assert newest(engine).subject == link.handle
    assert content(engine, back) == b"a text"
    assert [each.handle for each in engine.search.page(SHOP).files] == [link.handle]


def test_what_is_made_of_a_file_is_dropped_with_an_entry(engine: Engine) -> None:
    link = stored(engine)
    make(engine, link)
    assert len(engine.renditions.of(SHOP, link.handle)) == 1
    assert engine.administration.purge_renditions(ANN, SHOP, link.handle) == 1
    assert (newest(engine).action, newest(engine).after) == ("file.purge", {"results": 1})
    assert engine.renditions.of(SHOP, link.handle) == []
    assert content(engine, link) == b"a text"


def test_an_overwritten_file_is_in_the_log_by_size_and_digest(engine: Engine) -> None:
    link = stored(engine)
    application = engine.records.application(SHOP)
    assert application is not None
    with engine.files.begin(application, Target(filename="note.txt"), over=link) as upload:
        upload.write(b"another text")
        fresh = engine.administration.overwrite_file(ANN, link, upload)
    assert content(engine, engine.files.find(link.handle)) == b"another text"
    entry = newest(engine)
    assert entry.action == "file.overwrite"
    assert entry.before == {"size": 6, "sha256": link.sha256}
    assert entry.after == {"size": 12, "sha256": fresh.sha256}


def test_a_file_that_a_person_puts_in_is_in_the_log(engine: Engine) -> None:
    link = stored(engine)
    engine.administration.uploaded(ANN, link)
    entry = newest(engine)
    assert (entry.actor, entry.action, entry.application, entry.subject) == (ANN.id, "file.upload", SHOP, link.handle)
    assert entry.after == {"filename": "note.txt", "type": "text/plain", "size": 6}


@pytest.mark.parametrize("change", ["remove_file", "restore_file", "purge_renditions"])
@pytest.mark.parametrize("whose", ["another", "nobody"])
def test_a_file_of_another_application_is_not_found_and_nothing_is_written(engine: Engine, change: str, whose: str) -> None:
    link = stored(engine)
    before = engine.people.audit.page()
    key, handle = (CLUB, link.handle) if whose == "another" else (SHOP, "nothing\0")
    with pytest.raises(NotFound):
        getattr(engine.administration, change)(ANN, key, handle)
    assert engine.people.audit.page() == before
    assert content(engine, engine.files.find(link.handle)) == b"a text"


@pytest.mark.parametrize("undo", [0, DAY])
def test_a_deletion_that_cannot_be_written_down_does_not_happen(engine: Engine, undo: int) -> None:
    engine.administration.change_application(ANN, SHOP, undo=undo)
    link = stored(engine)
    make(engine, link)
    break_log(engine)
    with pytest.raises(SQLAlchemyError):
        engine.administration.remove_file(ANN, SHOP, link.handle)
    assert engine.files.find(link.handle) == link
    assert content(engine, link) == b"a text"
    assert len(engine.renditions.of(SHOP, link.handle)) == 1
    assert engine.records.blobs_to_delete() == []


def test_an_overwrite_that_cannot_be_written_down_leaves_the_old_content(engine: Engine) -> None:
    link = stored(engine)
    application = engine.records.application(SHOP)
    assert application is not None
    break_log(engine)
    with engine.files.begin(application, Target(filename="note.txt"), over=link) as upload:
        upload.write(b"another text")
        with pytest.raises(SQLAlchemyError):
            engine.administration.overwrite_file(ANN, link, upload)
    assert engine.files.find(link.handle) == link
    assert content(engine, link) == b"a text"


def test_a_restoring_that_cannot_be_written_down_does_not_happen(engine: Engine) -> None:
    engine.administration.change_application(ANN, SHOP, undo=DAY)
    link = stored(engine)
    engine.administration.remove_file(ANN, SHOP, link.handle)
    break_log(engine)
    with pytest.raises(SQLAlchemyError):
        engine.administration.restore_file(ANN, SHOP, link.handle)
    with pytest.raises(NotFound):
        engine.files.find(link.handle)
