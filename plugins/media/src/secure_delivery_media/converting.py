"""`video_convert` at work: from a file and bound options to another file.

Knows: what a file has, what a preset needs, which program makes it. Must not know: how URLs spell options, how jobs are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from secure_delivery.plugin import Corrupt, Media, MemoryFile, TooLarge, Unsupported, Workshop

from . import presets, programs
from .geometry import Frame, framed
from .kinds import renamed
from .presets import PRESETS, Choices, Preset
from .probing import Facts, Stream, answered, probed
from .section import of_facts
from .tagged import allowed, plain

#: Names of ours that a result may carry, all of which ffmpeg knows by the same name.
_CARRIED = ("title", "artist", "album", "album_artist", "composer", "genre", "date", "track", "disc", "comment", "copyright")


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file that ffmpeg made.

    * `extra`: `metadata` with the facts of `source` and `result` in the shape of the section `multimedia`, and `frames`,
      how many thumbnails are wanted.
    * `companions`: the files that a playlist leads to, each with its name relative to the playlist's own place. Whoever stores
      the playlist stores them beside it under these names.
    """

    source: Media
    mimetype: str
    filename: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    companions: Sequence[tuple[str, Media]] = ()

    @property
    def size(self) -> int | None:
        return self.source.size

    def open(self) -> BinaryIO:
        return self.source.open()


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What is to be made of what: for `converted` and `hls.playlist`. `mark` is the watermark as PNG with its size."""

    media: Media
    facts: Facts
    preset: Preset
    options: Mapping[str, Any]
    shop: Workshop
    times: Choices
    texts: Media

    def run(self, program: str, choices: Choices, mark: Media | None = None) -> Sequence[Media]:
        files = [self.media, self.texts] if mark is None else [self.media, self.texts, mark]
        return self.shop.run(program, files, {**self.times, **choices})

    @property
    def sound(self) -> Choices:
        return presets.sound(self.preset, self.options, self.facts.audio)

    def frame(self) -> Frame:
        """What becomes of the pictures. Raises `TooLarge`."""
        stream = self.video()
        if (stream.width or 0) * (stream.height or 0) > self.shop.limits.pixels:
            raise TooLarge(f"frames of {stream.width} x {stream.height} pixels")
        wanted = (self.options["width"], self.options["height"])
        mode, upscale = self.options["aspect_mode"], self.options["upscale"]
        return framed(stream.displayed, wanted, mode, upscale=upscale, most=programs.SIDE)

    def video(self) -> Stream:
        if self.facts.video is None:
            raise Unsupported("no video stream", public="There is no video in this file.")
        return self.facts.video

    def pictures(self, frame: Frame) -> Choices:
        (width, height), (kept_width, kept_height), (pad_width, pad_height) = frame.scaled, frame.kept, frame.canvas
        sizes: Choices = {"width": width, "height": height, "crop_width": kept_width, "crop_height": kept_height}
        sizes |= {"pad_width": pad_width, "pad_height": pad_height, "stream": self.video().index}
        return {**presets.pictures(self.preset, self.options), **sizes}


def converted(media: Media, options: Mapping[str, Any], shop: Workshop) -> Converted:
    """Convert. Raises like `VideoConvert.apply`."""
    preset = PRESETS[options["preset"]]
    facts = probed(media, shop)
    if facts.audio is None and preset.pictures is None:
        raise Unsupported("no sound", public="There is no sound in this file.")
    making = Making(
        media=media,
        facts=facts,
        preset=preset,
        options=options,
        shop=shop,
        times=_times(options, facts),
        texts=texts(options["title"], allowed(facts.tags, shop.metadata)),
    )
    if preset.playlist:
        from .hls import playlist

        master, companions, shown = playlist(making)
    else:
        master, companions = _one(making), ()
        shown = master
    metadata = {"source": of_facts(facts, shop.metadata), "result": _result(shown, shop)}
    return Converted(
        source=master,
        mimetype=preset.mimetype,
        filename=_filename(media, options, preset),
        extra={"metadata": metadata, "frames": options["frame_count"]},
        companions=companions,
    )


def _one(making: Making) -> Media:
    kind, options = making.preset.kind, making.options
    if making.preset.pictures is None:
        return _only(making.run(programs.audio(kind), making.sound))
    frame = making.frame()
    mark, place = watermark(making, frame)
    # Two passes spread a given bit rate better; constant quality has nothing to spread.
    twice = options["two_pass"] and options["video_bitrate"] is not None
    name = programs.video(kind, marked=mark is not None, twice=twice)
    return _only(making.run(name, {**making.pictures(frame), **making.sound, **place}, mark))


def _only(results: Sequence[Media]) -> Media:
    if not results:
        raise Corrupt("ffmpeg made nothing")
    return results[0]


def _result(media: Media, shop: Workshop) -> dict[str, Any]:
    """The facts of a result. Raises `Corrupt` for one with nothing in it."""
    try:
        return of_facts(answered(media, shop), shop.metadata)
    except Unsupported as error:
        raise Corrupt(f"nothing was converted: {error}") from None


def _times(options: Mapping[str, Any], facts: Facts) -> Choices:
    offset = options["clip_offset"] or 0
    if facts.duration is not None and offset >= facts.duration * 1000:
        raise Unsupported("clip_offset is beyond the end", public="clip_offset is beyond the end of the file.")
    length = options["clip_length"] or programs.LONGEST
    return {"offset": min(offset, programs.LONGEST), "length": min(length, programs.LONGEST)}


def _filename(media: Media, options: Mapping[str, Any], preset: Preset) -> str:
    extension = options["extname"] or preset.extension
    given = options["filename"]
    if given:
        return given if "." in given.strip(".") and not options["extname"] else renamed(given, extension)
    return renamed(media.filename, extension)


def texts(title: str | None, tags: Mapping[str, str]) -> MemoryFile:
    """What a result says of itself, as a file in ffmpeg's format for metadata: a title is never a word of a command."""
    told = {**tags, **({} if title is None else {"title": plain(title)})}
    lines = [";FFMETADATA1", *(f"{name}={_escaped(told[name])}" for name in _CARRIED if told.get(name))]
    return MemoryFile(("\n".join(lines) + "\n").encode("utf-8", "replace"), "text/plain", "texts.txt")


