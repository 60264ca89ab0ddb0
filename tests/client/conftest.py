"""For tests of the client: both of it through one door, and what it talks to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Server, picture, running
from outside import Outside, ok

from secure_delivery.client import AsyncClient, Client

sys.path.insert(0, str(Path(__file__).parent))

from recorder import QUICK, Recorder, Shop


class Awaited:
    """`AsyncClient` with the methods of `Client`: each call in an event loop of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._make = lambda: AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in ("url", "sign", "grant"):
            return getattr(self._make(), name)

        def call(*args: Any, **options: Any) -> Any:
            async def calling() -> Any:
                async with self._make() as client:
                    return await getattr(client, name)(*args, **options)

            return asyncio.run(calling())

        return call

    def close(self) -> None:
        return


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind, which are closed after the test."""
    made: list[Any] = []

    def make(base: str, **options: Any) -> Any:
        made.append(request.param(base, **{"retry": QUICK, "timeout": 30.0} | options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


#: What the world outside serves, for the server to fetch.
OUTSIDE_PICTURE = picture(60, 40)


@pytest.fixture(scope="package")
def web() -> Iterator[Outside]:
    with Outside(
        {"/a.jpg": ok(OUTSIDE_PICTURE, "Content-Type: image/jpeg"), "/gone.jpg": ok(b"", status="404 Not Found")}
    ) as outside:
        yield outside


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, web: Outside) -> Iterator[Server]:
    """The real server, as people start it. It may fetch from `web`."""
    with running(tmp_path_factory.mktemp("client"), settings={"fetch_allow": web.at}) as server:
        yield server


@pytest.fixture
def shop(server: Server) -> Shop:
    """An application that needs a policy for everything."""
    application = server.application(require_policy=True)
    return Shop(application.api_key, application.secrets.signing.value)
