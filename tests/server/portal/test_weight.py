"""How much a browser loads for a first page, and that it asks nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from portal_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

pytestmark = pytest.mark.browser

MOST = 50_000  # bytes


@pytest.mark.parametrize("path", ["/sign-in", "/applications"])
def test_a_first_page_is_light_and_loads_from_the_portal_only(visit: Callable[..., Page], site: Site, path: str) -> None:
    for _ in range(0 if path == "/sign-in" else 60):  # more than a page of them
        site.server.application()
    page = visit(path, role=None if path == "/sign-in" else "owner")
    cdp = page.context.new_cdp_session(page)
    cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: dict[str, int] = {}

    def note(answer: Response) -> None:
        sizes[answer.url] = len(answer.body()) + len(str(answer.headers))

    page.on("response", note)
    page.goto(f"{site.url}{path}", wait_until="networkidle")
    assert len(sizes) >= 3, "a page, a style sheet, a script"
    assert all(url.startswith(f"{site.url}/") for url in sizes)
    assert sum(sizes.values()) <= MOST, sizes
