"""Servers for the tests of this folder, each started once for all tests that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core import script_of
from live import Server, running
from sqlalchemy.engine import URL


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The standalone server as people start it: granian, SQLite."""
    with running(tmp_path_factory.mktemp("granian")) as server:
        yield server


@pytest.fixture(scope="session")
def uvicorn_server(tmp_path_factory: pytest.TempPathFactory, lasting_postgres_url: URL) -> Iterator[Server]:
    """The same factory under uvicorn, on PostgreSQL."""
    database = lasting_postgres_url.render_as_string(hide_password=False)
    with running(tmp_path_factory.mktemp("uvicorn"), runner="uvicorn", database=database) as server:
        yield server


@pytest.fixture(params=["granian-sqlite", pytest.param("uvicorn-postgres", marks=pytest.mark.postgres)])
def every_server(request: pytest.FixtureRequest) -> Server:
    """For the smaller set that is to hold under both servers and both databases."""
    found: Server = request.getfixturevalue("server" if request.param == "granian-sqlite" else "uvicorn_server")
    return found


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The script of axe-core."""
    return script_of(Path(request.config.cache.mkdir("axe-core")))  # type: ignore[union-attr]
