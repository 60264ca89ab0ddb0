"""Pages of files: on both kinds of database the same ones, in order, whole, and cheap however deep."""

from __future__ import annotations

import base64
import json
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.file_search import ORDERS, FileSearch, Page
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.errors import BadRequest

NOW = 1_000_000  # ms since the epoch
SHOP, CLUB = "Ashop", "Aclub"


def file(handle: str, **changes: Any) -> FileLink:
    values: dict[str, Any] = {
        "application": SHOP,
        "filename": f"{handle}.png",
        "mimetype": "image/png",
        "size": 100,
        "storage": "local",
        "key": f"key-{handle}",
        "sha256": "0" * 64,
        "uploaded": 1000,
    }
    return FileLink(handle=handle, **(values | changes))


def fill(database: Database, links: list[FileLink]) -> None:
    """Have these files be there, and no others."""
    with database.write() as connection:
        connection.execute(sa.delete(tables.application))
        for key in (SHOP, CLUB):
            connection.execute(sa.insert(tables.application).values(api_key=key, name=key, settings={}, created=1))
        if links:
            connection.execute(sa.insert(tables.file), [asdict(link) for link in links])


def search(database: Database, **options: Any) -> FileSearch:
    return FileSearch(database, lambda: NOW / 1000, **options)


def pages(look: FileSearch, **question: Any) -> list[Page]:
    """All pages of a question, each begun where the one before ended."""
    found = [look.page(SHOP, **question)]
    while (after := found[-1].next) is not None:
        found.append(look.page(SHOP, after=after, **question))
        assert len(found) < 1000, "it never ends"
    return found


def handles(look: FileSearch, **question: Any) -> list[str]:
    return [link.handle for page in pages(look, **question) for link in page.files]


# -- what is found

FILES = [
    file("a", filename="Zebra.PNG", uploaded=10, size=5, path="/in/zoo/1"),
    file("b", filename="apple.png", uploaded=20, size=50),
    file("c", filename="Übersicht.pdf", mimetype="application/pdf", uploaded=30, size=500, path="/in/100%_sure"),
    file("d", filename="u\N{COMBINING DIAERESIS}bung.jpg", mimetype="image/jpeg", uploaded=30, size=500, storage="st_1"),
    file("B", filename="banana.png", uploaded=30, size=7, container="holidays", held=999),
    file("e", filename="clip.mp4", mimetype="video/mp4", uploaded=40, size=5_000_000_000, expires=NOW + 1),
    file("gone", filename="expired.png", uploaded=50, expires=NOW),
    file("bin1", filename="thrown away.png", uploaded=25, removed=900, expires=NOW + 50, size=9),
    file("bin2", filename="kept from nobody.pdf", mimetype="application/pdf", uploaded=60, removed=800, expires=None),
    file("bin3", filename="too late.png", uploaded=60, removed=1, expires=NOW - 1),
    file("x", application=CLUB, filename="apple.png", uploaded=35, path="/in/zoo/2"),
]
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "the newest first, of one moment by handle": ({}, "e d c B b a"),
    "the oldest first": ({"order": "oldest"}, "a b B c d e"),
    "by name, capitals as small letters, others by their bytes": ({"order": "name"}, "b B e d a c"),
    "the largest first": ({"order": "largest"}, "e d c b B a"),
    "part of a name, whatever its capitals": ({"text": "ZEB"}, "a"),
    "part of a name in capitals that are not ASCII": ({"text": "ÜB"}, "d c"),
    "part of a name, composed or not": ({"text": "u\N{COMBINING DIAERESIS}b"}, "d c"),
    "nothing at all is part of any name": ({"text": ""}, "e d c B b a"),
    "a percent sign is one": ({"text": "%"}, ""),
    "a type": ({"mimetype": "application/pdf"}, "c"),
    "a type in capitals": ({"mimetype": "Application/PDF"}, "c"),
    "a family of types": ({"mimetype": "image/*"}, "d B b a"),
    "a family of types, oldest first": ({"mimetype": "image/*", "order": "oldest"}, "a b B d"),
    "a family of types by name": ({"mimetype": "image/*", "order": "name"}, "b B d a"),
    "a type that is not there": ({"mimetype": "audio/*"}, ""),
    "a storage": ({"storage": "st_1"}, "d"),
    "a container": ({"container": "holidays"}, "B"),
    "what a path begins with": ({"path": "/in/"}, "c a"),
    "a path is no pattern": ({"path": "/in/100%_"}, "c"),
    "a path has capitals": ({"path": "/IN/"}, ""),
    "a handle": ({"handle": "b"}, "b"),
    "a handle has capitals": ({"handle": "B"}, "B"),
    "a handle of another application": ({"handle": "x"}, ""),
    "a handle that none can have": ({"handle": "ä"}, ""),
    "a handle that does not match": ({"handle": "b", "mimetype": "video/mp4"}, ""),
    "from a moment on": ({"since": 30}, "e d c B"),
    "before a moment": ({"until": 30}, "b a"),
    "between moments, by size": ({"since": 20, "until": 40, "order": "largest"}, "d c b B"),
    "no moment": ({"since": 30, "until": 30}, ""),
    "until the beginning of time": ({"until": 0}, ""),
    "sizes, both included": ({"min_size": 7, "max_size": 50}, "B b"),
    "a size beyond 32 bits, largest first": ({"min_size": 2**32, "order": "largest"}, "e"),
    "deleted ones that can be restored": ({"removed": True}, "bin2 bin1"),
    "deleted ones by name": ({"removed": True, "order": "name"}, "bin2 bin1"),
    "deleted ones of a type": ({"removed": True, "mimetype": "image/*"}, "bin1"),
    "everything together": (
        {"text": "B", "mimetype": "image/*", "since": 5, "until": 31, "min_size": 1, "max_size": 500, "order": "name"},
        "B d a",
    ),
}


