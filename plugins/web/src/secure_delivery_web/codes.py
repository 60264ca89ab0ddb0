"""`qr`: a picture is read, a text becomes a picture.

Knows: QR codes, by segno and zxing-cpp; pictures, by the pictures' plugin. Must not know: how pictures are decoded or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from secure_delivery.plugin import Media, MemoryFile, Param, Unsupported, Workshop, choice, integer, json_file

if TYPE_CHECKING:
    from secure_delivery_images import Picture

VERSION = "1"

_LEVELS = {"l": "L", "low": "L", "m": "M", "medium": "M", "q": "Q", "quartile": "Q", "h": "H", "high": "H"}
_MOST_TEXT = 7_089  # digits in the largest code; letters fewer, bytes 2,953
_QUIET = 4  # modules of white around the code (ISO/IEC 18004)
_SIDE = 512  # pixels that a picture has at least, unless one module is one pixel already


class Qr:
    """`qr`: of a picture the text of the first code in it, `{"data": "..."}` (null when there is none); of a text, a picture.

    For making: `version` 1 to 40 (the smallest that fits), `error_correction` L, M, Q, H (M), `format` png, jpg, webp, gif or
    svg (png). The content of the source decides what is done. Reading takes QR codes, Micro QR codes and rectangular ones.
    """

    params: ClassVar[tuple[Param, ...]] = (
        Param("version", integer(1, 40)),
        Param("error_correction", choice(*_LEVELS), (), "m"),
        Param("format", choice("png", "jpg", "webp", "gif", "svg"), (), "png"),
    )
    version = VERSION

    def warm(self) -> None:
        """Import segno, zxing-cpp and pictures."""
        import_module("segno")
        import_module("zxingcpp")
        import_module("secure_delivery_images.picture").warm()

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for what is neither picture nor text, or too long; what reading pictures raises."""
        from secure_delivery_images import Picture

        text = _text_of(media)
        if text is None:
            return json_file({"data": _read(Picture.of(media, shop.limits))}, "qr.json")
        return _made(text, options, shop)


def _text_of(media: Media) -> str | None:
    """The text in a file, None for one that holds something else."""
    from secure_delivery_images.headers import HEAD, format_of

    with media.open() as stream:
        data = stream.read(4 * _MOST_TEXT + 1)
    if format_of(data[:HEAD]) is not None or media.mimetype.startswith("image/"):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _read(picture: Picture) -> str | None:
    import zxingcpp

    kinds = zxingcpp.BarcodeFormat
    formats = zxingcpp.BarcodeFormats([kinds.QRCode, kinds.MicroQRCode, kinds.RMQRCode])
    image = picture.decoded()
    if "A" in image.getbands():  # codes are printed on something; on white they are meant to be read
        from PIL import Image

        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    found = zxingcpp.read_barcodes(image.convert("L"), formats=formats, text_mode=zxingcpp.TextMode.Plain)
    for code in found:
        if code.valid:
            return str(code.text)
    return None


def _made(text: str, options: Mapping[str, Any], shop: Workshop) -> Media:
    import segno
    from segno.encoder import DataOverflowError

    text = text.rstrip("\r\n")
    if not text:
        raise Unsupported(public="qr: the text is empty.")
    plain = text.isascii()  # other texts say that they are UTF-8 (ECI), so that no reader has to guess
    level, encoding = _LEVELS[options["error_correction"]], None if plain else "utf-8"
    try:
        code = segno.make_qr(text, version=options["version"], error=level, encoding=encoding, eci=not plain, boost_error=False)
    except (DataOverflowError, ValueError):
        version = f"version {options['version']}" if options["version"] else "a QR code"
        raise Unsupported(public=f"qr: the text is too long for {version} at this error correction.") from None
    scale = max(1, -(-_SIDE // int(code.symbol_size(border=_QUIET)[0])))
    if options["format"] == "svg":
        return MemoryFile(code.svg_inline(scale=scale, border=_QUIET, omitsize=False).encode(), "image/svg+xml", "qr.svg")
    return _drawn(code, scale, options["format"], shop)


def _drawn(code: Any, scale: int, form: str, shop: Workshop) -> Media:
    from PIL import Image

    from secure_delivery_images import Picture

    rows = [bytes(255 * (1 - module) for module in row) for row in code.matrix_iter(border=_QUIET)]
    image = Image.frombytes("L", (len(rows[0]), len(rows)), b"".join(rows))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    picture = Picture.drawn(image, filename="qr.png", limits=shop.limits)
    return picture if form == "png" else picture.encoded(form={"jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}[form])
