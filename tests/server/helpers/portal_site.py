"""The portal of a running server, for its tests: people in browsers, programs with tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live import Reply, Server
from widget import watched_pages

from secure_delivery.engine.account_rows import DEVELOPER, OWNER, SCOPES, VIEWER
from secure_delivery.engine.audit import CLI
from secure_delivery.gate.errors import Conflict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "three brown owls at noon"
LOOKS: dict[str, dict[str, Any]] = {
    "phone light": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "light"},
    "wide dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "reduced_motion": "reduce"},
}

_TOKENS: dict[tuple[Path, str, tuple[str, ...]], str] = {}


@dataclass(frozen=True)
class Site:
    """The portal of a server. People are `owner`, `developer` and `viewer` at example.org, with one password."""

    server: Server

    @property
    def host(self) -> str:
        return f"portal.localhost:{self.server.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    # -- people

    def person(self, role: str = OWNER) -> str:
        """The login name of somebody with a role, who is made if need be."""
        login = f"{role}@example.org"
        try:
            self.server.engine.people.accounts.add(CLI, login, role, PASSWORD)
        except Conflict:
            pass
        return login

    def sign_in(self, page: Page, role: str = OWNER, to: str = "/") -> Page:
        """Sign in as people do."""
        login = self.person(role)
        page.goto(f"{self.url}/sign-in?to={to}")
        page.get_by_label("Name").fill(login)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()
        return page

    def give_password(self, page: Page) -> None:
        """Answer the page that asks for the password once more, where it comes."""
        if page.get_by_role("heading", name="Your password").count():
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Go on").click()

    # -- programs

    def token(self, role: str = OWNER, *scopes: str) -> str:
        """The text of an API token of somebody with a role: the same while it is good, as an account has a hundred at most."""
        people = self.server.engine.people
        account = people.accounts.named(self.person(role))
        wanted = tuple(scopes or [scope for scope in SCOPES if account.may(scope)])
        known = _TOKENS.get((self.server.data, account.id, wanted), "")
        found = people.tokens.find(known)
        if found is None or found[0].scopes != wanted:
            known = people.tokens.create(CLI, account.id, "test", scopes=wanted)[1]
            _TOKENS[self.server.data, account.id, wanted] = known
        return known

    def call(
        self, method: str, path: str, fields: Any = None, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """A request to the JSON API below /api/v1, or to the portal itself where the path begins with a slash twice."""
        target = path[1:] if path.startswith("//") else f"/api/v1{path}"
        sent = {"Host": self.host, **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        body = None
        if fields is not None:
            body = json.dumps(fields).encode()
            sent["Content-Type"] = "application/json"
        elif method == "POST":
            body = b""
        return self.server.request(method, target, body=body, headers=sent)


@contextmanager
def pages(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens pages of people who are signed in; none of them may have raised an error or broken its own policy."""
    with watched_pages(browser) as begin:

        def visit(path: str = "/", *, role: str | None = OWNER, **options: Any) -> Page:
            page = begin(**options)
            if role is None:
                page.goto(f"{site.url}{path}")
                return page
            site.sign_in(page, role)
            if path != "/":
                page.goto(f"{site.url}{path}")
            return page

        yield visit


def fits(page: Page) -> bool:
    """Whether nothing is wider than the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


__all__ = ["DEVELOPER", "LOOKS", "OWNER", "PASSWORD", "VIEWER", "Site", "fits", "pages"]
