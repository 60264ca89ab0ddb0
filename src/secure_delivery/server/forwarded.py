"""What proxies say of those who asked them: X-Forwarded-* and Forwarded, read strictly.

Knows: the grammar of both kinds of headers. Must not know: which proxies are believed, requests, settings.

A proxy adds to what it was sent, so the left of a header may be anybody's invention: hops are given from the right, each read
only when it is asked for, and what cannot be read raises `Malformed`.

Sources: RFC 7239 (Forwarded: section 4 the grammar, section 6 names of nodes), RFC 9110 section 5.6 (tokens, quoted strings,
lists). X-Forwarded-* has no standard; the forms are those that nginx, Caddy, Traefik, HAProxy, Squid and load balancers send.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from ..gate.hosts import parse_authority

Address = IPv4Address | IPv6Address
Scheme = Literal["http", "https"]

_LONGEST = 4096  # characters of one kind of header together; a chain of proxies needs some hundreds
_MOST = 50  # hops

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
#: One pair of a Forwarded header, or nothing, and what ends it.
_PAIR = re.compile(rf"[ \t]*(?:({_WORD})=({_WORD}|{_QUOTED})[ \t]*)?([,;]|\Z)")
_NODE = re.compile(
    r"(?:(?P<four>[0-9.]{7,15})|\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<hidden>unknown|_[A-Za-z0-9._-]+))"
    r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?",
    re.IGNORECASE,
)
_BARE_SIX = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class Malformed(ValueError):
    """A header that no honest proxy sends. Its text is not repeated: it is a stranger's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One request of the chain, in the words of the proxy that got it. None: not told, or kept back (`unknown`, `_x`).

    `host` is a name as `gate.hosts` compares it, and a port.
    """

    address: Address | None = None
    scheme: Scheme | None = None
    host: tuple[str, int | None] | None = None


def hops_of_forwarded(values: Sequence[str]) -> Iterator[Hop]:
    """The hops of `Forwarded` headers, the one next to us first. Raises `Malformed`, at the first of them for bad grammar
    anywhere: a quote that is not closed swallows what stands to its right."""
    for pairs in reversed(forwarded_elements(",".join(values))):
        node, scheme, host = pairs.get("for"), pairs.get("proto"), pairs.get("host")
        yield Hop(
            address=None if node is None else read_node(node),
            scheme=None if scheme is None else _scheme(scheme),
            host=None if host is None else _host(host),
        )


def hops_of_x_forwarded(nodes: Sequence[str], schemes: Sequence[str], hosts: Sequence[str]) -> Iterator[Hop]:
    """The hops of `X-Forwarded-For`, `-Proto` and `-Host` headers, the one next to us first. Raises `Malformed`.

    Where a scheme or host stands for each hop, those of the same place from the right belong together. One alone holds for the
    whole chain: the proxy that sets it overwrites what it was sent.
    """
    told, by, under = _listed(nodes), _listed(schemes), _listed(hosts)
    if not told and not by and not under:
        return
    for place in range(max(1, len(told))):
        node, scheme, host = told[-1 - place] if told else None, _at(by, place), _at(under, place)
        yield Hop(
            address=None if node is None else read_node(node, bare=True),
            scheme=None if scheme is None else _scheme(scheme),
            host=None if host is None else _host(host),
        )


def forwarded_elements(text: str) -> list[dict[str, str]]:
    """The elements of a Forwarded header from left to right, names in lower case, quotes taken off. Raises `Malformed`."""
    if len(text) > _LONGEST:
        raise Malformed("too long")
    elements: list[dict[str, str]] = [{}]
    place = 0
    while True:
        matched = _PAIR.match(text, place)
        if matched is None:
            raise Malformed("not the grammar of RFC 7239")
        name, value, end = matched.groups()
        if name is not None:
            if name.lower() in elements[-1]:
                raise Malformed("a parameter stands twice in one element")
            elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value[0] == '"' else value
        if not end:
            break
        if end == ",":
            elements.append({})
        place = matched.end()
    found = [element for element in elements if element]  # lists may have empty places (RFC 9110 section 5.6.1.2)
    if len(found) > _MOST:
        raise Malformed("too many hops")
    return found


def read_node(text: str, *, bare: bool = False) -> Address | None:
    """The address of a node, without its port; None where the proxy keeps it back. Raises `Malformed`.

    With `bare`, an IPv6 address may stand without brackets, as in X-Forwarded-For. IPv4 written as IPv6 becomes IPv4.
    """
    matched = _NODE.fullmatch(text)
    if matched is not None and matched["hidden"]:
        return None
    if matched is not None:
        return _address(matched["four"] or matched["six"], six=matched["six"] is not None)
    if bare and ":" in text and _BARE_SIX.fullmatch(text):
        return _address(text, six=True)
    raise Malformed("not an address")


def plain(address: Address) -> Address:
    """An address in the one form in which addresses are compared: IPv4 written as IPv6 becomes IPv4, a zone is dropped."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _address(text: str, *, six: bool) -> Address:
    try:
        return plain(IPv6Address(text) if six else IPv4Address(text))
    except ValueError:
        raise Malformed("not an address") from None


def _scheme(text: str) -> Scheme:
    lowered = text.lower()
    if lowered == "https":
        return "https"
    if lowered == "http":
        return "http"
    raise Malformed("not a scheme that is spoken here")


def _host(text: str) -> tuple[str, int | None]:
    parsed = parse_authority(text)
    if parsed is None:
        raise Malformed("not a host")
    return parsed


def _listed(values: Sequence[str]) -> list[str]:
    text = ",".join(values)
    if len(text) > _LONGEST:
        raise Malformed("too long")
    found = [part.strip(" \t") for part in text.split(",")] if values else []
    if len(found) > _MOST:
        raise Malformed("too many hops")
    return found


def _at(values: Sequence[str], place: int) -> str | None:
    if len(values) < 2:
        return values[0] if values else None
    if place >= len(values):
        raise Malformed("fewer places than hops")
    return values[-1 - place]


#: By the setting `forwarded`: the headers of which it consists.
KINDS: Mapping[str, tuple[str, ...]] = {
    "x-forwarded": ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"),
    "forwarded": ("forwarded",),
}


def hops(kind: str, headers: Mapping[str, Sequence[str]]) -> Iterator[Hop] | None:
    """The hops that headers of this kind tell of, the one next to us first; None where there are no such headers.

    `headers` are values by name in lower case. Reading on may raise `Malformed`.
    """
    values = [headers.get(name, ()) for name in KINDS[kind]]
    if not any(values):
        return None
    return hops_of_forwarded(values[0]) if kind == "forwarded" else hops_of_x_forwarded(*values)


def read_address(text: str) -> Address | None:
    """The address of a connection, plain; None where it has none."""
    try:
        return plain(ip_address(text))
    except ValueError:
        return None
