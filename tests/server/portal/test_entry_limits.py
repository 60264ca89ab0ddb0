"""The entry of the portal under attack: names, passwords and codes guessed, and others kept out, by a clock that is moved."""

from __future__ import annotations

import re

import pytest
from guests import Guest, MovedClock, alert, code_of, person, with_factor
from live import Server
from portal_site import VIEWER, Site

from secure_delivery.engine.audit import CLI
from secure_delivery.server.portal.wire import DEVICE_COOKIE, SESSION_COOKIE

OTHER = "seven green newts by day"
DAY = 86_400


@pytest.fixture
def site(moved: tuple[Server, MovedClock]) -> Site:
    """The portal of that server, a day after the test before: all sessions and tries are over."""
    moved[1].move(DAY)
    return Site(moved[0])


# ----------------------------------------------------------------------------------------------------- names and limits


def test_accounts_that_are_there_and_that_are_not_get_the_same_answer(site: Site) -> None:
    accounts = site.server.engine.people.accounts
    person(site, "eve@example.org")
    accounts.invite(CLI, "fay@example.org", VIEWER)
    accounts.disable(CLI, person(site, "gus@example.org"))
    answers = []
    for login in ("eve@example.org", "fay@example.org", "gus@example.org", "nix@example.org", "no name at all", ""):
        reply = Guest(site).sign_in(login, OTHER)
        page = reply.body.decode().replace(login, "") if login else reply.body.decode()
        page = re.sub(r"[0-9a-f]{64}", "", page)
        headers = {name: value for name, value in reply.headers.items() if name not in ("date", "content-length")}
        answers.append((reply.status, page, headers))
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)
    assert Guest(site).sign_in("gus@example.org").status == 401, "a disabled account, with its own password"


def test_after_ten_tries_there_are_delays_for_known_and_unknown_accounts_alike(site: Site, clock: MovedClock) -> None:
    person(site, "hal@example.org")
    told = []
    for login in ("hal@example.org", "nix@example.org"):
        clock.move(DAY)
        guest = Guest(site)
        statuses = [guest.sign_in(login, OTHER).status for _ in range(10)]
        reply = guest.sign_in(login)
        told.append((statuses, reply.status, reply.headers["retry-after"], alert(reply)))
    assert told[0] == told[1]
    assert told[0] == ([401] * 10, 429, "30", "Too many attempts. Try again in 30 seconds.")
    clock.move(31)
    assert guest.sign_in("nix@example.org", OTHER).status == 401
    reply = guest.sign_in("nix@example.org", OTHER)
    assert (reply.headers["retry-after"], alert(reply)) == ("60", "Too many attempts. Try again in 1 minute.")


def test_nobody_is_kept_out_by_who_fails_in_their_name(site: Site) -> None:
    person(site, "ida@example.org")
    known = Guest(site)
    known.sign_in("ida@example.org")
    browser = Guest(site, {DEVICE_COOKIE: known.cookies[DEVICE_COOKIE]})
    attacker = Guest(site)
    assert 429 in [attacker.sign_in("ida@example.org", OTHER).status for _ in range(12)]
    assert browser.sign_in("ida@example.org").status == 303
    made_up = Guest(site, {DEVICE_COOKIE: "C" * 43})
    assert made_up.sign_in("ida@example.org").status == 429, "a made-up browser has no tries of its own"


def test_no_header_makes_another_address_of_one(site: Site) -> None:
    """Limits are of addresses, and an address is what connects, unless a listed proxy says otherwise."""
    guest, statuses = Guest(site), []
    guest.open("/sign-in")
    fields = {"login": "nix@example.org", "password": OTHER}
    for number in range(11):
        made_up = {"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"}
        statuses.append(guest.post("/sign-in", fields, made_up).status)
    assert set(statuses) == {403}, "who says that it was passed on by a stranger is answered by https only"
    assert b"https_required" in guest.post("/sign-in", fields, {"Forwarded": "for=192.0.2.1"}).body


# --------------------------------------------------------------------------------------------------------------- codes


def test_half_a_sign_in_opens_nothing_and_becomes_another_session(site: Site, clock: MovedClock) -> None:
    secret, codes = with_factor(site, "jim@example.org")
    guest = Guest(site)
    reply = guest.sign_in("jim@example.org", to="/usage?range=day&x=1")
    assert reply.headers["location"] == "/code?to=/usage%3Frange%3Dday%26x%3D1"
    assert DEVICE_COOKIE not in guest.cookies, "a browser is known once all was shown"
    half = guest.session
    assert not guest.may_look()
    assert site.call("GET", "/applications", headers={"Cookie": f"{SESSION_COOKIE}={half}"}).code == "not_signed_in"
    page = guest.open(reply.headers["location"])
    assert 'value="/usage?range=day&amp;x=1"' in page
    assert guest.post("/code", {"code": "000000"}).status == 401
    clock.move(40)  # the code that put it in force was used
    reply = guest.post("/code", {"code": code_of(site, secret), "to": "/usage?range=day&x=1"})
    assert (reply.status, reply.headers["location"]) == (303, "/usage?range=day&x=1")
    assert guest.session != half
    assert guest.may_look()
    stolen = Guest(site, {SESSION_COOKIE: half})
    stolen.open("/code")
    assert stolen.post("/code", {"code": codes[0]}).status == 401, "half a sign-in is used up"
    late = Guest(site)
    late.sign_in("jim@example.org")
    late.open("/code")
    clock.move(5 * 60 + 1)
    assert late.post("/code", {"code": codes[0]}).status == 401
    nobody = Guest(site)
    nobody.open("/code")
    assert nobody.post("/code", {"code": codes[0]}).status == 401, "a code without a password"


def test_codes_are_limited_and_of_no_use_to_another_account(site: Site) -> None:
    _, codes = with_factor(site, "kim@example.org")
    with_factor(site, "lea@example.org")
    other = Guest(site)
    other.sign_in("lea@example.org")
    other.open("/code")
    assert other.post("/code", {"code": codes[0]}).status == 401
    guest = Guest(site)
    guest.sign_in("kim@example.org")
    guest.open("/code")
    statuses = [guest.post("/code", {"code": "123456"}).status for _ in range(10)]
    reply = guest.post("/code", {"code": codes[0]})
    assert (set(statuses) <= {401, 429}, reply.status, "retry-after" in reply.headers) == (True, 429, True)
