"""An object being written: one request when it is small, parts while it comes when it is large.

Knows: parts, how many may be on their way. Must not know: keys' meaning, tries of single requests.

Memory holds one part that is being filled and two that are being sent: 24 MiB, and 48 MiB for files above 16 GiB.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import SecureDeliveryError, StorageFault, TooLarge

if TYPE_CHECKING:
    from .client import Client

logger = logging.getLogger("secure_delivery.plugin.s3")

_MOST_PARTS = 10_000  # S3's own bound
_SMALL, _LARGE, _SMALL_PARTS = 8 << 20, 16 << 20, 2_000
_IN_FLIGHT = 2
#: Bytes of the largest file that can be streamed through the server: 140 GiB. Clients that send parts straight to the bucket
#: choose their own sizes.
LARGEST = _SMALL_PARTS * _SMALL + (_MOST_PARTS - _SMALL_PARTS) * _LARGE


def part_size(number: int) -> int:
    """Bytes of part `number`, from 1: larger ones later, so that 10,000 are enough and small files need little memory."""
    return _SMALL if number <= _SMALL_PARTS else _LARGE


class S3Draft:
    """A `Draft`. Nothing is visible before `publish`: a single request is sent only then, and S3 shows no parts before they
    are completed."""

    def __init__(self, client: Client, where: Mapping[str, str], headers: Mapping[str, Any]) -> None:
        self._client = client
        self._where = where
        self._headers = headers
        self._buffer = bytearray()
        self._upload = ""
        self._number = 1  # of the part being filled
        self._etags: list[str] = []
        self._flying: deque[Future[str]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._over = False

    def write(self, data: bytes) -> None:
        self._must_be_open()
        try:
            with memoryview(data) as whole, whole.cast("B") as view:
                self._append(view)
        except BaseException:
            self.discard()
            raise

    def _append(self, view: memoryview) -> None:
        start = 0
        while start < len(view):
            room = part_size(self._number) - len(self._buffer)
            if room == 0:
                self._send_part()
                continue
            self._buffer += view[start : start + room]
            start += room

    def publish(self) -> None:
        """Make the object visible. After `StorageFault` it may be there nevertheless, whole: when only the answer was lost."""
        self._must_be_open()
        try:
            if self._upload:
                self._complete()
            else:
                self._client.call(
                    "put_object", "writing", Body=self._buffer, ContentMD5=_md5(self._buffer), **self._where, **self._headers
                )
        except BaseException:
            self.discard()
            raise
        self._end()

    def discard(self) -> None:
        """Give up. An upload that the provider does not let go of is left to the bucket's rule for unfinished uploads."""
        if self._over:
            return
        upload = self._upload
        self._end()
        if not upload:
            return
        try:
            self._client.call(
                "abort_multipart_upload",
                "aborting an upload",
                expected=("NoSuchUpload", "404"),
                UploadId=upload,
                **self._where,
            )
        except SecureDeliveryError as error:
            logger.warning("an unfinished upload stays in the bucket: %s", error)

    def _end(self) -> None:
        self._over = True
        self._buffer = bytearray()
        self._flying.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True)  # a part that arrives after its upload was aborted would stay
            self._pool = None

    def _must_be_open(self) -> None:
        if self._over:
            raise StorageFault("the draft was published or discarded before")

    def _send_part(self) -> None:
        """Let the buffer fly, after waiting until fewer than two do."""
        if self._number > _MOST_PARTS:
            raise TooLarge(f"more than {LARGEST} bytes", public="The file is larger than the storage takes.")
        if self._pool is None:
            answer = self._client.call("create_multipart_upload", "beginning an upload", **self._where, **self._headers)
            self._upload = str(answer.data["UploadId"])
            self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="s3-part")
        while len(self._flying) >= _IN_FLIGHT:
            self._land()
        self._flying.append(self._pool.submit(self._put_part, self._number, self._buffer))
        self._buffer = bytearray()
        self._number += 1

    def _put_part(self, number: int, body: bytearray) -> str:
        answer = self._client.call(
            "upload_part",
            "writing a part",
            expected=("NoSuchUpload",),
            UploadId=self._upload,
            PartNumber=number,
            Body=body,
            ContentMD5=_md5(body),
            **self._where,
        )
        if answer.code:
            raise StorageFault("writing a part: the storage does not know the upload any more")
        return str(answer.data["ETag"])

    def _land(self) -> None:
        self._etags.append(self._flying.popleft().result())

    def _complete(self) -> None:
        """Nobody else knows this upload: when it is gone at a second try, the first completed it and its answer was lost."""
        self._send_part()
        while self._flying:
            self._land()
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, 1)]
        answer = self._client.call(
            "complete_multipart_upload",
            "completing an upload",
            expected=("NoSuchUpload",),
            UploadId=self._upload,
            MultipartUpload={"Parts": parts},
            **self._where,
        )
        if answer.code and answer.attempts == 1:
            raise StorageFault("completing an upload: the storage does not know the upload any more")


def _md5(data: bytearray) -> str:
    """What makes S3 refuse bytes that changed on the way (RFC 1864)."""
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
