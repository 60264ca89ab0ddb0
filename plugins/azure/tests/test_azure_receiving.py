"""Results handed over to Azure Blob Storage: their addresses, their headers, and the signature that is enough for them."""

from __future__ import annotations

import datetime
import http.client
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from azure_stage import Azurite, Stage, WayOut

from secure_delivery.plugin import BadRequest, Presigned, Receiving, StorageRefused
from secure_delivery_azure import AzureProvider, options
from secure_delivery_azure.kept import kept
from secure_delivery_azure.storage import AzureStorage

Connect = Callable[..., AzureStorage]
MEGABYTE = 1 << 20
ODD = "results/400x300> été+1?#&=%41~'(日本).png"
QUOTED = "results/400x300%3E%20%C3%A9t%C3%A9%2B1%3F%23%26%3D%2541~%27%28%E6%97%A5%E6%9C%AC%29.png"
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Disposition": "attachment; filename=\"a  b.png\"; filename*=UTF-8''%C3%A9t%C3%A9.png",
    "Content-Language": "fr, en",
}
END = {"Expires": "Wed, 21 Oct 2065 07:28:00 GMT"}


def hand_over(storage: AzureStorage, key: str, data: bytes = b"x", access: Any = None, **headers: str) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    draft = storage.hand_over(key, mimetype="image/png", access=access, headers=given)
    draft.write(data)
    draft.publish()


def ask(url: str, port: int) -> tuple[int, dict[str, str], bytes]:
    """As anybody asks who was told the address, which leads to this port. It goes out as it is."""
    origin, path = url[: url.index("/", 8)], url[url.index("/", 8) :]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": origin.partition("//")[2]})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def token(azurite: Azurite, container: str, permission: str) -> str:
    """A shared access signature for a container."""
    from azure.storage.blob import generate_container_sas

    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    made = generate_container_sas(azurite.account, container, account_key=azurite.key, permission=permission, expiry=expiry)
    return str(made)


@pytest.fixture
def opened(azurite: Azurite) -> str:
    """A container whose blobs anybody may read."""
    name = f"open-{secrets.token_hex(6)}"
    azurite.make_container(name, public_access="blob")
    return name


def test_containers_of_customers_receive_and_those_of_the_server_do_not(connect: Connect) -> None:
    by_signature = connect(account_key=None, sas_token="sv=2024-01-01&sig=0123456789")
    for storage in (connect(), by_signature):
        assert isinstance(storage, Receiving)
        assert not isinstance(kept(storage, ""), Receiving)


def test_an_address_is_plain_and_quoted_and_has_no_signature() -> None:
    bound = options.bind({"container": "results", "account": "myaccount", "sas_token": "sv=2024-01-01&sig=marker%2Fmarker"})
    storage = AzureProvider().connect(bound, WayOut({}))
    assert storage.address(f"results/{ODD}") == f"https://myaccount.blob.core.windows.net/results/{QUOTED}"
    assert unquote(QUOTED) == ODD


def test_an_address_honours_the_endpoint_and_nothing_is_asked(
    connect: Connect, azurite: Azurite, container: str, stage: Stage, way_out: WayOut
) -> None:
    storage = connect()
    address = storage.address(f"{container}/{ODD}")
    assert address == f"http://azure.test:{stage.port}/{azurite.account}/{container}/{QUOTED}"
    assert isinstance(storage, Presigned)
    assert address == storage.presigned_url(f"{container}/{ODD}", seconds=9, headers={}).partition("?")[0]
    assert connect(write_only="true").address(f"{container}/{ODD}") == address
    other = connect(endpoint="https://myaccount.blob.core.chinacloudapi.cn/")
    assert other.address("other/a") == "https://myaccount.blob.core.chinacloudapi.cn/other/a"
    assert way_out.calls == []


