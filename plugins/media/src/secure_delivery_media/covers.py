"""`audio` and `waveform`: a sound file seen by its cover, or by its loudness.

Knows: where covers are, what samples are good for. Must not know: ffmpeg's words, how a waveform is drawn (`waveform`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from secure_delivery.plugin import Corrupt, Media, MemoryFile, Needs, Page, Unsupported, Work

from . import kinds, programs
from .frames import frame
from .probing import probed
from .tagged import sound_of

_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"))
_ELSEWHERE = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75")  # Matroska and ASF, whose covers tinytag does not read
_SMALLEST = 16  # pixels on either side of what is no cover but a placeholder
_MOST_SAMPLES = 4_000_000
_UNKNOWN_RATE = 1_000  # samples a second where nobody knows how long it is


@dataclass(frozen=True, slots=True)
class CoverPreviewer:
    """The cover inside a sound file."""

    mimetypes: ClassVar[tuple[str, ...]] = kinds.AUDIO_TYPES
    extensions: ClassVar[tuple[str, ...]] = kinds.AUDIO_EXTENSIONS
    priority: ClassVar[int] = 50
    family: ClassVar[str] = "audio"
    needs: ClassVar[Needs] = Needs(libraries=("tinytag",), install="pip install tinytag")

    def probe(self, head: bytes, filename: str) -> bool:
        return kinds.is_container(head) or kinds.is_container(head.lstrip(b"\0"))

    def warm(self) -> None:
        import tinytag  # noqa: F401 - for what comes after

        from secure_delivery_images import picture

        picture.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        from secure_delivery_images import Picture

        if not work.pages(1):
            return
        sound = sound_of(work.media, cover=True)
        if sound is None or sound.cover is None:
            yield Page(number=1, media=_by_ffmpeg(work))
            return
        mimetype = next((kind for start, kind in _MAGIC if sound.cover.startswith(start)), "")
        if sound.cover[8:12] == b"WEBP":
            mimetype = "image/webp"
        if not mimetype:
            raise Unsupported("a cover of an unknown kind")
        picture = Picture.of(MemoryFile(sound.cover, mimetype, work.media.filename), work.limits)
        picture.decoded()  # one that is broken is found out while there is something else to try
        if min(picture.dimensions()) < _SMALLEST:
            raise Unsupported("a cover of a few pixels")
        yield Page(number=1, media=picture)


def _by_ffmpeg(work: Work) -> Media:
    """The cover in a container that tinytag does not read. Raises `Unsupported` where there is none."""
    with work.media.open() as stream:
        head = stream.read(4)
    facts = probed(work.media, work.shop) if head in _ELSEWHERE else None
    stream_of = None if facts is None or facts.video is not None else facts.cover
    if stream_of is None:
        raise Unsupported("no cover", public="There is no cover in this file.")
    width, height = stream_of.displayed
    factor = min(1.0, 2_048 / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = frame(work.media, work.shop, stream_of, 0, size, cheap=False)
    if image is None:
        raise Corrupt("the cover cannot be read")
    from secure_delivery_images import Picture

    return Picture.drawn(image, filename=work.media.filename, limits=work.limits, form="JPEG")


@dataclass(frozen=True, slots=True)
class WaveformPreviewer:
    """How loud a sound file is, from its beginning to its end, or to its fourth hour."""

    mimetypes: ClassVar[tuple[str, ...]] = kinds.AUDIO_TYPES
    extensions: ClassVar[tuple[str, ...]] = kinds.AUDIO_EXTENSIONS
    priority: ClassVar[int] = 40
    family: ClassVar[str] = "audio"
    needs: ClassVar[Needs] = Needs(programs=(programs.PROBE, programs.SAMPLES), install=programs.INSTALL)

    def probe(self, head: bytes, filename: str) -> bool:
        return kinds.is_container(head) or kinds.is_container(head.lstrip(b"\0"))

    def warm(self) -> None:
        from secure_delivery_images import picture

        from . import waveform  # noqa: F401 - with what it imports

        picture.warm()

    def preview(self, work: Work) -> Iterator[Page]:
        from secure_delivery_images import Picture

        from .waveform import drawn

        if not work.pages(1):
            return
        facts = probed(work.media, work.shop)
        if facts.audio is None:
            raise Unsupported("no sound", public="There is no sound in this file.")
        rate = (
            next((rate for rate in programs.RATES if rate * facts.duration <= _MOST_SAMPLES), programs.RATES[-1])
            if facts.duration
            else _UNKNOWN_RATE
        )
        results = work.shop.run(programs.SAMPLES, [work.media], {"stream": facts.audio.index, "rate": str(rate)})
        with results[0].open() as stream:
            data = stream.read(2 * 4 * _MOST_SAMPLES)
        if len(data) < 2:
            raise Corrupt("no sound can be decoded")
        image = drawn(data, work.size)
        yield Page(number=1, media=Picture.drawn(image, filename=work.media.filename, limits=work.limits))
