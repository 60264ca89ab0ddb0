"""Both kinds of database keep the same promises: whole transactions, no lost work, one schema, one counter."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from secure_delivery.engine import tables
from secure_delivery.engine.database import Database, Prepared, check_text, newest_revision
from secure_delivery.engine.tables import generation
from secure_delivery.gate.errors import BadRequest, ConfigurationError

MINE = tables.generation.c.name == "applications"
INCREMENT = """
import sys
import sqlalchemy as sa
from secure_delivery.engine.database import Database
from secure_delivery.engine.tables import generation
database = Database(sys.argv[1])
mine = generation.c.name == "applications"
for _ in range(int(sys.argv[2])):
    with database.write() as connection:
        value = connection.execute(sa.select(generation.c.value).where(mine).with_for_update()).scalar_one()
        connection.execute(sa.update(generation).where(mine).values(value=value + 1))
database.close()
"""
MIGRATE = """
import sys
from secure_delivery.engine.database import Database
database = Database(sys.argv[1])
database.migrate()
database.close()
"""
FORK = """
import os, sys
from secure_delivery.engine.database import Database
database = Database(sys.argv[1])
with database.read():
    pass
before = database.generation()
child = os.fork()
if child == 0:
    assert database.generation() == before
    with database.write() as connection:
        database.bump(connection)
    assert database.generation() != before
    database.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert database.generation() != before
with database.write() as connection:
    database.bump(connection)
