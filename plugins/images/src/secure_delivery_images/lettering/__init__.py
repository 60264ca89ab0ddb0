"""Words on a sheet: what other plugins draw listings, letters and cards with.

Knows: Pillow, the font beside this module, fonts of the machine for what that one lacks. Must not know: files, tasks, what a
sheet is about.

`from secure_delivery_images.lettering import Pen, harmless, scale_for` inside a previewer. Texts are laid out at one size and
drawn at another: `Pen(size)` measures, `Pen(size * scale)` draws, so that the number of pages does not depend on how large a
picture is wanted. The font is DejaVu Sans, unmodified; its licence is beside it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path

from PIL import ImageDraw, ImageFont

Ink = tuple[int, int, int]

BLACK: Ink = (32, 33, 36)
GREY: Ink = (110, 114, 120)
PALE: Ink = (218, 220, 224)
WHITE: Ink = (255, 255, 255)
RED: Ink = (179, 38, 30)
BLUE: Ink = (26, 95, 180)

#: Fonts of the machine for writing that DejaVu Sans has no letters for, those with the most first. Looked for by name in the
#: folders that confined processes may read.
_MORE = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf",
    "uming.ttc", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "NotoSansBengali-Regular.ttf",
    "NotoSansTamil-Regular.ttf", "Lohit-Devanagari.ttf", "NotoEmoji-Regular.ttf", "Symbola.ttf", "unifont.otf", "unifont.ttf",
)  # fmt: skip
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
_MOST_LOOKED_AT = 20_000  # files in these folders
#: What would end a line, move the pen or turn the direction of what follows, so that a name is not read as it is.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_LONGEST = 1_000_000  # characters of a line
_WORD = re.compile(" *[^ ]+")
_UNASSIGNED = "\U0010fffd"  # no font has a letter for it: its picture is the one for all that a font lacks


def harmless(text: str, most: int = 500) -> str:
    """A text of one line in which nothing is hidden: control, invisible and direction characters become U+FFFD."""
    return _HARMFUL.sub("\ufffd", text[: most + 1])[:most]


def scale_for(size: tuple[int, int] | None, natural: tuple[int, int], *, least: float = 0.3, most: float = 2.5) -> float:
    """How much larger than its natural size a sheet is drawn for this size hint (`Work.size`); 1 without one."""
    if size is None:
        return 1.0
    ratios = [wanted / own for wanted, own in zip(size, natural, strict=True) if wanted]
    return max(least, min(most, *ratios, most)) if ratios else 1.0


class Pen:
    """Letters of one size in pixels, regular or bold. Cheap to make."""

    def __init__(self, size: float, *, bold: bool = False) -> None:
        self.size = max(1.0, size)
        self.bold = bold
        self.line = self.size * 1.4  # from one line to the next, in pixels
        self._stroke = self.size / 36 if bold else 0.0

    def width(self, text: str) -> float:
        """Pixels that a text of one line takes."""
        return sum(_font(self.size, which).getlength(part) for which, part in _runs(text)) + 2 * self._stroke

    def write(self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, ink: Ink = BLACK) -> None:
        """Write a text of one line, its line box beginning at `place`."""
        across, base = place[0], place[1] + self.size * 1.05
        for which, part in _runs(text):
            font = _font(self.size, which)
            draw.text((across, base), part, fill=ink, font=font, anchor="ls", stroke_width=self._stroke)
            across += font.getlength(part)

    def cut(self, text: str, width: float) -> str:
        """A text of one line, shortened in the middle of nowhere but marked with an ellipsis when it is wider than this."""
        if self.width(text) <= width:
            return text
        return self._fitting(text, width - self.width("…")).rstrip() + "…"

    def wrapped(self, text: str, width: float, most: int = 100_000) -> list[str]:
        """The lines of a text in a column of this width, at most so many, made `harmless`; blanks that begin a line stay."""
        lines: list[str] = []
        for line in text.splitlines() or [""]:
            lines += self._broken(harmless(line.expandtabs(4), _LONGEST), width, most - len(lines))
            if len(lines) >= most:
                break
        return lines[:most]

    def _broken(self, line: str, width: float, most: int) -> list[str]:
        lines: list[str] = []
        waiting = deque(_WORD.findall(line))
        now, used = "", 0.0
        while waiting and len(lines) < most:
            word = waiting.popleft()
            long = self._known(word)
            if used + long <= width:
                now, used = now + word, used + long
            elif now:
                lines.append(now)
                waiting.appendleft(word.lstrip(" "))
                now, used = "", 0.0
            else:  # a word wider than the column
                part = self._fitting(word, width) or word[:1]
                lines.append(part)
                if len(part) < len(word):
                    waiting.appendleft(word[len(part) :])
        return [*lines, now] if now or not lines else lines

    def _known(self, word: str) -> float:
        return _width(word, self.size) if len(word) <= 40 else self.width(word[:4000])

    def _fitting(self, text: str, width: float) -> str:
        """As much of the start of a text as is no wider than this."""
        low, high = 0, min(len(text), int(width / self.size * 8) + 8)  # no letter is narrower than an eighth of its height
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle]) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low]


def warm() -> None:
    """Read the fonts, so that a confined worker opens no files."""
    for which in range(1 + len(_more())):
        _font(12.0, which)


@lru_cache(maxsize=20_000)
def _width(word: str, size: float) -> float:
    return sum(_font(size, which).getlength(part) for which, part in _runs(word))


def _runs(text: str) -> list[tuple[int, str]]:
    """A text in parts, each with the number of a font that has its letters."""
    if text.isascii():
        return [(0, text)] if text else []
    runs: list[tuple[int, str]] = []
    for letter in text:
        which = 0 if letter.isascii() else _who_has(letter)
        if runs and (runs[-1][0] == which or letter == " "):
            runs[-1] = (runs[-1][0], runs[-1][1] + letter)
        else:
            runs.append((which, letter))
    return runs


@lru_cache(maxsize=20_000)
def _who_has(letter: str) -> int:
    """The first font with a picture of its own for this letter, 0 when none has."""
    for which in range(1 + len(_more())):
        if _picture(which, letter) != _picture(which, _UNASSIGNED):
            return which
    return 0


def _picture(which: int, letter: str) -> tuple[Sequence[int], bytes]:
    mask = _font(24.0, which).getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(maxsize=64)
def _font(size: float, which: int = 0) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(_own() if which == 0 else _more()[which - 1]), size)


@cache
def _own() -> bytes:
    return Path(__file__).with_name("DejaVuSans.ttf").read_bytes()


@cache
def _more() -> tuple[bytes, ...]:
    """Fonts of the machine that have letters which ours lacks, at most four."""
    found: dict[str, Path] = {}
    looked_at = 0
    for folder in _FOLDERS:
        for path in Path(folder).rglob("*.[ot]t[fc]"):
            looked_at += 1
            if looked_at > _MOST_LOOKED_AT:
                break
            found.setdefault(path.name, path)
    fonts = []
    for name in [name for name in _MORE if name in found][:4]:
        try:
            data = found[name].read_bytes()
            ImageFont.truetype(BytesIO(data), 12)
        except OSError:
            continue
        fonts.append(data)
    return tuple(fonts)
