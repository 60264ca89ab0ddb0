"""Makes the helpers of this folder importable by name, and starts each server once for all tests that need it.

Tests are imported by path (`--import-mode=importlib`), so that their folder is not on `sys.path`; the apps must be, for
Django finds its URLs by the name of a module.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import Server, granian_server, uvicorn_server, werkzeug_server

#: Every way in: the server, and the framework behind the door.
STACKS = [
    ("werkzeug", "flask"),
    ("werkzeug", "django"),
    ("granian-wsgi", "flask"),
    ("granian-wsgi", "django"),
    ("uvicorn", "starlette"),
    ("uvicorn", "fastapi"),
    ("uvicorn", "django"),
    ("granian-asgi", "starlette"),
    ("granian-asgi", "fastapi"),
    ("granian-asgi", "django"),
]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the file stores of `door_apps` write to."""
    folder = tmp_path_factory.mktemp("published")
    os.environ["SD_DOORS_FOLDER"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def running(published: Path) -> Iterator[Any]:
    """Start a server by name, once; all are stopped at the end."""
    import door_apps

    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def start(name: str) -> Server:
            if name not in started:
                makers = {
                    "werkzeug": lambda: werkzeug_server(door_apps.wsgi),
                    "uvicorn": lambda: uvicorn_server(door_apps.asgi),
                    "granian-wsgi": lambda: granian_server("wsgi", "door_apps:wsgi"),
                    "granian-asgi": lambda: granian_server("asgi", "door_apps:asgi"),
                }
                started[name] = stack.enter_context(makers[name]())
            return started[name]

        yield start


@pytest.fixture(params=STACKS, ids="-".join)
def stack(request: pytest.FixtureRequest, running: Any) -> Any:
    """A way in: `stack(variant, method, target, ...)` sends one request through it."""
    server_name, framework = request.param
    return Stack(running(server_name), framework)


class Stack:
    """A server and a framework, asked through one of the guards of `door_apps.guards`."""

    def __init__(self, server: Server, framework: str) -> None:
        self.server = server
        self.framework = framework

    @property
    def dechunks(self) -> bool:
        """Whether the framework reads bodies without a length at all: Django under WSGI takes them for empty."""
        return not (self.framework == "django" and self.server.name in ("werkzeug", "granian-wsgi"))

    def __call__(self, variant: str, method: str, target: str, **options: Any) -> Any:
        return self.server.ask(method, target, host=f"{variant}.{self.framework}", **options)

    def or_cut(self, variant: str, method: str, target: str, **options: Any) -> Any:
        """As a call, but `None` where the server closed on a body that it had not read.

        Servers do that after an early answer, and the kernel may then drop the answer with the connection.
        """
        try:
            return self(variant, method, target, **options)
        except (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead):
            return None
