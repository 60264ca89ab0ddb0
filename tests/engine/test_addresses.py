"""The table of addresses: what is public, what hides in what, and what an operator may open."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine.addresses import (
    REFUSED,
    AllowList,
    Entry,
    allowed,
    literal,
    meanings,
    read_address,
    refusal,
)
from secure_delivery.gate.errors import ConfigurationError

PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "169.253.255.255",
    "192.0.1.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:2800:220:1:248:1893:25c8:1946",
    "2a00:1450:4001:82b::200e",
    "2001:200::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2a00:1450:4001:82b:0:5efe:808:808",
)
NOT_PUBLIC = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:808:808::1",
    "3ffe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_passes(text: str) -> None:
    assert allowed(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_of_any_special_range_is_refused(text: str) -> None:
    assert not allowed(ip_address(text))


@pytest.mark.parametrize(("network", "kind"), REFUSED, ids=lambda value: str(value))
def test_every_range_of_the_table_is_refused_from_its_first_to_its_last_address(network: IPv4Network, kind: str) -> None:
    for address in (network[0], network[-1]):
        assert refusal(address) is not None
        assert not allowed(address)


# ---------------------------------------------------------------------------------------------------------- hidden IPv4

PRIVATE = [network for network, _ in REFUSED if isinstance(network, IPv4Network)]
_KEPT_OUT = st.sampled_from(PRIVATE).flatmap(lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv4Address))


def _spread(value: int, start: int) -> int:
    """IPv4 behind a prefix of `start` bits as RFC 6052 section 2.2 lays it, around the empty bits 64 to 71."""
    bits = f"{value:032b}"
    before = bits[: max(0, 64 - start)]
    row = "0" * start + before
    if start < 96:
        row = row.ljust(64, "0") + "0" * 8
    return int((row + bits[len(before) :]).ljust(128, "0"), 2)


WRAPPINGS = {
    "mapped": lambda v4, _: 0xFFFF << 32 | v4,
    "compatible": lambda v4, _: v4,
    "translated": lambda v4, _: 0xFFFF << 48 | v4,
    "6to4": lambda v4, rest: 0x2002 << 112 | v4 << 80 | rest >> 48,
    "teredo server": lambda v4, rest: 0x20010000 << 96 | v4 << 64 | rest >> 64,
    "teredo client": lambda v4, rest: 0x20010000 << 96 | (rest >> 96) << 64 | (v4 ^ 0xFFFFFFFF),
    "nat64": lambda v4, _: 0x0064FF9B << 96 | v4,
    "local nat64 /96": lambda v4, _: 0x0064FF9B0001 << 80 | v4,
    "local nat64 /64": lambda v4, _: 0x0064FF9B0001 << 80 | _spread(v4, 64),
    "local nat64 /56": lambda v4, _: 0x0064FF9B0001 << 80 | _spread(v4, 56),
    "local nat64 /48": lambda v4, _: 0x0064FF9B0001 << 80 | _spread(v4, 48),
    "isatap": lambda v4, rest: 0x2A001450 << 96 | (rest >> 96) << 64 | 0x00005EFE << 32 | v4,
    "isatap, global": lambda v4, rest: 0x2A001450 << 96 | (rest >> 96) << 64 | 0x02005EFE << 32 | v4,
}


@pytest.mark.parametrize("name", WRAPPINGS)
@given(v4=_KEPT_OUT, rest=st.integers(0, 2**128 - 1))
def test_no_refused_ipv4_passes_in_any_wrapping(name: str, v4: IPv4Address, rest: int) -> None:
    """Whatever stands in the bits around it."""
    wrapped = IPv6Address(WRAPPINGS[name](int(v4), rest))
    assert not allowed(wrapped), wrapped


@pytest.mark.parametrize("name", WRAPPINGS)
@given(v4=_KEPT_OUT, rest=st.integers(0, 2**128 - 1))
def test_allowing_all_of_ipv6_lets_no_refused_ipv4_in(name: str, v4: IPv4Address, rest: int) -> None:
    """Of the local NAT64 prefix only its longest form is unwrapped: nobody knows which one a network uses. `::` and `::1`
    are no wrappings but themselves."""
    wrapped = IPv6Address(WRAPPINGS[name](int(v4), rest))
    if int(wrapped) < 2 or (name.startswith("local nat64") and not name.endswith("/96")):
        return
    assert not allowed(wrapped, [ip_network("::/0")]), wrapped


@given(st.ip_addresses())
def test_an_address_is_allowed_exactly_when_all_it_means_is(address: IPv4Address | IPv6Address) -> None:
    assert allowed(address) == all(refusal(part) is None for part in meanings(address))


# ------------------------------------------------------------------------------------------------------------- literals


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3",
        "1.2.3.4.5",
        "4294967296",
        "256.0.0.1",
        "0x",
        "0x7f.0.0.0x1",
        "example.1",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[::1%1]",
        "[::1",
        "[1.2.3.4]x",
    ],
)
def test_a_number_in_any_other_spelling_is_no_host(text: str) -> None:
    with pytest.raises(ValueError):
        literal(text)


def test_a_usual_spelling_is_the_address_it_means_and_a_name_is_none() -> None:
    assert literal("127.0.0.1") == IPv4Address("127.0.0.1")
    assert literal("[::ffff:7f00:1]") == IPv6Address("::ffff:127.0.0.1")
    assert [literal(name) for name in ("example.org", "1.example", "0xample", "a0x1", "xn--e1afmkfd")] == [None] * 5


def test_an_address_with_a_zone_is_not_read() -> None:
    with pytest.raises(ValueError):
        read_address("fe80::1%1")


# ------------------------------------------------------------------------------------------------- what operators allow


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "expected"),
    [
        ("10.0.0.0/8", "a.test", 80, "10.1.2.3", True),
        ("10.0.0.0/8", "a.test", 8080, "10.1.2.3", False),
        ("10.0.0.0/8", "a.test", 80, "192.168.1.1", False),
        ("10.0.0.0/8", "a.test", 443, "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "a.test", 443, "::10.1.2.3", False),
        ("10.0.0.0/8:8080", "a.test", 8080, "10.1.2.3", True),
        ("10.0.0.0/8:8080", "a.test", 80, "10.1.2.3", False),
        ("10.0.0.0/8:8080", "a.test", 8080, "8.8.8.8", False),
        ("127.0.0.1:8081", "a.test", 8081, "127.0.0.1", True),
        ("127.0.0.1:8081", "a.test", 8081, "127.0.0.2", False),
        ("127.0.0.1", "a.test", 80, "127.0.0.1", True),
        ("[::1]:8081", "[::1]", 8081, "::1", True),
        ("::1", "[::1]", 80, "::1", True),
        ("fd00::/8", "a.test", 80, "fd12::1", True),
        ("fd00::/8", "a.test", 80, "fd12::5efe:a9fe:a9fe", False),
        ("[fd00::]/8:81", "a.test", 81, "fd12::1", True),
        ("169.254.169.254", "a.test", 80, "169.254.169.254", True),
        ("files.example.org", "files.example.org", 80, "10.0.0.1", True),
        ("files.example.org", "files.example.org", 8080, "10.0.0.1", False),
        ("files.example.org", "x.files.example.org", 80, "10.0.0.1", False),
        ("files.example.org", "files.example.org", 80, "169.254.169.254", False),
        ("files.example.org", "files.example.org", 80, "0.0.0.0", False),
        ("files.example.org:9000", "files.example.org", 9000, "10.0.0.1", True),
        ("files.example.org:9000", "files.example.org", 9000, "8.8.8.8", True),
        ("files.example.org:9000", "files.example.org", 80, "10.0.0.1", False),
        ("files.example.org:9000", "other.example.org", 9000, "8.8.8.8", False),
        ("*.example.org", "a.b.example.org", 443, "192.168.0.1", True),
        ("*.example.org", "example.org", 443, "192.168.0.1", False),
        ("*.example.org", "badexample.org", 443, "192.168.0.1", False),
        ("Files.Example.ORG.", "files.example.org", 80, "fd00::1", True),
        ("bücher.example", "xn--bcher-kva.example", 80, "127.0.0.1", True),
    ],
)
def test_an_entry_allows_what_it_names_and_no_more(entry: str, host: str, port: int, address: str, expected: bool) -> None:
    assert AllowList([entry]).permits(host, port, ip_address(address)) is expected


def test_without_entries_only_public_addresses_at_the_usual_ports_are_permitted() -> None:
    nothing = AllowList()
    assert nothing.permits("a.test", 80, ip_address("8.8.8.8")) and nothing.permits("a.test", 443, ip_address("8.8.8.8"))
    assert not nothing.permits("a.test", 22, ip_address("8.8.8.8")) and not nothing.opens(22)
    assert not nothing.permits("a.test", 80, ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "0x7f.1",
        "127.1",
        "http://example.org",
        "fe80::1%eth0",
        "example.org/8",
        "example.org:0",
        "example.org:70000",
        "example.org:x",
        "[::1",
        "::1]",
        "[10.0.0.1]x",
        "[]",
        "*.*.example.org",
        "ex*mple.org",
        "[::1]:0",
        "user@host",
    ],
)
def test_an_entry_that_names_nothing_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="could be allowed"):
        AllowList([text])


@given(st.text(max_size=60))
def test_no_entry_whatever_raises_outside_the_fault_tree(text: str) -> None:
    try:
        entry = Entry.read(text)
    except ConfigurationError:
        return
    assert (entry.network is None) != (entry.host == "")
