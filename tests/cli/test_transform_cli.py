"""`secure-delivery transform`: an address that the server takes, and the result beside it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Server, picture, running
from PIL import Image


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("transform")) as server:
        yield server


@pytest.fixture
def command(server: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command on the data of the server."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*server.argv[: server.argv.index("serve")], "transform", *words]
        return subprocess.run(argv, capture_output=True, text=True, env=dict(server.env), timeout=120, check=False)

    return run


def test_the_address_is_taken_by_the_server_and_gives_what_is_saved(
    server: Server, command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    application = server.application(require_policy=True)
    link = server.put(application, picture(400, 300), "owl.jpg")
    path = tmp_path / "small.jpg"
    said = command(application.api_key, link.handle, "resize=width:100", "flip", "--save", str(path), "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    with Image.open(path) as saved:
        assert saved.size == (100, 75)
    reply = server.get("/" + told["url"].split("/", 3)[3])
    assert reply.body == path.read_bytes()
    assert (told["bytes"], told["mimetype"], told["bound"]) == (len(reply.body), "image/jpeg", True)
    assert link.handle in command(application.api_key, link.handle, "resize=width:100/flip").stdout


@pytest.mark.parametrize(
    ("source", "tasks", "sentence"),
    [
        ("HANDLE", ["resize=width:x"], "width must be a whole number from 0 to 10000"),
        ("HANDLE", ["resiz=width:1"], "Did you mean 'resize'?"),
        ("HANDLE", ["store"], "not tried out"),
        ("xxxxxxxxxxxxxxxxxxxxx", ["flip"], "no file"),
        ("short", ["flip"], "neither a file handle"),
        ("", ["flip"], "Choose a file"),
    ],
    ids=["value", "task", "control", "missing", "handle", "nothing"],
)
def test_what_is_wrong_is_said(
    server: Server, command: Callable[..., subprocess.CompletedProcess[str]], source: str, tasks: list[str], sentence: str
) -> None:
    application = server.application()
    link = server.put(application, picture(), "owl.jpg")
    said = command(application.api_key, source.replace("HANDLE", link.handle), *tasks)
    assert said.returncode == 2
    assert sentence in said.stderr
    assert "Traceback" not in said.stderr
