"""Stored files: taking them in, handing them out, overwriting and removing them.

Knows: records and storages. Must not know: HTTP, policies, pictures.

An upload is a draft until it is published: counted and hashed while it streams, judged again by the caller with its real
size, then made visible by the storage and only then recorded. Whatever ends it early leaves nothing behind.

Bytes that an application has already are not kept twice: the new file shares them, and they go with the last file that does.
Only within one application: from how fast an upload is, nobody is to learn what others have.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ..gate.errors import (
    BadRequest,
    Busy,
    Held,
    Infected,
    NotFound,
    NotProvided,
    QuotaExceeded,
    SecureDeliveryError,
    Unsupported,
)
from ..gate.model import Application
from ..gate.policy import Call
from ..plugin.protocols import Event, Placing, Scanner, Storage
from .blobs import Blobs
from .incoming import Development, Target, Upload, check_type, new_key, object_key
from .judging import Judges
from .locks import Locks
from .moving import move
from .names import MAX_NAME, clean_name, effective_path
from .records import Blob, FileLink, Records, new_handle
from .rendition_store import RenditionStore, application_folder, folder_of
from .spool import SpooledDraft
from .storages import Room, Storages

__all__ = ["MAX_NAME", "Development", "Files", "Target", "Upload", "clean_name", "effective_path", "new_key"]

logger = logging.getLogger("secure_delivery.engine")

_ALONE: AbstractContextManager[None] = nullcontext()  # a change that nothing is written with
_AGAIN = 60_000  # ms until scanners that did not judge a file are asked again


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
    `clock` gives seconds since the epoch; `scanners` judge what applications want judged. `locks` keep those apart who write
    the same object of a customer's storage; `work` holds what waits to be judged.
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
        locks: Locks | None = None,
        work: Path | None = None,
    ) -> None:
        self.records = records
        self.storages = storages
        self._renditions = renditions
        self._notify = notify
        self.clock = clock
        self._judges = Judges(scanners or {})
        self.development = development or Development()
        self.blobs = Blobs(records, storages, locks)
        self._work = work or Path(tempfile.gettempdir())
        self._known: dict[str, tuple[object, FileLink]] = {}

    def storage(self, name: str) -> Storage:
        """The storage that a record names. Raises `StorageFault` when its plugin is gone."""
        return self.storages.get(name)

    # -- finding

    def find(self, handle: str, *, held: bool = False) -> FileLink:
        """The file with this handle. Raises `NotFound`, and `Held` while scanners have to judge it unless `held` is accepted.

        Remembered until any process overwrites or removes a file, so that a hot file costs no query.
        """
        token = self.records.generation()
        known = self._known.get(handle)
        if known is not None and known[0] == token:
            link = known[1]
        else:
            found = self.records.file(handle)
            if found is None:
                self._known.pop(handle, None)
                raise NotFound(f"no file {handle[:12]!r}")
            link = found
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[handle] = (token, link)
        if link.removed is not None or (link.expires is not None and link.expires <= self.clock() * 1000):
            raise NotFound(f"the file {handle!r} was removed or has expired")
        if link.held is not None and not held:
            raise Held(f"{handle} waits for a scanner")
        return link

    # -- taking in

    def room(self, application: Application, target: Target) -> Room:
        """Where a file would go. Raises `BadRequest` for a storage or container that the application does not have."""
        return self.storages.room(application, target.storage, target.container, target.path)

    def wanted(self, application: Application, target: Target) -> tuple[Room, frozenset[Call]]:
        """Where a file would go, and the calls that this takes. A path where a file is already is overwriting, whatever the
        request calls itself. Raises like `room`."""
        room = self.room(application, target)
        if room.storage in self.storages.own:
            return room, frozenset({Call.PICK})
        path = effective_path(room.path)
        taken = room.placing and not path.endswith("/") and self.records.refers(Blob(room.storage, f"{room.container}{path}"))
        return room, frozenset({Call.PICK, Call.STORE, *((Call.WRITE,) if taken else ())})

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
        if over is not None:
            room = self._room_of(application, over)
        room = room or self.room(application, target)
        left = self.admit(application, room, over=over)
        bound = application.limits.max_bytes if limit is None else min(limit, application.limits.max_bytes)
        storage = self.storage(room.storage)
        declared = target.mimetype or "application/octet-stream"
        if isinstance(storage, Placing):
            key = over.key if over is not None else f"{room.container}/{object_key(room.path, target.filename)}"
            begun = partial(storage.place, key, mimetype=declared, access=target.access)
        else:
            key = new_key()
            begun = partial(storage.create, key, mimetype=declared)
        draft = SpooledDraft(self._work, begun, declared, target.filename) if application.scan else begun()
        return Upload(draft, Blob(room.storage, key), target, bound, application, room, left=left)

    def admit(
        self,
        application: Application,
        room: Room,
        *,
        size: int | None = None,
        over: FileLink | None = None,
        pending: int = 0,
    ) -> int | None:
        """Look whether a file can be taken in at all, of `size` bytes when that is known; returns the bytes that are left of a
        quota, None where there is none; `pending` bytes of it are for uploads that are under way.

        Raises `NotProvided` and `QuotaExceeded` like `begin`.
        """
        if application.scan:
            if not self._judges:
                raise NotProvided("the application wants scanners, and none is installed", public="No scanner is installed.")
            storage = self.storage(room.storage)
            if isinstance(storage, Placing) and not storage.readable:
                raise NotProvided("a storage that only takes cannot be scanned", public="Files there cannot be scanned.")
        quota = self._quota(room)
        if not quota:
            return None
        left = quota - self.records.used(application.api_key, room.storage)[1] + (over.size if over else 0) - pending
        if left < (1 if size is None else size):
            raise QuotaExceeded(f"{application.api_key} has used its development storage")
        return left

    def _quota(self, room: Room) -> int:
        """Bytes that an application may use of a room; 0: there is no bound."""
        return self.development.quota if room.development else 0

    def _room_of(self, application: Application, link: FileLink) -> Room:
        return Room(
            storage=link.storage,
            container=link.container or link.storage,
            path=link.path,
            development=self.storages.is_lent(application, link.storage),
            placing=self.storages.is_placing(link.storage),
        )

    def add(self, application: Application, upload: Upload, *, handle: str | None = None, tell: bool = True) -> FileLink:
        """Publish an upload under a new handle, or one that was reserved for it, and record it. `tell`: listeners hear of it.

        Raises what the storage and the database raise; then nothing of it remains. Where scanners are wanted, they judge it
        first: what they find harmful (`Infected`) reaches no storage; when one does not answer, the file is stored but held.
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
        if link.held is not None and self._judges.clean(upload.media):
            link = replace(link, held=None)
        twin = None if upload.room.placing else self._twin(link)
        if twin is not None:
            copy = replace(link, storage=twin.storage, key=twin.key)
            if self.records.add_copy(copy, of=twin, quota=self._quota(upload.room)):
                upload.discard()
                if tell:
                    self._tell_added(copy, upload.target)
                return copy
        with self.blobs.alone(upload.blob, upload.room):
            upload.publish()
            self._record(link, upload.room)
        if tell:
            self._tell_added(link, upload.target)
        return link

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
            self.blobs.drop_unshared(blob)
            raise
        link = self._link(application, target, room, blob, size=size, sha256=sha256, mimetype=mimetype, handle=handle)
        with self.blobs.alone(blob, room):
            self._record(link, room)
        link = self.scan(link) if link.held is not None else link
        self._tell_added(link, target)
        return link

    def _twin(self, link: FileLink) -> FileLink | None:
        """A file of the application with the same bytes in the same storage, which are really there."""
        twin = self.records.same_bytes(link.application, link.storage, link.sha256, link.size)
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
        now = int(self.clock() * 1000)
        return FileLink(
            handle=handle or new_handle(),
            application=application.api_key,
            filename=target.filename,
            mimetype=mimetype,
            size=size,
            storage=blob.storage,
            key=blob.key,
            container=room.container if room.placing else target.container,
            path=room.path,
            sha256=sha256,
            uploaded=now,
            expires=self.expiry(application, room, now, target.expires_in),
            held=now if application.scan else None,
            source_url=target.source_url,
            lasting=target.expires_in,
        )

    def expiry(self, application: Application, room: Room, now: int, asked: int | None = None) -> int | None:
        """When a file goes by itself, in ms since the epoch: the earliest of all that say so."""
        lent = self.development.keep if room.development else 0
        said = [seconds for seconds in (application.retention, asked, lent) if seconds]
        return now + min(said) * 1000 if said else None

    def _record(self, link: FileLink, room: Room) -> None:
        """Record a file whose bytes are visible; when that fails, they go, unless others refer to them."""
        try:
            self.records.add_file(link, quota=self._quota(room))
        except Exception:
            self.blobs.drop_unshared(link.blob)
            raise

    def overwrite(
        self, link: FileLink, upload: Upload, *, tell: bool = True, within: AbstractContextManager[None] = _ALONE
    ) -> FileLink:
        """Put an upload in the place of a file's content. The handle stays; results made of the old content go. The row changes
        `within` a block of the caller's, who may write something with it.

        Readers of the old content keep it to its end. Raises `Busy` when another overwrite was quicker, or a scanner that has
        to judge the new content does not answer, and `Infected` when one found something: then the old content stays.
        """
        self._check(upload)
        if upload.application.scan and not self._judges.clean(upload.media):
            raise Busy("no scanner judged the new content")
        now = int(self.clock() * 1000)
        fresh = replace(
            link,
            mimetype=upload.mimetype,
            size=upload.size,
            storage=upload.blob.storage,
            key=upload.blob.key,
            sha256=upload.sha256,
            uploaded=now,
            version=link.version + 1,
            expires=self.expiry(upload.application, upload.room, now, upload.target.expires_in or link.lasting),
            lasting=upload.target.expires_in or link.lasting,
            held=None,
            source_url=upload.target.source_url,
        )
        with self.blobs.alone(upload.blob, upload.room):
            if upload.room.placing:
                self._check_version(link)  # what was published cannot be taken back there
            upload.publish()
            try:
                with within:
                    old = self.records.replace_file(link.handle, fresh, quota=self._quota(upload.room))
            except Exception:
                self.blobs.drop_unshared(upload.blob)
                raise
        self._forget_results(folder_of(link.application, link.handle, link.sha256))
        if old.blob != fresh.blob:
            self.blobs.discard_listed([old.blob])
        if tell:
            self._tell("fp.overwrite", fresh)
        return fresh

    def _check_version(self, link: FileLink) -> None:
        now = self.records.file(link.handle, application=link.application)
        if now is None:
            raise NotFound(f"{link.handle} is gone")
        if now.version != link.version:
            raise Busy(f"overwrite from version {link.version}, but the file is at {now.version}")

    # -- judging

    def scan(self, link: FileLink) -> FileLink:
        """Have all scanners judge a held file. Clean: it may be read. Raises `Infected` when one found something; the file is
        gone then. When one does not answer, or none is there, it stays held, for the next time."""
        try:
            if not self._judges.clean(_Stored(link, self)):
                return link
        except Infected:
            with suppress(NotFound):  # what was put in its place meanwhile is judged by itself
                self._destroy(link, content=link.sha256)
            raise
        with suppress(NotFound):
            return self.records.judged(link)
        return link

    # -- letting go

    def remove(
        self,
        link: FileLink,
        *,
        keep_blob: bool = False,
        undo: int = 0,
        within: AbstractContextManager[None] = _ALONE,
    ) -> None:
        """Forget a file and delete its bytes and everything made of them. Raises `NotFound`.

        `keep_blob` leaves the object in the customer's storage (`skip_storage` of the File API). With `undo`, in seconds, the
        file can be restored for so long; nobody can read it. The row changes `within` a block of the caller's, before any byte
        goes.
        """
        if undo and not keep_blob:
            now = int(self.clock() * 1000)
            until = min(now + undo * 1000, link.expires or now + undo * 1000)
            with within:
                self.records.mark_file(link.handle, application=link.application, removed=now, expires=until)
            self._forget_results(folder_of(link.application, link.handle, link.sha256))
        else:
            self._destroy(link, keep_blob=keep_blob, within=within)
        self._tell("fp.delete", link)

    def restore(self, application: Application, handle: str) -> FileLink:
        """Undo a deletion. Raises `NotFound` when it is too late."""
        link = self.records.file(handle, application=application.api_key)
        now = int(self.clock() * 1000)
        if link is None or link.removed is None or (link.expires is not None and link.expires <= now):
            raise NotFound(f"no deleted file {handle!r}")
        expires = self.expiry(application, self._room_of(application, link), link.uploaded, link.lasting)
        return self.records.mark_file(
            handle, application=application.api_key, removed=None, expires=None if expires is None else max(expires, now + 1)
        )

    def _destroy(
        self, link: FileLink, *, keep_blob: bool = False, within: AbstractContextManager[None] = _ALONE, **only: Any
    ) -> None:
        """`only`: for what a file that goes has to be still, as `Records.remove_file` has it."""
        with within:
            removed = self.records.remove_file(link.handle, application=link.application, keep_blob=keep_blob, **only)
        self._forget_results(folder_of(removed.application, removed.handle, removed.sha256))
        if not keep_blob:
            self.blobs.discard_listed([removed.blob])

    def remove_application(self, api_key: str) -> None:
        """Delete an application with its secrets and files, and everything made of them. Raises `NotFound`."""
        self.forget_application(api_key, self.records.delete_application(api_key))

    def forget_application(self, api_key: str, blobs: Sequence[Blob]) -> None:
        """Delete what is left of an application whose rows are gone: its bytes, and everything made of them."""
        self._forget_results(application_folder(api_key))
        self.discard(blobs)

    def tend(self, *, limit: int = 200) -> int:
        """What time does: files that have expired go, and scanners that did not answer are asked again. Returns how many files
        were dealt with; any process may do this at any time."""
        now = int(self.clock() * 1000)
        done = 0
        for link in self.records.marked_files("expires", before=now, limit=limit):
            with suppress(NotFound):  # another process was quicker, or it was restored meanwhile
                self._destroy(link, expired=now)
                if link.removed is None:
                    self._tell("fp.delete", link)
                done += 1
        return done + (self._judge_again(now, limit) if self._judges else 0)

    def _judge_again(self, now: int, limit: int) -> int:
        """Ask scanners again; returns how many files they judged. The others wait for their next turn behind all that wait."""
        done = 0
        for link in self.records.marked_files("held", before=now - _AGAIN, limit=limit):
            with suppress(NotFound):
                try:
                    judged = self.scan(link).held is None
                except Infected:
                    judged = True
                if judged:
                    done += 1
                else:
                    self.records.mark_file(link.handle, application=link.application, held=now)
        return done

    # -- reading and moving

    def open(self, link: FileLink, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes of a file from `start`, at most `length`. Raises `NotFound`, `StorageFault`."""
        return self.storage(link.storage).open(link.key, start=start, length=length)

    def move(self, application: Application, link: FileLink, storage: str) -> FileLink:
        """Bring the bytes of a file to another storage, as `moving.move` has it."""
        return move(self, application, link, storage)

    # -- bytes without a file

    def discard(self, blobs: Sequence[Blob]) -> None:
        """Delete bytes that nothing refers to any more, as `Blobs.discard` has it."""
        self.blobs.discard(blobs)

    def sweep(self) -> int:
        """Delete what should have been deleted before a crash, or when a storage failed; returns how many blobs."""
        return self.blobs.sweep()

    def drop(self, storage: str, key: str) -> None:
        """Delete an object that was never recorded, unless a file is there."""
        self.blobs.drop_unshared(Blob(storage, key))

    def known(self, handle: str) -> bool:
        """Whether there is a record of this handle, if only of a file that was deleted and can be restored."""
        return self.records.file(handle) is not None

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

    def _tell_added(self, link: FileLink, target: Target) -> None:
        if target.tasks is None:
            self._tell("fp.upload", link, tags=dict(target.tags or {}))
        else:
            self._tell("fp.converse", link, tasks=target.tasks)

    def _shown_key(self, link: FileLink) -> str:
        """The key as customers know it: in a storage of their own without the container before it."""
        lent = link.storage in self.storages.own
        return link.key if lent else link.key.removeprefix(f"{link.container}/")

    def _tell(self, name: str, link: FileLink, **more: Any) -> None:
        try:  # listeners are fenced by the registry; a file that is stored is stored
            data = {
                "handle": link.handle,
                "filename": link.filename,
                "type": link.mimetype,
                "size": link.size,
                "container": link.container or self.storages.name_of(link.storage),
                "key": self._shown_key(link),
                "path": link.path,
                "source_url": link.source_url,
                "status": "Stored" if link.held is None else "InTransit",
                **more,
            }
            self._notify(Event(name=name, application=link.application, data=data))
        except Exception:
            logger.exception("nobody was told of %s of %s", name, link.handle)
