"""Brokers for the tests: those of this machine, with queues of the test's own, and a Redis that a test may kill."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REDIS = os.environ.get("SECURE_DELIVERY_TEST_REDIS", "redis://127.0.0.1:6379/9")
RABBITMQ = os.environ.get("SECURE_DELIVERY_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def missing(what: str) -> None:
    """Without a service: a visible skip, and a failure where CI promises one."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"no {what} for the tests")
    pytest.skip(f"no {what}")


def own_queues(broker: str) -> Iterator[dict[str, Any]]:
    """Settings with queues that nobody else uses, deleted afterwards."""
    from kombu import Connection

    try:
        with Connection(broker, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
    except Exception:
        missing(f"broker at {broker.rpartition('@')[2]}")
    mark = secrets.token_hex(4)
    names = {cost: f"sd-test-{mark}-{cost}" for cost in ("light", "heavy")}
    yield {"broker": broker, **names}
    with Connection(broker) as connection:
        for name in names.values():
            channel = connection.channel()
            channel.queue_delete(name)
            channel.close()


@pytest.fixture
def redis_settings() -> Iterator[dict[str, Any]]:
    yield from own_queues(REDIS)


@pytest.fixture
def rabbitmq_settings() -> Iterator[dict[str, Any]]:
    yield from own_queues(RABBITMQ)


@pytest.fixture(params=["redis", "rabbitmq"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.getfixturevalue(f"{request.param}_settings")
    return found


class PrivateRedis:
    """A Redis of the test's own, without a disk: what is killed comes back empty."""

    def __init__(self, folder: Path, password: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing("redis-server")
            return
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.folder), *(["--requirepass", self.password] if self.password else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        pytest.fail("redis-server does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path, password="open-sesame-17")
    server.start()
    yield server
    server.kill()
