"""ffmpeg and ffprobe as programs: every word they are run with.

Knows: their options. Must not know: how a program is run, what a URL says.

Files have fixed names in the folder where a program starts, so no word holds a path. What varies is chosen among numbers and
words listed here; a title never becomes a word, it goes in as a file. Input is read by listed demuxers, from files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secure_delivery.plugin import Program

from .kinds import DEMUXERS

INSTALL: Final = "apt-get install ffmpeg"

PROBE, FRAME, SAMPLES = "media_probe", "media_frame", "media_samples"

LONGEST: Final = 359_999_999  # milliseconds: 99:59:59.999
SIDE: Final = 4096  # pixels on either side of a result
NO_STREAM: Final = 1000  # a number that no stream has: ffmpeg reads as many
RATES: Final = (8000, 4000, 2000, 1000, 500)  # samples a second that waveforms are drawn from
RUNGS: Final = (240, 480, 720, 1080)  # lines of the variants of a playlist
MARK_FAR: Final = 10_000  # pixels that a mark may lie outside
SAMPLE_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)

_CONVERTING = 21_600.0  # seconds: what a conversion may take is for the limits of its job to say, not for this
_MEMORY = 4_000_000_000  # of address space; two threads on 4096 x 4096 pixels take about two
_PIXELS = "100000000"  # of a decoded frame, whatever the head of the file promised
_QUIET = ("-hide_banner", "-loglevel", "error")
_MINE = ("-protocol_whitelist", "file", "-format_whitelist", DEMUXERS)
_FIRST = ("-i", "file:in/file-001")
_STREAMS, _TIMES, _SIDES = range(NO_STREAM + 1), range(LONGEST + 1), range(1, SIDE + 1)

# ------------------------------------------------------------------------------------------------------ looking at files

_LOOKING: Final = {
    PROBE: Program(
        executables=("ffprobe",),
        arguments=(*_QUIET, *_MINE, "-show_format", "-show_streams", "-of", "json=compact=1", "-o", "out/probe.json", *_FIRST),
        memory=_MEMORY,
        install=INSTALL,
    ),
    # One frame as plain pixels, for which nobody needs a decoder any more.
    FRAME: Program(
        executables=("ffmpeg",),
        arguments=(
            *(*_QUIET, "-nostdin", *_MINE, "-threads", "2", "-max_pixels", _PIXELS),
            *("-skip_frame", "{frames}", "{seek}", "-ss", "{at}ms", *_FIRST),
            *("-map", "0:{stream}", "-frames:v", "1", "-filter:v", "scale={width}:{height}:flags=bicubic"),
            *("-max_error_rate", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "file:out/frame"),
        ),
        choices={
            "frames": ("nokey", "default"),
            "seek": ("-noaccurate_seek", "-accurate_seek"),
            "at": _TIMES,
            "stream": _STREAMS,
            "width": _SIDES,
            "height": _SIDES,
        },
        memory=_MEMORY,
        seconds=20.0,  # there are others to be tried
        install=INSTALL,
    ),
    # Of the first four hours: decoding them takes some twenty seconds.
    SAMPLES: Program(
        executables=("ffmpeg",),
        arguments=(
            *(*_QUIET, "-nostdin", *_MINE, "-t", "14400", *_FIRST, "-map", "0:{stream}", "-ac", "1", "-ar", "{rate}"),
            *("-max_error_rate", "1", "-f", "s16le", "file:out/samples"),
        ),
        choices={"stream": _STREAMS, "rate": tuple(map(str, RATES))},
        memory=_MEMORY,
        install=INSTALL,
    ),
}

# ------------------------------------------------------------------------------------------------------------ converting

_SOURCE = (
    *_QUIET,
    "-nostdin",
    *_MINE,
    "-threads",
    "2",
    "-max_pixels",
    _PIXELS,
    "-ss",
    "{offset}ms",
    "-t",
    "{length}ms",
    *_FIRST,
)
#: The second file holds what a result says of itself, in ffmpeg's own format for that.
_TEXTS = ("-protocol_whitelist", "file", "-f", "ffmetadata", "-i", "file:in/file-002")
_MARK = ("-protocol_whitelist", "file", "-f", "png_pipe", "-max_pixels", _PIXELS, "-i", "file:in/file-003")
#: Nothing else is taken over. Nothing of the machine or the moment gets in: the same source gives the same bytes.
_CLEAN = (
    *("-map_metadata", "1", "-map_metadata:s", "-1", "-map_chapters", "-1", "-sn", "-dn"),
    *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"),
)
_PICTURES = (
    "[0:{stream}]{pace},scale={width}:{height}:flags=bicubic,crop={crop_width}:{crop_height},"
    "pad={pad_width}:{pad_height}:-1:-1,setsar=1,format=yuv420p"
)
_PICTURE_CHOICES: Final[Mapping[str, tuple[str, ...] | range]] = {
    "stream": _STREAMS,
    "pace": ("null", *(f"fps={rate}" for rate in range(1, 301))),
    **dict.fromkeys(("width", "height"), range(1, 4 * SIDE + 1)),  # before it is cut
    **dict.fromkeys(("crop_width", "crop_height", "pad_width", "pad_height"), _SIDES),
    "keys": range(1, 10_001),
    "control": ("crf", "b:v", "q:v"),
    "rate": range(5_000_001),
}
_SOUND = (
    *("-map", "0:{sound}?", "-c:a", "{sound_codec}", "-{sound_control}", "{sound_rate}"),
    *("-ar", "{sample_rate}", "-ac", "{channels}"),
)
_SOUND_CHOICES: Final[Mapping[str, tuple[str, ...] | range]] = {
    "sound": _STREAMS,
    "sound_codec": ("aac", "libmp3lame", "libopus", "libvorbis"),
    "sound_control": ("b:a", "q:a"),
    "sound_rate": range(1_000_001),
    "sample_rate": tuple(map(str, SAMPLE_RATES)),
    "channels": range(1, 9),
}
_TIME_CHOICES: Final = {"offset": _TIMES, "length": _TIMES}

_X264 = ("-c:v", "libx264", "-preset", "{effort}", "-profile:v", "{profile}", "-threads", "2")
_FASTSTART = ("-movflags", "+faststart", "-f", "mp4")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "{effort}", "-row-mt", "1", "-threads", "2")
_X264_CHOICES = {"effort": ("veryfast", "medium"), "profile": ("main", "high")}

#: Kinds of video: words of the codec, of the container, and what may be chosen in them.
_VIDEO: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Mapping[str, tuple[str, ...]]]]] = {
    "mp4": (_X264, _FASTSTART, _X264_CHOICES),
    "webm": (_VP9, ("-f", "webm"), {"effort": ("5", "2")}),
    "ogv": (("-c:v", "libtheora"), ("-f", "ogg"), {}),
}
_AUDIO: Final = {"mp3": ("-id3v2_version", "3", "-f", "mp3"), "oga": ("-f", "ogg"), "m4a": _FASTSTART, "aac": ("-f", "adts")}

#: One file for each variant, of which its playlist names parts: as many files as a program may leave are never reached.
_HLS = (
    *("-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_flags", "single_file"),
    *("-master_pl_name", "master.m3u8", "-hls_segment_filename", "out/{name}.ts", "out/{name}.m3u8"),
)
#: Parts begin where a decoder can begin.
_HLS_KEYS = ("-force_key_frames", "expr:gte(t,n_forced*6)", "-maxrate", "{most}k", "-bufsize", "{most}k")

#: Two runs of ffmpeg with the same words. The words follow this script and are no part of it: no shell reads them.
_TWICE = (
    'ffmpeg "$@" -pass 1 -passlogfile tmp/pass -an -f null /dev/null && '
    'exec ffmpeg "$@" -pass 2 -passlogfile tmp/pass {muxer} file:out/result'
)


def _pictures(codec: tuple[str, ...], *, marked: bool) -> tuple[str, ...]:
    graph = f"{_PICTURES}[whole];[whole][2:v]overlay=x={{mark_x}}:y={{mark_y}}[shown]" if marked else f"{_PICTURES}[shown]"
    return ("-filter_complex", graph, "-map", "[shown]", *codec, "-{control}", "{rate}", "-g", "{keys}")


def _video(kind: str, *, marked: bool, twice: bool) -> Program:
    codec, muxer, more = _VIDEO[kind]
    mark = _MARK if marked else ()
    words = (*_SOURCE, *_TEXTS, *mark, *_pictures(codec, marked=marked), *_SOUND, *_CLEAN)
    choices = {**_TIME_CHOICES, **_PICTURE_CHOICES, **_SOUND_CHOICES, **more, **_mark_choices(marked)}
    if twice:
        words = ("-c", _TWICE.replace("{muxer}", " ".join(muxer)), "ffmpeg", *words)
    else:
        words = (*words, *muxer, "file:out/result")
    return _converting(words, choices, by_shell=twice)


def _audio(kind: str) -> Program:
    words = (*_SOURCE, *_TEXTS, *_SOUND, "-vn", *_CLEAN, *_AUDIO[kind], "file:out/result")
    return _converting(words, {**_TIME_CHOICES, **_SOUND_CHOICES})


def _variant(*, marked: bool) -> Program:
    mark = _MARK if marked else ()
    words = (*_SOURCE, *_TEXTS, *mark, *_pictures(_X264, marked=marked), *_HLS_KEYS, *_SOUND, *_CLEAN, *_HLS)
    choices = {**_TIME_CHOICES, **_PICTURE_CHOICES, **_SOUND_CHOICES, **_X264_CHOICES, **_mark_choices(marked)}
    return _converting(words, {**choices, "name": tuple(f"video-{rung}" for rung in RUNGS), "most": range(1, 10_001)})


def _sound_variant() -> Program:
    words = (*_SOURCE, *_TEXTS, *_SOUND, "-vn", *_CLEAN, *_HLS)
    names = ("audio-low", "audio-high")
    return _converting(words, {**_TIME_CHOICES, **_SOUND_CHOICES, "name": names})


def _mark_choices(marked: bool) -> dict[str, range]:
    return dict.fromkeys(("mark_x", "mark_y"), range(-MARK_FAR, MARK_FAR + 1)) if marked else {}


def _converting(words: tuple[str, ...], choices: Mapping[str, tuple[str, ...] | range], *, by_shell: bool = False) -> Program:
    return Program(
        executables=("sh",) if by_shell else ("ffmpeg",),
        arguments=words,
        choices=choices,
        memory=_MEMORY,
        seconds=_CONVERTING,
        needs=("ffmpeg",),
        install=INSTALL,
    )


def video(kind: str, *, marked: bool = False, twice: bool = False) -> str:
    """The name of the program that makes a video of a kind: `mp4`, `webm`, `ogv`, or `hls` for a variant of a playlist."""
    return f"media_{kind}{'_marked' if marked else ''}{'_twice' if twice else ''}"


def audio(kind: str) -> str:
    """The name of the program that makes a sound file: `mp3`, `oga`, `m4a`, `aac`, or `hls` for a variant of a playlist."""
    return f"media_audio_{kind}"


_CONVERTING_PROGRAMS: Final = {
    **{
        video(kind, marked=marked, twice=twice): _video(kind, marked=marked, twice=twice)
        for kind in _VIDEO
        for marked in (False, True)
        for twice in (False, True)
    },
    **{audio(kind): _audio(kind) for kind in _AUDIO},
    **{video("hls", marked=marked): _variant(marked=marked) for marked in (False, True)},
    audio("hls"): _sound_variant(),
}

#: All of them, by name.
PROGRAMS: Final[Mapping[str, Program]] = MappingProxyType({**_LOOKING, **_CONVERTING_PROGRAMS})
