"""Stored files: taking them in, handing them out, overwriting and removing them.

Knows: records and storages. Must not know: HTTP, policies, pictures.

An upload is a draft until it is published: counted and hashed while it streams, judged again by the caller with its real
size, then made visible by the storage and only then recorded. Whatever ends it early leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from ..gate.errors import BadRequest, NotFound, SecureDeliveryError, StorageFault, TooLarge
from ..gate.model import Application
from ..plugin.protocols import Draft, Event, Storage
from .records import Blob, FileLink, Records, new_handle
from .rendition_store import RenditionStore, application_folder, folder_of
from .types import HEAD, sniff

logger = logging.getLogger("secure_delivery.engine")

MAX_NAME = 255  # bytes of UTF-8; what file systems and browsers take
#: Characters that make a name look like another one: Unicode categories of controls, formats (text direction included),
#: surrogates, and separators of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_name(name: str | None, default: str = "file") -> str:
    """A file name as data: without folders, control and direction characters, at most 255 bytes (security promise 55)."""
    text = unicodedata.normalize("NFC", name or "").replace("\\", "/").rpartition("/")[2]
    text = "".join(character for character in text if unicodedata.category(character) not in _UNSEEN).strip()
    if text in ("", ".", ".."):
        return default
    while len(text.encode()) > MAX_NAME:
        stem, dot, extension = text.rpartition(".")
        keeps_extension = dot and len(extension) <= 16 and len(stem) > 1
        text = f"{stem[:-1]}.{extension}" if keeps_extension else text[:-1]
    return text


def effective_path(path: str | None) -> str:
    """The path that policies are judged on: absolute, without the marks that would make it mean another one.

    Without a path a file goes to the root under a name the server makes. Raises `BadRequest` for one that two readers could
    take for different ones.
    """
    if not path:
        return "/"
    text = "/" + path.lstrip("/")
    if len(text) > 1024 or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise BadRequest("bad path", public="The path is too long or holds control characters.")
    if "\\" in text or "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise BadRequest("bad path", public="The path holds empty or dot segments, or backslashes.")
    return text


def new_key() -> str:
    """A storage key made by the server: 160 random bits, never anything a client sent (CVE-2026-33195)."""
    return secrets.token_hex(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an upload says about itself: its name and type, and where the customer wants it."""

    filename: str = "file"
    mimetype: str | None = None
    container: str | None = None
    path: str | None = None


