"""The portal for the tests of this folder, and people who look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from live import Server
from portal_site import Site, pages

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
