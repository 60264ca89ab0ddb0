"""Applications in the portal: made, changed, secured, given other secrets, deleted; by people and by programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from axe_core import violations
from portal_site import LOOKS, VIEWER, Site, fits

from secure_delivery.gate.model import SecretState

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_a_new_application_shows_its_secret_once_and_the_secret_signs(visit: Callable[..., Page], site: Site) -> None:
    page = visit("/applications")
    page.get_by_label("Name").fill("Photos <b>of</b> owls")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("This is the only time").wait_for()
    key, secret = page.locator("dd code").all_inner_texts()
    application = site.server.current(key)
    assert application.secrets.signing.value.decode() == secret
    assert application.require_policy
    assert application.name == "Photos <b>of</b> owls"
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_role("heading", name="Photos <b>of</b> owls", level=1).wait_for()
    assert secret not in page.content()
    page.goto(f"{site.url}/applications/{key}/secrets")
    assert secret not in page.content()
    assert f"…{secret[-4:]}" in page.inner_text("main")


def test_many_applications_come_in_pages_and_are_found_by_name_or_key(visit: Callable[..., Page], site: Site) -> None:
    create = site.server.engine.records.create_application
    made = [create(f"Owlery {number:03} <i>100%</i>", require_policy=True)[0] for number in range(120)]
    page = visit("/applications")
    page.get_by_label("Find an application").fill("owlery")
    page.get_by_role("button", name="Search").click()
    seen: list[str] = []
    while True:
        seen += page.locator("tbody code").all_inner_texts()
        more = page.get_by_role("link", name="Next")
        if not more.count():
            break
        more.click()
        page.get_by_role("link", name="First").wait_for()
    assert seen == [each.api_key for each in reversed(made)]
    page.get_by_label("Find an application").fill(made[7].api_key[:12])
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Owlery 007 <i>100%</i>").click()
    page.get_by_role("heading", name="Owlery 007 <i>100%</i>", level=1).wait_for()
    token = site.token("owner", "read")
    for after in ("nonsense", "1.", ".x", "9" * 99 + ".x", "1.a b", "²."):
        assert site.call("GET", f"/applications?after={quote(after)}", token=token).status == 400
    assert site.call("GET", "/applications?text=no%20such%20thing%25", token=token).json()["applications"] == []


def test_a_secret_is_renewed_with_grace_after_the_password_and_revoked(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/secrets")
    page.get_by_label("The present secret").select_option("3600")
    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_text("This is the only time").wait_for()
    now = site.server.current(application.api_key).secrets
    assert [each.state for each in now.secrets] == [SecretState.ACTIVE, SecretState.VERIFY_ONLY]
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_text("still counts").wait_for()
    page.get_by_role("button", name="Revoke now").click()
    page.get_by_text("Only the newest secret counts now.").wait_for()
    assert len(site.server.current(application.api_key).secrets.secrets) == 1


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    "path", ["/applications", "/applications/{key}", "/applications/{key}/settings", "/applications/{key}/secrets"]
)
def test_pages_are_accessible_and_fit(visit: Callable[..., Page], site: Site, axe: str, path: str, look: str) -> None:
    application = site.server.application()
    page = visit(path.format(key=application.api_key), **LOOKS[look])
    assert violations(page, axe) == []
    assert fits(page)


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/settings")
    page.get_by_label("Types that may be uploaded").fill("image/*\nnonsense")
    page.get_by_role("button", name="Save settings").click()
    page.get_by_role("alert").wait_for()
    assert "nonsense" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Types that may be uploaded").input_value() == "image/*\nnonsense"
    assert site.server.current(application.api_key).allowed_types == ()


def test_pages_that_would_break_are_seen_before_policies_are_required(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    handle = site.server.put(application, b"a text", "a.txt").handle
    page = visit(f"/applications/{application.api_key}/settings")
    page.get_by_role("group", name="Try it first").get_by_label("delivery of files").check()
    page.get_by_role("button", name="Save security settings").click()
    site.give_password(page)
    page.get_by_text("Nobody would have been refused so far.").wait_for()
    assert site.server.get(f"/{handle}", {"Referer": "https://old.example.org/page"}).status == 200
    rows = page.get_by_role("region", name="Who would be refused").get_by_role("row")
    for _ in range(400):  # what another process counted is written down every few seconds
        page.reload()
        if rows.count():
            break
    assert "old.example.org" in rows.last.inner_text()
    page.get_by_role("group", name="Or only these kinds").get_by_label("delivery of files").check()
    page.get_by_role("button", name="Save security settings").click()
    page.get_by_text("The security settings are saved").wait_for()
    assert site.server.get(f"/{handle}", {"Referer": "https://old.example.org/page"}).status == 403
    page.get_by_role("button", name="Clear the list").click()
    page.get_by_text("The list is empty.").wait_for()
    entries = site.server.engine.people.audit.page(application=application.api_key)
    assert [entry.action for entry in entries[:3]] == ["reports.clear", "application.change", "application.change"]


def test_a_viewer_sees_and_changes_nothing(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    page = visit("/applications", role=VIEWER)
    assert page.get_by_role("button", name="Create").count() == 0
    token = site.token(VIEWER)
    assert site.call("GET", "/applications", token=token).status == 200
    assert site.call("POST", "/applications", {"name": "x"}, token=token).code == "not_allowed"
    assert site.call("POST", f"/applications/{application.api_key}/delete", {}, token=token).code == "not_allowed"
