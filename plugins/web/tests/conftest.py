"""A confined worker with this plugin, a web server with pages, and the short ways to use both."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Media, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind
from secure_delivery_web import transformations

TASKS = transformations()


class Site:
    """A web server on loopback: pages by path, and the paths that were asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.asked: list[str] = []
        self.agents: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.agents.append(self.headers.get("User-Agent", ""))
                kind, body = site.pages.get(self.path, ("", b""))
                if kind == "redirect":
                    self.send_response(302)
                    self.send_header("Location", body.decode())
                else:
                    self.send_response(200 if kind else 404)
                    self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(0 if kind == "redirect" else len(body)))
                self.end_headers()
                self.wfile.write(b"" if kind == "redirect" else body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    with Sandbox(1, plugins=PluginChoice(), limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def confined(sandbox: Sandbox) -> Callable[..., tuple[MemoryFile, dict[str, Any]]]:
    """Run one task in the worker: the result, and what it said besides."""

    def run(name: str, medias: list[MemoryFile], port: int | None = None, **options: Any) -> tuple[MemoryFile, dict[str, Any]]:
        with ExitStack() as stack:
            *inputs, output = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(len(medias) + 1))
            sources = []
            for file, media in zip(inputs, medias, strict=True):
                file.write(media.data)
                file.flush()
                sources.append(ChainSource(file.fileno(), media.mimetype, media.filename))
            tasks = [(name, dict(bind(TASKS[name], **options)))]
            outcome = sandbox.run(Chain(tasks=tasks, sources=sources, output=output.fileno(), proxy_port=port))
            output.seek(0)
            return MemoryFile(output.read(), outcome.mimetype, outcome.filename), dict(outcome.extra)

    return run


@pytest.fixture(scope="session")
def run() -> Callable[..., Media]:
    """Run one task in this process."""

    def run(name: str, *medias: Media, limits: WorkLimits | None = None, **options: Any) -> Media:
        shop = SimpleWorkshop(limits=limits or WorkLimits(), others=medias[1:])
        return TASKS[name].apply(medias[0], bind(TASKS[name], **options), shop)

    return run
