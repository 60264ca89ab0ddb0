"""Containers of Azure Blob Storage as a storage: the customer's own place, with the customer's own credentials.

Knows: requests for one blob at a time. Must not know: how connections come about, what files are for.

Nothing is listed, and nothing is read in order to write: a shared access signature to create and write is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal
from urllib.parse import quote

from secure_delivery.plugin import BadRequest, Dial, NotFound, StorageFault, StorageRefused
from secure_delivery.plugin.answers import answer_headers
from secure_delivery.plugin.reader import Answer, Fetch, open_blob
from secure_delivery.plugin.tries import Judge, Patience, Verdict, again

from . import advice, keys
from .account import Account
from .draft import AzureDraft
from .faults import Answered, judging
from .options import Options

if TYPE_CHECKING:
    from requests import Response


class AzureStorage:
    """A `Storage` that is `Placing`, `Receiving` and `Advising`. Keys are `CONTAINER/BLOB NAME`."""

    def __init__(self, options: Options, dial: Dial, patience: Patience | None = None) -> None:
        self._options = options
        self._account = Account(options, dial, patience or Patience())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._options.account!r}, {', '.join(self.containers)})"

    @property
    def containers(self) -> tuple[str, ...]:
        return self._options.containers

    @property
    def readable(self) -> bool:
        return not self._options.write_only

    def create(self, key: str, *, mimetype: str) -> AzureDraft:
        """Begin a blob. Makes no request."""
        return self.place(key, mimetype=mimetype)

    def place(self, key: str, *, mimetype: str, access: Literal["private", "public"] | None = None) -> AzureDraft:
        """Begin a blob with its type. Makes no request.

        Blobs have no access of their own here, their container has. `private` is what containers are unless they were
        opened; for `public` there is nothing to do that would make it true, so it is refused by `BadRequest`.
        """
        return self.hand_over(key, mimetype=mimetype, access=access, headers={})

    def address(self, key: str) -> str:
        """The plain URL of a blob: `https://ACCOUNT.blob.core.windows.net/CONTAINER/NAME`, or below the endpoint that was set
        up. It never has the shared access signature."""
        container, name = keys.placed(key, self.containers)
        return f"{self._options.endpoint}/{container}/{quote(name, safe='/~')}"

    def hand_over(
        self, key: str, *, mimetype: str, access: Literal["private", "public"] | None, headers: Mapping[str, str]
    ) -> AzureDraft:
        """Like `place`. Headers are properties of the blob, set as it is written; there is no `Expires`."""
        container, name = keys.placed(key, self.containers)
        if access == "public":
            raise BadRequest(public="In this storage the container decides who may read: leave `access` out.")
        return AzureDraft(self._account, container, name, mimetype=mimetype, answers=answer_headers(headers))

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A seekable stream of bytes `start` to `start + length`, of one version of the blob."""
        container, name = keys.placed(key, self.containers)
        self._check_readable()
        return open_blob(self._fetching(container, name), start, length)

    def remove(self, key: str) -> None:
        """Delete, with its snapshots. A blob that is not there is fine; a container that is not there is not."""
        container, name = keys.placed(key, self.containers)
        blob = self._account.blob(container, name)

        def act() -> None:
            blob.delete_blob(delete_snapshots="include")

        try:
            again(self._account.patience, act, judging(f"deleting from container {container}"))
        except NotFound:
            return

    def advice(self, origins: Sequence[str] = ("*",)) -> Mapping[str, str]:
        """The shared access signature with the least rights, and the CORS rule, as `az` takes them."""
        return {"policy": advice.policy(self._options), "cors": advice.cors(self._options, origins)}

    def _check_readable(self) -> None:
        if self._options.write_only:
            raise StorageRefused("the storage was set up as one that is only written to")

    def _fetching(self, container: str, name: str) -> Fetch:
        judge = judging(f"reading from container {container}")

        def fetch(first: int, last: int | None, version: str) -> Answer:
            def act() -> Answer:
                headers = {"Accept-Encoding": "identity"}
                if first or last is not None:
                    headers["Range"] = f"bytes={first}-{'' if last is None else last}"
                if version:
                    headers["If-Match"] = version
                return _answer(self._account.get(container, name, headers), first)

            return again(self._account.patience, act, _pinned(judge) if version else judge)

        return fetch


class SigningAzureStorage(AzureStorage):
    """With an account key it is `Presigned` too. With a shared access signature it is not: that one would be given away."""

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A URL with a shared access signature for `GET` and `HEAD` of this blob. Signed here."""
        container, name = keys.placed(key, self.containers)
        self._check_readable()
        if seconds < 1:
            raise ValueError("a signed URL must last at least one second")
        said = {name.lower(): value for name, value in headers.items()}
        token = self._account.sign(
            container,
            name,
            seconds,
            content_type=said.get("content-type"),
            content_disposition=said.get("content-disposition"),
            cache_control=said.get("cache-control"),
        )
        return f"{self._account.blob(container, name).url}?{token}"


def connect(options: Options, dial: Dial, patience: Patience | None = None) -> AzureStorage:
    """The storage that has what these options allow."""
    return (SigningAzureStorage if options.key else AzureStorage)(options, dial, patience)


def _answer(response: Response, first: int) -> Answer:
    """From the head of a download. Raises `Answered` when it is another answer than asked for."""
    said = response.headers
    version = said.get("ETag", "")
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
    """For a request that goes on with a version: when that is not there, another may be."""

    def stricter(error: Exception) -> Verdict | None:
        verdict = judge(error)
        if verdict is not None and isinstance(verdict.fault, NotFound):
            return Verdict(StorageFault("reading a blob: the version that was being read is gone"))
        return verdict

    return stricter
