"""Apps that read their bodies in every way their standard allows, behind a door that counts or has looked ahead.

Plain WSGI and ASGI apps, over real sockets: what they read is the body, byte for byte, or the request is refused.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from door_apps import RULES, SECRET, sign
from servers import Server, uvicorn_server, werkzeug_server

from secure_delivery import Application, Guard, Rule, SecretRing
from secure_delivery.asgi import SecureDelivery as AsgiDoor
from secure_delivery.wsgi import SecureDelivery as WsgiDoor

LINES = b"first\r\nsecond\n\n" + b"x" * 70_000 + b"\nlast without end"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]

READERS: dict[str, Callable[[Any], bytes]] = {
    "read()": lambda body: body.read(),
    "read(-1)": lambda body: body.read(-1),
    "read(n)": lambda body: b"".join(iter(lambda: body.read(1000), b"")),
    "read(0) first": lambda body: body.read(0) + body.read(),
    "beyond the end": lambda body: body.read() + body.read() + body.read(9),
    "readline()": lambda body: b"".join(iter(body.readline, b"")),
    "readline(n)": lambda body: b"".join(iter(lambda: body.readline(100), b"")),
    "readlines()": lambda body: b"".join(body.readlines()),
    "for line in": lambda body: b"".join(body),
    "buffered": lambda body: io.BufferedReader(body).read(),
    "readinto": lambda body: _read_into(body),
    "readall": lambda body: body.readall(),
    "in turn": lambda body: body.read(3) + body.readline() + body.readline(4) + body.read(),
}


def _read_into(body: Any) -> bytes:
    buffer, found = bytearray(999), b""
    while size := body.readinto(buffer):
        found += buffer[:size]
    return found


def _guard(**options: Any) -> Guard:
    application = Application(secrets=SecretRing.of(SECRET), require_policy=True)
    return Guard(application, [*RULES, Rule("/read/<path:path>", PUT="pick", POST="pick", body=True)], **options)


@pytest.fixture(scope="module")
def wsgi() -> Iterator[Server]:
    """An app that reads as the last segment of its path says, and answers with what it read."""

    def app(environ: Any, start_response: Any) -> Any:
        data = READERS[environ["PATH_INFO"].rpartition("/")[2]](environ["wsgi.input"])
        start_response("200 OK", [("Content-Length", str(len(data)))])
        return [data]

    with werkzeug_server(WsgiDoor(app, _guard())) as server:
        yield server


def _target(reader: str, query: str = "") -> str:
    return f"/read/{quote(reader)}{query}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_every_way_of_reading_gives_the_counted_body(wsgi: Server, reader: str, chunked: bool) -> None:
    """PEP 3333 asks for `read`, `readline`, `readlines` and iteration; frameworks use `readinto` besides."""
    target = _target(reader, f"?{sign(min_size=1, max_size=len(LINES)).as_query()}")
    sent: dict[str, Any] = {"chunks": [LINES[:10], LINES[10:]]} if chunked else {"body": LINES}

    assert wsgi.ask("PUT", target, host="h", **sent).body == LINES


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_no_way_of_reading_gets_around_the_count(wsgi: Server, reader: str, chunked: bool) -> None:
    """One byte too many is 413, however it is read."""
    target = _target(reader, f"?{sign(max_size=len(LINES) - 1).as_query()}")
    sent: dict[str, Any] = {"chunks": [LINES[:10], LINES[10:]]} if chunked else {"body": LINES}

    assert wsgi.ask("PUT", target, host="h", **sent).status == 413


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_what_was_looked_at_is_read_again_from_its_beginning(wsgi: Server, reader: str, chunked: bool) -> None:
    """A form with the policy in it: the app gets all of it, in lines and pieces as it likes."""
    body = f"{sign().as_query()}&text=".encode() + b"line\n" * 3000
    sent: dict[str, Any] = {"chunks": [body[:50], body[50:9000], body[9000:]]} if chunked else {"body": body}

    assert wsgi.ask("POST", _target(reader), host="h", headers=FORM, **sent).body == body


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_form_that_was_looked_at_only_in_part_is_read_whole(wsgi: Server, reader: str, chunked: bool) -> None:
    """The door stops looking at the first file; what it took and what is left are one body."""
    fields = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in sign().as_fields().items()
    )
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = f"{fields}{file}".encode() + LINES + b"\r\n--b--\r\n"
    sent: dict[str, Any] = {"chunks": [body[:50], body[50:9000], body[9000:]]} if chunked else {"body": body}
    answer = wsgi.ask("POST", _target(reader), host="h", headers=[("Content-Type", "multipart/form-data; boundary=b")], **sent)

    assert answer.body == body


# --------------------------------------------------------------------------------------------------- apps of odd manners


@pytest.fixture
def start() -> Iterator[Any]:
    """`start(app)` serves a WSGI or, with `asgi=True`, an ASGI app for one test."""
    with ExitStack() as stack:
        yield lambda app, asgi=False: stack.enter_context(uvicorn_server(app, lifespan="off") if asgi else werkzeug_server(app))


def _upload(server: Server, size: int, limit: int = 10) -> Any:
    return server.ask("PUT", f"/store/a?{sign(max_size=limit).as_query()}", host="h", chunks=[b"x" * size])


def test_a_generator_that_reads_late_is_refused_like_any_other(start: Any) -> None:
    """The app runs only when its answer is iterated: the door waits for its first piece before it decides."""
    closed: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        try:
            data = environ["wsgi.input"].read()
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield data
            yield b" and more"
        finally:
            closed.append("closed")

    server = start(WsgiDoor(app, _guard()))

    assert _upload(server, 10).body == b"x" * 10 + b" and more"
    assert _upload(server, 11).status == 413
    assert closed == ["closed", "closed"]


def test_an_app_that_swallows_the_refusal_does_not_answer_in_its_place(start: Any) -> None:
    """Whatever it says about a body it could not read is replaced, and its answer is closed."""
    closed: list[str] = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"all is well"])

        def close(self) -> None:
            closed.append("closed")

    def app(environ: Any, start_response: Any) -> Any:
        try:
            environ["wsgi.input"].read()
        except Exception:
            write = start_response("200 OK", [])
            write(b"all is well")
        with pytest.raises(Exception, match="413"):
            environ["wsgi.input"].readline()
        return Answer()

    assert _upload(start(WsgiDoor(app, _guard())), 11).code == "too_large"
    assert closed == ["closed"]


def test_an_app_that_fails_for_its_own_reasons_fails(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the app on a counted body is the server's to answer, as without a door."""

    def app(environ: Any, start_response: Any) -> Any:
        raise ZeroDivisionError

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    logging.getLogger("werkzeug").disabled = True
    try:
        assert _upload(start(WsgiDoor(app, _guard())), 5).status == 500
    finally:
        logging.getLogger("werkzeug").disabled = False
    assert _upload(start(AsgiDoor(asgi_app, _guard()), asgi=True), 5).status == 500


