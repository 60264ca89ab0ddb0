"""Results of jobs handed over: into the customer's own storage, or the one that the server lends.

Knows: storages, files, names of results. Must not know: what a result is of, webhooks, HTTP.

Names derive from the job: a job that is run a second time writes the same objects again and leaves no second set. Nothing is
read or listed in order to write, so credentials that may only write are enough from first to last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from ..gate.errors import NotFound, SecureDeliveryError, StorageFault
from ..gate.model import Application
from ..plugin.protocols import Draft, Placing, Receiving
from .files import Files, Target
from .incoming import Access
from .names import clean_name, effective_path
from .records import FileLink
from .storages import Room

_LONGEST_STEM = 180  # bytes of UTF-8: what follows has to stay, for it tells results of one file apart
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A result where it is now: a file of this server (`handle`), or an object with a plain address (`url`)."""

    handle: str | None = None
    url: str | None = None
    storage: str = ""
    key: str = ""
    size: int = 0

    def plain(self) -> dict[str, Any]:
        """As JSON values, for the record of a job: no more than where it is."""
        return {"handle": self.handle, "url": self.url, "storage": self.storage, "key": self.key}


class Handover:
    """Hands results of one job over, into one folder of one storage: the usual one of the application, or that called `place`.

    `check` is asked before each write and raises when the job belongs to somebody else by now.
    """

    def __init__(
        self,
        files: Files,
        application: Application,
        job_id: str,
        *,
        destination: str | None = None,
        place: str | None = None,
        access: str | None = None,
        headers: Mapping[str, str] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = files
        # Results are ours: what may be uploaded, and scanners of uploads, are about what strangers bring.
        self._application = replace(application, allowed_types=(), scan=False)
        self._job = job_id
        self._access = cast("Access | None", access)
        self._headers = dict(headers or {})
        self._check = check
        self.folder = destination or hashlib.sha256(f"results of {job_id}".encode()).hexdigest()
        path = f"/{self.folder}/"
        self.room: Room = (
            files.storages.room(application, None, None, path)
            if place is None
            else files.storages.place(application, place, path)
        )

    def put(self, name: str, mimetype: str, pieces: Iterable[bytes]) -> Put:
        """Write one result. Raises what storages raise, and what `check` raises."""
        self._check()
        storage = self._files.storages.get(self.room.storage)
        if isinstance(storage, Placing):
            return self._placed(storage, name, mimetype, pieces)
        return self._lent(name, mimetype, pieces)

    def _placed(self, storage: Placing, name: str, mimetype: str, pieces: Iterable[bytes]) -> Put:
        key = f"{self.room.container}{effective_path(f'{self.room.path}{name}')}"
        if isinstance(storage, Receiving):
            draft: Draft = storage.hand_over(key, mimetype=mimetype, access=self._access, headers=self._headers)
            url: str | None = storage.address(key)
        else:
            draft, url = storage.place(key, mimetype=mimetype, access=self._access), None
        size = 0
        try:
            for piece in pieces:
                draft.write(piece)
                size += len(piece)
            self._check()
            draft.publish()
        finally:
            draft.discard()
        return Put(url=url, storage=self.room.storage, key=key, size=size)

    def _lent(self, name: str, mimetype: str, pieces: Iterable[bytes]) -> Put:
        """A file of the application, under a handle that derives from the job and the name."""
        handle = derived_handle(self._job, name)
        target = Target(filename=name, mimetype=mimetype)
        known: FileLink | None = None
        with suppress(NotFound):
            known = self._files.find(handle)
        if known is None and self._files.known(handle):  # expired or deleted, and not swept yet
            raise StorageFault(f"{handle} is on its way out")
        with self._files.begin(self._application, target, over=known, room=self.room) as upload:
            for piece in pieces:
                upload.write(piece)
            self._check()
            if known is None:
                link = self._files.add(self._application, upload, handle=handle, tell=False)
            else:
                link = self._files.overwrite(known, upload, tell=False)
        return Put(handle=link.handle, storage=link.storage, key=link.key, size=link.size)


class Names:
    """The names of one file's results: `STEM_REST`, each once, also where case does not count.

    `stem` is the name of the file without its extension; what follows it may come from inside the file. Names are the same
    each time when they are asked for in the same order.
    """

    def __init__(self, stem: str, *taken: str) -> None:
        self._stem = _first(clean_name(stem), _LONGEST_STEM)
        self._taken = {name.casefold() for name in taken}

    def of(self, rest: str) -> str:
        """A name that none has so far."""
        # Folders inside `rest` would leave nothing but its last part, which could be the name of another result.
        head, dot, ending = clean_name(rest.replace("\\", "_").replace("/", "_")).rpartition(".")
        head, ending = _first(head, 44), _first(ending, 16)
        number = 1
        while (name := self._numbered(head, number, dot + ending)).casefold() in self._taken:
            number += 1
        self._taken.add(name.casefold())
        return name

    def _numbered(self, head: str, number: int, ending: str) -> str:
        return clean_name(f"{self._stem}_{head}{'' if number == 1 else f'~{number}'}{ending}")


def _first(text: str, most: int) -> str:
    """As many of the first characters as fit into some bytes."""
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")


def read_result(files: Files, put: Mapping[str, Any], most: int) -> bytes | None:
    """The bytes of a result, at most so many; None where they cannot be read: a bucket that only takes, a file that is gone."""
    try:
        if put.get("handle"):
            link = files.find(str(put["handle"]))
            stream = files.open(link, length=most)
        else:
            storage = files.storages.get(str(put["storage"]))
            if isinstance(storage, Placing) and not storage.readable:
                return None
            stream = storage.open(str(put["key"]), length=most)
        with stream:
            return stream.read(most)
    except SecureDeliveryError:
        return None


def derived_handle(job_id: str, name: str) -> str:
    """The handle of a result: 20 letters and digits that nobody can guess who does not know the job."""
    number = int.from_bytes(hashlib.sha256(f"result {job_id} {name}".encode()).digest())
    letters = []
    for _ in range(20):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)
