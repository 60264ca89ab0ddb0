"""Pictures that become documents: a page of PDF, OpenDocument or SVG with the picture on it.

Knows: pictures by the plugin for them. Must not know: options of tasks, programs.
"""

from __future__ import annotations

import base64
import zlib
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

import pikepdf
from pikepdf import Dictionary, Name, Pdf
from PIL import Image, ImageChops

from secure_delivery_images import Picture

from . import odf
from .options import LONGEST, SHORTEST, sheet
from .structure import written

_POINTS_PER_PIXEL = 0.75  # 96 pixels to the inch, as CSS has it
_MARGIN = 36.0  # points that OpenDocument pages leave free
_LOSSLESS_UP_TO = 30_000_000  # pixels; larger ones are written as JPEG, or a file would have hundreds of megabytes
_QUALITY = 90
_VIEWER_QUALITY = 80
_HUE = 4  # levels that two channels of a grey page may differ by
_EDGE = 24  # levels next to black and to white that count as these
_BETWEEN = 0.2  # of the pixels: the edges of letters on a page that is full of them


class Encoded(NamedTuple):
    """A picture as a file that documents can hold: its bytes, `jpg` or `png`, width and height in pixels."""

    data: bytes
    extension: str
    size: tuple[int, int]


def encoded(picture: Picture) -> Encoded:
    """The picture as JPEG when it is one (unchanged where it can be), else as PNG."""
    form = "JPEG" if picture.form == "JPEG" else "PNG"
    with picture.encoded(form=form, quality="input" if form == "JPEG" else None).open() as stream:
        data = stream.read()
    with Image.open(BytesIO(data), formats=(form,)) as image:
        size, mode = image.size, image.mode
    if form == "JPEG" and mode not in ("RGB", "L"):
        out = BytesIO()
        picture.decoded().convert("RGB").save(out, "JPEG", quality=_QUALITY)
        data = out.getvalue()
    return Encoded(data, "jpg" if form == "JPEG" else "png", size)


def as_svg(picture: Picture, title: str) -> bytes:
    """An SVG that holds the picture."""
    data, extension, (width, height) = encoded(picture)
    kind = "jpeg" if extension == "jpg" else "png"
    href = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}"><title>{escape(title)}</title>'
        f'<image width="{width}" height="{height}" xlink:href="{href}"/></svg>\n'
    ).encode()


def as_open_document(picture: Picture, kind: str, paper: str | None, orientation: str | None) -> bytes:
    """An ODT, ODS or ODP with the picture on paper of its own size, or of the format asked for."""
    data, extension, pixels = encoded(picture)
    margin = 0.0 if kind == "odp" else _MARGIN
    size, page = _placed(pixels, paper, orientation, margin)
    return odf.picture(kind, data, extension, size, page)


def as_pdf(picture: Picture, paper: str | None = None, orientation: str | None = None) -> bytes:
    """One page with the picture, as large as the picture, or as large as fits the format asked for."""
    with Pdf.new() as document:
        add_page(document, picture, paper, orientation)
        return written(document)


def add_page(document: Pdf, picture: Picture, paper: str | None = None, orientation: str | None = None) -> None:
    """Add such a page to a file."""
    pixels = picture.dimensions()
    size, page_size = _placed(pixels, paper, orientation, 0.0)
    if picture.form == "JPEG" or pixels[0] * pixels[1] > _LOSSLESS_UP_TO:
        image = _jpeg(document, picture)
    else:
        image = _lossless(document, picture.decoded())
    left, bottom = (page_size[0] - size[0]) / 2, (page_size[1] - size[1]) / 2
    drawing = f"q {size[0]:.3f} 0 0 {size[1]:.3f} {left:.3f} {bottom:.3f} cm /Picture Do Q"
    document.add_blank_page(page_size=page_size)
    page = document.pages[-1].obj
    page["/Resources"] = Dictionary(XObject=Dictionary(Picture=image))
    page["/Contents"] = document.make_stream(drawing.encode())


