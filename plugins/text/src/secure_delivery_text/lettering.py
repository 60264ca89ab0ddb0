"""Fonts and single lines of text: which font has a character, how wide a run is, how it is put onto a picture.

Knows: Pillow, the fonts of this package, of the pictures' and of the machine. Must not know: pages, languages.

Fonts of this package are read once, before a worker is confined. Characters that none of them has are looked for in the fonts
of the machine (Chinese, Japanese, Korean and others); without such a font the box is drawn that stands for a missing one.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

MONO, MONO_BOLD, SANS, SANS_BOLD = "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSans", "DejaVuSans-Bold"
_SHIPPED = (MONO, MONO_BOLD, SANS, SANS_BOLD)
_PLACES = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
#: Words in the names of font files that have what the shipped ones lack, the best first.
_WANTED = (
    *(
        "notosanscjk",
        "notosansmonocjk",
        "sourcehansans",
        "notoserifcjk",
        "wqy-",
        "droidsansfallback",
        "unifont",
        "ipag",
        "takao",
    ),
    *("vl-gothic", "nanum", "uming", "ukai", "msyh", "msgothic", "malgun", "pingfang", "hiragino", "notosans", "freesans"),
)
_MOST_FILES = 3_000  # looked at
_MOST_FALLBACKS = 4
_LARGEST = 40_000_000  # bytes of one: it is read whole
_MISSING = "\U0010fffe"  # no font has it

Font = ImageFont.FreeTypeFont
_BASIC: Final = ImageFont.Layout.BASIC  # left to right, one character after the other, the same on every machine


@lru_cache(maxsize=8)
def _bytes(name: str) -> bytes:
    # DejaVu Sans is shipped once, with the package that all drawing plugins stand on.
    place = files("secure_delivery_images.lettering") if name == SANS else files(__package__) / "fonts"
    return (place / f"{name}.ttf").read_bytes()


@lru_cache(maxsize=1)
def fallbacks() -> tuple[Path, ...]:
    """Fonts of this machine that may have what ours lack."""
    found: dict[str, Path] = {}
    seen = 0
    for place in _PLACES:
        for path in sorted(Path(place).rglob("*")) if Path(place).is_dir() else ():
            seen += 1
            if seen > _MOST_FILES:
                break
            word = next((word for word in _WANTED if word in path.name.lower().replace(" ", "")), None)
            if word and path.suffix.lower() in (".ttf", ".otf", ".ttc") and path.stat().st_size <= _LARGEST:
                known = found.get(word)
                if known is None or "regular" in path.name.lower() < known.name.lower():
                    found[word] = path
    return tuple(found[word] for word in _WANTED if word in found)[:_MOST_FALLBACKS]


@lru_cache(maxsize=64)
def font(name: str, size: int) -> Font:
    """One of the shipped fonts at a size in pixels."""
    return ImageFont.truetype(BytesIO(_bytes(name)), size, layout_engine=_BASIC)


@lru_cache(maxsize=16)
def _fallback(path: Path, size: int) -> Font | None:
    try:
        return ImageFont.truetype(str(path), size, layout_engine=_BASIC)
    except OSError:  # not to be read here, or no font
        return None


@lru_cache(maxsize=128)
def _box(face: Font) -> bytes:
    return _picture(face, _MISSING)


def _picture(face: Font, sign: str) -> bytes:
    mask, offset = face.getmask2(sign, "L")
    return bytes(mask) + repr((mask.size, offset)).encode()


@lru_cache(maxsize=20_000)
def _holder(name: str, size: int, sign: str) -> Font:
    """The font that has a character: the one that is wanted, the shipped one with the most, one of the machine."""
    first = font(name, size)
    for face in (first, font(SANS_BOLD if name in (MONO_BOLD, SANS_BOLD) else SANS, size)):
        if _picture(face, sign) != _box(face):
            return face
    for path in fallbacks():
        other = _fallback(path, size)
        if other is not None and _picture(other, sign) != _box(other):
            return other
    return first


def pieces(name: str, size: int, text: str) -> list[tuple[Font, str]]:
    """A text in runs of one font each."""
    if text.isascii():
        return [(font(name, size), text)]
    runs: list[tuple[Font, str]] = []
    for sign in text:
        face = font(name, size) if sign < "\u0250" else _holder(name, size, sign)
        if runs and runs[-1][0] is face:
            runs[-1] = (face, runs[-1][1] + sign)
        else:
            runs.append((face, sign))
    return runs


@lru_cache(maxsize=50_000)
def width(name: str, size: int, text: str) -> float:
    """Of a run, in pixels."""
    return sum(face.getlength(run) for face, run in pieces(name, size, text))


def put(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    name: str,
    size: int,
    text: str,
    colour: str,
    *,
    slanted: bool = False,
) -> None:
    """A run of text, its baseline at `place`."""
    x, y = place
    for face, run in pieces(name, size, text):
        if slanted:
            _lean(draw, (x, y), face, run, colour)
        else:
            draw.text((x, y), run, fill=colour, font=face, anchor="ls")
        x += face.getlength(run)


def _lean(draw: ImageDraw.ImageDraw, place: tuple[float, float], face: Font, run: str, colour: str) -> None:
    """The letters leaning to the right by a fifth of their height: no slanted font is shipped for a word here and there."""
    ascent, descent = face.getmetrics()
    wide, high = int(face.getlength(run)) + ascent, ascent + descent
    mask = Image.new("L", (max(1, wide), max(1, high)))
    ImageDraw.Draw(mask).text((0, ascent), run, fill=255, font=face, anchor="ls")
    mask = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0.2, -0.2 * ascent, 0, 1, 0), Image.Resampling.BILINEAR)
    draw.bitmap((round(place[0]), round(place[1]) - ascent), mask, fill=colour)


def warm() -> None:
    """Read the fonts of this package and look through those of the machine."""
    for name in _SHIPPED:
        _bytes(name)
        font(name, 16)
    for path in fallbacks():
        _fallback(path, 16)
