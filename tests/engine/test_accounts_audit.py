"""API tokens do no more than their owner may; the audit log is only added to, together with the change, and holds no secret."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from secure_delivery.engine import Engine, build, tables
from secure_delivery.engine.account_rows import DEVELOPER, OWNER, SCOPES, VIEWER
from secure_delivery.engine.audit import CLI, Actor
from secure_delivery.engine.database import Database
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import BadRequest, ConfigurationError, NotFound
from secure_delivery.gate.whitelist import Whitelist

if TYPE_CHECKING:
    from people_stand import PeopleStand

GOOD = "seven quiet lamps walk home"
ANN = Actor(id="ac_ann", name="ann@example.org", means="session", address="192.0.2.7")


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    engine = build(Settings(data=tmp_path / "data", database=database_url))
    yield engine
    engine.close()


def write(people: PeopleStand, actor: Actor = ANN, action: str = "thing.do", **rest: Any) -> None:
    with people.database.write() as connection:
        people.people.audit.write(connection, actor, action, **rest)


# -- tokens


def test_a_token_is_shown_once_and_found_by_its_text(people: PeopleStand) -> None:
    bob = people.people.accounts.add(CLI, "bob@example.org", DEVELOPER, GOOD)
    made, text = people.people.tokens.create(CLI, bob.id, "deploy", scopes=["write", "read"])
    assert text.startswith(made.prefix) and len(made.prefix) == 10 and len(text) == 47
    found = people.people.tokens.find(text)
    assert found is not None
    assert (found[0].id, found[0].scopes, found[1].login) == (made.id, ("read", "write"), "bob@example.org")
    assert people.people.tokens.of(bob.id)[0].used == int(people.now * 1000)
    for wrong in (text[:-1], text + "x", "sdt_" + "a" * 43, "sdt_\0", "", "\ud800", text.removeprefix("sdt_")):
        assert people.people.tokens.find(wrong) is None


def test_a_token_ends_with_its_time_and_when_it_is_revoked(people: PeopleStand) -> None:
    bob = people.people.accounts.add(CLI, "bob@example.org", DEVELOPER, GOOD)
    short, lasting = (people.people.tokens.create(CLI, bob.id, "x", scopes=["read"], days=days) for days in (1, None))
    people.now += 86_400
    assert people.people.tokens.find(short[1]) is None
    assert people.people.tokens.find(lasting[1]) is not None
    with pytest.raises(NotFound):
        people.people.tokens.revoke(CLI, lasting[0].id, account="ac_somebody")
    people.people.tokens.revoke(CLI, lasting[0].id)
    assert people.people.tokens.find(lasting[1]) is None
    for gone in (lasting[0].id, "\0", "é"):
        with pytest.raises(NotFound):
            people.people.tokens.revoke(CLI, gone)


def test_a_token_does_no_more_than_its_owner_may_now(people: PeopleStand) -> None:
    bob = people.people.accounts.add(CLI, "bob@example.org", DEVELOPER, GOOD)
    with pytest.raises(BadRequest, match="accounts"):
        people.people.tokens.create(CLI, bob.id, "x", scopes=SCOPES)
    _, text = people.people.tokens.create(CLI, bob.id, "x", scopes=["read", "write", "secrets"])
    people.people.accounts.set_role(CLI, bob.id, VIEWER)
    found = people.people.tokens.find(text)
    assert found is not None and found[0].scopes == ("read",)
    people.people.accounts.remove(CLI, bob.id)
    assert people.people.tokens.find(text) is None
    assert people.people.tokens.of() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"days": 0},
        {"days": 4000},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
    ],
)
def test_a_token_has_a_name_scopes_and_a_time(people: PeopleStand, wrong: dict[str, Any]) -> None:
    bob = people.people.accounts.add(CLI, "bob@example.org", OWNER, GOOD)
    given = {"name": "x", "scopes": ["read"], "days": 1} | wrong
    with pytest.raises(BadRequest):
        people.people.tokens.create(CLI, bob.id, given.pop("name"), **given)


# -- the log


def test_entries_can_be_neither_changed_nor_deleted(people: PeopleStand) -> None:
    write(people)
    for statement in (sa.update(tables.audit).values(name="eve"), sa.delete(tables.audit)):
        with pytest.raises(DBAPIError, match="only added to"), people.database.write() as connection:
            connection.execute(statement)
    assert [each.name for each in people.people.audit.page()] == ["ann@example.org"]


def test_the_log_is_read_page_by_page_newest_first(people: PeopleStand) -> None:
    for number in range(25):
        people.now += number % 3  # some at the same moment
        write(people, subject=f"thing {number}")
    whole, seen, after = people.people.audit.page(limit=1000), [], None
    while page := people.people.audit.page(after=after, limit=4):
        seen += page
        after = page[-1].id
    assert seen == whole
    assert len(whole) == 25
    assert [each.at for each in whole] == sorted((each.at for each in whole), reverse=True)
    with pytest.raises(NotFound):
        people.people.audit.page(after="au_nothing")


def test_the_log_is_filtered(people: PeopleStand) -> None:
    write(people, action="secret.rotate", application="Aone", subject="one")
    people.now += 10
    write(people, CLI, action="secret.revoke", application="Atwo", subject="two")
    people.now += 10
    write(people, action="secrets_of.others", application="Aone", subject="three")

    def found(**filters: Any) -> list[str]:
        return [each.subject for each in people.people.audit.page(**filters)]

    now = int(people.now * 1000)
    assert found(actor="cli") == ["two"]
    assert found(application="Aone") == ["three", "one"]
    assert found(action="secret.") == ["two", "one"]
    assert found(action="secret.rotate") == ["one"]
    assert found(action="%.") == found(subject="\0") == []
    assert found(since=now - 10_000, until=now) == ["two"]
    assert found(actor="ac_ann", application="Aone", since=now) == ["three"]


def test_of_a_change_only_what_differs_is_kept(people: PeopleStand) -> None:
    write(people, before={"a": 1, "b": [1], "gone": 2}, after={"a": 1, "b": [1, 2], "new": None, "more": 3})
    (entry,) = people.people.audit.page()
    assert entry.before == {"b": [1], "gone": 2}
    assert entry.after == {"b": [1, 2], "more": 3}


def test_values_are_bounded_and_break_no_line(people: PeopleStand) -> None:
    odd = {"long": "x" * 10_000, "lines": "a\nb\0c\x1b[31m\ud800", "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}}}
    actor = Actor(id="x", name="a\nb" * 1000, means="m", address="\0")
    write(people, actor, subject="s\r\n", after=odd | {"many": list(range(500)), "nan": float("nan")})
    people.now += 1
    write(people, after={f"name {number}": "y" * 500 for number in range(90)})
    huge, entry = people.people.audit.page()
    assert len(entry.after["long"]) == 512
    assert entry.after["lines"] == "a\ufffdb\ufffdc\ufffd[31m\ufffd"
    assert len(entry.after["many"]) == 100
    assert entry.name.isprintable() and entry.subject.isprintable() and len(entry.name) == 512
    assert set(huge.after.values()) == {"…"}


@pytest.mark.parametrize("name", ["secret", "apiSecret", "PASSWORD", "access_token", "credentials", "signature", "private_key"])
def test_what_is_under_the_name_of_a_secret_is_left_out_whoever_forgot(people: PeopleStand, name: str) -> None:
    write(people, before={"options": {name: "marker"}}, after={name: ["marker"]})
    (entry,) = people.people.audit.page()
    assert "marker" not in str(entry)


def test_accounts_and_sign_ins_are_in_the_log(people: PeopleStand) -> None:
    accounts = people.people.accounts
    accounts.set_up(accounts.setup_link(CLI), "ann@example.org", GOOD, address="192.0.2.7")
    people.now += 1
    people.sign_in("ann@example.org")
    people.now += 1
    accounts.set_role(CLI, accounts.invite(CLI, "bob@example.org", VIEWER)[0].id, DEVELOPER)
    log = {entry.action: entry for entry in people.people.audit.page()}
    assert set(log) == {"account.setup_link", "account.set_up", "session.open", "account.invite", "account.role"}
    assert (log["session.open"].name, log["session.open"].address) == ("ann@example.org", "192.0.2.7")
    assert (log["account.role"].before, log["account.role"].after) == ({"role": VIEWER}, {"role": DEVELOPER})


# -- changes of applications


def test_every_change_of_an_application_is_in_the_log_without_its_secrets(engine: Engine, tmp_path: Path) -> None:
    work, marker = engine.administration, secrets.token_hex(20)
    application, first = work.create_application(ANN, "shop")
    key = application.api_key
    work.change_application(ANN, key, require_policy=True, delivery_whitelist=Whitelist(["example.org"]))
    _, second = work.rotate_secret(ANN, key, grace=60)
    work.end_grace(ANN, key)
    hook, third = work.add_webhook(ANN, key, f"https://hooks.example.org/in?key={marker}")
    work.change_webhook(ANN, key, hook.id, active=False)
    _, fourth = work.rotate_webhook(ANN, key, hook.id)
    work.remove_webhook(ANN, key, hook.id)
    work.delete_application(ANN, key)
    log = engine.people.audit.page(application=key)
    assert {entry.action for entry in log} == {
        *("application.create", "application.change", "application.delete", "secret.rotate", "secret.revoke"),
        *("webhook.add", "webhook.change", "webhook.rotate", "webhook.remove"),
    }
    assert {(entry.actor, entry.name, entry.address) for entry in log} == {("ac_ann", "ann@example.org", "192.0.2.7")}
    change = next(entry for entry in log if entry.action == "application.change")
    assert change.before == {"require_policy": False, "delivery_whitelist": None}
    assert change.after["delivery_whitelist"]["patterns"] == ["example.org"]
    for secret in (first, second, third, fourth, marker):
        assert secret not in str(log)


def test_storages_are_in_the_log_and_of_their_secrets_only_how_many(engine: Engine) -> None:
    pytest.importorskip("secure_delivery_s3")
    work, marker = engine.administration, secrets.token_hex(20)
    key = work.create_application(ANN, "shop")[0].api_key
    options = {"bucket": "shop-files", "region": "eu-central-1", "access_key_id": "AKIAEXAMPLE", "secret_access_key": marker}
    work.add_storage(ANN, key, "mine", "s3", options, usual=True)
    work.change_storage(ANN, key, "mine", {"secret_access_key": marker + "2"})
    work.remove_storage(ANN, key, "mine")
    log = engine.people.audit.page(application=key)
    assert sorted(entry.action for entry in log) == [
        *("application.change", "application.change", "application.create", "storage.add", "storage.change", "storage.remove"),
    ]
    assert marker not in str(log)
    found = engine.records.application(key)
    assert found is not None and found.storage == ""


def test_a_change_that_is_refused_is_not_in_the_log_and_nothing_of_it_happens(engine: Engine) -> None:
    work = engine.administration
    key = work.create_application(ANN, "shop")[0].api_key
    before = len(engine.people.audit.page())
    with pytest.raises(ConfigurationError):
        work.change_application(ANN, key, leeway=10**9)
    with pytest.raises(BadRequest):
        work.create_application(ANN, "again", api_key=key)
    with pytest.raises(BadRequest):
        work.add_webhook(ANN, key, "ftp://example.org/")
    for act in (work.rotate_secret, work.end_grace, work.delete_application):
        with pytest.raises(NotFound):
            act(ANN, "Anobody")
    assert len(engine.people.audit.page()) == before


def test_a_change_whose_entry_cannot_be_written_does_not_happen(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    work = engine.administration
    application, _ = work.create_application(ANN, "shop")
    with engine.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        work.rotate_secret(ANN, application.api_key)
    assert engine.records.application(application.api_key) == application


# -- writes that belong together


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.application.c.api_key).order_by(sa.text("1"))).scalars())


def insert(database: Database, key: str) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(tables.application).values(api_key=key, name="n", settings={}, created=0))


def test_writes_of_one_block_are_committed_together(database: Database) -> None:
    with database.whole():
        insert(database, "a")
        with database.whole():
            insert(database, "b")
        assert names(database) == []
    assert names(database) == ["a", "b"]


def test_a_block_that_raises_undoes_all_of_its_writes(database: Database) -> None:
    with pytest.raises(KeyError), database.whole():
        insert(database, "a")
        insert(database, "b")
        raise KeyError
    assert names(database) == []
    insert(database, "c")
    assert names(database) == ["c"]


def test_a_write_that_failed_and_was_caught_leaves_the_others(database: Database) -> None:
    with database.whole():
        insert(database, "a")
        with pytest.raises(IntegrityError):
            insert(database, "a")
        insert(database, "b")
    assert names(database) == ["a", "b"]


def test_a_block_that_writes_nothing_holds_nobody_up(database: Database) -> None:
    other = Database(database._url.render_as_string(hide_password=False))
    with database.whole():
        insert(other, "a")
        assert names(database) == ["a"]
    other.close()
