"""The portal for the tests of this folder, and people who look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from guests import MovedClock
from live import Server, make_server
from portal_site import Site, pages

from secure_delivery.engine import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def site(server: Server) -> Site:
    """The portal of the server that all tests share."""
    return Site(server)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens a page of the portal as somebody who is signed in: `visit(path, role=…)`; nobody with `role=None`."""
    with pages(browser, site) as opened:
        yield opened


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, MovedClock]]:
    """A server whose clock is moved, and its clock."""
    server = make_server(tmp_path_factory.mktemp("moved"), runner="uvicorn", factory="guests:application")
    clock = MovedClock(server.data)
    settings = server.engine.settings
    server.engine.close()
    server.engine = build(settings, clock=clock)
    with contextlib.ExitStack() as stack:
        stack.callback(server.engine.close)
        stack.callback(server.stop)
        server.start()
        yield server, clock


@pytest.fixture
def clock(moved: tuple[Server, MovedClock]) -> MovedClock:
    return moved[1]
