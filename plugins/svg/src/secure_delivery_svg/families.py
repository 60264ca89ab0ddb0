"""Which fonts stand for `serif` and its kind on this machine.

Knows: where systems keep fonts, and what the usual ones are called. Must not know: drawings.

resvg takes Times New Roman, Arial and Courier New for the generic families and draws no text at all where these are missing, as
on most servers; a text without a known font is to be drawn with one that is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ImageFont

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
#: For each generic family: names by which a drawing is set, with the file that has it (without ending), the best first.
_USUAL: dict[str, tuple[tuple[str, str], ...]] = {
    "serif_family": (
        ("Times New Roman", "times new roman"),
        ("Times New Roman", "times"),
        ("Liberation Serif", "liberationserif-regular"),
        ("DejaVu Serif", "dejavuserif"),
        ("Noto Serif", "notoserif-regular"),
        ("FreeSerif", "freeserif"),
    ),
    "sans_serif_family": (
        ("Arial", "arial"),
        ("Liberation Sans", "liberationsans-regular"),
        ("DejaVu Sans", "dejavusans"),
        ("Noto Sans", "notosans-regular"),
        ("FreeSans", "freesans"),
    ),
    "monospace_family": (
        ("Courier New", "courier new"),
        ("Courier New", "cour"),
        ("Liberation Mono", "liberationmono-regular"),
        ("DejaVu Sans Mono", "dejavusansmono"),
        ("Noto Sans Mono", "notosansmono-regular"),
        ("FreeMono", "freemono"),
    ),
}


@lru_cache(maxsize=1)
def generic_families() -> dict[str, Any]:
    """The arguments of resvg that name fonts which are here; nothing where there is no font at all.

    Looks once in each process: fonts that are installed later count from the next one on.
    """
    files = sorted(_font_files(), key=lambda path: path.name.lower())
    here = {path.stem.lower() for path in files}
    chosen = {kind: next((name for name, file in usual if file in here), None) for kind, usual in _USUAL.items()}
    found = {kind: name for kind, name in chosen.items() if name is not None}
    any_font = found.get("serif_family") or next(iter(found.values()), None) or _first_family(files)
    if any_font is None:
        return {}
    return {"font_family": any_font, **dict.fromkeys(_USUAL, any_font), **found}


def _font_files() -> Iterator[Path]:
    for folder in _FOLDERS:
        for place, _, names in os.walk(folder):
            yield from (Path(place, name) for name in names if name.lower().endswith((".ttf", ".otf", ".ttc")))


def _first_family(files: list[Path]) -> str | None:
    for path in files:
        try:
            family = ImageFont.truetype(str(path), 10).getname()[0]
        except OSError:
            continue
        if family:
            return family
    return None
