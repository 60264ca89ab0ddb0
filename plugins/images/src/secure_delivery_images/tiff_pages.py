"""Which pictures of a TIFF file are its pages.

Knows: the chain of directories (TIFF 6.0, section 2) and what a directory says it is for (tag 254). Must not know: Pillow,
pixels.

Scanners and microscopes put smaller copies and masks between the pages. They are pictures of the file, but no pages of it.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

MOST = 10_000  # directories that are counted; what comes after them is not seen
_SUBFILE = 254
_FIRST_ENTRIES = 64  # of a directory: tags are sorted, and this one is the lowest in use
_COPY, _MASK = 1, 4  # bits of its value


def pages(stream: BinaryIO) -> list[int]:
    """The numbers, from 0, of the directories that are pages, in order. Never empty. Raises nothing for what a file says."""
    stream.seek(0)
    head = stream.read(8)
    order = "<" if head[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", head, 4)[0] if len(head) == 8 else 0
    seen: set[int] = set()
    found: list[int] = []
    while at and at not in seen and len(seen) < MOST:
        seen.add(at)
        stream.seek(at)
        count = stream.read(2)
        if len(count) < 2:
            break
        entries = struct.unpack(order + "H", count)[0]
        kind = _kind(stream.read(12 * min(entries, _FIRST_ENTRIES)), order)
        if not kind & (_COPY | _MASK):
            found.append(len(seen) - 1)
        stream.seek(at + 2 + 12 * entries)
        after = stream.read(4)
        at = struct.unpack(order + "I", after)[0] if len(after) == 4 else 0
    return found or [0]


def _kind(entries: bytes, order: str) -> int:
    for place in range(0, len(entries) - 11, 12):
        tag, form = struct.unpack_from(order + "HH", entries, place)
        if tag == _SUBFILE:
            return int(struct.unpack_from(order + ("H" if form == 3 else "I"), entries, place + 8)[0])
    return 0
