"""A picture on its way through a chain: where it comes from, what is still to be done, how it will be written.

Knows: what there is to say about a picture. Must not know: how URLs spell options, how the work is done (`making`).

Nothing is decoded while a chain is put together; `open` does it all at once: open, reduce while decoding (JPEG), turn
upright, make pixels plain, run the edits, encode once. So a JPEG is decoded at the size the first edit needs, and a chain of
five tasks loses quality once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image

from secure_delivery.plugin import Decoded, Media, WorkLimits, Workshop

from . import engines, making
from .decode import Facts, check_area, faults, inspect, open_image, set_up
from .drawing import Drawing, Pixels
from .edits import Edit
from .encode import Encoding, written_as
from .headers import FORMS, MIMETYPES, Size
from .metadata import more_of
from .names import renamed
from .readers import Sketch, sketched


def warm() -> None:
    """Load what Pillow loads late, so that a confined worker opens no files."""
    set_up(WorkLimits())
    Image.preinit()
    engines.load()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A `Media` that is decoded, edited and encoded when it is opened.

    Other plugins take it from this package (`from secure_delivery_images import Picture`, inside `apply` or `warm`):

    * `Picture.taken(media, shop)` is the picture in any media, a page drawn by another plugin included;
    * `Picture.drawn(image, filename=..., limits=...)` is a picture made by code, `Picture.sketched(sketch, limits=...)`
      one that code draws at the size that is needed;
    * `decoded()` gives its pixels with all edits so far, `edited(edit)` notes one more, `encoded(form=...)` says how the
      result is written.
    """

    source: Media | Drawing | Sketch
    facts: Facts
    limits: WorkLimits
    edits: tuple[Edit, ...] = ()
    encoding: Encoding = field(default_factory=Encoding)
    upright: bool = True
    page: int = 1
    kept: list[bytes] = field(default_factory=list, repr=False, compare=False)
    pixels: list[Pixels] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def taken(cls, media: Media, shop: Workshop) -> Picture:
        """The picture in a media, as the workshop wants it: within its limits, with the metadata its profile allows, and, if
        the file is a smaller copy, of the size of the original. Raises like `of`."""
        picture = cls.of(media, shop.limits)
        if picture is media or isinstance(picture.source, (Drawing, Sketch)):
            return picture
        if shop.original is not None and Size(*shop.original) != picture.facts.displayed:
            form = FORMS.get(media.mimetype, picture.facts.form)
            facts = replace(picture.facts, original=Size(*shop.original))
            picture = replace(picture, facts=facts).encoded(form=written_as(form))
        return picture.allowing(shop.metadata)

    @classmethod
    def of(cls, media: Media, limits: WorkLimits) -> Picture:
        """The picture in a media; one that is a `Picture` already is taken as it is, decoded pixels of another plugin too.

        Raises `Unsupported`, `TooLarge` or `Corrupt` from the header alone (security promises 39, 44).
        """
        if isinstance(media, Picture):
            return media
        if isinstance(media, Decoded):
            image = media.decoded()
            if isinstance(image, Image.Image):
                form = FORMS.get(media.mimetype, "PNG")
                return cls.drawn(image, filename=media.filename, limits=limits, form=form)
        sketch = sketched(media, limits)
        if sketch is not None:
            return cls.sketched(sketch, limits=limits, size=media.size or 0)
        return cls(source=media, facts=inspect(media, limits), limits=limits)

    @classmethod
    def sketched(cls, sketch: Sketch, *, limits: WorkLimits, size: int = 0) -> Picture:
        """A picture that code draws when its pixels are needed, as large as they are needed (see `readers.Sketch`); `size` is
        the bytes of its file. Raises `TooLarge` over the limit of pixels."""
        check_area(sketch.size, limits)
        facts = Facts(form="PNG", stored=sketch.size, orientation=1, size=size, frames=False, alpha=True)
        return cls(source=sketch, facts=facts, limits=limits)

    @classmethod
    def drawn(cls, image: Image.Image, *, filename: str, limits: WorkLimits, form: str = "PNG") -> Picture:
        """A picture made by code: a page of a document, a screenshot, a code to scan.

        `image` is upright and in any mode that pictures have; a colour profile in its `info` counts. It is not copied, so
        leave it alone afterwards. `form` is Pillow's word for the format that is written unless a task names another.
        Raises `TooLarge` over the limit of pixels; using it raises `Unsupported` for 32-bit samples.
        """
        return cls.filmed([image], filename=filename, limits=limits, form=form)

    @classmethod
    def filmed(
        cls,
        images: Sequence[Image.Image],
        *,
        filename: str,
        limits: WorkLimits,
        form: str = "GIF",
        times: Sequence[int] = (),
        loop: int | None = None,
    ) -> Picture:
        """An animation made by code, of frames of one size; times in milliseconds, `loop` 0 for ever, None for once."""
        size = Size(*images[0].size)
        check_area(size, limits)
        drawing = Drawing(images=tuple(images), filename=filename, times=tuple(times), loop=loop)
        alpha = any(image.mode not in ("1", "L", "RGB", "CMYK") for image in images)
        facts = Facts(form=form, stored=size, orientation=1, size=0, frames=len(images) > 1, alpha=alpha)
        return cls(source=drawing, facts=facts, limits=limits)

    @property
    def form(self) -> str:
        """The format of the result, in Pillow's word."""
        return self.encoding.form or written_as(self.facts.form)

    @property
    def mimetype(self) -> str:
        return MIMETYPES[self.form]

    @property
    def filename(self) -> str:
        return renamed(self.source.filename, self.form)

    @property
    def size(self) -> int | None:
        return len(self.kept[0]) if self.kept else None

    @property
    def extra(self) -> dict[str, Any]:
        """Width and height of the encoded result, for whoever stores it; nothing while it is not encoded."""
        if not self.kept:
            return {}
        with faults():
            return {"size": list(open_image(BytesIO(self.kept[0]), self.form, self.limits).size)}

    def edited(self, edit: Edit) -> Picture:
        """The same with one more edit."""
        return replace(self, edits=(*self.edits, edit), kept=[], pixels=list(self.pixels))

    def encoded(self, **changes: Any) -> Picture:
        """The same, to be written otherwise (the fields of `Encoding`)."""
        return replace(self, encoding=replace(self.encoding, **changes), kept=[], pixels=list(self.pixels))

    def allowing(self, profile: str) -> Picture:
        """The same, with at least the metadata that this profile allows (`none`, `copyright`, `no_location`, `all`)."""
        return self.encoded(metadata=more_of(self.encoding.metadata, profile))

    def unturned(self) -> Picture:
        """The same, with the pixels as stored: the orientation tag is dropped without being followed."""
        return replace(self, upright=False, kept=[], pixels=[])

    def at_page(self, page: int) -> Picture:
        """The same, from another picture of the same file, counted from 1."""
        return self if page == self.page else replace(self, page=page, kept=[], pixels=[])

    def open(self) -> BinaryIO:
        """The encoded result. Raises `Corrupt`, `TooLarge`, `Unsupported`, `ProcessingLimit`."""
        if not self.kept:
            with faults():
                self.kept.append(making.result(self))
        return BytesIO(self.kept[0])

    def decoded(self) -> Image.Image:
        """The pixels with every edit so far, upright, in mode `L`, `LA`, `RGB` or `RGBA`; of an animation its first frame.

        A colour profile that is not sRGB is in its `info`. The pixels stay with the picture, so `open` and further edits do
        not decode again: look at them, do not change them. Raises like `open`.
        """
        with faults():
            image, kept = making.still(self, keep=True)
            if image.mode == "CMYK":
                return image.convert("RGB")
            image.info = {"icc_profile": kept.profile} if kept.profile else {}
            return image

    def dimensions(self) -> Size:
        """Width and height of the result. Pixels are decoded only when there are edits to be run."""
        if not self.edits and self.page == 1:
            return self.facts.displayed if self.upright else self.facts.stored
        with faults():
            return Size(*making.still(self)[0].size)
