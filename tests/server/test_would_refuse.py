"""Policies by kind of request over real sockets: who passes, who is refused, and who is told of as one that would be."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from counted_server import counted_engine
from live import Reply, Server, make_server, picture
from outside import Outside, moved, ok

from secure_delivery.engine import Engine
from secure_delivery.engine.figures import WOULD_REFUSE
from secure_delivery.engine.files import Target
from secure_delivery.engine.reports import WouldRefuse
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import KINDS, Application
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server import create_app

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "required.json").read_text("utf-8"))["cases"]


# ---------------------------------------------------------------------------------------------------------- the table


class Outcome(NamedTuple):
    """What came of a case: the answer, and what its application's report tells."""

    reply: Reply
    report: list[WouldRefuse]
    figures: dict[str, int]


def ask(server: Server, raw: dict[str, Any]) -> tuple[str, Reply]:
    """An application as the case has it, and the request that asks it for what the case asks."""
    switches = {name: tuple(value) if isinstance(value, list) else value for name, value in raw["application"].items()}
    application, secret = server.engine.records.create_application(raw["id"], **switches)
    key, handle = application.api_key, server.put(application, picture(40, 30), "a.jpg").handle
    headers = {name: raw[name] for name in ("origin", "referer") if raw[name] is not None}
    query = ""
    if raw["shows"] in ("policy", "forged"):
        calls = ["pick", "store", "read", "convert", "stat"]
        signed = application.sign(expires_in=600, now=server.engine.clock(), call=calls)
        signature = signed.signature if raw["shows"] == "policy" else "0" * 64
        query = f"policy={signed.encoded}&signature={signature}"
    if raw["shows"] == "secret":
        headers["authorization"] = "Basic " + base64.b64encode(f"app:{secret}".encode()).decode()
    method, path = {
        "upload": ("POST", f"/api/store/S3?key={key}"),
        "delivery": ("GET", f"/{handle}"),
        "conversion": ("GET", f"/resize=width:10/{handle}"),
        "metadata": ("GET", f"/{handle}/metadata"),
        "storing": ("GET", f"/resize=width:10/store/{handle}"),
        "overwriting": ("POST", f"/api/file/{handle}"),
        "deleting": ("DELETE", f"/api/file/{handle}?key={key}"),
        "exif": ("GET", f"/{handle}/metadata?exif=true"),
    }[raw["asks"]]
    target = f"{path}{'&' if '?' in path else '?'}{query}" if query else path
    body = picture(20, 20) if method == "POST" else None
    return key, server.request(method, target, body=body, headers=headers)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """All cases, asked of one server, which writes down what it counted when it ends."""
    server = make_server(tmp_path_factory.mktemp("required"))
    server.start()
    try:
        asked = {raw["id"]: ask(server, raw) for raw in CASES}
        server.stop()
        figures: dict[str, dict[str, int]] = {}
        for figure in server.engine.figures.totals(each=True):
            if figure.name == WOULD_REFUSE:
                figures.setdefault(figure.application, {})[figure.label] = figure.value
        yield {
            name: Outcome(reply, server.engine.reports.of(key), figures.get(key, {})) for name, (key, reply) in asked.items()
        }
    finally:
        server.stop()
        server.engine.close()


@pytest.mark.parametrize("raw", CASES, ids=[raw["id"] for raw in CASES])
def test_table(outcomes: dict[str, Outcome], raw: dict[str, Any]) -> None:
    """The verdicts of the gate's table, and each request that would be refused told of once, under its kinds and its host."""
    reply, report, figures = outcomes[raw["id"]]
    assert (reply.status == 200) is (raw["expect"] == "allow"), reply.body
    if raw["expect"] != "allow":
        assert (reply.status, reply.code) == (403, "policy_required" if raw["shows"] == "nothing" else reply.code)
    assert sorted((one.kind, one.who, one.count) for one in report) == sorted((kind, raw["who"], 1) for kind in raw["reports"])
    assert figures == dict.fromkeys(raw["reports"], 1)


# ------------------------------------------------------------------------------------------------- one server, looked into


