"""The entry of the portal under attack: links, sessions and their ends by a clock that is moved, and where it leads."""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit

import pytest
from guests import Guest, MovedClock, actions, alert, person, signed_in
from live import Server
from portal_site import OWNER, PASSWORD, VIEWER, Site

from secure_delivery.engine.audit import CLI
from secure_delivery.server.portal.wire import DEVICE_COOKIE, SESSION_COOKIE

OTHER = "seven green newts by day"
DAY = 86_400


@pytest.fixture
def site(moved: tuple[Server, MovedClock]) -> Site:
    """The portal of that server, a day after the test before: all sessions and tries are over."""
    moved[1].move(DAY)
    return Site(moved[0])


# --------------------------------------------------------------------------------------------------------------- links


def test_the_first_owner_comes_by_a_link_that_is_good_once(site: Site, clock: MovedClock) -> None:
    engine, guest = site.server.engine, Guest(site)
    assert "Nobody can sign in yet" in guest.open("/sign-in")
    late = engine.people.accounts.setup_link(CLI)
    clock.move(3601)
    assert guest.get(f"/setup/{late}").status == 404
    link = engine.people.accounts.setup_link(CLI)
    assert guest.get(f"/invitation/{link}").status == 404, "a link to set up is no invitation"
    guest.open(f"/setup/{link}")
    fields = {"login": "first@example.org", "new_password": PASSWORD, "again": PASSWORD}
    for wrong, says in (
        ({"again": OTHER}, "The two passwords differ."),
        ({"login": "first"}, "looks like an e-mail address"),
        ({"new_password": "password1", "again": "password1"}, "password"),
        ({"login": ""}, "missing"),
    ):
        reply = guest.post(f"/setup/{link}", fields | wrong)
        assert (reply.status, says in alert(reply)) == (400, True), alert(reply)
        assert PASSWORD.encode() not in reply.body, "what was typed into a field of passwords is never sent back"
        assert OTHER.encode() not in reply.body
    reply = guest.post(f"/setup/{link}", fields)
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert guest.may_look()
    assert engine.people.accounts.named("first@example.org").role == OWNER
    again = Guest(site)
    again.open("/sign-in")
    assert again.get(f"/setup/{link}").status == 404
    reply = again.post(f"/setup/{link}", fields | {"login": "second@example.org"})
    assert (reply.status, b"This link was used already" in reply.body) == (404, True)
    assert actions(site, "first@example.org")[-1] == "account.set_up"


def test_an_invitation_is_good_once_and_for_three_days_and_ends_what_was_signed_in(site: Site, clock: MovedClock) -> None:
    accounts = site.server.engine.people.accounts
    account, link = accounts.invite(CLI, "ann@example.org", VIEWER)
    guest, before = Guest(site), Guest(site)
    assert guest.get(f"/setup/{link}").status == 404, "an invitation makes no owner"
    page = guest.open(f"/invitation/{link}")
    assert "ann@example.org" in page
    assert guest.post(f"/invitation/{link}", {"new_password": PASSWORD, "again": PASSWORD, "role": OWNER}).status == 303
    assert guest.may_look()
    assert accounts.get(account.id).role == VIEWER, "nobody chooses their own role"
    assert before.sign_in("ann@example.org").status == 303
    late, link = accounts.invite_again(CLI, account.id), accounts.invite_again(CLI, account.id)
    other = Guest(site)
    other.open("/sign-in")
    assert other.get(f"/invitation/{late}").status == 404, "the next link ends the one before"
    other.open(f"/invitation/{link}")
    assert other.post(f"/invitation/{link}", {"new_password": OTHER, "again": OTHER}).status == 303
    assert (guest.may_look(), before.may_look(), other.may_look()) == (False, False, True)
    late = accounts.invite_again(CLI, account.id)
    clock.move(72 * 3600 + 1)
    assert other.get(f"/invitation/{late}").status == 404


def test_guessing_links_is_limited_and_whoever_has_one_is_told_to_wait(site: Site) -> None:
    site.person()
    guest = Guest(site)
    guest.open("/sign-in")
    fields = {"new_password": PASSWORD, "again": PASSWORD}
    assert {guest.post(f"/invitation/{'A' * 43}", fields).status for _ in range(10)} == {404}
    _, link = site.server.engine.people.accounts.invite(CLI, "bob@example.org", VIEWER)
    guest.open(f"/invitation/{link}")
    reply = guest.post(f"/invitation/{link}", fields)
    assert (reply.status, reply.headers["retry-after"]) == (429, "30")
    assert alert(reply) == "Too many attempts. Try again in 30 seconds."


def test_who_chose_a_password_while_signing_in_has_to_wait_is_sent_to_sign_in(site: Site, clock: MovedClock) -> None:
    site.person()
    failed = Guest(site)
    for _ in range(10):
        failed.sign_in("nobody@example.org", OTHER)
    account, link = site.server.engine.people.accounts.invite(CLI, "cem@example.org", VIEWER)
    guest = Guest(site)
    guest.open(f"/invitation/{link}")
    reply = guest.post(f"/invitation/{link}", {"new_password": PASSWORD, "again": PASSWORD})
    assert (reply.status, reply.headers["location"]) == (303, "/sign-in")
    assert "Your password is set. Sign in with it." in guest.open("/sign-in")
    assert not site.server.engine.people.accounts.get(account.id).invited
    clock.move(31)
    assert guest.sign_in("cem@example.org").status == 303
    assert guest.may_look()


