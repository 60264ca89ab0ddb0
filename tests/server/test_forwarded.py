"""What proxies say is read strictly: nothing that a client writes to the left of it counts, and nothing is guessed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.server.forwarded import (
    Hop,
    Malformed,
    forwarded_elements,
    hops,
    hops_of_forwarded,
    hops_of_x_forwarded,
    read_node,
)

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda one: one.ipv4_mapped is None))
#: What may stand in a header once a server has let it through.
LINES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200)
PIECES = st.lists(
    st.sampled_from(
        (
            *("for=", "proto=", "host=", "by=", "FOR=", "=", '"', "\\", ",", ";", " ", "\t", "[", "]", "%", "\xff", ":80"),
            *("192.0.2.1", "[::1]", "unknown", "_x", "https", "a.example", '"[2001:db8::1]:8"', "for=192.0.2.7;proto=https"),
        )
    ),
    max_size=25,
).map("".join)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.43", "192.0.2.43"),
        ("192.0.2.43:47011", "192.0.2.43"),
        ("192.0.2.43:_port", "192.0.2.43"),
        ("[2001:db8:cafe::17]", "2001:db8:cafe::17"),
        ("[2001:DB8:cafe::17]:4711", "2001:db8:cafe::17"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("unknown", None),
        ("Unknown:80", None),
        ("_gazonk", None),
        ("_SEVKISEK:_x", None),
    ],
)
def test_every_form_of_a_node_is_read(text: str, address: str | None) -> None:
    assert read_node(text) == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "2001:db8::1", "192.0.2", "192.0.2.256", "192.0.2.043", "192.0.2.1:", "192.0.2.1:123456", "192.0.2.1 ",
        "0x7f.1", "127.1", "[192.0.2.1]", "[::1", "::1]", "[::1]x", "[::1%eth0]", "[]", "localhost", "a.example", "_",
        "unknown_", "un known", '"192.0.2.1"', "192.0.2.1,192.0.2.2", "\u0661\u0669\u0662.0.2.1", "192.0.2.1\n", "[v1.x]", "-",
    ],
)  # fmt: skip
def test_what_is_no_node_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read_node(text)
    if text != "2001:db8::1":
        with pytest.raises(Malformed):
            read_node(text, bare=True)


def test_ipv6_stands_without_brackets_in_x_forwarded_for_only() -> None:
    assert read_node("2001:db8::1", bare=True) == IPv6Address("2001:db8::1")
    assert read_node("::ffff:192.0.2.1", bare=True) == IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ('for="_gazonk"', [{"for": "_gazonk"}]),
        ('For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
        ("for=192.0.2.43, for=198.51.100.17", [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
        ('for=192.0.2.43,for="[2001:db8::17]",for=_a', [{"for": "192.0.2.43"}, {"for": "[2001:db8::17]"}, {"for": "_a"}]),
        (r'for="a\"b\\c,;";proto=https', [{"for": 'a"b\\c,;', "proto": "https"}]),
        ("for=_hidden, for=_SEVKISEK", [{"for": "_hidden"}, {"for": "_SEVKISEK"}]),
        (" for=a ; proto=b ,, ;host=c; ", [{"for": "a", "proto": "b"}, {"host": "c"}]),
        ("", []),
        ("for=\"\"", [{"for": ""}]),
    ],
)  # fmt: skip
def test_the_grammar_of_rfc_7239_is_read(text: str, elements: list[dict[str, str]]) -> None:
    """The first seven are of sections 4, 6 and 7.1 of the document, or made of its examples."""
    assert forwarded_elements(text) == elements


@pytest.mark.parametrize(
    "text",
    [
        "for", "for=", "=192.0.2.1", 'for="', 'for="a', 'for="a"b', "for=a b", "for=a for=b", "for=a;for=b", "for=a;FOR=b",
        "for =a", "for= a", "for=[::1]", "for=192.0.2.1:80", 'for="a\x00"', 'for="a\x7f"', "for=\xe4", "f\xf6r=a", "for=a\x0b",
        "x" * 5000, ",".join(["for=a"] * 51), 'for="a\\\x07"',
    ],
)  # fmt: skip
def test_what_is_not_that_grammar_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        forwarded_elements(text)


def test_hops_of_forwarded_come_from_the_right_with_scheme_and_host() -> None:
    values = ["for=unknown;host=left.example", 'for=192.0.2.1;proto=HTTPS;host="Files.Example:8443", for="[::1]";by=_us']
    assert list(hops_of_forwarded(values)) == [
        Hop(address=IPv6Address("::1")),
        Hop(address=IPv4Address("192.0.2.1"), scheme="https", host=("files.example", 8443)),
        Hop(host=("left.example", None)),
    ]


def test_what_stands_farther_away_is_not_read_before_it_is_asked_for() -> None:
    for chain in (
        hops_of_forwarded(["for=rubbish;proto=gopher;host=(, for=192.0.2.1".replace("(", "a..b")]),
        hops_of_x_forwarded(["rubbish, 192.0.2.1"], ["gopher, https"], ["a..b, a.example"]),
    ):
        assert next(chain).address == IPv4Address("192.0.2.1")
        with pytest.raises(Malformed):
            next(chain)


@pytest.mark.parametrize(
    ("nodes", "schemes", "hosts", "told"),
    [
        (["192.0.2.1, 192.0.2.2"], ["https"], ["a.b"], [("192.0.2.2", "https", "a.b"), ("192.0.2.1", "https", "a.b")]),
        (["192.0.2.1", "192.0.2.2"], ["https", "http"], [], [("192.0.2.2", "http", None), ("192.0.2.1", "https", None)]),
        (["192.0.2.2"], ["https, http"], [], [("192.0.2.2", "http", None)]),  # a client had said https first
        (["192.0.2.2"], ["http"], ["forged.example, a.example"], [("192.0.2.2", "http", "a.example")]),
        (["unknown"], [], [], [(None, None, None)]),
        ([], ["https"], [], [(None, "https", None)]),
        ([], [], [], []),
    ],
)  # fmt: skip
def test_x_forwarded_headers_belong_together_from_the_right(
    nodes: list[str], schemes: list[str], hosts: list[str], told: list[tuple[str | None, str | None, str | None]]
) -> None:
    found = [
        (None if hop.address is None else str(hop.address), hop.scheme, hop.host[0] if hop.host else None)
        for hop in hops_of_x_forwarded(nodes, schemes, hosts)
    ]
    assert found == told


@pytest.mark.parametrize(
    ("nodes", "schemes", "hosts"),
    [
        ([""], [], []),
        (["192.0.2.1,"], [], []),
        (["192.0.2.1"], ["https,"], []),
        (["192.0.2.1"], ["wss"], []),
        (["192.0.2.1"], [""], []),
        (["192.0.2.1"], ["https"], ["a.example/path"]),
        (["192.0.2.1"], ["https"], ["user@a.example"]),
        (["192.0.2.1"], ["https"], ["a.example:0x50"]),
        (['"192.0.2.1"'], [], []),
        ([",".join(["192.0.2.1"] * 51)], [], []),
        (["1" * 5000], [], []),
    ],
)
def test_what_cannot_be_read_in_the_nearest_hop_is_malformed(nodes: list[str], schemes: list[str], hosts: list[str]) -> None:
    with pytest.raises(Malformed):
        next(hops_of_x_forwarded(nodes, schemes, hosts))


def test_more_hops_than_schemes_are_malformed_where_one_is_missing() -> None:
    chain = hops_of_x_forwarded(["192.0.2.1, 192.0.2.2, 192.0.2.3"], ["https, https"], [])
    assert [next(chain).scheme, next(chain).scheme] == ["https", "https"]
    with pytest.raises(Malformed):
        next(chain)


def test_one_kind_is_looked_at_and_the_other_is_not() -> None:
    headers = {"forwarded": ["for=192.0.2.1"], "x-forwarded-for": ["192.0.2.2"]}
    for kind, address in (("forwarded", "192.0.2.1"), ("x-forwarded", "192.0.2.2")):
        chain = hops(kind, headers)
        assert chain is not None
        assert [str(hop.address) for hop in chain] == [address]
    assert hops("forwarded", {"x-forwarded-for": ["192.0.2.2"]}) is None
    assert hops("x-forwarded", {"forwarded": ["for=192.0.2.2"]}) is None


# ------------------------------------------------------------------------------------------------------- for any text


@given(addresses=st.lists(ADDRESSES, min_size=1, max_size=8), port=st.none() | st.integers(0, 65535), bare=st.booleans())
def test_addresses_that_were_written_come_back_in_order(
    addresses: list[IPv4Address | IPv6Address], port: int | None, bare: bool
) -> None:
    end = "" if port is None or bare else f":{port}"
    nodes = [str(one) if one.version == 4 or bare else f"[{one}]" for one in addresses]
    x = [hop.address for hop in hops_of_x_forwarded([", ".join(node + end for node in nodes)], [], [])]
    brackets = [str(one) if one.version == 4 else f"[{one}]" for one in addresses]
    f = [hop.address for hop in hops_of_forwarded([",".join(f'for="{node}{end}"' for node in brackets)])]
    assert x == f == addresses[::-1]


@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60).map(
    lambda text: "".join(letter for letter in text if letter in "\t " or letter > "\x9f" or "!" <= letter <= "~")))  # fmt: skip
def test_any_value_that_is_quoted_comes_back_whole(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert forwarded_elements(f'by="{quoted}";proto=https') == [{"by": value, "proto": "https"}]


@given(client=LINES | PIECES)
def test_no_header_of_a_client_changes_what_a_proxy_adds_to_it(client: str) -> None:
    """What stands left of the last hop may make the header unreadable, and never makes another hop of it."""
    for added in (
        'for=192.0.2.9;proto=http;host="a.example:80"',
        'for="[2001:db8::9]:1";host=a.example;proto=http',
        'for="_x"',
    ):
        try:
            hop = next(hops_of_forwarded([f"{client}, {added}"]))
        except Malformed:
            pass
        else:
            assert hop == next(hops_of_forwarded([added]))
    assert next(hops_of_x_forwarded([f"{client}, 192.0.2.9"], [], [])) == Hop(address=IPv4Address("192.0.2.9"))


@given(values=st.lists(LINES | PIECES, max_size=4), others=st.lists(LINES | PIECES, max_size=2))
def test_any_text_is_hops_or_malformed_and_nothing_else(values: list[str], others: list[str]) -> None:
    for kind in ("forwarded", "x-forwarded"):
        headers = {"forwarded": values, "x-forwarded-for": values, "x-forwarded-proto": others, "x-forwarded-host": others}
        try:
            for hop in hops(kind, headers) or ():
                assert hop.scheme in (None, "http", "https")
                assert hop.address is None or getattr(hop.address, "ipv4_mapped", None) is None
        except Malformed:
            continue


def test_hostile_headers_are_quick() -> None:
    """Each is read in one pass: a thousand of the longest take no noticeable time (a bound that only a blow-up breaks)."""
    for text in (
        'for="' + "\\" * 4000,
        "for=a;" + " " * 4000 + "x",
        "a=" * 2000,
        '"' * 4000,
        ";" * 4000,
        "\t" * 4096,
        "_" * 4096,
    ):
        for _ in range(200):
            with pytest.raises(Malformed):
                list(hops_of_forwarded([text, "for"]))
            with pytest.raises(Malformed):
                list(hops_of_x_forwarded([text + "!"], [], []))
