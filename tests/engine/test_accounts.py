"""Accounts: an owner comes by a link that is good once, others by invitation, and there is always an owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from secure_delivery.engine import tables
from secure_delivery.engine.account_rows import DEVELOPER, OWNER, ROLES, VIEWER, normal_login
from secure_delivery.engine.audit import CLI
from secure_delivery.engine.sealed import ACCOUNTS, Sealed
from secure_delivery.engine.sign_in import SignInRefused
from secure_delivery.engine.throttle import TooManyAttempts
from secure_delivery.engine.totp import code_at, from_base32
from secure_delivery.engine.vault import Place, Vault
from secure_delivery.gate.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from people_stand import PeopleStand

GOOD, OTHER = "seven quiet lamps walk home", "nine loud kettles stay here"
HOME = "192.0.2.7"
ODD = ["", "x", "a" * 43, "\0" * 43, "\ud800" * 43, "é" * 43, "a" * 100_000]


def owner(people: PeopleStand, login: str = "ann@example.org") -> str:
    return people.people.accounts.add(CLI, login, OWNER, GOOD).id


def outcomes(jobs: list[Callable[[], object]]) -> list[object]:
    """What all jobs gave or raised, done at the same time."""
    found: list[object] = []
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        gate.wait()
        try:
            found.append(job())
        except Exception as fault:
            found.append(fault)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_the_first_owner_comes_by_a_link_that_is_good_once(people: PeopleStand) -> None:
    accounts = people.people.accounts
    assert not accounts.has_owner()
    link = accounts.setup_link(CLI)
    assert accounts.invited(link, kind="setup") is None
    made = accounts.set_up(link, " Ann@Example.ORG ", GOOD, address=HOME)
    assert (made.login, made.role, made.usable) == ("ann@example.org", OWNER, True)
    assert people.sign_in("ANN@example.org").account.id == made.id
    with pytest.raises(NotFound, match="link"):
        accounts.set_up(link, "eve@example.org", GOOD, address=HOME)
    with pytest.raises(Conflict):
        accounts.setup_link(CLI)


def test_a_link_to_set_up_ends_after_an_hour_and_with_the_next_one(people: PeopleStand) -> None:
    accounts = people.people.accounts
    first, second = accounts.setup_link(CLI), accounts.setup_link(CLI)
    with pytest.raises(NotFound):
        accounts.set_up(first, "ann@example.org", GOOD, address=HOME)
    people.now += 3600
    with pytest.raises(NotFound):
        accounts.set_up(second, "ann@example.org", GOOD, address=HOME)
    assert accounts.sweep() == 1


def test_a_link_to_set_up_is_worth_nothing_once_there_is_an_owner(people: PeopleStand) -> None:
    link = people.people.accounts.setup_link(CLI)
    owner(people)
    with pytest.raises(NotFound):
        people.people.accounts.set_up(link, "eve@example.org", GOOD, address=HOME)


def test_a_refused_password_leaves_the_link_good(people: PeopleStand) -> None:
    accounts = people.people.accounts
    link = accounts.setup_link(CLI)
    for login, password in (("ann@example.org", "password1"), ("ann", GOOD)):
        with pytest.raises(BadRequest):
            accounts.set_up(link, login, password, address=HOME)
    assert accounts.set_up(link, "ann@example.org", GOOD, address=HOME).role == OWNER


def test_of_many_who_use_one_link_at_once_one_becomes_the_owner(people: PeopleStand) -> None:
    link = people.people.accounts.setup_link(CLI)

    def use(number: int) -> Callable[[], object]:
        return lambda: people.people.accounts.set_up(link, f"p{number}@example.org", GOOD, address=HOME)

    found = outcomes([use(number) for number in range(4)])
    assert sorted(isinstance(each, NotFound) for each in found) == [False, True, True, True]
    assert len(people.people.accounts.all()) == 1


def test_who_is_invited_chooses_the_password(people: PeopleStand) -> None:
    accounts = people.people.accounts
    made, link = accounts.invite(CLI, "bob@example.org", DEVELOPER)
    assert made.invited
    with pytest.raises(SignInRefused):
        people.sign_in("bob@example.org")
    invited = accounts.invited(link)
    assert invited is not None and invited.login == "bob@example.org"
    assert accounts.accept(link, GOOD, address=HOME).usable
    assert people.sign_in("bob@example.org").account.role == DEVELOPER
    with pytest.raises(NotFound):
        accounts.accept(link, OTHER, address=HOME)


def test_an_invitation_ends_with_its_time_with_the_next_one_and_with_the_account(people: PeopleStand) -> None:
    accounts = people.people.accounts
    made, first = accounts.invite(CLI, "bob@example.org", VIEWER)
    second = accounts.invite_again(CLI, made.id)
    with pytest.raises(NotFound):
        accounts.accept(first, GOOD, address=HOME)
    people.now += 72 * 3600
    with pytest.raises(NotFound):
        accounts.accept(second, GOOD, address=HOME)
    third = accounts.invite_again(CLI, made.id)
    accounts.disable(CLI, made.id)
    with pytest.raises(NotFound):
        accounts.accept(third, GOOD, address=HOME)
    accounts.remove(CLI, made.id)
    assert accounts.all() == []


def test_a_forgotten_password_is_chosen_anew_and_what_was_signed_in_ends(people: PeopleStand) -> None:
    accounts = people.people.accounts
    ann = owner(people)
    before = people.sign_in("ann@example.org").token
    link = accounts.invite_again(CLI, ann)
    assert people.people.sessions.find(before) is not None, "until the link is used"
    accounts.accept(link, OTHER, address=HOME)
    assert people.people.sessions.find(before) is None
    with pytest.raises(SignInRefused):
        people.sign_in("ann@example.org", GOOD)
    assert people.sign_in("ann@example.org", OTHER).account.id == ann


@pytest.mark.parametrize("token", ODD)
def test_what_is_no_link_is_refused_and_ten_of_them_are_enough(people: PeopleStand, token: str) -> None:
    accounts = people.people.accounts
    good = accounts.setup_link(CLI)
    for _ in range(10):
        with pytest.raises(NotFound):
            accounts.accept(token, GOOD, address=HOME)
    with pytest.raises(TooManyAttempts):
        accounts.set_up(good, "ann@example.org", GOOD, address=HOME)
    assert accounts.set_up(good, "ann@example.org", GOOD, address="198.51.100.1").role == OWNER


def test_names_are_compared_without_case_and_given_once(people: PeopleStand) -> None:
    owner(people)
    with pytest.raises(Conflict):
        people.people.accounts.invite(CLI, "ANN@EXAMPLE.org", VIEWER)
    assert len(people.people.accounts.all()) == 1


@pytest.mark.parametrize(
    "login", ["", "ann", "@", "a@", "@b", "a b@c", "a@b@c", "a\0@b", "a@b\u202e", "x" * 65 + "@b", "a@" + "b" * 500]
)
def test_what_does_not_look_like_an_address_is_no_login_name(people: PeopleStand, login: str) -> None:
    assert normal_login(login) is None
    with pytest.raises(BadRequest):
        people.people.accounts.invite(CLI, login, VIEWER)
    with pytest.raises(NotFound):
        people.people.accounts.named(login)


def test_a_role_has_to_be_one(people: PeopleStand) -> None:
    with pytest.raises(BadRequest):
        people.people.accounts.invite(CLI, "bob@example.org", "root")
    assert ROLES[VIEWER] < ROLES[DEVELOPER] < ROLES[OWNER]


def test_the_last_owner_who_can_sign_in_stays(people: PeopleStand) -> None:
    accounts = people.people.accounts
    ann = owner(people)
    accounts.invite(CLI, "invited@example.org", OWNER)  # cannot sign in yet
    for leave in (
        lambda: accounts.set_role(CLI, ann, VIEWER),
        lambda: accounts.disable(CLI, ann),
        lambda: accounts.remove(CLI, ann),
    ):
        with pytest.raises(Conflict, match="last owner"):
            leave()
    assert accounts.set_role(CLI, ann, OWNER).role == OWNER
    owner(people, "bea@example.org")
    accounts.remove(CLI, ann)
    assert {each.login for each in accounts.all()} == {"invited@example.org", "bea@example.org"}


def test_two_owners_who_remove_each_other_at_once_leave_one(people: PeopleStand) -> None:
    ann, bea = owner(people), owner(people, "bea@example.org")
    accounts = people.people.accounts
    found = outcomes([lambda: accounts.remove(CLI, ann), lambda: accounts.remove(CLI, bea)])
    assert sum(isinstance(each, (Conflict, NotFound)) for each in found) == 1
    assert len(accounts.all()) == 1


def test_another_role_ends_sessions(people: PeopleStand) -> None:
    owner(people)
    bob = people.people.accounts.add(CLI, "bob@example.org", OWNER, GOOD)
    token = people.sign_in("bob@example.org").token
    assert people.people.accounts.set_role(CLI, bob.id, VIEWER).role == VIEWER
    assert people.people.sessions.find(token) is None


def test_a_disabled_account_is_of_no_use_until_it_is_enabled(people: PeopleStand) -> None:
    owner(people)
    bob = people.people.accounts.add(CLI, "bob@example.org", DEVELOPER, GOOD)
    token = people.sign_in("bob@example.org").token
    _, key = people.people.tokens.create(CLI, bob.id, "deploy", scopes=["read"])
    people.people.accounts.disable(CLI, bob.id)
    assert people.people.sessions.find(token) is None
    assert people.people.tokens.find(key) is None
    with pytest.raises(SignInRefused):
        people.sign_in("bob@example.org")
    people.people.accounts.enable(CLI, bob.id)
    assert people.people.tokens.find(key) is not None
    assert people.sign_in("bob@example.org").account.usable


@pytest.mark.parametrize("name", ["", "ac_nobody", "\0", "é", "ac_" + "x" * 5000])
def test_an_account_that_is_not_there_is_not_found(people: PeopleStand, name: str) -> None:
    accounts = people.people.accounts
    for act in (
        lambda: accounts.get(name),
        lambda: accounts.set_role(CLI, name, OWNER),
        lambda: accounts.remove(CLI, name),
        lambda: accounts.invite_again(CLI, name),
        lambda: accounts.set_password(CLI, name, GOOD),
        lambda: people.people.second_factor.offer(name),
        lambda: people.people.tokens.create(CLI, name, "x", scopes=["read"]),
    ):
        with pytest.raises(NotFound):
            act()


def test_nothing_of_a_password_a_link_or_a_token_is_in_the_database(people: PeopleStand) -> None:
    accounts = people.people.accounts
    ann = owner(people)
    _, link = accounts.invite(CLI, "bob@example.org", VIEWER)
    signed = people.sign_in("ann@example.org")
    _, key = people.people.tokens.create(CLI, ann, "deploy", scopes=["read"])
    secret, _ = people.people.second_factor.offer(ann)
    codes = people.people.second_factor.confirm(CLI, ann, code_at(from_base32(secret), int(people.now // 30)))
    with people.database.read() as connection:
        kept = "\n".join(str(row) for table in tables.metadata.sorted_tables for row in connection.execute(sa.select(table)))
    assert signed.device is not None
    for marker in (GOOD, link, signed.token, signed.device, key, secret, from_base32(secret).hex(), *codes):
        assert marker not in kept
    assert signed.token not in repr(signed)


def test_secrets_of_second_factors_come_under_a_new_master_key(people: PeopleStand) -> None:
    ann = owner(people)
    secret, _ = people.people.second_factor.offer(ann)
    people.people.second_factor.confirm(CLI, ann, code_at(from_base32(secret), int(people.now // 30)))
    newer = Vault(people.keys | {"k2": bytes(range(100, 132))}, current="k2")
    rows = Sealed(people.database, newer, ACCOUNTS)
    assert (rows.count(), rows.keys(), rows.rewrap(), rows.keys(), rows.rewrap()) == (1, {"k1"}, 1, {"k2"}, 0)
    with people.database.read() as connection:
        sealed = connection.execute(sa.select(tables.account.c.totp)).scalar_one()
    assert newer.open(sealed, place=Place("account", ann, "totp", "")) == from_base32(secret)
