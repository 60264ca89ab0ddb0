"""Writers that share a commit, when things end badly: a full disk, Ctrl-C, a connection that is gone, a fork, a crowd."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from secure_delivery.engine.database import Database

ENOUGH = 30.0  # seconds after which something hangs


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'd.sqlite'}")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE word (text TEXT PRIMARY KEY, more TEXT) WITHOUT ROWID"))
    yield database
    database.close()


def words(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.text("SELECT text FROM word")).scalars())


def put(connection: Connection, text: str, size: int = 0) -> None:
    connection.execute(sa.text("INSERT INTO word VALUES (:text, :more)"), {"text": text, "more": "x" * size})


def no_more_pages(connection: Connection) -> None:
    """From here on the disk is full, as far as this connection can tell."""
    pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()
    connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))


def together(database: Database, *blocks: Callable[[Connection], object]) -> list[BaseException | None]:
    """Run blocks in one shared transaction, the first of which waits until the others are in the line; how each ended."""
    inside, go = threading.Event(), threading.Event()
    ends: list[BaseException | None] = [None] * len(blocks)

    def run(number: int) -> None:
        try:
            with database.write() as connection:
                blocks[number](connection)
                if number == 0:
                    inside.set()
                    assert go.wait(ENOUGH)
        except BaseException as error:
            ends[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(blocks))]
    threads[0].start()
    assert inside.wait(ENOUGH)
    for number, thread in enumerate(threads[1:], 1):
        thread.start()
        while database._turns._waiting < number:
            threading.Event().wait(0.001)
    go.set()
    for thread in threads:
        thread.join(ENOUGH)
        assert not thread.is_alive()
    return ends


def test_a_disk_that_is_full_is_told_to_everybody_whose_writes_went_with_it(database: Database) -> None:
    def first(connection: Connection) -> None:
        put(connection, "first")
        no_more_pages(connection)

    ends = together(database, first, lambda connection: put(connection, "second", 100_000))
    assert all(isinstance(end, OperationalError) and "full" in str(end) for end in ends), "nobody is told of a success"
    assert words(database) == set()
    with database.write() as connection:
        connection.execute(sa.text("PRAGMA max_page_count = 1073741823"))
        put(connection, "next")
    assert words(database) == {"next"}


def test_who_swallows_the_error_of_a_full_disk_is_told_at_the_end(database: Database) -> None:
    def stubborn(connection: Connection) -> None:
        no_more_pages(connection)
        with pytest.raises(OperationalError):
            put(connection, "large", 100_000)
        connection.execute(sa.text("SELECT 1"))

    for blocks in ([stubborn], [lambda connection: put(connection, "first"), stubborn]):
        ends = together(database, *blocks)
        assert all(isinstance(end, OperationalError) for end in ends)
        assert words(database) == set()
        with database.write() as connection:
            connection.execute(sa.text("PRAGMA max_page_count = 1073741823"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit, MemoryError, LookupError])
def test_whatever_ends_a_block_undoes_it_alone(database: Database, error: type[BaseException]) -> None:
    def broken(connection: Connection) -> None:
        put(connection, "broken")
        raise error

    ends = together(database, lambda connection: put(connection, "first"), broken, lambda connection: put(connection, "third"))
    assert [type(end) for end in ends] == [type(None), error, type(None)]
    assert words(database) == {"first", "third"}


def test_an_interrupt_of_one_is_no_interrupt_of_others(database: Database) -> None:
    def interrupted(connection: Connection) -> None:
        connection.connection.dbapi_connection.rollback()  # type: ignore[union-attr]
        raise KeyboardInterrupt

    ends = together(database, lambda connection: put(connection, "first"), interrupted)
    assert isinstance(ends[0], OperationalError)
    assert isinstance(ends[1], KeyboardInterrupt)
    assert words(database) == set()


def test_a_connection_that_is_lost_is_told_to_all_and_hinders_nobody_later(database: Database) -> None:
    ends = together(database, lambda connection: put(connection, "first"), lambda connection: connection.invalidate())
    assert all(isinstance(end, Exception) for end in ends)
    with database.write() as connection:
        put(connection, "after")
    assert words(database) == {"after"}


def test_who_waits_for_a_turn_and_is_interrupted_leaves_nobody_waiting(database: Database) -> None:
    """The lock that is waited for raises in the thread that waits, as it does on Ctrl-C in a main thread."""
    turns = database._turns

    class Interrupted:
        """Raises for a thread of that name, once the holder has left the transaction to it."""

        def __init__(self, lock: threading.Lock) -> None:
            self.lock, self.left = lock, threading.Event()

        def acquire(self, blocking: bool = True) -> bool:
            if threading.current_thread().name == "interrupted":
                assert self.left.wait(ENOUGH)
                raise KeyboardInterrupt
            return self.lock.acquire(blocking)

        def release(self) -> None:
            self.lock.release()
            self.left.set()

    turns._turn = Interrupted(turns._turn)  # type: ignore[assignment]
    ended: list[BaseException] = []

    def late() -> None:
        try:
            with database.write() as connection:
                put(connection, "late")
        except KeyboardInterrupt as error:
            ended.append(error)

    thread = threading.Thread(target=late, name="interrupted")
    with database.write() as connection:
        put(connection, "first")
        thread.start()
        while turns._waiting < 1:
            threading.Event().wait(0.001)
    thread.join(ENOUGH)
    assert ended and turns._waiting == 0
    assert words(database) == {"first"}, "committed, though who was to come next never came"


def test_a_process_that_was_forked_within_a_transaction_has_turns_of_its_own(database: Database) -> None:
    with database.write() as connection:
        put(connection, "parent")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                database.engine  # noqa: B018 - renews what belongs to the parent
                code = 0 if database._turns._writer == 0 and database._turns._turn.acquire(blocking=False) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert words(database) == {"parent"}


def test_fifty_threads_end_and_what_they_were_told_is_true(database: Database) -> None:
    def one(number: int) -> bool:
        for turn in range(4):
            try:
                with database.write() as connection:
                    put(connection, f"{number}-{turn}")
                    if (number + turn) % 5 == 0:
                        raise KeyboardInterrupt if number % 2 else LookupError
            except (KeyboardInterrupt, LookupError):
                continue
        return True

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(one, range(50), timeout=120))
    wanted = {f"{number}-{turn}" for number in range(50) for turn in range(4) if (number + turn) % 5}
    assert words(database) == wanted
    assert database._turns._waiting == 0
    assert not database._turns._turn.locked()
