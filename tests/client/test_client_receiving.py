"""`receive_webhook`: either family of headers, in any case, once; who knows no secret learns nothing and gets nothing in."""

from __future__ import annotations

import json
import threading
import time
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.client import Event, SeenEvents, WebhookError, forget_webhook, receive_webhook
from secure_delivery.engine.webhook_sign import envelope, headers, new_secret

NOW = 1_700_000_000
SECRET, OLD = new_secret(), new_secret()
BODY = envelope("fp.upload", {"url": "https://files.example.org/H"}, number=6844, timestamp=NOW - 5)
PREVIEW = b'{"id": "a3c5", "status": "success", "user_data": {"order": 7}}'


def sent(body: bytes = BODY, *, event_id: str = "evt_6844", at: int = NOW, keys: tuple[str, ...] = (SECRET,)) -> dict[str, str]:
    return dict(headers(event_id, at, body, keys))


def standard(**more: Any) -> dict[str, str]:
    return {name: value for name, value in sent(**more).items() if name.startswith("webhook-")}


def filestack(**more: Any) -> dict[str, str]:
    return {name: value for name, value in sent(**more).items() if name.startswith("FS-")}


def receive(given: dict[str, str], body: bytes = BODY, secret: Any = SECRET, **more: Any) -> Event:
    return receive_webhook(body, given, secret, **{"now": lambda: float(NOW)} | more)


def code(*arguments: Any, **more: Any) -> str:
    with pytest.raises(WebhookError) as caught:
        receive(*arguments, **more)
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told and not any(value.partition(",")[2] in told for value in standard().values() if "," in value)
    return caught.value.code


@pytest.mark.parametrize("family", [sent, standard, filestack])
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper, str.title])
def test_either_family_of_headers_verifies_however_its_names_are_spelled(family: Any, spelled: Any) -> None:
    event = receive({spelled(name): value for name, value in family().items()})
    assert (event.action, event.id, event.timestamp) == ("fp.upload", 6844, NOW - 5)
    assert (event.event_id, event.text) == ("evt_6844", {"url": "https://files.example.org/H"})


def test_a_preview_is_an_event_whose_text_is_the_whole_object() -> None:
    event = receive(sent(body=PREVIEW, event_id="evt_abc"), PREVIEW)
    assert (event.action, event.id, event.event_id) == ("fp.preview", None, "evt_abc")
    assert event.text == json.loads(PREVIEW)


def test_while_a_secret_is_replaced_either_verifies() -> None:
    both = sent(keys=(SECRET, OLD))
    for secret in (SECRET, OLD, [OLD, SECRET], SECRET.encode(), f"whsec_{SECRET}"):
        assert receive(both, secret=secret).id == 6844
    assert code(both, secret=new_secret()) == "webhook_signature"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"webhook-id": "evt_6845"}, "webhook_signature"),
        ({"webhook-id": "evt 6844"}, "webhook_signature"),
        ({"webhook-id": ""}, "webhook_signature"),
        ({"webhook-timestamp": str(NOW + 1)}, "webhook_signature"),
        ({"webhook-timestamp": "1e9"}, "webhook_signature"),
        ({"webhook-timestamp": "١٧٠٠٠٠٠٠٠٠"}, "webhook_signature"),
        ({"webhook-signature": ""}, "webhook_signature"),
        ({"webhook-signature": "v1," + "A" * 43 + "="}, "webhook_signature"),
        ({"webhook-signature": "v2," + "A" * 43 + "="}, "webhook_signature"),
        ({"webhook-signature": "v1,é" + "A" * 42 + "="}, "webhook_signature"),
        ({"webhook-signature": " ".join(["v1," + "A" * 43 + "="] * 1000)}, "webhook_signature"),
    ],
)
def test_a_signature_that_is_wrong_is_not_made_up_for_by_the_other_one(change: dict[str, str], says: str) -> None:
    assert code(standard() | change) == says
    assert code(sent() | change) == says, "the right FS-Signature beside it does not count"


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp"])
def test_half_a_family_is_not_signed(missing: str) -> None:
    assert code({name: value for name, value in standard().items() if name != missing}) == "webhook_unsigned"
    assert code({}) == "webhook_unsigned"


