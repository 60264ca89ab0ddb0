"""People in the portal: invited, given roles, with second factors, sessions and tokens; and the log of what they did."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from axe_core import violations
from portal_site import DEVELOPER, LOOKS, PASSWORD, VIEWER, Site, fits

from secure_delivery.engine import totp
from secure_delivery.engine.audit import CLI
from secure_delivery.server.portal.wire import SESSION_COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>'


def code_of(secret: str, site: Site, *, step: int = 0) -> str:
    """What an authenticator shows now, or some steps from now."""
    return totp.code_at(totp.from_base32(secret), int(site.server.engine.clock() // 30) + step)


def new_person(site: Site, login: str, role: str = DEVELOPER) -> str:
    site.server.engine.people.accounts.add(CLI, login, role, PASSWORD)
    return login


def enter(page: Page, site: Site, login: str, password: str = PASSWORD) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Name").fill(login)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_somebody_is_invited_chooses_a_password_and_works(visit: Callable[..., Page], site: Site) -> None:
    page = visit("/people")
    page.get_by_label("Name").fill("ann@example.org")
    page.get_by_label("Role", exact=True).select_option("developer")
    page.get_by_role("button", name="Make an invitation").click()
    link = page.locator("pre").inner_text()
    assert link.startswith(f"{site.url}/invitation/")
    guest = visit("/", role=None)
    guest.goto(link)
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_label("The same once more").fill(PASSWORD + "!")
    guest.get_by_role("button", name="Begin").click()
    assert guest.get_by_role("alert").inner_text() == "The two passwords differ."
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_label("The same once more").fill(PASSWORD)
    guest.get_by_role("button", name="Begin").click()
    guest.get_by_role("button", name="Sign out").wait_for()
    assert guest.get_by_role("link", name="People").count() == 0, "a developer does not manage people"
    again = visit("/", role=None)
    again.goto(link)
    again.get_by_text("This link was used already").wait_for()


def test_roles_change_and_sessions_end_with_them(visit: Callable[..., Page], site: Site) -> None:
    login = new_person(site, "bea@example.org")
    theirs = visit("/", role=None)
    enter(theirs, site, login)
    theirs.get_by_role("button", name="Sign out").wait_for()
    page = visit("/people")
    page.get_by_label(f"Role of {login}", exact=True).select_option("viewer")
    page.get_by_role("button", name=f"Change the role of {login}").click()
    page.get_by_text(f"{login} is viewer now.").wait_for()
    theirs.reload()
    theirs.get_by_role("button", name="Sign in").wait_for()
    page.get_by_role("button", name=f"Disable {login}").click()
    page.get_by_text(f"{login} cannot sign in now.").wait_for()
    enter(theirs, site, login)
    assert theirs.get_by_role("alert").inner_text() == "The name or the password is not right."
    page.get_by_role("button", name=f"Remove {login}").click()
    page.get_by_text(f"{login} is gone").wait_for()


def test_the_last_owner_stays(visit: Callable[..., Page], site: Site) -> None:
    page = visit("/people")
    page.get_by_role("button", name="Remove owner@example.org").click()
    assert "last owner" in page.get_by_role("alert").inner_text()


def test_a_second_factor_is_set_up_asked_for_and_replaced_by_a_recovery_code(visit: Callable[..., Page], site: Site) -> None:
    login = new_person(site, "cem@example.org")
    page = visit("/", role=None)
    enter(page, site, login)
    page.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"{site.url}/me")
    page.get_by_role("button", name="Set it up").click()
    site.give_password(page)
    page.get_by_role("img", name="QR code of the secret").wait_for()
    secret = page.locator("main p code").inner_text()
    page.get_by_role("textbox", name="Code").fill("000000")
    page.get_by_role("button", name="This is my code").click()
    assert page.get_by_role("alert").inner_text() == "This is not the code of this moment."
    assert page.locator("main p code").inner_text() == secret, "the picture is still good"
    before = session_of(page)
    page.get_by_role("textbox", name="Code").fill(code_of(secret, site))
    page.get_by_role("button", name="This is my code").click()
    codes = page.locator("pre").inner_text().split()
    assert len(codes) == 10
    assert session_of(page) != before, "what has to be shown has changed, and the session's token with it"
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_text("10 recovery codes left.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    enter(page, site, login)
    page.get_by_role("textbox", name="Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    assert "code is not right" in page.get_by_role("alert").inner_text()
    page.get_by_role("textbox", name="Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"{site.url}/me")
    page.get_by_text("9 recovery codes left.").wait_for()
    page.get_by_role("button", name="Take it off").click()
    site.give_password(page)
    page.get_by_text("The password alone is asked for from now on.").wait_for()


def session_of(page: Page) -> str:
    return next(each["value"] for each in page.context.cookies() if each["name"] == SESSION_COOKIE)


def test_another_password_ends_all_other_sessions(visit: Callable[..., Page], site: Site) -> None:
    login = new_person(site, "dan@example.org")
    page, other = visit("/", role=None), visit("/", role=None)
    enter(page, site, login)
    page.get_by_role("button", name="Sign out").wait_for()
    enter(other, site, login)
    other.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"{site.url}/me")
    assert page.get_by_role("region", name="Sessions").locator("tbody tr").count() == 2
    page.get_by_label("The present one").fill("not that one")
    page.get_by_label("The new one", exact=True).fill("seven green newts by day")
    page.get_by_label("The new one once more").fill("seven green newts by day")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("The present one").fill(PASSWORD)
    page.get_by_label("The new one", exact=True).fill("seven green newts by day")
    page.get_by_label("The new one once more").fill("seven green newts by day")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_text("The password is changed").wait_for()
    other.reload()
    other.get_by_role("button", name="Sign in").wait_for()
    enter(other, site, login, "seven green newts by day")
    other.get_by_role("button", name="Sign out").wait_for()


def test_a_token_is_shown_once_works_within_its_scopes_and_is_revoked(visit: Callable[..., Page], site: Site) -> None:
    page = visit("/me", role=DEVELOPER)
    page.get_by_label("Name", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Make a token").click()
    text = page.locator("dd code").inner_text()
    assert text.startswith("sdt_")
    assert site.call("GET", "/applications", token=text).status == 200
    assert site.call("POST", "/applications", {"name": "x"}, token=text).code == "not_allowed"
    page.get_by_role("link", name="I have kept it").click()
    assert text not in page.content()
    page.get_by_role("button", name=f"Revoke {HOSTILE}").click()
    page.get_by_text("The token counts no longer.").wait_for()
    assert site.call("GET", "/applications", token=text).code == "token_refused"
    small = site.token(DEVELOPER, "read")
    assert site.call("POST", "/me/tokens", {"name": "more", "scopes": ["write"]}, token=small).code == "bad_field"


def test_the_log_tells_who_did_what_and_is_searched_and_exported(visit: Callable[..., Page], site: Site) -> None:
    token = site.token()
    made = site.call("POST", "/applications", {"name": "=1+1"}, token=token).json()
    site.call("POST", f"/applications/{made['api_key']}/settings", {"max_age": 77}, token=token)
    page = visit("/audit")
    page.get_by_label("API key").fill(made["api_key"])
    page.get_by_label("What").fill("application.")
    page.get_by_role("button", name="Look", exact=True).click()
    rows = page.get_by_role("region", name="Entries").locator("tbody tr")
    assert rows.count() == 2
    assert "owner@example.org" in rows.first.inner_text() and "127.0.0.1" in rows.first.inner_text()
    rows.first.get_by_text("Look").click()
    assert re.findall(r'"max_age": (\d+)', rows.first.inner_text()) == ["3600", "77"]
    assert made["secret"] not in page.content()
    answer = site.call("GET", f"/audit.csv?application={made['api_key']}", token=token)
    lines = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [line["action"] for line in lines] == ["application.change", "application.create"]
    assert all(not cell.startswith("=") for line in lines for cell in line.values())
    first = site.call("GET", "/audit?limit=1", token=token).json()
    second = site.call("GET", f"/audit?limit=1&after={first['next']}", token=token).json()
    assert first["entries"][0]["id"] != second["entries"][0]["id"]


@pytest.mark.parametrize("query", ["since=yesterday", "actor=nobody@example.org", "limit=0", "after=nothing"])
def test_questions_to_the_log_that_are_none_are_refused(site: Site, query: str) -> None:
    assert 400 <= site.call("GET", f"/audit?{query}", token=site.token()).status < 500


@pytest.mark.parametrize("role", [DEVELOPER, VIEWER])
def test_people_and_the_log_are_for_owners(site: Site, role: str) -> None:
    token = site.token(role)
    for method, path in (("GET", "/people"), ("GET", "/audit"), ("GET", "/audit.csv"), ("POST", "/people")):
        assert site.call(method, path, {} if method == "POST" else None, token=token).code == "not_allowed"


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["/people", "/me", "/audit"])
def test_pages_are_accessible_and_fit(visit: Callable[..., Page], site: Site, axe: str, path: str, look: str) -> None:
    site.token(DEVELOPER)
    page = visit(path, **LOOKS[look])
    assert violations(page, axe) == []
    assert fits(page)
