"""Who sends what, and when: due or not, after a restart, beside a receiver that is dead, with a lease that was lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from hooks import Room, posts
from outside import Outside, ok

from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.webhooks import Delivery, Outcome
from secure_delivery.plugin.protocols import Event


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def log(room: Room, application: str, **only: Any) -> list[Delivery]:
    return room.webhooks.log.page(application, **only)


def settled(room: Room, application: str, number: int, state: str = "delivered") -> None:
    """Wait until so many deliveries are in a state."""
    pause = threading.Event()
    for _ in range(6000):
        if len(log(room, application, state=state)) >= number:
            return
        pause.wait(0.005)
    raise AssertionError(log(room, application))


def test_what_is_due_is_delivered_and_what_is_not_waits(room: Room) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (held,) = room.tell(mine, hold=60.0)
        room.tell(mine)
        room.webhooks.start()
        settled(room, mine, 1)
        assert room.webhooks.log.one(held).state == "waiting"
        room.clock.on(61)
        room.webhooks.wake()
        settled(room, mine, 2)
        room.webhooks.on_event(Event(name="fp.delete", application=mine, data={"handle": "h"}))
        settled(room, mine, 3)
        room.webhooks.close()


def test_what_waits_survives_a_restart(room: Room) -> None:
    with Outside({"/hook": ok(b"", status="503 Later")}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        assert not room.webhooks.deliver(name)
        room.webhooks.close()
        web.scripts["/hook"] = ok()
        room.clock.on(10)
        fresh = room.fresh()
        fresh.start()
        settled(room, mine, 1)
        fresh.close()
    first, second = posts(web)
    assert (first.event_id, first.body) == (second.event_id, second.body)


def test_a_dead_receiver_delays_no_other_however_much_waits_for_it(room: Room) -> None:
    """Many deliveries for one that never answers are due first; those of another application arrive while it still holds on."""
    waiting: list[Any] = []

    def never(connection: Any) -> None:
        waiting.append(connection)
        web.released.wait()

    with Outside({"/dead": never, "/alive": ok()}) as web:
        dead, alive = room.application("dead"), room.application("alive")
        room.webhooks.endpoints.add(dead, web.url("/dead"))
        room.webhooks.endpoints.add(alive, web.url("/alive"))
        for _ in range(100):
            room.tell(dead)
        for _ in range(20):
            room.tell(alive)
        room.webhooks.start()
        settled(room, alive, 20)
        assert 1 <= len(waiting) <= 4, "a few at once, and no more"
        assert len(log(room, dead, state="sending")) == len(waiting)
        web.released.set()
        room.webhooks.close()


def test_one_application_with_many_dead_receivers_leaves_room_for_the_others(room: Room) -> None:
    with Outside({f"/dead{number}": lambda _: web.released.wait() for number in range(10)} | {"/alive": ok()}) as web:
        dead, alive = room.application("dead"), room.application("alive")
        for number in range(10):
            room.webhooks.endpoints.add(dead, web.url(f"/dead{number}"))
        room.webhooks.endpoints.add(alive, web.url("/alive"))
        for _ in range(10):
            room.tell(dead)
        room.webhooks.start()
        settled(room, dead, room.senders // 2, "sending")
        room.tell(alive)
        room.webhooks.wake()
        settled(room, alive, 1)
        assert len(log(room, dead, state="sending")) == room.senders // 2
        web.released.set()
        room.webhooks.close()


def test_who_lost_the_lease_reports_nothing(room: Room) -> None:
    """A process that was held up for longer than its lease: another has sent meanwhile, and what that one says counts."""
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        slow = room.webhooks.log.claim_one(name)
        assert slow is not None
        other = room.fresh()
        assert not other.deliver(name), "as long as the lease lasts nobody else sends"
        assert posts(web) == []
        room.clock.on(31)
        assert other.deliver(name)
        late = Outcome(status=500, answer="late")
        assert not room.webhooks.log.settle(slow, late, started=0, again=10.0)
        room.webhooks._try(slow)
    assert len(posts(web)) == 1, "and it does not even send when it knows"
    assert room.webhooks.log.one(name).state == "delivered"
    assert [each.number for each in room.webhooks.log.tries(name)] == [2]


def test_a_delivery_whose_key_is_gone_is_given_up_and_stops_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(database)
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (lost,), (good,) = room.tell(mine), room.tell(mine)
        with room.database.write() as connection:
            this = tables.webhook_delivery.c.id == lost
            connection.execute(sa.update(tables.webhook_delivery).where(this).values(body="v1.other." + "A" * 200))
        room.webhooks.start()
        settled(room, mine, 1)
        settled(room, mine, 1, "failed")
        room.webhooks.close()
    assert room.webhooks.log.one(good).state == "delivered"
    assert room.webhooks.log.one(lost).answer == "Its content cannot be opened."


def test_a_secret_that_cannot_be_opened_is_a_failed_try_like_any_other(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    mine = room.application()
    endpoint = room.webhooks.endpoints.add(mine, "https://hooks.example.org/")[0]
    (name,) = room.tell(mine)
    with room.database.write() as connection:
        this = tables.webhook.c.id == endpoint.id
        connection.execute(sa.update(tables.webhook).where(this).values(secret="v1.other." + "A" * 200))
        room.database.bump(connection)
    assert not room.webhooks.deliver(name)
    assert room.webhooks.log.one(name).state == "waiting"
    assert room.webhooks.log.one(name).answer == "This server failed."


def test_first_tries_are_made_side_by_side(room: Room) -> None:
    """Each receiver answers when all of them were asked: one after the other none would ever be."""
    together = threading.Barrier(3, timeout=30)

    def answered(connection: Any) -> None:
        together.wait()
        connection.sendall(ok())

    with Outside({"/hook": answered}) as web:
        mine = room.application()
        for _ in range(3):
            room.webhooks.endpoints.add(mine, web.url("/hook"))
        room.webhooks.first_tries([*room.tell(mine, hold=60.0), "wd_of_nobody"])
    assert [each.state for each in log(room, mine)] == ["delivered"] * 3
