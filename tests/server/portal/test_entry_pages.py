"""The pages that people see on their way in, and those that show something once: used by keyboard, checked, in every look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from axe_core import violations
from live import Server, running
from portal_site import LOOKS, PASSWORD, Site, fits, pages

from secure_delivery.engine import tables
from secure_delivery.engine.audit import CLI

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody has set up yet."""
    with running(tmp_path_factory.mktemp("fresh")) as server:
        yield server


def good(page: Page, axe: str) -> bool:
    assert violations(page, axe) == []
    return fits(page)


@pytest.mark.parametrize("look", LOOKS)
def test_pages_for_who_is_not_signed_in_are_accessible_and_fit(
    visit: Callable[..., Page], site: Site, axe: str, look: str
) -> None:
    page = visit("/sign-in", role=None, **LOOKS[look])
    assert good(page, axe)
    page.get_by_label("Name").fill("nobody@example.org")
    page.get_by_label("Password").fill("not that one")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    assert good(page, axe)
    people = site.server.engine.people.accounts
    account, token = people.invite(CLI, f"{look.replace(' ', '-')}@example.org", "viewer")
    page.goto(f"{site.url}/invitation/{token}")
    assert good(page, axe)
    page.goto(f"{site.url}/nothing/here")
    assert good(page, axe)
    people.remove(CLI, account.id)


@pytest.mark.parametrize("look", LOOKS)
def test_pages_that_ask_again_or_show_something_once_are_accessible_and_fit(
    visit: Callable[..., Page], site: Site, axe: str, look: str
) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/secrets", **LOOKS[look])
    with site.server.engine.database.write() as connection:
        connection.execute(sa.update(tables.session).values(fresh=0))  # as after five minutes
    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_role("heading", name="Your password").wait_for()
    assert good(page, axe)
    site.give_password(page)
    page.get_by_text("This is the only time").wait_for()
    assert good(page, axe)
    page.goto(f"{site.url}/people")
    page.get_by_label("Name").fill(f"once-{look.replace(' ', '-')}@example.org")
    page.get_by_role("button", name="Make an invitation").click()
    page.get_by_text("This is the only time").wait_for()
    assert good(page, axe)
    page.goto(f"{site.url}/me")
    page.get_by_role("button", name="Set it up").click()
    page.get_by_role("img", name="QR code of the secret").wait_for()
    assert good(page, axe)


@pytest.mark.parametrize("look", LOOKS)
def test_the_first_page_of_all_is_accessible_and_fits(browser: Browser, fresh: Server, axe: str, look: str) -> None:
    site = Site(fresh)
    link = fresh.engine.people.accounts.setup_link(CLI)
    with pages(browser, site) as visit:
        page = visit(f"/setup/{link}", role=None, **LOOKS[look])
        assert good(page, axe)
        page.goto(f"{site.url}/sign-in")
        page.get_by_text("Nobody can sign in yet.").wait_for()
        assert good(page, axe)


def test_somebody_gets_in_and_out_by_the_keyboard_alone(visit: Callable[..., Page], site: Site) -> None:
    login = site.person()
    page = visit("/sign-in", role=None)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type(login)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Applications", level=1).wait_for()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Sign out":
            break
    page.keyboard.press("Enter")
    page.get_by_text("You are signed out.").wait_for()
