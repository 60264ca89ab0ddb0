"""Webhooks: who knows the secret is believed, for a while; nobody else is, and nobody learns anything."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.client import WebhookError, verify_webhook

# The test vector of an official client.
SECRET = "Y5cWb1rdRDSTSqEjF5pv"
TIMESTAMP = "1559199901"
BODY = (
    b'{"id": 6844, "action": "fp.upload", "timestamp": 1559199901, "text": {"url": '
    b'"http://cdn.filestackapi.dev/xK88QArxRiyVvFzo4p33", "client": "Computer", "data": {"filename": "01 (1).png", '
    b'"type": "image/png", "size": 881855}}}'
)
SIGNATURE = "14495b54b246e1352bb69cd91c5c1bfe2221f2d0330414b3df8f5fb2903db730"


def at(moment: int) -> Any:
    return lambda: float(moment)


THEN = at(1559199901)


def signed(body: bytes, timestamp: str = TIMESTAMP, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def code(*arguments: Any, **options: Any) -> str:
    with pytest.raises(WebhookError) as caught:
        verify_webhook(*arguments, **{"now": THEN} | options)
    return caught.value.code


def test_the_published_example_is_verified_and_read() -> None:
    event = verify_webhook(BODY, TIMESTAMP, SIGNATURE, SECRET, now=THEN)
    assert (event.id, event.action, event.timestamp) == (6844, "fp.upload", 1559199901)
    assert event.text["data"]["size"] == 881855


@pytest.mark.parametrize("secret", [SECRET.encode(), ["other", SECRET], [SECRET, "other"], (b"other", SECRET.encode())])
def test_one_of_several_secrets_is_enough_whichever_it_is(secret: Any) -> None:
    assert verify_webhook(BODY, TIMESTAMP, SIGNATURE, secret, now=THEN).id == 6844


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_of_the_body_may_change(position: int, change: int) -> None:
    body = bytearray(BODY)
    body[position] ^= change
    assert code(bytes(body), TIMESTAMP, SIGNATURE, SECRET) == "webhook_signature"


@pytest.mark.parametrize(
    ("timestamp", "signature", "expected"),
    [
        (TIMESTAMP, SIGNATURE[:-1] + "1", "webhook_signature"),
        (TIMESTAMP, SIGNATURE.upper(), "webhook_signature"),
        (TIMESTAMP, SIGNATURE + "\n", "webhook_signature"),
        (TIMESTAMP, "é" * 64, "webhook_signature"),
        (TIMESTAMP, "", "webhook_signature"),
        ("1559199902", SIGNATURE, "webhook_signature"),
        ("01559199901", SIGNATURE, "webhook_signature"),
        (" 1559199901", SIGNATURE, "webhook_signature"),
        ("1559199901.", SIGNATURE, "webhook_signature"),
        ("١٥٥٩١٩٩٩٠١", SIGNATURE, "webhook_signature"),
        ("9" * 5000, SIGNATURE, "webhook_signature"),
        (None, SIGNATURE, "webhook_unsigned"),
        (TIMESTAMP, None, "webhook_unsigned"),
    ],
)
def test_anything_but_the_two_headers_as_sent_is_refused(timestamp: Any, signature: Any, expected: str) -> None:
    assert code(BODY, timestamp, signature, SECRET) == expected


@pytest.mark.parametrize("secret", ["other", ["other", "another"]])
def test_a_wrong_secret_verifies_nothing(secret: Any) -> None:
    assert code(BODY, TIMESTAMP, SIGNATURE, secret) == "webhook_signature"


@pytest.mark.parametrize(("moment", "good"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_it_is_good_for_five_minutes_in_both_directions(moment: int, good: bool) -> None:
    now = at(1559199901 + moment)
    if good:
        verify_webhook(BODY, TIMESTAMP, SIGNATURE, SECRET, now=now)
    else:
        assert code(BODY, TIMESTAMP, SIGNATURE, SECRET, now=now) == "webhook_age"


def test_the_age_of_a_forgery_is_not_even_looked_at() -> None:
    assert code(BODY, TIMESTAMP, "0" * 64, SECRET, now=at(0)) == "webhook_signature"


def test_without_a_tolerance_any_age_is_good_and_the_clock_of_today_refuses_the_example() -> None:
    assert verify_webhook(BODY, TIMESTAMP, SIGNATURE, SECRET, tolerance=None).id == 6844
    with pytest.raises(WebhookError, match="too old"):
        verify_webhook(BODY, TIMESTAMP, SIGNATURE, SECRET)


def test_nothing_tells_what_the_signature_should_have_been() -> None:
    try:
        verify_webhook(BODY, TIMESTAMP, "0" * 64, SECRET, now=THEN)
    except WebhookError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
    assert SIGNATURE not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"action": 5}', b"\xff", b"[" * 200_000])
def test_a_signed_body_that_is_no_event_is_told_as_such(body: bytes) -> None:
    assert code(body, TIMESTAMP, signed(body), SECRET) == "webhook_body"


@pytest.mark.parametrize("secret", ["", [], [""], [SECRET, ""], b""])
def test_an_empty_secret_verifies_nothing_and_says_so(secret: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(BODY, TIMESTAMP, SIGNATURE, secret, now=THEN)


def test_text_is_refused_since_it_is_not_what_was_signed() -> None:
    with pytest.raises(TypeError, match="raw bytes"):
        verify_webhook(BODY.decode(), TIMESTAMP, SIGNATURE, SECRET, now=THEN)  # type: ignore[arg-type]
