"""`multimedia`: how long, which streams, which tags.

Knows: the shape of the section. Must not know: ffprobe's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

from secure_delivery.plugin import Needs, Unsupported, Work

from . import kinds, programs
from .probing import Facts, Stream, probed
from .tagged import Sound, allowed, sound_of

#: Short names of containers by ffmpeg's.
_CONTAINERS: Final = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "mpeg": "mpeg-ps",
    "mpegts": "mpeg-ts",
    "mpegvideo": "mpeg-video",
}


def _number(least: float = 0) -> dict[str, Any]:
    return {"type": "number", "exclusiveMinimum": least}


def _whole() -> dict[str, Any]:
    return {"type": "integer", "minimum": 0}


_TEXT: Final = {"type": "string", "minLength": 1}
_STREAM: Final = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["video", "audio", "subtitle", "data", "attachment", "cover"]},
        "codec": _TEXT,
        "profile": _TEXT,
        "duration": {**_number(), "description": "seconds"},
        "bit_rate": {**_whole(), "description": "bits a second"},
        "language": {**_TEXT, "description": "as in the file, mostly ISO 639-2"},
        "width": {**_whole(), "description": "stored pixels"},
        "height": {**_whole(), "description": "stored pixels"},
        "pixel_aspect": {**_number(), "description": "width of a pixel by its height, where it is not 1"},
        "rotation": {"enum": [90, 180, 270], "description": "degrees clockwise by which it is turned to be shown"},
        "fps": {**_number(), "description": "frames a second, on average"},
        "pixel_format": _TEXT,
        "channels": _whole(),
        "channel_layout": _TEXT,
        "sample_rate": {**_whole(), "description": "samples a second"},
    },
}
SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "multimedia",
        "description": "Facts about a video or sound file. What is not known is left out.",
        "type": "object",
        "required": ["streams", "tags"],
        "additionalProperties": False,
        "properties": {
            "container": {**_TEXT, "description": "mp4, matroska, ogg, avi, mp3, wav, ..."},
            "duration": {**_number(), "description": "seconds"},
            "bit_rate": {**_whole(), "description": "bits a second, of the whole file"},
            "width": {**_whole(), "description": "of the video as it is shown"},
            "height": {**_whole(), "description": "of the video as it is shown"},
            "fps": _number(),
            "video_codec": _TEXT,
            "audio_codec": _TEXT,
            "streams": {"type": "array", "maxItems": 100, "items": _STREAM},
            "tags": {
                "type": "object",
                "description": "what the metadata profile of the application lets out: title, artist, album, ...",
                "additionalProperties": {"type": "string"},
            },
        },
    }
)


@dataclass(frozen=True, slots=True)
class MultimediaExtractor:
    """The section `multimedia`. Without ffprobe, that of sound files is read in Python and has one stream without a codec."""

    section: ClassVar[str] = "multimedia"
    call: ClassVar[str] = "stat"
    schema: ClassVar[Mapping[str, Any]] = SCHEMA
    mimetypes: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys((*kinds.VIDEO_TYPES, *kinds.AUDIO_TYPES)))
    extensions: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys((*kinds.VIDEO_EXTENSIONS, *kinds.AUDIO_EXTENSIONS)))
    needs: ClassVar[Needs] = Needs(libraries=("tinytag",), install=programs.INSTALL)

    def warm(self) -> None:
        import tinytag  # noqa: F401 - for what comes after

    def extract(self, work: Work) -> Any:
        kinds.check(work.media)
        try:
            facts = probed(work.media, work.shop)
        except Unsupported:
            sound = sound_of(work.media)
            if sound is None or sound.duration is None:
                raise
            return of_sound(sound, work.shop.metadata)
        return of_facts(facts, work.shop.metadata)


def of_facts(facts: Facts, profile: str) -> dict[str, Any]:
    """The section of a file, with the tags that a metadata profile lets out."""
    video, audio = facts.video, facts.audio
    width, height = video.displayed if video else (None, None)
    told = {
        "container": _CONTAINERS.get(facts.container, facts.container),
        "duration": _rounded(facts.duration),
        "bit_rate": facts.bit_rate,
        "width": width,
        "height": height,
        "fps": video.fps if video else None,
        "video_codec": video.codec if video else None,
        "audio_codec": audio.codec if audio else None,
    }
    streams = [_stream(one) for one in facts.streams]
    return {**_known(told), "streams": streams, "tags": allowed(facts.tags, profile)}


def of_sound(sound: Sound, profile: str) -> dict[str, Any]:
    """The same of a sound file that was read without ffprobe."""
    told = {"duration": _rounded(sound.duration), "bit_rate": sound.bit_rate}
    stream = {"type": "audio", "channels": sound.channels, "sample_rate": sound.sample_rate}
    return {**_known(told), "streams": [_known(stream)], "tags": allowed(sound.tags, profile)}


def _stream(one: Stream) -> dict[str, Any]:
    return _known(
        {
            "type": "cover" if one.cover else one.kind,
            "codec": one.codec,
            "profile": one.profile,
            "duration": _rounded(one.duration),
            "bit_rate": one.bit_rate,
            "language": one.language,
            "width": one.width,
            "height": one.height,
            "pixel_aspect": None if one.aspect == 1 else round(one.aspect, 4),
            "rotation": one.rotation or None,
            "fps": None if one.cover else one.fps,
            "pixel_format": one.pixel_format,
            "channels": one.channels,
            "channel_layout": one.layout,
            "sample_rate": one.sample_rate,
        }
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else max(round(seconds, 3), 0.001)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
