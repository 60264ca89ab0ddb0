"""Previews as jobs and beside them, when something is amiss: an application that does not open, webhooks that cannot be
written down, documents without pages, and orders larger than a job."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image
from sqlalchemy.engine import Connection

from secure_delivery.engine import Engine, build, tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.job_records import ENDED, Job
from secure_delivery.engine.job_run import Done, Held, JobRunner
from secure_delivery.engine.local_previews import LocalPreview, LocalPreviews, opened
from secure_delivery.engine.page_work import MOST_PICTURES
from secure_delivery.engine.preview_order import read_order
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import BadRequest, VaultError

LATE = 60.0  # seconds after which a job is not going to end


# -------------------------------------------------------------------------------------------------------------------- jobs


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = build(Settings.read({"data": str(tmp_path / "data"), "job_workers": "1"}))
    yield engine
    engine.close()


def ended(engine: Engine, job: Job) -> Job:
    ends = time.monotonic() + LATE
    while time.monotonic() < ends:
        if (found := engine.jobs.jobs.get(job.id)).state in ENDED:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found.state}, {found.step}, {found.attempts}")


def test_an_application_whose_secrets_do_not_open_stops_no_other(engine: Engine) -> None:
    """Its rows were restored from elsewhere, say. Who takes jobs asks for its limits, and must live on."""
    broken, sound = (engine.records.create_application(name)[0].api_key for name in ("broken", "sound"))
    order, _ = read_order({"url": "http://127.0.0.1/a.png"})
    jobs = [engine.jobs.jobs.submit(key, "preview", order.plain())[0] for key in (broken, sound)]
    with engine.database.write() as connection:
        secret = tables.application_secret
        other = sa.select(secret.c.sealed).where(secret.c.application == sound).scalar_subquery()
        connection.execute(sa.update(secret).where(secret.c.application == broken).values(sealed=other))
        Database.bump(connection)
    with pytest.raises(VaultError):
        engine.records.application(broken)
    engine.jobs.start()
    first, second = (ended(engine, job) for job in jobs)
    assert (first.state, first.error and first.error["code"]) == ("failure", "vault")
    assert (second.state, second.error and second.error["code"]) == ("failure", "source_unavailable")
    later = engine.jobs.submit(sound, "preview", order.plain())[0]
    assert ended(engine, later).state == "failure", "jobs are still taken"


class Speechless:
    """Work that succeeds or fails, and whose webhooks cannot be written down."""

    scratch = True

    def __init__(self, fault: Exception | None) -> None:
        self._fault = fault

    def work(self, held: Held) -> Done:
        if self._fault is not None:
            raise self._fault
        return Done(result={"done": True})

    def report(self, connection: Connection, job: Job, request: Mapping[str, Any], told: Any) -> Sequence[str]:
        raise RuntimeError("no words")


@pytest.mark.parametrize("fault", [None, BadRequest("no"), RuntimeError("no")], ids=["success", "refusal", "fault"])
def test_a_job_ends_though_its_webhooks_cannot_be_written(engine: Engine, tmp_path: Path, fault: Exception | None) -> None:
    key = engine.records.create_application("a")[0].api_key
    (tmp_path / "jobs").mkdir()
    runner = JobRunner(
        engine.jobs.leases,
        {"test": Speechless(fault)},
        requests=engine.jobs.jobs.request,
        deliver=lambda delivery: None,
        place=tmp_path / "jobs",
    )
    job, _ = engine.jobs.jobs.submit(key, "test", {})
    (held,) = engine.jobs.leases.claim("w", 1)
    runner.run(held)
    found = engine.jobs.jobs.get(job.id)
    assert (found.state, found.attempts) == ("success" if fault is None else "failure", 1)
    assert found.purged is not None
    assert list((tmp_path / "jobs").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPreviews]:
    data = tmp_path_factory.mktemp("local")
    with opened(Settings.read({"data": str(data)}), max_pages=100) as previews:
        yield previews


def made(local: LocalPreviews, folder: Path, name: str, data: bytes, **fields: Any) -> tuple[LocalPreview, dict[str, Any]]:
    (folder / name).write_bytes(data)
    order, _ = read_order({"url": "http://local/", **fields})
    (folder / "out").mkdir(exist_ok=True)
    result = local.make(folder / name, order, folder / "out")
    document = {} if result.document is None else json.loads(result.document.read_bytes())
    return result, document


def pages(count: int) -> bytes:
    """A TIFF with so many pages."""
    buffer = io.BytesIO()
    first, *others = (Image.new("L", (8, 8), number % 256) for number in range(count))
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def test_more_pages_than_there_are_and_more_than_may_be(local: LocalPreviews, tmp_path: Path) -> None:
    result, document = made(local, tmp_path, "a.tiff", pages(120), pages="1-999999", sizes=["4"])
    assert result.fault is None
    assert [one["page"] for one in document["thumbnails"]] == list(range(1, 101)), "as many as an application may have"
    assert document["original_file"]["total_pages"] == 120
    result, document = made(local, tmp_path, "a.tiff", pages(3), pages="2-3,900000-999999", sizes=["4"])
    assert [one["page"] for one in document["thumbnails"]] == [2, 3]
    result, document = made(local, tmp_path, "a.tiff", pages(3), pages="7-9", sizes=["4"])
    assert result.pictures == ()
    assert result.fault is None


def test_pages_times_sizes_are_bounded(local: LocalPreviews, tmp_path: Path) -> None:
    sizes = [str(side) for side in range(1, 31)]
    result, document = made(local, tmp_path, "a.tiff", pages(MOST_PICTURES // 30 + 5), pages="all", sizes=sizes)
    assert len(result.pictures) <= MOST_PICTURES
    assert result.fault is not None or "too_large" in [one["code"] for one in document["problems"]["previewers"]]


def test_a_document_without_pages_is_a_stand_in_or_a_sentence(local: LocalPreviews, tmp_path: Path) -> None:
    empty = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF\n"
    )
    for name, data in (("none.pdf", empty), ("empty.bin", b""), ("empty.pdf", b"")):
        for asked in ("1", "all"):
            result, document = made(local, tmp_path, name, data, pages=asked, sizes=["40"])
            assert result.fault is not None or document["previewer"]


def test_a_size_is_no_larger_than_pictures_may_be(local: LocalPreviews, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 1)).save(buffer, "PNG")
    result, document = made(local, tmp_path, "a.png", buffer.getvalue(), sizes=["10000x10000", "x10000", "10000>"])
    assert result.fault is not None or document["thumbnails"]
    for one in document.get("thumbnails", ()):
        assert one["size"]["width"] * one["size"]["height"] <= 200_000_000


def test_every_section_asked_for_is_answered_once(local: LocalPreviews, tmp_path: Path) -> None:
    result, document = made(local, tmp_path, "a.tiff", pages(1), metadata=["checksum", "no_such_section", "all"], sizes=["4"])
    sections = document["original_file"]["metadata"]
    assert result.fault is None
    assert list(sections)[:2] == ["checksum", "no_such_section"]
    assert sections["no_such_section"] is None
    assert len(sections["checksum"]) == 32
