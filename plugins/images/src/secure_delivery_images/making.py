"""Making the result of a picture: the order of the work.

Knows: what stands in a `Picture`, decoding, edits, encoding. Must not know: tasks, how URLs spell options.

Pixels at hand may stand for more than they are: a JPEG that was decoded at a fraction of its size, or a smaller copy that
the engine kept of a large picture. Edits that can work on such pixels say so (`Proportional`); before any other they are
brought to the full size. So the size of a result never depends on how much was decoded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import get_sampling

from secure_delivery.plugin import Corrupt, Media, Unsupported

from . import engines
from .decode import MAX_FRAMES, TooManyFrames, all_frames, open_image, turned
from .drawing import Drawing, Pixels
from .edits import Crop, Edit, Mirror, Mixing, Part, Proportional, Resize, check_output, resampled
from .encode import DEFAULT_QUALITY, WITH_CMYK, Encoding, Frames, Kept, encode, moves
from .headers import Size
from .metadata import exif_for, xmp_for
from .modes import fitting, working
from .readers import Sketch, drawn_at
from .strip import described, stripped

if TYPE_CHECKING:
    from .picture import Picture

_DRAFT_GAP = 1.25  # the JPEG decoder is to make at least this many times the result; Lanczos does the rest for under 0.1 dB
_LOWER = (0.8, 0.6, 0.4, 0.25, 0.1)  # of the wanted quality, tried in turn while a bounded result is too large
_UNTOUCHED_AVIF = 90  # a file that must be written again only to lose its metadata


def result(picture: Picture) -> bytes:
    """The bytes of the result. Call inside `faults`."""
    if _untouched(picture):
        return _rewritten(picture)
    frames, kept = _frames(picture)
    check_output(frames.images[0].size, picture.limits)
    data = encode(frames, picture.form, picture.encoding, kept)
    if _too_large(picture, data, frames):
        data = _smaller(picture, data, frames, kept)
    return data


def still(picture: Picture, *, keep: bool = False) -> tuple[Image.Image, Kept]:
    """The picture with its edits, and what goes along. `keep`: both stay with it. Call inside `faults`."""
    way = _way(picture)
    known = next((pixels for pixels in picture.pixels if pixels.way == way), None)
    if known is not None:
        full = Size(*known.image.size)
        image, profile = run(picture, known.image, full, known.kept.profile, picture.edits[known.done :])
        kept = replace(known.kept, profile=profile)
    elif isinstance(picture.source, (Drawing, Sketch)):
        image, kept = _from_drawing(picture, picture.source)
    else:
        image, kept = _from_file(picture)
    if keep:
        picture.pixels[:] = [Pixels(image=image, kept=kept, done=len(picture.edits), way=way)]
    return image, kept


def run(
    picture: Picture, image: Image.Image, full: Size, profile: bytes, edits: Sequence[Edit] | None = None
) -> tuple[Image.Image, bytes]:
    """The edits on pixels that stand for `full`; the pixels, which then are what they stand for, and their profile."""
    for edit in picture.edits if edits is None else edits:
        if isinstance(edit, Proportional):
            after = edit.after(full)
            image = edit.run(image, full, picture.limits)
        else:
            image = _grown(picture, image, full)
            if isinstance(edit, Mixing):
                image, profile = edit.mix(image, profile, picture.limits)
            else:
                image = edit.run(image, full, picture.limits)
            after = Size(*image.size)
        full = after
    return _grown(picture, image, full), profile


# ------------------------------------------------------------------------------------------- files that nobody edited


def _untouched(picture: Picture) -> bool:
    """Whether the pixels and their format stay as they are."""
    encoding, facts = picture.encoding, picture.facts
    if isinstance(picture.source, (Drawing, Sketch)) or facts.original is not None:
        return False
    turned = facts.orientation != 1 and (picture.upright or facts.form == "TIFF")
    same = not picture.edits and picture.page == 1 and not turned and picture.form == facts.form
    plain = not encoding.progressive and encoding.background is None and encoding.colorspace != "cmyk"
    return same and plain and encoding.quality in (None, "input")


def _rewritten(picture: Picture) -> bytes:
    """The file without its metadata, as little changed as its format allows: pixels that nobody edited are not spoilt."""
    with _file(picture).open() as stream:
        data = stream.read()
    image = open_image(BytesIO(data), picture.facts.form, picture.limits)
    kept = _along(picture, image, b"")
    image.load()  # bytes that are handed on were understood to their end
    check_output(image.size, picture.limits)
    encoding, form = picture.encoding, picture.form
    bare = _bare(picture, data, kept)
    if bare is not None and not (encoding.compress and form in ("JPEG", "PNG")):
        return bare
    if picture.facts.frames:
        frames, kept = _frames(picture)
    else:
        frames, kept = Frames(images=[image]), replace(kept, profile=fitting(image.info.get("icc_profile") or b"", image.mode))
    quality = _UNTOUCHED_AVIF if form == "AVIF" else "input"
    again = encode(frames, form, replace(encoding, quality=quality), kept)
    return again if bare is None or len(again) < len(bare) else bare


def _bare(picture: Picture, data: bytes, kept: Kept) -> bytes | None:
    """The source's own bytes with only that metadata which may stay; None where that cannot be done."""
    if picture.encoding.metadata == "all" and picture.facts.orientation == 1:
        return data  # else the tag could be followed a second time
    try:
        bare = stripped(data, picture.form)
        return None if bare is None else described(bare, picture.form, kept.exif, kept.xmp)
    except ValueError:
        return None


