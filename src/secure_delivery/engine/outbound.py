"""The guard of the way out: from a URL somebody wrote to a connection with an address that was checked.

Knows: URLs, name resolution, sockets, TLS. Must not know: HTTP messages, what is fetched or why.

A name is resolved once; every answer must be permitted or the name is refused; the connection goes to a checked address and
its other end is checked again. So a name server that changes its mind gains nothing. Nothing here reads proxy settings from
the environment.

Sources: security promises 33 (form of URLs, ports), 34 (addresses), 35 (pinning, peer check, no proxies), 37 (connect time)
and 38 (the operator's list). CVE-2023-30019 (no guard at all) and CVE-2025-24354 (0.0.0.0 forgotten) are its forerunners.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from urllib.parse import quote

from ..gate.errors import BadRequest, SourceFault
from ..gate.hosts import DEFAULT_PORTS, parse_authority
from .addresses import Address, AllowList, literal, read_address

MAX_URL = 2048
MAX_ADDRESSES = 32  # of one name; more is no honest answer

#: Name and port to the addresses behind it, as texts.
Resolve = Callable[[str, int], Iterable[str]]
#: Address, port and seconds to a connected socket.
Connect = Callable[[Address, int, float], socket.socket]
Clock = Callable[[], float]

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
#: Control characters anywhere split requests or are dropped by one parser and not the next; so is a backslash.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_PLAIN = "!$%&'()*+,-./:;=?@[]_~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long anybody outside is waited for, in seconds (promise 37).

    `rate` is in bytes a second, counted from the first byte on after `grace` seconds, so that a sender that drips holds
    nothing for long.
    """

    resolve: float = 5.0
    connect: float = 5.0  # all addresses of a name and the TLS handshake together
    first_byte: float = 10.0
    whole: float = 60.0
    rate: float = 1000.0
    grace: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that was read. `host` is comparable: lower case, A-labels, no trailing dot, IPv6 canonical in brackets;
    `resource` is path and query as they are sent; `address` is set when the host is one."""

    scheme: str
    host: str
    port: int
    resource: str
    address: Address | None

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that is really fetched: no fragment, one spelling."""
        return f"{self.scheme}://{self.authority}{self.resource}"

    @property
    def place(self) -> str:
        """The URL for a log: without its query, which may hold a credential."""
        return self.url.partition("?")[0]

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are for and must not leave."""
        return self.scheme, self.host, self.port


def read_url(text: str) -> Target:
    """A URL of http or https, strictly. Raises `BadRequest` with a sentence for its author.

    Characters that URLs cannot have are percent-encoded in path and query, as browsers do; in the host nothing is repaired.
    """
    if len(text) > MAX_URL:
        raise BadRequest(public=f"The URL of the source is longer than {MAX_URL} characters.")
    found = _URL.fullmatch(text)
    if found is None or _UNSAFE.search(text):
        raise BadRequest(public="The URL of the source is not a plain http or https URL.")
    scheme, authority, resource = found[1].lower(), found[2], found[3]
    if "@" in authority:
        raise BadRequest(public="The URL of the source holds a user name or a password.")
    parsed = parse_authority(authority)
    try:
        address = literal(parsed[0]) if parsed else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise BadRequest(public="The host in the URL of the source is not valid.")
    try:
        resource = quote(resource, safe=_PLAIN)
    except UnicodeEncodeError:
        raise BadRequest(public="The URL of the source holds half a character.") from None
    segments = resource.partition("?")[0].split("/")
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in segments):
        raise BadRequest(public="The URL of the source holds a dot segment.")
    host, port = parsed
    target = Target(
        scheme=scheme,
        host=host,
        port=DEFAULT_PORTS[scheme] if port is None else port,
        resource=resource if resource.startswith("/") else f"/{resource}",
        address=address,
    )
    if len(target.url) > MAX_URL:
        raise BadRequest(public=f"The URL of the source is longer than {MAX_URL} characters.")
    return target


def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a name by the system's resolver. Raises OSError."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def tcp_connect(address: Address, port: int, seconds: float) -> socket.socket:
    """A connection to an address. Raises OSError."""
    connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


class AddressRefused(SourceFault):
    """An address that nobody may connect to."""


class NoTLS(SourceFault):
    """Somebody who cannot show that he is who the URL says."""


class OutboundGuard:
    """Lets connections out to public addresses and to what the operator allows. Safe to share among threads.

    `allow` and `ports` are explained at `AllowList`; `resolve`, `connect` and `clock` are the world, which tests replace;
    `tls` verifies certificates and must keep doing so.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        ports: Collection[int] = (80, 443),
        https_only: bool = False,
        patience: Patience | None = None,
        resolve: Resolve = system_resolve,
        connect: Connect = tcp_connect,
        clock: Clock = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.allow_list = AllowList(allow, ports=ports)
        self.https_only = https_only
        self.patience = patience or Patience()
        self.clock = clock
        self._resolve = resolve
        self._connect = connect
        self._tls = tls or ssl.create_default_context()

    def read(self, url: str) -> Target:
        """A URL, as far as it can be judged without asking anybody. Raises `BadRequest`."""
        target = read_url(url)
        if self.https_only and target.scheme != "https":
            raise BadRequest(public="Sources are only fetched by https.")
        if not self.allow_list.opens(target.port):
            raise BadRequest(public="Sources are not fetched from this port.")
        return target

    def admit(self, target: Target, *, ends: float) -> tuple[Address, ...]:
        """The checked addresses of a target. `ends` is by the clock. Raises `SourceFault`.

        One bad answer refuses the name: which of its addresses a connection goes to must not be a matter of luck.
        """
        addresses = (target.address,) if target.address is not None else self._look_up(target, ends)
        for address in addresses:
            if not self.allow_list.permits(target.host, target.port, address):
                raise AddressRefused(f"{target.authority}: {address} is not an address to fetch from")
        return addresses

    def _look_up(self, target: Target, ends: float) -> tuple[Address, ...]:
        """Ask the resolver in a thread of its own, because nothing else bounds the system's resolver in time."""
        found: list[Address] = []
        trouble: list[str] = []

        def work() -> None:
            try:
                found.extend(dict.fromkeys(read_address(text) for text in self._resolve(target.host, target.port)))
            except (OSError, ValueError) as error:
                trouble.append(str(error) or type(error).__name__)

        thread = threading.Thread(target=work, name="resolve", daemon=True)
        thread.start()
        thread.join(max(0.0, min(self.patience.resolve, ends - self.clock())))
        if thread.is_alive():
            raise SourceFault(f"{target.host}: the name server is too slow")
        if trouble or not 0 < len(found) <= MAX_ADDRESSES:
            raise SourceFault(f"{target.host}: {trouble[0] if trouble else f'{len(found)} addresses'}")
        return tuple(found)

    def dial(self, target: Target, addresses: tuple[Address, ...], *, ends: float) -> socket.socket:
        """A plain connection to the first of the checked addresses that answers. Raises `SourceFault`."""
        trouble = ""
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            seconds = (ends - self.clock()) / left  # one dead address leaves time for the others
            if seconds <= 0:
                break
            try:
                connection = self._connect(address, target.port, seconds)
            except OSError as error:
                trouble = f"{address}: {error}"
                continue
            try:
                self._check_peer(target, connection, address)
            except BaseException:
                connection.close()
                raise
            return connection
        raise SourceFault(f"{target.authority}: no connection: {trouble or 'no time left'}")

    @staticmethod
    def _check_peer(target: Target, connection: socket.socket, address: Address) -> None:
        try:
            peer = read_address(str(connection.getpeername()[0]))
        except (OSError, ValueError) as error:
            raise SourceFault(f"{target.authority}: the connection is gone: {error}") from None
        if peer != address:
            raise SourceFault(f"{target.authority}: connected to {peer} instead of {address}, which was checked")

    def open(self, target: Target, *, ends: float) -> socket.socket:
        """A connection to a target, with TLS for https: verified against, and announced with, the name in the URL.

        Raises `SourceFault` when it is refused, not reached in time or not who it says.
        """
        addresses = self.admit(target, ends=ends)
        by = min(ends, self.clock() + self.patience.connect)
        connection = self.dial(target, addresses, ends=by)
        if target.scheme != "https":
            return connection
        try:
            connection.settimeout(max(0.001, by - self.clock()))
            # A stream that just stops is an error: nobody on the way may cut a body short unnoticed.
            return self._tls.wrap_socket(connection, server_hostname=target.host.strip("[]"), suppress_ragged_eofs=False)
        except (OSError, ValueError) as error:
            connection.close()
            raise NoTLS(f"{target.authority}: no TLS: {error}") from None
