"""Pages of PDF files: drawn, measured, read. All by PDFium.

Knows: PDFium. Must not know: options of tasks, how a result is written, the structure of files (see `structure`).

The build that is used has no JavaScript engine and no XFA (`check_build` refuses others), so a document has nothing to run
with; actions of any kind are never triggered, because nobody clicks. Forms are drawn with the values they hold.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image
from pypdfium2.version import PDFIUM_INFO

from secure_delivery.plugin import ConfigurationError, Corrupt, TooLarge, Unsupported, WorkLimits

from .faults import encrypted, faults

POINTS = 72  # to the inch
DENSITY = 150  # dots to the inch of a picture of a page, unless asked otherwise
OWN_SIDE = 2_000  # pixels of the longer side of a page whose size nobody asked for, at the most
WHITE = (255, 255, 255, 255)
MOST_PAGES = 5_000  # of a document that is worked on at all
_MOST_TEXT = 20_000_000  # characters read from one document
_MOST_LINES = 2_000  # of one page of a viewer
_FINE = 10_000  # steps of a page's width and height that places of text are given in


class Line(NamedTuple):
    """A run of text on a page; its place in ten-thousandths of the page, from the top left."""

    text: str
    left: int
    top: int
    width: int
    height: int


def check_build() -> None:
    """Raise `ConfigurationError` for a PDFium that could run scripts of documents."""
    unwanted = {"V8", "XFA"} & set(PDFIUM_INFO.flags)
    if unwanted:
        raise ConfigurationError(f"this build of PDFium has {', '.join(sorted(unwanted))}; one without is needed")


class Pages:
    """An open document. Made by `opened`."""

    def __init__(self, document: pypdfium2.PdfDocument, limits: WorkLimits) -> None:
        self._document = document
        self._limits = limits
        self.count = len(document)

    def size(self, number: int) -> tuple[float, float]:
        """Width and height of a page as it is seen, in points. Pages count from 0."""
        width, height = self._document.get_page_size(number)
        if not (0 < width < 1e7 and 0 < height < 1e7):
            raise Corrupt(f"a page of {width} x {height} points")
        return width, height

    def scale(self, number: int, density: int | None) -> float:
        """Pixels to the point: what was asked for, which must fit the limits, or else what fits."""
        width, height = self.size(number)
        scale = (density or DENSITY) / POINTS
        pixels = math.ceil(width * scale) * math.ceil(height * scale)
        if pixels <= self._limits.pixels and max(width, height) * scale <= self._limits.output_side:
            return scale
        if density is not None:
            public = f"The page has too many pixels at {density} dpi: at most {self._limits.pixels} are allowed."
            raise TooLarge(f"{width} x {height} points at {density} dpi", public=public)
        return self._most(width, height)

    def _most(self, width: float, height: float) -> float:
        room = math.sqrt(self._limits.pixels / (width * height)), (self._limits.output_side - 1) / max(width, height)
        return min(room) * 0.999

    def fitting(self, number: int, side: int) -> float:
        """Pixels to the point so that neither side of the picture is longer than `side`."""
        return min(side / max(self.size(number)), self.scale(number, None))

    def within(self, number: int, box: tuple[int, int] | None) -> float:
        """Pixels to the point so that a page is as large as fits a box; a side of 0 is free. Without one, the page's own size
        at `DENSITY`, no side over `OWN_SIDE`. Never more than the limits."""
        if box is None or not any(box):
            return self.fitting(number, OWN_SIDE)
        width, height = self.size(number)
        wanted = min(side / own for side, own in zip(box, (width, height), strict=True) if side)
        wanted *= 1 - 1e-9  # a side is rounded up: 800.0000001 pixels would be 801
        pixels = math.ceil(width * wanted) * math.ceil(height * wanted)
        if pixels <= self._limits.pixels and max(width, height) * wanted <= self._limits.output_side:
            return wanted
        return min(wanted, self._most(width, height))

    def picture(self, number: int, scale: float, fill: tuple[int, int, int, int] = WHITE) -> Image.Image:
        """A page drawn in `RGB`, or in `RGBA` when `fill`, the colour of the paper, is not opaque."""
        page = self._page(number)
        try:
            bitmap = page.render(scale=scale, fill_color=fill, rev_byteorder=True, limit_image_cache=True)
            image: Image.Image = bitmap.to_pil()
            return image.copy() if image.readonly else image  # read-only: its pixels are those of the bitmap, which goes away
        finally:
            page.close()

    def text(self, number: int) -> str:
        """The text of a page, with line feeds."""
        page = self._page(number)
        try:
            text: str = page.get_textpage().get_text_range()
        finally:
            page.close()
        return text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufffe", "-").replace("\x00", "")

    def lines(self, number: int) -> list[Line]:
        """The runs of text of a page with their places, at most two thousand."""
        page = self._page(number)
        try:
            written = page.get_textpage()
            count = min(written.count_rects(), _MOST_LINES)
            boxes = [written.get_rect(index) for index in range(count)]
            texts = [" ".join(written.get_text_bounded(*box).split()) for box in boxes]
            return [
                Line(text, *_seen(page, box)) for text, box in zip(texts, boxes, strict=True) if text and "\x00" not in text
            ]
        finally:
            page.close()

    def information(self) -> dict[str, str]:
        """What the file says of itself, by the names that PDF has for it (ISO 32000-1, 14.3.3)."""
        return dict(self._document.get_metadata_dict(skip_empty=True))

    def version(self) -> str:
        """Of the format, as `1.7`; "" when the file does not say."""
        number = self._document.get_version()
        return f"{number // 10}.{number % 10}" if number else ""

    def protected(self) -> bool:
        """Whether the file is encrypted, with a password that is empty."""
        return bool(pdfium.FPDF_GetSecurityHandlerRevision(self._document.raw) >= 0)

    def coloured(self, number: int) -> bool:
        """Whether anything on a page has a hue, looked at in a small picture of it."""
        small = self.picture(number, self.fitting(number, 200))
        hue, saturation, value = small.convert("HSV").split()
        del hue
        product = zip(saturation.tobytes(), value.tobytes(), strict=True)
        return any(s * v > 24 * 255 for s, v in product)

    def _page(self, number: int) -> pypdfium2.PdfPage:
        if not 0 <= number < self.count:
            raise Unsupported(f"page {number + 1} of {self.count}", public=f"The file has no page {number + 1}.")
        return self._document[number]


@contextmanager
def opened(data: bytes, limits: WorkLimits) -> Iterator[Pages]:
    """The document in some bytes. Raises `Encrypted` when it needs a password, `TooLarge`, `Corrupt`."""
    check_build()
    with faults("pdf"):
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
                raise encrypted() from error
            raise Corrupt(f"pdf: {error}") from error
        try:
            if not len(document):
                raise Corrupt("pdf: no pages")
            if len(document) > MOST_PAGES:
                raise TooLarge(f"{len(document)} pages", public=f"Documents may have at most {MOST_PAGES} pages.")
            document.init_forms()
            yield Pages(document, limits)
        finally:
            document.close()


def whole_text(data: bytes, limits: WorkLimits) -> str:
    """The text of all pages, an empty line between them."""
    parts, length = [], 0
    with opened(data, limits) as pages:
        for number in range(pages.count):
            parts.append(pages.text(number).strip("\n"))
            length += len(parts[-1])
            if length > _MOST_TEXT:
                raise TooLarge(f"over {_MOST_TEXT} characters")
    return "\n\n".join(parts) + "\n"


def _seen(page: Any, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """A box of the page's own space as left, top, width, height on the page as it is seen, turned and cropped."""
    corners = []
    for x, y in ((box[0], box[1]), (box[2], box[3])):
        right, down = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDF_PageToDevice(page.raw, 0, 0, _FINE, _FINE, 0, x, y, right, down)
        corners.append((max(0, min(_FINE, right.value)), max(0, min(_FINE, down.value))))
    (x1, y1), (x2, y2) = corners
    return min(x1, x2), min(y1, y2), abs(x1 - x2), abs(y1 - y2)


def warm() -> None:
    """Draw a page, so that PDFium has looked through the fonts before a worker is confined and forks."""
    check_build()
    from .plain import as_pdf

    with opened(as_pdf("Ag") or b"", WorkLimits()) as pages:
        pages.picture(0, 0.2)