@pytest.mark.parametrize(("key", "fault"), [("far/a", StorageRefused), ("other/", BadRequest), ("other/a/../b", BadRequest)])
def test_there_are_addresses_for_keys_of_this_storage_only(
    connect: Connect, way_out: WayOut, key: str, fault: type[Exception]
) -> None:
    storage = connect()
    with pytest.raises(fault):
        storage.address(key)
    with pytest.raises(fault):
        storage.hand_over(key, mimetype="image/png", access=None, headers={})
    assert way_out.calls == []


@pytest.mark.parametrize("size", [5, 9 * MEGABYTE])
@pytest.mark.parametrize("by", ["key", "signature"])
def test_a_result_opens_at_its_address_with_its_headers_where_the_container_is_open(
    connect: Connect, azurite: Azurite, stage: Stage, opened: str, by: str, size: int
) -> None:
    more = {} if by == "key" else {"account_key": None, "sas_token": token(azurite, opened, "cw")}
    storage = connect(container=opened, write_only="true", **more)
    draft = storage.hand_over(f"{opened}/{ODD}", mimetype="image/png", access=None, headers=HEADERS | END)
    draft.write(bytes(size))
    draft.publish()
    status, said, body = ask(storage.address(f"{opened}/{ODD}"), stage.port)
    assert (status, body) == (200, bytes(size))
    assert {name: said.get(name.lower(), said.get(name)) for name in HEADERS} == HEADERS
    assert "image/png" in said.values() and "Expires" not in said


def test_a_result_is_private_where_the_container_is(connect: Connect, container: str, stage: Stage) -> None:
    hand_over(connect(), f"{container}/a", access="private")
    assert ask(connect().address(f"{container}/a"), stage.port)[0] in (403, 404, 409)


@pytest.mark.parametrize("size", [5, 9 * MEGABYTE])
def test_what_azure_keeps_no_property_for_is_left_out(
    connect: Connect, azurite: Azurite, container: str, stage: Stage, size: int
) -> None:
    hand_over(connect(), f"{container}/a", bytes(size), cache_CONTROL=" no-store ", Expires="0", X_Ms_Meta_A="b")
    with azurite.service() as service:
        stored = service.get_blob_client(container, "a").get_blob_properties()
    settings = stored.content_settings
    assert (settings.cache_control, settings.content_type, settings.content_disposition) == ("no-store", "image/png", None)
    assert stored.metadata == {}
    sent = {name.lower() for _, _, headers in stage.asked for name in headers}
    assert not {name for name in sent if "expir" in name or "meta" in name}, "an expiry would delete the blob"


@pytest.mark.parametrize("value", ["a\r\nx-ms-meta-a: b", "été", "a\x00", "a\x7f", "x" * 2001])
def test_a_value_that_cannot_be_a_header_is_refused_before_anything_is_sent(
    connect: Connect, container: str, way_out: WayOut, value: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        hand_over(connect(), f"{container}/a", Cache_Control=value)
    assert "cache-control" in caught.value.public and way_out.calls == []


def test_access_that_cannot_be_given_is_refused_not_ignored(connect: Connect, container: str, way_out: WayOut) -> None:
    with pytest.raises(BadRequest, match="container decides"):
        hand_over(connect(), f"{container}/a", access="public")
    assert way_out.calls == []


def test_the_signature_that_is_advised_is_enough_to_hand_results_over(
    connect: Connect, azurite: Azurite, container: str, stage: Stage
) -> None:
    """Also for writing a result a second time. Nothing is read or listed."""
    advised = connect(write_only="true", containers="").advice()["policy"]
    letters = re.findall(r"--permissions (\w+)", advised)
    assert letters == ["cw"]
    storage = connect(account_key=None, sas_token=token(azurite, container, letters[0]), write_only="true")
    for name, data in (("small", b"x"), ("large", bytes(9 * MEGABYTE)), ("small", b"once more")):
        hand_over(storage, f"{container}/{name}", data, **HEADERS)
        storage.address(f"{container}/{name}")
    assert set(stage.methods()) == {"PUT"}
    with azurite.service() as service:
        sizes = {blob.name: blob.size for blob in service.get_container_client(container).list_blobs()}
    assert sizes == {"small": 9, "large": 9 * MEGABYTE}
