"""Bytes that have to be judged before they go where they are to be: held in a file of ours meanwhile.

Knows: drafts. Must not know: who judges.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..gate.errors import StorageFault, StorageFull
from ..plugin.protocols import Draft

_PIECE = 1 << 20
_FULL = frozenset({27, 28, 122})  # EFBIG, ENOSPC, EDQUOT


class SpooledDraft:
    """A draft that begins the real one only when it is published, so that what is refused never leaves this machine."""

    def __init__(self, folder: Path, begin: Callable[[], Draft], mimetype: str, filename: str) -> None:
        self._begin = begin
        self.mimetype = mimetype
        self.filename = filename
        self.size: int | None = 0
        try:
            self._file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 - closed by publish and discard
        except OSError as error:
            raise _fault(error) from error

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFault`."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _fault(error) from error
        self.size = (self.size or 0) + len(data)

    def open(self) -> BinaryIO:
        """A new stream of what was written, from its start: this is a `Media`."""
        try:
            self._file.flush()
            return open(self._file.name, "rb")  # noqa: PTH123 - the caller closes it
        except (OSError, ValueError) as error:
            raise StorageFault(f"reading what waits to be judged: {error}") from None

    def publish(self) -> None:
        """Write all of it to the real draft, and publish that. Raises what it raises; then nothing is visible."""
        draft = self._begin()
        try:
            with self.open() as stream:
                while piece := stream.read(_PIECE):
                    draft.write(piece)
            draft.publish()
        finally:
            draft.discard()
        self.discard()

    def discard(self) -> None:
        """Give up what was written."""
        with suppress(OSError):
            self._file.close()


def _fault(error: OSError) -> StorageFault | StorageFull:
    detail = f"holding what waits to be judged: {error.strerror or type(error).__name__}"
    return StorageFull(detail) if error.errno in _FULL else StorageFault(detail)
