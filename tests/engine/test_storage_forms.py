"""Options of providers in words, and what they cannot be."""

from __future__ import annotations

import pytest

from secure_delivery.engine.storage_forms import misfit, options_of, title_of
from secure_delivery.plugin import Param, StorageProvider, Titled, text
from secure_delivery_azure import AzureProvider
from secure_delivery_gcs import GcsProvider
from secure_delivery_s3.provider import S3Provider

PROVIDERS: dict[str, StorageProvider] = {"s3": S3Provider(), "gcs": GcsProvider(), "azure": AzureProvider()}


class Plain:
    """A provider that says nothing of itself."""

    params = (Param("label", text(4), default="none"),)
    secrets: frozenset[str] = frozenset()

    def connect(self, options: object, dial: object) -> None: ...


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_option_is_told_in_words_and_what_is_needed_comes_before_the_rest(name: str) -> None:
    provider = PROVIDERS[name]
    options = options_of(provider)
    assert {option.name for option in options} == {param.name for param in provider.params} | {"path"}
    assert all(option.label[:1].isupper() and (option.says or option.choices) for option in options)
    assert {option.name for option in options if option.secret} == provider.secrets
    first = [option.needed or option.secret for option in options]
    assert first == sorted(first, reverse=True)
    assert isinstance(provider, Titled) and title_of(name, provider) != name


def test_a_provider_without_a_title_goes_by_its_name_and_one_that_is_gone_too() -> None:
    provider: StorageProvider = Plain()  # type: ignore[assignment]
    assert (title_of("plain", provider), title_of("gone", None)) == ("plain", "gone")
    assert options_of(provider)[0].default == "none"


SECRET = "very/secret+very/secret"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"bucket": "b-1", "access_key_id": "A", "secret_access_key": SECRET}, None),
        ({"bucket": "b-1", "access_key_id": "A", "secret_access_key": SECRET, "path": "x/"}, None),
        ({"bucket": "b-1", "access_key_id": "A"}, "secret_access_key"),
        ({"bucket": "b 1", "access_key_id": "A", "secret_access_key": SECRET}, "bucket"),
        ({"bucket": "b-1", "access_key_id": "A", "secret_access_key": f"{SECRET} \u00e9"}, "secret_access_key"),
        ({"bucket": "b-1", "access_key_id": "A", "secret_access_key": SECRET, "insecure": "perhaps"}, "insecure"),
        ({"bucket": "b-1", "access_key_id": "A", "secret_access_key": SECRET, "colour": "red"}, "colour"),
    ],
    ids=["good", "path", "missing", "bucket", "secret", "word", "unknown"],
)
def test_the_first_option_that_cannot_be_is_named_without_its_value(given: dict[str, str], wrong: str | None) -> None:
    found = misfit(PROVIDERS["s3"], given)
    assert (None if found is None else found[0]) == wrong
    assert found is None or not any(value in found[1] for value in given.values() if len(value) > 3)


def test_what_has_a_value_need_not_be_given_again_but_cannot_be_emptied() -> None:
    kept = frozenset({"bucket", "access_key_id", "secret_access_key"})
    assert misfit(PROVIDERS["s3"], {"region": "eu-west-1"}, kept=kept) is None
    assert misfit(PROVIDERS["s3"], {"bucket": ""}, kept=kept) == ("bucket", "Bucket is needed: the name of a bucket.")
