"""Stored files: taking them in, handing them out, overwriting and removing them.

Knows: records and storages. Must not know: HTTP, policies, pictures.

An upload is a draft until it is published: counted and hashed while it streams, judged again by the caller with its real
size, then made visible by the storage and only then recorded. Whatever ends it early leaves nothing behind.

Bytes that an application has already are not kept twice: the new file shares them, and they go with the last file that does.
Only within one application: from how fast an upload is, nobody is to learn what others have.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

from ..gate.errors import (
    BadRequest,
    Held,
    Infected,
    NotFound,
    NotProvided,
    QuotaExceeded,
    SecureDeliveryError,
    StorageFault,
    Unsupported,
)
from ..gate.model import Application
from ..plugin.protocols import Event, Placing, Scanner, Storage
from .incoming import Development, Target, Upload, check_type, new_key, object_key
from .names import MAX_NAME, clean_name, effective_path
from .records import Blob, FileLink, Records, new_handle
from .rendition_store import RenditionStore, application_folder, folder_of
from .storages import Room, Storages

__all__ = ["MAX_NAME", "Development", "Files", "Target", "Upload", "clean_name", "effective_path", "new_key"]

logger = logging.getLogger("secure_delivery.engine")

_PIECE = 1 << 20


class _Stored:
    """A stored file as `Media`, for scanners."""

    def __init__(self, link: FileLink, files: Files) -> None:
        self._link = link
        self._files = files
        self.mimetype = link.mimetype
        self.filename = link.filename
        self.size: int | None = link.size

    def open(self) -> BinaryIO:
        return self._files.open(self._link)


class Files:
    """The files of all applications.

    `renditions` keeps what is made of files, which goes with them. `notify` is told of each change after it is durable.
    `clock` gives seconds since the epoch; `scanners` judge what applications want judged.
    """

    def __init__(
        self,
        records: Records,
        storages: Storages,
        *,
        renditions: RenditionStore,
        notify: Callable[[Event], None],
        clock: Callable[[], float],
        scanners: Mapping[str, Scanner] | None = None,
        development: Development | None = None,
    ) -> None:
        self._records = records
        self.storages = storages
        self._renditions = renditions
        self._notify = notify
        self._clock = clock
        self._scanners = scanners or {}
        self.development = development or Development()
        self._known: dict[str, tuple[object, FileLink]] = {}

    def storage(self, name: str) -> Storage:
        """The storage that a record names. Raises `StorageFault` when its plugin is gone."""
        return self.storages.get(name)

    # -- finding

    def find(self, handle: str, *, held: bool = False) -> FileLink:
        """The file with this handle. Raises `NotFound`, and `Held` while scanners have to judge it unless `held` is accepted.

        Remembered until any process overwrites or removes a file, so that a hot file costs no query.
        """
        token = self._records.generation()
        known = self._known.get(handle)
        if known is not None and known[0] == token:
            link = known[1]
        else:
            found = self._records.file(handle)
            if found is None:
                self._known.pop(handle, None)
                raise NotFound(f"no file {handle!r}")
            link = found
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[handle] = (token, link)
        if link.removed is not None or (link.expires is not None and link.expires <= self._clock() * 1000):
            raise NotFound(f"the file {handle!r} was removed or has expired")
        if link.held is not None and not held:
            raise Held(f"{handle} waits for a scanner")
        return link

    # -- taking in

    def room(self, application: Application, target: Target) -> Room:
        """Where a file would go. Raises `BadRequest` for a storage or container that the application does not have."""
        return self.storages.room(application, target.storage, target.container, target.path)

    def begin(
        self,
        application: Application,
        target: Target,
        *,
        limit: int | None = None,
        over: FileLink | None = None,
        room: Room | None = None,
    ) -> Upload:
        """Begin to take a file in, or new content of the file `over`. `limit` bounds its bytes below the application's own
        limit; `room` is where it goes, when that was decided before.

        Raises `QuotaExceeded` where only the development storage is left and full, `NotProvided` where scanners are wanted and
        none is installed, `BadRequest` for a place that the application does not have, and what the storage raises.
        """
        if application.scan and not self._scanners:
            raise NotProvided("the application wants scanners, and none is installed", public="No scanner is installed.")
        if over is not None:
            room = self._room_of(application, over)
        room = room or self.room(application, target)
        bound = application.limits.max_bytes if limit is None else min(limit, application.limits.max_bytes)
        bound = self._within_quota(application, room, bound, over)
        storage = self.storage(room.storage)
        declared = target.mimetype or "application/octet-stream"
        if isinstance(storage, Placing):
            if application.scan and not storage.readable:
                raise NotProvided("a storage that only takes cannot be scanned", public="Files there cannot be scanned.")
            key = over.key if over is not None else f"{room.container}/{object_key(room.path, target.filename)}"
            self._records.blobs_deleted([Blob(room.storage, key)])  # a deletion that waits must not hit the new object
            draft = storage.place(key, mimetype=declared, access=target.access)
        else:
            key = new_key()
            draft = storage.create(key, mimetype=declared)
        return Upload(draft, Blob(room.storage, key), target, bound, application, room)

    def _room_of(self, application: Application, link: FileLink) -> Room:
        return Room(
            storage=link.storage,
            container=link.container or link.storage,
            path=link.path,
            development=self.storages.is_lent(application, link.storage),
            placing=self.storages.is_placing(link.storage),
        )

    def _within_quota(self, application: Application, room: Room, bound: int, over: FileLink | None) -> int:
        """The bytes that may still come, where the room is only lent. Raises `QuotaExceeded` when there is none."""
        if not room.development or not self.development.quota:
            return bound
        left = self.development.quota - self._records.used(application.api_key, room.storage)[1] + (over.size if over else 0)
        if left <= 0:
            raise QuotaExceeded(f"{application.api_key} has used its development storage")
        return min(bound, left)

    def add(self, application: Application, upload: Upload, *, handle: str | None = None) -> FileLink:
        """Publish an upload under a new handle, or one that was reserved for it, and record it.

        Raises what the storage and the database raise; then nothing of it remains. Where scanners are wanted, they judge it
        before this returns: `Infected` means it is gone; a scanner that does not answer leaves it held.
        """
        self._check(upload)
        link = self._link(
            application,
            upload.target,
            upload.room,
            upload.blob,
            size=upload.size,
            sha256=upload.sha256,
            mimetype=upload.mimetype,
            handle=handle,
        )
        twin = None if upload.room.placing else self._twin(link)
        if twin is not None:
            copy = replace(link, storage=twin.storage, key=twin.key)
            if self._records.add_copy(copy, of=twin):
                upload.discard()
                return self._added(copy)
        upload.publish()
        return self._recorded(link)

    def adopt(
        self,
        application: Application,
        target: Target,
        room: Room,
        key: str,
        *,
        size: int,
        sha256: str,
        mimetype: str,
        handle: str | None = None,
    ) -> FileLink:
        """Record a file that its storage took by itself, in parts. `sha256` names its content. Raises `Unsupported` for a type
        that the application does not take; the object is deleted then."""
        blob = Blob(room.storage, key)
        try:
            check_type(application, mimetype)
        except Unsupported:
            self._drop_unshared(blob)
            raise
        link = self._link(application, target, room, blob, size=size, sha256=sha256, mimetype=mimetype, handle=handle)
        return self._recorded(link)

    def _twin(self, link: FileLink) -> FileLink | None:
        """A file of the application with the same bytes in the same storage, which are really there."""
        twin = self._records.same_bytes(link.application, link.storage, link.sha256, link.size)
        if twin is None:
            return None
        try:
            self.storage(twin.storage).open(twin.key, length=1).close()
        except SecureDeliveryError:
            return None
        return twin

    def _link(
        self,
        application: Application,
        target: Target,
        room: Room,
        blob: Blob,
        *,
        size: int,
        sha256: str,
        mimetype: str,
        handle: str | None = None,
    ) -> FileLink:
        """The record of a new file. Made before anything is visible: it refuses texts that no database takes."""
        now = int(self._clock() * 1000)
        return FileLink(
            handle=handle or new_handle(),
            application=application.api_key,
            filename=target.filename,
            mimetype=mimetype,
            size=size,
            storage=blob.storage,
            key=blob.key,
            container=room.container if room.placing else target.container,
            path=target.path,
            sha256=sha256,
            uploaded=now,
            expires=self._expiry(application, room, now, target.expires_in),
            held=now if application.scan else None,
            source_url=target.source_url,
        )

    def _expiry(self, application: Application, room: Room, now: int, asked: int | None = None) -> int | None:
        """When a file goes by itself, in ms since the epoch: the earliest of all that say so."""
        lent = self.development.keep if room.development else 0
        said = [seconds for seconds in (application.retention, asked, lent) if seconds]
        return now + min(said) * 1000 if said else None

    def _recorded(self, link: FileLink) -> FileLink:
        """Record a file whose bytes are visible; when that fails, they go, unless others refer to them."""
        try:
            self._records.add_file(link)
        except Exception:
            self._drop_unshared(link.blob)
            raise
        return self._added(link)

    def _added(self, link: FileLink) -> FileLink:
        link = self.scan(link) if link.held is not None else link
        self._tell("fp.upload", link)
        return link

    def overwrite(self, link: FileLink, upload: Upload) -> FileLink:
        """Put an upload in the place of a file's content. The handle stays; results made of the old content go.

        Readers of the old content keep it to its end. Raises `Busy` when another overwrite was quicker.
        """
        self._check(upload)
        now = int(self._clock() * 1000)
        fresh = replace(
            link,
            mimetype=upload.mimetype,
            size=upload.size,
            storage=upload.blob.storage,
            key=upload.blob.key,
            sha256=upload.sha256,
            uploaded=now,
            version=link.version + 1,
            expires=self._expiry(upload.application, upload.room, now),
            held=now if upload.application.scan else None,
            source_url=upload.target.source_url,
        )
        upload.publish()
        try:
            old = self._records.replace_file(link.handle, fresh)
        except Exception:
            self._drop_unshared(upload.blob)
            raise
        self._forget_results(folder_of(link.application, link.handle, link.sha256))
        if old.blob != fresh.blob:
            self._discard_listed([old.blob])
        fresh = self.scan(fresh) if fresh.held is not None else fresh
        self._tell("fp.overwrite", fresh)
        return fresh

    # -- judging

    def scan(self, link: FileLink) -> FileLink:
        """Have all scanners judge a held file. Clean: it may be read. Raises `Infected` when one found something; the file is
        gone then. When one does not answer, it stays held, for the next time."""
        for name, scanner in sorted(self._scanners.items()):
            try:
                found = scanner.scan(_Stored(link, self))
            except Exception as error:  # whatever a scanner does, what was not judged is not clean
                logger.error("scanner %s could not judge %s: %s", name, link.handle, error)
                return link
            if found is not None:
                logger.warning("scanner %s found %r in %s of %s", name, found[:200], link.handle, link.application)
                self._destroy(link)
                raise Infected(f"{name}: {found[:200]}")
        with suppress(NotFound):
            return self._records.mark_file(link.handle, application=link.application, held=None)
        return link

    # -- letting go

    def remove(self, link: FileLink, *, keep_blob: bool = False, undo: int = 0) -> None:
        """Forget a file and delete its bytes and everything made of them. Raises `NotFound`.

        `keep_blob` leaves the object in the customer's storage (`skip_storage` of the File API). With `undo`, in seconds, the
        file can be restored for so long; nobody can read it.
        """
        if undo and not keep_blob:
            now = int(self._clock() * 1000)
            until = min(now + undo * 1000, link.expires or now + undo * 1000)
            self._records.mark_file(link.handle, application=link.application, removed=now, expires=until)
            self._forget_results(folder_of(link.application, link.handle, link.sha256))
        else:
            self._destroy(link, keep_blob=keep_blob)
        self._tell("fp.delete", link)

    def restore(self, application: Application, handle: str) -> FileLink:
        """Undo a deletion. Raises `NotFound` when it is too late."""
        link = self._records.file(handle, application=application.api_key)
        now = int(self._clock() * 1000)
        if link is None or link.removed is None or (link.expires is not None and link.expires <= now):
            raise NotFound(f"no deleted file {handle!r}")
        expires = self._expiry(application, self._room_of(application, link), link.uploaded)
        return self._records.mark_file(
            handle, application=application.api_key, removed=None, expires=None if expires is None else max(expires, now + 1)
        )

    def _destroy(self, link: FileLink, *, keep_blob: bool = False) -> None:
        removed = self._records.remove_file(link.handle, application=link.application, keep_blob=keep_blob)
        self._forget_results(folder_of(removed.application, removed.handle, removed.sha256))
        if not keep_blob:
            self._discard_listed([removed.blob])

    def remove_application(self, api_key: str) -> None:
        """Delete an application with its secrets and files, and everything made of them. Raises `NotFound`."""
        blobs = self._records.delete_application(api_key)
        self._forget_results(application_folder(api_key))
        self.discard(blobs)

    def tend(self, *, limit: int = 200) -> int:
        """What time does: files that have expired go, and scanners that did not answer are asked again. Returns how many files
        were dealt with; any process may do this at any time."""
        now = int(self._clock() * 1000)
        done = 0
        for link in self._records.marked_files("expires", before=now, limit=limit):
            with suppress(NotFound):  # another process was quicker
                self._destroy(link)
                if link.removed is None:
                    self._tell("fp.delete", link)
                done += 1
        if self._scanners:
            for link in self._records.marked_files("held", before=now - 60_000, limit=limit):
                with suppress(Infected, NotFound):
                    self.scan(link)
                done += 1
        return done

    # -- reading and moving

    def open(self, link: FileLink, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of a file from `start`, at most `length`. Raises `NotFound`, `StorageFault`."""
        return self.storage(link.storage).open(link.key, start=start, length=length)

    def move(self, application: Application, link: FileLink, storage: str) -> FileLink:
        """Bring the bytes of a file to another storage of its application (a name that `Storages.room` knows), whole and
        checked against their digest. Readers of the old place go on; it is emptied. Raises `StorageFault` for bytes that
        changed."""
        room = self.storages.room(application, storage, None, link.path)
        if room.storage == link.storage:
            return link
        target = self.storage(room.storage)
        if isinstance(target, Placing):
            key = f"{room.container}/{object_key(room.path, link.filename)}"
            draft = target.place(key, mimetype=link.mimetype)
        else:
            key = new_key()
            draft = target.create(key, mimetype=link.mimetype)
        digest = hashlib.sha256()
        try:
            with self.open(link) as stream:
                while piece := stream.read(_PIECE):
                    digest.update(piece)
                    draft.write(piece)
            if len(link.sha256) == 64 and digest.hexdigest() != link.sha256:
                raise StorageFault(f"the bytes of {link.handle} are not what was stored")
            draft.publish()
        finally:
            draft.discard()
        blob = Blob(room.storage, key)
        try:
            moved = self._records.move_file(
                link, storage=blob.storage, key=key, container=room.container if room.placing else link.container
            )
        except Exception:
            self._drop_unshared(blob)
            raise
        self._discard_listed([link.blob])
        return moved

    # -- bytes without a file

    def discard(self, blobs: Sequence[Blob]) -> None:
        """Delete bytes that nothing refers to any more, as `Records.blobs_to_delete` has them. What a storage cannot delete
        now stays on that list, for the next start."""
        self._records.blobs_deleted([blob for blob in blobs if self._drop(blob)])

    def _discard_listed(self, blobs: Sequence[Blob]) -> None:
        """The same for those that no other file shares."""
        self.discard([blob for blob in blobs if self._records.is_to_delete(blob)])

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

    def _drop_unshared(self, blob: Blob) -> None:
        """Delete bytes that could not be recorded, unless a file refers to them; what cannot be told is left to `fsck`."""
        with suppress(Exception):
            if not self._records.refers(blob):
                self._drop(blob)

    def _forget_results(self, folder: str) -> None:
        """Delete what was made of files that are recorded as gone or others already; so a failure must not undo that."""
        try:
            self._renditions.purge(folder)
        except OSError as error:
            logger.error("results in %s could not be deleted: %s", folder, error.strerror)

    @staticmethod
    def _check(upload: Upload) -> None:
        if upload.size == 0:
            raise BadRequest("an empty file", public="The file is empty.")
        upload.check_type()

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
