"""The guard of the way out: the shared cases, and the form of URLs."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import fetch, never_connect, resolver

from secure_delivery.engine.fetch import Fetcher
from secure_delivery.engine.outbound import OutboundGuard, read_url
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import BadRequest, ConfigurationError, SecureDeliveryError, SourceFault

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "ssrf.json").read_text("utf-8"))["cases"]


# -------------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_url_of_the_vectors_is_fetched_or_refused_before_any_packet(case: dict[str, Any]) -> None:
    guard = OutboundGuard(resolve=lambda *_: case.get("resolves_to", []), connect=never_connect)
    if case["expect"] == "fetch":
        assert guard.admit(guard.read(case["url"]), ends=guard.clock() + 5)
        return
    fetcher = Fetcher(resolve=lambda *_: case.get("resolves_to", []), connect=never_connect)
    with pytest.raises((BadRequest, SourceFault)):
        fetch(fetcher, case["url"])


# ----------------------------------------------------------------------------------------------------- the form of URLs


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com:80?x", "http://example.com/?x"),
        ("https://example.com:443/a#b#c", "https://example.com/a"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://bücher.example/ü?ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC"),
        ("http://example。com/", "http://example.com/"),
        ('http://example.com/a b"<>', "http://example.com/a%20b%22%3C%3E"),
        ("http://example.com/%41%zz", "http://example.com/%41%zz"),
        ("http://example.com/?u=http://127.0.0.1/@..", "http://example.com/?u=http://127.0.0.1/@.."),
        ("http://[2606:2800:0220::1]:80/", "http://[2606:2800:220::1]/"),
    ],
)
def test_a_url_has_one_spelling_after_it_was_read(url: str, read: str) -> None:
    assert read_url(url).url == read
    assert read_url(read).url == read


@pytest.mark.parametrize(
    "url",
    [
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://@example.com/",
        "http://example.com#@127.0.0.1/:x@y",
        "http://example.com\\@127.0.0.1/",
        "http:\\\\example.com/",
        "http:/example.com/",
        "http:example.com",
        "//example.com/",
        " http://example.com/",
        "http://example.com/\r\nHost: x",
        "http://example.com/a\nb",
        "http://example.com/a\tb",
        "http://example.com/\x00",
        "http://exa mple.com/",
        "http://example..com/",
        "http://example.com../",
        "http://.example.com/",
        "http://example.com:/",
        "http://example.com:080/",
        "http://example.com:70000/",
        "http://example.com:80:80/",
        "http://example.com:22/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:1.2.3.4/",
        "http://0/",
        "http://127.1/",
        "http://１２７.１/",
        "http://①②⑦.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1./",
        "http://example.com/../etc",
        "http://example.com/a/%2E%2e/b",
        "http://example.com/\ud800",
        "http://ex\u00adample.com:8080/",
        "gopher://example.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 127 + "example/",
        "http://example.com/" + "a" * 2048,
        "http://example.com/" + "ü" * 400,
    ],
)
def test_a_url_that_two_parsers_could_read_differently_is_a_bad_request(url: str) -> None:
    """Or one with credentials, with another scheme or at a port that is not open."""
    if "#" in url:
        assert read_url(url).url == "http://example.com/", "what follows # is never part of the host"
        return
    with pytest.raises(BadRequest):
        fetch(Fetcher(resolve=resolver(), connect=never_connect), url)


def test_a_url_of_exactly_2048_characters_is_read_and_of_one_more_is_not() -> None:
    base = "http://example.com/"
    assert len(read_url(base + "a" * (2048 - len(base))).url) == 2048
    with pytest.raises(BadRequest, match="2048"):
        read_url(base + "a" * (2049 - len(base)))


@given(
    st.one_of(
        st.text(max_size=80), st.text(max_size=80).map("http://".__add__), st.text(max_size=40).map("http://a.test".__add__)
    )
)
def test_no_text_whatever_raises_outside_the_fault_tree(url: str) -> None:
    fetcher = Fetcher(resolve=resolver(), connect=never_connect, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(SecureDeliveryError) as caught:
        fetch(fetcher, url)
    assert caught.value.status in (400, 422)


def test_plain_http_can_be_switched_off() -> None:
    with pytest.raises(BadRequest, match="https"):
        fetch(Fetcher(https_only=True, resolve=resolver(), connect=never_connect), "http://example.com/")


def test_more_ports_can_be_opened() -> None:
    guard = OutboundGuard(ports=(80, 443, 8080), resolve=resolver(a_test="8.8.8.8"))
    assert guard.admit(guard.read("http://a.test:8080/"), ends=guard.clock() + 5)


# ------------------------------------------------------------------------------------------------------------- settings


def test_what_may_be_fetched_is_set_by_the_operator_and_nothing_by_default() -> None:
    assert (Settings().fetch_allow, Settings().fetch_ports, Settings().fetch_https_only) == ((), (), False)
    environ = {"SECURE_DELIVERY_FETCH_ALLOW": "10.0.0.0/8, files.example.org:9000", "SECURE_DELIVERY_FETCH_PORTS": "8080,9000"}
    settings = Settings.load(environ=environ)
    guard = OutboundGuard(allow=settings.fetch_allow, ports=(80, 443, *settings.fetch_ports))
    assert guard.admit(guard.read("http://10.1.2.3:8080/"), ends=guard.clock() + 5)


@pytest.mark.parametrize("ports", [["a"], [0], [70000], [True], 80])
def test_a_port_that_is_none_stops_the_start(ports: Any) -> None:
    with pytest.raises(ConfigurationError, match="fetch_ports"):
        Settings.read({"fetch_ports": ports})
