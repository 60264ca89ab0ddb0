"""What travels, what is shown, and what happens when the broker is away."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from secure_delivery.plugin import ConfigurationError, manager
from secure_delivery.plugin.protocols import Queue, Serving
from secure_delivery_celery import CeleryQueue, read_settings

if TYPE_CHECKING:
    from conftest import PrivateRedis

PATIENCE = 30.0

#: A worker that prints the ids it is given, with everything that Celery and its libraries log.
WORKER = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from secure_delivery_celery import CeleryQueue, read_settings
CeleryQueue(read_settings(json.loads(sys.argv[1]))).serve(lambda one: print(one, flush=True), concurrency=2)
print("returned", flush=True)
"""


MADE: list[CeleryQueue] = []


def made(settings: dict[str, Any]) -> CeleryQueue:
    options = read_settings(settings)
    assert options is not None
    MADE.append(CeleryQueue(options))
    return MADE[-1]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def waiting(settings: dict[str, Any]) -> int:
    """How many messages the broker holds."""
    from kombu import Connection

    found = 0
    with Connection(settings["broker"]) as connection:
        for cost in ("light", "heavy"):
            with contextlib.suppress(*connection.channel_errors):
                found += connection.channel().queue_declare(settings[cost], passive=True).message_count
    return found


class Worker:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.log: list[str] = []
        self._heard = threading.Condition()
        self.readers = [
            threading.Thread(target=self._read, args=(stream, into))
            for stream, into in ((process.stdout, self.lines), (process.stderr, self.log))
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, stream: Any, into: list[str]) -> None:
        with stream:
            for line in stream:
                with self._heard:
                    into.append(line.rstrip("\n"))
                    self._heard.notify_all()

    def wait_for(self, *wanted: str, where: str = "lines") -> None:
        found: Sequence[str] = getattr(self, where)
        with self._heard:
            assert self._heard.wait_for(lambda: all(any(one in line for line in found) for one in wanted), PATIENCE), (
                f"{wanted} not in {found}\n" + "\n".join(self.log[-20:])
            )


@contextmanager
def worker(settings: dict[str, Any]) -> Iterator[Worker]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, json.dumps(settings)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield (running := Worker(process))
    finally:
        process.kill()
        process.wait()
        for reader in running.readers:
            reader.join()


def test_the_queue_is_there_when_a_broker_is_named_and_not_otherwise() -> None:
    assert "celery" not in manager.load(settings={"celery": {}}).queues
    queue = manager.load(settings={"celery": {"broker": "redis://127.0.0.1:1/0"}}).queues["celery"]
    assert isinstance(queue, Queue)
    assert isinstance(queue, Serving)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"brokr": "redis://h"}, "no setting called brokr"),
        ({"broker": "http://h"}, "begins with"),
        ({"broker": "redis://"}, "no host"),
        ({"broker": "redis://:secret-word@h:port"}, "no URL"),
        ({"broker": "redis://h?password=secret-word"}, "options"),
        ({"broker": "redis://:secret-word@a;redis://b"}, "one address"),
        ({"broker": 7}, "a URL is wanted"),
        ({"broker": "redis://localhost", "light": "a b"}, "light"),
        ({"broker": "redis://localhost", "takes": []}, "takes"),
        ({"broker": "redis://localhost", "takes": ["medium"]}, "takes"),
        ({"broker": "redis://localhost", "visibility": 0}, "visibility"),
        ({"broker": "redis://localhost", "visibility": True}, "visibility"),
        ({"broker": "redis://localhost", "patience": 100}, "patience"),
        ({"broker": "redis://localhost", "quorum": 1}, "true or false"),
        ({"broker": "redis://localhost", "quorum": True}, "RabbitMQ"),
        ({"broker": "redis://localhost", "ca": "/no/such/file"}, "certificates"),
        ({"broker": "redis://localhost", "options": 5}, "table"),
    ],
    ids=lambda value: "",
)
def test_settings_that_make_no_sense_are_refused_without_repeating_the_password(settings: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_settings(settings)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "broker",
    [
        "rediss://:secret-word@h:1/0",
        "amqp://u:secret-word@127.0.0.1/v",
        "amqps://u:secret-word@h/v",
        "sqs://key-id:secret-word@",
    ],
)
def test_what_is_shown_of_a_queue_holds_no_password(broker: str) -> None:
    queue = made({"broker": broker})
    for shown in (repr(queue), str(queue), queue.describe(), repr(read_settings({"broker": broker}))):
        assert "secret-word" not in shown
        assert "key-id" not in shown