@pytest.mark.parametrize("family", [standard, filestack])
def test_five_minutes_are_tolerated_in_both_directions_and_no_more(family: Any) -> None:
    for age in (-300, 0, 300):
        assert receive(family(at=NOW - age)).id == 6844
    for age in (-301, 301, 10**9):
        assert code(family(at=NOW - age)) == "webhook_age"
    assert receive(family(at=NOW - 10**6), tolerance=None).id == 6844


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_one_changed_byte_of_the_body_is_refused(place: int, change: int) -> None:
    body = bytearray(BODY)
    body[place] ^= change
    for family in (standard(), filestack()):
        assert code(family, bytes(body)) == "webhook_signature"


# ------------------------------------------------------------------------------------------------------------ what was seen


def test_what_was_received_is_not_received_again_under_either_signature() -> None:
    """Who took a delivery down may show it again within its five minutes, whole or with one family of headers cut off."""
    for first in (sent, standard, filestack):
        for second in (sent, standard, filestack):
            seen = SeenEvents()
            assert receive(first(), seen=seen).id == 6844
            assert code(second(), seen=seen) == "webhook_repeated"


def test_a_repetition_by_the_sender_is_told_by_its_id_although_time_and_signature_are_others() -> None:
    seen = SeenEvents()
    assert receive(sent(), seen=seen)
    again = sent(at=NOW + 43_200)
    assert code(again, seen=seen, now=lambda: NOW + 43_200.0) == "webhook_repeated"
    other = envelope("fp.upload", {}, number=7, timestamp=NOW)
    assert receive(sent(body=other, event_id="evt_7"), other, seen=seen).id == 7


def test_two_events_that_say_the_same_are_two_events() -> None:
    seen = SeenEvents()
    assert receive(sent(body=PREVIEW, event_id="evt_a"), PREVIEW, seen=seen).event_id == "evt_a"
    assert receive(sent(body=PREVIEW, event_id="evt_b"), PREVIEW, seen=seen).event_id == "evt_b"


def test_what_could_not_be_dealt_with_is_forgotten_and_received_when_it_comes_again() -> None:
    seen = SeenEvents()
    event = receive(sent(), seen=seen)
    forget_webhook(event, seen)
    assert receive(sent(at=NOW + 10), seen=seen).event_id == event.event_id


def test_nothing_unsigned_fills_the_memory() -> None:
    seen = SeenEvents(2)
    assert receive(sent(), seen=seen)
    for number in range(10):
        code(standard() | {"webhook-id": f"evt_{number}"}, seen=seen)
    assert code(sent(), seen=seen) == "webhook_repeated"


def test_a_memory_keeps_what_it_is_told_for_as_long_as_it_is_told_and_the_newest_when_it_is_full() -> None:
    now = [0.0]
    seen = SeenEvents(3, now=lambda: now[0])
    assert [seen.add(key, 10) for key in "aab"] == [True, False, True]
    now[0] = 10.0
    assert seen.add("a", 10)
    for key in "cde":
        assert seen.add(key, 10)
    assert not seen.add("e", 10) and seen.add("a", 10), "the oldest went"
    seen.remove("nothing")


def test_of_many_that_receive_the_same_at_once_one_is_told_that_it_is_new() -> None:
    seen, gate, new = SeenEvents(), threading.Barrier(8), []

    def ask() -> None:
        gate.wait()
        new.append(seen.add("key", 60))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 7 + [True]


def test_the_clock_of_the_machine_counts_unless_another_is_given() -> None:
    assert receive_webhook(BODY, sent(at=int(time.time())), SECRET).id == 6844
