"""Every request counted once, by a real server, and told to Prometheus and to nobody who should not know."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from live import Server, picture, running
from outside import Outside, ok
from sqlalchemy.engine import URL
from starlette.applications import Starlette
from starlette.routing import Mount

from secure_delivery.engine import build
from secure_delivery.engine.figures import Figure, Stored
from secure_delivery.engine.health import Health, Memory
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.model import Application
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server import create_app
from secure_delivery.server.counting import kind_of
from secure_delivery.server.metrics import lines

TOKEN = "a-token-of-the-tests"
SAMPLE = re.compile(r"([a-z_]+)(?:\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\})? (-?[0-9.e+-]+)")
LATE = 60.0  # seconds after which a job is not going to end


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    scripts = {"/photo.jpg": ok(picture(), "Content-Type: image/jpeg"), "/hook": ok(b"thanks")}
    with Outside(scripts) as outside:
        yield outside


@pytest.fixture(scope="module")
def told(world: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tells its numbers on this machine, applications apart."""
    port = str(world.port)
    settings = {
        "fetch_allow": "127.0.0.1",
        "fetch_ports": port,
        "webhook_allow": "127.0.0.1",
        "webhook_ports": port,
        "job_workers": "1",
        "metrics_applications": "true",
    }
    with running(tmp_path_factory.mktemp("metrics"), settings=settings) as server:
        yield server


def scrape(server: Server, **headers: str) -> dict[str, float]:
    reply = server.get("/metrics", headers)
    assert reply.status == 200, reply.body
    return parsed(reply.body.decode())


def parsed(text: str) -> dict[str, float]:
    """Every sample; the text is what the format allows: a type before its samples, no series twice."""
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            matched = SAMPLE.fullmatch(line)
            assert matched, line
            assert matched[1] in kinds
            assert (kinds[matched[1]] == "counter") == matched[1].endswith("_total")
            series = f"{matched[1]}{{{matched[2]}}}" if matched[2] else matched[1]
            assert series not in found
            found[series] = float(matched[3])
    assert text.endswith("\n")
    return found


class Counted:
    """What the counters of one application have grown by."""

    def __init__(self, server: Server, application: Application) -> None:
        self._server, self._key = server, application.api_key

    def of(self, name: str) -> dict[str, float]:
        start = f'secure_delivery_{name}_total{{application="{self._key}",'
        return {series[len(start) : -1]: value for series, value in scrape(self._server).items() if series.startswith(start)}


def ended(server: Server, application: Application, job: str) -> None:
    ends = time.monotonic() + LATE
    while server.engine.jobs.jobs.get(job, application.api_key).finished is None:
        assert time.monotonic() < ends, "the job did not end"
        time.sleep(0.02)


def test_deliveries_and_uploads_are_counted_with_their_bytes(told: Server) -> None:
    application = told.application()
    counted = Counted(told, application)
    stored = told.post(f"/api/store/S3?key={application.api_key}&filename=a.bin", b"x" * 1000)
    handle = stored.json()["url"].rpartition("/")[2]
    for _ in range(3):
        assert told.get(f"/{handle}").body == b"x" * 1000
    assert told.request("HEAD", f"/{handle}").status == 200
    assert told.get(f"/{handle}/metadata").status == 200
    assert counted.of("requests") == {'kind="delivery"': 4, 'kind="upload"': 1, 'kind="file_api"': 1}
    assert counted.of("answers") == {'status="2xx"': 6}
    sizes = counted.of("body_bytes")
    assert sizes['direction="in"'] == 1000
    assert 3000 < sizes['direction="out"'] < 4500
    now = scrape(told)
    assert now[f'secure_delivery_stored_bytes{{application="{application.api_key}"}}'] == 1000


def test_a_large_file_counts_whole_whoever_sends_it(told: Server) -> None:
    application = told.application()
    link = told.put(application, b"y" * 3_000_000)
    assert len(told.get(f"/{link.handle}").body) == 3_000_000
    assert Counted(told, application).of("body_bytes") == {'direction="out"': 3_000_000}


