"""Which addresses outside may be talked to, and which never, by a table of our own.

Knows: ranges of IPv4 and IPv6, IPv4 hidden in IPv6, numbers dressed as host names, what an operator allows besides.
Must not know: sockets, name servers, URLs.

Sources: the IANA special-purpose registries (RFC 6890 and what followed), security promises 34 (the table and the hidden
forms) and 38 (the operator's list). The standard library's `is_global` is no help: patch releases differ (one calls the
metadata address 192.0.0.192 global), and NAT64, 6to4 and IPv4-compatible addresses of private hosts all pass it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..gate.errors import ConfigurationError
from ..gate.hosts import parse_authority

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Kinds that belong to the operator's own house. A *host* on the operator's list may have such addresses; all other kinds
#: (metadata above all) must be named as a network, because names are answered by whoever holds the zone.
OWN = frozenset({"loopback", "private", "shared", "unique local"})

_TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    ("shared", ("100.64.0.0/10",)),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("cloud platform", ("168.63.129.16/32",)),  # public by number, answered by the host of an Azure machine
    ("protocol assignments", ("192.0.0.0/24", "2001::/23")),  # the second holds Teredo, benchmarks, ORCHID
    ("documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("6to4", ("192.88.99.0/24", "2002::/16")),
    ("benchmark", ("198.18.0.0/15",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("240.0.0.0/4", "3ffe::/16")),  # the first ends with the broadcast address; the second was the 6bone
    ("IPv4-compatible", ("::/96",)),
    ("IPv4-translated", ("::ffff:0:0:0/96",)),
    ("local NAT64", ("64:ff9b:1::/48",)),
    ("discard", ("100::/64", "100:0:0:1::/64")),
    ("segment routing", ("5f00::/16",)),
    ("unique local", ("fc00::/7",)),
    ("site-local", ("fec0::/10",)),
)
REFUSED: tuple[tuple[Network, str], ...] = tuple((ip_network(text), kind) for kind, texts in _TABLE for text in texts)

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that is handed out to anybody
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_IN_LAST_BITS = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48"))
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = 0x00005EFE  # upper half of the interface identifier, apart from its two flag bits (RFC 5214 section 6.1)
_ISATAP_MASK = 0xFCFFFFFF
_LOW = 0xFFFFFFFF

#: What the URL standard reads as a number when it is the last label of a host.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def read_address(text: str) -> Address:
    """An address from its usual spelling. Raises ValueError for none, and for one bound to an interface (`%eth0`)."""
    if "%" in text:
        raise ValueError("an address with a zone names an interface of this machine")
    return ip_address(text)


def literal(host: str) -> Address | None:
    """The address that a host is, None when it is a name. `host` is in lower case, IPv6 in brackets.

    Raises ValueError for an IPv4 address spelled in decimal, hex, octal or short: one parser reads `017700000001`, `0x7f.1`
    or `0` as loopback and the next as a name (promise 34).
    """
    if host.startswith("["):
        return read_address(host[1:-1] if host.endswith("]") else host)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return IPv4Address(host)
    return None


def refusal(address: Address) -> str | None:
    """The kind of range that keeps an address out, None when it is public. Does not look inside: see `meanings`."""
    for network, kind in REFUSED:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "unassigned"
    return None


def meanings(address: Address) -> tuple[Address, ...]:
    """Every address that packets to this one may end at: itself and the IPv4 it carries.

    Mapped and NAT64 addresses are only another way to write the IPv4 and count as that alone. (RFC 4291 2.5.5, RFC 6052,
    RFC 8215, RFC 7915, RFC 3056, RFC 4380, RFC 5214.)
    """
    if isinstance(address, IPv4Address):
        return (address,)
    value = int(address)
    last = IPv4Address(value & _LOW)
    if address in _MAPPED or address in _NAT64:
        return (last,)
    if value > 1 and any(address in network for network in _IN_LAST_BITS):  # unspecified and loopback carry nothing
        return (address, last)
    if address in _6TO4:
        return (address, IPv4Address(value >> 80 & _LOW))
    if address in _TEREDO:
        return (address, IPv4Address(value >> 64 & _LOW), IPv4Address(~value & _LOW))
    if value >> 32 & _ISATAP_MASK == _ISATAP:
        return (address, last)
    return (address,)


def allowed(address: Address, networks: Collection[Network] = ()) -> bool:
    """Whether an address is public, or in one of `networks`; the same for each IPv4 that hides in it."""
    return all(refusal(part) is None or any(part in network for network in networks) for part in meanings(address))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing on the operator's list: a network, or a host with `suffix` True for all names below it.

    With a `port` it opens that port and holds for no other; without, it holds for the ports that are open anyway.
    """

    text: str
    network: Network | None = None
    host: str = ""
    suffix: bool = False
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Entry:
        """`10.0.0.0/8`, `10.0.0.7:8081`, `fd00::/8`, `[::1]:8081`, `files.example.org`, `*.example.org:8443`.

        Raises `ConfigurationError` that names the entry.
        """
        try:
            return cls._read(text.strip())
        except ValueError as error:
            raise ConfigurationError(f"{text!r} names no host and no network that could be allowed: {error}") from None

    @classmethod
    def _read(cls, text: str) -> Entry:
        name, port = text, None
        if found := re.fullmatch(r"(\[[^\]]*\](?:/[0-9]+)?|[^:]*):([0-9]{1,5})", text):
            name, port = found[1], int(found[2])
            if not 0 < port < 65536:
                raise ValueError("a port is a number from 1 to 65535")
        if bracketed := re.fullmatch(r"\[([^\[\]/]*)\](/[0-9]+)?|\[([^\[\]]*)\]", name):
            name = bracketed[3] or bracketed[1] + (bracketed[2] or "")
        if "[" in name or "]" in name:
            raise ValueError("brackets go around an IPv6 address")
        if ":" in name or "/" in name or _NUMBER.fullmatch(name.rpartition(".")[2]):
            if "%" in name:
                raise ValueError("a zone names an interface, not a network")
            return cls(text=text, network=ip_network(name), port=port)
        suffix = name.startswith("*.")
        parsed = parse_authority(name.removeprefix("*."))
        if parsed is None:
            raise ValueError("it is not a host name")
        return cls(text=text, host=parsed[0], suffix=suffix, port=port)

    def names(self, host: str) -> bool:
        """Whether the entry is for this host."""
        return bool(self.host) and (host.endswith(f".{self.host}") if self.suffix else host == self.host)