# ------------------------------------------------------------------------------------------------------------- sessions


def test_cookies_are_of_this_host_alone_and_out_of_reach_of_scripts(site: Site) -> None:
    guest = Guest(site)
    guest.open("/sign-in")
    reply = guest.post("/sign-in", {"login": site.person(), "password": PASSWORD})
    lines = reply.headers["set-cookie"].split(", ")
    assert len(lines) == 2
    for line in lines:
        name, *attributes = line.split("; ")
        assert name.startswith(("__Host-sd-session=", "__Host-sd-device="))
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
        assert not any(each.lower().startswith("domain") for each in attributes)
    session = next(line for line in lines if line.startswith(SESSION_COOKIE))
    assert "Max-Age" not in session, "it ends with the browser too"
    assert reply.headers["cache-control"] == "no-store"


def test_a_session_that_a_browser_was_given_before_is_not_taken_over(site: Site) -> None:
    """Session fixation: whatever cookie somebody put there, signing in makes another one, and ends the one before."""
    login = site.person()
    attacker = signed_in(site, VIEWER)
    victim = Guest(site, dict(attacker.cookies))
    victim.open("/sign-in")
    assert victim.post("/sign-in", {"login": login, "password": PASSWORD}).status == 303
    assert victim.session not in ("", attacker.session)
    assert victim.may_look()
    assert not attacker.may_look(), "the one before has ended"
    made_up = Guest(site, {SESSION_COOKIE: "A" * 43})
    made_up.sign_in(login)
    assert made_up.session != "A" * 43
    assert not Guest(site, {SESSION_COOKIE: "A" * 43}).may_look()


@pytest.mark.parametrize(
    "cookie",
    [
        "\xa0{name}={token}",
        "\x85{name}={token}",
        "{name}\xa0={token}",
        '{name}="{token}"',
        "{name}={token}; {name}=" + "B" * 43,
        "{name}=" + "B" * 43 + "; {name}={token}",
        "{lower}={token}",
        "sd-session={token}",
        "__Secure-sd-session={token}",
        "{name}={token}x",
        "{name}= {token}",
    ],
)
def test_no_other_spelling_of_a_cookie_is_one(site: Site, cookie: str) -> None:
    """A browser lets neighbours set cookies whose names do not begin with `__Host-`; none of them may be read as one."""
    token = signed_in(site).session
    line = cookie.format(name=SESSION_COOKIE, lower=SESSION_COOKIE.lower(), token=token)
    reply = site.call("GET", "//applications", headers={"Cookie": line})
    assert reply.status == 303
    assert site.call("GET", "//applications", headers={"Cookie": f"a=b;  {SESSION_COOKIE}={token} ; c=d"}).status == 200


def test_a_session_ends_when_nobody_uses_it_and_after_twelve_hours_in_any_case(site: Site, clock: MovedClock) -> None:
    idle = signed_in(site)
    clock.move(29 * 60)
    assert idle.may_look()
    clock.move(31 * 60)
    assert not idle.may_look()
    used = signed_in(site)
    for _ in range(35):
        clock.move(20 * 60)
        assert used.may_look()
    clock.move(19 * 60)
    assert used.may_look()
    clock.move(2 * 60)
    assert not used.may_look(), "twelve hours"


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    guest = Guest(site)
    guest.sign_in(site.person())
    guest.open("/applications")
    kept = Guest(site, dict(guest.cookies))
    reply = guest.post("/sign-out")
    assert (reply.status, reply.headers["location"]) == (303, "/sign-in")
    assert guest.session == ""
    assert "You are signed out." in guest.open("/sign-in")
    assert not kept.may_look(), "a cookie that somebody kept is worth nothing"


def test_another_password_or_role_ends_sessions_and_gives_another_token(site: Site) -> None:
    account, (guest, other) = person(site, "dan@example.org"), (Guest(site), Guest(site))
    assert guest.sign_in("dan@example.org").status == other.sign_in("dan@example.org").status == 303
    guest.open("/me")
    before = guest.session
    fields = {"old_password": PASSWORD, "new_password": OTHER, "again": OTHER}
    assert guest.post("/me/password", fields).status == 303
    assert guest.session != before
    assert (guest.may_look(), other.may_look(), Guest(site, {SESSION_COOKIE: before}).may_look()) == (True, False, False)
    owner = signed_in(site)
    assert owner.post(f"/people/{account}/role", {"role": VIEWER}).status == 303
    assert not guest.may_look()
    written = actions(site, "dan@example.org")
    assert (written[0], "account.password" in written) == ("account.role", True)


