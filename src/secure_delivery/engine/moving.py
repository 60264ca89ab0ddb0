"""Files that go to another storage of their application, bytes and all.

Knows: files, records, storages. Must not know: HTTP, who wants it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ..gate.errors import NotFound, StorageFault
from ..gate.model import Application
from ..plugin.protocols import Draft, Placing
from .incoming import new_key, object_key
from .names import effective_path
from .records import Blob, FileLink
from .storages import Room

if TYPE_CHECKING:
    from .files import Files

_PIECE = 1 << 20


def move(files: Files, application: Application, link: FileLink, storage: str) -> FileLink:
    """Bring the bytes of a file to another storage of its application, by its name, or to the server's own; whole, and
    checked against their digest. Readers of the old place go on; it is emptied.

    Raises `StorageFault` for bytes that changed, `Busy` when the file was changed meanwhile, `NotFound` when it is gone or
    has expired, or its bytes are missing.
    """
    if link.expires is not None and link.expires <= files.clock() * 1000:
        raise NotFound("the file has expired")
    room = files.storages.place(application, storage, link.path)
    if room.storage == link.storage:
        return link
    target = files.storage(room.storage)
    if isinstance(target, Placing):
        key = _free_key(files, room, link)
        draft = target.place(key, mimetype=link.mimetype)
    else:
        key = new_key()
        draft = target.create(key, mimetype=link.mimetype)
    digest = hashlib.sha256()
    try:
        with files.open(link) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                draft.write(piece)
        if len(link.sha256) == 64 and digest.hexdigest() != link.sha256:
            raise StorageFault(f"the bytes of {link.handle} are not what was stored")
        moved = _moved(files, application, link, draft, Blob(room.storage, key), room)
    finally:
        draft.discard()
    files.blobs.discard_listed([link.blob])
    return moved


def _moved(files: Files, application: Application, link: FileLink, draft: Draft, blob: Blob, room: Room) -> FileLink:
    """Publish what was copied and say that the file is there now; when that fails, the copy goes."""
    container = room.container if room.placing else link.container
    ends = _expiry_there(files, application, link, room)
    with files.blobs.alone(blob, room):
        draft.publish()
        try:
            return files.records.move_file(link, storage=blob.storage, key=blob.key, container=container, expires=ends)
        except Exception:
            files.blobs.drop_unshared(blob)
            raise


def _free_key(files: Files, room: Room, link: FileLink) -> str:
    """Where a file that is moved goes: the path that was asked for, unless another file is there. Two files may have had
    the same path where paths mean nothing; there they would be one object."""
    key = f"{room.container}/{object_key(room.path, link.filename)}"
    if not files.records.refers(Blob(room.storage, key), but=link.sha256):
        return key
    folder = effective_path(room.path).rpartition("/")[0]
    return f"{room.container}/{object_key(f'{folder}/', link.filename)}"


def _expiry_there(files: Files, application: Application, link: FileLink, room: Room) -> int | None:
    """When a file goes that was moved: when it had to, and not earlier, unless that was because its place was only lent;
    and at the latest when a place ends that is lent now."""
    lent = files.development.keep * 1000
    ends = link.expires
    if link.removed is None and ends is not None and files.storages.is_lent(application, link.storage):
        said = files.expiry(application, replace(room, development=False), link.uploaded, link.lasting)
        ends = None if said is None else max(said, ends)
    if not room.development or not lent:
        return ends
    lasts = int(files.clock() * 1000) + lent
    return lasts if ends is None else min(ends, lasts)
