"""What is signed of a webhook: as official helpers verify it, as libraries of Standard Webhooks do, and as nobody else can."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hooks import PUBLISHED
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from secure_delivery.client import callback_secret as clients_secret
from secure_delivery.client import receive_webhook
from secure_delivery.engine.webhook_sign import (
    callback_secret,
    checked_secret,
    envelope,
    event_id_of,
    filestack_signature,
    headers,
    new_number,
    new_secret,
    standard_key,
    text_of,
)
from secure_delivery.gate.errors import BadRequest


def now() -> int:
    """The moment of the test: one of when it was collected may be too old when its turn comes."""
    return int(datetime.now(UTC).timestamp())


def test_the_published_example_has_the_published_signature() -> None:
    secret, timestamp, body, signature = PUBLISHED
    assert filestack_signature(secret, timestamp, body) == signature


@pytest.mark.parametrize("prefix", ["", "whsec_"])
def test_the_library_of_standard_webhooks_verifies_what_is_sent_with_the_same_secret(prefix: str) -> None:
    secret, body = prefix + new_secret(), b'{"id": 1}'
    sent = dict(headers("evt_1", now(), body, [secret]))
    assert Webhook(secret).verify(body, sent) == {"id": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, sent | {"webhook-id": "evt_2"})


def test_both_secrets_of_a_rotation_sign_and_the_newest_signs_where_there_is_room_for_one() -> None:
    new, old = new_secret(), new_secret()
    moment = now()
    sent = dict(headers("evt_1", moment, b"{}", [new, old]))
    for secret in (new, old):
        Webhook(secret).verify(b"{}", sent)
    assert sent["FS-Signature"] == hmac.new(new.encode(), f"{moment}.{{}}".encode(), hashlib.sha256).hexdigest()
    assert len(sent["webhook-signature"].split(" ")) == 2


def test_a_secret_has_twenty_characters_and_more_and_is_never_the_same() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(len(each) >= 20 and each.isalnum() and len(standard_key(each)) >= 24 for each in made)


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 19, "a" * 40, "with a blank in it 123456", "ümlaut" * 5, "line\nbreak" * 4, "q" * 201]
)
def test_a_weak_secret_of_somebodys_own_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="secret"):
        checked_secret(text)
    assert checked_secret(PUBLISHED[0]) == PUBLISHED[0]


@given(st.binary(min_size=24, max_size=64), st.text(alphabet="abc-_.!ABC123", min_size=20))
def test_any_secret_gives_the_key_that_libraries_make_of_it(key: bytes, text: str) -> None:
    written = base64.b64encode(key).decode()
    assert standard_key(written) == standard_key(f"whsec_{written}") == key
    assert standard_key(text)


def test_addresses_of_requests_have_a_secret_made_of_the_applications_that_signs_nothing_else() -> None:
    made = callback_secret(b"secret of the application")
    assert made == clients_secret("secret of the application") == clients_secret(b"secret of the application")
    assert len(made) == 64 and made != callback_secret(b"another secret")
    body = envelope("fp.delete", {}, number=1, timestamp=now())
    event = receive_webhook(body, dict(headers("evt_1", now(), body, [made])), clients_secret("secret of the application"))
    assert event.event_id == "evt_1"


def test_the_number_of_an_envelope_is_whole_in_every_language_and_names_the_event() -> None:
    number = new_number()
    assert 0 < number < 2**53
    assert event_id_of(number) == f"evt_{number}"
    assert event_id_of() != event_id_of()
    assert json.loads(envelope("fp.delete", {"url": "u"}, number=number, timestamp=5)) == {
        "id": number, "action": "fp.delete", "timestamp": 5, "text": {"url": "u"},
    }  # fmt: skip


DATA: dict[str, Any] = {
    "handle": "HANDLE", "filename": "a.txt", "type": "text/plain", "size": 5, "container": "c", "key": "k/a.txt", "path": None,
    "source_url": None, "status": "Stored",
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "more", "text"),
    [
        ("fp.delete", {}, {"url": "https://f/HANDLE"}),
        (
            "fp.overwrite",
            {"source_url": "https://elsewhere/a"},
            {
                "mimetype": "text/plain", "url": "https://f/HANDLE", "isWriteable": True, "filename": "a.txt", "client": "URL",
                "size": 5,
            },
        ),
        (
            "fp.upload",
            {"tags": {"a": "b"}},
            {
                "container": "c", "url": "https://f/HANDLE", "filename": "a.txt", "client": "Computer", "key": "k/a.txt",
                "type": "text/plain", "status": "Stored", "size": 5, "upload_tags": {"a": "b"},
            },
        ),
        (
            "fp.converse",
            {"tasks": "/resize=width:5/SOURCE"},
            {
                "url": "/resize=width:5/SOURCE",
                "link": {
                    "url": "https://f/HANDLE", "handle": "HANDLE", "filename": "a.txt", "mimetype": "text/plain",
                    "path": "k/a.txt", "provider": "internal_v2", "size": 5,
                },
            },
        ),
    ],
)  # fmt: skip
def test_an_event_says_what_the_documentation_names(event: str, more: dict[str, Any], text: dict[str, Any]) -> None:
    assert text_of(event, DATA | more, "https://f") == text
