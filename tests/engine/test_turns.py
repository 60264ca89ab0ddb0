"""Writers of one SQLite database take turns and share commits, and each is still all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from secure_delivery.engine.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'd.sqlite'}")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE word (text TEXT PRIMARY KEY)"))
    yield database
    database.close()


def words(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.text("SELECT text FROM word")).scalars())


def add(database: Database, text: str, *, fail: bool = False) -> None:
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO word VALUES (:text)"), {"text": text})
        if fail:
            raise LookupError(text)


def begun(database: Database) -> tuple[threading.Thread, threading.Event]:
    """A thread that writes `first` and stays in its transaction until the event is set."""
    inside, go = threading.Event(), threading.Event()

    def first() -> None:
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO word VALUES ('first')"))
            inside.set()
            assert go.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    return thread, go


def test_of_many_writers_each_is_there_or_undone_alone(database: Database) -> None:
    def one(number: int) -> bool:
        try:
            add(database, f"w{number}", fail=number % 3 == 0)
        except LookupError:
            return False
        assert f"w{number}" in words(database), "committed before its block ended"
        return True

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(one, range(400)))
    assert words(database) == {f"w{number}" for number, good in enumerate(done) if good}
    assert done.count(False) == 134


def test_writers_that_wait_share_a_commit(database: Database) -> None:
    commits: list[int] = []
    sa.event.listen(database.engine, "commit", lambda connection: commits.append(1))
    writer, go = begun(database)
    threads = [threading.Thread(target=add, args=(database, f"w{n}")) for n in range(20)]
    for thread in threads:
        thread.start()
    while database._turns._waiting < 20:  # they are all in the line
        threading.Event().wait(0.001)
    go.set()
    for thread in (writer, *threads):
        thread.join(30)
    assert words(database) == {"first", *(f"w{n}" for n in range(20))}
    assert len(commits) < 21, "one commit was for several"


def test_closing_commits_what_was_left_to_whoever_comes_next(database: Database) -> None:
    """A writer that leaves its transaction to the one that waits, which turns out to be `close`."""
    writer, go = begun(database)
    closer = threading.Thread(target=database.close)
    closer.start()
    while database._turns._waiting < 1:
        threading.Event().wait(0.001)
    go.set()
    writer.join(30)
    closer.join(30)
    assert database._turns._kept is None
    assert words(database) == {"first"}
    add(database, "after")
    assert words(database) == {"first", "after"}


def test_a_broken_statement_undoes_its_own_writer_only(database: Database) -> None:
    add(database, "there")

    def one(number: int) -> type[BaseException] | None:
        try:
            add(database, "there" if number % 2 else f"w{number}")
        except sa.exc.IntegrityError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(one, range(100)))
    assert ends == [sa.exc.IntegrityError if number % 2 else None for number in range(100)]
    assert words(database) == {"there", *(f"w{number}" for number in range(0, 100, 2))}


def test_a_write_within_a_write_is_refused_at_once(database: Database) -> None:
    with pytest.raises(RuntimeError, match="within a write"), database.write():
        add(database, "inner")
    add(database, "after")
    assert words(database) == {"after"}


def test_a_commit_that_fails_is_told_to_everybody_who_shared_it(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE child (text TEXT REFERENCES word(text) DEFERRABLE INITIALLY DEFERRED)"))
    inside, go = threading.Event(), threading.Event()
    ends: dict[str, BaseException | None] = {}

    def orphan() -> None:  # the foreign key is looked at when the whole is committed
        try:
            with database.write() as connection:
                connection.execute(sa.text("INSERT INTO child VALUES ('nobody')"))
                inside.set()
                assert go.wait(30)
        except sa.exc.IntegrityError as error:
            ends["orphan"] = error

    def good() -> None:
        try:
            add(database, "good")
            ends["good"] = None
        except sa.exc.IntegrityError as error:
            ends["good"] = error

    threads = [threading.Thread(target=orphan), threading.Thread(target=good)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    while database._turns._waiting < 1:
        threading.Event().wait(0.001)
    go.set()
    for thread in threads:
        thread.join(30)
    assert isinstance(ends["orphan"], sa.exc.IntegrityError)
    assert (ends["good"] is None) == (words(database) == {"good"}), "it was told what became of it"
    add(database, "next")
    assert "next" in words(database)
