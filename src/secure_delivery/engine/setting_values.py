"""How the value of one setting is read: the kinds of values there are.

Knows: texts of the settings file and the environment, and what they stand for. Must not know: which settings there are.

Every reader raises ValueError with a sentence that says what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..gate.hosts import parse_authority


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text is wanted")
    return value


def number(minimum: float, maximum: float, kind: type = int) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, str):
            value = kind(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and not isinstance(value, int)):
            raise ValueError("a number is wanted")
        if not minimum <= value <= maximum:
            raise ValueError(f"a number from {minimum:g} to {maximum:g} is wanted")
        return kind(value)

    return read


def flag(value: Any) -> bool:
    named = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in named:
        return named[value.lower()]
    raise ValueError("true or false is wanted")


def url(value: Any) -> str:
    given = text(value)
    if given and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?", given):
        raise ValueError("https:// or http://, a host and no query are wanted")
    return given


def token(value: Any) -> str:
    given = text(value)
    if given and not re.fullmatch(r"[!-~]{16,500}", given):
        raise ValueError("16 or more visible ASCII characters are wanted")
    return given


def location(value: Any) -> str:
    given = text(value)
    if given and not re.fullmatch(r"(?:/[A-Za-z0-9_-]+)+/", given):
        raise ValueError("a path of letters, digits, - and _ that begins and ends with / is wanted")
    return given


def names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of names is wanted")
    return tuple(value)


def ports(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list):
        raise ValueError("a list of ports is wanted")
    return tuple(number(1, 65535)(item) for item in value)


def networks(value: Any) -> tuple[str, ...]:
    return tuple(network(item.strip()) for item in names(value))


def network(text: str) -> str:
    """One network in its usual spelling; IPv4 written as IPv6 becomes IPv4, as the addresses do that it is compared with."""
    try:
        found = ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network such as 10.0.0.0/8") from None
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped is not None:
        found = ip_network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    if found.prefixlen == 0:
        raise ValueError(f"{text} is everybody: whoever is listed may say who he is")
    return str(found)


def one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{' or '.join(words)} is wanted")
        return str(value)

    return read


def host(value: Any) -> str:
    given = text(value)
    if not given:
        return ""
    parsed = parse_authority(given)
    if parsed is None or parsed[1] is not None:
        raise ValueError("a host name without a port is wanted")
    return parsed[0]


def origin(value: Any) -> str:
    """The URL of a place of its own. Plain http is for this machine: elsewhere passwords would go over it."""
    given = url(value).rstrip("/")
    if not given:
        return ""
    name = host_of(given)
    if name is None or urlsplit(given).path:
        raise ValueError("https://, a host and nothing behind it are wanted")
    if given.startswith("http:") and not on_this_machine(name):
        raise ValueError("https:// is wanted, but for localhost")
    return given


def host_of(url: str) -> str | None:
    """The host of a URL, comparable; None where there is none."""
    parsed = parse_authority(urlsplit(url).netloc)
    return None if parsed is None else parsed[0]


def on_this_machine(name: str) -> bool:
    """Whether a host, in lower case and IPv6 in brackets, is this machine by its name or number (RFC 6761 section 6.3)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def delays(value: Any) -> tuple[float, ...]:
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list) or len(value) > 50:
        raise ValueError("a list of at most 50 numbers of seconds is wanted")
    return tuple(number(0, 2_592_000, float)(item) for item in value)


def path(value: Any) -> Path:
    return Path(text(value)).expanduser()


def tables(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ValueError("one table per plugin is wanted: [plugins.NAME]")
    return value


def texts(value: Any) -> Mapping[str, str]:
    if isinstance(value, str):  # from the environment: name=path,name=path
        value = dict(item.split("=", 1) for item in value.split(",") if "=" in item)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("a table of texts is wanted")
    return value