@pytest.fixture
def filled(database: Database) -> Database:
    fill(database, FILES)
    return database


@pytest.mark.parametrize("most", [20_000, 2], ids=["whole", "little by little"])
@pytest.mark.parametrize("limit", [1, 50])
@pytest.mark.parametrize("name", CASES)
def test_both_databases_answer_a_question_with_the_same_files_in_the_same_order(
    filled: Database, name: str, limit: int, most: int
) -> None:
    question, expected = CASES[name]
    assert handles(search(filled, most=most), limit=limit, **question) == expected.split()


def test_the_table_of_cases_asks_in_every_order_and_by_every_filter() -> None:
    asked = {name for question, _ in CASES.values() for name in question}
    known = set(FileSearch.page.__kwdefaults__) - {"after", "limit"}
    assert known == asked
    assert {question.get("order", "newest") for question, _ in CASES.values()} == set(ORDERS)


def test_a_found_file_is_its_whole_record(filled: Database) -> None:
    assert search(filled).page(SHOP, handle="d").files == (FILES[3],)


def test_names_of_another_languages_database_are_ordered_by_their_bytes_all_the_same(postgres_url: URL) -> None:
    name = f"{postgres_url.database}_swedish"
    address = postgres_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv'")
        except psycopg.Error:
            pytest.skip("this PostgreSQL knows no languages")
        try:
            database = Database(postgres_url.set(database=name).render_as_string(hide_password=False))
            database.migrate()
            fill(database, FILES)
            for question, expected in CASES.values():
                assert handles(search(database), limit=2, **question) == expected.split()
            database.close()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_types_are_listed_once_each_in_order(filled: Database) -> None:
    look = search(filled)
    assert look.types(SHOP) == ["application/pdf", "image/jpeg", "image/png", "video/mp4"]
    assert look.types(SHOP, limit=2) == ["application/pdf", "image/jpeg"]
    assert look.types("Anobody") == []


def test_more_types_of_a_family_than_are_walked_side_by_side_are_found_too(database: Database) -> None:
    fill(database, [file(f"h{number:03}", mimetype=f"image/x-{number:03}", uploaded=number) for number in range(60)])
    assert handles(search(database), mimetype="image/*", limit=7) == [f"h{number:03}" for number in reversed(range(60))]


# -- pages

_NAMES = st.text(st.sampled_from("aAbBzZ äÄßſİıΣσς%_\\'\"🎉é\N{COMBINING ACUTE ACCENT}"), min_size=1, max_size=6)
_TYPES = st.sampled_from(["image/png", "image/jpeg", "image0/x", "application/pdf", "text/plain"])
_FEW = st.integers(0, 6)
_LINKS = st.lists(
    st.builds(
        lambda **values: values,
        handle=st.text(st.sampled_from("abAB01"), min_size=1, max_size=4),
        filename=_NAMES,
        mimetype=_TYPES,
        size=_FEW,
        uploaded=_FEW,
        path=st.none() | st.sampled_from(["/a", "/a/b", "/b%", "/ä/x"]),
        removed=st.sampled_from([None, None, None, 5]),
        expires=st.sampled_from([None, None, None, NOW, NOW + 1]),
        application=st.sampled_from([SHOP, SHOP, SHOP, CLUB]),
    ),
    min_size=6,
    max_size=25,
    unique_by=lambda values: values["handle"],
)
#: Few filters at a time, so that most answers have several pages.
_FILTERS = {
    "text": _NAMES.map(lambda name: name[:2]),
    "mimetype": st.sampled_from(["image/png", "image/*", "image/*", "text/*", "audio/*"]),
    "path": st.sampled_from(["/a", "/a/", "/b%", "/ä"]),
    "since": _FEW,
    "until": _FEW,
    "min_size": _FEW,
    "max_size": _FEW,
}
_QUESTIONS = st.builds(
    lambda base, filters: {**base, **dict(filters)},
    st.fixed_dictionaries(
        {"order": st.sampled_from(ORDERS), "removed": st.sampled_from([False, False, True]), "limit": st.integers(1, 6)}
    ),
    st.lists(st.one_of([st.tuples(st.just(name), values) for name, values in _FILTERS.items()]), max_size=2),
)


