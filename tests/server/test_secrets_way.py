"""Secrets of applications are taken over plain HTTP from this machine only (security promise 68)."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from live import Server, running


def address_elsewhere() -> str:
    """An address of this machine that is not the loopback one: requests from there look like those of another machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.200", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but the loopback one")
        found = str(probe.getsockname()[0])
    if found.startswith("127."):
        pytest.skip("this machine has no address but the loopback one")
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["usual", "plain_secrets"])
def open_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bool]]:
    """A server that listens everywhere, and whether it is told to take secrets in the clear."""
    settings = {"host": "0.0.0.0", "plain_secrets": str(request.param)}
    with running(tmp_path_factory.mktemp("everywhere"), settings=settings) as server:
        yield server, request.param


def ask(server: Server, host: str, method: str, path: str, shown: str, body: Any = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, server.port, timeout=30)
    headers = {"Authorization": "Basic " + base64.b64encode(shown.encode()).decode(), "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    code = json.loads(text)["error"].get("code", "") if reply.status >= 400 and '"code"' in text else ""
    return reply.status, code


def test_a_secret_in_the_clear_is_taken_from_this_machine_alone(open_server: tuple[Server, bool]) -> None:
    server, plain = open_server
    application, secret = server.engine.records.create_application("shop", require_policy=True)
    handle = server.put(application, b"content", "a.txt").handle
    elsewhere = address_elsewhere()
    wanted = [("GET", f"/{handle}", f"app:{secret}"), ("GET", "/api/v1/webhooks", f"{application.api_key}:{secret}")]
    for method, path, shown in wanted:
        assert ask(server, "127.0.0.1", method, path, shown)[0] == 200
        status, code = ask(server, elsewhere, method, path, shown)
        assert (status, code) == ((200, "") if plain else (403, "https_required")), path


def test_what_carries_no_secret_is_answered_from_elsewhere(open_server: tuple[Server, bool]) -> None:
    server, _ = open_server
    application = server.application()
    handle = server.put(application, b"content", "a.txt").handle
    connection = http.client.HTTPConnection(address_elsewhere(), server.port, timeout=30)
    connection.request("GET", f"/{handle}")
    assert connection.getresponse().read() == b"content"
    connection.close()
