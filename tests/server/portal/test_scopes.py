"""Who may do what: every view, action and endpoint of every room, for strangers, each role, and tokens of each scope."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from guests import ACTIONS, EVERYTHING, RAWS, VIEWS, entries, filled, signed_in
from portal_site import Site

from secure_delivery.engine import tables
from secure_delivery.engine.account_rows import OWNER, ROLES, SCOPES
from secure_delivery.engine.audit import CLI
from secure_delivery.server.portal.frame import Action, Raw, View

CLOSED = [(name, entry) for name, entry in EVERYTHING if entry.scope is not None]
TOLD = [(name, entry) for name, entry in CLOSED if isinstance(entry, Raw) or entry.api]
#: What a browser does not send a form to: it would have the token in its address or in a header.
FORMS = [(name, entry) for name, entry in CLOSED if not isinstance(entry, Raw)]
FRESH = [action for action in ACTIONS if action.fresh]


def ways(entry: View | Action | Raw) -> str:
    return "GET" if isinstance(entry, View) else "POST" if isinstance(entry, Action) else entry.method


def others(entry: View | Action | Raw) -> bool:
    """Whether something is of others than whoever does it: everybody may change their own account."""
    return not entry.path.startswith("/me")


@pytest.mark.parametrize(("name", "entry"), CLOSED, ids=[name for name, _ in CLOSED])
def test_a_stranger_comes_nowhere(site: Site, name: str, entry: View | Action | Raw) -> None:
    path, method = filled(entry.path), ways(entry)
    page = site.call(method, f"/{path}")
    assert (page.status, page.headers["location"].partition("?")[0]) == (303, "/sign-in")
    assert page.body == b""
    if isinstance(entry, Raw) or entry.api:
        for headers in ({}, {"Cookie": "__Host-sd-session=" + "A" * 43}):
            answer = site.call(method, path, headers=headers)
            assert answer.status == 401
            assert method == "HEAD" or answer.code == "not_signed_in"
        for text in ("Bearer sdt_" + "A" * 43, "Bearer", "Basic QTpC", "bearer  nothing"):
            answer = site.call(method, path, headers={"Authorization": text})
            assert answer.status == 401
            assert method == "HEAD" or answer.code == "token_refused"


@pytest.mark.parametrize(("name", "entry"), TOLD, ids=[name for name, _ in TOLD])
def test_a_token_does_what_its_scopes_say_and_nothing_else(site: Site, name: str, entry: View | Action | Raw) -> None:
    path, method = filled(entry.path), ways(entry)
    fields = {} if method != "GET" else None
    for scope in SCOPES:
        answer = site.call(method, path, fields, token=token_of(site, scope))
        if scope == entry.scope:
            assert answer.status not in (401, 403), f"{scope} is enough: {answer.code}"
            assert answer.status < 500
        else:
            assert answer.status == 403, scope
            assert method == "HEAD" or answer.code == "not_allowed"


def token_of(site: Site, scope: str, known: dict[tuple[int, str], str] = {}) -> str:  # noqa: B006 - kept on purpose
    """One token for each scope, for all tests of a server: an account has at most a hundred."""
    key = (site.server.port, scope)
    if key not in known:
        known[key] = site.token(OWNER, scope)
    return known[key]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_and_does_what_it_may(site: Site, role: str) -> None:
    """Forms with all that a form has, of somebody who is signed in: whether they are let in depends on the role alone."""
    guest, before = signed_in(site, role), entries(site)
    wrong = []
    for name, entry in FORMS:
        if name.startswith("POST") and (name == "POST /sign-out" or not others(entry)):
            continue  # which would end what this test is in
        if role != OWNER or isinstance(entry, View):  # an owner may do everything, and would
            path = filled(entry.path)
            reply = guest.get(path) if isinstance(entry, View) else guest.post(path, {"name": ""})
            refused = reply.status == 403 and b"not_allowed" in reply.body
            if refused != (entry.scope not in ROLES[role]):
                wrong.append((name, reply.status))
    assert wrong == []
    if role == "viewer":
        assert entries(site) == before, "who may look only changes nothing"


@pytest.mark.parametrize("action", FRESH, ids=lambda action: action.path)
def test_the_password_is_asked_for_again(site: Site, action: Action) -> None:
    guest, before = signed_in(site), entries(site)
    with site.server.engine.database.write() as connection:
        connection.execute(sa.update(tables.session).values(fresh=0))  # as after five minutes
    page = guest.post(filled(action.path), {"name": "x"})
    if action.by_form:  # its own form asks: see test_portal_storages
        assert page.status in (403, 404)
    else:
        assert page.status == 403
        assert b"<h1>Your password</h1>" in page.body
    if action.api:
        headers = {"Cookie": f"__Host-sd-session={guest.session}", "Origin": site.url, "X-CSRF-Token": guest.token}
        answer = site.call("POST", filled(action.path), {"name": "x"}, headers=headers)
        assert (answer.status, answer.code) == (403, "password_needed")
        wrong = site.call("POST", filled(action.path), {"password": ""}, headers=headers)
        assert wrong.code == "password_needed"
    assert entries(site) == before, "nothing was done"


#: What touches secrets or takes security off, and asks for no password, with the reason.
UNASKED = {
    "/me/password": "asks for the old password itself",
    "/me/tokens/{token}/revoke": "takes away what somebody might do in one's name",
    "/me/sessions/end": "the same",
    "/me/sessions/{session}/end": "the same",
}
_TOUCHY = re.compile(
    r"/(secrets?|security|rotate|revoke|password|tokens|second-factor|codes|people|whitelists)\b|/delete$|/remove$"
)


def test_whatever_touches_secrets_or_security_asks_for_the_password() -> None:
    """Security promise 66."""
    touchy = [each for each in ACTIONS if each.scope is not None and _TOUCHY.search(each.path)]
    unasked = {each.path for each in touchy if not each.fresh}
    checks = {path for path in unasked if path.endswith(("/try", "/check", "/preview"))}  # which look and change nothing
    files = {path for path in unasked if "/files" in path or "/jobs" in path}  # what was made of content, no secrets
    assert unasked - checks - files <= set(UNASKED)
    assert len(touchy) > 15


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.path)
def test_no_get_changes_anything(site: Site, action: Action) -> None:
    """Security promise 64: what changes something is not there for GET, unless a view of the same path tells of it."""
    viewed = action.path in {view.path for view in VIEWS} or action.path in {raw.path for raw in RAWS if raw.method == "GET"}
    guest = signed_in(site)
    before = entries(site)
    for method in ("GET", "HEAD") if not viewed else ():
        reply = site.call(method, f"/{filled(action.path)}", headers={"Cookie": f"__Host-sd-session={guest.session}"})
        assert reply.status == 405
        assert "POST" in reply.headers["allow"]
    if action.api and not any(view.api for view in VIEWS if view.path == action.path) and not viewed:
        assert site.call("GET", filled(action.path), token=token_of(site, "read")).status == 405
    for method in ("PUT", "OPTIONS", "TRACE", "QUERY"):
        reply = site.call(method, f"/{filled(action.path)}", headers={"Cookie": f"__Host-sd-session={guest.session}"})
        assert reply.status in (400, 405, 501)
        assert "access-control-allow-origin" not in reply.headers
    assert entries(site) == before


def test_whatever_touches_secrets_or_security_is_written_down_with_who_when_and_from_where(site: Site) -> None:
    """Security promise 66."""
    guest, engine = signed_in(site), site.server.engine
    key = site.server.application().api_key
    someone = engine.people.accounts.invite(CLI, "someone@example.org", "viewer")[0].id
    one, person = f"/applications/{key}", f"/people/{someone}"
    began = int(engine.clock() * 1000)
    for path, fields, action in (
        (f"{one}/secrets/rotate", {"grace": "60"}, "secret.rotate"),
        (f"{one}/secrets/revoke", {}, "secret.revoke"),
        (f"{one}/security", {"require_policy": "on"}, "application.change"),
        (f"{one}/whitelists", {"upload": "example.org"}, "application.change"),
        ("/me/tokens", {"name": "x", "scopes": "read"}, "token.create"),
        ("/people", {"login": "another@example.org", "role": "viewer"}, "account.invite"),
        (f"{person}/link", {}, "account.invite_again"),
        (f"{person}/role", {"role": "developer"}, "account.role"),
        (f"{person}/disable", {}, "account.disable"),
        (f"{person}/enable", {}, "account.enable"),
        (f"{person}/remove", {}, "account.remove"),
        (f"{one}/delete", {"confirm": key}, "application.delete"),
    ):
        reply = guest.post(path, fields)
        assert reply.status in (200, 201, 303), (path, reply.status)
        entry = engine.people.audit.page(limit=1)[0]
        assert (entry.action, entry.name, entry.means) == (action, "owner@example.org", "session"), path
        assert entry.address == "127.0.0.1"
        assert began <= entry.at <= engine.clock() * 1000
