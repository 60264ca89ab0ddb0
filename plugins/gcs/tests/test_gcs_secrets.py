"""No secret of a storage is shown: not in names of objects, not in faults, not in what any library logs."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gcs_fake import FakeGcs, ServiceKey

from secure_delivery.plugin import SecureDeliveryError
from secure_delivery_gcs import GcsProvider, options, register_storages
from secure_delivery_gcs.storage import GcsStorage

Connect = Callable[..., GcsStorage]
WORDS = "secret words of the provider"  # what it writes may quote anything: it is not passed on
BROKEN = ("MARKER", '{"type": "service_account", "private_key": "MARKER"}', '{"type": "external_account"}')


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged by anybody, at the lowest level, with all that is attached to it."""
    text = io.StringIO()

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text.write(f"{record.getMessage()} {record.__dict__}\n")
            if record.exc_info:
                text.write("".join(traceback.format_exception(*record.exc_info)))

    handler = Everything(logging.DEBUG)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "google", "google.auth", "urllib3", "requests")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    google = logging.getLogger("google")
    propagates, google.propagate = google.propagate, True
    root.addHandler(handler)
    yield text
    root.removeHandler(handler)
    google.propagate = propagates
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def secrets_of(fake: FakeGcs) -> list[str]:
    lines = fake.key.pem.splitlines()[1:-1]
    return [*lines, *fake.tokens, *fake.sessions]


def all_that_is_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + getattr(error, "public", "")


def attempt(act: Callable[[], object], said: list[str]) -> None:
    try:
        act()
    except SecureDeliveryError as error:
        said.append(all_that_is_said(error))
        assert error.public == type(error).sentence


def put(storage: GcsStorage, data: bytes) -> None:
    draft = storage.create("files/a", mimetype="text/plain")
    draft.write(data)
    draft.publish()


@pytest.mark.parametrize("how", [None, 400, 401, 403, 404, 412, 418, 429, 500, 503, "reset", "late", "cut"])
def test_nothing_that_is_said_or_logged_holds_a_secret(connect: Connect, fake: FakeGcs, written: io.StringIO, how: Any) -> None:
    storage = connect()
    said: list[str] = []
    put(storage, b"data")
    for method, part in (("POST", "/upload/"), ("PUT", "upload_id"), ("GET", "/download/"), ("DELETE", "/storage/")):
        if how is not None:
            fake.trouble(method, part, how, times=2)
    names = set(fake.sessions)
    for act in (
        lambda: put(storage, b"data"),
        lambda: put(storage, bytes(9 << 20)),
        lambda: storage.open("files/a").read(),
        lambda: storage.remove("files/a"),
    ):
        attempt(act, said)
        names |= set(fake.sessions)
    draft = storage.create("files/a", mimetype="text/plain")
    attempt(lambda: draft.write(bytes(9 << 20)), said)
    account = storage._account
    shown = [repr(storage), repr(draft), repr(account), repr(account._parts), repr(account.options), repr(storage.advice())]
    shown += [repr(draft.__dict__), written.getvalue(), *said]
    assert "urllib3" in written.getvalue(), "the libraries did log"
    for secret in {*secrets_of(fake), *names}:
        assert not [text for text in shown if secret in text], secret
    assert not [text for text in said if WORDS in text]
    draft.discard()


@pytest.mark.parametrize("part", ["/token", "/upload/"])
def test_a_refused_account_shows_no_secret(connect: Connect, fake: FakeGcs, written: io.StringIO, part: str) -> None:
    stranger = ServiceKey()
    storage = connect(credentials=json.dumps(fake.credentials() | {"private_key": stranger.pem}))
    fake.trouble("POST", part, 401, times=9)
    said: list[str] = []
    attempt(lambda: put(storage, b"data"), said)
    assert said
    assert WORDS not in "".join(said)
    for secret in stranger.pem.splitlines()[1:-1]:
        assert secret not in "".join(said) + written.getvalue()


def test_signed_urls_are_not_logged(connect: Connect, written: io.StringIO) -> None:
    url = connect().presigned_url("files/a", seconds=60, headers={})
    assert url.partition("X-Goog-Signature=")[2] not in written.getvalue()


@pytest.mark.parametrize(
    "text", ["MARKER", '{"type": "service_account", "private_key": "MARKER"}', '{"type": "external_account"}']
)
def test_credentials_that_are_refused_are_not_repeated(texts: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="service account key") as caught:
        GcsProvider().connect(options.bind(texts) | {"credentials": text}, None)  # type: ignore[arg-type]
    assert "MARKER" not in all_that_is_said(caught.value)
    with pytest.raises(SecureDeliveryError) as refused:
        register_storages({"bucket": "files", "credentials": text})
    assert "MARKER" not in all_that_is_said(refused.value)
