"""What an archive holds, as its headers say: entries, totals, whether that is all.

Knows: names, numbers. Must not know: any format of archives, pictures.

Nothing here is a path of a file: names are for showing, and nothing is ever unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

MOST_KEPT = 1_000  # entries whose names are kept; all are counted
MOST_COUNTED = 1_000_000  # entries; more are not looked at
_MOST_SIZE = (1 << 53) - 1  # what JSON numbers hold exactly (RFC 8259 section 6); nothing real is larger
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """One member. `size` and `packed` are bytes, None where headers do not say; `modified` is ISO 8601. The name of
    a folder has no slash at its end."""

    name: str
    size: int | None = None
    packed: int | None = None
    modified: str | None = None
    encrypted: bool = False
    folder: bool = False


@dataclass(slots=True)
class Listing:
    """The first entries of an archive, and counts of all of them.

    `complete` is False when not everything could be looked at: too many entries, too much to unpack on the way, an end that is
    missing. `packed` is the size of the data in the archive where the format only tells that of all together.
    """

    kind: str
    entries: list[Entry] = field(default_factory=list)
    files: int = 0
    folders: int = 0
    size: int = 0
    packed: int | None = None
    encrypted: int = 0
    complete: bool = True

    @property
    def full(self) -> bool:
        """Whether the names of further entries are wanted no more."""
        return len(self.entries) >= MOST_KEPT

    @property
    def spent(self) -> bool:
        """Whether no more entries are to be looked at."""
        return self.files + self.folders >= MOST_COUNTED

    def add(self, entry: Entry) -> None:
        """Take an entry: count it, and keep it while there is room."""
        self.count(size=entry.size, packed=entry.packed, folder=entry.folder, encrypted=entry.encrypted)
        if not self.full:
            self.entries.append(entry)

    def count(self, *, size: int | None, packed: int | None, folder: bool, encrypted: bool) -> None:
        """Take an entry of which only this is wanted."""
        self.folders += folder
        self.files += not folder
        self.encrypted += encrypted
        self.size = min(_MOST_SIZE, self.size + (size or 0))
        if packed is not None:
            self.packed = min(_MOST_SIZE, (self.packed or 0) + packed)


def bounded(size: int) -> int | None:
    """A size as a header says it; None for what can be no size."""
    return size if 0 <= size <= _MOST_SIZE else None


def moment(seconds: float) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC; None for what is no moment of this or a later time."""
    try:
        then = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return then.replace(microsecond=0, tzinfo=None).isoformat() + "Z" if _EARLIEST < then < _LATEST else None
