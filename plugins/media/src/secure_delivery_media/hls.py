"""Playlists (HLS, RFC 8216): a master that leads to variants, each a playlist of its own and one file.

Knows: variants, the lines of playlists. Must not know: where files are stored, who plays them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secure_delivery.plugin import Corrupt, Media, MemoryFile

from . import programs
from .presets import Choices

if TYPE_CHECKING:
    from .converting import Making

_M3U8, _TS = "application/vnd.apple.mpegurl", "video/mp2t"
#: kbit/s of pictures that a variant of so many lines never goes beyond.
_MOST = {240: 400, 480: 1_200, 720: 2_500, 1080: 4_500}
_MOST_RUNGS = 3
_SOUNDS = {"audio-low": 64, "audio-high": 128}
_VARIANT = re.compile(
    r"#EXT-X-STREAM-INF:BANDWIDTH=[0-9]{1,12}(?:,[A-Z-]{1,40}=(?:[0-9.x]{1,20}|\"[A-Za-z0-9.,]{1,80}\")){0,6}"
)
_LONGEST = 4_000_000  # bytes of a variant's playlist


def playlist(making: Making) -> tuple[Media, Sequence[tuple[str, Media]], Media]:
    """The master, the files that it leads to by their names, and the one of the best variant. Raises as a conversion does."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:4"]
    companions: list[tuple[str, Media]] = []
    for name, results in _runs(making):
        found = {result.filename: result for result in results}
        if not {"master.m3u8", f"{name}.m3u8", f"{name}.ts"} <= found.keys():
            raise Corrupt("ffmpeg left no playlist")
        lines += [_variant(found["master.m3u8"]), f"{name}.m3u8"]
        companions.append((f"{name}.m3u8", _checked(found[f"{name}.m3u8"], name)))
        companions.append((f"{name}.ts", _named(found[f"{name}.ts"], _TS, f"{name}.ts")))
    data = ("\n".join(lines) + "\n").encode()
    return MemoryFile(data, _M3U8, "master.m3u8"), tuple(companions), companions[-1][1]


def _runs(making: Making) -> Sequence[tuple[str, Sequence[Media]]]:
    """Every variant, from the lowest up, with what its run left."""
    if making.preset.pictures is None:
        return [(name, _sound_run(making, name, kilobits)) for name, kilobits in _SOUNDS.items()]
    return [(f"video-{rung}", _picture_run(making, rung)) for rung in rungs(making.frame().canvas[1])]


def rungs(height: int) -> tuple[int, ...]:
    """Lines of the variants of a video with so many: the three highest that are not above it."""
    return tuple(rung for rung in programs.RUNGS if rung <= height)[-_MOST_RUNGS:] or programs.RUNGS[:1]


def _picture_run(making: Making, rung: int) -> Sequence[Media]:
    from .converting import watermark

    whole = making.frame()
    frame = whole.lower(min(rung, whole.canvas[1]))
    mark, place = watermark(making, frame, factor=frame.canvas[1] / whole.canvas[1])
    most = min(_MOST[rung], making.options["video_bitrate"] or _MOST[rung])
    choices: Choices = {**making.pictures(frame), **making.sound, **place, "name": f"video-{rung}", "most": most}
    return making.run(programs.video("hls", marked=mark is not None), choices, mark)


def _sound_run(making: Making, name: str, kilobits: int) -> Sequence[Media]:
    wanted = making.options["audio_bitrate"]
    sound = {**making.sound, "sound_rate": min(kilobits, wanted or kilobits) * 1000}
    return making.run(programs.audio("hls"), {**sound, "name": name})


def _variant(master: Media) -> str:
    """The line about the one variant in a master that ffmpeg wrote: its bandwidth, size and codecs."""
    for line in _lines(master):
        if _VARIANT.fullmatch(line):
            return line
    raise Corrupt("ffmpeg says nothing of a variant")


def _checked(media: Media, name: str) -> Media:
    """A variant's playlist that leads nowhere but to its file."""
    if any(line and not line.startswith("#") and line != f"{name}.ts" for line in _lines(media)):
        raise Corrupt("a playlist that leads elsewhere")
    return _named(media, _M3U8, f"{name}.m3u8")


def _lines(media: Media) -> list[str]:
    with media.open() as stream:
        return stream.read(_LONGEST).decode("ascii", "replace").splitlines()


def _named(media: Media, mimetype: str, name: str) -> Media:
    from .converting import Converted

    return Converted(source=media, mimetype=mimetype, filename=name)
