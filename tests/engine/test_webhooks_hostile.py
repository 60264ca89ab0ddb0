"""Receivers that are enemies: slow, endless, lying, leading elsewhere. Each try ends in time, keeps little, tells nothing."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hooks import PUBLISHED
from outside import Outside, answer, certificate, moved, never_connect, ok, resolver

from secure_delivery.engine.webhook_sending import MOST_KEPT, Outcome, Sender, printable

FIELDS = (("Content-Type", "application/json"), ("FS-Timestamp", "1"), ("FS-Signature", "0" * 64))
BODY = PUBLISHED[2]


def sender(**more: Any) -> Sender:
    return Sender(**({"seconds": 1.0, "allow": ("127.0.0.1",), "ports": range(1, 65536)} | more))


def send(script: bytes | Callable[[socket.socket], None], *, body: bytes = BODY, **more: Any) -> Outcome:
    with Outside({"/hook": script}) as web:
        outcome = sender(**more).send(web.url("/hook"), FIELDS, body)
        web.released.set()
    return outcome


def drip(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Something now and then, until the other side has gone."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.settimeout(0.05)
        while True:
            connection.sendall(piece)
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                pass

    return script


def flood(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """As much as the other side takes."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return script


# ------------------------------------------------------------------------------------------------------------ what is sent


def test_a_post_has_its_body_its_length_and_nothing_that_was_not_asked_for() -> None:
    with Outside({"/hook?x=1": ok(b"fine")}) as web:
        outcome = sender().send(web.url("/hook?x=1"), FIELDS, BODY)
    assert (outcome.status, outcome.answer, outcome.delivered) == (200, "fine", True)
    assert web.bodies == [BODY]
    assert web.seen[0].decode().split("\r\n") == [
        "POST /hook?x=1 HTTP/1.1",
        f"Host: 127.0.0.1:{web.port}",
        "Connection: close",
        "Accept-Encoding: identity",
        f"Content-Length: {len(BODY)}",
        "Content-Type: application/json",
        "FS-Timestamp: 1",
        f"FS-Signature: {'0' * 64}",
    ]


def test_a_receiver_is_verified_by_its_certificate_and_told_apart_from_one_that_cannot_be_reached(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "hooks.test")
    with Outside({"/hook": ok(b"fine")}, tls=server) as web:
        names = resolver(hooks_test="127.0.0.1", other_test="127.0.0.1")
        good = sender(tls=client, resolve=names).send(web.url("/hook", host="hooks.test"), FIELDS, b"x" * 300_000)
        other = sender(tls=client, resolve=names).send(web.url("/hook", host="other.test"), FIELDS, BODY)
        unknown = sender(tls=ssl.create_default_context(), resolve=names).send(
            web.url("/hook", host="hooks.test"), FIELDS, BODY
        )
    assert good.delivered and len(web.bodies[0]) == 300_000
    assert web.seen and len(web.seen) == 1, "nothing is said to who cannot show that he is the one"
    for outcome in (other, unknown):
        assert outcome.status is None and outcome.answer.startswith("No TLS: ") and "certificate" in outcome.answer


# ------------------------------------------------------------------------------------------------------------- in how long


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (drip(b"", b""), None),
        (drip(b"", b"H"), None),
        (drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), None),
        (drip(ok(b"x" * 1000)[:30], b""), None),
        (drip(answer("100 Continue"), answer("100 Continue")), None),
        (drip(answer("200 OK", "Content-Length: 1000000"), b"x"), 200),
        (drip(answer("200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n"), 200),
        (drip(answer("500 No", "Content-Length: 1000000"), b"x"), 500),
    ],
    ids=["silent", "letters", "fields", "half a head", "interim", "body", "chunks", "error"],
)
def test_who_takes_his_time_is_given_up_at_the_deadline(script: Callable[[socket.socket], None], status: int | None) -> None:
    """All of it together has one second here. A status that has come counts, however its body ends."""
    outcome = send(script)
    assert outcome.status == status and outcome.delivered == (status == 200)
    assert outcome.took < 5000


@pytest.mark.parametrize("tls", [False, True])
def test_who_does_not_read_is_given_up_at_the_deadline_with_tls_too(tmp_path: Path, tls: bool) -> None:
    """A body that no buffer holds, and a receiver that takes a little of it now and then."""
    server, client = certificate(tmp_path, "127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def read_slowly() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection if not tls else server.wrap_socket(connection, server_side=True) as reader:
            while not over.wait(0.05):
                try:
                    reader.recv(2048)
                except OSError:
                    return

    thread = threading.Thread(target=read_slowly)
    thread.start()
    url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}/hook"
    outcome = sender(tls=client).send(url, FIELDS, b"x" * 30_000_000)
    over.set()
    thread.join()
    listener.close()
    assert outcome.status is None and not outcome.delivered
    assert outcome.took < 5000


# ---------------------------------------------------------------------------------------------------------- how much, and what


@pytest.mark.parametrize(
    "head",
    [
        answer("200 OK"),
        answer("200 OK", "Content-Length: 999999999999"),
        answer("200 OK", "Transfer-Encoding: chunked") + b"fffffff\r\n",
    ],
    ids=["no length", "a length", "one chunk"],
)
def test_of_an_endless_body_only_the_start_is_read(head: bytes) -> None:
    outcome = send(flood(head, b"spam " * 10_000), seconds=30.0)
    assert outcome.delivered and outcome.answer == ("spam " * 1000)[:MOST_KEPT]
    assert outcome.took < 20_000, "it was cut, not waited for"


