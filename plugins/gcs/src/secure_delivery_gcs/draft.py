"""A blob on its way into a bucket: one request when it is small, else a resumable upload, chunk by chunk.

Knows: the two kinds of uploads of the JSON API and their checksums. Must not know: who writes, what keys mean.

Nothing is visible before the last byte was accepted: an upload session that is never finished is dropped by the provider. What
went through is checked both ways: the provider is told the checksum beforehand, and its own is compared afterwards.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from secure_delivery.plugin import SecureDeliveryError, StorageFault
from secure_delivery.plugin.tries import Verdict, again

from .account import Account
from .faults import Answered, judging

CHUNK = 8 << 20  # bytes; a multiple of 256 KiB, as the protocol demands
_CANCEL = (3.0, 3.0)  # seconds for a connection and an answer
#: Headers of answers that are metadata of a blob, by the client library's name for each. `Expires` is none.
_KEPT = {
    "cache-control": "cache_control",
    "content-disposition": "content_disposition",
    "content-language": "content_language",
}
_RANGE = re.compile(r"bytes=0-([0-9]{1,18})")


class GcsDraft:
    """A `Draft`. Holds one chunk in memory, and a copy of it while it is sent.

    `answers` are headers, by their names in lower case, that the blob is to have; those that Google does not keep are left out.
    """

    def __init__(
        self,
        account: Account,
        bucket: str,
        name: str,
        *,
        mimetype: str,
        acl: str | None,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        self._account = account
        self._bucket = bucket
        self._name = name
        self._mimetype = mimetype
        self._acl = acl
        self._answers = dict(answers or {})
        self._buffer = bytearray()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c: Any = None
        self._upload: _Upload | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"GcsDraft({self._bucket!r}, {self._name!r})"

    def write(self, data: bytes) -> None:
        """Append. Sends a chunk whenever there is more than one."""
        self._check_open()
        rest = memoryview(data).cast("B")
        self._md5.update(rest)
        try:
            while rest:
                room = CHUNK - len(self._buffer)
                self._buffer += rest[:room]
                rest = rest[room:]
                if rest:  # the last chunk is kept back: it must say that it is the last
                    self._send_chunk()
        except SecureDeliveryError:
            self.discard()
            raise

    def publish(self) -> None:
        """Make the blob visible. After a fault the key has what it had before, as far as the provider told."""
        self._check_open()
        try:
            if self._upload is None:
                self._put_whole()
            else:
                self._finish(self._upload)
        except SecureDeliveryError:
            self.discard()
            raise
        self._over = True
        self._buffer = bytearray()

    def discard(self) -> None:
        """Give up. A session that cannot be cancelled now ends by itself within a week; it was never visible."""
        if self._over:
            return
        self._over = True
        self._buffer = bytearray()
        if self._upload is not None:
            self._upload.cancel()

    def _check_open(self) -> None:
        if self._over:
            raise StorageFault("the draft was published or discarded before")

    def _blob(self) -> Any:
        blob = self._account.blob(self._bucket, self._name)
        if self._account.options.storage_class:
            blob.storage_class = self._account.options.storage_class
        for header, kept in _KEPT.items():
            if header in self._answers:
                setattr(blob, kept, self._answers[header])
        return blob

    def _put_whole(self) -> None:
        data = bytes(self._buffer)

        def act() -> None:
            self._blob().upload_from_string(
                data,
                content_type=self._mimetype,
                predefined_acl=self._acl,
                checksum="md5",
                retry=None,
                timeout=self._account.patience.timeout,
            )

        again(self._account.patience, act, judging(f"writing to bucket {self._bucket}", blob=False))

    def _send_chunk(self) -> None:
        if self._upload is None:
            self._upload = self._begin()
        chunk = bytes(self._buffer)
        self._sum(chunk)
        self._buffer.clear()
        self._upload.send(chunk)

    def _begin(self) -> _Upload:
        def act() -> str:
            url: str = self._blob().create_resumable_upload_session(
                content_type=self._mimetype,
                predefined_acl=self._acl,
                checksum=None,
                retry=None,
                timeout=self._account.patience.timeout,
            )
            return url

        doing = f"writing to bucket {self._bucket}"
        return _Upload(self._account, again(self._account.patience, act, judging(doing, blob=False)), doing)

    def _sum(self, chunk: bytes) -> None:
        if self._crc32c is None:
            import google_crc32c

            checksum: Any = google_crc32c.Checksum
            self._crc32c = checksum()
        self._crc32c.update(chunk)

    def _finish(self, upload: _Upload) -> None:
        chunk = bytes(self._buffer)
        self._sum(chunk)
        stored = upload.finish(chunk, base64.b64encode(self._crc32c.digest()).decode())
        kept = stored.get("md5Hash")
        if kept and kept != base64.b64encode(self._md5.digest()).decode():
            self._withdraw(stored.get("generation"))
            raise StorageFault(f"writing to bucket {self._bucket}: bytes were changed on the way")

    def _withdraw(self, generation: object) -> None:
        """Remove what was stored wrongly, where the credentials allow it, and only that."""
        if not isinstance(generation, str) or not generation.isdigit():
            return
        blob = self._account.blob(self._bucket, self._name)
        with contextlib.suppress(Exception):  # the fault that is raised next says what matters
            blob.delete(if_generation_match=int(generation), retry=None, timeout=self._account.patience.timeout)


class _Upload:
    """One upload session. Its URL is a credential: never shown, never logged."""

    def __init__(self, account: Account, url: str, doing: str) -> None:
        self._account = account
        self._url = url
        self._doing = doing
        self._sent = 0

    def send(self, chunk: bytes) -> None:
        """A chunk with more to come."""
        self._transmit(chunk, None, {})

    def finish(self, chunk: bytes, crc32c: str) -> dict[str, Any]:
        """The last chunk, which may be empty; what the provider says of the blob. It checks the sum before it publishes."""
        return self._transmit(chunk, self._sent + len(chunk), {"X-Goog-Hash": f"crc32c={crc32c}"})

    def cancel(self) -> None:
        with contextlib.suppress(Exception):  # nobody waits for it: the provider drops the session in any case
            self._account.session("DELETE", self._url, data=b"", timeout=_CANCEL).close()

    def _transmit(self, chunk: bytes, total: int | None, headers: dict[str, str]) -> dict[str, Any]:
        start, end = self._sent, self._sent + len(chunk)
        place = start
        unsure = False

        def act() -> dict[str, Any]:
            nonlocal place, unsure
            if unsure:
                stored, place = self._ask(total, headers)
                if stored is not None:
                    return stored
            unsure = True
            while True:
                if not start <= place <= end:
                    raise StorageFault(f"{self._doing}: the storage lost a part of the upload")
                before = place
                stored, place = self._put(chunk[place - start :], place, total, headers)
                if stored is not None:
                    return stored
                if total is None and place == end:
                    return {}
                if place <= before:
                    raise Answered(503)

        stored = again(self._account.patience, act, self._judge)
        self._sent = end
        return stored

    def _put(self, data: bytes, place: int, total: int | None, headers: dict[str, str]) -> tuple[dict[str, Any] | None, int]:
        span = f"{place}-{place + len(data) - 1}" if data else "*"
        said = {"Content-Range": f"bytes {span}/{'*' if total is None else total}", **headers}
        return self._answer(self._account.session("PUT", self._url, data=data, headers=said), total)

    def _ask(self, total: int | None, headers: dict[str, str]) -> tuple[dict[str, Any] | None, int]:
        """How far the storage has come, after something went wrong. With everything there it publishes: the sum goes along."""
        said = {"Content-Range": f"bytes */{'*' if total is None else total}", **headers}
        return self._answer(self._account.session("PUT", self._url, data=b"", headers=said), total)

    def _answer(self, response: Any, total: int | None) -> tuple[dict[str, Any] | None, int]:
        """What is stored, or how many bytes are there so far."""
        if response.status_code == 308:
            found = _RANGE.fullmatch(response.headers.get("Range", ""))
            return None, int(found[1]) + 1 if found else 0
        if response.status_code not in (200, 201) or total is None:
            raise Answered.of(response)
        try:
            stored = response.json()
        except ValueError:
            stored = {}
        return stored if isinstance(stored, dict) else {}, total

    def _judge(self, error: Exception) -> Verdict | None:
        if isinstance(error, Answered) and error.status in (404, 410):
            return Verdict(StorageFault(f"{self._doing}: the storage dropped the upload"))
        verdict = judging(self._doing, blob=False)(error)
        if verdict is not None and isinstance(error, Answered) and error.status == 400:
            return Verdict(verdict.fault)  # wrong bytes are in the session: sending others after them mends nothing
        return verdict
