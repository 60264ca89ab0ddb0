"""The files that a chain works on, wherever they come from.

Knows: stored files. Must not know: HTTP, who may read what, what a chain does with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from .files import Files
from .records import FileLink


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
