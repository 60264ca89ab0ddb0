"""Which characters a font has: ranges of code points, from its character map.

Knows: the table `cmap` (OpenType 1.9), formats 0, 4, 6, 10, 12, 13. Must not know: what is done with them.

A few bytes of this table can stand for every character there is, or for four billion: ranges stay ranges.
"""

from __future__ import annotations

import struct

_LAST = 0x10FFFF
_MOST_RANGES = 50_000
#: The maps of a font, the best first: (platform, encoding).
_BEST = ((3, 10), (0, 6), (0, 4), (3, 1), (0, 3), (0, 2), (0, 1), (0, 0), (3, 0))

Range = tuple[int, int]  # first and last, both inclusive


def ranges(table: bytes) -> list[Range]:
    """The characters of the best map in this table, sorted, without overlaps. Empty for a table that is damaged."""
    if len(table) < 4:
        return []
    (count,) = struct.unpack_from(">H", table, 2)
    maps: dict[tuple[int, int], int] = {}
    for at in range(4, min(4 + 8 * count, len(table) - 7), 8):
        platform, encoding, place = struct.unpack_from(">2HL", table, at)
        maps.setdefault((platform, encoding), place)
    for kind in _BEST:
        if kind in maps:
            try:
                found = _merged(_of(table, maps[kind]))
            except (struct.error, IndexError):
                found = []
            if found:
                return found
    return []


def count(found: list[Range]) -> int:
    """How many characters these ranges have."""
    return sum(last - first + 1 for first, last in found)


def has(found: list[Range], text: str) -> bool:
    """Whether all of these characters but blanks are covered."""
    return all(any(first <= ord(letter) <= last for first, last in found) for letter in set(text) - {" "})


def _of(table: bytes, place: int) -> list[Range]:
    (form,) = struct.unpack_from(">H", table, place)
    if form == 0:
        return [(code, code) for code in range(256) if table[place + 6 + code]]
    if form == 4:
        return _segments(table, place)
    if form == 6:
        first, length = struct.unpack_from(">2H", table, place + 6)
        return [(first, first + length - 1)]
    if form == 10:
        first, length = struct.unpack_from(">2L", table, place + 12)
        return [(first, first + length - 1)]
    if form in (12, 13):
        (groups,) = struct.unpack_from(">L", table, place + 12)
        groups = min(groups, _MOST_RANGES, (len(table) - place - 16) // 12)
        return [struct.unpack_from(">2L", table, place + 16 + 12 * index) for index in range(groups)]
    return []


def _segments(table: bytes, place: int) -> list[Range]:
    (twice,) = struct.unpack_from(">H", table, place + 6)
    size = twice // 2
    ends, starts, _deltas, offsets = (
        struct.unpack_from(f">{size}H", table, place + 14 + part * twice + (2 if part else 0)) for part in range(4)
    )
    found: list[Range] = []
    left = 0x10000  # glyphs looked at; segments do not overlap in a sound font
    for index in range(size):
        first, last = starts[index], min(ends[index], 0xFFFE)
        if first > last:
            continue
        if offsets[index] == 0:
            found.append((first, last))
            continue
        at = place + 16 + 3 * twice + 2 * index + offsets[index]
        length = min(last - first + 1, left, max(0, (len(table) - at) // 2))
        left -= length
        glyphs = struct.unpack_from(f">{length}H", table, at)
        found += [(first + number, first + number) for number, glyph in enumerate(glyphs) if glyph]
    return found


def _merged(found: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for first, last in sorted((first, min(last, _LAST)) for first, last in found if first <= min(last, _LAST)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
