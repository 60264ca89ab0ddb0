"""Servers that scanners speak to, one for each test or, where it is a real clamd, one for all of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

if TYPE_CHECKING:
    from clamd_servers import Behaviour, Clamd, Peer


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    """A real clamd that knows two signatures."""
    from clamd_servers import Clamd

    with tempfile.TemporaryDirectory(prefix="clamd-") as folder, Clamd(Path(folder)).running() as running:
        yield running


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: a socket's has at most 107 bytes, and those of `tmp_path` can have more."""
    with tempfile.TemporaryDirectory(prefix="clamd-") as folder:
        yield Path(folder)


@pytest.fixture(params=["unix", "tcp"])
def peer(request: pytest.FixtureRequest, short: Path) -> Iterator[Callable[[Behaviour], Peer]]:
    """Starts a server that misbehaves as it is told; each test meets it over both kinds of sockets."""
    from clamd_servers import Peer

    peers: list[Peer] = []
    with ExitStack() as stack:

        def start(behave: Behaviour) -> Peer:
            peers.append(Peer(behave, short / f"{len(peers)}.sock" if request.param == "unix" else None))
            stack.callback(peers[-1].close)
            return peers[-1]

        yield start
    assert [failure for peer in peers for failure in peer.failures] == []
