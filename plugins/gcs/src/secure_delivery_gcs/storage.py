"""Buckets of Google Cloud Storage as a storage: the customer's own place, with the customer's own service account.

Knows: requests for one blob at a time. Must not know: how connections come about, what files are for.

Nothing is listed, and nothing is read in order to write: a service account that may only create objects is enough to write.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal
from urllib.parse import quote

from secure_delivery.plugin import Dial, NotFound, StorageFault, StorageRefused
from secure_delivery.plugin.answers import answer_headers
from secure_delivery.plugin.reader import Answer, Fetch, open_blob
from secure_delivery.plugin.tries import Judge, Patience, Verdict, again

from . import advice, keys
from .account import Account
from .draft import GcsDraft
from .faults import Answered, judging
from .options import Options

if TYPE_CHECKING:
    from requests import Response

_ACLS = {"private": "private", "public": "publicRead"}
_LONGEST = 604_800  # seconds; what the provider gives a signature at most


class GcsStorage:
    """A `Storage` that is `Placing`, `Receiving`, `Presigned` and `Advising`. Keys are `BUCKET/OBJECT KEY`."""

    def __init__(self, options: Options, dial: Dial, patience: Patience | None = None) -> None:
        self._options = options
        self._account = Account(options, dial, patience or Patience())

    def __repr__(self) -> str:
        return f"GcsStorage({', '.join(self.containers)})"

    @property
    def containers(self) -> tuple[str, ...]:
        return self._options.buckets

    @property
    def readable(self) -> bool:
        return not self._options.write_only

    def create(self, key: str, *, mimetype: str) -> GcsDraft:
        """Begin a blob, with the access that was set up. Makes no request."""
        return self.place(key, mimetype=mimetype)

    def place(self, key: str, *, mimetype: str, access: Literal["private", "public"] | None = None) -> GcsDraft:
        """Begin a blob with its type, and with an access list of its own when one is asked for. Makes no request."""
        return self.hand_over(key, mimetype=mimetype, access=access, headers={})

    def address(self, key: str) -> str:
        """The plain URL of a blob: `https://storage.googleapis.com/BUCKET/KEY`, or below the endpoint that was set up."""
        bucket, name = keys.placed(key, self.containers)
        return f"{self._options.endpoint}/{bucket}/{quote(name, safe='/~')}"

    def hand_over(
        self, key: str, *, mimetype: str, access: Literal["private", "public"] | None, headers: Mapping[str, str]
    ) -> GcsDraft:
        """Like `place`. Headers are metadata of the blob, set as it is created; there is no `Expires`."""
        bucket, name = keys.placed(key, self.containers)
        asked = access or self._options.access
        acl, answers = _ACLS[asked] if asked else None, answer_headers(headers)
        return GcsDraft(self._account, bucket, name, mimetype=mimetype, acl=acl, answers=answers)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length`, of one generation of the blob."""
        bucket, name = keys.placed(key, self.containers)
        self._check_readable()
        return open_blob(self._fetching(bucket, name), start, length)

    def remove(self, key: str) -> None:
        """Delete. A blob that is not there is fine; a bucket that is not there is not."""
        bucket, name = keys.placed(key, self.containers)
        patience = self._account.patience

        def act() -> None:
            self._account.blob(bucket, name).delete(retry=None, timeout=patience.timeout)

        try:
            again(patience, act, judging(f"deleting from bucket {bucket}", blob=True))
        except NotFound:
            return

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A V4 signed URL, good for `GET` and `HEAD`, for at most seven days. Signed here.

        Type and disposition of the answers are part of it. `Cache-Control` cannot be: the provider says what the object has.
        """
        bucket, name = keys.placed(key, self.containers)
        self._check_readable()
        if seconds < 1:
            raise ValueError("a signed URL must last at least one second")
        said = {name.lower(): value for name, value in headers.items()}
        return self._account.sign(
            bucket,
            name,
            method="GET",
            expiration=datetime.timedelta(seconds=min(seconds, _LONGEST)),
            response_type=said.get("content-type"),
            response_disposition=said.get("content-disposition"),
        )

    def advice(self, origins: Sequence[str] = ("*",)) -> Mapping[str, str]:
        """A custom role with the least rights, and the CORS configuration, as `gcloud` takes them."""
        return {"policy": advice.policy(self._options), "cors": advice.cors(origins)}

    def _check_readable(self) -> None:
        if self._options.write_only:
            raise StorageRefused("the storage was set up as one that is only written to")

    def _fetching(self, bucket: str, name: str) -> Fetch:
        judge = judging(f"reading from bucket {bucket}", blob=True)

        def fetch(first: int, last: int | None, generation: str) -> Answer:
            def act() -> Answer:
                # Compressed objects are wanted as they are stored: only then do ranges and lengths fit.
                headers = {"Accept-Encoding": "gzip"}
                if first or last is not None:
                    headers["Range"] = f"bytes={first}-{'' if last is None else last}"
                query = f"&generation={generation}" if generation else ""
                return _answer(self._account.get(bucket, name, query, headers), first)

            return again(self._account.patience, act, _pinned(judge) if generation else judge)

        return fetch


def _answer(response: Response, first: int) -> Answer:
    """From the head of a download. Raises `Answered` when it is another answer than asked for."""
    said = response.headers
    version = said.get("X-Goog-Generation", "")
    if response.status_code == 206:
        total = said.get("Content-Range", "").rpartition("/")[2]
        if total.isdigit():
            return Answer(response.raw, int(total), version)
    if response.status_code == 416:
        response.close()
        return Answer(None, 0, version)
    if response.status_code == 200 and not first and said.get("Content-Length", "").isdigit():
        return Answer(response.raw, int(said["Content-Length"]), version)
    raise Answered.of(response)


def _pinned(judge: Judge) -> Judge:
    """For a request that goes on with a generation: when that is not there, another may be."""

    def stricter(error: Exception) -> Verdict | None:
        verdict = judge(error)
        if verdict is not None and isinstance(verdict.fault, NotFound):
            return Verdict(StorageFault("reading a blob: the version that was being read is gone"))
        return verdict

    return stricter
