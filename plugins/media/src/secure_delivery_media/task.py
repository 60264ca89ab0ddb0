"""`video_convert` as URLs spell it: options, presets, what goes together.

Knows: the options of the Filestack documentation (video processing) and of its clients. Must not know: ffmpeg.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from secure_delivery.plugin import Kind, Media, Param, Value, Workshop, boolean, choice, integer, text

from . import programs
from .presets import PRESETS

VERSION = "1"

_TIME = re.compile(r"(?:(?:([0-9]{1,2}):)?([0-5]?[0-9]):)?([0-9]{1,5})(?:\.([0-9]{1,6}))?")
_EXTENSION = re.compile(r"\.?[A-Za-z0-9]{1,10}")


def time() -> Kind:
    """A time of day's look, `hh:mm:ss`, `mm:ss` or seconds, with parts of a second if need be; read as milliseconds."""

    def read(value: Value) -> int:
        match = _TIME.fullmatch(value) if isinstance(value, str) and value.isascii() else None
        if match is None:
            raise ValueError
        hours, minutes, seconds, part = match.groups()
        if minutes is not None and int(seconds) > 59:
            raise ValueError
        total = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds)
        return total * 1000 + int((part or "0").ljust(3, "0")[:3])

    return Kind(read, "a time as hh:mm:ss")


def extension() -> Kind:
    """An extension of a file, with its dot or without."""

    def read(value: Value) -> str:
        if not isinstance(value, str) or not _EXTENSION.fullmatch(value):
            raise ValueError
        return value.removeprefix(".").lower()

    return Kind(read, "an extension of at most 10 letters and digits")


def reference() -> Kind:
    """A file, as sources are written in URLs."""
    plain = text(2048)

    def read(value: Value) -> str:
        name: str = plain.read(value)
        if not name.strip():
            raise ValueError
        return name

    return Kind(read, "a handle or the quoted address of a file")


_PLACE = integer(0, 9999)
_SIDE = integer(1, programs.SIDE)


class VideoConvert:
    """`video_convert`: a video or a sound file as another.

    The engine stores the result (`filename`, `extname`, `location`, `path`, `container`, `access`), keeps it for the same
    URL unless `force` is set, and makes as many thumbnails as `frame_count` says.
    """

    params: ClassVar[tuple[Param, ...]] = (
        Param("preset", choice(*PRESETS), ("p",), "h264"),
        Param("force", boolean(), (), False),
        Param("width", _SIDE, ("w",)),
        Param("height", _SIDE, ("h",)),
        Param("title", text(1000)),
        Param("extname", extension()),
        Param("filename", text(1024)),
        Param("location", text(64)),
        Param("path", text(1024)),
        Param("container", text(255)),
        Param("access", choice("public", "private")),
        Param("upscale", boolean(), (), True),
        Param("aspect_mode", choice("preserve", "constrain", "letterbox", "pad", "crop"), (), "letterbox"),
        Param("two_pass", boolean(), (), False),
        Param("video_bitrate", integer(1, 5000)),
        Param("fps", integer(1, 300)),
        Param("keyframe_interval", integer(1, 10_000), (), 250),
        Param("audio_bitrate", integer(0, 999)),
        Param("audio_sample_rate", integer(0, 99_999), ("audio_samplerate",), 44_100),
        Param("audio_codec", choice("aac", "mp3", "opus", "vorbis")),
        Param("audio_channels", integer(1, 12)),
        Param("clip_length", time()),
        Param("clip_offset", time()),
        Param("watermark_url", reference()),
        Param("watermark_top", _PLACE),
        Param("watermark_bottom", _PLACE),
        Param("watermark_left", _PLACE),
        Param("watermark_right", _PLACE),
        Param("watermark_width", _PLACE),
        Param("watermark_height", _PLACE),
        Param("frame_count", integer(1, 100), (), 1),
    )
    version: ClassVar[str] = VERSION
    lengthy: ClassVar[bool] = True

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise `ValueError` for a codec that the preset's files cannot hold, and for a clip of no length."""
        preset = PRESETS[options["preset"]]
        if options["audio_codec"] is not None and options["audio_codec"] not in preset.sounds:
            raise ValueError(f"audio_codec of {options['preset']} must be {' or '.join(preset.sounds)}.")
        if options["clip_length"] == 0:
            raise ValueError("clip_length must be more than 00:00:00.")
        if options["watermark_url"] is not None and preset.pictures is None:
            raise ValueError(f"watermark_url: {options['preset']} has no pictures.")

    def references(self, options: Mapping[str, Any]) -> Sequence[str]:
        """The file of the watermark."""
        return () if options["watermark_url"] is None else (options["watermark_url"],)

    def warm(self) -> None:
        from secure_delivery_images import picture

        picture.warm()

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """The converted file. For a playlist it is the master, and the attribute `companions` has the files that it leads to.

        Raises `Unsupported` for a file without what the preset is made of, and where ffmpeg is not installed; `Corrupt`,
        `TooLarge`, `ProcessingLimit`.
        """
        from .converting import converted

        return converted(media, options, shop)
