"""Keys: which are well formed, and which container they lead to.

Knows: the two kinds of keys of the protocols, what Azure makes of names. Must not know: requests.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from secure_delivery.plugin import BadRequest, StorageFault, StorageRefused

_OPAQUE = re.compile(r"(?:[a-z0-9]{1,64}/){0,3}[a-z0-9]{1,64}")
#: Besides control characters the backslash: Azure may take it for a slash, which would lead out of a permitted path.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\\]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?/)*")
_LONGEST = 1024  # bytes of UTF-8
_DEEPEST = 254  # segments of a name


def placed(key: str, containers: Collection[str]) -> tuple[str, str]:
    """Container and blob name of a key that a customer asked for. Raises `StorageRefused` for a container that is none of
    these, `BadRequest` for a name that a storage must not be given.

    A segment that ends with a dot is refused: Azure drops the dot, and two names would be one.
    """
    container, _, name = key.partition("/")
    if container not in containers:
        raise StorageRefused(f"{container[:80]!r} is none of the containers of this storage")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    segments = name.split("/")
    dotted = any(part == "" or part.endswith(".") for part in segments)
    if not 0 < size <= _LONGEST or len(segments) > _DEEPEST or dotted or _FORBIDDEN.search(name):
        raise BadRequest(public="The path and name of the file do not make a valid blob name.")
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