def test_a_result_is_made_once_then_found_and_then_hot(told: Server) -> None:
    application = told.application()
    link = told.put(application, picture(), "a.jpg")
    for headers in ({}, {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, {}, {}):
        assert told.get(f"/resize=width:50/{link.handle}", headers).status == 200
    counted = Counted(told, application)
    assert counted.of("results") == {'source="made"': 1, 'source="disk"': 1, 'source="hot"': 2}
    assert counted.of("requests") == {'kind="transformation"': 4}


def test_an_answer_from_memory_counts_like_any_other_and_an_unchanged_one_as_such(told: Server) -> None:
    application = told.application()
    link = told.put(application, b"z" * 500)
    tag = told.get(f"/{link.handle}").headers["etag"]
    for headers, status in (({}, 200), ({"If-None-Match": tag}, 304), ({"If-None-Match": '"other"'}, 200)):
        assert told.get(f"/{link.handle}", headers).status == status
    counted = Counted(told, application)
    assert counted.of("answers") == {'status="2xx"': 3, 'status="3xx"': 1}
    assert counted.of("requests") == {'kind="delivery"': 4}
    assert counted.of("body_bytes") == {'direction="out"': 1500}
    assert counted.of("results") == {}, "a stored file is no result"


def test_refusals_are_counted_by_reason_and_for_the_application_that_refused(told: Server) -> None:
    application = told.application(require_policy=True, delivery_whitelist=Whitelist(["good.example"]))
    link = told.put(application, b"x")
    assert told.get(f"/{link.handle}").status == 403
    assert told.get(f"/{link.handle}?policy=e30&signature=00", {"Origin": "https://good.example"}).status == 403
    assert told.get(f"/{link.handle}", {"Origin": "https://bad.example"}).status == 403
    assert told.request("OPTIONS", f"/{link.handle}", headers={"Origin": "https://bad.example"}).status == 403
    wrong = base64.b64encode(f"{application.api_key}:wrong".encode()).decode()
    assert told.get("/v2/previews/", {"Authorization": f"Basic {wrong}"}).status == 401
    counted = Counted(told, application)
    # The fifth is nobody's: a key alone names no one.
    assert counted.of("refusals") == {'reason="missing"': 2, 'reason="bad_signature"': 1, 'reason="origin_not_allowed"': 1}
    assert counted.of("answers") == {'status="4xx"': 4}


def test_names_that_strangers_make_up_become_no_series(told: Server) -> None:
    before = set(scrape(told))
    for number in range(30):
        assert told.post(f"/api/store/S3?key=Anobody{number:016}", b"x").status in (401, 403, 404)
        assert told.get(f"/nothing{number:020}").status == 404
        assert told.get(f"/made-up={number}/x").status in (400, 404)
        told.request(f"VERB{number}", "/")
    grown = set(scrape(told)) - before
    assert len(grown) <= 8
    assert not [series for series in grown if "nobody" in series or "nothing" in series]


def test_a_preview_job_and_its_webhook_are_counted_when_they_end(told: Server, world: Outside) -> None:
    application = told.application()
    secret = application.secrets.signing.value.decode()
    basic = base64.b64encode(f"{application.api_key}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    for path in ("/photo.jpg", "/missing.jpg"):
        body = {"url": world.url(path), "callback_url": world.url("/hook")}
        made = told.post("/v2/previews/", json.dumps(body).encode(), headers)
        assert made.status == 201, made.body
        ended(told, application, made.json()["id"])
    counted = Counted(told, application)
    ends = time.monotonic() + LATE
    while counted.of("webhook_tries") != {'outcome="delivered"': 2}:
        assert time.monotonic() < ends, counted.of("webhook_tries")
    assert counted.of("jobs_ended") == {'kind="preview",state="success"': 1, 'kind="preview",state="failure"': 1}
    (previews,) = counted.of("previews").items()
    assert re.fullmatch(r'family="[a-z]+",previewer="[a-z_-]+"', previews[0]) and previews[1] == 1
    assert counted.of("requests") == {'kind="previews_api"': 2}


def test_health_is_told_beside_the_counters(told: Server) -> None:
    now = scrape(told)
    assert {f'secure_delivery_jobs{{state="{state}"}}' for state in ("waiting", "queued", "started")} <= set(now)
    assert now['secure_delivery_pool_running{pool="transformations"}'] == 1
    assert now['secure_delivery_pool_workers{pool="transformations"}'] == 2
    for layer in ("seccomp", "landlock", "rlimits"):
        assert now[f'secure_delivery_confinement_active{{pool="transformations",layer="{layer}"}}'] == 1
    assert now['secure_delivery_plugin_available{plugin="builtin"}'] == 1
    assert now["process_resident_memory_bytes"] > 10_000_000
    assert now["process_cpu_seconds_total"] > 0


def test_without_a_token_only_direct_requests_of_this_machine_are_answered(told: Server) -> None:
    for host in ("localhost", "127.0.0.1:9", "[::1]:80"):
        assert told.get("/metrics", {"Host": host}).status == 200
    refused: tuple[dict[str, str], ...] = (
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.nip.example"},
    )
    for headers in refused:
        reply = told.get("/metrics", headers)
        assert (reply.status, reply.code) == (403, "not_permitted"), headers
        assert b"secure_delivery_" not in reply.body
    assert told.post("/metrics").status == 405


@pytest.mark.postgres
def test_with_a_token_nobody_else_is_answered_and_processes_tell_the_same(tmp_path: Path, own_postgres_url: URL) -> None:
    database = own_postgres_url.render_as_string(hide_password=False)
    settings = {"metrics_token": TOKEN, "workers": 2}
    with running(tmp_path, database=database, settings=settings) as server:
        refused: tuple[dict[str, str], ...] = ({}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {TOKEN}"})
        for headers in (*refused, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": "Bearer \xe4"}):
            reply = server.get("/metrics", headers)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        link = server.put(server.application(), b"x")
        for _ in range(40):  # by either process
            assert server.get(f"/{link.handle}").status == 200
        shown = {"Authorization": f"bearer {TOKEN}", "X-Forwarded-For": "203.0.113.9"}
        ends = time.monotonic() + LATE
        series = 'secure_delivery_requests_total{kind="delivery"}'
        last = 0.0
        while last != 40:
            assert time.monotonic() < ends, f"{last} of 40"
            now = scrape(server, **shown).get(series, 0.0)
            assert last <= now <= 40, "a counter never goes back, whichever process answers"
            last = now
        assert not [name for name in scrape(server, **shown) if "application=" in name]
        for path, data in server.written():
            assert TOKEN.encode() not in data, path


def test_a_mounted_server_counts_and_writes_down_without_being_told_to_begin(tmp_path: Path) -> None:
    engine = build(Settings.read({"data": str(tmp_path / "data")}))
    app = Starlette(routes=[Mount("/files", create_app(engine=engine))])
    series = 'secure_delivery_requests_total{kind="delivery"}'

    async def ask() -> dict[str, float]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for _ in range(2):
                assert (await client.get("/files/NothingThereNothing1")).status_code == 404
            return parsed((await client.get("/files/metrics")).text)

    try:
        assert anyio.run(ask)[series] == 2
        assert "usage" in {thread.name for thread in threading.enumerate()}
    finally:
        engine.close()
    assert "usage" not in {thread.name for thread in threading.enumerate()}


# --------------------------------------------------------------------------------------------------- without a server


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "other"),
        ("/health/ready", "other"),
        ("/metrics", "other"),
        ("/static/upload.js", "other"),
        ("/upload/KEY", "other"),
        ("/api/capabilities", "other"),
        ("/api/store/S3", "upload"),
        ("/multipart/start", "upload"),
        ("/tus/KEY/TOKEN", "upload"),
        ("/process", "upload"),
        ("/metadata", "upload"),
        ("/api/file/HANDLE", "file_api"),
        ("/HANDLE/metadata", "file_api"),
        ("/api/file/HANDLE/convert", "transformation"),
        ("/v2/previews/", "previews_api"),
        ("/api/v1/webhooks", "api"),
        ("/HANDLE", "delivery"),
        ("/storefront", "delivery"),
        ("//x", "delivery"),
    ],
)
def test_the_kind_of_a_request_is_that_of_its_path(path: str, kind: str) -> None:
    assert kind_of({"path": path}) == kind
    assert kind_of({"path": f"/files{path}", "root_path": "/files"}) == kind


def test_hostile_labels_stay_inside_their_quotes() -> None:
    evil = 'x"} 1\nsecure_delivery_evil 2\\'
    now = Health(jobs={}, pools={}, plugins={evil: True}, process=Memory(None, 0.5, None))
    totals = [Figure(0, evil, "requests", evil, 3), Figure(0, "", "unheard of", "x", 1)]
    found = parsed("\n".join(lines(totals, [Stored(evil, 1, 2)], now, each=True)) + "\n")
    assert sorted(found.values()) == [0.5, 1, 1, 2, 3]
    assert not [series for series in found if series.startswith("secure_delivery_evil")]