# -------------------------------------------------------------------------------------------------------------- frames


def _frames(picture: Picture) -> tuple[Frames, Kept]:
    """The finished frames: all of them for an animation that stays one and is within the limits, else the first."""
    if picture.facts.frames and moves(picture.facts.form, picture.form) and picture.page == 1:
        try:
            return _moving(picture)
        except TooManyFrames:
            pass  # said in the documentation: the first frame stands for the rest
    image, kept = still(picture)
    return Frames(images=[image]), kept


def _moving(picture: Picture) -> tuple[Frames, Kept]:
    images, times, area, profile = [], [], 0, b""
    if isinstance(picture.source, Drawing):
        return _film(picture, picture.source)
    with _file(picture).open() as stream:
        image = open_image(stream, picture.facts.form, picture.limits)
        loop = image.info.get("loop")
        own = fitting(image.info.get("icc_profile") or b"", "RGBA")
        kept = _along(picture, image, b"")
        for frame, time in all_frames(image, picture.limits):
            full = picture.facts.original or Size(*frame.size)
            done, profile = run(picture, frame, full, own)
            images.append(done)
            times.append(time)
            area += done.width * done.height
            if area > picture.limits.animation_pixels:
                raise TooManyFrames
    if not images:
        raise Corrupt("no frame")
    once = loop == 1 and picture.facts.form != "GIF"  # the others count how often it is shown, GIF how often again
    return Frames(images=images, times=times, loop=None if once else loop), replace(kept, profile=profile)


def _film(picture: Picture, drawing: Drawing) -> tuple[Frames, Kept]:
    images, area, profile = [], 0, b""
    for frame in drawing.images:
        pixels, own = working(frame)
        done, profile = run(picture, pixels, Size(*pixels.size), own)
        images.append(done)
        area += done.width * done.height
        if area > picture.limits.animation_pixels:
            raise TooManyFrames
    return Frames(images=images, times=drawing.times, loop=drawing.loop), Kept(profile=profile)


# --------------------------------------------------------------------------------------------------------- one picture


def _file(picture: Picture) -> Media:
    if isinstance(picture.source, (Drawing, Sketch)):
        raise Unsupported("a drawing has no file")
    return picture.source


def _way(picture: Picture) -> tuple[Any, ...]:
    """What decoded pixels depend on, besides the file: with the same, they can be used again."""
    keep_cmyk = picture.encoding.colorspace == "input" and picture.form in WITH_CMYK
    return keep_cmyk, picture.encoding.metadata, picture.upright, picture.page


def _from_drawing(picture: Picture, drawing: Drawing | Sketch) -> tuple[Image.Image, Kept]:
    images = drawing.images if isinstance(drawing, Drawing) else (drawing.draw(_needed(picture, drawing.size)),)
    if picture.page > len(images):
        raise Unsupported(f"page {picture.page}", public=f"output: the file has no page {picture.page}.")
    pixels, own = working(images[picture.page - 1])
    full = Size(*pixels.size) if isinstance(drawing, Drawing) else drawing.size
    image, profile = run(picture, pixels, full, own)
    return image, Kept(profile=profile)


def _needed(picture: Picture, size: Size) -> Size:
    """The size at which a sketch is drawn: what the first edit makes of it, its own when that keeps the size."""
    resize = picture.edits[0] if picture.edits and isinstance(picture.edits[0], Resize) else None
    return drawn_at(size, max(resize.factors(size)) if resize else 1.0, picture.limits)


def _from_file(picture: Picture) -> tuple[Image.Image, Kept]:
    facts, encoding, first = picture.facts, picture.encoding, picture.page == 1
    with _file(picture).open() as stream:
        read = open_image(stream, facts.form, picture.limits)
        _turn_to_page(picture, read)
        kept = _along(picture, read, b"")
        image, edits = _decoded(picture, stream, read) if first else (read, picture.edits)
        image.load()
        keep_cmyk = encoding.colorspace == "input" and picture.form in WITH_CMYK
        pixels, profile = working(image, keep_cmyk=keep_cmyk)
        full = Size(*image.size)
        if first:
            pixels = turned(pixels, facts, upright=picture.upright)
            full = facts.displayed if picture.upright else facts.stored
        del image, read  # so that their pixels go as soon as nothing else holds them
        done, profile = run(picture, pixels, full, profile, edits)
        return done, replace(kept, profile=profile)


