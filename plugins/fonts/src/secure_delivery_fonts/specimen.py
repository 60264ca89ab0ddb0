"""A sheet that shows a font: its name, its letters, a sentence from small to large.

Knows: letters set with FreeType by Pillow, the labels of secure-delivery-images. Must not know: tables.

A font decides how far its letters reach, so every line is drawn on a strip of its own and cut to it.
"""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from secure_delivery.plugin import Corrupt, Unsupported
from secure_delivery_images.lettering import BLACK, GREY, PALE, WHITE, Pen, harmless, scale_for

from .coverage import has
from .facts import Said
from .samples import Sample

WIDTH, HEIGHT = 1000, 700
_MARGIN = 48
_INNER = WIDTH - 2 * _MARGIN
_TITLE, _ROW = 52, 30
_SIZES = (13, 17, 22, 29, 38, 50, 66)
_STRIKES = (109, 136, 128, 160, 96, 64, 32, 16)  # pixels of letters that are pictures, in fonts that have only these
_WIDEST = 40_000  # pixels of a line before it is cut


def draw(data: bytes, index: int, told: Said, sample: Sample, size: tuple[int, int] | None) -> Image.Image:
    """The sheet of one font of a file. Raises `Unsupported` for letters of no size that can be drawn, `Corrupt`."""
    scale = scale_for(size, (WIDTH, HEIGHT))
    face = _Face(data, index)
    image = Image.new("RGB", (round(WIDTH * scale), round(HEIGHT * scale)), WHITE)
    pen = ImageDraw.Draw(image)
    name = harmless(told.full or "", 80)
    title = name if name and has(told.ranges, name) else (sample.rows[0][:12] if sample.rows else "")
    down = 24.0
    Pen(15 * scale).write(pen, (_MARGIN * scale, down * scale), Pen(15 * scale).cut(_caption(told, name), _INNER * scale), GREY)
    down += 34
    inked = _strip(image, face, title, _TITLE, down, scale)
    down += _TITLE * 1.45
    rule = [value * scale for value in (_MARGIN, down, WIDTH - _MARGIN, down)]
    pen.line(rule, PALE, max(1, round(scale)))
    down += 14
    for row in sample.rows:
        inked |= _strip(image, face, row, _ROW, down, scale)
        down += _ROW * 1.4
    down += 12
    for points in _SIZES:
        if down + points * 1.3 > HEIGHT - 16:
            break
        inked |= _strip(image, face, sample.sentence, points, down, scale)
        down += points * 1.35
    if not inked:
        raise Unsupported("no letter of this font leaves a mark")
    return image


def _caption(told: Said, name: str) -> str:
    """Name and style in letters that everybody reads, and how much there is of the font."""
    words = [name or "no name"]
    if told.glyphs is not None:
        words.append(f"{told.glyphs:,} glyphs")
    if told.axes:
        words.append("variable: " + ", ".join(axis.tag for axis in told.axes[:6]))
    return " · ".join(words)


def _strip(image: Image.Image, face: _Face, text: str, points: float, down: float, scale: float) -> bool:
    """One line of text in the font, cut to its strip; whether it left a mark."""
    if not text:
        return False
    wide, high = round(_INNER * scale), max(2, round(points * 1.4 * scale))
    strip = face.set(text, points * scale, wide, high)
    image.paste(strip, (round(_MARGIN * scale), round(down * scale)))
    return strip.convert("L").getextrema() != (255, 255)


class _Face:
    """A font that FreeType draws."""

    def __init__(self, data: bytes, index: int) -> None:
        self._data = data
        self._index = index
        self._fonts: dict[float, ImageFont.FreeTypeFont | None] = {}

    def set(self, text: str, size: float, wide: int, high: int) -> Image.Image:
        """A strip with the start of a text, its baseline at three quarters."""
        font = self._font(size)
        if font is not None:
            return self._drawn(font, text, wide, high)
        strike = next((one for one in _STRIKES if self._font(one) is not None), None)
        if strike is None:
            raise Unsupported("this font has letters of no size that can be drawn")
        ratio = strike / size
        large = self._drawn(self._fonts[strike], text, round(wide * ratio), round(high * ratio))
        return large.resize((wide, high), Image.Resampling.LANCZOS)

    def _drawn(self, font: ImageFont.FreeTypeFont | None, text: str, wide: int, high: int) -> Image.Image:
        strip = Image.new("RGB", (min(wide, _WIDEST), min(high, _WIDEST)), WHITE)
        try:
            left, top, right, bottom = font.getbbox(text, anchor="ls") if font else (0, 0, 0, 0)
            while len(text) > 1 and (right - left) > wide:
                text = text[: max(1, min(len(text) - 1, int(len(text) * wide / (right - left)) + 1))]
                left, top, right, bottom = font.getbbox(text, anchor="ls") if font else (0, 0, 0, 0)
            if right - left > _WIDEST or bottom - top > _WIDEST // 8:
                return strip  # letters of absurd size
            ImageDraw.Draw(strip).text((0, high * 0.74), text, BLACK, font=font, anchor="ls", embedded_color=True)
        except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Corrupt(f"font: {error}") from None
        return strip

    def _font(self, size: float) -> ImageFont.FreeTypeFont | None:
        if size not in self._fonts:
            try:
                font = ImageFont.truetype(BytesIO(self._data), size, self._index)
                font.getbbox("A")
            except (OSError, ValueError) as error:
                if "size" not in str(error).lower():
                    raise Corrupt(f"font: {error}") from None
                font = None
            self._fonts[size] = font
        return self._fonts[size]
