"""The way out for a storage that the operator set up: straight to where it is, and in the clear only to this machine.

Knows: sockets. Must not know: storages, protocols. (What customers set up goes by the engine's guard instead.)

An option `insecure` of a storage is for test servers beside the server itself: between machines there is TLS, and certificates
are looked at (security promise 69).
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from .protocols import Dial


def straight(*, insecure: bool) -> Dial:
    """A way to connect. With `insecure` it raises `PermissionError` for any other machine, before anything is said."""
    return _near if insecure else _anywhere


def is_near(address: str) -> bool:
    """Whether an address, in its usual spelling, is this machine's own."""
    found = ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _anywhere(host: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((host, port), seconds)


def _near(host: str, port: int, seconds: float) -> socket.socket:
    connection = socket.create_connection((host, port), seconds)
    if not is_near(connection.getpeername()[0]):
        connection.close()
        raise PermissionError("a storage that is set insecure may only be on this machine")
    return connection
