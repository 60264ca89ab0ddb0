"""Names of members of an archive: what strangers called their files, made safe to unpack anywhere.

Knows: what file systems refuse or misread. Must not know: archives, files.

A name is one part of a path, never several: no folder, no `..`, no drive (zip-slip, CWE-22). Control characters and those that
turn the direction of writing are dropped, what Windows forbids is replaced, and names of its devices are set off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_LONGEST = 200  # bytes in UTF-8, so that ` (100)` still fits into the 255 that file systems allow
_LONGEST_ENDING = 20  # characters of what is taken for an extension
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # parts of words and of emoji, not of tricks


def member_name(filename: str) -> str:
    """One safe name: never empty, at most 200 bytes in UTF-8, the extension kept."""
    last = re.split(r"[/\\]", filename.rstrip("/\\"))[-1][-20_000:]
    plain = "".join(letter for letter in last if letter in _JOINERS or unicodedata.category(letter) not in _INVISIBLE)
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", plain)).strip().rstrip(". ")
    stem, ending = _halves(plain)
    name = (_cut(stem, _LONGEST - len(ending.encode())).rstrip(". ") or "file") + ending
    return f"_{name}" if _DEVICE.fullmatch(name) else name


def member_names(filenames: Iterable[str]) -> list[str]:
    """Safe names for all, in order, no two alike even where case or composition of letters does not count.

    The second `photo.jpg` becomes `photo (2).jpg`.
    """
    taken: set[str] = set()
    names = []
    for filename in filenames:
        name = member_name(filename)
        stem, ending = _halves(name)
        number = 1
        while (key := unicodedata.normalize("NFKC", name.casefold())) in taken:
            number += 1
            name = f"{stem} ({number}){ending}"
        taken.add(key)
        names.append(name)
    return names


def _halves(name: str) -> tuple[str, str]:
    """What comes before the extension, and the extension with its dot."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem.strip(".") or not 0 < len(ending) <= _LONGEST_ENDING or len(ending.encode()) > 60:
        return name, ""
    return stem, f".{ending}"


def _cut(text: str, most: int) -> str:
    """The beginning of a text, of at most so many bytes in UTF-8."""
    return text.encode()[:most].decode("utf-8", "ignore")
