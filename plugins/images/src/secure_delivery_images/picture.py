"""A picture on its way through a chain: where it comes from, what is still to be done, how it will be written.

Knows: the order of the work. Must not know: how URLs spell options.

Nothing is decoded while a chain is put together; `open` does it all at once: open, reduce while decoding (JPEG), turn
upright, make colours plain, run the edits, encode once. So a JPEG is decoded at the size the first edit needs, and a chain of
five tasks loses quality once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import get_sampling

from secure_delivery.plugin import Corrupt, Decoded, Media, Unsupported, WorkLimits

from .decode import MAX_FRAMES, Facts, TooManyFrames, all_frames, check_area, faults, inspect, open_image, set_up, turned
from .edits import Edit, Resize, check_output
from .encode import ANIMATED, DEFAULT_QUALITY, WITH_CMYK, Encoding, Frames, Kept, encode
from .headers import FORMS, MIMETYPES, Size
from .modes import working
from .names import renamed
from .readers import Sketch, drawn_at, sketched
from .strip import stripped

_DRAFT_GAP = 1.5  # decode to at least this many times the result: Lanczos does the rest, 50 dB from doing it all
_LOWER = (0.8, 0.6, 0.4, 0.25, 0.1)  # of the wanted quality, tried in turn while a bounded result is too large
_UNTOUCHED_AVIF = 90  # a file that must be written again only to lose its metadata
_THUMBNAIL = 1  # the directory of EXIF that holds a small copy of the picture


def warm() -> None:
    """Load what Pillow loads late, so that a confined worker opens no files."""
    set_up(WorkLimits())
    Image.preinit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The source of a picture that no file holds: pixels that somebody made, and the name they go by."""

    image: Image.Image
    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Decoded pixels kept with a picture: `done` of its edits are in them; `way` is what decoding depended on."""

    image: Image.Image
    kept: Kept
    done: int
    way: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A `Media` that is decoded, edited and encoded when it is opened.

    Other plugins take it from this package (`from secure_delivery_images import Picture`, inside `apply` or `warm`):

    * `Picture.of(media, limits)` is the picture in any media, a page drawn by another plugin included;
    * `Picture.drawn(image, filename=..., limits=...)` is a picture made by code;
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
            check_area(sketch.size, limits)
            facts = Facts(form="PNG", stored=sketch.size, orientation=1, size=media.size or 0, frames=False)
            return cls(source=sketch, facts=facts, limits=limits)
        return cls(source=media, facts=inspect(media, limits), limits=limits)

    @classmethod
    def drawn(cls, image: Image.Image, *, filename: str, limits: WorkLimits, form: str = "PNG") -> Picture:
        """A picture made by code: a page of a document, a screenshot, a code to scan.

        `image` is upright and in any mode that pictures have; a colour profile in its `info` counts. It is not copied, so
        leave it alone afterwards. `form` is Pillow's word for the format that is written unless a task names another.
        Raises `TooLarge` over the limit of pixels, `Unsupported` for 32-bit samples.
        """
        size = Size(*image.size)
        check_area(size, limits)
        facts = Facts(form=form, stored=size, orientation=1, size=0, frames=False)
        return cls(source=Drawing(image=image, filename=filename), facts=facts, limits=limits)

    @property
    def form(self) -> str:
        """The format of the result, in Pillow's word."""
        return self.encoding.form or self.facts.form

    @property
    def mimetype(self) -> str:
        return MIMETYPES[self.form]

    @property
    def filename(self) -> str:
        return renamed(self.source.filename, self.form)

    @property
    def size(self) -> int | None:
        return len(self.kept[0]) if self.kept else None

    def edited(self, edit: Edit) -> Picture:
        """The same with one more edit."""
        return replace(self, edits=(*self.edits, edit), kept=[], pixels=list(self.pixels))

    def encoded(self, **changes: Any) -> Picture:
        """The same, to be written otherwise (the fields of `Encoding`)."""
        return replace(self, encoding=replace(self.encoding, **changes), kept=[], pixels=list(self.pixels))

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
                self.kept.append(self._result())
        return BytesIO(self.kept[0])

    def decoded(self) -> Image.Image:
        """The pixels with every edit so far, upright, in mode `L`, `LA`, `RGB` or `RGBA`; of an animation its first frame.

        They stay with the picture, so `open` and further edits do not decode again: look at them, do not change them.
        Raises like `open`.
        """
        with faults():
            image = self._still(keep=True)[0]
            return image.convert("RGB") if image.mode == "CMYK" else image

    def dimensions(self) -> Size:
        """Width and height of the result. Pixels are decoded only when there are edits to be run."""
        if not self.edits and self.page == 1:
            return self.facts.displayed if self.upright else self.facts.stored
        with faults():
            return Size(*self._still()[0].size)

    # -------------------------------------------------------------------------------------------------------- the work

    def _result(self) -> bytes:
        if self._untouched:
            return self._rewritten()
        frames, kept = self._frames()
        check_output(frames.images[0].size, self.limits)
        data = encode(frames, self.form, self.encoding, kept)
        if self._too_large(data, frames):
            data = self._smaller(data, frames, kept)
        return data

    @property
    def _untouched(self) -> bool:
        """Whether the pixels and their format stay as they are."""
        encoding = self.encoding
        turned = self.facts.orientation != 1 and (self.upright or self.facts.form == "TIFF")
        same = not self.edits and self.page == 1 and not turned and self.form == self.facts.form
        return (
            same
            and not isinstance(self.source, (Drawing, Sketch))
            and encoding.quality in (None, "input")
            and not encoding.progressive
            and encoding.background is None
            and encoding.colorspace != "cmyk"
        )

    def _rewritten(self) -> bytes:
        """The file without its metadata, as little changed as its format allows: pixels that nobody edited are not spoilt."""
        with self._file.open() as stream:
            data = stream.read()
        image = self._decoded(BytesIO(data))
        check_output(image.size, self.limits)
        encoding = self.encoding
        bare = self._bare(data)
        if bare is not None and not (encoding.compress and self.form in ("JPEG", "PNG")):
            return bare
        if bare is None and self.form in ANIMATED and self.facts.frames:
            frames, kept = self._frames()
        else:
            frames, kept = Frames(images=[image]), self._along(image, image.info.get("icc_profile") or b"")
        quality = _UNTOUCHED_AVIF if self.form == "AVIF" else "input"
        again = encode(frames, self.form, replace(encoding, quality=quality), kept)
        return again if bare is None or len(again) < len(bare) else bare

    def _bare(self, data: bytes) -> bytes | None:
        """The source's own bytes with only that metadata which may stay; None where that cannot be done."""
        if self.encoding.keep_metadata:
            return data if self.facts.orientation == 1 else None  # the tag may not be followed a second time
        try:
            return stripped(data, self.form)
        except ValueError:
            return None

    def _decoded(self, stream: BinaryIO) -> ImageFile.ImageFile:
        """The whole picture with every pixel decoded: bytes that are handed on were understood to their end."""
        image = open_image(stream, self.facts.form, self.limits)
        image.load()
        return image

    def _frames(self) -> tuple[Frames, Kept]:
        """The finished frames: all of them for an animation that stays one and is within the limits, else the first."""
        if self.facts.frames and self.form in ANIMATED and self.page == 1:
            try:
                return self._moving(), Kept()
            except TooManyFrames:
                pass  # said in the documentation: the first frame stands for the rest
        image, kept = self._still()
        return Frames(images=[image]), kept

    def _moving(self) -> Frames:
        images, times, area = [], [], 0
        with self._file.open() as stream:
            image = open_image(stream, self.facts.form, self.limits)
            loop = image.info.get("loop")
            for frame, time in all_frames(image, self.limits):
                images.append(self._run(frame, Size(*frame.size), self.edits))
                times.append(time)
                area += images[-1].width * images[-1].height
                if area > self.limits.pixels:
                    raise TooManyFrames
        if not images:
            raise Corrupt("no frame")
        return Frames(images=images, times=times, loop=loop)

    @property
    def _file(self) -> Media:
        if isinstance(self.source, (Drawing, Sketch)):
            raise Unsupported("a drawing has no file")
        return self.source

    @property
    def _way(self) -> tuple[Any, ...]:
        """What decoded pixels depend on, besides the file: with the same, they can be used again."""
        keep_cmyk = self.encoding.colorspace == "input" and self.form in WITH_CMYK
        return keep_cmyk, self.encoding.keep_metadata, self.upright, self.page

    def _still(self, *, keep: bool = False) -> tuple[Image.Image, Kept]:
        """The picture with its edits, and what goes along. `keep`: both stay with this value."""
        known = next((pixels for pixels in self.pixels if pixels.way == self._way), None)
        if known is not None:
            image = self._run(known.image, Size(*known.image.size), self.edits[known.done :])
            kept = known.kept
        elif isinstance(self.source, (Drawing, Sketch)):
            image, kept = self._from_drawing(self.source)
        else:
            image, kept = self._from_file()
        if keep:
            self.pixels[:] = [Pixels(image=image, kept=kept, done=len(self.edits), way=self._way)]
        return image, kept

    def _from_drawing(self, drawing: Drawing | Sketch) -> tuple[Image.Image, Kept]:
        if self.page != 1:
            raise Unsupported(f"page {self.page}", public=f"output: the file has no page {self.page}.")
        image = drawing.draw(self._needed(drawing.size)) if isinstance(drawing, Sketch) else drawing.image
        pixels, profile = working(image, keep_profile=self.encoding.keep_metadata)
        return self._run(pixels, self.facts.stored, self.edits), Kept(profile=profile)

    def _needed(self, size: Size) -> Size:
        """The size at which a sketch is drawn: what the first edit makes of it, its own when that keeps the size."""
        resize = self.edits[0] if self.edits and isinstance(self.edits[0], Resize) else None
        return drawn_at(size, max(resize.factors(size)) if resize else 1.0, self.limits)

    def _from_file(self) -> tuple[Image.Image, Kept]:
        encoding = self.encoding
        with self._file.open() as stream:
            image = open_image(stream, self.facts.form, self.limits)
            self._turn_to_page(image)
            full = self.facts.stored
            if self.page == 1:
                self._reduce(image)
            else:
                full = Size(*image.size)
            image.load()
            keep_cmyk = encoding.colorspace == "input" and self.form in WITH_CMYK
            pixels, profile = working(image, keep_cmyk=keep_cmyk, keep_profile=encoding.keep_metadata)
            kept = self._along(image, profile)
            del image  # so that its pixels go as soon as nothing else holds them
            if self.page == 1:
                pixels = turned(pixels, self.facts, upright=self.upright)
                full = self.facts.displayed if self.upright else full
            return self._run(pixels, full, self.edits), kept

    def _turn_to_page(self, image: ImageFile.ImageFile) -> None:
        if self.page == 1:
            return
        before_it = self.facts.stored.width * self.facts.stored.height * self.page
        try:
            if self.facts.form != "TIFF" and (self.page > MAX_FRAMES or before_it > self.limits.pixels):
                raise EOFError  # earlier frames have to be decoded on the way there
            image.seek(self.page - 1)
        except EOFError:
            raise Unsupported(f"page {self.page}", public=f"output: the file has no page {self.page}.") from None

    def _reduce(self, image: ImageFile.ImageFile) -> None:
        """Let the JPEG decoder give a half, a quarter or an eighth of the size, when the first edit needs no more."""
        if self.facts.form != "JPEG" or not self.edits or not isinstance(self.edits[0], Resize):
            return
        seen = self.facts.displayed if self.upright else self.facts.stored
        wide, high = self.edits[0].factors(seen)
        if self.upright and self.facts.orientation >= 5:
            wide, high = high, wide
        stored = self.facts.stored
        needed = (math.ceil(stored.width * wide * _DRAFT_GAP), math.ceil(stored.height * high * _DRAFT_GAP))
        image.draft(None, (max(1, needed[0]), max(1, needed[1])))

    def _run(self, image: Image.Image, full: Size, edits: tuple[Edit, ...]) -> Image.Image:
        for edit in edits:
            image = edit.run(image, full, self.limits)
            full = Size(*image.size)
        return image

    def _along(self, image: ImageFile.ImageFile, profile: bytes) -> Kept:
        """What the writer may need of the source besides pixels."""
        tables = getattr(image, "quantization", None) if self.facts.form == "JPEG" else None
        subsampling = get_sampling(image) if tables else -1
        if not self.encoding.keep_metadata:
            return Kept(profile=profile, qtables=tables, subsampling=subsampling)
        xmp = image.info.get("xmp") or b""
        return Kept(profile=profile, qtables=tables, subsampling=subsampling, exif=_exif(image), xmp=xmp)

    def _too_large(self, data: bytes, frames: Frames) -> bool:
        """A bounded result may not exceed its source, as far as the two can be compared."""
        width, height = frames.images[0].size
        comparable = self.form == self.facts.form and width * height <= self.facts.stored.width * self.facts.stored.height
        comparable = comparable and not isinstance(self.source, (Drawing, Sketch))
        return self.encoding.bounded and comparable and len(data) > self.facts.size

    def _smaller(self, data: bytes, frames: Frames, kept: Kept) -> bytes:
        """The best that is not larger than the source: the source's own file if nobody edited it, else a lower quality."""
        if not self.edits and self.page == 1 and self.facts.orientation == 1:
            with self._file.open() as stream:
                bare = self._bare(stream.read())
            if bare is not None:
                return bare
        wanted = self.encoding.quality if isinstance(self.encoding.quality, int) else DEFAULT_QUALITY[self.form]
        for share in _LOWER:
            lower = replace(self.encoding, quality=max(1, int(wanted * share)))
            data = min(data, encode(frames, self.form, lower, kept), key=len)
            if len(data) <= self.facts.size:
                break
        return data


def _exif(image: Image.Image) -> bytes:
    """The EXIF of the source without orientation (it has been followed) and without the small copy of the picture."""
    try:
        exif = image.getexif()
        exif.pop(0x0112, None)
        exif.get_ifd(_THUMBNAIL).clear()
        return exif.tobytes() if len(exif) else b""
    except MemoryError:
        raise
    except Exception:  # damaged EXIF is dropped; the picture is fine
        return b""
