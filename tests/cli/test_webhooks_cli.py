"""`secure-delivery webhook …`: endpoints set up and tried out, the log read, deliveries sent again, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Run, commands
from hooks import posts
from outside import Outside, ok

from secure_delivery.engine import build
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.plugin.protocols import Event

KEY = "AshopShopShopShopShop1"


@pytest.fixture
def web() -> Iterator[Outside]:
    with Outside({"/hook": ok(b"thanks")}) as web:
        yield web


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, web: Outside) -> Run:
    """Runs commands in this process, on a data folder of the test's own, with an application."""
    command = commands(monkeypatch, capsys, tmp_path)
    settings = {"data": str(tmp_path / "data"), "webhook_allow": "127.0.0.1", "webhook_ports": str(web.port)}
    for name, value in settings.items():
        monkeypatch.setenv(PREFIX + name.upper(), value)

    assert command("app", "create", "shop", "--api-key", KEY).status == 0
    return command


def happened(number: int = 1) -> None:
    """Events of a file that nobody has delivered yet."""
    engine = build(Settings.load())
    for _ in range(number):
        engine.webhooks.on_event(Event(name="fp.delete", application=KEY, data={"handle": "HANDLE"}))
    engine.close()


def test_an_endpoint_is_added_listed_changed_and_removed(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--event", "fp.upload", "--event", "fp.delete", "--json").json()
    assert len(made["secret"]) >= 20 and made["events"] == ["fp.upload", "fp.delete"]
    listed = run("webhook", "list", KEY, "--json")
    assert [each["id"] for each in listed.json()["webhooks"]] == [made["id"]]
    shown = run("webhook", "list", KEY)
    assert web.url("/hook") in shown.out and "fp.upload, fp.delete" in shown.out
    for said in (listed, shown):
        assert made["secret"] not in said.out
    changed = run("webhook", "set", KEY, made["id"], "--all-events", "--off", "--json").json()
    assert (changed["events"], changed["state"]) == ([], "off") and "secret" not in changed
    assert run("webhook", "set", KEY, made["id"], "--all-events", "--event", "fp.upload").status == 2
    assert run("webhook", "remove", KEY, made["id"], "--yes").out.split() == ["removed:", made["id"]]
    assert run("webhook", "list", KEY, "--json").json() == {"webhooks": []}


def test_one_is_shown_with_the_end_of_its_secret_and_nothing_more_of_it(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    told = run("webhook", "show", KEY, made["id"], "--json")
    assert told.json()["secret_ends"] == made["secret"][-4:] and made["secret"] not in told.out
    shown = run("webhook", "show", KEY, made["id"])
    assert web.url("/hook") in shown.out and made["secret"] not in shown.out
    assert run("webhook", "show", KEY, "wh_nobody").status == 2


def test_one_delivery_is_shown_with_what_it_told_and_every_try(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    done = run("webhook", "test", KEY, made["id"], "--json").json()
    told = run("webhook", "delivery", KEY, done["id"], "--json").json()
    assert json.loads(told["payload"])["action"] == "webhook.test" and told["payload"].encode() == web.bodies[-1]
    assert [(each["number"], each["status"], each["answer"]) for each in told["tries"]] == [(1, 200, "thanks")]
    shown = run("webhook", "delivery", KEY, done["id"])
    assert "webhook.test" in shown.out and "thanks" in shown.out
    run("app", "create", "other", "--api-key", "BotherOtherOtherOther1")
    assert run("webhook", "delivery", "BotherOtherOtherOther1", done["id"]).status == 2


def test_a_secret_is_printed_when_it_is_made_and_when_it_is_replaced(run: Run, web: Outside) -> None:
    added = run("webhook", "add", KEY, web.url("/hook"))
    assert "shown once" in added.out
    name = added.out.split()[1]
    rotated = run("webhook", "rotate", KEY, name, "--grace", "600")
    assert "shown once" in rotated.out and "secret before, until" in rotated.out
    assert rotated.out.split()[-1] != added.out.split()[-1]
    assert run("webhook", "rotate", KEY, name, "--grace", "9999999").status == 2


def test_a_test_arrives_or_says_why_not(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    good = run("webhook", "test", KEY, made["id"])
    assert good.status == 0 and "delivered" in good.out and "thanks" in good.out
    assert posts(web)[0].verified(made["secret"]).action == "webhook.test"
    web.scripts["/hook"] = ok(b"no", status="500 No")
    bad = run("webhook", "test", KEY, made["id"], "--json")
    assert bad.status == 1 and (bad.json()["state"], bad.json()["status"]) == ("failed", 500)
    assert run("webhook", "test", KEY, "wh_nobody").status == 2


def test_the_log_is_shown_and_a_delivery_is_sent_again_at_once(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    happened(3)
    waiting = run("webhook", "deliveries", KEY, "--json").json()["deliveries"]
    assert [(each["event"], each["state"], each["attempts"]) for each in waiting] == [("fp.delete", "waiting", 0)] * 3
    web.scripts["/hook"] = ok(b"no", status="500 No")
    failed = run("webhook", "redeliver", KEY, waiting[0]["id"])
    assert failed.status == 1 and "did not arrive" in failed.err
    web.scripts["/hook"] = ok(b"thanks")
    done = run("webhook", "redeliver", KEY, waiting[0]["id"], "--json").json()
    assert (done["state"], done["attempts"], done["event_id"]) == ("delivered", 2, waiting[0]["event_id"])
    assert {post.event_id for post in posts(web)} == {waiting[0]["event_id"]}
    posts(web)[-1].verified(made["secret"])
    assert len(run("webhook", "deliveries", KEY, "--state", "waiting", "--json").json()["deliveries"]) == 2
    page = run("webhook", "deliveries", KEY, "--limit", "2", "--json").json()
    rest = run("webhook", "deliveries", KEY, "--limit", "2", "--after", page["next"], "--json").json()
    assert [each["id"] for each in page["deliveries"] + rest["deliveries"]] == [each["id"] for each in waiting]
    assert rest["next"] is None
    shown = run("webhook", "deliveries", KEY, "--webhook", made["id"], "--event", "fp.delete").out
    assert "delivered" in shown and "thanks" in shown
    assert run("webhook", "deliveries", KEY, "--state", "lost").status == 2


def test_nobody_reaches_the_webhooks_of_another_application(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    happened()
    delivery = run("webhook", "deliveries", KEY, "--json").json()["deliveries"][0]["id"]
    other = "AotherOtherOtherOther1"
    assert run("app", "create", "other", "--api-key", other).status == 0
    for words in (
        ("set", other, made["id"], "--off"),
        ("remove", other, made["id"], "--yes"),
        ("rotate", other, made["id"]),
        ("test", other, made["id"]),
        ("redeliver", other, delivery),
        ("deliveries", other, "--after", delivery),
        ("list", "Anobody"),
        ("add", "Anobody", web.url("/hook")),
    ):
        said = run("webhook", *words)
        assert said.status == 2 and said.err.startswith("error: "), words
    assert run("webhook", "list", other, "--json").json() == {"webhooks": []}
    assert posts(web) == []


def test_an_address_that_may_be_none_is_refused_with_the_reason(run: Run) -> None:
    for url, says in (("http://hooks.example.org/", "https"), ("https://hooks.example.org:99/", "port"), ("nonsense", "plain")):
        said = run("webhook", "add", KEY, url)
        assert said.status == 2 and says in said.err
    assert run("webhook", "add", KEY, "https://hooks.example.org/", "--event", "fp.nothing").status == 2


def test_a_new_master_key_seals_webhooks_too_and_the_old_one_can_go(run: Run, web: Outside) -> None:
    made = run("webhook", "add", KEY, web.url("/hook"), "--json").json()
    happened()
    assert run("vault", "status", "--json").json()["webhooks"] == 2
    rotated = run("vault", "rotate", "--json").json()
    assert rotated["rewrapped"] == 3, "the application's secret, the webhook's, and the body that waits"
    assert run("vault", "prune", "--json").json()["dropped"] == rotated["older"]
    delivery = run("webhook", "deliveries", KEY, "--json").json()["deliveries"][0]["id"]
    assert run("webhook", "redeliver", KEY, delivery).status == 0
    posts(web)[0].verified(made["secret"])
