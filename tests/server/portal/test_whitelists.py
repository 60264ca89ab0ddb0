"""Whitelists in the portal: typed, checked, tried and saved, by people and by programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from axe_core import violations
from portal_site import DEVELOPER, LOOKS, VIEWER, Site, fits

from secure_delivery.engine import tables
from secure_delivery.gate.whitelist import Whitelist

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = [
    '"><img src=x onerror=alert(1)>',
    "\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe",
    "a" * 5000,
    "</script><b>",
    "https://x.example/\0",
]


def test_patterns_are_checked_as_they_are_typed_and_saved_together(visit: Callable[..., Page], site: Site) -> None:
    key = site.server.application().api_key
    page = visit(f"/applications/{key}/whitelists")
    uploads, delivery = page.get_by_label("Pages that may upload"), page.get_by_label("Pages that may show files")
    uploads.fill("https://*.Example.COM/\na(b).example.org\nmünchen.example")
    section = page.get_by_role("region", name="Uploads")
    section.get_by_text("parentheses are not accepted").wait_for()
    assert section.get_by_text("3 of 20").is_visible()
    saved = section.get_by_role("list", name="As it is saved")
    assert [saved.get_by_role("listitem").nth(at).inner_text() for at in (0, 2)] == ["*.example.com", "xn--mnchen-3ya.example"]
    assert uploads.get_attribute("aria-invalid") == "true"
    uploads.fill("https://*.Example.COM/\nmünchen.example\n")
    section.get_by_text("parentheses are not accepted").wait_for(state="detached")
    delivery.fill("localhost:8080")
    page.get_by_label("Requests that name no page").nth(1).select_option("deny")
    assert not site.server.current(key).upload_whitelist, "nothing is saved by looking"
    page.get_by_role("button", name="Save both lists").click()
    site.give_password(page)
    page.get_by_text("The whitelists are saved").wait_for()
    after = site.server.current(key)
    assert after.upload_whitelist == Whitelist(["*.example.com", "xn--mnchen-3ya.example"])
    assert after.delivery_whitelist == Whitelist(["localhost:8080"], missing="deny")
    assert page.get_by_label("Pages that may upload").input_value().split() == ["*.example.com", "xn--mnchen-3ya.example"]


def test_saving_asks_for_the_password_and_several_lines_survive_it(visit: Callable[..., Page], site: Site) -> None:
    key = site.server.application(upload_whitelist=Whitelist(["a.example.org"])).api_key
    page = visit(f"/applications/{key}/whitelists")
    with site.server.engine.database.write() as connection:
        connection.execute(sa.update(tables.session).values(fresh=0))
    page.get_by_label("Pages that may upload").fill("b.example.org\nc.example.org")
    page.get_by_role("button", name="Save both lists").click()
    page.get_by_role("heading", name="Your password").wait_for()
    assert site.server.current(key).upload_whitelist == Whitelist(["a.example.org"])
    site.give_password(page)
    page.get_by_text("The whitelists are saved").wait_for()
    assert site.server.current(key).upload_whitelist == Whitelist(["b.example.org", "c.example.org"])


def test_a_page_is_tried_on_what_is_typed(visit: Callable[..., Page], site: Site) -> None:
    key = site.server.application(delivery_whitelist=Whitelist(["*.example.com"])).api_key
    page = visit(f"/applications/{key}/whitelists")
    tried = page.locator("#tested")
    page.get_by_label("Origin or address of a page").fill("https://www.example.com/shop?a=b")
    tried.get_by_text("let in").nth(1).wait_for()
    assert tried.get_by_text("* stands for www").count() == 1
    assert tried.get_by_text("No list is set").count() == 1
    page.get_by_label("Pages that may upload").fill("*.example.com:8443")
    tried.get_by_text("*.example.com:8443 would, on port 8443.").wait_for()
    assert tried.locator(".tag.bad").count() == 1
    page.get_by_label("Origin or address of a page").fill("null")
    tried.get_by_text("Browsers send 'null'").wait_for()
    assert tried.locator(".tag.bad").count() == 2


def test_without_script_faults_are_told_at_the_field_and_pages_are_tried(visit: Callable[..., Page], site: Site) -> None:
    key = site.server.application(delivery_whitelist=Whitelist(["*.example.com"])).api_key
    page = visit(f"/applications/{key}/whitelists", java_script_enabled=False)
    page.get_by_label("Origin or address of a page").fill("https://evil.example.net")
    page.get_by_role("button", name="Try it").click()
    page.get_by_text("No pattern covers it.").wait_for()
    uploads = page.get_by_label("Pages that may upload")
    uploads.fill("good.example.org\nbad{.example.org\nworse|.example.org")
    page.get_by_role("button", name="Save both lists").click()
    site.give_password(page)
    page.get_by_role("alert").wait_for()
    told = page.locator("#wrong-upload").inner_text()
    assert "bad{.example.org" in told and "worse|.example.org" in told
    assert uploads.input_value() == "good.example.org\nbad{.example.org\nworse|.example.org"
    assert not site.server.current(key).upload_whitelist
    uploads.fill("good.example.org")
    page.get_by_role("button", name="Save both lists").click()
    page.get_by_text("The whitelists are saved").wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_accessible_and_fits(visit: Callable[..., Page], site: Site, axe: str, look: str) -> None:
    patterns = [f"{'very' * 12}-long-name-{number}.{{example,beispiel}}.org" for number in range(20)]
    key = site.server.application(
        upload_whitelist=Whitelist(patterns), delivery_whitelist=Whitelist(["münchen.example"])
    ).api_key
    page = visit(f"/applications/{key}/whitelists?origin=https://www.example.org", **LOOKS[look])
    page.get_by_text("How patterns are written").click()
    assert violations(page, axe) == []
    assert fits(page)
    page.get_by_label("Pages that may upload").fill("\n".join([*patterns, "a(b)", "one.too.many"]))
    page.get_by_text("parentheses are not accepted").wait_for()
    assert page.get_by_text("22 of 20").is_visible()
    assert violations(page, axe) == []
    assert fits(page)


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "override", "long", "script", "null"])
def test_hostile_patterns_and_pages_are_text(visit: Callable[..., Page], site: Site, text: str) -> None:
    key = site.server.application().api_key
    page = visit(f"/applications/{key}/whitelists")
    page.get_by_label("Pages that may upload").fill(text)
    page.get_by_label("Origin or address of a page").fill(text)
    with page.expect_response(lambda answer: answer.url.endswith("/whitelists/check")) as checked:
        page.get_by_role("button", name="Try it").click()
    assert checked.value.status in (200, 400)
    assert page.locator("main img, main b").count() == 0
    assert fits(page)


def test_programs_check_try_and_save(site: Site) -> None:
    key, token = site.server.application().api_key, site.token(DEVELOPER)
    path = f"/applications/{key}/whitelists"
    found = site.call(
        "POST", f"{path}/check", {"upload": ["A.example.org", "*"], "origin": "https://a.example.org"}, token=token
    )
    upload = found.json()["lists"]["upload"]
    assert ([line["saved"] for line in upload["lines"]], upload["count"], upload["most"], upload["good"]) == (
        ["a.example.org", "*"],
        2,
        20,
        True,
    )
    assert found.json()["tested"]["upload"]["pattern"] == "a.example.org"
    many = site.call("POST", f"{path}/check", {"upload": [f"a{n}.example.org" for n in range(21)]}, token=token).json()
    assert not many["lists"]["upload"]["good"] and "at most 20" in many["lists"]["upload"]["lines"][20]["fault"]
    assert site.call("POST", path, {"upload": ["a.example.org"], "upload_missing": "allow"}, token=token).status == 200
    told = site.call("GET", f"{path}?origin=https://b.example.org", token=token).json()
    assert told["lists"]["upload"]["patterns"] == ["a.example.org"]
    assert told["lists"]["upload"]["missing_means"] == "allow"
    assert (told["tested"]["upload"]["allowed"], told["tested"]["delivery"]["allowed"]) == (False, True)
    assert site.server.current(key).upload_whitelist == Whitelist(["a.example.org"], missing="allow")
    assert not site.server.current(key).delivery_whitelist, "a list that is not named stays as it is"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"upload": ["a(b)"]}, "upload"),
        ({"delivery": [f"a{n}.example.org" for n in range(21)]}, "delivery"),
        ({"delivery": {"a": 1}}, "delivery"),
        ({"upload": [1]}, "upload"),
        ({"upload_missing": "maybe"}, "upload_missing"),
        ({"uploads": ["a.example.org"]}, "uploads"),
        ({}, "upload"),
    ],
    ids=["dialect", "many", "object", "number", "switch", "unknown", "nothing"],
)
def test_what_cannot_be_saved_is_a_fault_that_names_the_field(site: Site, fields: object, field: str) -> None:
    key, token = site.server.application().api_key, site.token(DEVELOPER)
    reply = site.call("POST", f"/applications/{key}/whitelists", fields, token=token)
    assert (reply.status, reply.json()["error"]["field"]) == (400, field), reply.body


def test_viewers_look_and_try_and_change_nothing(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(upload_whitelist=Whitelist(["a.example.org"]))
    path, token = f"/applications/{application.api_key}/whitelists", site.token(VIEWER)
    page = visit(path, role=VIEWER)
    assert page.get_by_role("button", name="Save both lists").count() == 0
    assert page.get_by_label("Pages that may upload").input_value().strip() == "a.example.org"
    assert site.call("GET", path, token=token).status == 200
    assert site.call("POST", f"{path}/check", {"upload": ["b"]}, token=token).status == 200
    assert site.call("POST", path, {"upload": []}, token=token).code == "not_allowed"
    assert site.call("GET", "/applications/Anobody/whitelists", token=token).code == "not_found"


def test_a_saved_list_is_in_force_at_once_and_in_the_audit_log(site: Site) -> None:
    application = site.server.application()
    key, token = application.api_key, site.token(DEVELOPER)
    handle = site.server.put(application, b"owls").handle
    foreign = {"Origin": "https://evil.example.net"}
    assert site.server.get(f"/{handle}", foreign).status == 200
    site.call("POST", f"/applications/{key}/whitelists", {"delivery": ["*.example.org"]}, token=token)
    assert site.server.get(f"/{handle}", foreign).code == "origin_not_allowed"
    assert site.server.get(f"/{handle}", {"Origin": "https://www.example.org"}).status == 200
    entry = site.server.engine.people.audit.page(application=key, action="application.change")[0]
    assert (entry.name, "*.example.org" in str(entry.after)) == ("developer@example.org", True)
