"""The server's own blobs in a container of the operator: opaque keys, under a prefix.

Knows: which key leads where. Must not know: requests, settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from secure_delivery.plugin import Draft

from . import keys
from .storage import AzureStorage, SigningAzureStorage


class KeptBlobs:
    """A `Storage`. It is not `Placing`: its keys are the server's, and it decides where they go."""

    def __init__(self, storage: AzureStorage, prefix: str) -> None:
        self._storage = storage
        self._place = f"{storage.containers[0]}/{prefix}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(azure, {self._place!r})"

    def create(self, key: str, *, mimetype: str) -> Draft:
        """Begin a blob."""
        return self._storage.create(self._place + keys.opaque(key), mimetype=mimetype)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length` of the blob."""
        return self._storage.open(self._place + keys.opaque(key), start=start, length=length)

    def remove(self, key: str) -> None:
        """Delete; twice is fine."""
        self._storage.remove(self._place + keys.opaque(key))


class SignedKeptBlobs(KeptBlobs):
    """With an account key it is `Presigned` too."""

    def __init__(self, storage: SigningAzureStorage, prefix: str) -> None:
        super().__init__(storage, prefix)
        self._signing = storage

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A signed URL of the blob."""
        return self._signing.presigned_url(self._place + keys.opaque(key), seconds=seconds, headers=headers)


def kept(storage: AzureStorage, prefix: str) -> KeptBlobs:
    """The server's own blobs in this storage."""
    return SignedKeptBlobs(storage, prefix) if isinstance(storage, SigningAzureStorage) else KeptBlobs(storage, prefix)
