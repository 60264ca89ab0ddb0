"""One file on its way in: what it says about itself, and what is counted, hashed and looked at while it streams.

Knows: drafts, the types of content. Must not know: records, HTTP, where the bytes go.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..gate.errors import QuotaExceeded, TooLarge, Unsupported
from ..gate.model import Application
from ..plugin.protocols import Draft, Media
from .names import effective_path
from .records import Blob
from .spool import SpooledDraft
from .storages import Room
from .types import HEAD, sniff

_DAY = 86_400
Access = Literal["private", "public"]


def new_key() -> str:
    """A storage key made by the server: 160 random bits, never anything a client sent (CVE-2026-33195)."""
    return secrets.token_hex(20)


def object_key(path: str | None, filename: str) -> str:
    """The key of an object in a customer's own storage: the path that was asked for; with a folder, or without a path, 20
    random characters before the name, as the Filestack documentation has it (store, path)."""
    path = effective_path(path)
    if not path.endswith("/"):
        return path.removeprefix("/")
    return effective_path(f"{path}{new_key()[:20]}_{filename}").removeprefix("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an upload says about itself: its name and type, and where the customer wants it.

    `storage` is the name or kind of a storage, None for the usual one; `access` that of the object; `source_url` where it was
    fetched from; `expires_in` seconds after which it goes by itself, on top of what the application says. `tags` are the
    uploader's own words, told with the event; `tasks` is the path of the transformation that made the file, if one did.
    """

    filename: str = "file"
    mimetype: str | None = None
    container: str | None = None
    path: str | None = None
    storage: str | None = None
    access: Access | None = None
    source_url: str | None = None
    expires_in: int | None = None
    tags: Mapping[str, str] | None = None
    tasks: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Development:
    """What the server lends to applications without a storage of their own: seconds until a file goes (0: never) and bytes for
    each application (0: no bound)."""

    keep: int = 7 * _DAY
    quota: int = 1 << 30


class Upload:
    """One file on its way in. `write` it, then hand it to `Files`; leaving the `with` block discards what is not published.

    One thread at a time uses it. Discarding waits for one that is still at work, as it is when a request was cancelled: a file
    that is closed under its writer could be somebody else's by the time of the next write.
    """

    def __init__(
        self,
        draft: Draft,
        blob: Blob,
        target: Target,
        limit: int,
        application: Application,
        room: Room,
        *,
        left: int | None = None,
    ) -> None:
        self.target = target
        self.blob = blob
        self.size = 0
        self.application = application
        self.room = room
        self._draft = draft
        self._limit = limit
        self._left = left
        self._digest = hashlib.sha256()
        self._head = b""
        self._known_type = False
        self._at_work = threading.Lock()

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, data: bytes) -> None:
        """Append. Raises `TooLarge` as soon as there are more bytes than the limit, `QuotaExceeded` when they are more than is
        left of a quota, `Unsupported` as soon as the type is known to be one that the application does not take, and what the
        storage raises."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(f"more than {self._limit} bytes")
        if self._left is not None and self.size > self._left:
            raise QuotaExceeded(f"more than the {self._left} bytes that are left")
        if not self._known_type:
            self._head += data[: HEAD - len(self._head)]
            if len(self._head) >= HEAD:
                self.check_type()
                self._known_type = True
        with self._at_work:
            self._digest.update(data)
            self._draft.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def mimetype(self) -> str:
        """The type by content, whatever the client said (security promise 44)."""
        return sniff(self._head, self.target.filename)

    def check_type(self) -> None:
        """Raise `Unsupported` for a type by content that the application does not take."""
        check_type(self.application, self.mimetype)

    @property
    def media(self) -> Media | None:
        """What was written, for whoever has to judge it first; None where nobody has to."""
        return self._draft if isinstance(self._draft, SpooledDraft) else None

    def publish(self) -> None:
        """Make the bytes durable and visible in the storage. Nothing refers to them yet."""
        with self._at_work:
            self._draft.publish()

    def discard(self) -> None:
        """Give up what was written."""
        with self._at_work:
            self._draft.discard()


def check_type(application: Application, mimetype: str) -> None:
    """Raise `Unsupported` for a type that an application does not take."""
    if not application.admits_type(mimetype):
        raise Unsupported(f"{mimetype} is not allowed", public=f"Files of the type {mimetype} are not accepted here.")
