"""Bytes in storages that no file refers to any more, or not yet: deleted in the end, and never those that a file has again.

Knows: records, storages, locks. Must not know: files, what anything holds.

Where a row goes, the place of its bytes is written down in the same transaction; here they are deleted, and the note with them.
Keys of ours are used once. Those of customers' own storages are paths that may be asked for again, so whoever deletes or writes
one is alone with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..gate.errors import SecureDeliveryError, StorageRefused
from ..plugin.protocols import Placing
from .locks import Locks
from .records import Blob, Records
from .storages import Room, Storages

logger = logging.getLogger("secure_delivery.engine")


class Blobs:
    """Deletes bytes. Thread-safe. `locks` keep those apart who write the same object of a customer's storage."""

    def __init__(self, records: Records, storages: Storages, locks: Locks | None) -> None:
        self._records = records
        self._storages = storages
        self._locks = locks

    @contextmanager
    def alone(self, blob: Blob, room: Room) -> Iterator[None]:
        """Alone with an object whose key may be used again. Keys of ours never are."""
        if not room.placing or self._locks is None:
            yield
            return
        with self._locks.held(blob.storage, blob.key):
            yield

    def discard(self, blobs: Sequence[Blob]) -> None:
        """Delete bytes that nothing refers to any more, as `Records.blobs_to_delete` has them. What a storage cannot delete
        now stays on that list, for the next start."""
        self._records.blobs_deleted([blob for blob in blobs if self._deleted(blob)])

    def discard_listed(self, blobs: Sequence[Blob]) -> None:
        """The same for those that no other file shares."""
        self.discard([blob for blob in blobs if self._records.is_to_delete(blob)])

    def _deleted(self, blob: Blob) -> bool:
        """Delete bytes that are on the list, whether that went well; those of a key that may be used again, alone with it."""
        try:
            placing = self._storages.is_placing(blob.storage)
        except SecureDeliveryError:
            placing = False
        if not placing or self._locks is None:
            return self._drop(blob)
        with self._locks.held(blob.storage, blob.key):
            if not self._records.is_to_delete(blob):  # it was written again meanwhile
                return False
            if not self._drop(blob):
                return False
            self._records.blobs_deleted([blob])
        return True

    def sweep(self) -> int:
        """Delete what should have been deleted before a crash, or when a storage failed; returns how many blobs."""
        count, last = 0, None
        while blobs := self._records.blobs_to_delete(after=last):
            deleted = [blob for blob in blobs if self._deleted(blob)]
            self._records.blobs_deleted(deleted)
            count, last = count + len(deleted), blobs[-1]
        return count

    def _drop(self, blob: Blob) -> bool:
        """Delete bytes; whether that went well. A storage that fails now is logged."""
        try:
            storage = self._storages.get(blob.storage)
            try:
                storage.remove(blob.key)
            except StorageRefused:
                if not isinstance(storage, Placing) or storage.readable:
                    raise
                logger.info("blob %s stays in storage %s, which is only written to", blob.key, blob.storage)
        except SecureDeliveryError as fault:
            logger.error("blob %s in storage %s could not be deleted: %s", blob.key, blob.storage, fault)
            return False
        return True

    def drop_unshared(self, blob: Blob) -> None:
        """Delete bytes that could not be recorded, unless a file refers to them; what cannot be told is left to `fsck`."""
        with suppress(Exception):
            if not self._records.refers(blob):
                self._drop(blob)
