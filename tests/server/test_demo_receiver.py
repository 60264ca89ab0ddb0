"""`serve --demo`: webhooks have somewhere to go at once, and nowhere else that they had not before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Server, make_server

from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import BadRequest


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path)
    server.argv.append("--demo")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.engine.close()


def test_an_event_of_an_upload_arrives_at_the_demo_receiver_and_leaves_a_line(demo: Server) -> None:
    key = next(each.api_key for each in demo.engine.records.applications() if each.name == "demo")
    secret = demo.engine.records.rotate_secret(key)[1]
    url = f"{demo.url}/demo/webhook?key={key}"
    basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
    shown = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    made = demo.post("/api/v1/webhooks", json.dumps({"url": url}).encode(), shown)
    assert made.status == 201, made.body
    done = demo.post(f"/api/v1/webhooks/{made.json()['id']}/test", b"", shown)
    assert (done.json()["state"], done.json()["status"]) == ("delivered", 204)
    assert f"of {key} arrived, and its signature is right" in demo.log.read_text()
    for elsewhere in (f"http://127.0.0.1:{demo.port + 1}/", "http://localhost:22/", f"http://10.0.0.1:{demo.port}/"):
        refused = demo.post("/api/v1/webhooks", json.dumps({"url": elsewhere}).encode(), shown)
        assert refused.status == 400, elsewhere


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/demo/webhook"),
        ("localhost", "http://127.0.0.1:8000/demo/webhook"),
        ("0.0.0.0", "http://127.0.0.1:8000/demo/webhook"),
        ("::1", "http://[::1]:8000/demo/webhook"),
        ("::", "http://[::1]:8000/demo/webhook"),
        ("192.0.2.7", ""),
    ],
)
def test_the_receiver_is_on_this_machine_or_there_is_none(host: str, address: str) -> None:
    assert Settings.read({"host": host, "demo_receiver": True}).demo_webhook == address
    assert Settings.read({"host": host}).demo_webhook == ""


def test_what_the_operator_allows_stays_allowed_beside_it(tmp_path: Path) -> None:
    settings = {"demo_receiver": "true", "webhook_allow": "10.0.0.7:9000", "host": "::1"}
    server = make_server(tmp_path, settings=settings)
    try:
        webhooks = server.engine.webhooks
        webhooks.check_url("http://10.0.0.7:9000/hook")
        webhooks.check_url(server.engine.settings.demo_webhook)
        with pytest.raises(BadRequest):
            webhooks.check_url("http://[::1]:9000/hook")
    finally:
        server.engine.close()
