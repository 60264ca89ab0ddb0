"""Host names: read out of Origin and Referer headers, and made comparable.

Knows: host names and addresses in all their spellings, ports. Must not know: patterns, what follows from a foreign host.

What cannot be made comparable is refused, never guessed at: parsers disagree about user information, backslashes, numeric
spellings and control characters, and an attacker chooses the one that suits.

Sources: RFC 6454 (Origin), RFC 3986 (authority), RFC 1035 (lengths), RFC 5890 and UTS 46 (A-labels), security promises 29
and 30.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import NamedTuple

import idna

MAX_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}
DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # what browsers read as a dot, UTS 46 section 2.3

_MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9_-]+")
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)\.?)(?::(0|[1-9][0-9]{0,4}))?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


class Host(NamedTuple):
    """A host as the whitelist compares it.

    `name` is lower-cased, in A-labels, without a trailing dot; an IPv6 address is canonical and in brackets. `port` is
    None when it is absent or the default of `scheme`. `scheme` is `http`, `https`, or empty where none was given.
    """

    name: str
    port: int | None
    scheme: str


def parse_origin(text: str) -> Host | None:
    """The host of an Origin header: `http` or `https`, `://`, host, optional port, and nothing else.

    None for everything else, never an exception: `null`, lists, user information, backslashes, control characters,
    percent signs, a trailing slash, ports that are empty, padded with zeros or over 65535 (security promise 30).
    """
    scheme, found, authority = text.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in DEFAULT_PORTS:
        return None
    parsed = parse_authority(authority)
    if parsed is None:
        return None
    name, port = parsed
    return Host(name, None if port == DEFAULT_PORTS[scheme] else port, scheme)


def parse_referer(text: str) -> Host | None:
    """The host of a Referer header: as `parse_origin`, but path, query and fragment may follow and are passed over.

    Blanks and control characters anywhere give None, so that two headers joined by a proxy are not read as one.
    """
    if _UNSAFE.search(text):
        return None
    scheme, found, rest = text.partition("://")
    if not found:
        return None
    return parse_origin(f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}")


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """`host[:port]` as comparable name and port, or None. Strict: browsers and libraries disagree on the rest."""
    if len(text) > _MAX_NAME + len(".:65535"):
        return None
    if not text.isascii():
        host, colon, port_text = text.translate(DOTS).partition(":")
        try:
            text = ".".join(label if label.isascii() else a_label(label) for label in host.split(".")) + colon + port_text
        except ValueError:
            return None
    matched = _AUTHORITY.fullmatch(text.lower())
    if matched is None:
        return None
    address, name, digits = matched.groups()
    port = int(digits) if digits else None
    if port is not None and port > MAX_PORT:
        return None
    if address is not None:
        try:
            return canonical_address(address), port
        except ValueError:
            return None
    return (name, port) if len(name) <= _MAX_NAME else None


def canonical_address(text: str) -> str:
    """An IPv6 address in the one spelling browsers send, in brackets. Raises ValueError when it is none."""
    address = IPv6Address(text)
    if address.ipv4_mapped is not None:  # written differently by different versions of Python
        low = int(address.ipv4_mapped)
        return f"[::ffff:{low >> 16:x}:{low & 0xFFFF:x}]"
    return f"[{address}]"


def a_label(label: str) -> str:
    """One label with non-ASCII characters as an A-label. Raises ValueError when IDNA 2008 has none for it."""
    mapped = idna.uts46_remap(label, False)
    if not mapped.isascii():
        mapped = idna.alabel(mapped).decode("ascii")
    if _LABEL.fullmatch(mapped) is None:
        raise ValueError("it holds characters that host names cannot have")
    return mapped
