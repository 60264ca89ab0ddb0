"""The pages of health and security: what they say is so, and findings go when they are mended on the page they lead to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from axe_core import violations
from live import picture
from portal_site import LOOKS, VIEWER, Site, fits

from secure_delivery.engine.confine import LAYERS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_health_names_the_layers_that_are_in_effect_and_what_is_installed(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    handle = site.server.put(application, picture(), "owl.jpg").handle
    assert site.server.get(f"/resize=width:30/{handle}").status == 200
    page = visit("/health", role=VIEWER)
    pool = page.locator("section", has=page.get_by_role("heading", name="Transformations"))
    assert pool.get_by_text("running").count() == 1
    shown = pool.get_by_role("listitem").all_inner_texts()
    values = site.call("GET", "/health", token=site.token(VIEWER)).json()
    layers = {layer["name"]: layer["active"] for pool in values["pools"] if pool["running"] for layer in pool["layers"]}
    assert set(layers) == set(LAYERS)
    for layer, active in layers.items():
        assert any(line.startswith("on" if active else "off") and layer in line for line in shown)
    assert {"images", "builtin"} <= {plugin["name"] for plugin in values["plugins"]}
    assert page.get_by_role("region", name="Plugins").get_by_text("secure-delivery-images").count() == 1


def test_a_finding_leads_to_where_it_is_mended_and_mended_it_is_gone(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    key = application.api_key
    page = visit(f"/applications/{key}/security-report")
    finding = page.locator("section", has_text="any_type")
    finding.get_by_role("link", name="Mend it here").click()
    page.get_by_label("Types that may be uploaded").fill("image/*")
    page.get_by_role("button", name="Save settings").click()
    page.get_by_text("The settings are saved.").wait_for()
    page.goto(f"{site.url}/applications/{key}/security-report")
    assert page.get_by_text("any_type").count() == 0
    findings = site.call("GET", f"/applications/{key}/security-report", token=site.token(VIEWER)).json()["findings"]
    assert "any_type" not in {each["code"] for each in findings}
    assert all(each["fix"] and each["why"] for each in findings)


def test_storages_are_tried_out_on_demand_and_not_by_who_may_only_look(visit: Callable[..., Page], site: Site) -> None:
    page = visit("/security")
    page.get_by_role("button", name="Try storages out as well").click()
    page.get_by_text("Storages were tried out just now.").wait_for()
    assert visit("/security", role=VIEWER).get_by_role("button", name="Try storages out as well").count() == 0
    assert site.call("POST", "/security/check", {}, token=site.token(VIEWER)).code == "not_allowed"


def test_every_link_of_a_finding_is_a_page(site: Site) -> None:
    site.server.application()
    token = site.token()
    findings = site.call("GET", "/security", token=token).json()["findings"]
    links = {each["link"] for each in findings if each["link"]}
    assert links
    assert [link for link in sorted(links) if site.call("GET", f"/{link}", token=token).status != 200] == []


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["/health", "/security"])
def test_pages_are_accessible_and_fit(visit: Callable[..., Page], axe: str, site: Site, path: str, look: str) -> None:
    site.server.application()
    page = visit(path, **LOOKS[look])
    assert violations(page, axe) == []
    assert fits(page)