database.close()
"""


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments])


def together(jobs: list[Callable[[], None]]) -> None:
    """Run all jobs at the same time, each in a thread; raise what any of them raised."""
    faults: list[BaseException] = []
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], None]) -> None:
        try:
            gate.wait()
            job()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def value(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(tables.generation.c.value).where(MINE)).scalar_one())


def insert(connection: sa.Connection, api_key: str, name: str = "n") -> None:
    row = {"api_key": api_key, "name": name, "settings": {}, "created": 0}
    connection.execute(sa.insert(tables.application).values(**row))


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.application.c.api_key).order_by(sa.text("1"))).scalars())


def test_a_block_that_ends_is_committed_and_a_block_that_raises_is_undone(database: Database) -> None:
    with database.write() as connection:
        insert(connection, "kept")
    with pytest.raises(KeyError), database.write() as connection:
        insert(connection, "undone")
        raise KeyError
    assert names(database) == ["kept"]


def test_writing_through_a_reading_connection_is_refused(database: Database) -> None:
    with pytest.raises(DBAPIError), database.read() as connection:
        insert(connection, "x")
    with database.write() as connection:  # and the refusal stays with the block
        insert(connection, "y")
    assert names(database) == ["y"]


def test_one_read_block_sees_one_moment(database: Database) -> None:
    query = sa.select(sa.func.count()).select_from(tables.application)
    with database.read() as reader:
        assert reader.execute(query).scalar_one() == 0
        with database.write() as writer:
            insert(writer, "a")
        assert reader.execute(query).scalar_one() == 0
    assert names(database) == ["a"]


def test_unfinished_work_is_invisible_and_does_not_block_readers(database: Database) -> None:
    with database.write() as writer:
        insert(writer, "a")
        assert names(database) == []


def test_five_threads_and_two_processes_counting_at_once_lose_nothing(database: Database, database_url: str) -> None:
    def count() -> None:
        for _ in range(20):
            with database.write() as connection:
                read = connection.execute(sa.select(tables.generation.c.value).where(MINE).with_for_update()).scalar_one()
                connection.execute(sa.update(tables.generation).where(MINE).values(value=read + 1))

    before = value(database)
    others = [start(INCREMENT, database_url, "20") for _ in range(2)]
    together([count] * 5)
    assert [other.wait() for other in others] == [0, 0]
    assert value(database) - before == 7 * 20


def test_five_threads_inserting_at_once_lose_nothing(database: Database) -> None:
    def work(number: int) -> Callable[[], None]:
        def insert_twenty() -> None:
            for count in range(20):
                with database.write() as connection:
                    insert(connection, f"a{number}-{count}")

        return insert_twenty

    together([work(number) for number in range(5)])
    assert len(names(database)) == 100


def test_the_counter_stands_still_until_a_change_is_committed(database: Database) -> None:
    before = database.generation()
    with database.write() as connection:
        insert(connection, "not announced")
    assert database.generation() == before
    with pytest.raises(KeyError), database.write() as connection:
        database.bump(connection)
        raise KeyError
    assert database.generation() == before
    with database.write() as connection:
        database.bump(connection)
        assert database.generation() == before
    assert database.generation() != before


def test_the_counter_is_seen_by_other_objects_and_other_processes(database: Database, database_url: str) -> None:
    other = Database(database_url)
    before = other.generation()
    with database.write() as connection:
        database.bump(connection)
    between = other.generation()
    assert start(INCREMENT, database_url, "1").wait() == 0
    assert len({before, between, other.generation()}) == 3
    other.close()


def test_changes_of_files_are_counted_apart_from_those_of_applications(database: Database) -> None:
    applications, files = database.generation(), database.generation("files")
    with database.write() as connection:
        database.bump(connection, "files")
    assert database.generation() == applications
    assert database.generation("files") != files


def test_many_threads_may_ask_for_the_counter(database: Database) -> None:
    before, seen = database.generation(), set[object]()
    together([lambda: seen.add(database.generation())] * 8)
    assert seen == {before}


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_connections_that_the_server_ended_are_replaced(database: Database) -> None:
    before = database.generation()
    with database.write() as connection:
        mine = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(mine)
    assert database.generation() == before
    assert names(database) == []


@pytest.mark.parametrize("ask", ["generation", "read", "write"])
def test_a_server_that_is_away_is_told_in_one_way_by_whatever_asks_it(ask: str) -> None:
    database = Database("postgresql+psycopg://user:marker-pw@127.0.0.1:1/name")
    with pytest.raises(OperationalError) as caught:
        if ask == "generation":
            database.generation()
        else:
            getattr(database, ask)().__enter__()
    assert "marker-pw" not in str(caught.value)


def test_a_forked_process_gets_connections_of_its_own(database: Database, database_url: str) -> None:
    assert start(FORK, database_url).wait() == 0
    assert database.generation() == value(database)


def test_a_closed_database_opens_again(database: Database) -> None:
    before = database.generation()
    database.close()
    database.close()
    assert database.generation() == before


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite cannot be asked for those; test_file_search does
def test_migrating_from_empty_makes_exactly_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_bytes_of_results_that_an_older_release_kept_in_a_storage_are_noted_to_be_deleted(database_url: str) -> None:
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", "secure_delivery:engine/migrations")
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        insert(connection, "Aone")
        for number in range(3):
            values = f"'Aone', 'key{number}', NULL, 'local', 'blob{number}', 'image/png', 'a.png', 1, 1"
            connection.execute(sa.text(f"INSERT INTO rendition VALUES ({values})"))
    database.migrate()
    with database.read() as connection:
        noted = connection.execute(sa.select(tables.blob_to_delete).order_by("key")).all()
    assert noted == [("local", "blob0"), ("local", "blob1"), ("local", "blob2")]
    assert "rendition" not in sa.inspect(database.engine).get_table_names()
    database.close()


def test_the_number_of_the_newest_step_is_what_the_steps_themselves_say() -> None:
    config = Config()
    config.set_main_option("script_location", "secure_delivery:engine/migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == newest_revision()


def test_a_schema_that_is_the_newest_is_opened_without_the_machinery_that_brings_it_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'service.db'}"
    first = Database(url)
    first.migrate()
    first.close()
    code = "import sys; from secure_delivery.engine.database import Database\nDatabase(sys.argv[1]).migrate()\n"
    code += "print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_column_in_the_database_states_why_it_exists(database: Database) -> None:
    inspector = sa.inspect(database.engine)
    found = {(table, column["name"]) for table in inspector.get_table_names() for column in inspector.get_columns(table)}
    stated = {
        (table.name, column.name)
        for table in tables.metadata.tables.values()
        for column in table.columns
        if len(column.info.get("reason", "")) > 10
    }
    assert found - {("alembic_version", "version_num")} == stated


def test_a_column_without_a_reason_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="no reason"):
        tables.column("content", sa.LargeBinary, reason=" ")


def test_migrating_again_changes_nothing_and_says_nothing(
    database: Database, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with database.write() as connection:
        insert(connection, "kept")
    before = database.generation()
    database.migrate()
    assert (names(database), database.generation()) == (["kept"], before)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname not in ("INFO", "DEBUG")] == []


def test_three_threads_and_two_processes_may_migrate_an_empty_database_at_once(database_url: str) -> None:
    others = [start(MIGRATE, database_url) for _ in range(2)]
    own = [Database(database_url) for _ in range(3)]
    together([each.migrate for each in own])
    assert [other.wait() for other in others] == [0, 0]
    assert [value(each) for each in own] == [1, 1, 1]
    for each in own:
        each.close()


def test_a_schema_of_a_newer_release_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="schema"):
        database.migrate()
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_row_without_its_application_is_refused_and_goes_with_it(database: Database) -> None:
    row: dict[str, Any] = {"id": "s", "number": 1, "sealed": "x", "state": "active", "until": None, "created": 0}
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(sa.insert(tables.application_secret).values(application="nobody", **row))
    with database.write() as connection:
        insert(connection, "a")
        connection.execute(sa.insert(tables.application_secret).values(application="a", **row))
        connection.execute(sa.delete(tables.application))
        assert connection.execute(sa.select(tables.application_secret)).all() == []


def test_no_third_counter_can_be_made(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(sa.insert(tables.generation).values(name="weather", value=1))


def test_database_faults_do_not_show_the_values_they_were_about(database: Database) -> None:
    with database.write() as connection:
        insert(connection, "a")
    with pytest.raises(IntegrityError) as caught, database.write() as connection:
        insert(connection, "a", name="marker-7f3a")
    assert "marker-7f3a" not in str(caught.value)


def test_a_fault_inside_a_block_gives_its_connection_back(database: Database) -> None:
    for _ in range(40):  # more than the pool holds
        with pytest.raises(DBAPIError), database.write() as connection:
            connection.execute(sa.text("SELECT nonsense FROM nowhere"))
    assert names(database) == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff"])
def test_texts_that_one_of_the_databases_cannot_store_are_the_clients_fault(text: str) -> None:
    with pytest.raises(BadRequest):
        check_text("fine", None, text)


@pytest.mark.parametrize("text", ["", "ä", "\U0001f600", "\u202e", "\x01\x7f\x85", "\ufffe"])
def test_every_other_text_is_stored_as_it_is(database: Database, text: str) -> None:
    check_text(text)
    with database.write() as connection:
        insert(connection, "a", name=text)
    with database.read() as connection:
        assert connection.execute(sa.select(tables.application.c.name)).scalar_one() == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x.db?uri=true",
        "sqlite:////no/such/folder/x.db",
        "sqlite+aiosqlite:///x.db",
        "mysql://user:marker-pw@host/name",
        "postgresql://user:marker-pw@host/name",
        "postgresql+asyncpg://user:marker-pw@host/name",
        "postgresql+psycopg://user:marker-pw@host:port/name",
    ],
)
def test_addresses_that_cannot_work_are_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database") as caught:
        Database(url)
    assert "marker-pw" not in str(caught.value)


def test_a_server_that_is_not_there_is_a_configuration_fault_without_the_password() -> None:
    database = Database("postgresql+psycopg://user:marker-pw@127.0.0.1:1/name")
    with pytest.raises(ConfigurationError, match="database") as caught:
        database.migrate()
    assert "marker-pw" not in str(caught.value)
    assert "marker-pw" not in repr(database)


def test_sqlite_connections_are_durable_wiped_and_checked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1, "trusted_schema": 0}
    for block in (database.read, database.write, database.read):
        with block() as connection:
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted}
            assert found == wanted
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() >= 5000
    database.close()


def test_a_sqlite_writer_waits_for_another_process_and_gives_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "service.db"
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE word (text TEXT)"))
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("secure_delivery.engine.database_sqlite._BUSY", 0.05)
    with pytest.raises(OperationalError, match="locked"), database.write():
        pytest.fail("there is another writer")
    monkeypatch.undo()
    timer = threading.Timer(0.3, other.execute, ("COMMIT",))
    timer.start()
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO word VALUES ('waited')"))
    timer.join()
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT text FROM word")).scalars().all() == ["waited"]
    other.close()
    database.close()


def test_readers_cannot_write_and_a_writer_keeps_its_connection(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    seen = []
    for _ in range(3):
        with database.write() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS word (text TEXT)"))
            seen.append(connection.connection.dbapi_connection)
        with database.read() as connection, pytest.raises(DBAPIError, match="readonly"):
            connection.execute(sa.text("INSERT INTO word VALUES ('x')"))
    assert seen[0] is seen[1] is seen[2]
    database.close()
    with database.write() as connection:
        assert connection.connection.dbapi_connection is not seen[0]
    database.close()


def test_sqlite_files_are_for_their_owner_only(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    database.migrate()
    files = {path.name: path.stat().st_mode & 0o7777 for path in tmp_path.iterdir()}
    assert files == {"service.db": 0o600, "service.db-wal": 0o600, "service.db-shm": 0o600}
    database.close()


def test_an_existing_sqlite_file_is_opened_and_a_foreign_one_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    database.migrate()
    database.close()
    (tmp_path / "foreign.db").write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite:///{tmp_path / 'foreign.db'}")
    with pytest.raises(ConfigurationError):
        database.migrate()
    database.close()


def test_deleted_rows_leave_nothing_in_the_sqlite_files(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    database.migrate()
    with database.write() as connection:
        insert(connection, "a", name="marker-51c7")
    with database.write() as connection:
        connection.execute(sa.delete(tables.application))
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["service.db"]
    assert b"marker-51c7" not in (tmp_path / "service.db").read_bytes()


def test_a_sqlite_writer_waits_for_its_turn_instead_of_failing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    database.migrate()
    other = sqlite3.connect(tmp_path / "service.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    with database.write() as connection:
        insert(connection, "a")
    release.join()
    other.close()
    assert names(database) == ["a"]
    database.close()


def test_a_prepared_query_sees_what_is_committed_at_the_moment(database: Database) -> None:
    number = generation.c.value
    ask = Prepared(sa.select(generation.c.name, number).where(generation.c.name == sa.bindparam("mine")))
    for _ in range(3):
        before = database.first(ask, mine="files")
        assert before is not None
        with database.write() as connection:
            database.bump(connection, "files")
            assert database.first(ask, mine="files") == before
        assert database.first(ask, mine="files") == ("files", before[1] + 1)
    assert database.first(ask, mine="nothing' OR 1=1 --") is None


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_prepared_query_after_the_server_ended_the_connection(database: Database) -> None:
    ask = Prepared(sa.select(generation.c.name).where(generation.c.name == sa.bindparam("mine")))
    assert database.first(ask, mine="files") == ("files",)
    with database.write() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(sa.text(f"{others} AND pid <> pg_backend_pid()"))
    assert database.first(ask, mine="files") == ("files",)
