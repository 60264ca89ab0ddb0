"""Visitors of the portal without a browser: their cookies, the forms they send, and a clock that tests move."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from live import Reply
from portal_site import DEVELOPER, OWNER, PASSWORD, Site
from starlette.applications import Starlette

from secure_delivery.engine import build, tables, totp
from secure_delivery.engine.audit import CLI
from secure_delivery.engine.sessions import csrf_token
from secure_delivery.engine.settings import Settings
from secure_delivery.server import create_app
from secure_delivery.server.portal import ROOMS
from secure_delivery.server.portal.frame import Action, Raw, View
from secure_delivery.server.portal.wire import SESSION_COOKIE

VIEWS = [view for room in ROOMS for view in room.views]
ACTIONS = [action for room in ROOMS for action in room.actions]
RAWS = [raw for room in ROOMS for raw in room.raws]
EVERYTHING: list[tuple[str, View | Action | Raw]] = [
    *((f"GET {view.path}", view) for view in VIEWS),
    *((f"POST {action.path}", action) for action in ACTIONS),
    *((f"{raw.method} {raw.path}", raw) for raw in RAWS),
]
FORM = "application/x-www-form-urlencoded"


@dataclass
class Guest:
    """Somebody at the portal of a site. `token` is the one against forgery, of the page that was seen last."""

    site: Site
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def session(self) -> str:
        return self.cookies.get(SESSION_COOKIE, "")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self._sent("GET", path, None, headers or {})

    def post(self, path: str, fields: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a form, as its page would."""
        body = urlencode({"csrf": self.token, **(fields or {})}, doseq=True).encode()
        return self._sent("POST", path, body, {"Origin": self.site.url, "Content-Type": FORM, **(headers or {})})

    def open(self, path: str) -> str:
        """The text of a page, which has to be there."""
        reply = self.get(path)
        assert reply.status == 200, (path, reply.status)
        return reply.body.decode()

    def sign_in(self, login: str, password: str = PASSWORD, to: str = "") -> Reply:
        self.open("/sign-in")
        return self.post("/sign-in", {"login": login, "password": password, "to": to})

    def may_look(self) -> bool:
        """Whether this is somebody who is signed in."""
        return self.get("/applications").status == 200

    def _sent(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        sent = {"Host": self.site.host, **headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = self.site.server.request(method, path, body=body, headers=sent)
        for line in filter(None, reply.headers.get("set-cookie", "").split(", ")):
            name, _, rest = line.partition("=")
            value, _, attributes = rest.partition("; ")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        if found := re.search(rb'data-csrf="([0-9a-f]{64})"', reply.body):
            self.token = found[1].decode()
        return reply


def signed_in(site: Site, role: str = OWNER) -> Guest:
    """Somebody with a role in a session of their own, which costs no request."""
    login = site.person(role)
    token = site.server.engine.people.sign_in.password(login, PASSWORD, address="127.0.0.1").token
    return Guest(site, {SESSION_COOKIE: token}, csrf_token(token))


def filled(path: str, **names: str) -> str:
    """A path of a room with something for each name; `nothing` where none is given."""

    def value(found: re.Match[str]) -> str:
        return quote(names.get(found[1], "nothing"), safe="")

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, path)


def entries(site: Site) -> int:
    """How many changes were written down, but for sessions, which tests open."""
    query = sa.select(sa.func.count()).select_from(tables.audit).where(tables.audit.c.action.not_like("session.%"))
    with site.server.engine.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def site_token(site: Site, known: dict[int, str] = {}) -> str:  # noqa: B006 - kept on purpose
    """One token for all tests of a server."""
    if site.server.port not in known:
        known[site.server.port] = site.token()
    return known[site.server.port]


def alert(reply: Reply) -> str:
    found = re.search(r'role="alert"[^>]*>([^<]*)<', reply.body.decode())
    return "" if found is None else found[1]


def person(site: Site, login: str, role: str = DEVELOPER) -> str:
    """The id of a new person."""
    return site.server.engine.people.accounts.add(CLI, login, role, PASSWORD).id


def actions(site: Site, subject: str) -> list[str]:
    """What was written down of somebody, newest first."""
    return [each.action for each in site.server.engine.people.audit.page(limit=200) if each.subject == subject]


def with_factor(site: Site, login: str) -> tuple[bytes, list[str]]:
    """A new person with a second factor: its secret, and recovery codes."""
    account, people = person(site, login), site.server.engine.people
    secret = totp.from_base32(people.second_factor.offer(account)[0])
    return secret, people.second_factor.confirm(CLI, account, code_of(site, secret))


def code_of(site: Site, secret: bytes, step: int = 0) -> str:
    return totp.code_at(secret, int(site.server.engine.clock() // 30) + step)


# ----------------------------------------------------------------------------------------------------------- the clock


class MovedClock:
    """The time of this machine and some seconds, which stand in a file."""

    def __init__(self, data: Path) -> None:
        self._file = data / "moved"

    def __call__(self) -> float:
        return time.time() + (float(self._file.read_text()) if self._file.exists() else 0.0)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        before = float(self._file.read_text()) if self._file.exists() else 0.0
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(before + seconds))
        fresh.replace(self._file)


def application() -> Starlette:
    """The server with a clock that is moved."""
    settings = Settings.load()
    return create_app(engine=build(settings, clock=MovedClock(settings.data)))
