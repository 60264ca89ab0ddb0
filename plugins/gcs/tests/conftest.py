"""A Google Cloud Storage on this machine, a service account for it, and the short way to a storage in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gcs_fake import FakeGcs, ServiceKey, WayOut, emulator

from secure_delivery.plugin.tries import Patience
from secure_delivery_gcs import GcsProvider, options
from secure_delivery_gcs.storage import GcsStorage

#: Quick to give up, and no pause is waited for.
HASTE = Patience(connect=5.0, read=5.0, tries=4, pause=0.5, sleep=lambda seconds: None)


@pytest.fixture(scope="session")
def service_key() -> ServiceKey:
    return ServiceKey()


@pytest.fixture
def fake(service_key: ServiceKey) -> Iterator[FakeGcs]:
    with FakeGcs(service_key) as fake:
        yield fake


@pytest.fixture
def way_out(fake: FakeGcs) -> WayOut:
    """The only way to the fake: its host names are known to nobody else."""
    return WayOut({fake.HOST: fake.port})


@pytest.fixture
def texts(fake: FakeGcs) -> dict[str, Any]:
    """Options as somebody writes them down."""
    return {
        "bucket": "files",
        "buckets": "other, absent",
        "credentials": json.dumps(fake.credentials(), indent=2),
        "endpoint": fake.endpoint,
        "insecure": "true",
    }


@pytest.fixture
def connect(texts: dict[str, Any], way_out: WayOut) -> Callable[..., GcsStorage]:
    """A storage in the fake: `connect(write_only="true")`, and `patience=` for another one."""

    def make(patience: Patience = HASTE, **more: Any) -> GcsStorage:
        return GcsProvider(patience).connect(options.bind(texts | more), way_out)

    return make


@pytest.fixture
def emulated() -> Iterator[int]:
    """The port of the emulator from the registry."""
    with emulator("files") as port:
        yield port
