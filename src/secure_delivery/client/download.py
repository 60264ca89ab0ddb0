"""A file being written while it arrives: whole under its name in the end, or not there at all.

Knows: ranges (RFC 9110, sections 13.1.5 and 14) and files. Must not know: how requests travel.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from .errors import ProtocolError

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")

#: Called with the bytes done and the bytes in all (None: the server does not say).
Progress = Callable[[int, int | None], object]


class Download:
    """Takes a body into a temporary file beside the target; `publish` gives it its name.

    After a break, `headers` asks for the rest only, if the server gave a validator that proves it is still the same file.
    """

    def __init__(self, target: str | os.PathLike[str], progress: Progress | None = None) -> None:
        self._target = Path(target)
        self._progress = progress
        descriptor, name = tempfile.mkstemp(prefix=f".{self._target.name[:100]}.", suffix=".part", dir=self._target.parent)
        self._temporary = Path(name)
        self._stream: IO[bytes] = os.fdopen(descriptor, "wb")
        self._validator: str | None = None
        self._total: int | None = None
        self.taken = 0

    def __enter__(self) -> Download:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
        with contextlib.suppress(FileNotFoundError):  # published
            self._temporary.unlink()

    def headers(self) -> Mapping[str, str]:
        """What the next request has to say: nothing at first, later which bytes are missing."""
        if not self.taken or self._validator is None:
            return {}
        return {"range": f"bytes={self.taken}-", "if-range": self._validator}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer begins: the rest, or everything again."""
        length = headers.get("content-length", "")
        if status == 206:
            found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if found is None or int(found[1]) != self.taken:
                raise ProtocolError("The server sent other bytes of the file than those asked for.", status=status)
            return
        self._stream.seek(0)
        self._stream.truncate()
        self.taken = 0
        self._validator = None
        coded = "content-encoding" in headers
        self._total = int(length) if length.isdigit() and not coded else None
        etag = headers.get("etag", "")
        if not coded:
            self._validator = etag if etag.startswith('"') else headers.get("last-modified")

    def write(self, piece: bytes) -> None:
        self._stream.write(piece)
        self.taken += len(piece)
        if self._progress is not None:
            self._progress(self.taken, self._total)

    def publish(self) -> Path:
        """Give the file its name. Permissions are those of a file made in the usual way."""
        self._stream.close()
        umask = os.umask(0)
        os.umask(umask)
        self._temporary.chmod(0o666 & ~umask)
        self._temporary.replace(self._target)
        return self._target
