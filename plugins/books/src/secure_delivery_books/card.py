"""The cover of a book that has none: its title and who wrote it, on a board of cloth.

Knows: letters, words. Must not know: formats of books.
"""

from __future__ import annotations

import zlib

from PIL import Image, ImageDraw

from secure_delivery_images.lettering import Pen, harmless, scale_for

from .model import Book

WIDTH, HEIGHT = 600, 900
_MARGIN = 60
#: Cloths: dark enough for light letters.
_CLOTHS = ((38, 70, 83), (94, 48, 62), (45, 84, 58), (64, 58, 104), (110, 64, 34), (52, 60, 72))
_INK, _PALE = (247, 243, 232), (205, 198, 180)


def draw(book: Book, filename: str, size: tuple[int, int] | None) -> Image.Image:
    """About as large as this size hint says. The cloth is chosen by the title, so it is the same every time."""
    scale = scale_for(size, (WIDTH, HEIGHT))
    title = harmless(book.title or filename.rpartition("/")[2].rpartition(".")[0] or filename or "Book")
    cloth = _CLOTHS[zlib.crc32(title.encode("utf-8", "replace")) % len(_CLOTHS)]
    image = Image.new("RGB", (round(WIDTH * scale), round(HEIGHT * scale)), cloth)
    pen = ImageDraw.Draw(image)
    spine = [0, 0, 22 * scale, HEIGHT * scale]
    pen.rectangle(spine, fill=(cloth[0] * 3 // 4, cloth[1] * 3 // 4, cloth[2] * 3 // 4))
    down = 150.0
    for line in _fitting(title):
        size_of_letters, words = line
        Pen(size_of_letters * scale, bold=True).write(pen, (_MARGIN * scale, down * scale), words, _INK)
        down += size_of_letters * 1.35
    down += 24
    rule = [value * scale for value in (_MARGIN, down, _MARGIN + 120, down)]
    pen.line(rule, _PALE, max(1, round(2 * scale)))
    down += 24
    plain = Pen(24)
    for words in plain.wrapped(", ".join(book.creators[:5]), WIDTH - 1.5 * _MARGIN, 4) if book.creators else ():
        Pen(24 * scale).write(pen, (_MARGIN * scale, down * scale), words, _INK)
        down += 34
    if book.publisher:
        words = Pen(18).cut(harmless(book.publisher), WIDTH - 1.5 * _MARGIN)
        Pen(18 * scale).write(pen, (_MARGIN * scale, (HEIGHT - 70) * scale), words, _PALE)
    return image


def _fitting(title: str) -> list[tuple[int, str]]:
    """A title in lines, in the largest letters with which it takes no more than six."""
    lines: list[str] = []
    for size in (48, 38, 30, 24):
        lines = Pen(size, bold=True).wrapped(title, WIDTH - 1.5 * _MARGIN, 7)
        if len(lines) <= 6:
            return [(size, words) for words in lines]
    return [(24, words) for words in lines[:6]]
