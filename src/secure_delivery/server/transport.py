"""Who asks, under which name and by which scheme; and whether that may be answered in the clear.

Knows: connections, listed proxies and what they say, promise 68. Must not know: what is asked for, who is signed in.

Only a listed proxy is asked who sent it a request, and in one kind of headers; those of anybody else are passed over. Where
they cannot be read, the request counts as a stranger's over plain HTTP, and one that was passed on by nobody listed is never
taken for this machine's own: what is not understood makes nothing look nearer or safer than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from ..engine.setting_values import on_this_machine
from ..engine.settings import Settings
from ..gate.errors import HttpsRequired
from ..gate.hosts import DEFAULT_PORTS, parse_authority
from .forwarded import Address, Hop, Malformed, Scheme, hops, read_address

#: Headers by which a request says of itself that somebody passed it on.
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")

_YEAR = 31_536_000  # seconds
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who asks, as far as that is known.

    * `address`: of the client, or of the next machine that is known; IPv4 or IPv6 in its usual spelling without a zone, or
      empty where a connection has none.
    * `scheme`: by which the client asked.
    * `host`, `port`: asked for; lower case, A-labels, IPv6 in brackets; empty where it cannot be read. No port: the usual one.
    * `loopback`: client, proxies and server are this one machine.
    * `trusted_proxy`: the connection is that of a listed proxy.
    * `forwarded`: somebody says that the request was passed on.
    """

    address: str
    scheme: Scheme
    host: str
    port: int | None
    loopback: bool
    trusted_proxy: bool
    forwarded: bool = False

    @property
    def origin(self) -> str:
        """Scheme, host and port as browsers write them in Origin."""
        return f"{self.scheme}://{self.host}" + ("" if self.port is None else f":{self.port}")


def peer_of(scope: Mapping[str, Any], settings: Settings) -> Peer:
    """The peer of an ASGI connection. Never raises: what cannot be read makes it a stranger over plain HTTP."""
    client = scope.get("client")
    address = read_address(client[0]) if client else None
    headers = _headers(scope)
    listed = networks(settings.proxies)
    trusted = address is not None and _within(address, listed)
    told = any(name in headers for name in FORWARDING)
    scheme: Scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    host = _asked(headers.get("host", ()))
    loopback = address is not None and address.is_loopback and not told
    if trusted and address is not None and (chain := hops(settings.forwarded, headers)) is not None:
        try:
            first, hop, loopback = client_of(address, chain, lambda one: _within(one, listed))
            address, scheme, host = first, hop.scheme or "http", hop.host or host
        except Malformed:
            scheme = "http"  # and not near, since something was told
    return Peer(
        address=str(address) if address is not None else str(client[0]) if client else "",
        scheme=scheme,
        host=host[0],
        port=None if host[1] == DEFAULT_PORTS[scheme] else host[1],
        loopback=loopback,
        trusted_proxy=trusted,
        forwarded=told,
    )


def client_of(address: Address, chain: Iterator[Hop], trusts: Callable[[Address], bool]) -> tuple[Address, Hop, bool]:
    """The first machine of a chain that is not a proxy of ours, counted from us: its address, the hop that tells of it, and
    whether all from there to us is this machine. `address` is that of the connection, whose word counts.

    Where a proxy keeps an address back, its own stands for it. Where all are proxies of ours, the farthest one asks. Raises
    `Malformed` when a hop on the way cannot be read; what stands farther away is not looked at.
    """
    found, near = None, address.is_loopback
    for hop in chain:
        found = hop
        if hop.address is None:
            return address, hop, False
        address, near = hop.address, near and hop.address.is_loopback
        if not trusts(address):
            break
    if found is None:
        raise Malformed("nothing is told")
    return address, found, near


def plain_http(peer: Peer) -> bool:
    """Whether plain HTTP may be answered: to this machine itself, and to a listed proxy that asks for itself (promise 68)."""
    return peer.loopback or (peer.trusted_proxy and not peer.forwarded)


def refusal(peer: Peer, method: str, *, api: bool, location: str) -> Response | None:
    """The answer to what must not be answered in the clear; None for all else.

    Pages go on to `location`, a URL that begins with https:// or a path on the same host, with 308. Calls of an API and
    whatever changes something are refused with 403 and not sent on: what they carry was readable already, and whoever sent
    it should hear of it.
    """
    if peer.scheme == "https" or plain_http(peer):
        return None
    target = f"https://{peer.host}{location}" if peer.host and location.startswith("/") else location
    from .http import error_response  # which asks here for base URLs

    if api or method not in _SAFE or not target.startswith("https://"):
        return error_response(HttpsRequired.status, HttpsRequired.code, HttpsRequired.sentence)
    return RedirectResponse(target, 308, {"cache-control": "no-store"})


def hsts(peer: Peer) -> dict[str, str]:
    """The header that keeps a browser with https for a year, where we or a listed proxy speak it; none for this machine's own
    names. It says nothing of names below ours, which may be other people's."""
    if peer.scheme != "https" or not peer.host or on_this_machine(peer.host):
        return {}
    return {"strict-transport-security": f"max-age={_YEAR}"}


def base_of(peer: Peer, root: str) -> str | None:
    """Scheme, host and prefix of the URLs that a peer can use, without a slash at the end; None where no host was asked for."""
    return f"{peer.origin}{quote(root)}" if peer.host else None


@lru_cache(maxsize=64)
def networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of the setting `proxies`, read once."""
    return tuple(ip_network(text) for text in texts)


def _within(address: Address, listed: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in listed)


def _headers(scope: Mapping[str, Any]) -> dict[str, list[str]]:
    """The headers that say who asks for what."""
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key == "host" or key in FORWARDING:
            found.setdefault(key, []).append(value.decode("latin-1"))
    return found


def _asked(values: Sequence[str]) -> tuple[str, int | None]:
    """The host of a Host header; nothing where there is none, more than one, or one that cannot be read."""
    parsed = parse_authority(values[0]) if len(values) == 1 else None
    return parsed or ("", None)
