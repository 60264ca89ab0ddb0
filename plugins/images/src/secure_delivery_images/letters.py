"""`ascii`: a picture as letters on a page.

Knows: which letters look how dark, HTML. Must not know: options, files.

The page stands for itself: no script, nothing fetched, and everything that comes from outside is escaped.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from itertools import groupby

from PIL import Image, ImageOps

from secure_delivery.plugin import WorkLimits

from .colours import WHITE, Colour
from .edits import Resize
from .headers import Size
from .modes import flattened, has_alpha

#: From empty to full: even steps of ink in the common monospaced faces. None of them means anything in HTML.
_LETTERS = " .,:;!*r+=?cjCy3aPmO#QB@"
_MOST_COLUMNS = 240  # at 100 per cent: a page that a browser shows at once
_MOST_ROWS = 600
_PIXELS_PER_LETTER = 2
_SHAPE = 0.6  # width by height of a letter cell, with the line height set below
_SHADES = 0xF8  # colours of letters are kept to 32 levels a channel, so that neighbours share one

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 0; padding: 8px; background: {background}; }}
pre {{ margin: 0; color: {foreground}; font: bold 8px/1 "DejaVu Sans Mono", Menlo, Consolas, monospace; letter-spacing: 0; }}
</style>
</head>
<body>
<pre role="img" aria-label="{title}">
{letters}
</pre>
</body>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One pixel for each letter: `percent` of the most columns there are."""

    percent: int

    def run(self, image: Image.Image, size: Size, limits: WorkLimits) -> Image.Image:
        most = max(1, min(_MOST_COLUMNS, size.width // _PIXELS_PER_LETTER))
        columns = max(1, round(most * self.percent / 100))
        rows = max(1, round(columns * size.height / size.width * _SHAPE))
        if rows > _MOST_ROWS:
            columns, rows = max(1, round(columns * _MOST_ROWS / rows)), _MOST_ROWS
        return Resize(width=columns, height=rows, fit="scale", filter="box").run(image, size, limits)


def page(cells: Image.Image, *, title: str, ink: Colour, paper: Colour, coloured: bool, reverse: bool) -> str:
    """The page for a picture with one pixel a letter. Darker parts get fuller letters, with `reverse` lighter ones."""
    ground = paper if paper[3] else WHITE
    colours = (flattened(cells, ground) if has_alpha(cells) else cells).convert("RGB")
    letters = _LETTERS[len(_LETTERS) // 2 :] if coloured else _LETTERS  # a colour says how light it is: its letter need not
    steps = len(letters) - 1
    ramp = letters if reverse else letters[::-1]
    table = [round(value * steps / 255) for value in range(256)]
    levels = ImageOps.autocontrast(colours.convert("L"), cutoff=1).point(table).tobytes()
    width = cells.width
    lines = ["".join(ramp[value] for value in levels[start : start + width]) for start in range(0, len(levels), width)]
    if coloured:
        pixels = colours.tobytes()
        lines = [_coloured(line, pixels[row * width * 3 : (row + 1) * width * 3]) for row, line in enumerate(lines)]
    else:
        lines = [html.escape(line.rstrip()) for line in lines]
    return _PAGE.format(title=html.escape(title), background=_css(paper), foreground=_css(ink), letters="\n".join(lines))


def _coloured(line: str, pixels: bytes) -> str:
    """A line whose letters have the colours of the picture; neighbours of one colour share an element."""
    found = [_hexadecimal(pixels[place : place + 3]) for place in range(0, len(pixels), 3)]
    parts = []
    for colour, group in groupby(zip(found, line, strict=True), key=lambda pair: pair[0]):
        letters = "".join(letter for _, letter in group)
        parts.append(letters if letters.isspace() else f'<span style="color:#{colour}">{html.escape(letters)}</span>')
    return "".join(parts).rstrip()


def _hexadecimal(pixel: bytes) -> str:
    return bytes((channel & _SHADES) | (channel >> 5) for channel in pixel).hex()


def _css(colour: Colour) -> str:
    red, green, blue, alpha = colour
    return f"rgba({red}, {green}, {blue}, {alpha / 255:.3g})"
