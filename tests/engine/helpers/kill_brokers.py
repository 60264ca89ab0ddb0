"""Brokers that a test may kill: each comes back having lost everything."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_START = 60.0  # seconds
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # beside it on the PATH is a script that changes the user


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(what: str) -> None:
    """Without a service: a visible skip, and a failure where CI promises one."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"no {what} for the tests")
    pytest.skip(f"no {what}")


class Broker:
    """A server of the test's own. `settings` go into [plugins.celery]."""

    url = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"broker": self.url, "patience": 1}

    def command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it is up."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def start(self) -> None:
        command, environment = self.command()
        self.process = subprocess.Popen(
            command,
            env=os.environ | environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + _START
        while not self.answers():
            assert self.process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < end, f"{command[0]} does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def lose_everything(self) -> None:
        """Be killed, and come back empty."""
        self.kill()
        self.start()


class PrivateRedis(Broker):
    """Without a disk, so that nothing is left to come back."""

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = shutil.which("redis-server")
        if program is None:
            missing("redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [str(program), *options, "--dir", str(self.folder)], {}


class PrivateRabbitMQ(Broker):
    """A node of its own, with its own cookie and its own folder, which goes when it is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.node = f"sd{secrets.token_hex(4)}@localhost"

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> tuple[list[str], dict[str, str]]:
        if not Path(_RABBITMQ).exists():
            missing("rabbitmq-server")
        (self.folder / "plugins").write_text("[].")
        (self.folder / "none").write_text("")
        return [_RABBITMQ], {
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "no-config"),
            "HOME": str(self.folder),
        }

    def answers(self) -> bool:
        from kombu import Connection

        with suppress(Exception), Connection(self.url, connect_timeout=2) as connection:
            connection.connect()
            return True
        return False

    def lose_everything(self) -> None:
        self.kill()
        shutil.rmtree(self.folder / "mnesia")
        self.start()


def as_toml(settings: dict[str, Any]) -> str:
    """Plain values as lines of a settings file."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