def _placed(
    pixels: tuple[int, int], paper: str | None, orientation: str | None, margin: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The size of the picture and that of the paper, in points."""
    own = (max(1.0, pixels[0] * _POINTS_PER_PIXEL), max(1.0, pixels[1] * _POINTS_PER_PIXEL))
    shrink = min(1.0, (LONGEST - 2 * margin) / max(own))
    own = (own[0] * shrink, own[1] * shrink)
    if paper is None and orientation is None:
        return own, (max(SHORTEST, own[0] + 2 * margin), max(SHORTEST, own[1] + 2 * margin))
    page = sheet(own, paper, orientation)
    scale = min((page[0] - 2 * margin) / own[0], (page[1] - 2 * margin) / own[1])
    if scale <= 0:
        scale, margin = min(page[0] / own[0], page[1] / own[1]), 0.0
    return (own[0] * scale, own[1] * scale), page


def _jpeg(document: Pdf, picture: Picture) -> pikepdf.Object:
    """The picture as a JPEG stream: the file itself where nothing has to be changed."""
    if picture.form == "JPEG":
        data = encoded(picture).data
    else:
        with picture.encoded(form="JPEG", quality=_QUALITY).open() as stream:
            data = stream.read()
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        size, grey = image.size, image.mode == "L"
    return document.make_stream(data, _description(size, grey, Filter=Name.DCTDecode))


def _lossless(document: Pdf, image: Image.Image) -> pikepdf.Object:
    """The picture as a compressed stream of its samples, transparency beside it."""
    grey = image.mode in ("L", "LA")
    plain = image.convert("L" if grey else "RGB")
    more: dict[str, Any] = {}
    if image.mode in ("LA", "RGBA"):
        mask = zlib.compress(image.getchannel("A").tobytes(), 6)
        more["SMask"] = document.make_stream(mask, _description(image.size, True, Filter=Name.FlateDecode))
    samples = zlib.compress(plain.tobytes(), 6)
    return document.make_stream(samples, _description(image.size, grey, Filter=Name.FlateDecode, **more))


def _description(size: tuple[int, int], grey: bool, **more: Any) -> Dictionary:
    return Dictionary(
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=size[0],
        Height=size[1],
        ColorSpace=Name.DeviceGray if grey else Name.DeviceRGB,
        BitsPerComponent=8,
        **more,
    )


def shrunk(picture: Picture, side: int) -> Image.Image:
    """The pixels of a picture, no side longer than `side`, on white."""
    image = picture.decoded()
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def for_viewer(image: Image.Image) -> tuple[bytes, str]:
    """A page as it is written into an HTML page, and its type.

    A page of print, black on white, has sixteen shades as PNG: sharper than WebP, half the size, and made in a quarter of the
    time (measured). Everything else is WebP.
    """
    out = BytesIO()
    rgb = image.convert("RGB")
    grey = rgb.convert("L")
    if _is_print(rgb, grey):
        shades = Image.frombytes("P", grey.size, grey.point([round(level / 17) for level in range(256)]).tobytes())
        shades.putpalette([level for shade in range(16) for level in (shade * 17,) * 3])
        shades.save(out, "PNG", bits=4)
        return out.getvalue(), "image/png"
    rgb.save(out, "WEBP", quality=_VIEWER_QUALITY, method=1)
    return out.getvalue(), "image/webp"


def _is_print(rgb: Image.Image, grey: Image.Image) -> bool:
    """Whether a page has no hue and hardly anything between black and white."""
    difference = ImageChops.difference(rgb, grey.convert("RGB")).getextrema()
    if any(isinstance(band, tuple) and band[1] > _HUE for band in difference):
        return False
    levels = grey.histogram()
    between = sum(levels[_EDGE:-_EDGE])
    return between < _BETWEEN * sum(levels)