class House:
    """A server in this process, whose report can be looked at whenever we want."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.engine: Engine = counted_engine(Settings.read({"data": str(data), "decoders": 1, **settings}))
        self.app = create_app(engine=self.engine)
        self.application = self.made(reported=KINDS)
        self.link = self.put(self.application)

    def made(self, **switches: Any) -> Application:
        return self.engine.records.create_application("test", **switches)[0]

    def put(self, application: Application) -> Any:
        with self.engine.files.begin(application, Target(filename="a.txt")) as upload:
            upload.write(b"words")
            return self.engine.files.add(application, upload)

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://files.example.org") as client:
                return await client.request(method, target, headers=headers, content=body)

        return anyio.run(asked)

    def get(self, target: str, headers: dict[str, str] | None = None) -> int:
        return self.ask("GET", target, headers).status_code

    def report(self, application: Application | None = None) -> dict[tuple[str, str], int]:
        self.engine.reports.flush()
        key = (application or self.application).api_key
        return {(one.kind, one.who): one.count for one in self.engine.reports.of(key)}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data")
    yield house
    house.engine.close()


def test_answers_from_memory_are_counted_each_time_under_the_page_that_asked(house: House) -> None:
    """They are given without a judgement; the report misses none of them."""
    target = f"/shout/{house.link.handle}"
    runs = house.engine.settings.data / "runs.txt"
    for origin, times in (("https://a.example", 3), ("https://b.example", 2)):
        assert [house.get(target, {"Origin": origin}) for _ in range(times)] == [200] * times
    assert [house.get(target) for _ in range(4)] == [200] * 4
    assert len(runs.read_text().splitlines()) == 1
    hot = {(one.name, one.label): one.value for one in _figures(house)}
    assert hot["results", "hot"] == 2 + 1 + 3, "or this test does not test what it says"
    assert house.report() == {("conversion", "a.example"): 3, ("conversion", "b.example"): 2, ("conversion", ""): 4}
    assert hot[WOULD_REFUSE, "conversion"] == 9


def _figures(house: House) -> Any:
    house.engine.usage.flush()
    return house.engine.figures.totals()


def test_an_unchanged_answer_from_memory_is_a_request_too(house: House) -> None:
    first = house.ask("GET", f"/{house.link.handle}")
    again = [house.ask("GET", f"/{house.link.handle}", {"If-None-Match": first.headers["etag"]}) for _ in range(2)]
    assert [answer.status_code for answer in again] == [304, 304]
    assert house.report() == {("delivery", ""): 3}


def test_switching_a_kind_on_or_its_report_off_counts_at_once(house: House) -> None:
    """Also for what was remembered a moment ago."""
    target, key = f"/{house.link.handle}", house.application.api_key
    assert [house.get(target), house.get(target)] == [200, 200]
    house.engine.records.update_application(key, reported=())
    assert [house.get(target), house.get(target)] == [200, 200]
    assert house.report() == {("delivery", ""): 2}
    house.engine.records.update_application(key, reported=("delivery",))
    assert [house.get(target), house.get(target)] == [200, 200]
    assert house.report() == {("delivery", ""): 4}
    house.engine.records.update_application(key, required=("delivery",))
    assert [house.get(target), house.get(target)] == [403, 403]
    assert house.report() == {("delivery", ""): 4}, "whom it really refuses is no longer one whom it would"


def test_a_request_that_is_judged_several_times_is_one_request(tmp_path: Path) -> None:
    """An address from outside is judged before it is asked for, and so is each redirect."""
    with Outside({"/moved": moved("/further"), "/further": moved("/words"), "/words": ok(b"words")}) as web:
        house = House(tmp_path / "data", fetch_allow=["127.0.0.0/8"], fetch_ports=[web.port])
        assert house.get(f"/{house.application.api_key}/shout/{web.url('/moved')}", {"Origin": "https://a.example"}) == 200
        assert [head.split(b" ")[1] for head in web.seen] == [b"/moved", b"/further", b"/words"]
        assert house.report() == {("conversion", "a.example"): 1}
        house.engine.close()


def test_a_source_of_another_application_is_told_to_its_owner(house: House) -> None:
    """Reading it is the owner's business; transforming it is that of whom the URL names."""
    other = house.made(reported=("delivery",))
    target = f"/{house.application.api_key}/shout/{house.put(other).handle}"
    assert [house.get(target, {"Referer": "https://shop.example/x"}) for _ in range(3)] == [200, 200, 200]
    assert house.report() == {("conversion", "shop.example"): 3}
    assert house.report(other) == {("delivery", "shop.example"): 3}


def test_a_request_that_is_refused_after_all_is_not_one_that_was_let_in(house: House) -> None:
    """It passed one judgement and not the next."""
    secured = house.made(require_policy=True)
    assert house.get(f"/{house.application.api_key}/shout/{house.put(secured).handle}") == 403
    assert house.report() == {}


def test_whom_a_whitelist_refuses_is_refused_already(house: House) -> None:
    house.engine.records.update_application(house.application.api_key, delivery_whitelist=Whitelist(["a.example"]))
    target = f"/{house.link.handle}"
    assert house.get(target, {"Origin": "https://b.example"}) == 403
    assert house.get(target, {"Origin": "https://a.example"}) == 200
    assert house.report() == {("delivery", "a.example"): 1}


def test_reporting_changes_no_answer(house: House) -> None:
    """Headers and bytes are those of an open application: pages under watch notice nothing."""
    target = f"/shout/{house.link.handle}"
    watched = [house.ask("GET", target) for _ in range(2)]
    house.engine.records.update_application(house.application.api_key, reported=())
    plain = [house.ask("GET", target) for _ in range(2)]
    assert [(one.content, one.headers) for one in watched] == [(one.content, one.headers) for one in plain]


def test_metrics_tell_how_many_would_be_refused(house: House) -> None:
    house.get(f"/{house.link.handle}")
    headers = {"Host": "127.0.0.1"}
    text = house.ask("GET", "/metrics", headers).text
    assert 'secure_delivery_would_refuse_total{kind="delivery"} 1' in text.splitlines()
