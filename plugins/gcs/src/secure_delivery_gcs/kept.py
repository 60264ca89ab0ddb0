"""The server's own blobs in a bucket of the operator: opaque keys, under a prefix.

Knows: which key leads where. Must not know: requests, settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from secure_delivery.plugin import Draft

from . import keys
from .storage import GcsStorage


class KeptBlobs:
    """A `Storage` that is `Presigned`. It is not `Placing`: its keys are the server's, and it decides where they go."""

    def __init__(self, storage: GcsStorage, prefix: str) -> None:
        self._storage = storage
        self._place = f"{storage.containers[0]}/{prefix}"

    def __repr__(self) -> str:
        return f"KeptBlobs(gcs, {self._place!r})"

    def create(self, key: str, *, mimetype: str) -> Draft:
        """Begin a blob."""
        return self._storage.create(self._place + keys.opaque(key), mimetype=mimetype)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length` of the blob."""
        return self._storage.open(self._place + keys.opaque(key), start=start, length=length)

    def remove(self, key: str) -> None:
        """Delete; twice is fine."""
        self._storage.remove(self._place + keys.opaque(key))

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A signed URL of the blob."""
        return self._storage.presigned_url(self._place + keys.opaque(key), seconds=seconds, headers=headers)
