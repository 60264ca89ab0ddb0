"""Results are handed over under names that derive from the job, inside the job's folder, whatever a file or its parts are
called."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from buckets import READING, Blob, S3Server, bucket_server, bucket_settings, options
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.engine import Engine, build
from secure_delivery.engine.handover import _ALPHABET, Handover, Names, derived_handle, read_result
from secure_delivery.engine.names import MAX_NAME, clean_name
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import BadRequest
from secure_delivery.gate.model import Application

HOSTILE = (
    "../../etc/passwd",
    "..\\..\\windows",
    "/absolute",
    "a/b/c.png",
    "",
    ".",
    "..",
    "CON",
    "nul.txt",
    "x" * 300,
    "文" * 200,
    "🎈" * 120,
    "a\u0301" * 100,
    "line\nbreak\r\nSet-Cookie: a=b",
    "nul\x00byte",
    "\u202egpj.exe",
    "<script>alert(1)</script>",
    "a>b|c?d*e",
    "%2e%2e%2f",
    "metadata.json",
    "~",
    " . ",
    "\udcff\udcfe",
)

hostile_texts = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=300)


# ------------------------------------------------------------------------------------------------------------------ names


@settings(max_examples=300, deadline=None)
@given(hostile_texts, st.lists(hostile_texts, max_size=6))
def test_names_of_results_are_distinct_and_are_names(stem: str, rests: list[str]) -> None:
    names = Names(stem, "metadata.json")
    rests = [*rests, "100x100-1.png", "100x100>-1.png", "original-12.jpeg", "10000x10000>-999999.jpeg"]
    found = [names.of(rest) for rest in rests]
    assert len({name.casefold() for name in (*found, "metadata.json")}) == len(rests) + 1
    for name in found:
        assert name == clean_name(name)
        assert "/" not in name and "\\" not in name
        assert len(name.encode()) <= MAX_NAME
    again = Names(stem, "metadata.json")
    assert [again.of(rest) for rest in rests] == found, "a second run writes the same objects"


@pytest.mark.parametrize("stem", ["文" * 120, "🎈" * 120, "x" * 250, "a\u0301" * 127], ids=["three", "four", "one", "marks"])
def test_however_long_a_name_its_results_are_told_apart_by_size_and_page(stem: str) -> None:
    names = Names(stem)
    for rest in ("100x100-1.png", "100x100-2.png", "200x200>-1.png"):
        assert names.of(rest).endswith("_" + rest.replace(">", "_"))


def test_what_comes_from_inside_a_file_takes_no_name_of_another_result() -> None:
    names = Names("photo", "metadata.json")
    first = names.of("100x100-1.png")
    stolen = [names.of(name) for name in ("100x100-1.png", "100X100-1.PNG", "x/photo_100x100-1.png", "y/metadata.json")]
    assert first == "photo_100x100-1.png"
    assert stolen == [
        "photo_100x100-1~2.png",
        "photo_100X100-1~3.PNG",
        "photo_x_photo_100x100-1.png",
        "photo_y_metadata.json",
    ]


# ---------------------------------------------------------------------------------------------------------------- handles


def test_derived_handles_look_like_handles_and_are_all_different() -> None:
    job = str(uuid.uuid4())
    handles = [derived_handle(job, f"{number}.png") for number in range(20_000)]
    assert len(set(handles)) == len(handles)
    assert all(len(handle) == 20 and set(handle) <= set(_ALPHABET) for handle in handles)
    assert derived_handle(job, "1.png") == handles[1] != derived_handle(str(uuid.uuid4()), "1.png")


def test_the_letters_of_derived_handles_are_spread_evenly() -> None:
    """A chi-square test with 61 degrees of freedom: beyond 130 it is chance once in a million."""
    handles = [derived_handle("3f2b8a9e-9a0e-4f4e-8f43-0d3f9f5f6a11", str(number)) for number in range(10_000)]
    for place in range(20):
        counts = Counter(handle[place] for handle in handles)
        expected = len(handles) / len(_ALPHABET)
        assert sum((counts[letter] - expected) ** 2 / expected for letter in _ALPHABET) < 130


@settings(max_examples=200, deadline=None)
@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_handle_of_any_name_is_a_handle(job: uuid.UUID, name: str) -> None:
    assert len(derived_handle(str(job), name)) == 20


# ------------------------------------------------------------------------------------------------------------- placing


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, bucket: S3Server) -> Iterator[Engine]:
    data = str(tmp_path_factory.mktemp("handover") / "data")
    engine = build(Settings.read({"data": data} | bucket_settings(bucket)))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def application(engine: Engine) -> Application:
    """An application that has no storage of its own."""
    return engine.records.create_application("handover")[0]


@pytest.fixture(scope="module")
def owner(engine: Engine, bucket: S3Server) -> Application:
    """An application with a bucket."""
    made = engine.records.create_application("owner")[0]
    engine.storages.add(made.api_key, "assets", "s3", options(bucket))
    return engine.records.update_application(made.api_key, storage="assets")


@pytest.fixture
def objects(bucket: S3Server) -> Iterator[dict[tuple[str, str], Blob]]:
    """What is in the bucket, which only takes."""
    bucket.objects.clear()
    bucket.denied = READING
    yield bucket.objects
    bucket.denied = frozenset()


@pytest.mark.parametrize("destination", [None, "previews/17"])
def test_every_object_is_in_the_folder_of_the_job(
    engine: Engine, owner: Application, objects: dict[tuple[str, str], Blob], destination: str | None
) -> None:
    handover = Handover(engine.files, owner, str(uuid.uuid4()), destination=destination)
    written = set()
    for stem in HOSTILE:
        names = Names(stem, "metadata.json")
        for rest in ("100x100>-1.png", "../x/y.png", "metadata.json"):
            handover.put(name := names.of(rest), "image/png", [b"x"])
            written.add(name)
    assert destination or len(handover.folder) == 64
    assert {key for _, key in objects} == {f"{destination or handover.folder}/{name}" for name in written}
    assert all(len(key.encode()) <= 1024 for _, key in objects)


def test_a_name_that_was_not_cleaned_is_refused_and_not_written(
    engine: Engine, owner: Application, objects: dict[tuple[str, str], Blob]
) -> None:
    handover = Handover(engine.files, owner, str(uuid.uuid4()))
    for name in ("../a.png", "a/../b", "a\nb", "a\\b", "x/../../y"):
        with pytest.raises(BadRequest):
            handover.put(name, "image/png", [b"x"])
    assert objects == {}


def test_a_holder_that_lost_the_job_publishes_nothing(
    engine: Engine, owner: Application, objects: dict[tuple[str, str], Blob]
) -> None:
    answers = iter([None, LookupError("lost")])

    def check() -> None:
        if error := next(answers):
            raise error

    with pytest.raises(LookupError):
        Handover(engine.files, owner, str(uuid.uuid4()), check=check).put("a.png", "image/png", [b"x"])
    assert objects == {}


def test_headers_go_with_the_object_and_a_bucket_that_only_takes_is_not_read(
    engine: Engine, owner: Application, objects: dict[tuple[str, str], Blob]
) -> None:
    handover = Handover(engine.files, owner, str(uuid.uuid4()), headers={"Cache-Control": "max-age=60"})
    put = handover.put("a.png", "image/png", [b"x", b"y"])
    (blob,) = objects.values()
    assert blob.data == b"xy"
    assert blob.headers["cache-control"] == "max-age=60"
    assert put.size == 2
    assert put.url is not None
    assert put.url.endswith(f"/bucket/{handover.folder}/a.png")
    assert read_result(engine.files, put.plain(), 10) is None


# ---------------------------------------------------------------------------------------------------------------- lent


def test_a_second_run_replaces_what_the_first_one_lent(engine: Engine, application: Application) -> None:
    job = str(uuid.uuid4())
    runs = [Handover(engine.files, application, job).put("a.png", "image/png", [data]) for data in (b"first", b"second")]
    assert runs[0].handle == runs[1].handle
    assert read_result(engine.files, runs[1].plain(), 100) == b"second"
    with engine.database.read() as connection:
        count = connection.execute(sa.text("SELECT count(*) FROM file WHERE handle = :h"), {"h": runs[0].handle}).scalar_one()
    assert count == 1


def test_what_is_lent_has_a_clean_name_and_its_own_bytes(engine: Engine, application: Application) -> None:
    job = str(uuid.uuid4())
    handover = Handover(engine.files, application, job)
    for number, stem in enumerate(HOSTILE):
        name = Names(stem).of("100x100>-1.png")
        data = hashlib.sha256(str(number).encode()).digest()
        put = handover.put(f"{number}-{name}", "image/png", [data])
        link = engine.files.find(str(put.handle))
        assert link.filename == clean_name(link.filename)
        assert read_result(engine.files, put.plain(), 100) == data
        json.dumps(put.plain(), ensure_ascii=False).encode()


def test_results_that_are_gone_read_as_nothing(engine: Engine, application: Application) -> None:
    put = Handover(engine.files, application, str(uuid.uuid4())).put("a.png", "image/png", [b"x"])
    engine.files.remove(engine.files.find(str(put.handle)))
    assert read_result(engine.files, put.plain(), 10) is None
    assert read_result(engine.files, {"handle": "x" * 20}, 10) is None
