"""The files that a chain works on, wherever they come from.

Knows: stored files, storage aliases. Must not know: HTTP, who may read what, what a chain does with them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ..gate.errors import NotFound, TooLarge
from ..plugin.protocols import Placing
from .files import Files
from .names import clean_name, effective_path
from .records import FileLink
from .storages import Storages
from .types import HEAD, PLAIN, sniff

ADDRESS = "text/uri-list"  # what the address of a page is handed on as


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that a chain works on.

    `handle` is that of a stored file, None for anything else; `digest` names the content (SHA-256 in hex); `size` is in
    bytes. `open` gives a new stream of the bytes, which the caller closes; it raises `NotFound`, `StorageFault`.
    """

    handle: str | None
    digest: str
    mimetype: str
    filename: str
    size: int
    open: Callable[[], BinaryIO] = field(repr=False, compare=False)

    @classmethod
    def stored(cls, link: FileLink, files: Files) -> SourceFile:
        """A stored file as a source."""
        return cls(
            handle=link.handle,
            digest=link.sha256,
            mimetype=link.mimetype,
            filename=link.filename,
            size=link.size,
            open=lambda: files.open(link),
        )

    @classmethod
    def of_bytes(cls, data: bytes, mimetype: str = PLAIN, filename: str = "") -> SourceFile:
        """Bytes as a source: nothing at all, or the address of a page."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(handle=None, digest=digest, mimetype=mimetype, filename=filename, size=len(data), open=lambda: BytesIO(data))

    @classmethod
    def address(cls, url: str) -> SourceFile:
        """The address of a page, for a task that visits it."""
        return cls.of_bytes(url.encode("ascii", "strict"), ADDRESS, "page")


class Folders:
    """The folders of this machine that the operator lets storage aliases read from, by name."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = {name: Path(path).expanduser().absolute() for name, path in folders.items()}

    def open(self, target: str, path: str, *, max_bytes: int) -> SourceFile:
        """The file `path` beneath an alias that means `folder:NAME/...`.

        Every step is opened from the one before and no link is followed, so no name leads out (compare CVE-2025-54387).
        Raises `NotFound` for whatever is no regular file there, `TooLarge` for one of more than `max_bytes`.
        """
        name, _, beneath = target.removeprefix("folder:").partition("/")
        steps = [step for step in f"{beneath}/{path}".split("/") if step]
        root = self._folders.get(name)
        if root is None or not steps or not {".", ".."}.isdisjoint(steps):
            raise NotFound(f"no folder {name!r}, or no path in it")
        try:
            descriptor = _descend(root, steps)
        except (OSError, ValueError) as error:
            raise NotFound(f"{target}/{path}: {error}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise NotFound(f"{target}/{path} is no file")
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > max_bytes:
                raise TooLarge(f"{target}/{path}: {status.st_size} bytes, {max_bytes} allowed")
            head = file.read(HEAD)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        filename = clean_name(steps[-1])
        return SourceFile(
            handle=None,
            digest=digest,
            mimetype=sniff(head, filename),
            filename=filename,
            size=status.st_size,
            open=lambda: os.fdopen(_descend(root, steps), "rb"),
        )

    def folder(self, target: str, path: str) -> Path:
        """The folder `path` beneath an alias that means `folder:NAME/...`. Raises `NotFound`; no link is followed."""
        name, _, beneath = target.removeprefix("folder:").partition("/")
        steps = [step for step in f"{beneath}/{path}".split("/") if step]
        root = self._folders.get(name)
        if root is None or not {".", ".."}.isdisjoint(steps):
            raise NotFound(f"no folder {name!r}")
        place = root
        try:
            for step in steps:
                place = place / step
                if place.is_symlink():
                    raise NotFound(f"{target}/{path} is a link")
            if not place.is_dir():
                raise NotFound(f"{target}/{path} is no folder")
        except (OSError, ValueError) as error:
            raise NotFound(f"{target}/{path}: {error}") from None
        return place


class Objects:
    """The objects of storages of applications that storage aliases may read from. `work` holds them while they are used."""

    def __init__(self, storages: Storages, work: Path) -> None:
        self._storages = storages
        self._work = work

    def open(self, application: str, target: str, path: str, *, max_bytes: int) -> SourceFile:
        """The object `path` beneath an alias that means `storage:NAME/...`: read once, and kept as long as it is used.

        Raises `NotFound`, `TooLarge` for one of more than `max_bytes`, `StorageRefused` for a storage that may not be read.
        """
        name, _, beneath = target.removeprefix("storage:").partition("/")
        row = self._storages.named(application, name)
        storage = self._storages.get(row.id)
        key = effective_path(f"{beneath.strip('/')}/{path}" if beneath else path).removeprefix("/")
        if not isinstance(storage, Placing) or not key:
            raise NotFound(f"the storage {name!r} has no paths")
        digest, size, head = hashlib.sha256(), 0, b""
        with tempfile.NamedTemporaryFile(dir=self._work) as copy:
            with storage.open(f"{storage.containers[0]}/{key}") as stream:
                while piece := stream.read(1 << 20):
                    size += len(piece)
                    if size > max_bytes:
                        raise TooLarge(f"{target}/{path}: more than {max_bytes} bytes")
                    digest.update(piece)
                    head = head or piece[:HEAD]
                    copy.write(piece)
            copy.flush()
            held = Held(Path(copy.name))
        filename = clean_name(key.rpartition("/")[2])
        return SourceFile(
            handle=None,
            digest=digest.hexdigest(),
            mimetype=sniff(head, filename),
            filename=filename,
            size=size,
            open=held.open,
        )


class Held:
    """An open file that lives as long as somebody may want to read it, whatever becomes of its name. Raises `OSError`."""

    _descriptor: int = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open(self) -> BinaryIO:
        """A new stream of it, from its start. The caller closes it."""
        try:
            return open(f"/proc/self/fd/{self._descriptor}", "rb")  # noqa: PTH123 - a position of its own; the caller closes it
        except FileNotFoundError:  # no /proc: one reader at a time
            stream = os.fdopen(os.dup(self._descriptor), "rb")
            stream.seek(0)
            return stream

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _descend(root: Path, steps: list[str]) -> int:
    """A descriptor of a file beneath a folder. Raises `OSError`, also for links on the way."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps[:-1]:
            deeper = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