def _turn_to_page(picture: Picture, image: ImageFile.ImageFile) -> None:
    if picture.page == 1:
        return
    before_it = picture.facts.stored.width * picture.facts.stored.height * picture.page
    try:
        if picture.facts.form != "TIFF" and (picture.page > MAX_FRAMES or before_it > picture.limits.animation_pixels):
            raise EOFError  # earlier frames have to be decoded on the way there
        image.seek(picture.page - 1)
    except EOFError:
        raise Unsupported(f"page {picture.page}", public=f"output: the file has no page {picture.page}.") from None


def _decoded(picture: Picture, stream: BinaryIO, read: ImageFile.ImageFile) -> tuple[Image.Image, Sequence[Edit]]:
    """The picture as small as the first edits allow, and the edits in a form that such pixels can be used for.

    Of a JPEG the decoder gives a half, a quarter or an eighth of the size; of other formats an engine may give any.
    """
    facts, edits = picture.facts, picture.edits
    mirrors = next((number for number, edit in enumerate(edits) if not isinstance(edit, Mirror)), len(edits))
    first, second = (*edits[mirrors:], None, None)[:2]
    sizing: Resize | Part | None = first if isinstance(first, Resize) else None
    if isinstance(first, Crop) and isinstance(second, Resize):
        sizing = Part(crop=first, resize=second)
    before, image = read.size, None
    if facts.form == "JPEG" and sizing is not None:
        read.draft(None, _least(picture, sizing, _DRAFT_GAP))
    elif not facts.frames:
        image = _by_engine(picture, stream, read, sizing)
    image = read if image is None else image
    if isinstance(sizing, Part) and image.size != before:
        edits = (*edits[:mirrors], sizing, *edits[mirrors + 2 :])
    return image, edits


def _least(picture: Picture, edit: Resize | Part, gap: float) -> Size:
    """As how much at least the picture as stored is to be decoded, so that an edit has `gap` times what it makes of it."""
    seen = picture.facts.displayed if picture.upright else picture.facts.stored
    wide, high = edit.factors(seen)
    least = Size(max(1, math.ceil(seen.width * wide * gap)), max(1, math.ceil(seen.height * high * gap)))
    return Size(*least[::-1]) if picture.upright and picture.facts.orientation >= 5 else least


def _by_engine(picture: Picture, stream: BinaryIO, read: ImageFile.ImageFile, edit: Resize | Part | None) -> Image.Image | None:
    """The picture by another decoder than Pillow's, None where there is none for it."""
    facts = picture.facts
    resize = edit.resize if isinstance(edit, Part) else edit
    whole = edit is None or resize is None or resize.filter == "nearest"  # which picks pixels of the original
    least = facts.stored if edit is None or whole else _least(picture, edit, engines.GAP)
    smaller = least.width <= facts.stored.width and least.height <= facts.stored.height
    wanted = engines.Wanted(
        form=facts.form,
        stored=facts.stored,
        size=least if smaller else facts.stored,
        mode=read.mode,
        alpha=facts.alpha,
        compression=read.info.get("compression", ""),
        orientation=facts.orientation,
    )
    image = engines.read(stream, wanted)
    if image is not None and read.info.get("icc_profile"):
        image.info["icc_profile"] = read.info["icc_profile"]
    return image


def _grown(picture: Picture, image: Image.Image, full: Size) -> Image.Image:
    """Pixels at the size that they stand for."""
    return image if image.size == full else resampled(image, full)


def _along(picture: Picture, image: ImageFile.ImageFile, profile: bytes) -> Kept:
    """What the writer may need of the source besides pixels."""
    tables = getattr(image, "quantization", None) if picture.facts.form == "JPEG" else None
    subsampling = get_sampling(image) if tables else -1
    allowed = picture.encoding.metadata
    exif, xmp = exif_for(image, allowed), xmp_for(image, allowed)
    return Kept(profile=profile, qtables=tables, subsampling=subsampling, exif=exif, xmp=xmp)


# ------------------------------------------------------------------------------------------------------ bounded results


def _too_large(picture: Picture, data: bytes, frames: Frames) -> bool:
    """A bounded result may not exceed its source, as far as the two can be compared."""
    facts = picture.facts
    width, height = frames.images[0].size
    comparable = picture.form == facts.form and width * height <= facts.stored.width * facts.stored.height
    comparable = comparable and not isinstance(picture.source, (Drawing, Sketch))
    return picture.encoding.bounded and comparable and len(data) > facts.size


def _smaller(picture: Picture, data: bytes, frames: Frames, kept: Kept) -> bytes:
    """The best that is not larger than the source: the source's own file if nobody edited it, else a lower quality."""
    encoding, size = picture.encoding, picture.facts.size
    if not picture.edits and picture.page == 1 and picture.facts.orientation == 1 and picture.facts.original is None:
        with _file(picture).open() as stream:
            bare = _bare(picture, stream.read(), kept)
        if bare is not None:
            return bare
    wanted = encoding.quality if isinstance(encoding.quality, int) else DEFAULT_QUALITY[picture.form]
    for share in _LOWER:
        lower: Encoding = replace(encoding, quality=max(1, int(wanted * share)))
        data = min(data, encode(frames, picture.form, lower, kept), key=len)
        if len(data) <= size:
            break
    return data