def test_the_password_counts_for_five_minutes_and_giving_it_again_changes_the_token(site: Site, clock: MovedClock) -> None:
    guest, key = signed_in(site), site.server.application().api_key
    rotate = f"/applications/{key}/secrets/rotate"
    guest.open(f"/applications/{key}/secrets")
    clock.move(4 * 60)
    assert guest.post(rotate, {"grace": "60"}).status == 200
    clock.move(2 * 60)
    ring = site.server.current(key).secrets
    page = guest.post(rotate, {"grace": "60"})
    assert (page.status, b"<h1>Your password</h1>" in page.body) == (403, True)
    before = guest.session
    wrong = guest.post(rotate, {"grace": "60", "password": OTHER})
    assert (wrong.status, alert(wrong)) == (403, "The password is not right.")
    assert OTHER.encode() not in wrong.body
    assert guest.session == before
    assert site.server.current(key).secrets == ring, "nothing has happened so far"
    assert guest.post(rotate, {"grace": "60", "password": PASSWORD}).status == 200
    assert guest.session != before
    assert not Guest(site, {SESSION_COOKIE: before}).may_look(), "the token before is worth nothing"
    clock.move(4 * 60)
    assert guest.post(rotate, {}).status == 200, "and it counts for five minutes again"
    (entry, *_) = site.server.engine.people.audit.page(application=key, action="secret.rotate")
    assert (entry.name, entry.means, entry.address) == ("owner@example.org", "session", "127.0.0.1")


def test_giving_the_password_again_is_limited_too(site: Site, clock: MovedClock) -> None:
    guest, key = signed_in(site), site.server.application().api_key
    guest.open("/applications")
    clock.move(6 * 60)
    path = f"/applications/{key}/secrets/revoke"
    assert {guest.post(path, {"password": OTHER}).status for _ in range(10)} == {403}
    reply = guest.post(path, {"password": PASSWORD})
    assert (reply.status, reply.headers["retry-after"], alert(reply)) == (
        429,
        "30",
        "Too many attempts. Try again in 30 seconds.",
    )


# ------------------------------------------------------------------------------------------------------- where it leads

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "http:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\u2028/evil.example",
    "evil.example",
    "?x",
    ".//evil.example",
    "@evil.example",
    "",
]


@pytest.mark.parametrize("to", ELSEWHERE, ids=[f"place {number}" for number in range(len(ELSEWHERE))])
def test_signing_in_leads_to_no_other_site(site: Site, to: str) -> None:
    guest, login = Guest(site), site.person()
    page = guest.open(f"/sign-in?to={quote(to)}")
    assert 'name="to" value=""' in page or to.strip().startswith("/")
    reply = guest.post("/sign-in", {"login": login, "password": PASSWORD, "to": to})
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert "a" not in guest.cookies


@pytest.mark.parametrize(
    "to", ["/usage", "/usage?range=day&x=%2F%2Fevil", "/audit#first", "/people?name=Ünal", "/./x", "/a//b"]
)
def test_signing_in_leads_back_to_where_somebody_was(site: Site, to: str) -> None:
    guest, login = Guest(site), site.person()
    reply = guest.post("/sign-in", {"login": login, "password": PASSWORD, "to": to})
    assert reply.status == 403, "without a page of ours first there is no token"
    guest.open(f"/sign-in?to={quote(to)}")
    reply = guest.post("/sign-in", {"login": login, "password": PASSWORD, "to": to})
    assert urlsplit(reply.headers["location"]).netloc == ""
    assert reply.headers["location"] == quote(to, safe="/?#&=%:;,@+~.-_")


def test_a_long_address_is_forgotten_rather_than_in_the_way(site: Site) -> None:
    guest = Guest(site)
    reply = guest.get("/applications?x=" + "y" * 1500)
    assert reply.headers["location"].startswith("/sign-in?to=/applications%3Fx%3Dyyy")
    assert "y" * 1500 in guest.open(reply.headers["location"])
    reply = guest.get("/applications?x=" + "y" * 3000)
    assert reply.headers["location"] == "/sign-in"
    for query in ("to=" + "y" * 5000, "to=/a&to=/b", "to=%00", "to=/%0a"):
        assert 'name="to" value=""' in guest.open(f"/sign-in?{query}")


def test_what_was_typed_comes_back_but_for_passwords(site: Site) -> None:
    reply = Guest(site).sign_in('"><img src=x onerror=alert(1)>@example.org', OTHER)
    page = reply.body.decode()
    assert reply.status == 401
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert OTHER not in page


def test_nothing_that_signs_in_is_in_the_log_of_the_server(site: Site) -> None:
    guest = Guest(site)
    guest.sign_in(site.person())
    _, link = site.server.engine.people.accounts.invite(CLI, "mia@example.org", VIEWER)
    guest.get(f"/invitation/{link}")
    written = site.server.log.read_text(errors="replace")
    for secret in (PASSWORD, guest.session, link, guest.token, guest.cookies[DEVICE_COOKIE]):
        assert secret not in written
    assert "Traceback" not in written
    assert json.dumps(PASSWORD) not in written
