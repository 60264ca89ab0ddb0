"""The published contract, on both Google Cloud Storages that run here: the emulator of the registry, and our stricter one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gcs_fake import FakeGcs, WayOut, emulator

from secure_delivery.plugin import Storage
from secure_delivery.plugin.testing import StorageContract
from secure_delivery.plugin.tries import Patience
from secure_delivery_gcs import GcsProvider, options
from secure_delivery_gcs.kept import KeptBlobs

HASTE = Patience(sleep=lambda seconds: None)


class TestKeptInTheStrictOne(StorageContract):
    @pytest.fixture(autouse=True)
    def _server(self, fake: FakeGcs, way_out: WayOut, texts: dict[str, Any]) -> None:
        self.storage = GcsProvider(HASTE).connect(options.bind(texts), way_out)

    def make_storage(self, tmp_path: Path) -> Storage:
        return KeptBlobs(self.storage, "blobs/")


class TestKeptInTheEmulator(StorageContract):
    @pytest.fixture(autouse=True)
    def _server(self, fake: FakeGcs) -> Iterator[None]:
        with emulator("files") as port:
            ways = WayOut({fake.HOST: fake.port, "emulator.test": port})
            texts = {
                "bucket": "files",
                "credentials": json.dumps(fake.credentials()),
                "endpoint": f"http://emulator.test:{port}",
                "insecure": "true",
            }
            self.storage = GcsProvider(HASTE).connect(options.bind(texts), ways)
            yield

    def make_storage(self, tmp_path: Path) -> Storage:
        return KeptBlobs(self.storage, "")
