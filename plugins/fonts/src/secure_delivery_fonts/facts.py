"""What a font says about itself: names, measures, axes, rights.

Knows: the tables `name`, `head`, `OS/2`, `maxp`, `post`, `fvar` (OpenType 1.9). Must not know: pictures, sections.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from . import coverage
from .sfnt import Face

MOST_TEXT = 10_000  # characters of a licence
_MOST_RECORDS = 4_000
_MOST_AXES, _MOST_INSTANCES = 64, 200
_ENGLISH = 0x409
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_SCRIPT = frozenset({"Zyyy", "Zinh", "Zzzz"})
_MOST_LOOKED_UP = 200_000  # characters asked for their script

COPYRIGHT, FAMILY, STYLE, FULL, VERSION, POSTSCRIPT = 0, 1, 2, 4, 5, 6
MAKER, DESIGNER, LICENCE, LICENCE_URL, BETTER_FAMILY, BETTER_STYLE = 8, 9, 13, 14, 16, 17


@dataclass(frozen=True, slots=True)
class Axis:
    """One way in which a variable font varies."""

    tag: str
    name: str
    least: float
    usual: float
    most: float


@dataclass(slots=True)
class Said:
    """All of it. Texts are None where the font does not say."""

    names: dict[int, str]
    glyphs: int | None = None
    units: int | None = None
    weight: int | None = None
    width: int | None = None
    italic: bool = False
    monospaced: bool = False
    rights: int | None = None
    ranges: list[coverage.Range] = field(default_factory=list)
    axes: list[Axis] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    colour: bool = False

    @property
    def family(self) -> str | None:
        return self.names.get(BETTER_FAMILY) or self.names.get(FAMILY)

    @property
    def style(self) -> str | None:
        return self.names.get(BETTER_STYLE) or self.names.get(STYLE)

    @property
    def full(self) -> str | None:
        return self.names.get(FULL) or " ".join(name for name in (self.family, self.style) if name) or None


def said(face: Face) -> Said:
    """What this font says. Never raises: what is damaged is left out."""
    found = Said(_names(face.table(b"name")))
    found.ranges = coverage.ranges(face.table(b"cmap"))
    found.colour = any(name in face.tables for name in (b"COLR", b"CBDT", b"sbix", b"SVG "))
    head, maxp, system, post = (face.table(name) for name in (b"head", b"maxp", b"OS/2", b"post"))
    if len(head) >= 54:
        found.units = int.from_bytes(head[18:20], "big")
        found.italic = bool(head[45] & 2)
    if len(maxp) >= 6:
        found.glyphs = int.from_bytes(maxp[4:6], "big")
    if len(system) >= 68:
        found.weight, found.width, found.rights = struct.unpack_from(">3H", system, 4)
        found.italic = found.italic or bool(system[63] & 1)
    if len(post) >= 16:
        found.monospaced = any(post[12:16])
    try:
        _vary(face.table(b"fvar"), face.table(b"name"), found)
    except struct.error:
        pass
    return found


def scripts(found: list[coverage.Range]) -> dict[str, int]:
    """The scripts of these characters (ISO 15924), those with the most first, each with how many it has."""
    from fontTools import unicodedata  # type: ignore[import-untyped]

    counts: dict[str, int] = {}
    left = _MOST_LOOKED_UP
    for first, last in found:
        last = min(last, first + left - 1)
        left -= last - first + 1
        for code in range(first, last + 1):
            script = unicodedata.script(chr(code))
            counts[script] = counts.get(script, 0) + 1
        if left <= 0:
            break
    known = {script: number for script, number in counts.items() if script not in _NO_SCRIPT}
    return dict(sorted(known.items(), key=lambda pair: (-pair[1], pair[0])))


def _vary(table: bytes, names: bytes, found: Said) -> None:
    if len(table) < 16:
        return
    start, _, axes, step, instances, size = struct.unpack_from(">6H", table, 4)
    for index in range(min(axes, _MOST_AXES)):
        tag, least, usual, most, _, number = struct.unpack_from(">4s3l2H", table, start + step * index)
        name = _names(names, only=number).get(number, "")
        found.axes.append(Axis(clean(tag.decode("latin-1")).strip(), name, least / 65536, usual / 65536, most / 65536))
    place = start + step * axes
    for index in range(min(instances, _MOST_INSTANCES)):
        (number,) = struct.unpack_from(">H", table, place + size * index)
        name = _names(names, only=number).get(number, "")
        if name:
            found.instances.append(name)


def _names(table: bytes, only: int | None = None) -> dict[int, str]:
    """The names of a font by their number, each in the language that says most to most: English on Windows first."""
    if len(table) < 6:
        return {}
    count, texts = struct.unpack_from(">2H", table, 2)
    best: dict[int, tuple[int, str]] = {}
    for at in range(6, min(6 + 12 * min(count, _MOST_RECORDS), len(table) - 11), 12):
        platform, _, language, number, length, place = struct.unpack_from(">6H", table, at)
        if (number > 25) if only is None else number != only:
            continue
        rank = _rank(platform, language)
        if number in best and best[number][0] <= rank:
            continue
        raw = table[texts + place : texts + place + min(length, 4 * MOST_TEXT)]
        text = clean(raw.decode("mac-roman" if platform == 1 else "utf-16-be", "replace")).strip()
        if text:
            best[number] = (rank, text)
    return {number: text for number, (_, text) in best.items()}


def _rank(platform: int, language: int) -> int:
    if platform == 3:
        return 0 if language == _ENGLISH else 2 if language & 0x3FF == 9 else 4
    if platform == 0:
        return 3
    return 1 if platform == 1 and language == 0 else 5


def clean(text: str) -> str:
    """A text without control and direction characters."""
    return _ODD.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))[:MOST_TEXT]
