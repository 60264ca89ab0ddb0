"""Answers from memory: the same as the long way gives, and never after what they were judged by has changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from counted_server import counted_engine

from secure_delivery.engine import Engine
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Application
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server import create_app

NOW = float(int(time.time()))


class House:
    """A server in this process whose clock is ours, beside a second engine on the same data."""

    def __init__(self, data: Path) -> None:
        self.now = NOW
        self.data = data
        settings = Settings.read({"data": str(data), "decoders": 1})
        self.engine: Engine = replace(counted_engine(settings), clock=lambda: self.now)
        self.other: Engine = counted_engine(settings)
        self.app = create_app(engine=self.engine)
        self.application, _ = self.engine.records.create_application("test", require_policy=True)
        self.link = self.put(b"words")

    def put(self, data: bytes) -> FileLink:
        with self.engine.files.begin(self.application, Target(filename="a.txt")) as upload:
            upload.write(data)
            return self.engine.files.add(self.application, upload)

    def get(self, target: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://files.example.org") as client:
                return await client.request(method, target, headers=headers)

        return anyio.run(ask)

    def signed(self, chain: str = "shout", lasting: int = 7200) -> str:
        application = self.current()
        policy = application.sign(expires_in=lasting, now=self.now, call=["read", "convert"], handle=self.link.handle)
        return f"/{chain}/{self.link.handle}?{policy.as_query()}"

    def current(self) -> Application:
        application = self.engine.records.application(self.application.api_key)
        assert application is not None
        return application

    def runs(self) -> int:
        file = self.data / "runs.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def lose_results(self) -> None:
        """Take the results off the disk behind the server's back: what it still answers with comes from memory."""
        shutil.rmtree(self.data / "renditions" / self.application.api_key)

    def close(self) -> None:
        self.other.close()
        self.engine.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data")
    yield house
    house.close()


def test_the_same_request_gets_the_same_answer_without_the_disk(house: House) -> None:
    target = house.signed()
    first = house.get(target)
    assert (first.status_code, first.content) == (200, b"WORDS")
    house.lose_results()
    again = house.get(target)
    assert (again.status_code, again.content, again.headers) == (200, b"WORDS", first.headers)
    assert house.runs() == 1


def test_a_plain_file_is_remembered_too(house: House) -> None:
    target = house.signed("resize=width:10").replace("resize=width:10/", "")
    first = house.get(target)
    shutil.rmtree(house.data / "files")
    assert (first.status_code, house.get(target).content) == (200, b"words")


def _rotated(house: House) -> None:
    house.other.records.rotate_secret(house.application.api_key)


def _restricted(house: House) -> None:
    house.other.records.update_application(
        house.application.api_key, delivery_whitelist=Whitelist(["a.example"], missing="deny")
    )


def _removed(house: House) -> None:
    house.other.files.remove(house.link)


def _deleted(house: House) -> None:
    house.other.files.remove_application(house.application.api_key)


def _late(house: House) -> None:
    house.now += 7201


@pytest.mark.parametrize(
    ("change", "status"), [(_rotated, 403), (_restricted, 403), (_removed, 404), (_deleted, 404), (_late, 403)]
)
def test_what_is_refused_or_gone_from_now_on_is_so_at_once(house: House, change: Callable[[House], None], status: int) -> None:
    target = house.signed()
    assert [house.get(target).status_code for _ in range(2)] == [200, 200]
    change(house)
    assert house.get(target).status_code == status


def test_an_overwritten_file_and_purged_results_are_made_anew_at_once(house: House) -> None:
    target = house.signed()
    old = [house.get(target) for _ in range(2)][-1]
    with house.other.files.begin(house.application, Target()) as upload:
        upload.write(b"fresh")
        house.other.files.overwrite(house.link, upload)
    new = house.get(target)
    assert (new.content, house.get(target).content) == (b"FRESH", b"FRESH")
    assert new.headers["etag"] != old.headers["etag"]
    assert house.other.renditions.purge(house.link.application, house.link.handle) == 1
    assert (house.get(target).content, house.runs()) == (b"FRESH", 3)


