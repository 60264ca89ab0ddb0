"""Webhooks: written down with what they tell of, delivered at least once under one id, to who asked for them, to no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hooks import BODY, KEYS, NOW, Room, posts
from outside import Outside, answer, ok

from secure_delivery.client import WebhookError, callback_secret, receive_webhook
from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.vault import Vault, new_master_key
from secure_delivery.engine.webhooks import EVENTS, Delivery, Schedule
from secure_delivery.gate.errors import BadRequest, Conflict, NotFound
from secure_delivery.plugin.protocols import Event

PREVIEW = b'{"id": "a3c5", "status": "success", "user_data": null}'


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def log(room: Room, application: str, **only: Any) -> list[Delivery]:
    return room.webhooks.log.page(application, **only)


def cells(database: Database, name: str) -> list[str]:
    """Every value of a column of the deliveries."""
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.webhook_delivery.c[name])).scalars())


# ----------------------------------------------------------------------------------------------------------- writing down


def test_a_delivery_is_written_down_with_what_it_tells_of_or_not_at_all(room: Room) -> None:
    mine = room.application()
    room.webhooks.endpoints.add(mine, "https://hooks.example.org/")
    with pytest.raises(KeyError), room.database.write() as connection:
        room.webhooks.record(connection, application=mine, event="fp.delete", body=BODY)
        raise KeyError
    assert log(room, mine) == []
    assert len(room.tell(mine)) == len(log(room, mine)) == 1


def test_only_endpoints_that_asked_for_an_event_get_it(room: Room) -> None:
    mine, other = room.application(), room.application("other")
    every = room.webhooks.endpoints.add(mine, "https://a.example.org/")[0]
    some = room.webhooks.endpoints.add(mine, "https://b.example.org/", events=["fp.upload", "fp.preview"])[0]
    room.webhooks.endpoints.add(mine, "https://c.example.org/", active=False)
    room.webhooks.endpoints.add(other, "https://d.example.org/")
    for event in EVENTS:
        room.tell(mine, event)
    told = {(each.webhook, each.event) for each in log(room, mine)}
    assert told == {(every.id, event) for event in EVENTS} | {(some.id, "fp.upload"), (some.id, "fp.preview")}
    assert log(room, other) == []


def test_endpoints_of_one_event_are_told_of_the_same_event_id_in_deliveries_of_their_own(room: Room) -> None:
    mine = room.application()
    for name in "ab":
        room.webhooks.endpoints.add(mine, f"https://{name}.example.org/")
    first, second = room.tell(mine)
    assert first != second
    assert len({each.event_id for each in log(room, mine)}) == 1
    room.tell(mine)
    assert len({each.event_id for each in log(room, mine)}) == 2


def test_nobody_who_wants_it_means_nothing_is_written_down(room: Room) -> None:
    mine = room.application()
    assert room.tell(mine) == []
    room.webhooks.on_event(Event(name="fp.delete", application=mine, data={"handle": "h"}))
    assert log(room, mine) == []


def test_an_event_of_a_file_becomes_an_envelope_whose_number_is_its_event_id(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        secret = room.webhooks.endpoints.add(mine, web.url("/hook"))[1]
        room.webhooks.on_event(Event(name="fp.delete", application=mine, data={"handle": "HANDLE"}))
        room.webhooks.on_event(Event(name="an.event.of.a.plugin", application=mine, data={}))
        (delivery,) = log(room, mine)
        assert room.webhooks.deliver(delivery.id)
    event = posts(web)[0].verified(secret, now=room.clock)
    assert (event.action, event.text, event.timestamp) == ("fp.delete", {"url": "https://files.example.org/HANDLE"}, int(NOW))
    assert event.event_id == f"evt_{event.id}" == posts(web)[0].event_id == delivery.event_id


def test_an_event_that_cannot_be_written_down_stops_nobody(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    mine = room.application()
    room.webhooks.endpoints.add(mine, "https://hooks.example.org/")
    room.webhooks.on_event(Event(name="fp.delete", application=mine, data={}))
    assert "could not be written down" in caplog.text


# -------------------------------------------------------------------------------------------------------------- delivering


def test_the_body_goes_as_it_is_with_both_signatures_and_the_answer_is_kept(room: Room) -> None:
    with Outside({"/hook?a=b": ok(b"thank\x00 you\n" + b"x" * 2000)}) as web:
        mine = room.application()
        endpoint, secret = room.webhooks.endpoints.add(mine, web.url("/hook?a=b"))
        (name,) = room.tell(mine, "fp.preview", PREVIEW, job="a3c5")
        assert room.webhooks.deliver(name)
    (post,) = posts(web)
    assert (post.line, post.body) == ("POST /hook?a=b HTTP/1.1", PREVIEW)
    assert post.headers["content-type"] == "application/json"
    assert post.headers["user-agent"].startswith("secure-delivery")
    assert post.headers["webhook-timestamp"] == post.headers["fs-timestamp"] == str(int(NOW))
    event = post.verified(secret, now=room.clock)
    assert (event.action, event.text["id"]) == ("fp.preview", "a3c5")
    delivery = room.webhooks.log.one(name)
    assert (delivery.state, delivery.webhook, delivery.job, delivery.status) == ("delivered", endpoint.id, "a3c5", 200)
    assert delivery.answer is not None and delivery.answer.startswith("thank you xxx") and len(delivery.answer) == 100
    assert (delivery.due, delivery.finished, delivery.size) == (None, int(NOW * 1000), len(PREVIEW))
    (attempt,) = room.webhooks.log.tries(name)
    assert (attempt.number, attempt.started, attempt.status, attempt.answer) == (1, int(NOW * 1000), 200, delivery.answer)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_only_an_answer_in_the_two_hundreds_ends_it(tmp_path: Path, status: int) -> None:
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    database.migrate()
    room = Room(database)
    script = answer(f"{status} Said", "Location: /elsewhere", *([] if status == 204 else ["Content-Length: 0"]))
    with Outside({"/hook": script, "/elsewhere": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        assert room.webhooks.deliver(name) == (status < 300)
    assert len(posts(web)) == 1, "redirects are not followed"
    assert room.webhooks.log.one(name).status == status
    assert room.webhooks.log.one(name).state == ("delivered" if status < 300 else "waiting")
    database.close()


def test_what_fails_is_tried_again_with_growing_delays_under_one_id_and_a_fresh_time(room: Room) -> None:
    with Outside({"/hook": ok(b"no", status="500 No")}) as web:
        mine = room.application()
        secret = room.webhooks.endpoints.add(mine, web.url("/hook"))[1]
        (name,) = room.tell(mine)
        for number, delay in enumerate((10, 60), 1):
            assert not room.webhooks.deliver(name)
            waiting = room.webhooks.log.one(name)
            assert (waiting.state, waiting.attempts) == ("waiting", number)
            assert waiting.due == int(room.clock() * 1000) + delay * 1000
            room.clock.on(delay)
        web.scripts["/hook"] = ok(b"yes")
        assert room.webhooks.deliver(name)
        assert room.webhooks.deliver(name), "asked again it is delivered, and not sent again"
    got = posts(web)
    assert [post.headers["webhook-timestamp"] for post in got] == [str(int(NOW) + passed) for passed in (0, 10, 70)]
    assert len({post.event_id for post in got}) == 1 and len({post.body for post in got}) == 1
    for post in got:
        post.verified(secret, now=lambda post=post: float(post.headers["webhook-timestamp"]))  # type: ignore[misc]
    assert [(each.number, each.status, each.answer) for each in room.webhooks.log.tries(name)] == [
        (1, 500, "no"),
        (2, 500, "no"),
        (3, 200, "yes"),
    ]


def test_what_never_arrives_is_given_up_and_shown(room: Room) -> None:
    with Outside({"/hook": ok(b"no", status="500 No")}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        for _ in range(len(room.delays) + 1):
            assert not room.webhooks.deliver(name)
        assert not room.webhooks.deliver(name)
    assert len(posts(web)) == len(room.delays) + 1
    given_up = room.webhooks.log.one(name)
    assert (given_up.state, given_up.due, given_up.status, given_up.kept) == ("failed", None, 500, True)
    assert log(room, mine, state="failed") == [given_up]


def test_delays_are_spread_by_a_fifth_and_end() -> None:
    schedule = Schedule()
    assert [schedule.after(number, 0.5) for number in range(1, 8)] == [10, 60, 300, 900, 3600, 43_200, None]
    assert (schedule.after(2, 0.0), schedule.after(2, 1.0)) == (48, 72)


@pytest.mark.parametrize(("status", "kept"), [("200 OK", False), ("500 No", False)])
def test_a_body_that_tells_what_is_in_a_file_is_gone_when_it_is_delivered_or_given_up(
    room: Room, status: str, kept: bool
) -> None:
    with Outside({"/hook": ok(b"", status=status)}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (preview,), (other,) = room.tell(mine, "fp.preview", PREVIEW, job="a3c5"), room.tell(mine)
        for _ in range(len(room.delays) + 1):
            assert room.webhooks.log.one(preview).kept, "as long as it waits"
            room.webhooks.deliver(preview)
            room.webhooks.deliver(other)
            if status == "200 OK":
                break
    assert room.webhooks.log.one(preview).kept is kept
    assert room.webhooks.log.one(other).kept is True
    assert [body is None for body in cells(room.database, "body")].count(True) == 1


def test_nothing_that_is_sent_stands_in_the_database_as_it_is(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'one.db'}")
    database.migrate()
    room = Room(database)
    mine = room.application()
    secret = room.webhooks.endpoints.add(mine, "https://hooks.example.org/")[1]
    room.tell(mine, "fp.preview", b'{"id": "a", "status": "success", "text": "MARKER of the content"}')
    room.tell(mine, callback_url="https://callback.example.org/SECRETPATH?token=MARKER2")
    database.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for marker in (secret.encode(), b"MARKER", b"SECRETPATH", b"callback.example.org"):
        assert marker not in written
    assert b"hooks.example.org" in written, "the search finds what is there"


def test_an_endpoint_that_says_it_is_gone_gets_nothing_more_until_it_is_switched_on(room: Room) -> None:
    with Outside({"/hook": ok(b"", status="410 Gone")}) as web:
        mine = room.application()
        endpoint = room.webhooks.endpoints.add(mine, web.url("/hook"))[0]
        (first,), (second,) = room.tell(mine), room.tell(mine)
        assert not room.webhooks.deliver(first)
        assert not room.webhooks.deliver(second)
        assert room.webhooks.endpoints.get(mine, endpoint.id).state == "gone"
        assert [room.webhooks.log.one(name).state for name in (first, second)] == ["failed", "failed"]
        assert len(posts(web)) == 1, "what waited for it is given up without asking"
        assert room.tell(mine) == []
        assert room.webhooks.endpoints.change(mine, endpoint.id, active=True).state == "active"
        assert len(room.tell(mine)) == 1


def test_what_waits_for_an_endpoint_that_was_switched_off_or_removed_is_not_sent(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        off, gone = (room.webhooks.endpoints.add(mine, web.url("/hook"))[0] for _ in range(2))
        names = room.tell(mine)
        room.webhooks.endpoints.change(mine, off.id, active=False)
        room.webhooks.endpoints.remove(mine, gone.id)
        assert [room.webhooks.deliver(name) for name in names] == [False, False]
        room.webhooks.deliver("wd_of_nobody")
        with pytest.raises(Conflict, match="switched off"):
            room.webhooks.redeliver(log(room, mine)[0].id)
    assert posts(web) == []
    assert [(each.webhook, each.state) for each in log(room, mine)] == [(off.id, "failed")]


# ------------------------------------------------------------------------------------------------------ addresses of requests


def test_an_address_that_a_request_names_is_told_with_a_secret_made_of_the_applications(room: Room) -> None:
    with Outside({"/cb?token=t": ok()}) as web:
        application, secret = room.records.create_application("shop")
        mine = application.api_key
        hook = room.webhooks.endpoints.add(mine, web.url("/cb?token=t"), events=["fp.preview"])[0]
        names = room.tell(mine, "fp.preview", PREVIEW, job="j", callback_url=web.url("/cb?token=t"))
        assert [room.webhooks.deliver(name) for name in names] == [True, True]
        fresh = room.records.rotate_secret(mine, grace=600)[1]
        (again,) = room.tell(mine, callback_url=web.url("/cb?token=t"))
        assert room.webhooks.deliver(again)
    of_request = next(
        post for post, name in zip(posts(web), names, strict=False) if room.webhooks.log.one(name).webhook is None
    )
    assert of_request.verified(callback_secret(secret), now=room.clock).action == "fp.preview"
    assert posts(web)[0].event_id == posts(web)[1].event_id
    assert {each.webhook for each in log(room, mine)} == {hook.id, None}
    last = posts(web)[2]
    last.verified(callback_secret(fresh), now=room.clock)
    assert len(last.signatures) == 2, "the secret that is replaced signs too"
    with pytest.raises(WebhookError):
        of_request.verified(secret, now=room.clock)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example.org/", "https"),
        ("http://127.0.0.2:99/", None),
        ("https://user:pw@hooks.example.org/", "password"),
        ("ftp://hooks.example.org/", "plain http"),
        ("https://hooks.example.org:8443/", "port"),
        ("https://0x7f.1/", "host"),
        ("https://hooks.example.org/" + "a" * 2048, "longer"),
        ("", "plain"),
        ("https://hooks.example.org/\r\nX: y", "plain"),
    ],
)
def test_an_address_that_may_be_none_is_refused_when_it_is_named(database: Database, url: str, says: str | None) -> None:
    room = Room(database, sending={"ports": (80, 443), "allow": ("127.0.0.2:99",)})
    mine = room.application()
    if says is None:  # the operator named it: by plain http too
        room.webhooks.check_url(url)
        return
    for check in (room.webhooks.check_url, lambda url: room.webhooks.endpoints.add(mine, url)):
        with pytest.raises(BadRequest) as caught:
            check(url)
        assert says in caught.value.public and "source" not in caught.value.public
    assert room.webhooks.endpoints.of(mine) == ()


# ---------------------------------------------------------------------------------------------------------------- secrets


def test_during_a_rotation_both_secrets_sign_and_afterwards_only_the_new_one(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        endpoint, old = room.webhooks.endpoints.add(mine, web.url("/hook"))
        new = room.webhooks.endpoints.rotate(mine, endpoint.id, grace=600)[1]
        assert room.webhooks.deliver(room.tell(mine)[0])
        room.clock.on(601)
        assert room.webhooks.deliver(room.tell(mine)[0])
        newest = room.webhooks.endpoints.rotate(mine, endpoint.id, grace=0)[1]
        assert room.webhooks.deliver(room.tell(mine)[0])
    both, late, at_once = posts(web)
    both.verified(new, now=lambda: NOW)
    standard = {name: value for name, value in both.headers.items() if name.startswith("webhook-")}
    assert receive_webhook(both.body, standard, old, now=lambda: NOW)
    late.verified(new, now=room.clock)
    assert [len(post.signatures) for post in (both, late, at_once)] == [2, 1, 1]
    at_once.verified(newest, now=room.clock)
    with pytest.raises(WebhookError):
        at_once.verified(new, now=room.clock)


def test_a_secret_is_shown_once_and_never_again(room: Room) -> None:
    mine = room.application()
    endpoint, secret = room.webhooks.endpoints.add(mine, "https://hooks.example.org/path?token=t")
    assert room.webhooks.endpoints.add(mine, "https://b.example.org/", secret="a secret"[2:].strip() + "-of-my-own-0123456789")[
        1
    ]
    for shown in (repr(endpoint), repr(room.webhooks.endpoints.of(mine)), str(vars(room.webhooks.endpoints)["_known"])):
        assert secret not in shown and "token" not in shown
    with pytest.raises(BadRequest, match="grace"):
        room.webhooks.endpoints.rotate(mine, endpoint.id, grace=8 * 86_400)


def test_everything_that_is_sealed_comes_under_a_new_master_key(database: Database) -> None:
    room = Room(database)
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        endpoint = room.webhooks.endpoints.add(mine, web.url("/hook"))[0]
        room.webhooks.endpoints.rotate(mine, endpoint.id, grace=6000)
        names = room.tell(mine, callback_url=web.url("/hook"))
        assert room.webhooks.sealed.keys() == {"tests"}
        room.vault = Vault.from_text(f"{KEYS},{new_master_key('fresh')}")  # the operator has added a key
        webhooks = room.fresh()
        assert webhooks.sealed.count() == 5
        told: list[int] = []
        assert webhooks.sealed.rewrap(lambda: told.append(1)) == len(told) == 5
        assert webhooks.sealed.rewrap() == 0
        assert webhooks.sealed.keys() == {"fresh"}
        assert webhooks.deliver(names[0])
    assert len(posts(web)[0].signatures) == 2


# ---------------------------------------------------------------------------------------------------------- once more, by hand


def test_what_is_over_is_sent_once_more_with_its_id_and_with_all_tries_anew(room: Room) -> None:
    with Outside({"/hook": ok(b"", status="500 No")}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        for _ in range(4):
            room.webhooks.deliver(name)
        assert room.webhooks.log.one(name).state == "failed"
        again = room.webhooks.redeliver(name, application=mine)
        assert (again.state, again.due, again.finished) == ("waiting", int(NOW * 1000), None)
        assert not room.webhooks.deliver(name)
        assert room.webhooks.log.one(name).state == "waiting", "not given up at once"
        web.scripts["/hook"] = ok()
        assert room.webhooks.redeliver(name).due == int(NOW * 1000), "one that waits is sent now"
        assert room.webhooks.deliver(name)
        room.webhooks.redeliver(name)
        assert room.webhooks.deliver(name), "one that arrived, too"
    assert len({post.event_id for post in posts(web)}) == 1
    assert [each.number for each in room.webhooks.log.tries(name)] == [1, 2, 3, 4, 5, 6, 7]


def unknown(application: str, job: str) -> bytes | None:
    raise NotFound


def test_a_preview_is_told_once_more_from_the_record_of_its_job(database: Database) -> None:
    known: dict[tuple[str, str], bytes] = {}
    room = Room(database, rebuild=lambda application, job: known.get((application, job)))
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        known[mine, "job-1"] = PREVIEW
        (first,), (lost,) = (room.tell(mine, "fp.preview", PREVIEW, job=job) for job in ("job-1", "job-2"))
        assert room.webhooks.deliver(first) and room.webhooks.deliver(lost)
        room.webhooks.redeliver(first)
        assert room.webhooks.deliver(first)
        assert not room.webhooks.log.one(first).kept
        with pytest.raises(Conflict, match="not kept"):
            room.webhooks.redeliver(lost)
        for rebuild in (None, unknown):
            room.webhooks.rebuild = rebuild
            with pytest.raises(Conflict):
                room.webhooks.redeliver(first)
    one, _, again = posts(web)
    assert (again.body, again.event_id) == (one.body, one.event_id)


def test_a_test_goes_once_to_one_endpoint_even_when_it_is_switched_off(room: Room) -> None:
    with Outside({"/on": ok(b"hi"), "/off": ok(b"no", status="500 No")}) as web:
        mine = room.application()
        on, secret = room.webhooks.endpoints.add(mine, web.url("/on"), events=["fp.upload"])
        off = room.webhooks.endpoints.add(mine, web.url("/off"), active=False)[0]
        good, bad = room.webhooks.test(mine, on.id), room.webhooks.test(mine, off.id)
        with pytest.raises(NotFound):
            room.webhooks.test(room.application("other"), on.id)
    assert (good.state, good.status, good.answer) == ("delivered", 200, "hi")
    assert (bad.state, bad.status, bad.attempts) == ("failed", 500, 1)
    event = posts(web)[0].verified(secret, now=room.clock)
    assert (event.action, event.text) == ("webhook.test", {"webhook": on.id})


# --------------------------------------------------------------------------------------------------------------------- log


def test_nobody_reaches_what_belongs_to_another_application(room: Room) -> None:
    mine, other = room.application(), room.application("other")
    endpoint = room.webhooks.endpoints.add(mine, "https://hooks.example.org/")[0]
    (name,) = room.tell(mine)
    endpoints, history = room.webhooks.endpoints, room.webhooks.log
    for attack in (
        lambda: endpoints.get(other, endpoint.id),
        lambda: endpoints.change(other, endpoint.id, url="https://evil.example.org/"),
        lambda: endpoints.rotate(other, endpoint.id),
        lambda: endpoints.remove(other, endpoint.id),
        lambda: room.webhooks.test(other, endpoint.id),
        lambda: room.webhooks.redeliver(name, application=other),
        lambda: history.one(name, application=other),
        lambda: history.page(other, after=name),
    ):
        with pytest.raises(NotFound):
            attack()
    assert endpoints.of(other) == ()
    assert history.page(other) == history.page(other, webhook=endpoint.id) == []
    assert endpoints.of(mine) == (endpoint,)
    assert [each.id for each in history.page(mine)] == [name]


def test_the_log_is_read_in_pages_newest_first_and_by_what_is_looked_for(room: Room) -> None:
    mine = room.application()
    first = room.webhooks.endpoints.add(mine, "https://a.example.org/", events=["fp.upload"])[0]
    room.webhooks.endpoints.add(mine, "https://b.example.org/", events=["fp.delete"])
    for number in range(5):
        room.tell(mine, "fp.upload", job=f"job-{number}")
        room.clock.on(number % 2)  # some at the same moment
        room.tell(mine, "fp.delete")
    whole = log(room, mine)
    assert [each.created for each in whole] == sorted((each.created for each in whole), reverse=True)
    pages: list[Delivery] = []
    while page := log(room, mine, after=pages[-1].id if pages else None, limit=3):
        pages += page
    assert pages == whole and len(whole) == 10
    assert {each.webhook for each in log(room, mine, webhook=first.id)} == {first.id}
    assert {each.event for each in log(room, mine, event="fp.delete")} == {"fp.delete"}
    assert [each.job for each in log(room, mine, job="job-3")] == ["job-3"]
    assert log(room, mine, state="delivered") == []


def test_what_has_been_over_for_longer_than_the_log_is_kept_is_forgotten(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (over,), (waits,) = room.tell(mine), room.tell(mine)
        assert room.webhooks.deliver(over)
    room.clock.on(6.9 * 86_400)
    assert room.webhooks.sweep() == 0
    room.clock.on(0.2 * 86_400)
    assert room.webhooks.sweep() == 1
    assert [each.id for each in log(room, mine)] == [waits], "what waits is never forgotten"
    assert room.webhooks.log.tries(over) == []


def test_with_its_application_everything_goes(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine, callback_url=None)
        assert room.webhooks.deliver(name)
        (waits,) = room.tell(mine)
        room.records.delete_application(mine)
        assert not room.webhooks.deliver(waits)
    with room.database.read() as connection:
        for table in (tables.webhook, tables.webhook_delivery, tables.webhook_attempt):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0
    with pytest.raises(NotFound):
        room.webhooks.endpoints.add(mine, "https://hooks.example.org/")


def test_an_application_has_a_bounded_number_of_endpoints(room: Room) -> None:
    mine = room.application()
    for number in range(20):
        room.webhooks.endpoints.add(mine, f"https://h{number}.example.org/")
    with pytest.raises(Conflict, match="at most 20"):
        room.webhooks.endpoints.add(mine, "https://more.example.org/")
    with pytest.raises(BadRequest, match=r"no event 'fp\.uplod'"):
        room.webhooks.endpoints.change(mine, room.webhooks.endpoints.of(mine)[0].id, events=["fp.uplod"])
