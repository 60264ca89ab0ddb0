"""The published contract, on Azurite, with an account key and with a shared access signature."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from azure_stage import Azurite

from secure_delivery.plugin import Storage
from secure_delivery.plugin.testing import StorageContract
from secure_delivery_azure.kept import kept
from secure_delivery_azure.storage import AzureStorage


class TestKeptByKey(StorageContract):
    @pytest.fixture(autouse=True)
    def _service(self, connect: Callable[..., AzureStorage]) -> None:
        self.storage = connect()

    def make_storage(self, tmp_path: Path) -> Storage:
        return kept(self.storage, "blobs/")


class TestKeptBySignature(StorageContract):
    @pytest.fixture(autouse=True)
    def _service(self, connect: Callable[..., AzureStorage], azurite: Azurite, container: str) -> None:
        from azure.storage.blob import generate_container_sas

        token = generate_container_sas(
            azurite.account,
            container,
            account_key=azurite.key,
            permission="rcwd",
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
        )
        self.storage = connect(account_key=None, sas_token=f"?{token}")

    def make_storage(self, tmp_path: Path) -> Storage:
        return kept(self.storage, "")