def test_only_a_request_that_is_the_same_in_all_that_is_judged_gets_the_answer(house: House) -> None:
    house.engine.records.update_application(house.application.api_key, delivery_whitelist=Whitelist(["*.example.org"]))
    target, good = house.signed(), {"Origin": "https://a.example.org"}
    assert [house.get(target, good).status_code for _ in range(2)] == [200, 200]
    assert house.get(target, {"Origin": "https://evil.example"}).status_code == 403
    assert house.get(target, {"Referer": "https://evil.example/a"}).status_code == 403
    unsigned = target.partition("?")[0]
    assert house.get(unsigned, good).status_code == 403
    assert house.get(f"{target}&dl=true", good).headers["content-disposition"].startswith("attachment")
    assert house.get(target, good | {"Authorization": "Basic YXBwOnNlY3JldA=="}).status_code == 400
    assert (
        house.get(target, {"Origin": "https://b.example.org"}).headers["access-control-allow-origin"].endswith("b.example.org")
    )
    twice = httpx.Headers([("Origin", "https://a.example.org"), ("Origin", "https://evil.example")])
    assert house.get(target, twice).status_code == 403  # type: ignore[arg-type]


def test_conditions_and_ranges_are_answered_as_ever(house: House) -> None:
    target = house.signed()
    tag = [house.get(target) for _ in range(2)][-1].headers["etag"]
    same = house.get(target, {"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in same.headers and same.headers["cache-control"].startswith("private")
    assert house.get(target, {"If-None-Match": '"other"'}).content == b"WORDS"
    assert house.get(target, {"Range": "bytes=1-2"}).content == b"OR"
    assert house.get(target, {"If-Match": '"other"'}).status_code == 412
    head = house.get(target, method="HEAD")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")
    modified = house.get(target).headers["last-modified"]
    assert house.get(target, {"If-Modified-Since": modified}).status_code == 304
    assert house.get(target, {"If-Modified-Since": modified, "If-None-Match": '"other"'}).status_code == 200


def test_the_age_of_a_remembered_answer_ends_with_the_credential(house: House) -> None:
    target = house.signed(lasting=3700)
    ages = []
    for moment in (0, 50, 200, 3699):
        house.now = NOW + moment
        ages.append(house.get(target).headers["cache-control"])
    assert ages == [f"private, max-age={age}" for age in (3600, 3600, 3500, 1)]
    assert house.runs() == 1


def test_refusals_are_not_remembered(house: House) -> None:
    unsigned = f"/shout/{house.link.handle}"
    assert house.get(unsigned).status_code == 403
    house.engine.records.update_application(house.application.api_key, require_policy=False)
    assert house.get(unsigned).status_code == 200


def test_a_result_is_not_given_from_memory_after_the_days_it_is_kept(house: House) -> None:
    house.engine.records.update_application(house.application.api_key, require_policy=False)
    target = f"/shout/{house.link.handle}"
    assert [house.get(target).status_code for _ in range(2)] == [200, 200]
    house.lose_results()
    house.now = NOW + 31 * 86_400
    assert house.get(target).status_code == 200
    assert house.runs() == 2


def test_a_memory_of_nothing_still_answers(tmp_path: Path) -> None:
    settings = Settings.read({"data": str(tmp_path / "data"), "decoders": 1, "rendition_memory": 0})
    engine = counted_engine(settings)
    house = House.__new__(House)
    house.now, house.data, house.engine, house.other = NOW, settings.data, replace(engine, clock=lambda: NOW), engine
    house.app = create_app(engine=house.engine)
    house.application, _ = engine.records.create_application("test")
    house.link = house.put(b"words")
    assert [house.get(f"/shout/{house.link.handle}").content for _ in range(3)] == [b"WORDS"] * 3
    assert engine.renditions.store.memory.size == 0
    engine.close()
