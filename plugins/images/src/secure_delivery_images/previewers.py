"""Previews of pictures, and the icon that stands for a file that nothing else can show.

Knows: which files are for them, the contract of previewers. Must not know: Pillow, which only a worker loads, in `warm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from secure_delivery.plugin import Corrupt, Needs, Page, Previewer, TooLarge, Unsupported, Work

if TYPE_CHECKING:
    from .picture import Picture

MIMETYPES = (
    "image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff", "image/bmp", "image/avif", "image/heic", "image/heif",
    "image/jp2", "image/x-icon", "image/vnd.microsoft.icon",
)  # fmt: skip
EXTENSIONS = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "tif", "tiff", "bmp", "dib", "avif", "heic", "heif"),
    *("jp2", "j2k", "jpf", "jpx", "j2c", "jpc", "ico", "cur", "icns", "dds", "pcx", "qoi", "sgi", "rgb", "rgba", "bw"),
    *("pbm", "pgm", "ppm", "pnm", "pfm", "tga", "icb", "vda", "vst"),
)
_LARGEST_ICON = 1024  # pixels a side: larger ones are made from it
_USUAL_ICON = 512


class PicturePreviewer:
    """Whatever has pixels of its own. Pages are those of a TIFF file, and of an icon the pictures in it, the largest first;
    an animation is one page, its first frame."""

    mimetypes: ClassVar[tuple[str, ...]] = MIMETYPES
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    priority = 50
    family = "picture"
    needs = Needs(libraries=("pillow", "pi-heif"), install="pip install secure-delivery-images")

    def warm(self) -> None:
        """Load Pillow and every reader."""
        import_module(".picture", __package__).warm()
        import_module(".rare", __package__).warm()

    def probe(self, head: bytes, filename: str) -> bool:
        """By signature; TGA, which has none, by name as well."""
        from . import headers, rare

        return headers.format_of(head[: headers.HEAD]) is not None or rare.form_of(head[: rare.HEAD], filename) is not None

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported`, `TooLarge`, `Corrupt`, `ProcessingLimit`. The first page is decoded when it is scaled."""
        from . import headers, rare

        with work.media.open() as stream:
            head = stream.read(max(headers.HEAD, rare.HEAD))
        form = headers.format_of(head[: headers.HEAD])
        if form == "TIFF":
            yield from self._tiff(work)
        elif form is not None:
            if work.pages(1):
                yield Page(number=1, media=_still(work))
        elif (kind := rare.form_of(head[: rare.HEAD], work.media.filename)) is not None:
            yield from self._rare(work, kind)
        else:
            raise Unsupported("no known signature", public="This file is not a picture of a supported format.")

    def _tiff(self, work: Work) -> Iterator[Page]:
        from .decode import faults, inspect, open_image
        from .deep import DEEP
        from .picture import Picture
        from .tiff_pages import pages

        inspect(work.media, work.limits)
        with faults(), work.media.open() as stream:
            frames = pages(stream)
            image = open_image(stream, "TIFF", work.limits)
            for number in work.pages(len(frames)):
                if frames[number - 1] == 0 and image.mode not in DEEP:
                    picture = Picture.taken(work.media, work.shop)  # which an engine may decode, and smaller
                else:
                    picture = _drawn(_frame(image, frames[number - 1], work), work)
                yield Page(number=number, media=picture, total=len(frames))

    def _rare(self, work: Work, form: str) -> Iterator[Page]:
        from .decode import faults
        from .picture import Picture
        from .rare import Rare, wavelets

        with work.media.open() as stream:
            _within(stream, work)
        if form == "JPEG2000":
            if work.pages(1):
                yield Page(number=1, media=Picture.sketched(wavelets(work.media, work.limits), limits=work.limits))
            return
        with faults(), work.media.open() as stream:
            rare = Rare(stream, form, work.limits)
            for number in work.pages(rare.total):
                yield Page(number=number, media=_drawn(rare.picture(number), work), total=rare.total)


class IconPreviewer:
    """A picture that we draw, for any file: a sheet with the sign of its family and its extension."""

    mimetypes: ClassVar[tuple[str, ...]] = ("*/*",)
    extensions: ClassVar[tuple[str, ...]] = ()
    priority = -100
    family = "icon"
    needs = Needs(libraries=("pillow",), install="pip install secure-delivery-images")

    def warm(self) -> None:
        """Draw one: that loads the font, and what shapes letters."""
        import_module(".picture", __package__).warm()
        import_module(".icon", __package__).draw("text/plain", "warm.txt", 32)

    def preview(self, work: Work) -> Iterator[Page]:
        """One page, square, as large as the smaller side of the size that is wanted. Reads nothing of the file."""
        from .icon import draw

        if work.pages(1):
            image = draw(work.media.mimetype, work.media.filename, _icon_side(work.size))
            yield Page(number=1, media=_drawn(image, work))


def previewers() -> dict[str, Previewer]:
    """Both, by name."""
    return {"picture": PicturePreviewer(), "icon": IconPreviewer()}


# -------------------------------------------------------------------------------------------------------------- helpers


def _still(work: Work) -> Picture:
    """The picture, undecoded; of an animation the first frame, so that no format makes it move."""
    from .picture import Picture

    picture = Picture.taken(work.media, work.shop)
    if not picture.facts.frames:
        return picture
    return _drawn(picture.decoded(), work)


def _drawn(image: object, work: Work) -> Picture:
    from PIL import Image

    from .picture import Picture

    if not isinstance(image, Image.Image):
        raise Corrupt("no picture")
    return Picture.drawn(image, filename=work.media.filename, limits=work.limits)


def _frame(image: object, frame: int, work: Work) -> object:
    """One picture of a TIFF file, decoded and upright, checked before it is decoded. Call inside `faults`."""
    from PIL import Image

    from .decode import check_area
    from .deep import eight_bits
    from .modes import working

    if not isinstance(image, Image.Image):
        raise Corrupt("no picture")
    image.seek(frame)
    check_area(image.size, work.limits)
    tags = getattr(image, "tag_v2", {})
    check_area((int(tags.get(322, 1)), int(tags.get(323, 1))), work.limits)  # a tile may be larger than its picture
    image.load()
    pixels, profile = working(eight_bits(image))
    pixels = pixels.copy() if pixels is image else pixels  # the reader goes on to the next one
    pixels.info = {"icc_profile": profile} if profile else {}
    return pixels


def _within(stream: BinaryIO, work: Work) -> None:
    size = stream.seek(0, 2)
    if size > work.limits.bytes:
        raise TooLarge(f"{size} bytes, limit {work.limits.bytes}")


def _icon_side(size: tuple[int, int] | None) -> int:
    sides = [side for side in size or () if side > 0]
    return min(max(16, min(sides, default=_USUAL_ICON)), _LARGEST_ICON)