def test_tls_looks_at_the_certificate() -> None:
    from secure_delivery_celery.application import application

    options = read_settings({"broker": "rediss://h"})
    assert options is not None
    assert application(options).conf.broker_use_ssl["ssl_cert_reqs"].name == "CERT_REQUIRED"
    options = read_settings({"broker": "amqps://u:p@h"})
    assert options is not None
    tls = application(options).conf.broker_use_ssl
    assert (tls["cert_reqs"].name, tls["server_hostname"]) == ("CERT_REQUIRED", "h")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:2", "127.9.9.9", "user:secret-word@LOCALHOST"])
@pytest.mark.parametrize("scheme", ["redis", "amqp", "rediss", "amqps"])
def test_a_broker_of_this_machine_needs_no_tls(scheme: str, host: str) -> None:
    assert read_settings({"broker": f"{scheme}://{host}/0"}) is not None


@pytest.mark.parametrize(
    "broker",
    [
        "redis://:secret-word@h",
        "amqp://u:secret-word@h//",
        "redis://192.0.2.1:6379/0",
        "redis://0.0.0.0/0",
        "amqp://[2001:db8::1]//",
        "redis://localhost.example/0",
        "redis://db.localhost/0",
        "redis://127.0.0.1.example/0",
        "redis://127.1/0",
        "sqs://key:secret-word@sqs.example:9324",
    ],
)
def test_a_broker_elsewhere_is_spoken_to_by_tls_or_not_at_all(broker: str) -> None:
    """Unless the operator says so, in a word that names it."""
    with pytest.raises(ConfigurationError, match="plain = true") as caught:
        read_settings({"broker": broker})
    assert "secret-word" not in str(caught.value)
    assert read_settings({"broker": broker, "plain": True}) is not None
    with pytest.raises(ConfigurationError, match="plain"):
        read_settings({"broker": broker, "plain": "yes"})
    assert "celery" not in manager.load(settings={"celery": {"broker": broker}}).queues


@pytest.mark.parametrize(
    ("broker", "options"),
    [
        ("amqps://h", {"ssl": {"cert_reqs": 0}}),
        ("amqps://h", {"ssl": False}),
        ("amqp://localhost", {"host": "h:5672"}),
        ("rediss://h", {"ssl_cert_reqs": "none"}),
        ("rediss://h", {"ssl_check_hostname": False}),
        ("rediss://h", {"connection_class": "x"}),
        ("amqps://h", {"server_hostname": "other"}),
        ("sqs://", {"is_secure": False}),
        ("sqs://h", {"is_secure": False}),
        ("sqs://", {"use_ssl": False}),
        ("sqs://", {"predefined_queues": {"light": {"url": "http://h/light"}}}),
    ],
)
def test_no_option_of_a_transport_switches_off_what_was_checked(broker: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"options|plain = true"):
        read_settings({"broker": broker, "options": options})
    usual = {"region": "eu-central-1", "max_connections": 5, "predefined_queues": {"light": {"url": "https://h/light"}}}
    assert read_settings({"broker": broker.replace("sqs://h", "sqs://"), "options": usual}) is not None
    assert read_settings({"broker": "sqs://h", "options": {"is_secure": True}}) is not None