def plainly(links: list[FileLink], question: dict[str, Any]) -> list[str]:
    """The same answer by a loop over all files."""

    def fold(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    def small(text: str) -> bytes:
        return "".join(letter.lower() if letter.isascii() else letter for letter in text).encode()

    def wanted(link: FileLink) -> bool:
        kind = question.get("mimetype", link.mimetype)
        return (
            link.application == SHOP
            and (link.removed is not None) == question["removed"]
            and (link.expires is None or link.expires > NOW)
            and fold(question.get("text", "")) in fold(link.filename)
            and (link.mimetype.startswith(kind[:-1]) if kind.endswith("*") else link.mimetype == kind)
            and (link.path or "").startswith(question.get("path", ""))
            and question.get("since", 0) <= link.uploaded < question.get("until", 100)
            and question.get("min_size", 0) <= link.size <= question.get("max_size", 100)
        )

    keys: dict[str, Callable[[FileLink], Any]] = {
        "newest": lambda link: (link.uploaded, link.handle),
        "oldest": lambda link: (link.uploaded, link.handle),
        "name": lambda link: (small(link.filename), link.handle),
        "largest": lambda link: (link.size, link.handle),
    }
    order = question["order"]
    found = sorted(filter(wanted, links), key=keys[order], reverse=order in ("newest", "largest"))
    return [link.handle for link in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(values=_LINKS, questions=st.lists(_QUESTIONS, min_size=1, max_size=6), most=st.sampled_from([1, 3, 20_000]))
def test_all_pages_together_are_what_a_plain_filter_of_all_files_gives(
    database: Database, values: list[dict[str, Any]], questions: list[dict[str, Any]], most: int
) -> None:
    links = [replace(file(each["handle"]), **each) for each in values]
    fill(database, links)
    look = search(database, most=most)
    for question in questions:
        found = pages(look, **question)
        assert [link.handle for page in found for link in page.files] == plainly(links, question)
        assert all(len(page.files) <= question["limit"] for page in found)


def test_a_page_has_at_most_two_hundred_files_and_at_least_one(database: Database) -> None:
    fill(database, [file(f"h{number:04}") for number in range(250)])
    look = search(database)
    assert [len(look.page(SHOP, limit=limit).files) for limit in (10_000, 200, 0, -5)] == [200, 200, 1, 1]
    assert len(look.page(SHOP).files) == 50


def test_a_page_that_ends_with_the_last_file_has_no_next(database: Database) -> None:
    fill(database, [file(f"h{number}") for number in range(4)])
    assert [page.next is None for page in pages(search(database), limit=2)] == [False, True]


def test_what_comes_and_goes_between_pages_neither_hides_nor_repeats_the_rest(database: Database) -> None:
    links = [file(f"h{number}", uploaded=number) for number in range(9)]
    fill(database, links)
    look = search(database)
    first = look.page(SHOP, limit=3)
    assert [link.handle for link in first.files] == ["h8", "h7", "h6"]
    with database.write() as connection:  # the file at which the cursor stands goes, too
        connection.execute(sa.delete(tables.file).where(tables.file.c.handle.in_(["h6", "h4"])))
        connection.execute(sa.insert(tables.file).values(**asdict(file("new", uploaded=99))))
    second = look.page(SHOP, limit=9, after=first.next)
    assert [link.handle for link in second.files] == ["h5", "h3", "h2", "h1", "h0"]


def test_a_search_that_finds_little_stops_says_so_and_goes_on(database: Database) -> None:
    links = [file(f"h{number:03}", uploaded=number) for number in range(100)]
    fill(database, [*links[1:], replace(links[0], filename="needle.png")])
    found = pages(search(database, most=30), text="NEEDLE")
    assert [[link.handle for link in page.files] for page in found] == [[], [], [], ["h000"]]
    assert [page.partial for page in found] == [True, True, True, False]


def test_few_files_of_a_rare_type_are_found_at_once_whatever_the_order(database: Database) -> None:
    links = [file(f"h{number:03}", uploaded=number, size=number) for number in range(100)]
    rare = [replace(link, mimetype="application/x-rare") for link in links[::25]]
    fill(database, [*rare, *(link for link in links if link.handle not in {each.handle for each in rare})])
    for order in ORDERS:
        page = search(database, most=4).page(SHOP, mimetype="application/x-rare", order=order)
        assert (len(page.files), page.next, page.partial) == (4, None, False)


def test_few_files_of_some_dates_or_sizes_or_deleted_ones_are_found_at_once(database: Database) -> None:
    links = [file(f"h{number:03}", uploaded=number, size=number) for number in range(100)]
    links[3] = replace(links[3], removed=1)
    fill(database, links)
    look = search(database, most=10)
    for question in (
        {"since": 50, "until": 55, "order": "name", "text": "h05"},
        {"min_size": 50, "max_size": 54, "order": "name"},
        {"min_size": 50, "max_size": 54, "order": "newest"},
        {"min_size": 50, "max_size": 54, "order": "oldest", "mimetype": "image/*"},
    ):
        page = look.page(SHOP, **question)
        assert (len(page.files), page.next, page.partial) == (5, None, False)
    assert [link.handle for link in look.page(SHOP, removed=True, order="name").files] == ["h003"]


# -- what is refused


@pytest.mark.parametrize(
    "question",
    [
        {"order": "best"},
        {"order": "uploaded; DROP TABLE file"},
        {"mimetype": "image"},
        {"mimetype": "*/*"},
        {"mimetype": "image/%"},
        {"mimetype": "image/png\0"},
        {"text": "a\0b"},
        {"text": "\ud800"},
        {"text": "a" * 256},
        {"handle": "a\0"},
        {"path": "/\ud800"},
        {"container": "\0"},
        {"storage": "\0"},
        {"since": -1},
        {"until": 2**63},
        {"min_size": -1},
        {"max_size": 2**64},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(filled: Database, question: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        search(filled).page(SHOP, **question)


def forged(cursor: str, change: Callable[[list[Any]], object]) -> str:
    values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    change(values)
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[str], str]] = {
    "empty": lambda cursor: "",
    "cut": lambda cursor: cursor[:-3],
    "longer": lambda cursor: cursor + "AAAA",
    "padded": lambda cursor: cursor + "=" * (-len(cursor) % 4 or 4),
    "other letters": lambda cursor: cursor + "é",
    "not JSON": lambda cursor: base64.urlsafe_b64encode(b"hello").decode().rstrip("="),
    "deep": lambda cursor: base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("="),
    "very long": lambda cursor: "A" * 100_000,
    "a number": lambda cursor: base64.urlsafe_b64encode(b"12345").decode().rstrip("="),
    "of no question": lambda cursor: forged(cursor, lambda values: values.__setitem__(0, "")),
    "a text for a number": lambda cursor: forged(cursor, lambda values: values.__setitem__(1, "30")),
    "true for a number": lambda cursor: forged(cursor, lambda values: values.__setitem__(1, True)),
    "a fraction": lambda cursor: forged(cursor, lambda values: values.__setitem__(1, 30.5)),
    "too large": lambda cursor: forged(cursor, lambda values: values.__setitem__(1, 2**63)),
    "negative": lambda cursor: forged(cursor, lambda values: values.__setitem__(1, -1)),
    "no handle": lambda cursor: forged(cursor, lambda values: values.__setitem__(2, None)),
    "a handle with NUL": lambda cursor: forged(cursor, lambda values: values.__setitem__(2, "a\0")),
    "one more value": lambda cursor: forged(cursor, lambda values: values.append(1)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_text_that_is_no_cursor_is_refused(filled: Database, name: str) -> None:
    look = search(filled)
    cursor = look.page(SHOP, limit=1).next
    assert cursor is not None
    assert look.page(SHOP, limit=1, after=forged(cursor, lambda values: None)).files
    with pytest.raises(BadRequest):
        look.page(SHOP, after=FORGERIES[name](cursor))


def test_a_name_of_a_cursor_is_one_that_can_be_stored(filled: Database) -> None:
    look = search(filled)
    cursor = look.page(SHOP, order="name", limit=1).next
    assert cursor is not None
    for name in ("a\0", "\ud800", 5):
        with pytest.raises(BadRequest):
            look.page(SHOP, order="name", after=forged(cursor, lambda values, name=name: values.__setitem__(1, name)))


@pytest.mark.parametrize(
    "other",
    [
        {"order": "oldest"},
        {"order": "name"},
        {"text": "a"},
        {"mimetype": "image/*"},
        {"storage": "local"},
        {"container": "x"},
        {"path": "/"},
        {"handle": "a"},
        {"since": 1},
        {"until": 100},
        {"min_size": 1},
        {"max_size": 100},
        {"removed": True},
    ],
)
def test_a_cursor_of_another_question_is_refused(filled: Database, other: dict[str, Any]) -> None:
    look = search(filled)
    cursor = look.page(SHOP, limit=1).next
    with pytest.raises(BadRequest):
        look.page(SHOP, after=cursor, **other)


def test_a_cursor_of_another_application_is_refused_and_of_another_length_of_pages_taken(filled: Database) -> None:
    look = search(filled)
    cursor = look.page(SHOP, limit=1).next
    with pytest.raises(BadRequest):
        look.page(CLUB, after=cursor)
    assert len(look.page(SHOP, limit=3, after=cursor).files) == 3


# -- how it is found


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """What the database does for each query within the block."""
    explain = "EXPLAIN QUERY PLAN " if database.sqlite else "EXPLAIN "
    seen: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if " FROM file" in statement.replace("\n", " "):
            cursor = connection.connection.cursor()
            cursor.execute(explain + statement, parameters)
            seen.append("\n".join(str(row[-1]) for row in cursor.fetchall()))
            cursor.close()

    sa.event.listen(database.engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", look)


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ({"order": "newest"}, "ix_file_application_uploaded_handle"),
        ({"order": "oldest"}, "ix_file_application_uploaded_handle"),
        ({"order": "name"}, "ix_file_application_name"),
        ({"order": "largest"}, "ix_file_application_size_handle"),
        ({"order": "largest", "min_size": 5}, "ix_file_application_size_handle"),
        ({"order": "newest", "since": 5}, "ix_file_application_uploaded_handle"),
        ({"order": "newest", "mimetype": "image/png"}, "ix_file_application_mimetype_uploaded_handle"),
        ({"order": "oldest", "mimetype": "image/png", "since": 5}, "ix_file_application_mimetype_uploaded_handle"),
        ({"order": "newest", "removed": True}, "ix_file_application_removed"),
    ],
)
def test_a_page_is_read_from_an_index_in_its_order_without_sorting(
    database: Database, question: dict[str, Any], index: str
) -> None:
    removed = 5 if question.get("removed") else None
    fill(database, [file(f"h{number}", uploaded=number, size=number, removed=removed) for number in range(20)])
    look = search(database)
    first = look.page(SHOP, limit=5, **question)
    with plans(database) as seen:
        look.page(SHOP, limit=5, after=first.next, **question)
    walk = seen[-1]
    assert index in walk
    assert "B-TREE" not in walk
    assert "Sort" not in walk


def test_a_writer_does_not_wait_for_who_looks(database: Database) -> None:
    fill(database, [file(f"h{number}", uploaded=number) for number in range(20)])
    written: list[str] = []

    def write(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not written and "FROM file" in statement:  # in the midst of a page
            written.append("begun")
            writer = threading.Thread(target=add)
            writer.start()
            writer.join(60)

    def add() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(tables.file).values(**asdict(file("new", uploaded=99))))
        written.append("done")

    look = search(database)
    look.page(SHOP, text="nothing has this")
    sa.event.listen(database.engine, "after_cursor_execute", write)
    try:
        found = handles(look, text=".png")
    finally:
        sa.event.remove(database.engine, "after_cursor_execute", write)
    assert written == ["begun", "done"]
    assert "new" not in found, "a page is of one moment"
    assert handles(look)[0] == "new"


def test_files_of_an_older_release_are_found_in_every_order(database_url: str) -> None:
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", "secure_delivery:engine/migrations")
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.execute(sa.insert(tables.application).values(api_key=SHOP, name=SHOP, settings={}, created=1))
        connection.execute(sa.insert(tables.file), [asdict(link) for link in FILES if link.application == SHOP])
    database.migrate()
    for name in ("the newest first, of one moment by handle", "the oldest first", "the largest first", "a family of types"):
        question, expected = CASES[name]
        assert handles(search(database), limit=2, **question) == expected.split()
    question, expected = CASES["by name, capitals as small letters, others by their bytes"]
    assert handles(search(database), limit=2, **question) == expected.split()
    database.close()
