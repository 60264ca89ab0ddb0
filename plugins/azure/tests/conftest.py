"""Azurite, Microsoft's emulator, on this machine; a proxy in front of it that fails on demand; the short way to a storage."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from azure_stage import HOST, Azurite, Stage, WayOut, azurite_program

from secure_delivery.plugin.tries import Patience
from secure_delivery_azure import AzureProvider, options
from secure_delivery_azure.storage import AzureStorage

#: Quick to give up, and no pause is waited for.
HASTE = Patience(connect=5.0, read=20.0, tries=4, pause=0.5, sleep=lambda seconds: None)


@pytest.fixture(scope="session")
def azurite(request: pytest.FixtureRequest) -> Iterator[Azurite]:
    program = azurite_program(Path(request.config.cache.mkdir("azurite")))  # type: ignore[union-attr]
    with Azurite(program) as azurite:
        yield azurite


@pytest.fixture
def container(azurite: Azurite) -> str:
    """A new, empty container."""
    name = f"files-{secrets.token_hex(6)}"
    azurite.make_container(name)
    return name


@pytest.fixture
def stage(azurite: Azurite) -> Iterator[Stage]:
    with Stage(azurite.port) as stage:
        yield stage


@pytest.fixture
def way_out(stage: Stage) -> WayOut:
    """The only way to the service: its host name is known to nobody else."""
    return WayOut({HOST: stage.port})


@pytest.fixture
def texts(azurite: Azurite, stage: Stage, container: str) -> dict[str, Any]:
    """Options as somebody writes them down."""
    return {
        "container": container,
        "containers": "other, absent",
        "account": azurite.account,
        "account_key": azurite.key,
        "endpoint": f"http://{HOST}:{stage.port}/{azurite.account}",
        "insecure": "true",
    }


@pytest.fixture
def connect(texts: dict[str, Any], way_out: WayOut) -> Callable[..., AzureStorage]:
    """A storage: `connect(write_only="true")`, without an option by `None`, and `patience=` for another one."""

    def make(patience: Patience = HASTE, **more: Any) -> AzureStorage:
        given = {name: value for name, value in (texts | more).items() if value is not None}
        return AzureProvider(patience).connect(options.bind(given), way_out)

    return make
