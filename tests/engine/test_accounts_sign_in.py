"""Signing in: the same answer after the same work whoever asks, limits that keep nobody else out, sessions that end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from secure_delivery.engine import tables
from secure_delivery.engine.account_rows import DEVELOPER, OWNER
from secure_delivery.engine.audit import CLI
from secure_delivery.engine.sessions import csrf_matches, csrf_token
from secure_delivery.engine.sign_in import CodeRefused, SignInRefused, actor_of
from secure_delivery.engine.throttle import TooManyAttempts, place_of
from secure_delivery.engine.totp import code_at, from_base32
from secure_delivery.gate.errors import BadRequest, Conflict

if TYPE_CHECKING:
    from people_stand import PeopleStand

GOOD, OTHER, WRONG = "seven quiet lamps walk home", "nine loud kettles stay here", "not the password at all"
HOME, CAFE = "192.0.2.7", "198.51.100.20"
ANN = "ann@example.org"


@pytest.fixture
def ann(people: PeopleStand) -> str:
    return people.people.accounts.add(CLI, ANN, OWNER, GOOD).id


def fail(people: PeopleStand, login: str = ANN, address: str = CAFE, times: int = 10) -> None:
    for _ in range(times):
        with pytest.raises(SignInRefused):
            people.sign_in(login, WRONG, address)


def with_factor(people: PeopleStand, account: str) -> tuple[bytes, list[str]]:
    secret = from_base32(people.people.second_factor.offer(account)[0])
    codes = people.people.second_factor.confirm(CLI, account, code_at(secret, int(people.now // 30)))
    people.now += 30
    return secret, codes


# -- the password


def test_the_right_password_opens_a_session(people: PeopleStand, ann: str) -> None:
    signed = people.sign_in(ANN)
    session = people.people.sessions.find(signed.token)
    assert session is not None
    assert (session.account.id, session.account.role, session.address) == (ann, OWNER, HOME)
    assert people.people.accounts.get(ann).seen == int(people.now * 1000)
    assert len(signed.token) == 43, "256 bits"


def test_unknown_accounts_cost_as_many_hashes_and_are_answered_alike(people: PeopleStand, ann: str) -> None:
    accounts, passwords = people.people.accounts, people.people.accounts._passwords
    accounts.invite(CLI, "invited@example.org", DEVELOPER)
    accounts.disable(CLI, accounts.add(CLI, "off@example.org", DEVELOPER, GOOD).id)
    fail(people, times=1)
    answers = set()
    for number, login in enumerate(
        (ANN, "nobody@example.org", "invited@example.org", "off@example.org", "no name", "\0", "x" * 2000)
    ):
        before = passwords.computed
        with pytest.raises(SignInRefused) as caught:
            people.sign_in(login, WRONG if login == ANN else GOOD, f"203.0.113.{number}")
        assert passwords.computed == before + 1
        answers.add((type(caught.value), caught.value.public, str(caught.value), caught.value.status))
    assert len(answers) == 1


def test_a_hash_of_weaker_parameters_is_raised_with_the_next_sign_in(people: PeopleStand, ann: str) -> None:
    weak = PasswordHasher(time_cost=2, memory_cost=8 * 1024, parallelism=1).hash(GOOD)
    with people.database.write() as connection:
        connection.execute(sa.update(tables.account).values(password=weak))
    people.sign_in(ANN)
    with people.database.read() as connection:
        kept = connection.execute(sa.select(tables.account.c.password)).scalar_one()
    assert "m=19456,t=2,p=1" in kept
    assert people.sign_in(ANN).account.id == ann


# -- limits


def test_after_ten_tries_there_are_delays_that_grow(people: PeopleStand, ann: str) -> None:
    fail(people)
    waits = []
    for _ in range(4):
        with pytest.raises(TooManyAttempts) as caught:
            people.sign_in(ANN, GOOD, CAFE)
        waits.append(caught.value.retry_after)
        people.now += caught.value.retry_after
        fail(people, times=1)
    assert waits == [30, 60, 120, 240]
    people.now += 480
    assert people.sign_in(ANN, GOOD, CAFE).account.id == ann


def test_delays_end_at_an_hour_and_are_forgotten_after_ten_minutes_of_peace(people: PeopleStand, ann: str) -> None:
    fail(people)
    for _ in range(12):
        with pytest.raises(TooManyAttempts) as caught:
            people.sign_in(ANN, GOOD, CAFE)
        people.now += caught.value.retry_after
        fail(people, times=1)
    assert caught.value.retry_after == 3600
    people.now += 3600 + 600
    fail(people, times=10)


def test_an_unknown_account_is_limited_like_a_known_one(people: PeopleStand, ann: str) -> None:
    for login in (ANN, "nobody@example.org"):
        for number in range(10):
            fail(people, login, f"203.0.113.{number + (100 if login == ANN else 0)}", times=1)
        with pytest.raises(TooManyAttempts) as caught:
            people.sign_in(login, WRONG, "203.0.113.250")
        assert caught.value.retry_after == 30


def test_one_address_has_ten_tries_over_all_accounts_and_others_have_theirs(people: PeopleStand, ann: str) -> None:
    for number in range(10):
        fail(people, f"p{number}@example.org", times=1)
    with pytest.raises(TooManyAttempts):
        people.sign_in(ANN, GOOD, CAFE)
    assert people.sign_in(ANN, GOOD, HOME).account.id == ann


def test_who_fails_in_somebodys_name_does_not_keep_them_out(people: PeopleStand, ann: str) -> None:
    device = people.sign_in(ANN, address=HOME).device
    for number in range(10):
        fail(people, address=f"203.0.113.{number}", times=1)
    with pytest.raises(TooManyAttempts):
        people.sign_in(ANN, GOOD, "203.0.113.99")
    assert people.sign_in(ANN, address=HOME).account.id == ann, "from where they signed in before"
    assert people.sign_in(ANN, address=CAFE, device=device).account.id == ann, "with the browser they signed in with before"


def test_neighbours_behind_one_address_do_not_keep_out_a_browser_that_is_known(people: PeopleStand, ann: str) -> None:
    device = people.sign_in(ANN, address=CAFE).device
    for number in range(10):
        fail(people, f"p{number}@example.org", times=1)
    assert people.sign_in(ANN, address=CAFE, device=device).account.id == ann


def test_a_browser_of_one_account_is_none_of_another(people: PeopleStand, ann: str) -> None:
    people.people.accounts.add(CLI, "eve@example.org", DEVELOPER, OTHER)
    device = people.sign_in("eve@example.org", OTHER, CAFE).device
    for _ in range(10):
        with pytest.raises(SignInRefused):
            people.sign_in(ANN, WRONG, CAFE, device)
    with pytest.raises(TooManyAttempts):
        people.sign_in(ANN, GOOD, CAFE, device)


def test_who_signs_in_between_gains_no_tries_for_others(people: PeopleStand, ann: str) -> None:
    people.people.accounts.add(CLI, "eve@example.org", DEVELOPER, OTHER)
    for _ in range(10):
        fail(people, times=1)
        try:
            people.sign_in("eve@example.org", OTHER, CAFE)
        except TooManyAttempts:
            break
    with pytest.raises(TooManyAttempts):
        people.sign_in(ANN, GOOD, CAFE)


def test_nine_slips_and_the_right_password_are_let_in_again_and_again(people: PeopleStand, ann: str) -> None:
    fail(people, address=HOME, times=9)
    for _ in range(3):
        assert people.sign_in(ANN).account.id == ann


def test_many_at_once_have_ten_tries_together(people: PeopleStand) -> None:
    throttle = people.people.throttle
    gate, taken = threading.Barrier(12), []

    def run() -> None:
        gate.wait()
        try:
            throttle.enter(["a key"])
            taken.append(True)
        except TooManyAttempts:
            taken.append(False)

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 2 + [True] * 10


def test_of_ipv6_the_network_is_counted() -> None:
    assert place_of("2001:db8:1:2:aaaa::1") == place_of("2001:db8:1:2:bbbb::2%eth0") != place_of("2001:db8:1:3::1")
    assert place_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert place_of("unix") == "unix"


# -- the second factor


def test_a_second_factor_is_asked_for_once_a_code_of_it_was_shown(people: PeopleStand, ann: str) -> None:
    secret = from_base32(people.people.second_factor.offer(ann)[0])
    assert people.sign_in(ANN).stage == "full", "only offered so far"
    with pytest.raises(BadRequest):
        people.people.second_factor.confirm(CLI, ann, "000000" if code_at(secret, int(people.now // 30)) != "000000" else "1")
    people.people.second_factor.confirm(CLI, ann, code_at(secret, int(people.now // 30)))
    with pytest.raises(Conflict):
        people.people.second_factor.offer(ann)
    people.now += 30
    half = people.sign_in(ANN)
    assert (half.stage, half.device) == ("code", None)
    assert people.people.sessions.find(half.token) is None, "the password alone opens nothing"
    signed = people.people.sign_in.code(half.token, code_at(secret, int(people.now // 30)), address=HOME)
    assert signed.token != half.token
    assert people.people.sessions.find(signed.token) is not None
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(half.token, code_at(secret, int(people.now // 30)), address=HOME)


def test_a_code_that_was_taken_is_refused_again(people: PeopleStand, ann: str) -> None:
    secret, _ = with_factor(people, ann)
    code = code_at(secret, int(people.now // 30))
    people.people.sign_in.code(people.sign_in(ANN).token, code, address=HOME)
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(people.sign_in(ANN).token, code, address=HOME)


def test_a_recovery_code_counts_once(people: PeopleStand, ann: str) -> None:
    _, codes = with_factor(people, ann)
    assert len(set(codes)) == 10
    signed = people.people.sign_in.code(people.sign_in(ANN).token, codes[0].lower().replace("-", " "), address=HOME)
    assert people.people.sessions.find(signed.token) is not None
    assert people.people.second_factor.codes_left(ann) == 9
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(people.sign_in(ANN).token, codes[0], address=HOME)
    fresh = people.people.second_factor.renew_codes(CLI, ann)
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(people.sign_in(ANN).token, codes[1], address=HOME)
    assert people.people.sign_in.code(people.sign_in(ANN).token, fresh[1], address=HOME).stage == "full"


def test_codes_are_limited_like_passwords(people: PeopleStand, ann: str) -> None:
    secret, _ = with_factor(people, ann)
    half = people.sign_in(ANN, address=CAFE)
    good = {code_at(secret, int(people.now // 30) + beside) for beside in (-1, 0, 1)}
    wrong = next(code for code in ("000000", "111111", "222222", "333333") if code not in good)
    for _ in range(10):
        with pytest.raises(CodeRefused):
            people.people.sign_in.code(half.token, wrong, address=CAFE)
    with pytest.raises(TooManyAttempts):
        people.people.sign_in.code(half.token, code_at(secret, int(people.now // 30)), address=CAFE)


def test_a_code_has_to_follow_within_five_minutes(people: PeopleStand, ann: str) -> None:
    secret, _ = with_factor(people, ann)
    half = people.sign_in(ANN)
    people.now += 300
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(half.token, code_at(secret, int(people.now // 30)), address=HOME)


def test_without_its_second_factor_an_account_is_asked_for_the_password_alone(people: PeopleStand, ann: str) -> None:
    _, codes = with_factor(people, ann)
    half = people.sign_in(ANN)
    people.people.second_factor.remove(CLI, ann)
    assert people.sign_in(ANN).stage == "full"
    with pytest.raises(CodeRefused):
        people.people.sign_in.code(half.token, codes[0], address=HOME)
    with pytest.raises(Conflict):
        people.people.second_factor.renew_codes(CLI, ann)


# -- sessions


def test_a_session_ends_when_it_is_idle_for_half_an_hour(people: PeopleStand, ann: str) -> None:
    sessions, token = people.people.sessions, people.sign_in(ANN).token
    for _ in range(5):
        people.now += 29 * 60
        assert sessions.find(token) is not None
    people.now += 30 * 60
    assert sessions.find(token) is None
    assert sessions.of(ann) == []
    assert sessions.sweep() == 1


def test_a_session_ends_after_twelve_hours_however_much_it_is_used(people: PeopleStand, ann: str) -> None:
    token, begun = people.sign_in(ANN).token, people.now
    while people.now - begun < 12 * 3600 - 600:
        people.now += 600
        assert people.people.sessions.find(token) is not None
    people.now = begun + 12 * 3600
    assert people.people.sessions.find(token) is None


def test_signing_out_ends_the_session_on_the_server(people: PeopleStand, ann: str) -> None:
    here, there = people.sign_in(ANN).token, people.sign_in(ANN).token
    people.people.sign_in.out(here)
    people.people.sign_in.out(here)
    people.people.sign_in.out("\0")
    assert people.people.sessions.find(here) is None
    assert people.people.sessions.find(there) is not None


def test_its_owner_sees_sessions_and_ends_one(people: PeopleStand, ann: str) -> None:
    first = people.sign_in(ANN).token
    people.now += 1
    people.sign_in(ANN, address=CAFE)
    listed = people.people.sessions.of(ann)
    assert [each.address for each in listed] == [CAFE, HOME]
    assert not people.people.sessions.end_one("ac_somebody", listed[1].id)
    assert people.people.sessions.end_one(ann, listed[1].id)
    assert people.people.sessions.find(first) is None


def test_giving_the_password_again_makes_a_session_fresh_under_another_token(people: PeopleStand, ann: str) -> None:
    sessions, token = people.people.sessions, people.sign_in(ANN).token
    people.now += 299
    session = sessions.find(token)
    assert session is not None and session.is_fresh(people.now)
    people.now += 1
    assert not session.is_fresh(people.now)
    with pytest.raises(SignInRefused):
        people.people.sign_in.again(token, WRONG, address=HOME)
    renewed = people.people.sign_in.again(token, GOOD, address=HOME)
    assert sessions.find(token) is None
    session = sessions.find(renewed)
    assert session is not None and session.is_fresh(people.now)
    assert session.expires == int((people.now - 300) * 1000) + 12 * 3_600_000, "not longer for it"


def test_a_session_gets_another_token_when_what_it_may_do_changes(people: PeopleStand, ann: str) -> None:
    token = people.sign_in(ANN).token
    rotated = people.people.sessions.rotated(token)
    assert rotated is not None
    assert people.people.sessions.find(token) is None
    assert people.people.sessions.find(rotated) is not None
    assert people.people.sessions.rotated(token) is None


def test_another_password_ends_all_sessions_and_opens_one(people: PeopleStand, ann: str) -> None:
    mine, other = people.sign_in(ANN).token, people.sign_in(ANN, address=CAFE).token
    sign_in = people.people.sign_in
    with pytest.raises(SignInRefused):
        sign_in.change_password(mine, WRONG, OTHER, address=HOME)
    for bad in ("short", "password123", GOOD):
        with pytest.raises(BadRequest):
            sign_in.change_password(mine, GOOD, bad, address=HOME)
    fresh = sign_in.change_password(mine, GOOD, OTHER, address=HOME).token
    found = [people.people.sessions.find(token) is not None for token in (mine, other, fresh)]
    assert found == [False, False, True]
    with pytest.raises(SignInRefused):
        people.sign_in(ANN, GOOD)


@pytest.mark.parametrize("token", ["", "a" * 43, "\0" * 43, "\ud800", "a" * 100_000])
def test_what_is_no_token_is_no_session(people: PeopleStand, token: str) -> None:
    assert people.people.sessions.find(token) is None
    for act in (people.people.sign_in.again, people.people.sign_in.code):
        with pytest.raises(SignInRefused):
            act(token, GOOD, address=HOME)


def test_an_account_has_at_most_fifty_sessions(people: PeopleStand, ann: str) -> None:
    first = people.sign_in(ANN).token
    with people.database.write() as connection:
        for _ in range(50):
            people.now += 0.001
            people.people.sessions.open(connection, ann, address=HOME)
    assert people.people.sessions.find(first) is None
    assert len(people.people.sessions.of(ann)) <= 51


def test_a_token_against_forged_requests_is_of_one_session(people: PeopleStand, ann: str) -> None:
    one, two = people.sign_in(ANN).token, people.sign_in(ANN).token
    assert csrf_matches(one, csrf_token(one))
    for wrong in (csrf_token(two), "", one, csrf_token(one).upper(), "\ud800"):
        assert not csrf_matches(one, wrong)


def test_the_log_tells_who_acts_in_a_session(people: PeopleStand, ann: str) -> None:
    session = people.people.sessions.find(people.sign_in(ANN).token)
    assert session is not None
    actor = actor_of(session, CAFE)
    assert (actor.id, actor.name, actor.means, actor.address) == (ann, ANN, "session", CAFE)
