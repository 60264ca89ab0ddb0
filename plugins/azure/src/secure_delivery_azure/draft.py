"""A blob on its way into a container: one request when it is small, else blocks that are staged and committed at the end.

Knows: blocks and their names. Must not know: who writes, what keys mean.

Nothing is visible before the list of blocks was committed; blocks that never are committed leave by themselves within a week.
Nothing is read in order to write. Every request carries the MD5 of its bytes, which the service checks.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from secure_delivery.plugin import SecureDeliveryError, StorageFault, TooLarge
from secure_delivery.plugin.tries import again

from .account import BLOCK, Account
from .faults import judging

_MOST_BLOCKS = 50_000  # of one blob


class AzureDraft:
    """A `Draft`. Holds one block in memory, and a copy of it while it is sent.

    Names of blocks are the number of the block behind a word of the draft's own. So a block that is sent twice is one block,
    and drafts under one name never mix: the service keeps the blocks of all of them in one place.

    `answers` are headers, by their names in lower case, that the blob is to have; those that Azure does not keep are left out.
    """

    def __init__(
        self, account: Account, container: str, name: str, *, mimetype: str, answers: Mapping[str, str] | None = None
    ) -> None:
        self._account = account
        self._container = container
        self._name = name
        self._mimetype = mimetype
        self._answers = dict(answers or {})
        self._buffer = bytearray()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._word = secrets.token_hex(8)
        self._blocks: list[str] = []
        self._over = False

    def __repr__(self) -> str:
        return f"AzureDraft({self._container!r}, {self._name!r})"

    def write(self, data: bytes) -> None:
        """Append. Sends a block whenever there is more than one."""
        self._check_open()
        rest = memoryview(data).cast("B")
        self._md5.update(rest)
        try:
            while rest:
                room = BLOCK - len(self._buffer)
                self._buffer += rest[:room]
                rest = rest[room:]
                if rest:  # the last block is kept back: a blob of one block needs no list
                    self._stage()
        except SecureDeliveryError:
            self.discard()
            raise

    def publish(self) -> None:
        """Make the blob visible. After a fault the key has what it had before, as far as the service told."""
        self._check_open()
        try:
            if self._blocks:
                self._stage()
                self._commit()
            else:
                self._put_whole()
        except SecureDeliveryError:
            self.discard()
            raise
        self.discard()

    def discard(self) -> None:
        """Give up. There is no request that drops blocks and nothing else."""
        self._over = True
        self._buffer = bytearray()

    def _check_open(self) -> None:
        if self._over:
            raise StorageFault("the draft was published or discarded before")

    def _stage(self) -> None:
        if len(self._blocks) == _MOST_BLOCKS:
            raise TooLarge(f"a blob has at most {_MOST_BLOCKS} blocks of {BLOCK} bytes")
        block = f"{self._word}-{len(self._blocks):06d}"
        data = bytes(self._buffer)
        self._buffer.clear()
        self._request(lambda blob: blob.stage_block(block, data, length=len(data), validate_content=True))
        self._blocks.append(block)

    def _commit(self) -> None:
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(block_id=block) for block in self._blocks]
        how = self._how()
        self._request(lambda blob: blob.commit_block_list(blocks, validate_content=True, **how))

    def _put_whole(self) -> None:
        data = bytes(self._buffer)
        how = self._how()
        self._request(
            lambda blob: blob.upload_blob(
                data, length=len(data), overwrite=True, validate_content=True, max_concurrency=1, **how
            )
        )

    def _how(self) -> dict[str, Any]:
        """What the blob is besides its bytes."""
        from azure.storage.blob import ContentSettings, StandardBlobTier

        settings = ContentSettings(
            content_type=self._mimetype,
            content_md5=bytearray(self._md5.digest()),
            cache_control=self._answers.get("cache-control"),
            content_disposition=self._answers.get("content-disposition"),
            content_language=self._answers.get("content-language"),
        )
        tier = self._account.options.tier
        return {"content_settings": settings, "standard_blob_tier": StandardBlobTier(tier.capitalize()) if tier else None}

    def _request(self, act: Callable[[Any], object]) -> None:
        blob = self._account.blob(self._container, self._name)
        again(self._account.patience, lambda: act(blob), judging(f"writing to container {self._container}"))
