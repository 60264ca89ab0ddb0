"""Processes that deliver side by side, and are killed: nothing is lost, nothing goes by two at once, the id stays the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hooks import Room, posts
from outside import Outside, ok

from secure_delivery.engine.database import Database

#: A process that delivers what is due until its standard input ends; it says when it has begun.
DELIVERING = """
import sys, time
from hooks import Room
from secure_delivery.engine.database import Database
room = Room(Database(sys.argv[1]), clock=time.time, seconds=float(sys.argv[2]))
room.webhooks.start()
print("begun", flush=True)
sys.stdin.read()
room.webhooks.close()
"""


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database, clock=time.time)


@contextmanager
def delivering(database_url: str, *, seconds: float = 10.0) -> Iterator[subprocess.Popen[bytes]]:
    helpers = Path(__file__).parent.parent / "server" / "helpers"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(helpers), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-c", DELIVERING, database_url, str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == b"begun\n"
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def wait_for(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(6000):
        if what():
            return
        pause.wait(0.005)
    raise AssertionError("it never came")


def test_what_a_killed_process_was_sending_is_sent_by_another_under_the_same_id(room: Room, database_url: str) -> None:
    """Killed after the receiver has it and before it could write that down: at least once, and the receiver can tell."""
    with Outside({"/hook": lambda _: web.released.wait()}) as web:
        mine = room.application()
        secret = room.webhooks.endpoints.add(mine, web.url("/hook"))[1]
        (name,) = room.tell(mine, "fp.preview", b'{"id": "j", "status": "success"}', job="j")
        with delivering(database_url) as process:
            wait_for(lambda: len(web.bodies) == 1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        left = room.webhooks.log.one(name)
        assert (left.state, left.attempts, left.kept) == ("sending", 1, True)
        web.scripts["/hook"] = ok(b"got it")
        assert not room.webhooks.deliver(name), "not before the lease has ended: nobody knows that it is dead"
        later = room.fresh(clock=lambda: time.time() + 31)
        later.start()
        wait_for(lambda: room.webhooks.log.one(name).state == "delivered")
        later.close()
    first, second = posts(web)
    assert (first.event_id, first.body) == (second.event_id, second.body)
    second.verified(secret, now=lambda: time.time() + 31)
    assert [each.number for each in room.webhooks.log.tries(name)] == [2], "of the first try nobody could say anything"


def test_processes_side_by_side_deliver_everything_once_each(room: Room, database_url: str) -> None:
    """Three processes take from one table. No one is killed, so nothing arrives twice."""
    with Outside({f"/{name}": ok() for name in "abcde"}) as web:
        applications = [room.application(name) for name in "abcde"]
        for name, application in zip("abcde", applications, strict=True):
            room.webhooks.endpoints.add(application, web.url(f"/{name}"))
        for _ in range(12):
            for application in applications:
                room.tell(application)
        with delivering(database_url), delivering(database_url):
            room.webhooks.start()
            wait_for(lambda: all(len(room.webhooks.log.page(each, state="delivered")) == 12 for each in applications))
            room.webhooks.close()
    assert Counter(Counter(post.event_id for post in posts(web)).values()) == {1: 60}
    for application in applications:
        for delivery in room.webhooks.log.page(application):
            assert (delivery.attempts, len(room.webhooks.log.tries(delivery.id))) == (1, 1)


def test_one_delivery_is_never_on_its_way_twice_at_the_same_time(room: Room, database_url: str) -> None:
    """Every process is free to take it, over and over, because it fails; at no moment have two of them a connection."""
    together, most, lock = 0, 0, threading.Lock()

    def slowly_refused(connection: object) -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        threading.Event().wait(0.02)
        with lock:
            together -= 1
        connection.sendall(ok(b"", status="500 No"))  # type: ignore[attr-defined]

    room = Room(room.database, clock=time.time, delays=(0.0,) * 40)
    with Outside({"/hook": slowly_refused}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        (name,) = room.tell(mine)
        others = [room.fresh() for _ in range(3)]
        for each in others:
            each.start()
        wait_for(lambda: room.webhooks.log.one(name).state == "failed")
        for each in others:
            each.close()
    assert len(posts(web)) == 41
    assert most == 1
    assert [each.number for each in room.webhooks.log.tries(name)] == list(range(1, 42))


def test_a_process_that_ends_in_order_leaves_nothing_half_done(room: Room, database_url: str) -> None:
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        room.webhooks.endpoints.add(mine, web.url("/hook"))
        for _ in range(30):
            room.tell(mine)
        with delivering(database_url):
            wait_for(lambda: len(web.bodies) >= 5)
        assert room.webhooks.log.page(mine, state="sending") == []
        with delivering(database_url):
            wait_for(lambda: len(room.webhooks.log.page(mine, state="delivered")) == 30)
    assert len({post.event_id for post in posts(web)}) == len(posts(web)) == 30
