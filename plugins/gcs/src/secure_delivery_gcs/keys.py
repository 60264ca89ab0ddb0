"""Keys: which are well formed, and which container they lead to.

Knows: the two kinds of keys of the protocols. Must not know: the provider's requests.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from secure_delivery.plugin import BadRequest, StorageFault, StorageRefused

_OPAQUE = re.compile(r"(?:[a-z0-9]{1,64}/){0,3}[a-z0-9]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/)*")
_LONGEST = 1024  # bytes of UTF-8
#: Names that mean something to the provider, or to those who talk to it.
_RESERVED = ".well-known/acme-challenge/"


def placed(key: str, containers: Collection[str]) -> tuple[str, str]:
    """Container and object key of a key that a customer asked for. Raises `StorageRefused` for a container that is none of
    these, `BadRequest` for an object key that a storage must not be given."""
    container, _, name = key.partition("/")
    if container not in containers:
        raise StorageRefused(f"{container[:80]!r} is none of the buckets of this storage")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    segments = name.split("/")
    if not 0 < size <= _LONGEST or _CONTROL.search(name) or any(part in ("", ".", "..") for part in segments):
        raise BadRequest(public="The path and name of the file do not make a valid object key.")
    if name.startswith(_RESERVED):
        raise BadRequest(public="The storage does not take files under this path.")
    return container, name


def opaque(key: str) -> str:
    """A key of the server, as it is. Raises `StorageFault` for text that is none."""
    if not isinstance(key, str) or not _OPAQUE.fullmatch(key):
        raise StorageFault(f"not a storage key: {str(key)[:80]!r}")
    return key


def prefix(text: str) -> str:
    """A folder that all keys of the server go under, with its slash at the end. Raises `ValueError`."""
    folder = f"{text.rstrip('/')}/" if text.strip("/") else ""
    if len(folder) > 300 or not _PREFIX.fullmatch(folder):
        raise ValueError
    return folder
