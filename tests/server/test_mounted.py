"""The server inside somebody else's app, under a prefix: everything works, and nothing of the host's is touched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from live import Server, file_part, free_port, multipart, picture
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from secure_delivery.engine import Engine, build
from secure_delivery.engine.settings import Settings
from secure_delivery.server import create_app

PREFIXES = ["/files", "/deep/er/f%C3%BCr", "/with.dot-and_more"]


async def own(_: object) -> PlainTextResponse:
    return PlainTextResponse("the host's own page")


def host(kind: str, prefix: str, engine: Engine) -> ASGIApp:
    from urllib.parse import unquote

    inner = create_app(engine=engine)
    if kind == "starlette":
        return Starlette(routes=[Route("/own", own), Mount(unquote(prefix), inner)])
    outer = FastAPI()
    outer.add_api_route("/own", lambda: "the host's own page")
    outer.mount(unquote(prefix), inner)
    return outer


class Thread(uvicorn.Server):
    """A server in a thread of this process: mounting is done in code, so it is tested in code."""

    def install_signal_handlers(self) -> None:
        return


@pytest.fixture(scope="module", params=[(kind, prefix) for kind in ("starlette", "fastapi") for prefix in PREFIXES], ids=str)
def mounted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    kind, prefix = request.param
    data: Path = tmp_path_factory.mktemp("mounted") / "data"
    engine = build(Settings.read({"data": str(data), "decoders": 1}))
    port = free_port()
    server = Thread(uvicorn.Config(host(kind, prefix, engine), port=port, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield Server(data=data, port=port, engine=engine, argv=[], env={}), prefix
    finally:
        server.should_exit = True
        thread.join()
        engine.close()


def test_everything_works_under_the_prefix_and_addresses_name_it(mounted: tuple[Server, str]) -> None:
    server, prefix = mounted
    assert server.get("/own").status == 200
    assert server.get(f"{prefix}/health/live").status == 200
    assert server.get(f"{prefix}/health/ready").json()["parts"]["decoders"] is True
    application = server.application(require_policy=True)
    signed = application.sign(expires_in=60, now=time.time())
    query = signed.as_query()
    body, kind = multipart(file_part(picture(40, 20), "a.jpg"))
    stored = server.post(f"{prefix}/api/store/S3?key={application.api_key}&{query}", body, kind)
    assert stored.status == 200, stored.body
    handle = stored.json()["handle"]
    assert stored.json()["url"] == f"{server.url}{prefix}/{handle}"
    address = stored.json()["url"].removeprefix(server.url)
    for target in (
        f"{address}?{query}",
        f"{prefix}/api/file/{handle}?{query}",
        f"{prefix}/{application.api_key}/{signed.as_task()}/{handle}",
        f"{prefix}/resize=width:10/{signed.as_task()}/{handle}",
        f"{prefix}/resize%3Dwidth%3A10%2Fflip/{handle}?{query}",
        f"{prefix}/{handle}/metadata?{query}",
    ):
        assert server.get(target).status == 200, target
    assert server.get(f"{prefix}/{handle}").code == "policy_required"
    assert server.get(f"{prefix}/resize=width:10/{handle}").code == "policy_required"
    assert server.get(f"/{handle}?{query}").status == 404, "without the prefix it is the host's path"
    assert server.request("OPTIONS", f"{prefix}/{handle}", headers={"Origin": "https://a.example"}).status == 204
    assert server.request("TRACE", f"{prefix}/{handle}").code == "method_not_allowed"
    assert server.get(f"{prefix}/nothing/here").json()["error"]["code"]
    assert server.request("DELETE", f"{prefix}/api/file/{handle}?{query}").body == b"success"


def test_a_whitelist_for_uploads_is_found_under_the_prefix(mounted: tuple[Server, str]) -> None:
    from secure_delivery.gate.whitelist import Whitelist

    server, prefix = mounted
    application = server.application(upload_whitelist=Whitelist(["app.example.org"]))
    store = f"{prefix}/api/store/S3?key={application.api_key}"
    for origin, status in (("https://app.example.org", 204), ("https://evil.example.net", 403)):
        assert server.request("OPTIONS", store, headers={"Origin": origin}).status == status
    good = server.request("POST", store, body=b"x", headers={"Origin": "https://app.example.org"})
    assert (good.status, good.headers["access-control-allow-origin"]) == (200, "https://app.example.org")


def test_a_prefix_in_another_spelling_does_not_change_what_a_path_means(mounted: tuple[Server, str]) -> None:
    server, prefix = mounted
    application = server.application(require_policy=True)
    link = server.put(application, b"x")
    query = application.sign(expires_in=60, now=time.time()).as_query()
    spelt = prefix.replace("e", "%65", 1) if "e" in prefix else prefix
    for target in (f"{spelt}/{link.handle}", f"{prefix}//{link.handle}", f"{prefix}{prefix}/{link.handle}"):
        assert server.get(target).status in (400, 403, 404)
        assert server.get(f"{target}?{query}").status in (200, 400, 404)
