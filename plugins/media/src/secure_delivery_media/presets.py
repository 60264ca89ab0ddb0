"""What each preset of `video_convert` makes: of which kind the file is, and which numbers its codecs get.

Knows: presets, codecs, what these can hold. Must not know: how a program is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .probing import Stream
from .programs import NO_STREAM

Choices = dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """`kind`: of the program that makes it. `pictures`: how its video is coded, None for sound alone. `sounds`: codecs of sound
    that its files can hold, the first unless another is wanted. `playlist`: several files. `high`: the better of two."""

    kind: str
    mimetype: str
    extension: str
    sounds: tuple[str, ...]
    pictures: str | None = None
    playlist: bool = False
    high: bool = False


def _pair(name: str, **fields: Any) -> dict[str, Preset]:
    return {name: Preset(**fields), f"{name}.hi": Preset(**fields, high=True)}


_M3U8 = {"kind": "hls", "mimetype": "application/vnd.apple.mpegurl", "extension": "m3u8", "sounds": ("aac",), "playlist": True}
PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        **_pair("h264", kind="mp4", mimetype="video/mp4", extension="mp4", sounds=("aac", "mp3"), pictures="h264"),
        **_pair("webm", kind="webm", mimetype="video/webm", extension="webm", sounds=("opus", "vorbis"), pictures="vp9"),
        **_pair("ogg", kind="ogv", mimetype="video/ogg", extension="ogg", sounds=("vorbis", "opus"), pictures="theora"),
        "hls.variant": Preset(**_M3U8, pictures="h264"),  # type: ignore[arg-type]
        "hls.variant.audio": Preset(**_M3U8),  # type: ignore[arg-type]
        "mp3": Preset(kind="mp3", mimetype="audio/mpeg", extension="mp3", sounds=("mp3",)),
        "oga": Preset(kind="oga", mimetype="audio/ogg", extension="oga", sounds=("vorbis", "opus")),
        "m4a": Preset(kind="m4a", mimetype="audio/mp4", extension="m4a", sounds=("aac",)),
        "aac": Preset(kind="aac", mimetype="audio/aac", extension="aac", sounds=("aac",)),
    }
)

#: Constant quality of each codec, and that of the better preset, in its own measure; and how much trouble it takes.
_QUALITY: Final = {"h264": ("crf", 23, 20), "vp9": ("crf", 34, 28), "theora": ("q:v", 6, 8)}
_EFFORT: Final = {"h264": ("veryfast", "medium"), "vp9": ("5", "2")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    """ffmpeg's encoder; samples a second and channels that it can hold; bits a second of the least and the most."""

    encoder: str
    rates: tuple[int, ...]
    channels: int
    least: int
    most: int


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_CODECS: Final = {
    "aac": _Codec(encoder="aac", rates=(*_MP3_RATES, 64000, 88200, 96000), channels=8, least=8_000, most=999_000),
    "mp3": _Codec(encoder="libmp3lame", rates=_MP3_RATES, channels=2, least=8_000, most=320_000),
    "opus": _Codec(encoder="libopus", rates=(8000, 12000, 16000, 24000, 48000), channels=8, least=6_000, most=510_000),
    "vorbis": _Codec(encoder="libvorbis", rates=(*_MP3_RATES, 96000), channels=8, least=0, most=0),
}
#: Vorbis has bit rates for some pairs of rate and channels only, and qualities for all: kbit/s of two channels by quality.
_VORBIS: Final = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


def pictures(preset: Preset, options: Mapping[str, Any]) -> Choices:
    """What the codec of pictures is told."""
    codec = preset.pictures or ""
    control, usual, high = _QUALITY[codec]
    rate = high if preset.high else usual
    if options["video_bitrate"] is not None and not preset.playlist:
        control, rate = "b:v", options["video_bitrate"] * 1000
    choices: Choices = {"control": control, "rate": rate, "keys": options["keyframe_interval"]}
    choices["pace"] = "null" if options["fps"] is None else f"fps={options['fps']}"
    if codec in _EFFORT:
        choices["effort"] = _EFFORT[codec][preset.high]
    if codec == "h264":
        choices["profile"] = "high" if preset.high else "main"
    return choices


def sound(preset: Preset, options: Mapping[str, Any], stream: Stream | None) -> Choices:
    """What the codec of sound is told: what is wanted, or the nearest that it can hold; channels as in the source."""
    name = options["audio_codec"] or preset.sounds[0]
    codec = _CODECS[name]
    channels = min(options["audio_channels"] or (stream and stream.channels) or 2, codec.channels)
    wanted = options["audio_sample_rate"] or (stream and stream.sample_rate) or 44_100
    rate = min(codec.rates, key=lambda one: (abs(one - wanted), -one))
    usual = (192 if preset.high else 128) * max(2, channels) // 2
    bits = (options["audio_bitrate"] or usual) * 1000
    control, value = "b:a", min(max(bits, codec.least), codec.most)
    if name == "vorbis":
        control, value = "q:a", _vorbis_quality(bits * 2 // channels if channels > 2 else bits)
    return {
        "sound": NO_STREAM if stream is None else stream.index,
        "sound_codec": codec.encoder,
        "sound_control": control,
        "sound_rate": value,
        "sample_rate": str(rate),
        "channels": channels,
    }


def _vorbis_quality(bits: int) -> int:
    return min(range(len(_VORBIS)), key=lambda quality: abs(_VORBIS[quality] * 1000 - bits))
