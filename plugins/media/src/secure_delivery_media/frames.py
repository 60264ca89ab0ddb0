"""`video`: a picture of a video that shows what is in it.

Knows: where to look, what a dark or flat frame is. Must not know: ffmpeg's words, sizes that a client wants.

The frame a tenth of the way in is tried first, at the nearest place where decoding can begin: that is cheap. A title that fades
in, a black lead and a plain colour are passed over for frames further on; when there is nothing else, the best of them it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secure_delivery.plugin import Corrupt, Media, Needs, Page, ProcessingLimit, TooLarge, Unsupported, Work, Workshop

from . import kinds, programs
from .probing import Facts, Stream, probed

if TYPE_CHECKING:
    from PIL.Image import Image

_FIRST = 0.1  # share of the length
_FURTHER = (0.3, 0.5, 0.75, 0.03)
_UNKNOWN = (3_000, 10_000, 1_000, 0)  # milliseconds, in a file that does not say how long it is
_DARK = 24  # mean of 0 to 255 below which a frame is taken for black
_FLAT = 8  # deviation of the same below which there is nothing on it
_LONGEST = 2_048  # pixels of the longer side where no size is wanted
_MOST_FRAMES = 100


@dataclass(frozen=True, slots=True)
class VideoPreviewer:
    """A frame of a video, or the cover of a file with sound alone.

    A video has one page. The option `frames` asks for more, spread over its length: page 2 of 4 lies three eighths in.
    """

    mimetypes: ClassVar[tuple[str, ...]] = kinds.VIDEO_TYPES
    extensions: ClassVar[tuple[str, ...]] = kinds.VIDEO_EXTENSIONS
    priority: ClassVar[int] = 50
    family: ClassVar[str] = "video"
    needs: ClassVar[Needs] = Needs(programs=(programs.PROBE, programs.FRAME), install=programs.INSTALL)

    def probe(self, head: bytes, filename: str) -> bool:
        return kinds.is_container(head) or kinds.is_container(head.lstrip(b"\0"))

    def warm(self) -> None:
        from secure_delivery_images import picture

        picture.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        total = _wanted(work)
        numbers = work.pages(total)
        facts = probed(work.media, work.shop)
        stream = facts.video
        if stream is None and facts.cover is not None:
            if work.pages(1):
                yield Page(number=1, media=_picture(_cover(work, facts.cover), work))
            return
        if stream is None:
            raise Unsupported("no video stream", public="There is no picture in this file.")
        for number in numbers:
            image = telling(work, facts, stream) if total == 1 else _spread(work, facts, stream, (2 * number - 1) / (2 * total))
            yield Page(number=number, media=_picture(image, work), total=total)


def _wanted(work: Work) -> int:
    frames = work.options.get("frames", 1)
    return min(max(frames, 1), _MOST_FRAMES) if type(frames) is int else 1


def _picture(image: Image, work: Work) -> Media:
    from secure_delivery_images import Picture

    return Picture.drawn(image, filename=work.media.filename, limits=work.limits, form="JPEG")


def _cover(work: Work, stream: Stream) -> Image:
    image = frame(work.media, work.shop, stream, 0, _size(work, stream), cheap=False)
    if image is None:
        raise Corrupt("the cover cannot be read")
    return image


def telling(work: Work, facts: Facts, stream: Stream) -> Image:
    """The first frame of a few that is neither dark nor flat, else the least so. Raises `Corrupt` when none can be read."""
    size = _size(work, stream)
    length = round((facts.duration or 0) * 1000)
    first = frame(work.media, work.shop, stream, round(length * _FIRST), size, cheap=True)
    best, worth = first, -1.0
    if first is not None:
        good, worth = judged(first)
        if good:
            return first
    for at in [round(length * share) for share in _FURTHER] if length else _UNKNOWN:
        try:
            image = frame(work.media, work.shop, stream, at, size, cheap=False)
        except ProcessingLimit:
            if best is None:
                raise
            break  # looking for a better one costs more than it is worth
        if image is None:
            continue
        good, value = judged(image)
        if good:
            return image
        if value > worth:
            best, worth = image, value
    if best is None:
        raise Corrupt("no frame can be decoded")
    return best


def _spread(work: Work, facts: Facts, stream: Stream, share: float) -> Image:
    size = _size(work, stream)
    at = round((facts.duration or 0) * 1000 * share)
    image = frame(work.media, work.shop, stream, at, size, cheap=False)
    if image is None:
        image = frame(work.media, work.shop, stream, 0, size, cheap=False)
    if image is None:
        raise Corrupt("no frame can be decoded")
    return image


def judged(image: Image) -> tuple[bool, float]:
    """Whether a frame shows something, and how much: by the brightness of its parts."""
    from PIL import Image as Pillow
    from PIL import ImageStat

    small = image.convert("L").resize((48, 48), Pillow.Resampling.BOX)
    statistics = ImageStat.Stat(small)
    mean, deviation = statistics.mean[0], statistics.stddev[0]
    return mean >= _DARK and deviation >= _FLAT, deviation + min(mean, _DARK) / _DARK


def _size(work: Work, stream: Stream) -> tuple[int, int]:
    """What a frame is scaled to: about as large as the largest picture that is wanted, never larger than it is."""
    width, height = stream.displayed
    if (stream.width or 0) * (stream.height or 0) > work.limits.pixels or max(width, height) > 65_535:
        raise TooLarge(f"frames of {stream.width} x {stream.height} pixels")
    wide, high = work.size or (0, 0)
    factor = min(1.0, programs.SIDE / max(width, height))
    if not wide and not high:
        factor = min(factor, _LONGEST / max(width, height))
    if wide:
        factor = min(factor, wide / width)
    if high:
        factor = min(factor, high / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def frame(media: Media, shop: Workshop, stream: Stream, at: int, size: tuple[int, int], *, cheap: bool) -> Image | None:
    """The frame at so many milliseconds, or, where `cheap`, the one near it where decoding begins; None where there is none.

    Raises `ProcessingLimit`, and `Unsupported` where ffmpeg is not installed.
    """
    from PIL import Image as Pillow

    choices = {
        "frames": "nokey" if cheap else "default",
        "seek": "-noaccurate_seek" if cheap else "-accurate_seek",
        "at": min(at, programs.LONGEST),
        "stream": stream.index,
        "width": size[0],
        "height": size[1],
    }
    try:
        results = shop.run(programs.FRAME, [media], choices)
    except Corrupt:
        return None
    with results[0].open() as pixels:
        data = pixels.read(size[0] * size[1] * 3)
    return Pillow.frombytes("RGB", size, data) if len(data) == size[0] * size[1] * 3 else None
