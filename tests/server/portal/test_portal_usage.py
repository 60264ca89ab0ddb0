"""Figures in the portal: what was asked of the server is seen as plots, as numbers, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from axe_core import violations
from live import picture
from portal_site import LOOKS, VIEWER, Site, fits

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)> \u202e=1+1'


def asked(site: Site, *, times: int = 3) -> str:
    """An application whose file was asked for so often, and refused twice; returns its key."""
    application = site.server.engine.records.create_application(HOSTILE)[0]
    handle = site.server.put(application, picture(), "owl.jpg").handle
    for _ in range(times):
        assert site.server.get(f"/{handle}").status == 200
    assert site.server.get(f"/resize=width:40/{handle}").status == 200
    for _ in range(2):
        assert site.server.get(f"/{handle}?policy=bad&signature=bad").status == 403
    return application.api_key


def told(page: Page, title: str) -> str:
    """What a plot says of itself to who cannot see it."""
    return page.locator("svg", has=page.locator("title", has_text=title)).locator("desc").text_content() or ""


def test_requests_are_seen_on_the_page_as_they_were_made(visit: Callable[..., Page], site: Site) -> None:
    key = asked(site)
    page = visit(f"/applications/{key}/usage", role=VIEWER)
    assert "delivery: 5 in all" in told(page, "Requests by kind")
    assert "transformation: 1 in all" in told(page, "Requests by kind")
    assert "bad signature: 2 in all" in told(page, "Refused requests by reason")
    page.get_by_text("The numbers").first.click()
    cells = page.get_by_role("region", name="Requests by kind").locator("tbody tr").last.locator("td").all_inner_texts()
    assert cells == ["5", "1"]
    page.get_by_role("link", name="month").click()
    page.wait_for_url("**?by=month")
    assert "By month" in told(page, "Requests by kind")


def test_the_page_of_all_names_applications_as_text(visit: Callable[..., Page], site: Site) -> None:
    key = asked(site)
    page = visit("/usage")
    link = page.get_by_role("region", name="Stored").locator(f"a[href='/applications/{key}']")
    assert link.inner_text() == HOSTILE
    assert page.locator("img[src=x]").count() == 0


def test_the_csv_is_what_the_json_says(site: Site) -> None:
    key = asked(site)
    token = site.token(VIEWER)
    answer = site.call("GET", f"/applications/{key}/usage.csv?by=day", token=token)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    counted = {(row["figure"], row["label"]): int(row["value"]) for row in rows}
    assert counted["requests", "delivery"] == 5
    assert {row["application"] for row in rows} == {key}
    values = site.call("GET", f"/applications/{key}/usage?by=day", token=token).json()
    series = {
        one["name"]: sum(one["values"]) for plot in values["plots"] if plot["name"] == "requests" for one in plot["series"]
    }
    assert series == {"delivery": 5, "transformation": 1}
    assert values["refusals"][0]["reason"] == "bad_signature"
    assert re.fullmatch(r"[A-Z].*\.", values["refusals"][0]["told"])


@pytest.mark.parametrize(
    ("query", "status"), [("by=century", 400), ("last=0", 400), ("last=1001", 400), ("by=day&last=1000", 200)]
)
def test_times_that_are_none_are_refused(site: Site, query: str, status: int) -> None:
    assert site.call("GET", f"/usage?{query}", token=site.token(VIEWER)).status == status


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_accessible_and_fits(visit: Callable[..., Page], site: Site, axe: str, look: str) -> None:
    asked(site)
    page = visit("/usage", **LOOKS[look])
    for summary in page.get_by_text("The numbers").all():
        summary.click()
    assert violations(page, axe) == []
    assert fits(page)
