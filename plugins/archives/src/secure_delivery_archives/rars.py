"""RAR files by their headers, with rarfile, which is asked for nothing that needs a program.

Knows: rarfile. Must not know: what is drawn.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any, BinaryIO

import rarfile  # type: ignore[import-untyped]

from secure_delivery.plugin import Corrupt, Encrypted, Unsupported

from .listing import Entry, Listing, bounded


class _Enough(Exception):
    """More entries than are looked at."""


def listing(stream: BinaryIO) -> Listing:
    """All that the headers say. Raises `Corrupt`, `Encrypted`, `Unsupported` for parts of something larger."""
    found = Listing("rar")

    def take(info: Any) -> None:
        if isinstance(info, rarfile.RarInfo) and info.filename:
            if found.spent:
                raise _Enough
            found.add(_entry(info))

    try:
        archive = rarfile.RarFile(stream, info_callback=take, part_only=True)
        if archive.needs_password() and not found.entries:
            raise Encrypted("rar: the headers are encrypted")
    except _Enough:
        found.complete = False
    except rarfile.NeedFirstVolume:
        raise Unsupported("rar: one of several parts", public="This archive is one of several parts.") from None
    except rarfile.PasswordRequired:
        raise Encrypted("rar: the headers are encrypted") from None
    except (rarfile.Error, struct.error, ValueError, IndexError, TypeError, OSError, AttributeError, OverflowError) as error:
        raise Corrupt(f"rar: {type(error).__name__}: {error}") from None
    return found


def _entry(info: Any) -> Entry:
    when = info.mtime if isinstance(info.mtime, datetime) else None
    return Entry(
        name=info.filename,
        size=bounded(info.file_size) if isinstance(info.file_size, int) else None,
        packed=bounded(info.compress_size or 0),
        modified=when.isoformat(timespec="seconds").replace("+00:00", "Z") if when else None,
        encrypted=bool(info.needs_password()),
        folder=bool(info.is_dir()),
    )