class AllowList:
    """The ports that are open, and the hosts and networks that may be reached although they are not public."""

    def __init__(self, entries: Iterable[str] = (), *, ports: Collection[int] = (80, 443)) -> None:
        self.entries = tuple(Entry.read(text) for text in entries)
        self.ports = frozenset(ports)

    def opens(self, port: int) -> bool:
        """Whether anything at all may be reached at this port: asked before a name is looked up."""
        return port in self.ports or any(entry.port == port for entry in self.entries)

    def lists(self, host: str, port: int, address: Address | None) -> bool:
        """Whether an entry is for this host, or for a network that the address it is spelled as belongs to."""
        entries = [entry for entry in self.entries if entry.port in (None, port)]
        return any(entry.names(host) or (address is not None and _inside(address, entry)) for entry in entries)

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether this address may be reached at this port, under this name."""
        usual = port in self.ports
        entries = [entry for entry in self.entries if entry.port == port or (entry.port is None and usual)]
        named = any(entry.names(host) for entry in entries)
        return all(self._permits(part, entries, usual=usual, named=named) for part in meanings(address))

    @staticmethod
    def _permits(part: Address, entries: list[Entry], *, usual: bool, named: bool) -> bool:
        if any(entry.network is not None and part in entry.network for entry in entries):
            return True
        kind = refusal(part)
        return (usual or named) if kind is None else (named and kind in OWN)


def _inside(address: Address, entry: Entry) -> bool:
    return entry.network is not None and any(part in entry.network for part in meanings(address))