class Upload:
    """One file on its way in. `write` it, then `publish` or `discard`; leaving the `with` block discards what is not
    published."""

    def __init__(self, draft: Draft, blob: Blob, target: Target, limit: int) -> None:
        self.target = target
        self.blob = blob
        self.size = 0
        self._draft = draft
        self._limit = limit
        self._digest = hashlib.sha256()
        self._head = b""

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.discard()

    def write(self, data: bytes) -> None:
        """Append. Raises `TooLarge` as soon as there are more bytes than the limit, and what the storage raises."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(f"more than {self._limit} bytes")
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        self._digest.update(data)
        self._draft.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def mimetype(self) -> str:
        """The type by content, whatever the client said (security promise 44)."""
        return sniff(self._head, self.target.filename)

    def publish(self) -> None:
        """Make the bytes durable and visible in the storage. Nothing refers to them yet."""
        self._draft.publish()


class Files:
    """The files of all applications.

    `storages` by name; new files go to `default`. `renditions` keeps what is made of files, which goes with them. `notify` is
    told of each change after it is durable. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        records: Records,
        storages: Mapping[str, Storage],
        *,
        default: str,
        renditions: RenditionStore,
        notify: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._storages = storages
        self._default = default
        self._renditions = renditions
        self._notify = notify
        self._clock = clock
        self._known: dict[str, tuple[object, FileLink]] = {}

    def storage(self, name: str) -> Storage:
        """The storage of that name. Raises `StorageFault` when its plugin is gone."""
        try:
            return self._storages[name]
        except KeyError:
            raise StorageFault(f"no installed plugin provides the storage {name!r}") from None

    def find(self, handle: str) -> FileLink:
        """The file with this handle. Raises `NotFound`.

        Remembered until any process overwrites or removes a file, so that a hot file costs no query.
        """
        token = self._records.generation()
        known = self._known.get(handle)
        if known is not None and known[0] == token:
            return known[1]
        link = self._records.file(handle)
        if link is None:
            self._known.pop(handle, None)
            raise NotFound(f"no file {handle!r}")
        if len(self._known) >= 4096:
            self._known.clear()
        self._known[handle] = (token, link)
        return link

    def begin(self, application: Application, target: Target, *, limit: int | None = None) -> Upload:
        """Begin to take a file in. `limit` bounds its bytes below the application's own limit."""
        bound = application.limits.max_bytes if limit is None else min(limit, application.limits.max_bytes)
        blob = Blob(self._default, new_key())
        draft = self.storage(blob.storage).create(blob.key, mimetype=target.mimetype or "application/octet-stream")
        return Upload(draft, blob, target, bound)

    def add(self, application: Application, upload: Upload) -> FileLink:
        """Publish an upload under a new handle and record it. Raises what the storage and the database raise; then
        nothing of it remains."""
        self._check_not_empty(upload)
        link = FileLink(  # before anything is visible: it refuses texts that no database takes
            handle=new_handle(),
            application=application.api_key,
            filename=upload.target.filename,
            mimetype=upload.mimetype,
            size=upload.size,
            storage=upload.blob.storage,
            key=upload.blob.key,
            container=upload.target.container,
            path=upload.target.path,
            sha256=upload.sha256,
            uploaded=int(self._clock() * 1000),
        )
        upload.publish()
        try:
            self._records.add_file(link)
        except Exception:
            self._drop(upload.blob)
            raise
        self._tell("fp.upload", link)
        return link

    def overwrite(self, link: FileLink, upload: Upload) -> FileLink:
        """Put an upload in the place of a file's content. The handle stays; results made of the old content go.

        Readers of the old content keep it to its end. Raises `Busy` when another overwrite was quicker.
        """
        self._check_not_empty(upload)
        upload.publish()
        fresh = replace(
            link,
            mimetype=upload.mimetype,
            size=upload.size,
            storage=upload.blob.storage,
            key=upload.blob.key,
            sha256=upload.sha256,
            uploaded=int(self._clock() * 1000),
            version=link.version + 1,
        )
        try:
            old = self._records.replace_file(link.handle, fresh)
        except Exception:
            self._drop(upload.blob)
            raise
        self._forget_results(folder_of(link.application, link.handle, link.sha256))
        self.discard([old.blob])
        self._tell("fp.overwrite", fresh)
        return fresh

    def remove(self, link: FileLink, *, keep_blob: bool = False) -> None:
        """Forget a file and delete its bytes and everything made of them. Raises `NotFound`.

        `keep_blob` leaves the object in the customer's storage (`skip_storage` of the File API).
        """
        removed = self._records.remove_file(link.handle, application=link.application, keep_blob=keep_blob)
        self._forget_results(folder_of(removed.application, removed.handle, removed.sha256))
        if not keep_blob:
            self.discard([removed.blob])
        self._tell("fp.delete", removed)

    def remove_application(self, api_key: str) -> None:
        """Delete an application with its secrets and files, and everything made of them. Raises `NotFound`."""
        blobs = self._records.delete_application(api_key)
        self._forget_results(application_folder(api_key))
        self.discard(blobs)

    def open(self, link: FileLink, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of a file from `start`, at most `length`. Raises `NotFound`, `StorageFault`."""
        return self.storage(link.storage).open(link.key, start=start, length=length)

    def discard(self, blobs: Sequence[Blob]) -> None:
        """Delete bytes that nothing refers to any more, as `Records.blobs_to_delete` has them. What a storage cannot delete
        now stays on that list, for the next start."""
        self._records.blobs_deleted([blob for blob in blobs if self._drop(blob)])

    def sweep(self) -> int:
        """Delete what should have been deleted before a crash, or when a storage failed; returns how many blobs."""
        count, last = 0, None
        while blobs := self._records.blobs_to_delete(after=last):
            deleted = [blob for blob in blobs if self._drop(blob)]
            self._records.blobs_deleted(deleted)
            count, last = count + len(deleted), blobs[-1]
        return count

    def _drop(self, blob: Blob) -> bool:
        """Delete bytes; whether that went well. A storage that fails now is logged."""
        try:
            self.storage(blob.storage).remove(blob.key)
        except SecureDeliveryError as fault:
            logger.error("blob %s in storage %s could not be deleted: %s", blob.key, blob.storage, fault)
            return False
        return True

    def _forget_results(self, folder: str) -> None:
        """Delete what was made of files that are recorded as gone or others already; so a failure must not undo that."""
        try:
            self._renditions.purge(folder)
        except OSError as error:
            logger.error("results in %s could not be deleted: %s", folder, error.strerror)

    @staticmethod
    def _check_not_empty(upload: Upload) -> None:
        if upload.size == 0:
            raise BadRequest("an empty file", public="The file is empty.")

    def _tell(self, name: str, link: FileLink) -> None:
        data = {
            "handle": link.handle,
            "filename": link.filename,
            "type": link.mimetype,
            "size": link.size,
            "container": link.container,
            "key": link.key,
        }
        with suppress(Exception):  # listeners are fenced by the registry; a file that is stored is stored
            self._notify(Event(name=name, application=link.application, data=data))