def test_another_programs_broker_in_the_environment_changes_nothing(
    redis_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
    made(redis_settings).announce("here", cost="light")
    assert waiting(redis_settings) == 1


def test_only_the_id_travels(private_redis: PrivateRedis) -> None:
    import redis

    queue = made({"broker": private_redis.url})
    queue.announce("the-id-of-a-job", cost="heavy")
    client = redis.Redis(port=private_redis.port, password=private_redis.password)
    raw = client.lrange("secure-delivery-heavy", 0, -1)
    client.close()
    assert isinstance(raw, list)
    assert len(raw) == 1
    message = json.loads(raw[0])
    assert message["content-type"] == "application/json"
    assert json.loads(base64.b64decode(message["body"]))[:2] == [["the-id-of-a-job"], {}]
    assert "the-id-of-a-job" not in json.dumps(message["headers"])


def test_a_worker_takes_the_classes_that_it_is_set_to(settings: dict[str, Any]) -> None:
    queue = made(settings)
    with worker(settings | {"takes": ["light"]}) as light:
        for number in range(4):
            queue.announce(f"{'heavy' if number % 2 else 'light'}-{number}", cost="heavy" if number % 2 else "light")
        light.wait_for("light-0", "light-2")
        assert not [line for line in light.lines if line.startswith("heavy")]
    with worker(settings | {"takes": ["heavy"]}) as heavy:
        heavy.wait_for("heavy-1", "heavy-3")


def test_a_message_that_would_have_to_be_unpickled_is_not_read(redis_settings: dict[str, Any]) -> None:
    from kombu import Connection

    class Bomb:
        def __reduce__(self) -> Any:
            return (print, ("unpickled",))

    with worker(redis_settings) as running:
        with Connection(redis_settings["broker"]) as connection:
            connection.Producer().publish(
                pickle.dumps((("x",), {"bomb": Bomb()}, {})),
                routing_key=redis_settings["light"],
                content_type="application/x-python-serialize",
                content_encoding="binary",
                headers={"task": "secure_delivery.run", "id": "1", "lang": "py"},
            )
        made(redis_settings).announce("after", cost="light")
        running.wait_for("after")
        assert "unpickled" not in "\n".join(running.lines)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_is_told_of_at_once(scheme: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    queue = made({"broker": f"{scheme}://user:secret-word@127.0.0.1:{port}/0"})
    with pytest.raises(Exception) as caught:
        queue.announce("nowhere", cost="light")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_says_nothing_is_not_waited_for_for_long(scheme: str) -> None:
    """Upper bound by the settings: two tries of a second each, and a machine under load."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        queue = made({"broker": f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0", "patience": 1})
        failed: list[BaseException] = []

        def announce() -> None:
            try:
                queue.announce("nowhere", cost="light")
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=announce, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert failed, "it raised, and did not wait for ever"


def test_many_threads_may_announce_at_once(settings: dict[str, Any]) -> None:
    queue = made(settings)
    faults: list[BaseException] = []

    def announce(thread: int) -> None:
        try:
            for number in range(25):
                queue.announce(f"{thread}-{number}", cost="light")
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=announce, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert waiting(settings) == 200


def test_a_worker_outlives_its_broker_and_nobody_reads_the_password_in_the_logs(private_redis: PrivateRedis) -> None:
    """The broker is killed and comes back empty; announcing begins to work again by itself, and the worker to be served."""
    settings = {"broker": private_redis.url, "patience": 1}
    queue = made(settings)
    with worker(settings) as running:
        queue.announce("before", cost="light")
        running.wait_for("before")
        private_redis.kill()
        with pytest.raises(Exception, match=r".*"):
            queue.announce("meanwhile", cost="light")
        running.wait_for("Cannot connect", where="log")
        private_redis.start()
        end = time.monotonic() + PATIENCE
        while not any("after" in line for line in running.lines):
            assert time.monotonic() < end, running.log[-20:]
            queue.announce("after", cost="light")
            running.process.poll()
            threading.Event().wait(0.2)
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("returned")
        assert running.process.wait(PATIENCE) == 0
        assert private_redis.password not in "\n".join(running.log + running.lines)


def test_a_worker_ends_at_once_when_there_is_no_broker() -> None:
    with worker({"broker": "redis://127.0.0.1:1/0"}) as running:
        running.wait_for("Cannot connect", where="log")
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("returned")
