"""The operator's own storages: in the clear to this machine only."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from secure_delivery.plugin.straight import is_near, straight


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, int]]:
    """A place that is reached by an address of the network, as another machine would be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.200", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        address = probe.getsockname()[0]
    with socket.create_server((address, 0)) as listener:
        yield address, listener.getsockname()[1]


def test_in_the_clear_only_this_machine_is_reached(elsewhere: tuple[str, int]) -> None:
    straight(insecure=False)(*elsewhere, 5).close()
    with pytest.raises(PermissionError, match="only be on this machine"):
        straight(insecure=True)(*elsewhere, 5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for host in ("127.0.0.1", "localhost"):
            straight(insecure=True)(host, listener.getsockname()[1], 5).close()


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("::", False),
    ],
)
def test_this_machine_is_told_by_its_loopback_addresses(address: str, near: bool) -> None:
    assert is_near(address) is near
