"""The plugin as the server sees it: hooks, settings, options, advice, and the forms of keys and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gcs_fake import EMAIL, FakeGcs
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
from secure_delivery_gcs import GcsProvider, faults, keys, options, register_storages, self_test
from secure_delivery_gcs.storage import GcsStorage

Connect = Callable[..., GcsStorage]


def dial(host: str, port: int, seconds: float) -> Any:
    raise AssertionError("nothing is asked for")


# ------------------------------------------------------------------------------------------------------------ settings


def test_the_server_finds_the_provider_and_without_settings_no_storage() -> None:
    registry = load()
    assert isinstance(registry.storage_providers["gcs"], StorageProvider)
    assert "gcs" not in registry.storages


def test_a_bucket_in_the_settings_makes_a_storage_of_the_operators_own(texts: dict[str, Any]) -> None:
    del texts["buckets"]
    registry = load(settings={"gcs": {**texts, "insecure": True, "prefix": "production/blobs"}})
    storage = registry.storages["gcs"]
    assert isinstance(storage, Storage) and isinstance(storage, Presigned) and not isinstance(storage, Placing)
    assert repr(storage) == "KeptBlobs(gcs, 'files/production/blobs/')"
    for key in ("../a", "A", "", "a//b", "a/", "é", "a" * 65):
        with pytest.raises(StorageFault):
            storage.create(key, mimetype="text/plain")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"write_only": True}, "write_only"),
        ({"bucket": "NO"}, "bucket"),
        ({"bucket": None}, "bucket"),
        ({"credentials": None}, "credentials"),
        ({"access": "some"}, "access"),
        ({"insecure": False}, "https"),
        ({"prefix": "../up"}, "prefix"),
        ({"prefix": "/"}, ""),
        ({"storage_class": "cheap"}, "storage_class"),
        ({"kms_key": "mine"}, "kms_key"),
        ({"endpoint": "https://host/path"}, "endpoint"),
        ({"endpoint": "https://user@host"}, "endpoint"),
        ({"endpoint": "ftp://host"}, "endpoint"),
    ],
)
def test_settings_that_are_wrong_are_told_by_name(texts: dict[str, Any], change: dict[str, Any], named: str) -> None:
    del texts["buckets"]
    settings = {name: value for name, value in (texts | change).items() if value is not None}
    if not named:
        self_test(settings)
        return
    with pytest.raises(ConfigurationError, match=named):
        self_test(settings)


def test_no_settings_are_fine() -> None:
    self_test({})
    assert register_storages({}) == {}


# ------------------------------------------------------------------------------------------------------------- options


def test_secrets_are_options(texts: dict[str, Any]) -> None:
    provider = GcsProvider()
    names = [param.name for param in provider.params]
    assert provider.secrets == {"credentials"} and provider.secrets <= set(names)
    assert set(texts) <= set(names)


def test_buckets_are_text_or_a_list(texts: dict[str, Any]) -> None:
    for given_buckets in ("other, files", ["other", "files"], ("other",)):
        storage = GcsProvider().connect(options.bind(texts | {"buckets": given_buckets}), dial)
        assert storage.containers == ("files", "other")


@pytest.mark.parametrize("change", [{"token_uri": "http://tokens.test/token"}, {}])
def test_plain_http_needs_to_be_allowed_everywhere(fake: FakeGcs, texts: dict[str, Any], change: dict[str, str]) -> None:
    secured = fake.credentials() | {"token_uri": "https://tokens.test/token"} | change
    endpoint = fake.endpoint if not change else "https://storage.test"
    bound = options.bind(texts | {"credentials": json.dumps(secured), "endpoint": endpoint, "insecure": "false"})
    with pytest.raises(ValueError, match="must be https"):
        GcsProvider().connect(bound, dial)


@pytest.mark.parametrize("kind", ["authorized_user", "external_account", "gce", "", None])
def test_only_service_accounts_are_credentials(fake: FakeGcs, texts: dict[str, Any], kind: str | None) -> None:
    """Other kinds name commands to run, files to read and addresses to ask for tokens."""
    with pytest.raises(ValueError, match="credentials"):
        options.bind(texts | {"credentials": json.dumps(fake.credentials() | {"type": kind})})


def test_the_endpoint_follows_the_universe_of_the_account(fake: FakeGcs, texts: dict[str, Any]) -> None:
    del texts["endpoint"]
    secured = fake.credentials() | {"token_uri": "https://tokens.test/token"}
    assert (
        options.check(options.bind(texts | {"credentials": json.dumps(secured)})).endpoint == "https://storage.googleapis.com"
    )
    other = secured | {"universe_domain": "apis-other.test"}
    assert options.check(options.bind(texts | {"credentials": json.dumps(other)})).endpoint == "https://storage.apis-other.test"
    with pytest.raises(ValueError, match="credentials"):
        options.bind(texts | {"credentials": json.dumps(secured | {"universe_domain": "x/../y"})})


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    try:
        origin = options.origin(text)
    except ValueError:
        return
    assert options.origin(origin) == origin and "@" not in origin and origin.count("/") == 2


# -------------------------------------------------------------------------------------------------------------- advice


def test_advice_asks_for_no_more_than_is_needed(connect: Connect) -> None:
    reading, writing = connect().advice()["policy"], connect(write_only="true").advice()["policy"]
    assert "storage.objects.get" in reading and "setIamPolicy" not in reading
    assert "storage.objects.create" in writing and "get" not in writing and "list" not in writing
    assert "setIamPolicy" in connect(access="public").advice()["policy"]
    assert f"serviceAccount:{EMAIL}" in writing and "gs://other" in writing
    assert "buckets.get" not in reading


def test_the_cors_rule_is_for_the_pages_that_were_named(connect: Connect) -> None:
    origins = ("https://a.example", 'https://b.example"]')
    rules = json.loads(connect().advice(origins)["cors"])
    assert [rule["origin"] for rule in rules] == [list(origins)]
    assert rules[0]["method"] == ["GET", "HEAD"]


# ------------------------------------------------------------------------------------------------------ keys and answers

_TRICKY = st.lists(st.sampled_from(["a", "..", ".", "", "\n", "é", "\ud800", "%2e%2e", "\\", " "]), max_size=8).map("/".join)


@given(_TRICKY | st.text(max_size=40))
def test_a_placed_name_never_leaves_its_container(name: str) -> None:
    try:
        container, kept = keys.placed(f"files/{name}", ("files",))
    except (BadRequest, StorageRefused):
        return
    assert container == "files" and kept == name
    assert (not {"", ".", ".."} & set(kept.split("/")) and kept.isprintable()) or all(ord(c) > 31 for c in kept)
    assert 0 < len(kept.encode()) <= 1024


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.integers(300, 599))
def test_any_answer_is_one_fault_of_the_tree(body: bytes, status: int) -> None:
    class Response:
        status_code = status

        def iter_content(self, size: int) -> Any:
            return iter([body])

        def close(self) -> None:
            pass

    verdict = faults.judging("reading", blob=True)(faults.Answered.of(Response()))
    assert verdict is not None and isinstance(verdict.fault, SecureDeliveryError)
    assert str(verdict.fault).isprintable() and len(str(verdict.fault)) < 200
