"""The plugin as the server sees it: hooks, settings, options, advice, and the forms of keys and answers."""

from __future__ import annotations

import base64
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import (
    BadRequest,
    ConfigurationError,
    Placing,
    Presigned,
    SecureDeliveryError,
    Storage,
    StorageFault,
    StorageProvider,
    StorageRefused,
)
from secure_delivery.plugin.manager import load
from secure_delivery_azure import AzureProvider, faults, keys, options, register_storages, self_test
from secure_delivery_azure.storage import AzureStorage

KEY = base64.b64encode(bytes(range(64))).decode()
SAS = "sv=2024-11-04&sr=c&sp=cw&se=2031-01-01&sig=abc%2Bdef%3D"
TEXTS = {"container": "files", "account": "account1", "account_key": KEY}


def dial(host: str, port: int, seconds: float) -> Any:
    raise AssertionError("nothing is asked for")


def connected(**more: Any) -> AzureStorage:
    given_texts = {name: value for name, value in (TEXTS | more).items() if value is not None}
    return AzureProvider().connect(options.bind(given_texts), dial)


def test_the_server_finds_the_provider_and_without_settings_no_storage() -> None:
    registry = load()
    assert isinstance(registry.storage_providers["azure"], StorageProvider)
    assert "azure" not in registry.storages


@pytest.mark.parametrize("by_key", [True, False])
def test_a_container_in_the_settings_makes_a_storage_of_the_operators_own(by_key: bool) -> None:
    credential = {"account_key": KEY} if by_key else {"sas_token": SAS}
    settings = {"container": "files", "account": "account1", "prefix": "production/blobs", **credential}
    storage = load(settings={"azure": settings}).storages["azure"]
    assert isinstance(storage, Storage) and not isinstance(storage, Placing)
    assert isinstance(storage, Presigned) == by_key
    assert repr(storage).endswith("KeptBlobs(azure, 'files/production/blobs/')")
    for key in ("../a", "A", "", "a//b", "a/", "é", "a" * 65):
        with pytest.raises(StorageFault):
            storage.create(key, mimetype="text/plain")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"write_only": True}, "write_only"),
        ({"container": "NO"}, "container"),
        ({"container": "a--b"}, "container"),
        ({"container": None}, "container"),
        ({"account": "no.dots"}, "account"),
        ({"account_key": "short"}, "account_key"),
        ({"account_key": None}, "account_key and sas_token"),
        ({"sas_token": SAS}, "account_key and sas_token"),
        ({"sas_token": "sv=1&se=2"}, "sas_token"),
        ({"access_tier": "warm"}, "access_tier"),
        ({"access_tier": "archive"}, "archive"),
        ({"prefix": "../up"}, "prefix"),
        ({"prefix": "dot./up"}, "prefix"),
        ({"endpoint": "http://host"}, "https"),
        ({"endpoint": "https://host/a/b"}, "endpoint"),
        ({"endpoint": "https://user@host"}, "endpoint"),
        ({"endpoint": "https://host?x"}, "endpoint"),
    ],
)
def test_settings_that_are_wrong_are_told_by_name(change: dict[str, Any], named: str) -> None:
    settings = {name: value for name, value in (TEXTS | change).items() if value is not None}
    with pytest.raises(ConfigurationError, match=named):
        self_test(settings)


def test_no_settings_are_fine() -> None:
    self_test({})
    assert register_storages({}) == {}


def test_secrets_are_options() -> None:
    provider = AzureProvider()
    assert provider.secrets == {"account_key", "sas_token"}
    assert provider.secrets <= {param.name for param in provider.params}


def test_containers_are_text_or_a_list() -> None:
    for given_containers in ("other, files", ["other", "files"], ("other",)):
        assert connected(containers=given_containers).containers == ("files", "other")


def test_the_endpoint_follows_the_account() -> None:
    assert options.check(options.bind(TEXTS)).endpoint == "https://account1.blob.core.windows.net"
    other = options.check(options.bind(TEXTS | {"endpoint": "https://account1.blob.core.chinacloudapi.cn/"}))
    assert other.endpoint == "https://account1.blob.core.chinacloudapi.cn"


def test_the_archive_is_for_writing_only() -> None:
    assert not connected(access_tier="archive", write_only="true").readable


def test_advice_asks_for_no_more_than_is_needed() -> None:
    reading = connected(containers="other").advice()["policy"]
    assert reading.count("--permissions rcwd") == 2 and "--https-only" in reading
    assert "--permissions cw " in connected(write_only="true").advice()["policy"]


def test_the_cors_rule_is_for_the_pages_that_were_named() -> None:
    words = shlex.split(connected().advice(["https://a.example", "$(reboot)", "*"])["cors"])
    start = words.index("--origins")
    assert words[start + 1 : start + 4] == ["https://a.example", "$(reboot)", "*"]
    assert words[words.index("--methods") + 1 : words.index("--origins")] == ["GET", "HEAD"]


_TRICKY = st.lists(st.sampled_from(["a", "..", ".", "", "\n", "é", "\ud800", "%2e%2e", "\\", " ", "a."]), max_size=8).map(
    "/".join
)


@given(_TRICKY | st.text(max_size=40))
def test_a_placed_name_never_leaves_its_container(name: str) -> None:
    try:
        container, kept = keys.placed(f"files/{name}", ("files",))
    except (BadRequest, StorageRefused):
        return
    assert container == "files" and kept == name and "\\" not in kept
    assert not [part for part in kept.split("/") if not part or part.endswith(".")]
    assert 0 < len(kept.encode()) <= 1024 and all(ord(character) > 31 for character in kept)


@given(st.binary(max_size=300), st.text(max_size=80), st.integers(300, 599))
def test_any_answer_is_one_fault_of_the_tree(body: bytes, code: str, status: int) -> None:
    class Response:
        status_code = status
        headers = {"x-ms-error-code": code}

        def iter_content(self, size: int) -> Any:
            return iter([body])

        def close(self) -> None:
            pass

    verdict = faults.judging("reading")(faults.Answered.of(Response()))
    assert verdict is not None and isinstance(verdict.fault, SecureDeliveryError)
    assert str(verdict.fault).isprintable() and len(str(verdict.fault)) < 250
