"""Small pictures of stored files, as the portal's lists show them: whatever a previewer can draw, else an icon.

Knows: previewers, where results are kept. Must not know: HTTP, who may look.

They are drawn like previews and kept like results, among the intermediates of ours: they go with the file, and count in no list
of what clients asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from ..gate.errors import TooLarge
from ..gate.model import Application
from ..plugin.manager import Registry
from . import matching
from .files import Files
from .preview_order import PreviewOrder, Size
from .previews import LocalFile, Previews
from .records import FileLink
from .rendition_store import Rendition, folder_of
from .renditions import Renditions
from .sandbox import Outcome
from .sources import SourceFile
from .span import FileSpan

#: Sides in pixels that are drawn; what is asked for is rounded up to one of them, so that a file has few pictures.
SIDES = (48, 160, 320, 640, 1280, 2048)
MIMETYPE = "image/webp"
_VERSION = "1"
_LOCKS = 16  # pictures that may be in the making at once, as far as two that are the same must not be


class FilePictures:
    """Draws and keeps. Thread-safe; it may block for as long as drawing takes."""

    def __init__(self, registry: Registry, files: Files, previews: Previews, renditions: Renditions, work: Path) -> None:
        self._registry = registry
        self._files = files
        self._previews = previews
        self._renditions = renditions
        self._work = work
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def find(self, application: Application, link: FileLink, side: int) -> Rendition | None:
        """The picture of a file that fits into a square of so many pixels, if it was drawn before."""
        key = self._key(application, link, side)
        return self._renditions.store.find(key, folder_of(application.api_key, link.handle, link.sha256))

    def get(self, application: Application, link: FileLink, side: int) -> Rendition:
        """The same, drawn now if need be: WebP, never enlarged.

        Raises `Unsupported` when not even an icon can be drawn, `TooLarge` for a file over the limit of its application,
        `NotFound` when the file goes meanwhile, `Busy`, `Overloaded`, `StorageFault`.
        """
        key = self._key(application, link, side)
        with self._locks[int(key[-8:], 16) % _LOCKS]:
            return self.find(application, link, side) or self._draw(key, application, link, side)

    def _key(self, application: Application, link: FileLink, side: int) -> str:
        """Another for each content, name and set of previewers. The hyphen marks what no client asked for."""
        drawers = matching.previewers_for(self._registry, link.mimetype, link.filename)
        parts = [_VERSION, application.api_key, link.handle, link.sha256, link.mimetype, link.filename, str(side)]
        parts += [f"{name} {self._registry.version_of('previewers', name)}" for name in drawers]
        digest = hashlib.sha256()
        for part in parts:
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return f"picture-{digest.hexdigest()}"

    def _draw(self, key: str, application: Application, link: FileLink, side: int) -> Rendition:
        if link.size > application.limits.max_bytes:
            raise TooLarge(f"{link.handle} has {link.size} bytes")
        self._renditions.start_decoders()
        order = PreviewOrder(handle=link.handle, sizes=(Size(side, side, shrink=True, name="picture"),), format="webp")
        with tempfile.TemporaryDirectory(dir=self._work, prefix="picture-") as name:
            scratch = Path(name)
            made = self._previews.make(application, self._brought(link, scratch), order, scratch)
            picture = made.pictures[0]
            outcome = Outcome(
                mimetype=MIMETYPE,
                filename="picture.webp",
                size=picture.length,
                extra={"by": made.previewer, "size": [picture.width, picture.height]},
            )
            with _span(picture.path, picture.offset, picture.length) as content:
                return self._renditions.keep(key, application, SourceFile.stored(link, self._files), outcome, content)

    def _brought(self, link: FileLink, scratch: Path) -> LocalFile:
        path = scratch / "source"
        with self._files.open(link) as stream, path.open("xb") as into:
            shutil.copyfileobj(stream, into, 1 << 20)
        return LocalFile(path=path, mimetype=link.mimetype, filename=link.filename, size=link.size)


def side_for(wanted: int) -> int:
    """The side that is drawn for one that is wanted."""
    return next((side for side in SIDES if side >= wanted), SIDES[-1])


def _span(path: Path, offset: int, length: int) -> BinaryIO:
    """A part of a file, as a stream."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    return FileSpan.buffered(descriptor, offset, length)