def test_of_endless_fields_the_start_is_enough() -> None:
    outcome = send(flood(b"HTTP/1.1 200 OK\r\n", b"X-Field: " + b"x" * 1000 + b"\r\n"), seconds=30.0)
    assert outcome.status is None
    assert outcome.took < 20_000


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00\xff" * 100,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"<html>" * 20_000,
    ],
)
def test_what_is_no_answer_is_a_failed_try(said: bytes) -> None:
    outcome = send(said)
    assert (outcome.status, outcome.delivered) == (None, False)
    assert outcome.answer.isprintable() and 0 < len(outcome.answer) < 100


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"plain", "plain"),
        (b"two\r\nlines\ttab  and\x1b[31m colour\x00", "two lines tab and [31m colour"),
        ("é\u202e\U0001f600".encode(), "é \U0001f600"),
        (b"\xff\xfe\x80", "\ufffd\ufffd\ufffd"),
        (gzip.compress(b"packed"), None),
        (b"x" * 100_000, "x" * MOST_KEPT),
        ("ü".encode() * 100_000, "ü" * MOST_KEPT),
        (b"", ""),
    ],
)
def test_what_is_kept_of_an_answer_is_a_short_printable_line(body: bytes, kept: str | None) -> None:
    outcome = send(ok(body))
    assert outcome.delivered
    assert outcome.answer.isprintable() and len(outcome.answer) <= MOST_KEPT
    assert kept is None or outcome.answer == kept
    outcome.answer.encode()  # no half characters, which a database would refuse
    assert printable(body) == outcome.answer


# ---------------------------------------------------------------------------------------------------------------- elsewhere


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_to_an_inner_address_is_never_followed(status: str) -> None:
    with Outside({"/inner": ok(b"secret")}) as inner, Outside({"/hook": moved(inner.url("/inner"), status)}) as web:
        outcome = sender().send(web.url("/hook"), FIELDS, BODY)
    assert (outcome.status, outcome.delivered, outcome.answer) == (int(status[:3]), False, "Redirects are not followed.")
    assert inner.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "inner.test"]
)
def test_an_inner_address_is_not_asked_and_the_owner_does_not_learn_why(host: str) -> None:
    with Outside({"/hook": ok()}) as web:
        closed = Sender(
            seconds=2.0,
            https_only=False,
            ports=(web.port,),
            resolve=resolver(inner_test="10.0.0.1 8.8.8.8", localhost="127.0.0.1"),
        )
        outcome = closed.send(web.url("/hook", host=host), FIELDS, BODY)
    assert (outcome.status, outcome.answer) == (None, "No connection could be made.")
    assert web.connections == 0


def test_why_a_connection_was_not_made_is_the_same_for_every_reason() -> None:
    """Refused address, no such name, nobody listening: who could tell them apart could map the operator's network."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    names = resolver(inner_test="10.0.0.1", nobody_test="127.0.0.1")
    told = {
        Sender(seconds=2.0, https_only=False, ports=(port,), resolve=names, allow=allow)
        .send(f"http://{host}:{port}/", FIELDS, BODY)
        .answer
        for host, allow in (("inner.test", ()), ("unknown.test", ()), ("nobody.test", ("nobody.test",)), ("nobody.test", ()))
    }
    assert told == {"No connection could be made."}


def test_a_name_that_moves_inside_between_two_tries_is_refused_then() -> None:
    answers = ["127.0.0.1", "127.0.0.9", "127.0.0.1"]

    def rebinding(host: str, port: int) -> list[str]:
        return [answers.pop(0)]

    with Outside({"/hook": ok()}) as web:
        moving = sender(resolve=rebinding)
        outcomes = [moving.send(web.url("/hook", host="moving.test"), FIELDS, BODY) for _ in range(3)]
    assert [outcome.delivered for outcome in outcomes] == [False, False, False], "by plain http only what the operator names"
    answers[:] = ["127.0.0.1", "127.0.0.9", "127.0.0.1"]
    with Outside({"/hook": ok()}) as web:
        moving = sender(resolve=rebinding, https_only=False)
        outcomes = [moving.send(web.url("/hook", host="moving.test"), FIELDS, BODY) for _ in range(3)]
    assert [outcome.delivered for outcome in outcomes] == [True, False, True]
    assert web.connections == 2 and answers == [], "each try asks once, and connects to what was checked"


def test_an_address_that_settings_do_not_allow_any_more_is_a_failed_try_without_a_packet() -> None:
    outcome = Sender(connect=never_connect).send("http://hooks.example.org/", FIELDS, BODY)
    assert (outcome.status, outcome.answer) == (None, "Webhooks are only sent by https.")
    outcome = Sender(connect=never_connect).send("https://hooks.example.org:8443/", FIELDS, BODY)
    assert (outcome.status, outcome.answer) == (None, "Webhooks are not sent to this port.")


def test_proxies_of_the_environment_play_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    with Outside({"/hook": ok()}) as web:
        assert sender().send(web.url("/hook"), FIELDS, BODY).delivered