def _escaped(text: str) -> str:
    for special in "\\=;#":
        text = text.replace(special, f"\\{special}")
    return text.replace("\r", " ").replace("\n", "\\\n")


# ------------------------------------------------------------------------------------------------------------- watermark


def watermark(making: Making, frame: Frame, *, factor: float = 1.0) -> tuple[Media | None, Choices]:
    """The watermark as PNG, and its place, for a frame that is `factor` as large as the one that places are meant for."""
    options = making.options
    if options["watermark_url"] is None:
        return None, {}
    if not making.shop.others:
        raise Unsupported("the watermark did not arrive", public="watermark_url: there is no such file.")
    from PIL import Image

    from secure_delivery_images import Picture

    image = Picture.of(making.shop.others[0], making.shop.limits).decoded().convert("RGBA")
    width, height = _mark_size(image.size, options, frame.canvas, factor)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    x = _placed(options["watermark_left"], options["watermark_right"], frame.canvas[0] - width, factor)
    y = _placed(options["watermark_top"], options["watermark_bottom"], frame.canvas[1] - height, factor)
    return MemoryFile(out.getvalue(), "image/png", "mark.png"), {"mark_x": x, "mark_y": y}


def _mark_size(size: tuple[int, int], options: Mapping[str, Any], canvas: tuple[int, int], factor: float) -> tuple[int, int]:
    """As wanted, one side after the other where only one is; otherwise as it is, but no larger than the video."""
    wide, high = options["watermark_width"] or 0, options["watermark_height"] or 0
    across, down = wide * factor / size[0], high * factor / size[1]
    if not wide and not high:
        across = down = min(factor, canvas[0] / size[0], canvas[1] / size[1])
    width, height = size[0] * (across or down), size[1] * (down or across)
    return min(max(1, round(width)), programs.SIDE), min(max(1, round(height)), programs.SIDE)


def _placed(near: int | None, far: int | None, room: int, factor: float) -> int:
    """Pixels from the left or the top. The far side counts where only it is given."""
    place = room - round(far * factor) if near is None and far is not None else round((near or 0) * factor)
    return min(max(place, -programs.MARK_FAR), programs.MARK_FAR)
