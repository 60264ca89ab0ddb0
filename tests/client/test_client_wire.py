"""Flows without a network: what is tried again, after which time, and what an answer that is no success becomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.client import Denied, NetworkError, NotFound, ResponseError, Retry, ServerError, TooLarge, TooMany
from secure_delivery.client.errors import response_error
from secure_delivery.client.wire import NO_REPLY, Flow, Pause, Reply, Request, exchange

REQUEST = Request(what="testing", method="POST", url="https://files.test/", body=b"x")
STEADY = Retry(attempts=4, first=1.0, longest=3.0, chance=lambda: 1.0)


def played(flow: Flow[Reply], *answers: Reply | NetworkError) -> tuple[list[float], Any]:
    """Play answers to a flow: the pauses it made, and its result or fault."""
    pauses: list[float] = []
    left = list(answers)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = flow.send(NO_REPLY)
                continue
            answer = left.pop(0)
            step = flow.throw(answer) if isinstance(answer, NetworkError) else flow.send(answer)
    except StopIteration as end:
        assert left == []
        return pauses, end.value
    except NetworkError as fault:
        assert left == []
        return pauses, fault


OK = Reply(200, {})
LOST = NetworkError("lost")
UNSENT = NetworkError("unsent", unsent=True)


def test_waits_double_up_to_their_bound() -> None:
    pauses, result = played(exchange(REQUEST, STEADY), Reply(500, {}), LOST, Reply(503, {}), OK)
    assert pauses == [1.0, 2.0, 3.0]
    assert result is OK


def test_the_last_attempt_is_the_last() -> None:
    last = Reply(502, {})
    pauses, result = played(exchange(REQUEST, STEADY), Reply(500, {}), Reply(500, {}), Reply(500, {}), last)
    assert (len(pauses), result) == (3, last)
    fault = NetworkError("the last one")
    assert played(exchange(REQUEST, STEADY), LOST, LOST, LOST, fault)[1] is fault


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_wait_lies_between_half_of_its_bound_and_its_bound(chance: float, attempt: int) -> None:
    retry = Retry(attempts=50, first=0.5, longest=15, chance=lambda: chance)
    bound = min(15.0, 0.5 * 2 ** (attempt - 1))
    wait = retry.wait(attempt)
    assert wait is not None
    assert bound / 2 <= wait <= bound


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 413, 422, 424, 501])
def test_an_answer_for_good_is_asked_for_once(status: int) -> None:
    reply = Reply(status, {})
    assert played(exchange(REQUEST, STEADY), reply) == ([], reply)


def test_what_must_not_happen_twice_is_repeated_only_where_it_did_not_happen() -> None:
    once = lambda: exchange(REQUEST, STEADY, once=True)
    assert played(once(), LOST)[1] is LOST
    assert played(once(), UNSENT, Reply(503, {}), OK) == ([1.0, 2.0], OK)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "9" * 400}, 1.0),
        ({"retry-after": "²"}, 1.0),
        ({"filestack-reset": "1"}, 1.0),
        ({}, 1.0),
    ],
)
def test_a_server_may_ask_for_a_longer_wait_but_not_for_a_shorter_one(headers: dict[str, str], wait: float) -> None:
    assert played(exchange(REQUEST, STEADY), Reply(429, headers), OK)[0] == [wait]


@pytest.mark.parametrize("zone", [UTC, None])
def test_a_date_to_wait_for_is_understood(zone: Any) -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    text = format_datetime(later, usegmt=True) if zone else later.strftime("%a, %d %b %Y %H:%M:%S -0000")
    (wait,), _ = played(exchange(REQUEST, STEADY), Reply(503, {"retry-after": text}), OK)
    assert 20 < wait <= 30


def test_the_reset_of_filestack_is_understood() -> None:
    later = str(int(datetime.now(UTC).timestamp()) + 30)
    (wait,), _ = played(exchange(REQUEST, STEADY), Reply(429, {"filestack-reset": later}), OK)
    assert 20 < wait <= 30


def test_more_than_our_patience_is_an_end() -> None:
    reply = Reply(429, {"retry-after": "61"})
    assert played(exchange(REQUEST, STEADY), reply) == ([], reply)


class Stream:
    """A body that can be read once."""

    size = 1
    rewinds = False

    def pieces(self) -> Any:
        return iter([b"x"])


def test_a_body_that_cannot_be_read_again_is_not_sent_again() -> None:
    request = Request(what="testing", method="POST", url="https://files.test/", body=Stream())
    reply = Reply(500, {})
    assert played(exchange(request, STEADY), reply) == ([], reply)
    assert played(exchange(request, STEADY), UNSENT)[1] is UNSENT


class Bucket:
    """A sink."""

    taken = 0

    def headers(self) -> dict[str, str]:
        return {}

    def begin(self, status: int, headers: Any) -> None:
        return

    def write(self, piece: bytes) -> None:
        self.taken += len(piece)


def test_attempts_count_anew_as_long_as_a_download_gets_further() -> None:
    sink = Bucket()
    flow = exchange(Request(what="testing", method="GET", url="https://files.test/", sink=sink), STEADY)
    step = next(flow)
    for _ in range(20):
        assert isinstance(step, Request)
        sink.write(b"some")
        step = flow.throw(NetworkError("broken"))
        assert step == Pause(1.0)
        step = flow.send(NO_REPLY)
    with pytest.raises(NetworkError):
        for _ in range(4):
            step = flow.throw(NetworkError("broken"))
            flow.send(NO_REPLY)


# ----------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error": {"code": "bad_task", "message": "No such task."}}', "bad_task", "No such task."),
        (b'{"error": "Invalid App policy", "c": "x"}', "refused", "Invalid App policy"),
        (b'{"result": "error", "error": {"code": 403, "msg": "Policy required"}}', "refused", "Policy required"),
        (b"Invalid Application", "refused", "Invalid Application"),
        (b"<Error><Code>SlowDown</Code><Message>Reduce.</Message></Error>", "SlowDown", "Reduce."),
        (b"<Error><Code>SlowDown</Code></Error>", "SlowDown", "SlowDown"),
        (b"<html><h1>Bad Gateway</h1></html>", "refused", "The server answered 400."),
        (b"", "refused", "The server answered 400."),
        (b"{broken", "refused", "The server answered 400."),
        (b'{"error": [1]}', "refused", "The server answered 400."),
        (b'{"error": {"code": "a b\\n", "message": 5}}', "refused", "The server answered 400."),
        (b"[" * 100_000, "refused", "[" * 299 + "…"),
        (b'{"a":' * 100_000, "refused", "The server answered 400."),
        (b"two\r\nlines\x1b[31m\x00", "refused", "two lines [31m"),
        (b"\xff\xfe", "refused", "\ufffd\ufffd"),
    ],
)
def test_what_the_server_says_is_read_in_every_shape(body: bytes, code: str, message: str) -> None:
    error = response_error(400, {}, body)
    assert (error.code, error.message, error.status) == (code, message, 400)
    assert str(error) == f"{message} [400 {code}]"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Denied), (403, Denied), (404, NotFound), (410, NotFound), (413, TooLarge), (429, TooMany), (500, ServerError),
     (503, ServerError), (400, ResponseError), (302, ResponseError)],
)  # fmt: skip
def test_each_status_has_its_class(status: int, kind: type[ResponseError]) -> None:
    assert type(response_error(status, {}, b"")) is kind


@given(st.binary(max_size=2000), st.sampled_from(["", "text/html", "application/json"]))
def test_no_body_whatever_makes_reading_it_fail_or_a_message_of_more_than_one_line(body: bytes, kind: str) -> None:
    error = response_error(400, {"content-type": kind}, body)
    assert len(error.message) <= 300
    assert error.message.isprintable() or all(c.isprintable() or c.isspace() for c in error.message)
    assert len(error.message.splitlines()) == 1