def test_an_empty_answer_to_a_counted_body_stays_empty(start: Any) -> None:
    """No first piece to take in."""

    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read()
        start_response("204 No Content", [])
        return []

    assert _upload(start(WsgiDoor(app, _guard())), 5).status == 204


def test_an_asgi_app_that_swallows_the_refusal_does_not_answer_in_its_place(start: Any) -> None:
    """It is told that the client has gone, as often as it asks, and what it then says goes nowhere."""
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.extend([(await receive())["type"] for _ in range(3)])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all is well"})

    assert _upload(start(AsgiDoor(app, _guard()), asgi=True), 11).code == "too_large"
    assert told == ["http.disconnect"] * 3


def test_an_answer_that_has_begun_is_not_replaced(start: Any) -> None:
    """The app answers before it reads: it sees the client go, and its own words end the answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Accept")]})
        message = await receive()
        await send({"type": "http.response.body", "body": message["type"].encode()})

    server = start(AsgiDoor(app, _guard()), asgi=True)

    assert _upload(server, 10).body == b"http.request"
    assert _upload(server, 11).body == b"http.disconnect"


def test_a_fault_of_on_denied_during_the_body_still_refuses(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The app had begun: nothing is published, and the client gets a 500."""

    def on_denied(*_: object) -> None:
        raise ZeroDivisionError

    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"all is well"]

    assert _upload(start(WsgiDoor(app, _guard(on_denied=on_denied))), 11).code == "internal"
    assert "on_denied failed" in caplog.text
