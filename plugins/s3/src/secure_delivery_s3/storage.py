"""Blobs as objects of S3 buckets: those of an application's owner, and the server's own.

Knows: keys, what is asked of S3 for each method of the protocols. Must not know: botocore (the first request loads it), files
and policies of the server.

Writing sends `PUT`, `POST` and `DELETE` (of an upload given up), never `GET`, `HEAD` or a listing: credentials that may only
write are enough.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from secure_delivery.plugin import BadRequest, Dial, StorageFault, StorageRefused
from secure_delivery.plugin.answers import answer_headers

from .advice import cors_rules, least_rights
from .draft import S3Draft
from .options import S3Options
from .patience import Patience
from .reading import S3Reader

if TYPE_CHECKING:
    from .client import Client

Access = Literal["private", "public"] | None

_SERVER_KEY = re.compile(r"(?:[a-z0-9]{1,64}/){0,2}[a-z0-9]{8,64}")
_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_KEY = 1024  # bytes of UTF-8
_LONGEST_URL = 7 * 24 * 3600  # seconds: what signature version 4 admits
_BUFFER = 1 << 17  # bytes a reader asks of the connection at once
_ANSWERS = {
    "content-type": "ResponseContentType",
    "content-disposition": "ResponseContentDisposition",
    "cache-control": "ResponseCacheControl",
}
#: What an object is stored with for its later answers; `Expires` is a date there.
_STORED = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-language": "ContentLanguage",
    "expires": "Expires",
}
#: Codes for an upload in parts that its sender got wrong, and what to tell them.
_PARTS = {
    "InvalidPart": "A part is missing, or is not the one that was sent.",
    "InvalidPartOrder": "The parts are not in order.",
    "EntityTooSmall": "A part is smaller than it may be.",
    "EntityTooLarge": "The file is larger than the storage takes.",
    "MalformedXML": "The list of parts is not valid.",
    "NoSuchUpload": "There is no such upload, or it is over.",
}


class _Buckets:
    """What both storages do, given where a key is."""

    def __init__(self, options: S3Options, dial: Dial, patience: Patience | None = None) -> None:
        self._options = options
        self._dial = dial
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._made: Client | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._options.buckets[0]!r})"

    def _client(self) -> Client:
        made = self._made
        if made is None:
            with self._lock:
                if self._made is None:
                    from .client import Client

                    self._made = Client(self._options, self._dial, self._patience)
                made = self._made
        return made

    def _where(self, key: str) -> dict[str, str]:
        """Bucket and object key, as arguments of botocore."""
        raise NotImplementedError

    def close(self) -> None:
        """Close connections that wait. The storage can be used again."""
        with self._lock:
            if self._made is not None:
                self._made.close()

    # -- Storage

    def create(self, key: str, *, mimetype: str) -> S3Draft:
        """Begin a blob. Nothing is sent before it is longer than a part, or published."""
        return self._draft(key, mimetype, None)

    def _draft(self, key: str, mimetype: str, access: Access, stored: Mapping[str, Any] | None = None) -> S3Draft:
        where = self._where(key)
        return S3Draft(self._client(), where, {**self._headers(mimetype, access), **(stored or {})})

    def _headers(self, mimetype: str, access: Access) -> dict[str, str]:
        """What a new object is given. An ACL goes along for public objects only: private is what an object is without one,
        and buckets without ACLs, as new ones are, refuse every request that has one."""
        given = self._options.headers()
        given["ContentType"] = mimetype if _TYPE.fullmatch(mimetype) else "application/octet-stream"
        if access == "public" or (access is None and self._options.public):
            given["ACL"] = "public-read"
        return given

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """A stream of one version of the object: when the connection breaks it is continued, or fails if the object changed."""
        if start < 0 or (length is not None and length < 0):
            raise ValueError("start and length of a read must not be negative")
        self._must_be_readable()
        reader = S3Reader(self._client(), self._where(key), start, length)
        return cast(BinaryIO, io.BufferedReader(reader, _BUFFER))

    def remove(self, key: str) -> None:
        """Delete. In a bucket with versions the older ones stay, as its owner wanted."""
        self._client().call("delete_object", "deleting", expected=("NoSuchKey", "404"), **self._where(key))

    def _must_be_readable(self) -> None:
        if self._options.write_only:
            raise StorageRefused("the storage is write-only", public="The storage of this application can only be written to.")

    # -- Presigned

    def presigned_url(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A URL for `GET`; the signature covers the method, so `HEAD` is refused. At most seven days."""
        self._must_be_readable()
        answers = {_ANSWERS.get(name.lower(), ""): value for name, value in headers.items()}
        if "" in answers or any(_CONTROL.search(value) for value in answers.values()):
            raise ValueError(f"an answer can be given {', '.join(_ANSWERS)}")
        return self._client().presign("get_object", _bounded(seconds), **self._where(key), **answers)

    # -- Multipart

    @property
    def part_sizes(self) -> tuple[int, int]:
        """5 MiB and 5 GiB."""
        return 5 << 20, 5 << 30

    def begin_parts(self, key: str, *, mimetype: str, access: Access = None) -> str:
        headers = self._headers(mimetype, access)
        answer = self._client().call("create_multipart_upload", "beginning an upload", **self._where(key), **headers)
        return str(answer.data["UploadId"])

    def part_url(
        self, key: str, upload: str, number: int, *, size: int, md5: str | None, seconds: int
    ) -> tuple[str, Mapping[str, str]]:
        """Length and checksum are part of the signature. Clients give the length themselves, browsers let nobody else."""
        if not 1 <= number <= 10_000:
            raise BadRequest(f"part {number}", public="Parts are numbered from 1 to 10000.")
        more = {"UploadId": upload, "PartNumber": number, "ContentLength": size} | ({} if md5 is None else {"ContentMD5": md5})
        url = self._client().presign("upload_part", _bounded(seconds), **self._where(key), **more)
        return url, {} if md5 is None else {"Content-MD5": md5}

    def finish_parts(self, key: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Complete. An upload that is gone at a second try was completed by the first, whose answer was lost."""
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(parts)]
        answer = self._client().call(
            "complete_multipart_upload",
            "completing an upload",
            expected=_PARTS,
            UploadId=upload,
            MultipartUpload={"Parts": listed},
            **self._where(key),
        )
        if answer.code and not (answer.code == "NoSuchUpload" and answer.attempts > 1):
            raise BadRequest(f"completing an upload: {answer.code}", public=_PARTS[answer.code])

    def abort_parts(self, key: str, upload: str) -> None:
        self._client().call(
            "abort_multipart_upload",
            "aborting an upload",
            expected=("NoSuchUpload", "404"),
            UploadId=upload,
            **self._where(key),
        )

    # -- Advising

    def advice(self, origins: Sequence[str] = ("*",)) -> Mapping[str, str]:
        """`policy`: for the user whose access key this is; `cors`: for each bucket."""
        return {"policy": least_rights(self._options), "cors": cors_rules(self._options, origins)}


class S3Storage(_Buckets):
    """Buckets of an application's owner: `Storage`, `Placing`, `Receiving`, `Presigned`, `Multipart`, `Advising`.

    Keys are `BUCKET/OBJECT KEY`; a bucket that is not among the options is `StorageRefused`, a key that S3 would not take as it
    is, or that a path could be climbed with, `BadRequest`.
    """

    @property
    def containers(self) -> tuple[str, ...]:
        return self._options.buckets

    @property
    def readable(self) -> bool:
        return not self._options.write_only

    def place(self, key: str, *, mimetype: str, access: Access = None) -> S3Draft:
        return self._draft(key, mimetype, access)

    def address(self, key: str) -> str:
        """The plain URL of an object, in the style of the options. A bucket whose name no certificate would cover is in the
        path in either."""
        where = self._where(key)
        return self._client().address(**where)

    def hand_over(self, key: str, *, mimetype: str, access: Access, headers: Mapping[str, str]) -> S3Draft:
        """Like `place`. Headers are stored with the object, in one request or in parts: the right to put it covers them."""
        given = answer_headers(headers)
        stored = {_STORED[name]: _date(value) if name == "expires" else value for name, value in given.items()}
        return self._draft(key, mimetype, access, stored)

    def _where(self, key: str) -> dict[str, str]:
        bucket, _, name = key.partition("/")
        if bucket not in self._options.buckets:
            raise StorageRefused(f"no bucket {bucket[:80]!r} is set up", public="This storage has no such container.")
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            size = 0
        segments = name.split("/")
        if not 1 <= size <= _LONGEST_KEY or _CONTROL.search(name) or any(one in ("", ".", "..") for one in segments):
            raise BadRequest(f"not an object key: {name[:80]!r}", public="The path is not one that the storage takes.")
        return {"Bucket": bucket, "Key": name}


class ServerStorage(_Buckets):
    """The server's own bucket: `Storage`, `Presigned`, `Multipart`, `Advising`, for keys that the server makes."""

    def __init__(self, options: S3Options, dial: Dial, patience: Patience | None = None, *, prefix: str = "") -> None:
        super().__init__(options, dial, patience)
        self._prefix = f"{prefix}/" if prefix else ""

    def _where(self, key: str) -> dict[str, str]:
        if not isinstance(key, str) or not _SERVER_KEY.fullmatch(key):
            raise StorageFault(f"not a storage key: {str(key)[:80]!r}")
        return {"Bucket": self._options.buckets[0], "Key": self._prefix + key}


def _date(text: str) -> datetime:
    """An `Expires`, in UTC. What is no date means the past (RFC 9111 section 5.3), and is sent as the oldest date there is."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return datetime.fromtimestamp(0, UTC)


def _bounded(seconds: int) -> int:
    if seconds < 1:
        raise ValueError("a URL that has ended already")
    return min(seconds, _LONGEST_URL)
